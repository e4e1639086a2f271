-- cancel: take a job out, or ask the worker that runs it.
-- ARGV   time, job, for how long (µs, 0 not at all) that it ended is kept, what is said of that, then, for one that is
--        in a lane: lane, level, the job as it is in its list
-- Reply  'removed', 'asked', or nil when it is not there (any more)
-- A repetition after a lost answer finds nothing: not safe to repeat blindly.

local id, wait, said, lane, level, job = ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5], ARGV[6], ARGV[7]

begin()

local function note_end()
  if wait > 0 then keep_note(id, 'cancel', wait, 'cancelled', said, '', '') end
end

local function unschedule()
  local slot = call('HGET', P .. 'di', id)
  if not slot then return false end
  local record = call('HGET', P .. 'dp', slot)
  call('ZREM', P .. 'd', slot)
  call('HDEL', P .. 'dp', slot)
  call('HDEL', P .. 'di', id)
  free_unique(id)
  count_settled('cancel', 1)
  end_beside(id, record)
  note_end()
  return true
end

local function give_up()
  if call('HEXISTS', P .. 'jd', id) == 0 then return false end
  weaving().failing().cancel_deferred(id)
  weaving().finish()
  note_end()
  return true
end

if unschedule() or give_up() then return 'removed' end
if not lane then return false end
local key = lane_key(lane)
local held = call('HMGET', key, 'o', 'cu', 'b', 'ah', 'cw')
if held[1] and held[2] == id then
  call('HSET', key, 'cx', id)
  call('HDEL', key, 'go')
  return 'asked'
end
-- In a lane that is run ahead it may have begun: its worker stops running ahead, and is heard of.
local ahead = tonumber(held[1] and held[4] or 0)
for _, near in ipairs(ahead > 0 and call('LRANGE', list_key(level, lane), 0, ahead) or {}) do
  if near == job then
    call('HSET', key, 'cw', (held[5] and held[5] .. ' ' or '') .. id)
    if wait > 0 then call('HSET', key, 'kp:' .. id, ARGV[3] .. ':' .. said) end
    note_change(lane)
    return 'asked'
  end
end
local was_begun = held[3] == level and call('LINDEX', list_key(level, lane), 0) == job
if call('LREM', list_key(level, lane), 1, job) == 0 then return false end
part(job, 'c')
count_settled('cancel', 1)
note_end()
if held[1] then
  note_change(lane)
elseif not first(lane) then
  forget_state(lane)
  vanish(lane)
elseif was_begun then -- the lane waited or stopped for this head alone
  local waits = bring_up(lane)
  forget_state(lane)
  forget_blocked(lane)
  vacate(lane, true, nil, waits)
  ring()
else
  note_lowest(lane)
end
return 'removed'
