-- forget: delete every key of a queue that holds nothing; where it is to be closed, leave a mark in place of its format,
-- so that every script refuses it from now on.
-- ARGV   time, the mark or nothing
-- Reply  1, 2 when there is more of what it kept: call it again; or 0 while it holds jobs or dead letters, a worker
--        serves it, or others have to hear of what ended in it
-- May be repeated at will.

if tonumber(conf[3] or 0) + tonumber(call('HGET', C, 'rp') or 0) > tonumber(conf[4] or 0) then return 0 end
if call('EXISTS', P .. 'x', P .. 'jo') > 0 or call('ZCOUNT', P .. 'o', '(' .. instant, '+inf') > 0 then return 0 end

local kept = call('ZRANGE', P .. 'vz', 0, 999)
for _, name in ipairs(kept) do forget_kept(name) end
if #kept == 1000 then return 2 end

for _, workers in ipairs({call('HKEYS', P .. 'k'), call('ZRANGE', P .. 'o', 0, -1)}) do
  for _, worker in ipairs(workers) do call('DEL', P .. 'u:' .. worker) end
end
for _, flow in ipairs(call('ZRANGE', P .. 'jz', 0, -1)) do call('DEL', P .. 'jg:' .. flow, P .. 'jj:' .. flow) end
-- All there may be without a job: what is kept of a single lane goes with the last of its jobs.
for _, name in ipairs({PAUSED, 'b', 'o', 'oh', 'p', 'pz', 'i', 'k', 'dd', 'dz', 'm', 'mo', 'vn', 'jz', 'c'}) do
  call('DEL', P .. name)
end
if ARGV[2] then call('HSET', C, 'v', 'closed:' .. ARGV[2]) end
return 1
