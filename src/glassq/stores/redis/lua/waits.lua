-- waits: what lanes that nobody holds wait for. Stands before the verbs that end such a time.
-- Times are kept as stretches: <begin>,<end>,<cause>,<amount>, with causes by number and 0 for all of it. Those of a
-- lane that is held are in `wt`, of others in c, under '@' and its name, with the moment behind them up to which all is
-- noted, newest first; of a lane that nobody ever held nothing is. Those in which nothing of the queue could be served
-- are in `hu`, oldest first.
-- Moments are compared as text: they have the same length until the year 2286, and '0' comes before all.

local FAIRNESS, NO_WORKER, PAUSE, BACKOFF, HALT, EVER = '0', '1', '2', '3', '4', '0'
-- Of a lane so many bytes are kept before they are merged, to so many stretches; of its queue so many at most.
local MUCH, FEW_STRETCHES, MOST = 360, 8, 1500

local function stretch(from, till, cause)
  if from >= till then return '' end
  return from .. ',' .. till .. ',' .. cause .. ',0,'
end

-- The times in which nothing of the queue could be served, to this moment. `up` is until when somebody who serves it
-- counts as alive, `ps` since when it is paused.
local held_up
local function standstills(known)
  if held_up then return held_up end
  known = known or call('HMGET', C, 'hu', 'up', 'ps')
  held_up = known[1] or ''
  local alive = known[2] or EVER
  if all_paused then
    held_up = held_up .. stretch(known[3] or instant, instant, PAUSE)
  elseif alive <= instant then
    local noted = string.match(held_up, ',(%d+),%d,0,$') or EVER
    held_up = held_up .. stretch(alive > noted and alive or noted, instant, NO_WORKER)
  end
  return held_up
end

local function is_deserted() return (call('HGET', C, 'up') or EVER) <= instant end

-- Keep them, as what holds the queue up is about to change.
local function note_standstills()
  local all = standstills()
  if #all > MOST then all = string.match(string.sub(all, -MOST), '^%d*,%d,0,(.*)$') or '' end
  if all ~= '' then call('HSET', C, 'hu', all) end
end

-- Of a lane that was ready all the time.
local function ready_stretches(since, till)
  local found = ''
  for from, ends, cause in string.gmatch(standstills(), '(%d+),(%d+),(%d),0,') do
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

-- Note what a lane that nobody holds has waited for, up to now, and tell it. Comes before its state, or a pause, changes.
local function bring_up(lane)
  local due, halted = call('ZSCORE', P .. WAITING, lane), call('ZSCORE', P .. HALTED, lane)
  local is_ready = call('ZSCORE', P .. STOPPED, lane) or call('ZSCORE', P .. READY, lane)
  if not (due or halted or is_ready) then return nil end
  local noted = call('HGET', C, '@' .. lane) or EVER
  local waits, since = string.match(noted, '^(.-)(%d+)$')
  if halted then
    waits = stretch(since, instant, HALT) .. waits
  else
    if due then
      due = text(tonumber(due))
      waits = stretch(since, due < instant and due or instant, BACKOFF) .. waits
      since = due > since and due or since
    end
    if paused_lanes > 0 and call('SISMEMBER', P .. PAUSED, lane) == 1 then
      waits = stretch(since, instant, PAUSE) .. waits
    else
      waits = ready_stretches(since, instant) .. waits
    end
  end
  keep_waits(lane, waits)
  return waits
end

-- The same stretches in fewer: without those before all jobs, and with those in one behind which no job came. What is
-- still too much is merged two by two: a job that came within is then told its share of both.
local function merge(lane, stretches)
  local function eligible(job) return string.match(job, '^%d+:%d:(%d+)') end
  local earliest, latest = instant, EVER
  for level in string.gmatch(levels, '%d') do
    local head, last = call('LINDEX', list_key(level, lane), 0), call('LINDEX', list_key(level, lane), -1)
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
  return told
end

-- What a ready lane that is granted now has waited for, to be handed to its owner.
local held_up_until
local function waited(lane, head, noted)
  held_up_until = held_up_until or string.match(standstills(), ',(%d+),%d,0,$') or EVER
  -- Nearly always it has waited for its turn alone.
  local from, ends, amount, rest, since
  if noted then
    from, ends, amount, rest, since = string.match(noted, '^(%d+),(%d+),0,(%d+),(.-)(%d+)$')
    if from and #levels == 1 and held_up_until <= since and since <= instant then
      -- One stretch with those before, unless a job came in between.
      local last = string.match(call('LINDEX', list_key(levels, lane), -1), '^%d+:%d:(%d+)')
      if last <= from then
        if amount == '0' then amount = ends - from end
        return from .. ',' .. instant .. ',0,' .. amount + (instant - since) .. ',' .. rest
      end
    end
  else
    from = string.match(head, '^%d+:%d:(%d+):%d*::')
    if from and #levels == 1 and held_up_until <= from then return stretch(from, instant, FAIRNESS) end
  end
  rest, since = string.match(noted or EVER, '^(.-)(%d+)$')
  local all = ready_stretches(since, instant) .. rest
  if #all > MUCH then all = merge(lane, all) end
  return all
end

