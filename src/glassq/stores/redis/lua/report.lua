-- report: a worker's heartbeat.
-- ARGV   time, owner, its node, its incarnation, µs for which it counts as alive, where it runs: <pid>:<host>
-- Reply  {the id of the doorbell's last ring, '0-0' when it never rang, how far the queue had come}
-- May be repeated at will. What the store keeps about workers goes with those that are gone, and some of what has
-- ended of all that it keeps.

local function node_of(name) return string.match(name, '^(.*)/([^/]*)/[^/]*$') end

begin()
local until_then = text(now + tonumber(ARGV[5]))
if format then
  if is_deserted() and not all_paused then note_standstills() end
  if until_then > (call('HGET', C, 'up') or EVER) then call('HSET', C, 'up', until_then) end
end
call('ZADD', P .. 'o', until_then, ARGV[2])
call('HSET', P .. 'oh', ARGV[2], instant .. ':' .. ARGV[6])
local silent = call('ZRANGEBYSCORE', P .. 'o', '-inf', instant, 'LIMIT', 0, 10)
for _, gone in ipairs(silent) do
  local node, incarnation = node_of(gone)
  call('ZREM', P .. 'o', gone)
  call('HDEL', P .. 'oh', gone)
  call('HDEL', P .. 'k', gone)
  call('DEL', P .. 'u:' .. gone)
  if call('HGET', P .. 'i', node) == incarnation then call('HDEL', P .. 'i', node) end
end
sweep_kept(100)
local last = call('XREVRANGE', P .. 'b', '+', '-', 'COUNT', 1)
return {last[1] and last[1][1] or '0-0', found()}
