-- drop: forget a value.
-- ARGV   time, name
-- Reply  1, or 0 when there was none
-- A repetition after a lost answer finds none.

local name = 'v:' .. ARGV[2]
local ends = call('ZSCORE', P .. 'vz', name)
local was = ends and tonumber(ends) > now and call('EXISTS', P .. name) or 0
forget_kept(name)
return was
