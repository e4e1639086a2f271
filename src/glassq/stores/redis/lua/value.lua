-- value: the value of a name. Reads only.
-- ARGV   time, name
-- Reply  {until or '', value}, or nil

local ends = call('ZSCORE', P .. 'vz', 'v:' .. ARGV[2])
local body = ends and tonumber(ends) > now and call('GET', P .. 'v:' .. ARGV[2])
if not body then return false end
return {ends == 'inf' and '' or text(tonumber(ends)), body}
