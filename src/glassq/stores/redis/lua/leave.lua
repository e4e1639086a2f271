-- leave: a worker says goodbye; leases it still holds are not released.
-- ARGV   time, owner, its node, its incarnation
-- Reply  1
-- May be repeated at will.

local owner, node, incarnation = ARGV[2], ARGV[3], ARGV[4]

begin()
call('ZREM', P .. 'o', owner)
call('HDEL', P .. 'k', owner)
call('DEL', P .. 'u:' .. owner)
if call('HGET', P .. 'i', node) == incarnation then call('HDEL', P .. 'i', node) end
return 1
