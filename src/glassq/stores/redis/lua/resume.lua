-- resume: undo a pause of the same scope.
-- ARGV   time, '' for the queue or '1', lane
-- Reply  1, or 0 when there was none

local lane = ARGV[3]

begin()
if ARGV[2] == '' then
  if not all_paused then return 0 end
  note_standstills()
  call('HDEL', C, 'ps')
  call('HINCRBY', C, 'pa', '-1')
else
  bring_up(lane)
  if call('SREM', P .. PAUSED, lane) == 0 then return 0 end
  paused_lanes = paused_lanes - 1
  call('HINCRBY', C, 'pa', '-2')
  if call('ZREM', P .. STOPPED, lane) == 1 then make_ready(lane, false) end
end
ring()
return 1
