-- purge: drop dead letters, or end scheduled and waiting jobs as cancelled; some at a time.
-- ARGV   time, '1' for dead letters, how many at most
-- Reply  how many; 0 when there are no more
-- May be repeated at will. What runs is left alone.

local dead, limit = ARGV[2] == '1', tonumber(ARGV[3])

begin()
local count = 0

if dead then
  for _, seq in ipairs(call('ZRANGE', P .. 'xs', 0, limit - 1)) do
    local record = call('HGET', P .. 'x', seq)
    local lane, reason, error, at = string.match(record, '^(%d+):(%d+):(%d+):%d+:%d+|()')
    call('HDEL', P .. 'xi', identity(string.sub(record, tonumber(at) + lane + reason + error)))
    call('HDEL', P .. 'x', seq)
    call('ZREM', P .. 'xs', seq)
    call('ZREM', P .. 'xt', seq)
    count = count + 1
  end
  return count
end

for _, slot in ipairs(call('ZRANGE', P .. 'd', 0, limit - 1)) do
  local id = string.match(call('HGET', P .. 'dp', slot), '^%d*:%d:%a*:%d+:([^|]+)|')
  local dedup = call('HGET', P .. 'y', id)
  if dedup then
    call('HDEL', P .. 'y', id)
    call('HDEL', P .. 'dd', dedup)
  end
  call('ZREM', P .. 'd', slot)
  call('HDEL', P .. 'dp', slot)
  call('HDEL', P .. 'di', id)
  count = count + 1
end

-- From the tail, so that what is left is in order at every moment.
local function drain(lane, keep, ahead)
  local begun = call('HGET', lane_key(lane), 'b')
  local order = string.reverse(levels)
  if begun then order = string.gsub(order, begun, '') .. begun end
  for level in string.gmatch(order, '%d') do
    local key, least = list_key(level, lane), keep == level and 1 or 0
    if ahead > 0 then least = ahead + 1 end -- they may have begun
    while count < limit and call('LLEN', key) > least do
      forget_unique(call('RPOP', key))
      count = count + 1
    end
  end
end

local function purge_lanes()
  for _, lane in ipairs(call('ZRANGE', P .. LOWEST, 0, limit - 1)) do
    if count >= limit then return end
    drain(lane, nil, 0)
    if first(lane) then
      note_lowest(lane)
    else
      forget_state(lane)
      vanish(lane)
    end
  end
  for _, lane in ipairs(call('ZRANGE', P .. HELD, 0, -1)) do
    if count >= limit then return end
    local before = count
    local held = call('HMGET', lane_key(lane), 'cu', 'b', 'ah')
    drain(lane, held[1] and held[2], tonumber(held[3] or 0))
    if count > before then note_change(lane) end
  end
end

purge_lanes()
if count > 0 then count_settled('cancel', count) end
return count
