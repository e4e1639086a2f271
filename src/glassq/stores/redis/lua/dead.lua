-- dead: dead letters, lowest seq first. Reads only.
-- ARGV   time, limit
-- Reply  dead letters as `settle` wrote them

local limit = tonumber(ARGV[2])
if limit < 1 then return {} end
local found = {}
for _, seq in ipairs(call('ZRANGE', P .. 'xs', 0, limit - 1)) do found[#found + 1] = call('HGET', P .. 'x', seq) end
return found
