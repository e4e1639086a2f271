-- rank: by how much lanes of one index stand out, a page at a time. Reads only.
-- ARGV   time, index ('a' lanes that are not held, by seq; 'h' those that are, 'f' those with a blocked head, 'g' those
--        that are paused), measure ('depth', 'age' or 'blocked'), score to begin at, how many lanes of that score to
--        leave out, score to end at or '' for now, how many lanes at most
-- Reply  {lanes with jobs, 1 if the queue is paused, score the next page begins at or '', how many of that score it
--        leaves out, lane, measure, lane, measure...}; the measures are jobs, the lowest seq, since when it is held up
--        (µs), or '' for a lane that has no such thing
-- The cursor is a score, because ranks shift when lanes change hands.

local index, measure, from, skip, size = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[7])
local till = ARGV[6] ~= '' and ARGV[6] or instant

local function measured(lane, score)
  if measure == 'age' and index == LOWEST or measure == 'blocked' and index == BLOCKED then return score end
  if measure == 'depth' then
    local depth = 0
    for level in string.gmatch(levels, '%d') do depth = depth + call('LLEN', list_key(level, lane)) end
    return depth > 0 and depth
  end
  local _, oldest = jobs_of(lane)
  if not oldest then return false end -- the lane is kept for a callback
  return measure == 'age' and sequence(oldest) or held_up_since(lane, oldest)
end

local total = 0
for _, state in ipairs({READY, HELD, WAITING, HALTED, STOPPED}) do total = total + call('ZCARD', P .. state) end
local reply = {total, all_paused and 1 or 0, '', 0}
local page = call('ZRANGEBYSCORE', P .. index, from, till, 'WITHSCORES', 'LIMIT', skip, size + 1)
local looked, last, alike = 0, tonumber(from), skip
for at = 1, #page, 2 do
  if looked == size or is_enough() then break end
  local lane, score = page[at], tonumber(page[at + 1])
  local value = measured(lane, score)
  reply[2 * looked + 5], reply[2 * looked + 6] = lane, value and text(value) or ''
  looked, alike, last = looked + 1, score == last and alike + 1 or 1, score
end
if 2 * looked < #page then reply[3], reply[4] = looked > 0 and text(last) or from, alike end
return reply
