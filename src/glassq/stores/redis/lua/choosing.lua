-- choosing: which ready lanes a worker gets that has keys assigned to it. Stands before `claim`, only for such workers.
-- ARGV[13]  what it wants, as JSON: `assigned` keys and `patterns` come first; then `steal_from` in its order, then,
--           unless `exclusive`, any. What is not assigned has to have waited for `patience` (µs) unless it is its own
--           already; and what it got `lately`, is still its own and has waited for so long, comes with what is
--           assigned. A lane has one owner for `stay` µs, unless that was not heard of for `lease`; it counts as alive
--           for `alive` after a report. `after` is where looking through for patterns goes on
--
-- mo  hash  lane -> <since, 0 if nobody had it before>:<owner>;  m zset  lane -> until when that is remembered
--
-- What is looked at is bounded: a hundred of each list of keys, a hundred lanes further on for the patterns, and the
-- hundred lanes that wait longest for the rest. Places among the ready ones are never given twice: what is behind the
-- last place looked at, or before the first, is new.

local wish, me = cjson.decode(ARGV[13]), ARGV[2]
local LOOK = 100
local looked, sees_more, stolen, whose = wish.after, false, {}, {}

-- What is between the stars.
local function split(pattern)
  local parts = {}
  for part in string.gmatch(pattern .. '*', '([^*]*)%*') do parts[#parts + 1] = part end
  return parts
end

local function fits(lane, parts)
  local start, ending = parts[1], parts[#parts]
  if #parts == 1 then return lane == start end
  if string.sub(lane, 1, #start) ~= start then return false end
  local at = #start + 1
  for index = 2, #parts - 1 do
    local _, found = string.find(lane, parts[index], at, true)
    if not found then return false end
    at = found + 1
  end
  return #lane - #ending + 1 >= at and string.sub(lane, #lane - #ending + 1) == ending
end

local own_patterns = {}
for index, pattern in ipairs(wish.patterns) do own_patterns[index] = split(pattern) end

local function is_assigned(lane)
  for _, parts in ipairs(own_patterns) do
    if fits(lane, parts) then return true end
  end
  return false
end

local gone = {}
local function is_gone(owner)
  if gone[owner] == nil then
    local alive = tonumber(call('ZSCORE', P .. 'o', owner) or 0)
    local node, incarnation = string.match(owner, '^(.*)/([^/]*)/[^/]*$')
    gone[owner] = alive - wish.alive + wish.lease < now or (node == ARGV[3] and incarnation ~= ARGV[4])
  end
  return gone[owner]
end

-- Whose a lane is: 'mine', 'nobody', 'free' to be another's; false while it stays with its owner.
local function owner_now(lane)
  if whose[lane] == nil then
    local since, owner = string.match(call('HGET', P .. 'mo', lane) or '', '^(%d+):(.*)$')
    if not owner then
      whose[lane] = 'nobody'
    elseif owner == me then
      whose[lane] = 'mine'
    else
      whose[lane] = (tonumber(since) + wish.stay <= now or is_gone(owner)) and 'free'
    end
  end
  return whose[lane]
end

local function has_waited(lane)
  local noted = call('HGET', C, '@' .. lane)
  local since = noted and string.match(noted, '(%d+)$') or string.match(first(lane), '^%d+:%d:(%d+)')
  return now - tonumber(since) >= wish.patience
end

-- Lanes with their places, out of names and places in turn.
local function placed(found)
  local lanes = {}
  for index = 1, #found, 2 do lanes[#lanes + 1] = {name = found[index], place = tonumber(found[index + 1])} end
  return lanes
end

-- Those of these lanes that are ready.
local function ready_of(names)
  if #names == 0 then return {} end
  local lanes = {}
  for index, place in ipairs(call('ZMSCORE', P .. READY, unpack(names))) do
    if place then lanes[#lanes + 1] = {name = names[index], place = tonumber(place)} end
  end
  return lanes
end

-- Lanes that have become ready since `after`: at the front (the nearest first), and at the tail.
local function look()
  local low, high, life = string.match(wish.after, '^(%-?%d+):(%-?%d+):(.*)$')
  if life ~= conf[7] then low, high = nil, nil end
  local front = low and placed(call('ZREVRANGEBYSCORE', P .. READY, '(' .. low, '-inf', 'WITHSCORES', 'LIMIT', 0,
    LOOK)) or {}
  local tail = placed(call('ZRANGEBYSCORE', P .. READY, high and '(' .. high or '-inf', '+inf', 'WITHSCORES', 'LIMIT',
    0, LOOK - #front))
  sees_more = #front + #tail == LOOK
  return front, tail, tonumber(low or tail[1] and tail[1].place), tonumber(high or tail[1] and tail[1].place)
end

-- The last place of these after which nothing was left that may be had now.
local function reached(lanes, is_taken, last, step)
  for _, lane in ipairs(lanes) do
    if lane.is_assigned and not is_taken[lane.name] and owner_now(lane.name) then
      sees_more = false -- there was no room for it
      return lane.place - step
    end
    last = lane.place
  end
  return last
end

local function choose(most)
  local picked, is_taken = {}, {}
  local function take(lane)
    picked[#picked + 1], is_taken[lane.name] = lane.name, true
  end

  local own = ready_of(wish.assigned)
  for _, lane in ipairs(ready_of(wish.lately)) do
    if owner_now(lane.name) == 'mine' and has_waited(lane.name) then own[#own + 1] = lane end
  end
  local front, tail, low, high
  if #own_patterns > 0 then
    front, tail, low, high = look()
    for _, lanes in ipairs({front, tail}) do
      for _, lane in ipairs(lanes) do
        lane.is_assigned = is_assigned(lane.name)
        if lane.is_assigned then own[#own + 1] = lane end
      end
    end
  end
  table.sort(own, function(a, b) return a.place < b.place end)
  for _, lane in ipairs(own) do
    if #picked == most then break end
    if not is_taken[lane.name] and owner_now(lane.name) then take(lane) end
  end
  if low then
    looked = text(reached(front, is_taken, low, -1)) .. ':' .. text(reached(tail, is_taken, high, 1)) .. ':' .. conf[7]
  end
  if #picked == most or wish.exclusive then return picked end

  local rest, seen = {}, placed(call('ZRANGE', P .. READY, 0, LOOK - 1, 'WITHSCORES'))
  local rank_of, steals = {}, {}
  for rank, entry in ipairs(wish.steal_from) do
    local parts = split(entry)
    if #parts == 1 then
      steals[#steals + 1], rank_of[entry] = entry, rank_of[entry] or rank
    else
      for _, lane in ipairs(seen) do
        if not rank_of[lane.name] and fits(lane.name, parts) then rank_of[lane.name] = rank end
      end
    end
  end
  for _, lanes in ipairs({ready_of(steals), seen}) do
    for _, lane in ipairs(lanes) do
      lane.rank = is_assigned(lane.name) and 0 or rank_of[lane.name] or #wish.steal_from + 1
      rest[#rest + 1] = lane
    end
  end
  table.sort(rest, function(a, b)
    if a.rank ~= b.rank then return a.rank < b.rank end
    return a.place < b.place
  end)
  for _, lane in ipairs(rest) do
    if #picked == most then break end
    local owned = not is_taken[lane.name] and owner_now(lane.name)
    if owned and (lane.rank == 0 or owned == 'mine' or has_waited(lane.name)) then
      take(lane)
      if lane.rank > 0 and lane.rank <= #wish.steal_from and owned ~= 'mine' then stolen[#stolen + 1] = #picked end
    end
  end
  return picked
end

-- Remember who has the lanes that were granted, and forget what was not had for long.
local function note_owners(granted)
  local fields, ends, till = {}, {}, text(now + wish.stay)
  for _, lane in ipairs(granted) do
    local owned = owner_now(lane)
    if owned ~= 'mine' then
      fields[#fields + 1], fields[#fields + 2] = lane, (owned == 'nobody' and '0' or instant) .. ':' .. me
    end
    ends[#ends + 1], ends[#ends + 2] = till, lane
  end
  if #fields > 0 then call('HSET', P .. 'mo', unpack(fields)) end
  if #ends > 0 then call('ZADD', P .. 'm', unpack(ends)) end
  for _, lane in ipairs(call('ZRANGEBYSCORE', P .. 'm', '-inf', instant, 'LIMIT', 0, LOOK)) do
    if call('ZSCORE', P .. HELD, lane) then -- its owner has had it all the time
      call('ZADD', P .. 'm', till, lane)
    else
      call('ZREM', P .. 'm', lane)
      call('HDEL', P .. 'mo', lane)
    end
  end
end
