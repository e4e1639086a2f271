-- edges: what becomes of a job that waits for others when one of these ends. Stands in `weaving`, behind `failing`.

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
  if letter == '-' or (is_good and policy == 'C') then failing().bring_back(child, field, policy, many, number) end
  if is_good then
    call('HDEL', P .. 'jw', field)
    hold(parent, letter, result)
    if many ~= '' then
      if call('HINCRBY', P .. 'jn', child, '-1') > 0 then return end
      call('HDEL', P .. 'jn', child)
    end
    admit(child)
  elseif policy == 'c' and letter ~= '-' then
    failing().lose(child, field, many, letter, number)
  elseif policy == 'C' and not STAYS[letter] then
    failing().drop_kept(child)
  end
end

