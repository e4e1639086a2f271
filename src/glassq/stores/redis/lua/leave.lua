-- leave: a worker says goodbye; leases it still holds are not released.
-- ARGV   time, owner, its node, its incarnation
-- Reply  1
-- May be repeated at will.

local owner, node, incarnation = ARGV[2], ARGV[3], ARGV[4]

begin()
local till = math.min(tonumber(call('ZSCORE', P .. 'o', owner) or 0), now)
call('ZREM', P .. 'o', owner)
call('HDEL', P .. 'oh', owner)
if format then -- until when those who are left count as alive; when there is none, until when this one did
  local known, left = tonumber(call('HGET', C, 'up') or 0), call('ZREVRANGE', P .. 'o', 0, 0, 'WITHSCORES')[2]
  if known > now then known = 0 end
  call('HSET', C, 'up', text(math.max(known, till, tonumber(left or 0))))
end
call('HDEL', P .. 'k', owner)
call('DEL', P .. 'u:' .. owner)
if call('HGET', P .. 'i', node) == incarnation then call('HDEL', P .. 'i', node) end
return 1
