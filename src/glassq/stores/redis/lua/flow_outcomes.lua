-- flow_outcomes: how the jobs of a workflow ended, a page at a time. Reads only.
-- ARGV   time, workflow, cursor
-- Reply  {cursor of the next page or '0', job, letter and a number or '-' for none, job...}; nil when it has no record

local known = call('HMGET', P .. 'jg:' .. ARGV[2], 'at', 'keep', 'total')
if not known[3] or (known[1] and known[1] + known[2] <= now) then return false end
local following, page = unpack(call('HSCAN', P .. 'jj:' .. ARGV[2], ARGV[3], 'COUNT', 500))
return {following, unpack(page)}
