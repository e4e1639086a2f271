-- stretches: what lanes that nobody holds wait for. Stands before `waits` and what grants lanes.
-- Times are kept as stretches: <begin>,<end>,<cause>,<amount>, with causes by number and 0 for all of it. Those of a
-- lane are kept newest first: <seq>,<stretch><stretch>... While no job came into the lane since the newest began, all
-- are told both alike, and it grows; seq is how far the queue was when that was so, 0 when it may not be. While a lane
-- is held they are in `wt`. When it is given up they go into c, under '@' and its name, with the moment (16 digits)
-- behind them up to which all is noted, and stay there as long as it has jobs, to be replaced. Of a lane that nobody
-- ever gave up nothing is there, and its seq is ''.
-- Those in which nothing of the queue could be served are in `hu`, oldest first.
-- Moments are compared as text: they have the same length until the year 2286, and '0' comes before all.

local FAIRNESS, NO_WORKER, PAUSE, BACKOFF, HALT, EVER = '0', '1', '2', '3', '4', '0'
-- Of a lane so many bytes are kept before they are merged, to so many stretches.
local MUCH, FEW_STRETCHES = 360, 4

local function stretch(from, till, cause)
  if from >= till then return '' end
  return from .. ',' .. till .. ',' .. cause .. ',0,'
end

-- The times in which nothing of the queue could be served, to this moment. `up` is until when somebody who serves it
-- counts as alive, `ps` since when it is paused.
local held_up, held_up_until, served_since
local function standstills(known)
  if held_up then return held_up end
  known = known or call('HMGET', C, 'hu', 'up', 'ps')
  held_up = known[1] or ''
  local alive, last = known[2] or EVER, string.sub(held_up, -21, -6) -- the end of the last one: all are of one length
  if tonumber(conf[8] or 0) % 2 == 1 then -- the queue is paused
    held_up = held_up .. stretch(known[3] or instant, instant, PAUSE)
  elseif alive <= instant then
    held_up = held_up .. stretch(alive > last and alive or last, instant, NO_WORKER)
  end
  held_up_until = string.sub(held_up, -21, -6)
  served_since = tonumber(held_up_until) or 0
  return held_up
end

-- Of a lane that was ready all the time.
local function ready_stretches(since, till)
  local all, found = standstills(), ''
  if held_up_until <= since then return stretch(since, till, FAIRNESS) end -- nearly always
  for from, ends, cause in string.gmatch(all, '(%d+),(%d+),(%d),0,') do
    if ends > since and from < till then
      if from > since then
        found = stretch(since, from, FAIRNESS) .. found
        since = from
      end
      ends = ends < till and ends or till
      found = stretch(since, ends, cause) .. found
      since = ends
    end
  end
  return stretch(since, till, FAIRNESS) .. found
end

-- The waits of a lane, with newer stretches before those that were noted. Where that is much, the same in fewer:
-- without those before all jobs, and with those in one behind which no job came. What is still too much is merged two
-- by two: a job that came within is then told its share of both.
local function put_before(lane, newer, known, stretches)
  if newer == '' then return known .. ',' .. stretches end
  stretches = newer .. stretches
  if #stretches <= MUCH then return '0,' .. stretches end

  local function eligible(job) return string.match(job, '^%d+:%d:(%d+)') end
  local earliest, latest = instant, EVER
  for level in string.gmatch(levels, '%d') do
    local list = P .. 's' .. level .. ':' .. lane
    local head, last = call('LINDEX', list, 0), call('LINDEX', list, -1)
    if head then
      -- A job that was replayed may stand before older ones.
      local first = string.find(head, '^%d+:%d:%d+:%d*:%a*r') and EVER or eligible(head)
      if first < earliest then earliest = first end
      if eligible(last) > latest then latest = eligible(last) end
    end
  end

  local all, groups = {}, {}
  local function join(group, other)
    group.ends = other.ends
    for cause, amount in pairs(other.amounts) do group.amounts[cause] = (group.amounts[cause] or 0) + amount end
  end
  for from, ends, cause, amount in string.gmatch(stretches, '(%d+),(%d+),(%d),(%d+),') do
    table.insert(all, 1, {from, ends, cause, amount})
  end
  for _, each in ipairs(all) do
    local from, ends, cause, amount = unpack(each)
    local last = groups[#groups]
    if from < earliest and amount == '0' then from = earliest end
    if ends > from and ends > earliest then
      local one = {from = from, ends = ends, amounts = {[cause] = amount == '0' and ends - from or tonumber(amount)}}
      if last and (last.from >= latest or last.from == from) then join(last, one) else groups[#groups + 1] = one end
    end
  end
  if #groups > FEW_STRETCHES then
    local halved = {}
    for index = 1, #groups, 2 do
      if groups[index + 1] then join(groups[index], groups[index + 1]) end
      halved[#halved + 1] = groups[index]
    end
    groups = halved
  end
  local told = ''
  for _, group in ipairs(groups) do
    for cause, amount in pairs(group.amounts) do
      told = group.from .. ',' .. group.ends .. ',' .. cause .. ',' .. text(amount) .. ',' .. told
    end
  end
  return '0,' .. told
end

