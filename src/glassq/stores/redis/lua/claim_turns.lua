-- claim_turns: stands before `claim`, which says what is asked and answered, and does what most claims of turns of one
-- job ask for: lanes of the only level there is, of which nothing is noted and whose heads are plain, begin together,
-- and others are ready behind them, or they wait for each other. All of them or none: whatever is otherwise is left to
-- `claim`, with nothing changed.

local function claim_turns()
  local ARGV, call, find, sub = ARGV, call, string.find, string.sub
  local owner, number, ready = ARGV[2], ARGV[6], call('ZCARD', P .. 'r')
  local count = math.min(tonumber(ARGV[7]), 100, ready)
  if ready <= math.min(count, tonumber((string.match(ARGV[10], '%d+')))) then return nil end
  ready = ready - count -- those behind these
  -- Nothing is due, nobody is gone, and this is no repetition.
  local scheduled, retry = first_due(P .. 'd'), first_due(P .. 'w')
  if scheduled and scheduled <= now or retry and retry <= now then return nil end
  if call('ZCOUNT', P .. 'h', '-inf', instant) > 0 or call('HGET', P .. 'i', ARGV[3]) ~= ARGV[4] then return nil end
  local handle, before = string.match(call('HGET', P .. 'k', owner) or '', '^(.*):(%d+):%d+$')
  if handle == ARGV[5] and tonumber(before) >= tonumber(number) then return nil end

  local picked = call('ZRANGE', P .. 'r', '0', text(count - 1))
  -- A table that grows is made anew again and again: these begin as large as they will be, whatever is in them first.
  local asked, keys = {'tok', 'ml', 'gt', 'hu', 'up', 'ps', unpack(picked)}, {unpack(picked)}
  local parts, shorts = {unpack(picked, 1, 3 * count + 2)}, {unpack(picked, 1, 2 * count)}
  local ends, hashes, lists = {unpack(picked, 1, 2 * count)}, P .. 'l:', P .. 's' .. levels .. ':'
  for index = 1, count do asked[6 + index], keys[index] = '@' .. picked[index], hashes .. picked[index] end
  if call('EXISTS', unpack(keys)) > 0 then return nil end
  for index = 1, count do
    local lane, even = picked[index], 2 * index
    local head = call('LINDEX', lists .. lane, '0')
    local at, mark = find(head, ':::', 1, true), find(head, '|', 1, true)
    if not at or at > mark then return nil end -- it expires or has flags
    parts[count + 1 + even], parts[count + 2 + even] = lane, head
    shorts[even - 1], shorts[even] = lane, sub(head, at + 3, mark)
  end
  local last = call('HMGET', C, unpack(asked))
  local token, shortest, newest = last[1], last[2], conf[2]
  if not shortest or tonumber(ARGV[9]) < tonumber(shortest) then return nil end

  standstills({last[4], last[5], last[6]})
  local next_token = counting(math.max(tonumber(token or 0), now - 1))
  local leased_until, past, lengths = text(now + ARGV[9]), ':ready:0:0:0:0:0:1:0:', {}
  local first_token, between = nil, ''
  local behind_job, behind_token = levels .. '|', '|' .. owner .. '|' .. ARGV[9] .. '|'
  for index = 1, count do
    local lane, even = picked[index], 2 * index
    local head = parts[count + 2 + even]
    local waits, named, size = waited(lane, head, last[6 + index], newest), #lane, #head
    token = next_token()
    first_token = first_token or token
    shorts[even] = shorts[even] .. behind_job .. token .. behind_token .. waits
    ends[even - 1], ends[even] = leased_until, lane
    lengths[named], lengths[size] = lengths[named] or text(named), lengths[size] or text(size)
    parts[1 + index] = between .. lengths[named] .. ':' .. waits .. ':' .. token .. past .. lengths[size]
    between = ';'
  end

  call('ZREMRANGEBYRANK', P .. 'r', '0', text(count - 1)) -- the first write, one that needs no memory
  call('ZREM', P .. 'a', unpack(picked))
  call('HSET', P .. 'k', owner, ARGV[5] .. ':' .. number .. ':' .. first_token)
  call('HSET', P .. 't', unpack(shorts))
  call('ZADD', P .. 'h', unpack(ends))
  make_tables(count, ready)
  call('HSET', C, 'seen', instant, 'tok', token, 'gt', text((last[3] or 0) + count))
  local due = retry and math.min(retry, scheduled or retry) or scheduled
  if ready == 0 then due = math.min(due or now + SOON, now + SOON) end
  due = due and text(due - now) or ''
  local counts = conf[2] .. ':' .. (conf[3] or '0') .. ':' .. (conf[4] or '0')
  local around = ready .. '|' .. call('ZCARD', P .. 'o') .. '|' .. due
  parts[1] = instant .. '|' .. around .. '|0|' .. counts .. ':' .. conf[7] .. '|'
  parts[count + 2] = '\n'
  return table.concat(parts)
end

if is_routine and ARGV[11] == '1' and ARGV[7] ~= '0' and not ARGV[13] and string.find(ARGV[10], '+', 1, true) then
  local granted = claim_turns()
  if granted then return granted end
end

