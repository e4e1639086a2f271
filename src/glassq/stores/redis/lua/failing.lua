-- failing: jobs that wait for one which ended badly, and how that is undone. Stands in `weaving`, behind `holding`; what
-- it makes is made where somebody has a use for it.

local made
local function failing()
  if made then return made end

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

  -- A deferred job is cancelled; whoever waits for it hears of it with the next ends. To `come_back` it is kept. Its
  -- lane; false when there was none.
  local function cancel_deferred(child, comes_back)
    local record = call('HGET', P .. 'jd', child)
    if not record then return false end
    call('HDEL', P .. 'jd', child)
    count_settled('cancel', 1)
    local front, flags, rest = string.match(record, '^(%d*:%d:)(%a*)(.*)$')
    if string.find(flags, 'u', 1, true) then free_unique(child) end
    local own
    if comes_back then -- without what it alone held
      call('HSET', P .. 'jx', child, front .. 'w' .. rest)
    else
      own = forget_waits(child)
    end
    ends[#ends + 1] = {id = child, letter = comes_back and 'k' or 'c', own = own}
    local length, at = string.match(rest, '^:(%d+)|()')
    return string.sub(rest, at, at + length - 1)
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
    local lane = cancel_deferred(child, comes_back)
    if lane then
      told.cancelled = told.cancelled + 1
      if lane == woven.lane then told.of_lane = told.of_lane + 1 end
    elseif not comes_back then
      drop_kept(child) -- because of another
    end
  end

  made = {cancel_deferred = cancel_deferred, drop_kept = drop_kept, bring_back = bring_back, lose = lose}
  return made
end

