-- lanes: the names of lanes with jobs, a page at a time. Reads only.
-- ARGV   time, lowest seq to begin at, page size
-- Reply  {levels, where the next page begins or '', lane...}; the first page begins with the held lanes

local from, size = tonumber(ARGV[2]), tonumber(ARGV[3])
local page = call('ZRANGEBYSCORE', P .. LOWEST, text(from), '+inf', 'WITHSCORES', 'LIMIT', 0, size)
local reply = {levels, #page == 2 * size and text(tonumber(page[#page]) + 1) or ''}
if from == 0 then
  for _, lane in ipairs(call('ZRANGE', P .. HELD, 0, -1)) do reply[#reply + 1] = lane end
end
for index = 1, #page, 2 do reply[#reply + 1] = page[index] end
return reply
