-- notes: what was kept of a job's settlements. Reads only.
-- ARGV   time, job, how many at most
-- Reply  {until, note...}, the last ones, oldest first; empty when there are none. A note is
--        <action>:<at>:<length of the reason>:<length of what was said>:<kind>|<reason><said><data>

local name = 'n:' .. ARGV[2]
local ends = call('ZSCORE', P .. 'vz', name)
if not ends or tonumber(ends) <= now then return {} end
local found = call('LRANGE', P .. name, '-' .. ARGV[3], -1)
table.insert(found, 1, text(tonumber(ends)))
return found
