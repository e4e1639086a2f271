-- skip: end a halted lane's head as cancelled and let the lane go on.
-- ARGV   time, lane, the job it is to be halted at, or '' for any, for how long (µs, 0 not at all) that it ended is
--        kept, what is said of that
-- Reply  the job, or nil when the lane is not halted, or at another job
-- Not safe to repeat blindly: by then the lane may have halted at its next job.

local lane, expected = ARGV[2], ARGV[3]

begin()
if not call('ZSCORE', P .. HALTED, lane) then return false end
local head, level = first(lane, call('HGET', lane_key(lane), 'b'))
if expected ~= '' and identity(head) ~= expected then return false end
local waits = bring_up(lane)
call('ZREM', P .. HALTED, lane)
call('LPOP', list_key(level, lane))
part(head, 'c')
count_settled('cancel', 1)
if ARGV[4] ~= '0' then keep_note(identity(head), 'cancel', tonumber(ARGV[4]), 'skipped', ARGV[5], '', '') end
if first(lane) then
  forget_blocked(lane)
  vacate(lane, true, nil, waits)
  ring()
else
  vanish(lane)
end
return head
