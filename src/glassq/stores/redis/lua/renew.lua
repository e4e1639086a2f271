-- renew: extend leases.
-- ARGV   time, owner, lease (µs), then per lease: lane, token
-- Reply  {the indices (from 1) of those that are lost}, {current jobs that are asked to be cancelled},
--         how far the queue had come
-- May be repeated at will.

local owner, lease = ARGV[2], tonumber(ARGV[3])
local shortest = tonumber(call('HGET', C, 'ml') or 0)

begin()
local leases, ends = P .. HELD, text(now + lease) -- after `begin`: there time may stand still
local lost, cancelled = {}, {}
for index = 1, (#ARGV - 3) / 2 do
  local lane, token = ARGV[index * 2 + 2], ARGV[index * 2 + 3]
  local key = lane_key(lane)
  local held = call('HMGET', key, 't', 'o', 'ln', 'gr', 'cx', 'cu')
  if held[1] == token and held[2] == owner then -- fence: number and owner
    call('ZADD', leases, 'XX', ends, lane)
    if held[3] ~= ARGV[3] then call('HSET', key, 'ln', ARGV[3]) end
    if held[4] then call('HDEL', key, 'gr') end -- it lives: the next jump finds it with its grace again
    if held[5] and held[5] == held[6] then cancelled[#cancelled + 1] = held[5] end
    if lease < shortest then
      shortest = lease
      call('HSET', C, 'ml', ARGV[3])
    end
  else
    lost[#lost + 1] = index
  end
end
return {lost, cancelled, found()}
