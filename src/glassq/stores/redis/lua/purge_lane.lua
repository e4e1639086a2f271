-- purge_lane: drop the dead letters of a lane, or end its scheduled and waiting jobs as cancelled; some at a time.
-- ARGV   time, '1' for dead letters, lane, score in the dead letters or scheduled jobs to begin at, how many of that
--        score to leave out, how many to look at
-- Reply  {how many are gone, score to go on at or '', how many of that score to leave out then}
-- May be repeated at will. What runs is left alone.

local dead, lane, from, skip, size = ARGV[2] == '1', ARGV[3], ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])

begin()
weaving().lane = lane

if not dead then
  if call('ZSCORE', P .. HELD, lane) then
    purge_held(lane, size)
  elseif call('ZSCORE', P .. LOWEST, lane) then
    purge_free(lane, size)
  end
end

-- Which lane one of these is of only itself says.
local function is_of_lane(record)
  if dead then
    local length, at = string.match(record, '^(%d+):%d+:%d+:%d+:%d+|()')
    return string.sub(record, at, at + length - 1) == lane
  end
  local length, at = string.match(record, '^%d*:%d:%a*:(%d+):[^|]+|()')
  return string.sub(record, at, at + length - 1) == lane
end

local index, records, drop = P .. 'd', P .. 'dp', drop_scheduled
if dead then index, records, drop = P .. 'xs', P .. 'x', drop_dead end
local reply = {0, '', 0}
if count == size then -- there may be more in the lane
  reply[2], reply[3] = from, skip
else
  local page, last = call('ZRANGEBYSCORE', index, from, '+inf', 'WITHSCORES', 'LIMIT', skip, size), tonumber(from)
  for at = 1, #page, 2 do
    local score, record = tonumber(page[at + 1]), call('HGET', records, page[at])
    if score ~= last then last, skip = score, 0 end
    if is_of_lane(record) then drop(page[at], record) else skip = skip + 1 end
  end
  if #page == 2 * size then reply[2], reply[3] = text(last), skip end
end
if count > 0 and not dead then count_settled('cancel', count) end
reply[1] = dead and count or count + along_of_lane
return reply
