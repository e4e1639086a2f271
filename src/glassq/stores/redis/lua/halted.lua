-- halted: halted lanes, longest halted first. Reads only.
-- ARGV   time, limit
-- Reply  {lane, head, reason, attempts, error, since (µs), jobs in the lane}...

local limit = tonumber(ARGV[2])
if limit < 1 then return {} end
local found = {}
local lanes = call('ZRANGE', P .. HALTED, 0, limit - 1, 'WITHSCORES')
for index = 1, #lanes, 2 do
  local lane = lanes[index]
  local held = fields_of(lane, 'b', 're', 'n', 'er')
  local count = 0
  for level in string.gmatch(levels, '%d') do count = count + call('LLEN', list_key(level, lane)) end
  found[#found + 1] = {
    lane, (first(lane, held[1])), held[2] or '', tonumber(held[3] or 0), held[4] or '',
    text(tonumber(lanes[index + 1])), count
  }
end
return found
