-- workers: who serves the queue, with the first page, and who holds how many of its lanes, a page at a time. Reads only.
-- ARGV   time, end of lease to begin at, how many lanes of that to leave out, how many lanes at most
-- Reply  {now, end of lease the next page begins at or '', how many of that it leaves out, {worker, what it said of
--        itself}..., and of this page {worker, lanes held, lanes of these whose head has begun}...}

local from, skip, size = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local reply = {instant, '', 0}

if tonumber(from) == 0 and skip == 0 then
  for _, worker in ipairs(call('ZRANGEBYSCORE', P .. 'o', '(' .. instant, '+inf')) do
    reply[#reply + 1] = {worker, call('HGET', P .. 'oh', worker) or ''}
  end
end

local page, places = call('ZRANGEBYSCORE', P .. HELD, from, '+inf', 'WITHSCORES', 'LIMIT', skip, size), {}
for at = 1, #page, 2 do
  local lane, score = page[at], text(tonumber(page[at + 1]))
  local held = fields_of(lane, 'o', 'cu', 't')
  local owner = held[1]
  if not places[owner] then
    reply[#reply + 1] = {owner, 0, 0}
    places[owner] = reply[#reply]
  end
  local place = places[owner]
  place[2] = place[2] + 1
  if held[2] and call('HEXISTS', hash_of(lane), 'nb:' .. held[3]) == 0 then place[3] = place[3] + 1 end
  skip, from = score == from and skip + 1 or 1, score
end
if #page == 2 * size then reply[2], reply[3] = from, skip end
return reply
