-- find: look for an unsettled job in some lanes. Reads only.
-- ARGV   time, job, how many elements to look at, index to begin the first list at, then lists: lane, level
-- Reply  {'found', lane, level, job, current job or '', begun level or '', attempts, reason, whether halted},
--        {'seen', lists done, index to go on at in the next one}

local wanted, budget, from = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local CHUNK = 100

local lists = (#ARGV - 4) / 2
for index = 1, lists do
  local lane, level = ARGV[index * 2 + 3], ARGV[index * 2 + 4]
  local key = list_key(level, lane)
  while true do
    if budget <= 0 then return {'seen', index - 1, from} end
    local chunk = call('LRANGE', key, from, from + CHUNK - 1)
    for place, job in ipairs(chunk) do
      if identity(job) == wanted then
        local held = fields_of(lane, 'cu', 'b', 'n', 're')
        local is_begun = held[2] == level and from + place == 1
        return {
          'found', lane, level, job, held[1] or '', is_begun and level or '', tonumber(held[3] or 0), held[4] or '',
          call('ZSCORE', P .. HALTED, lane) and 1 or 0
        }
      end
    end
    budget = budget - math.max(1, #chunk)
    from = from + #chunk
    if #chunk < CHUNK then break end
  end
  from = 0
end
return {'seen', lists, 0}
