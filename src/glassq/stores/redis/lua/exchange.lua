-- exchange: put a value in the place of another one, if that is what is there.
-- ARGV   time, name, value it takes the place of, value, µs or '' for ever; of each value '=' and it, or '' for none
-- Reply  {1 when it is there now, else 0; time}
-- May be repeated: what is there already is kept anew.

local name = ARGV[2]
local ends = call('ZSCORE', P .. 'vz', 'v:' .. name)
local found = ends and tonumber(ends) > now and call('GET', P .. 'v:' .. name)
found = found and '=' .. found or ''

if found ~= ARGV[3] and found ~= ARGV[4] then return {0, instant} end
if ARGV[4] ~= '' then
  keep_value(name, string.sub(ARGV[4], 2), tonumber(ARGV[5]))
elseif found ~= '' then
  forget_kept('v:' .. name)
end
return {1, instant}
