-- values: values whose names begin alike, by name.
-- ARGV   time, how names begin, name to go on behind or '', how many at most, how many bytes at most but for one
-- Reply  name, until or '', value...; empty when there are no more
-- May be repeated. Names of values that have ended, which it comes by, are forgotten.

local prefix, after, most, left = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local from, till, found = after > prefix and '(' .. after or '[' .. prefix, '(' .. prefix .. '\255', {}

while true do
  local names = call('ZRANGEBYLEX', P .. 'vn', from, till, 'LIMIT', 0, most)
  for _, name in ipairs(names) do
    local ends = call('ZSCORE', P .. 'vz', 'v:' .. name)
    local body = ends and tonumber(ends) > now and call('GET', P .. 'v:' .. name)
    if body then
      if #found > 0 and (#found >= 3 * most or #body > left) then return found end
      left = left - #body
      found[#found + 1] = name
      found[#found + 1] = ends == 'inf' and '' or text(tonumber(ends))
      found[#found + 1] = body
    else
      forget_kept('v:' .. name)
    end
    from = '(' .. name
  end
  if #names < most or #found >= 3 * most then return found end
end
