-- waiting: the first unsettled jobs of the queue by seq, over all lanes. Reads only.
-- ARGV   time, limit
-- Reply  {lane, job}...
-- The lists are merged: one cursor per lane and level, kept sorted by the seq it stands at.

local limit = tonumber(ARGV[2])

local cursors = {}

local function insert(cursor)
  local low, high = 1, #cursors + 1
  while low < high do
    local middle = math.floor((low + high) / 2)
    if cursors[middle].seq > cursor.seq then low = middle + 1 else high = middle end
  end
  table.insert(cursors, low, cursor) -- descending, so that the next one is taken off the end
end

local function step(cursor)
  cursor.job = call('LINDEX', cursor.key, cursor.at)
  if cursor.job then
    cursor.seq = sequence(cursor.job)
    insert(cursor)
  end
end

-- A begun head may stand before replayed jobs of lower seqs: it has a cursor of its own then.
local function open(lane, key)
  local head, second = unpack(call('LRANGE', key, 0, 1))
  local apart = second and sequence(second) < sequence(head)
  if apart then insert({key = key, job = head, seq = sequence(head), lane = lane, alone = true}) end
  step({key = key, at = apart and 1 or 0, lane = lane})
end

if limit < 1 then return {} end
-- Of the lanes that are not held the `limit` with the lowest seqs are enough.
for _, lanes in ipairs({call('ZRANGE', P .. LOWEST, 0, limit - 1), call('ZRANGE', P .. HELD, 0, -1)}) do
  for _, lane in ipairs(lanes) do
    for level in string.gmatch(levels, '%d') do open(lane, list_key(level, lane)) end
  end
end

local found = {}
while #found < limit and #cursors > 0 do
  local cursor = table.remove(cursors)
  found[#found + 1] = {cursor.lane, cursor.job}
  if not cursor.alone then
    cursor.at = cursor.at + 1
    step(cursor)
  end
end
-- A begun head stands before replayed jobs of lower seqs.
table.sort(found, function(a, b) return sequence(a[2]) < sequence(b[2]) end)
return found
