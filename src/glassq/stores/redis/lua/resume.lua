-- resume: undo a pause of the same scope.
-- ARGV   time, '' for the queue or '1', lane
-- Reply  1, or 0 when there was none

local lane = ARGV[3]

begin()
if ARGV[2] == '' then
  if call('HDEL', C, 'pa') == 0 then return 0 end
else
  if call('SREM', PAUSED, lane) == 0 then return 0 end
  paused_lanes = call('HINCRBY', C, 'pn', '-1')
  if call('ZREM', STOPPED, lane) == 1 then make_ready(lane, false) end
end
ring()
return 1
