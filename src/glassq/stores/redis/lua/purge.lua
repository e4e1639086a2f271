-- purge: drop dead letters, or end scheduled and waiting jobs as cancelled; some at a time.
-- ARGV   time, '1' for dead letters, how many at most
-- Reply  how many; 0 when there are no more
-- May be repeated at will. What runs is left alone.

local dead, limit = ARGV[2] == '1', tonumber(ARGV[3])

begin()

if dead then
  for _, seq in ipairs(call('ZRANGE', P .. 'xs', 0, limit - 1)) do drop_dead(seq, call('HGET', P .. 'x', seq)) end
  return count
end

for _, slot in ipairs(call('ZRANGE', P .. 'd', 0, limit - 1)) do drop_scheduled(slot, call('HGET', P .. 'dp', slot)) end
for _, lane in ipairs(call('ZRANGE', P .. LOWEST, 0, limit - 1)) do
  if count >= limit then break end
  purge_free(lane, limit)
end
for _, lane in ipairs(call('ZRANGE', P .. HELD, 0, -1)) do
  if count >= limit then break end
  purge_held(lane, limit)
end
if count > 0 then count_settled('cancel', count) end
return count + along
