-- How dead letters are dropped, and jobs that wait are ended: stands before `purge` and `purge_lane`.

local count = 0 -- of those that are gone
local along, along_of_lane = 0, 0 -- of those that were cancelled because of them
local keeps = call('EXISTS', P .. 'vz') == 1

local function take_along(came)
  if came then along, along_of_lane = along + came.cancelled, along_of_lane + came.of_lane end
end

-- What was written down of a job that is gone.
local function forget_notes(id)
  if keeps then forget_kept('n:' .. id) end
end

local function drop_dead(seq, record)
  local lane, reason, error, at = string.match(record, '^(%d+):(%d+):(%d+):%d+:%d+|()')
  local job = string.sub(record, tonumber(at) + lane + reason + error)
  local id = identity(job)
  forget_notes(id)
  call('HDEL', P .. 'xi', id)
  call('HDEL', P .. 'x', seq)
  call('ZREM', P .. 'xs', seq)
  call('ZREM', P .. 'xt', seq)
  part(job, 'B')
  count = count + 1
end

local function drop_scheduled(slot, record)
  local id = string.match(record, '^%d*:%d:%a*:%d+:([^|]+)|')
  free_unique(id)
  call('ZREM', P .. 'd', slot)
  call('HDEL', P .. 'dp', slot)
  call('HDEL', P .. 'di', id)
  take_along(end_beside(id, record))
  forget_notes(id)
  count = count + 1
end

-- From the tail, so that what is left is in order at every moment.
local function drain(lane, limit, keep, ahead)
  local begun = call('HGET', lane_key(lane), 'b')
  local order = string.reverse(levels)
  if begun then order = string.gsub(order, begun, '') .. begun end
  for level in string.gmatch(order, '%d') do
    local key, least = list_key(level, lane), keep == level and 1 or 0
    if ahead > 0 then least = ahead + 1 end -- they may have begun
    while count < limit and call('LLEN', key) > least do
      local job = call('RPOP', key)
      take_along(part(job, 'c'))
      forget_notes(identity(job))
      count = count + 1
    end
  end
end

-- A lane that nobody holds.
local function purge_free(lane, limit)
  drain(lane, limit, nil, 0)
  if first(lane) then
    note_lowest(lane)
  else
    forget_state(lane)
    vanish(lane)
  end
end

-- One that somebody holds: what runs, or may, is left alone.
local function purge_held(lane, limit)
  local before = count
  local held = call('HMGET', lane_key(lane), 'cu', 'b', 'ah')
  drain(lane, limit, held[1] and held[2], tonumber(held[3] or 0))
  if count > before then note_change(lane) end
end

