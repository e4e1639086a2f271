-- skip: end a halted lane's head as cancelled and let the lane go on.
-- ARGV   time, lane
-- Reply  the job, or nil when the lane is not halted
-- Not safe to repeat blindly: by then the lane may have halted at its next job.

local lane = ARGV[2]

begin()
local waits = bring_up(lane)
if call('ZREM', P .. HALTED, lane) == 0 then return false end
local head, level = first(lane, call('HGET', lane_key(lane), 'b'))
call('LPOP', list_key(level, lane))
forget_unique(head)
count_settled('cancel', 1)
if first(lane) then
  forget_blocked(lane)
  vacate(lane, true, nil, waits)
  ring()
else
  vanish(lane)
end
return head
