-- restart: let a halted lane run its head again, with fresh retries.
-- ARGV   time, lane
-- Reply  1, or 0 when the lane is not halted

local lane = ARGV[2]

begin()
bring_up(lane)
if call('ZREM', P .. HALTED, lane) == 0 then return 0 end
call('HDEL', lane_key(lane), 'f', 'k', 're', 'er')
make_ready(lane, true)
ring()
return 1
