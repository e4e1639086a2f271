-- put: keep a value under a name.
-- ARGV   time, name, value, µs or '' for ever
-- Reply  1
-- May be repeated. Whole or not at all: its first write needs memory.

local name, wait = ARGV[2], tonumber(ARGV[4])

if wait then
  call('SET', P .. 'v:' .. name, ARGV[3], 'PX', ms(wait))
else
  call('SET', P .. 'v:' .. name, ARGV[3])
end
if not format then -- it may come before anything is put into the queue
  make_queue()
  call('HSET', C, 'seen', instant)
end
call('ZADD', P .. 'vz', wait and text(now + wait) or '+inf', 'v:' .. name)
call('ZADD', P .. 'vn', '0', name)
sweep_kept(10)
return 1
