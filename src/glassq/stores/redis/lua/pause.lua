-- pause: let no further job of the queue, or of one lane, begin.
-- ARGV   time, '' for the queue or '1', lane
-- Reply  1 when it was paused already, else 0
-- May be repeated at will. Attempts that run are not disturbed; their lanes are left at their settlement.

local lane = ARGV[3]

begin()
if not format then
  make_queue()
  call('HSET', C, 'seen', instant)
end
if ARGV[2] == '' then
  if all_paused then return 1 end
  note_standstills()
  call('HSET', C, 'ps', instant)
  call('HINCRBY', C, 'pa', '1')
  for _, held in ipairs(call('ZRANGE', P .. HELD, 0, -1)) do note_change(held) end
else
  bring_up(lane)
  if call('SADD', P .. PAUSED, lane) == 0 then return 1 end
  call('HINCRBY', C, 'pa', '2')
  local place = call('ZSCORE', P .. READY, lane)
  if place then
    call('ZREM', P .. READY, lane)
    call('ZADD', P .. STOPPED, place, lane)
  end
  if call('ZSCORE', P .. HELD, lane) then note_change(lane) end
end
return 0
