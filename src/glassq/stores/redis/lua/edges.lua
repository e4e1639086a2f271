-- edges: jobs that wait for others, and what becomes of them when one of these ends. Stands in `weaving`, before
-- `workflows` and `outcomes`.
-- How a job ended is one letter: s succeeded, c cancelled, e expired, b buried, B buried and never to be replayed (it
-- was purged), k cancelled because of a dead letter: it comes back with that; and - is no end: it was replayed.
-- Jobs and workflows of this shard are named without their queue, those of others with it: by the '/' in it.

local MOST = 100 -- children that one script lets go; the others are told by way of the outbox
local room = MOST
local STAYS, COMES_BACK = {b = true, k = true, ['-'] = true}, {b = true, k = true}

-- What came of the end that is told: jobs let into their lanes, jobs cancelled, workflows that ended, whether there is
-- something new in the outbox.
local told = {released = 0, cancelled = 0, relay = false, flows = {}}
local ends, arrivals, held = {}, {}, {}

local function is_far(name) return string.find(name, '/', 1, true) end
local function is_gate(name) return string.sub(name, 1, 1) == '!' end

-- The parents of a job, out of its record in `ju`.
local function each_parent(own, visit)
  local at = string.find(own, '\n', 1, true) + 1
  while at <= #own do
    local size, name, from = string.match(own, '^(%d+):(%d+):()', at)
    visit(string.sub(own, from, from + size - 1))
    at = from + size + name
  end
end

-- What a parent left is kept once for all its children here; `jm` counts those beyond the first.
local function keep_held()
  for parent, what in pairs(held) do
    local more = what.count - call('HSET', P .. 'jr', parent, what.left)
    if more > 0 then call('HINCRBY', P .. 'jm', parent, text(more)) end
  end
  held = {}
end

local function hold(parent, letter, result)
  if is_gate(parent) then return end
  local left = string.lower(letter == 'k' and 'c' or letter) .. (result and '+' .. result or '')
  local what = held[parent]
  held[parent] = {left = left, count = (what and what.count or 0) + 1}
end

local function let_go(parent)
  if is_gate(parent) then return end
  if next(held) then keep_held() end
  local more = call('HGET', P .. 'jm', parent)
  if not more then
    call('HDEL', P .. 'jr', parent)
  elseif more == '1' then
    call('HDEL', P .. 'jm', parent)
  else
    call('HINCRBY', P .. 'jm', parent, '-1')
  end
end

-- A deferred job, or one that was kept to come back, waits for nothing any more. What it belonged to.
local function forget_waits(child)
  local own = call('HGET', P .. 'ju', child)
  each_parent(own, function(parent)
    if call('HDEL', P .. 'jw', child .. ' ' .. parent) == 0 then
      let_go(parent)
    elseif is_gate(parent) or not is_far(parent) then
      call('ZREM', P .. 'je:' .. parent, child)
    end
  end)
  call('HDEL', P .. 'jn', child)
  call('HDEL', P .. 'ju', child)
  return own
end

-- Its last parent has ended: it joins the tail of its lane.
local function admit(child)
  local record = call('HGET', P .. 'jd', child)
  call('HDEL', P .. 'jd', child)
  local ttl, level, flags, length, at = string.match(record, '^(%d*):(%d):(%a*):(%d+)|()')
  local seq = call('HINCRBY', C, 'seq', '1')
  newest = text(seq)
  arrivals[#arrivals + 1] = {
    lane = string.sub(record, at, at + length - 1), level = level, seq = seq, jobs = {
      newest .. ':' .. level .. ':' .. instant .. ':' .. (ttl ~= '' and text(now + ttl) or '') .. ':' .. flags .. ':'
        .. child .. '|' .. string.sub(record, at + length)
    }
  }
  told.released = told.released + 1
end

-- A deferred job is cancelled; whoever waits for it hears of it with the next ends. To `come_back` it is kept.
local function cancel_deferred(child, comes_back)
  local record = call('HGET', P .. 'jd', child)
  if not record then return false end
  call('HDEL', P .. 'jd', child)
  count_settled('cancel', 1)
  local front, flags, rest = string.match(record, '^(%d*:%d:)(%a*)(.*)$')
  if string.find(flags, 'u', 1, true) then free_unique(child) end
  local own
  if comes_back then -- as a replayed one does
    call('HSET', P .. 'jx', child, front .. 'rw' .. rest)
  else
    own = forget_waits(child)
  end
  ends[#ends + 1] = {id = child, letter = comes_back and 'k' or 'c', own = own}
  return true
end

-- One that was kept never comes back.
local function drop_kept(child)
  if call('HDEL', P .. 'jx', child) == 0 then return end
  call('HDEL', P .. 'jf', child)
  ends[#ends + 1] = {id = child, letter = 'B', own = forget_waits(child)}
end

-- Deliveries that are on their way have lower numbers than what is done now.
local function number_of_now() return tonumber(call('HGET', C, 'on') or 0) + 1 end

-- What cancelled it is unsettled again: it comes back when nothing else is against it.
local function bring_back(child, field, policy, many, number)
  call('HSET', P .. 'jw', field, string.lower(policy) .. many .. text(number or number_of_now()))
  if policy ~= 'C' or call('HINCRBY', P .. 'jf', child, '-1') > 0 then return end
  call('HDEL', P .. 'jf', child)
  call('HSET', P .. 'jd', child, call('HGET', P .. 'jx', child))
  call('HDEL', P .. 'jx', child)
  call('HINCRBY', C, 'rp', '1')
  ends[#ends + 1] = {id = child, letter = '-'}
end

-- A parent of this child has ended badly.
local function lose(child, field, many, letter, number)
  local comes_back = COMES_BACK[letter]
  if comes_back then
    call('HSET', P .. 'jw', field, 'C' .. many .. text(number or number_of_now()))
    call('HINCRBY', P .. 'jf', child, '1')
  end
  if cancel_deferred(child, comes_back) then
    told.cancelled = told.cancelled + 1
  elseif not comes_back then
    drop_kept(child) -- because of another
  end
end

-- A child of this shard hears how a parent ended; from the outbox that has a number. Whom it does not wait for, any
-- more or yet, changes nothing.
local function hear(child, parent, letter, result, number)
  local field = child .. ' ' .. parent
  local edge = call('HGET', P .. 'jw', field)
  if not edge then return end
  local policy, many, since = string.match(edge, '^(%a)(%+?)(%d*)$')
  local is_good = letter == 's' or (policy == 'r' and letter ~= '-')
  -- A success is the last that is heard of anybody. Other ends are undone by replays, and may be overtaken by these.
  if letter ~= 's' and number and number < tonumber(since ~= '' and since or 0) then return end
  if letter == '-' or (is_good and policy == 'C') then bring_back(child, field, policy, many, number) end
  if is_good then
    call('HDEL', P .. 'jw', field)
    hold(parent, letter, result)
    if many ~= '' then
      if call('HINCRBY', P .. 'jn', child, '-1') > 0 then return end
      call('HDEL', P .. 'jn', child)
    end
    admit(child)
  elseif policy == 'c' and letter ~= '-' then
    lose(child, field, many, letter, number)
  elseif policy == 'C' and not STAYS[letter] then
    drop_kept(child)
  end
end

