-- claim: give ready lanes to a worker, after taking back what its owners have lost.
-- ARGV   time, owner, its node, its incarnation, handle, number of this claim, lanes, window, lease (µs), how many of
--        the lanes begin at once (and '+' where the further ones do, too, whose turns are one job or end with what is
--        granted, and of whose heads nothing is noted), jobs of a turn, how many jobs the owner may run ahead; then,
--        from a worker with assigned keys, what it wants (see `choosing`)
-- Reply  <now>|<how many further lanes are ready>|<how many workers serve the queue>|<µs until something is due or
--        ''>|<whether this is a repetition>|<how far the queue had come>|<grant>;<grant>...<line end><texts>, as one
--        text because each part would cost its reader 4 µs; of each grant the length of its lane's name, its waits,
--        its token, cause, attempts, failures, crashes, change, whether it is to be cancelled, whether it has begun,
--        ahead and the lengths of its jobs, with ':' between; and the texts are all the names and jobs in the same
--        order. To a worker with assigned keys also |<where looking goes on>|<which grants were stolen>, before the
--        line end
-- Replay: numbers of one handle ascend. A claim with the worker's last number grants nothing new and tells again
-- what it had granted; one with an older number was overtaken on its way, and nobody waits for its answer.

local owner, node, incarnation, handle, number = ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
local lanes, size, lease = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local turn, ahead = tonumber(ARGV[11]), tonumber(ARGV[12])
local beginning, together = match(ARGV[10], '^(%d+)(%+?)$')
beginning, together = tonumber(beginning), together ~= ''
local AT_ONCE, BUDGET, SHORT_TURN = '100', 256, 32 -- the last as in `worker/granted.py`

if not format then return instant .. '|0|0||0|' .. found() .. '|\n' end
begin()
local leased_until = text(now + lease) -- after `begin`: there time may stand still

local function node_of(name) return string.match(name, '^(.*)/([^/]*)/[^/]*$') end

-- Ready again at the front, with the job it was running blamed for the crash.
local function reclaim(lane, cause)
  local key = lane_key(lane)
  local held = call('HMGET', key, 'cu', 'n', 'ba', 'b', 'cw', 't', 'wt', 'ln')
  grant_wishes(lane, held[5], held[1])
  if not first(lane) then -- the owner died in the callback of the lane's last job
    vanish(lane)
    return
  end
  local has_begun = not held[6] or call('HDEL', key, 'nb:' .. held[6]) == 0
  if held[1] and has_begun then
    local attempts = call('HINCRBY', key, 'n', '1')
    call('HINCRBY', key, 'k', '1')
    if not held[3] then call('HSET', key, 'ba', instant) end
    note_blocked(lane, attempts, tonumber(held[3] or now))
  elseif not (held[1] or held[2]) then
    call('HDEL', key, 'b')
  end
  -- Nobody worked on it since its owner was heard of last.
  local heard = text(call('ZSCORE', P .. HELD, lane) - held[8])
  local known, noted = string.match(held[7] or '0,', '^(%d*),(.*)$')
  keep_waits(lane, put_before(lane, stretch(heard, instant, NO_WORKER), known, noted))
  call('HSET', key, 'ca', cause)
  call('HDEL', key, 'o', 'cu', 'ah', 'go', 'wt')
  call('ZREM', P .. HELD, lane)
  call('SREM', P .. KEPT, lane)
  note_lowest(lane)
  make_ready(lane, true)
end

local function owner_of(lane) return fields_of(lane, 'o')[1] end

-- An earlier incarnation of this very node is gone: its lanes wait for no lease to end. Looked for once.
if call('HGET', P .. 'i', node) ~= incarnation then
  for _, lane in ipairs(call('ZREVRANGE', P .. HELD, '0', '-1')) do
    local its_node, its_incarnation = node_of(owner_of(lane))
    if its_node == node and its_incarnation ~= incarnation then reclaim(lane, 'handover') end
  end
  call('HSET', P .. 'i', node, incarnation)
end

local ended = call('ZRANGEBYSCORE', P .. HELD, '-inf', instant, 'LIMIT', '0', AT_ONCE)
for index = #ended, 1, -1 do -- the one that ended first comes first
  call('HDEL', P .. 'i', (node_of(owner_of(ended[index]))))
  reclaim(ended[index], 'lease_expired')
end

-- Scheduled jobs that are due join the tail of their lanes, in the order of their times, then of their calls.
local scheduled = first_due(P .. 'd')
if scheduled and scheduled <= now then
  local arrived = {}
  for _, number in ipairs(call('ZRANGEBYSCORE', P .. 'd', '-inf', instant, 'LIMIT', '0', AT_ONCE)) do
    local due, record = tonumber(call('ZSCORE', P .. 'd', number)), call('HGET', P .. 'dp', number)
    local ttl, level, flags, length, id, at = string.match(record, '^(%d*):(%d):(%a*):(%d+):([^|]+)|()')
    at, length = tonumber(at), tonumber(length)
    local seq = call('HINCRBY', C, 'seq', '1')
    newest = text(seq)
    arrived[#arrived + 1] = {
      lane = string.sub(record, at, at + length - 1), level = level, seq = seq, jobs = {
        text(seq) .. ':' .. level .. ':' .. text(due) .. ':' .. (ttl ~= '' and text(due + tonumber(ttl)) or '')
          .. ':' .. flags .. ':' .. id .. '|' .. string.sub(record, at + length)
      }
    }
    call('ZREM', P .. 'd', number)
    call('HDEL', P .. 'dp', number)
    call('HDEL', P .. 'di', id)
  end
  if arrive(arrived) then ring() end
  scheduled = first_due(P .. 'd')
end

local retry = first_due(P .. WAITING)
if retry and retry <= now then
  for _, lane in ipairs(call('ZRANGEBYSCORE', P .. WAITING, '-inf', instant, 'LIMIT', '0', AT_ONCE)) do
    bring_up(lane)
    call('ZREM', P .. WAITING, lane)
    make_ready(lane, false)
  end
  retry = first_due(P .. WAITING)
end

-- The parts of the reply, and what stands behind them. They become one text once: each byte of every text that is put
-- together counts.
local reply, texts, grants, granted_jobs = {''}, {}, 0, 0
local ready = not all_paused and call('ZCARD', P .. READY) or 0
local granted = {}

-- What was noted of a head: b, n, f, k, ca, ch, cx. Nearly always nothing.
local FRESH, USUAL = {}, ':ready:0:0:0:0:0:1:0:'

local function history_of(key)
  local history = call('HMGET', key, 'b', 'n', 'f', 'k', 'ca', 'ch', 'cx')
  for field = 1, 7 do
    if history[field] then return history end
  end
  return FRESH
end

-- How long a text is. Most are as long as others, and to make a text of a number takes longer than to look for it.
local lengths = {}
local function length(part)
  local size = #part
  lengths[size] = lengths[size] or text(size)
  return lengths[size]
end

-- What is told of a lane, but for its further jobs, which go behind its first one.
local function tell(lane, head, sizes, token, past, waits)
  local behind = #texts
  reply[grants + 2] = (grants > 0 and ';' or '|') .. length(lane) .. ':' .. waits .. ':' .. token .. past .. sizes
  texts[behind + 1], texts[behind + 2] = lane, head
  grants, granted_jobs = grants + 1, granted_jobs + 1
end

local function past_of(history, id, has_begun, runs_ahead)
  return ':' .. (history[5] or 'ready') .. ':' .. (history[2] or 0) .. ':' .. (history[3] or 0) .. ':'
    .. (history[4] or 0) .. ':' .. (history[6] or 0) .. (history[7] == id and ':1' or ':0')
    .. (has_begun and ':1:' or ':0:') .. runs_ahead .. ':'
end

-- Where nothing but the end of a turn of one plain job is awaited, this is all that is noted, see `opening`; else in a
-- hash of the lane's own.
local shorts, is_one_level, list_of = {}, #levels == 1, P .. 's' .. levels .. ':'
local its_pass, behind_token = '|' .. owner .. '|', '|' .. owner .. '|' .. ARGV[9] .. '|'
local is_short_turn = together and turn == 1

-- fence: number and owner; from here on every earlier one is refused.
local function grant(lane, history, kept, token, share)
  local head, jobs, count = nil, nil, 1
  if share == 1 and is_one_level then
    head = call('LINDEX', list_of .. lane, '0')
  elseif history[1] then -- a head that was tried before comes alone: what follows it is decided after it
    head = first(lane, history[1])
  else
    jobs = window(lane, share)
    head, count = jobs[1], #jobs
  end
  local id, is_plain = identity(head)
  local waits, sizes = waited(lane, head, kept, newest), length(head)
  local ends_so = count < math.min(size, turn) or count == turn and (count == 1 or ahead > 0 and count <= SHORT_TURN)
  local is_bundled = history == FRESH and (is_short_turn or together and ends_so)
  if is_bundled and is_plain and count == 1 and is_one_level then
    shorts[#shorts + 1], shorts[#shorts + 2] = lane, id .. '|' .. levels .. '|' .. token .. behind_token .. waits
    tell(lane, head, sizes, token, USUAL, waits)
    return
  end

  local runs_ahead, has_begun = math.min(ahead, count - 1), is_bundled or grants < beginning
  local key, level, more = hash_of(lane), is_one_level and levels or match(head, '^%d+:(%d)'), {}
  if not (history[1] or history[2] or history[3] or history[4] or history[7]) then
    more[1], more[2] = 'go', token .. its_pass .. level .. '|' .. (history[6] or '0')
  end
  if not has_begun then
    more[#more + 1], more[#more + 2] = 'nb:' .. token, '1'
  end
  if runs_ahead > 0 then
    more[#more + 1], more[#more + 2] = 'ah', text(runs_ahead)
  end
  if history[5] then -- told once, and again to who repeats this claim; by its token, as no later one is to tell it
    call('HDEL', key, 'ca')
    more[#more + 1], more[#more + 2] = 'cg', token .. ':' .. history[5]
  end
  call('HSET', key, 'wt', waits, 't', token, 'o', owner, 'cu', id, 'b', level, 'ln', ARGV[9], unpack(more))
  for index = 2, count do sizes = sizes .. ':' .. length(jobs[index]) end
  tell(lane, head, sizes, token, past_of(history, id, has_begun, runs_ahead), waits)
  for index = 2, count do texts[#texts + 1] = jobs[index] end
  granted_jobs = granted_jobs + count - 1
end

local its_handle, its_number, its_first = match(call('HGET', P .. 'k', owner) or '', '^(.*):(%d+):(%d+)$')
local repeated = its_handle == handle and tonumber(its_number) >= number
if repeated then
  -- One that was overtaken granted nothing that is held: that is a later claim's.
  for _, lane in ipairs(tonumber(its_number) == number and call('ZRANGE', P .. HELD, '0', '-1') or {}) do
    local held = fields_of(lane, 'b', 'n', 'f', 'k', 'cg', 'ch', 'cx', 'o', 't', 'wt')
    if held[8] == owner and tonumber(held[9]) >= tonumber(its_first) then -- its last claim has the newest tokens
      local granted_by, cause = match(held[5] or '', '^(%d+):(.*)$')
      held[5] = granted_by == held[9] and cause
      local has_begun = call('HEXISTS', hash_of(lane), 'nb:' .. held[9]) == 0
      local head = first(lane, held[1])
      tell(lane, head, length(head), held[9], past_of(held, identity(head), has_begun, 0), held[10] or '0,')
    end
  end
elseif lanes > 0 then
  local most, picked = math.min(lanes, tonumber(AT_ONCE)), {}
  if ARGV[13] and not all_paused then
    picked = choose(math.min(most, math.max(1, math.floor(BUDGET / turn)))) -- none is looked at in vain
  elseif not all_paused then
    picked = call('ZRANGE', P .. READY, '0', text(most - 1))
  end
  local is_crowded = ready > math.min(#picked, beginning) -- those that wait in their worker count, too
  local share = math.max(1, math.min(size, is_crowded and turn or math.floor(BUDGET / math.max(1, #picked))))
  local asked = {'tok', 'ml', 'gt', 'hu', 'up', 'ps'}
  local keys, hashes = {unpack(picked)}, P .. 'l:'
  for index = 1, #picked do asked[6 + index], keys[index] = '@' .. picked[index], hashes .. picked[index] end
  local last = call('HMGET', C, unpack(asked))
  standstills({last[4], last[5], last[6]})
  local token, shortest = math.max(tonumber(last[1] or 0), now - 1), tonumber(last[2])
  local first_token = text(token + 1)
  local ends = {}
  granted = picked
  local all_fresh = #keys == 0 or call('EXISTS', unpack(keys)) == 0
  for index = 1, #picked do
    if granted_jobs >= BUDGET then
      granted = {unpack(picked, 1, index - 1)}
      break
    end
    local lane = picked[index]
    token = token + 1
    grant(lane, all_fresh and FRESH or history_of(keys[index]), last[6 + index], text(token), share)
    ends[2 * index - 1], ends[2 * index] = leased_until, lane
  end
  call('HSET', P .. 'k', owner, handle .. ':' .. text(number) .. ':' .. first_token)
  if ARGV[13] then note_owners(granted) end
  if #shorts > 0 then call('HSET', P .. 't', unpack(shorts)) end
  if #granted > 0 then
    call('ZREM', P .. READY, unpack(granted))
    call('ZREM', P .. LOWEST, unpack(granted))
    ready = ready - #granted
    call('ZADD', P .. HELD, unpack(ends))
    make_tables(#granted, ready)
    call('HSET', C, 'tok', text(token), 'gt', text(tonumber(last[3] or 0) + #granted))
    if not shortest or lease < shortest then call('HSET', C, 'ml', ARGV[9]) end
  end
end

-- When to look again if nothing rings: a retry that is due, or the end of somebody else's lease. That does not matter
-- where a worker got lanes and more are ready, or wait in it: it looks again as soon as it has room.
local function next_due()
  local due = retry and math.min(retry, scheduled or retry) or scheduled
  if grants > 0 and ready > 0 and not ARGV[13] then return due end
  if grants > beginning and not ARGV[13] then return math.min(due or now + SOON, now + SOON) end
  local held, just_granted = call('ZRANGE', P .. HELD, '0', '15', 'WITHSCORES'), {}
  for _, lane in ipairs(granted) do just_granted[lane] = true end
  for index = 1, #held, 2 do
    -- Sixteen of its own in front: look then, further ones may be another's.
    if index == 31 or not just_granted[held[index]] and owner_of(held[index]) ~= owner then
      local ends = tonumber(held[index + 1])
      return math.min(due or ends, ends)
    end
  end
  return due
end

local workers = text(call('ZCARD', P .. 'o'))
local due = ARGV[13] and sees_more and now or next_due()
reply[1] = instant .. '|' .. text(ready) .. '|' .. workers .. '|' .. (due and text(math.max(0, due - now)) or '') .. '|'
  .. (repeated and 1 or 0) .. '|' .. found() .. (grants == 0 and '|' or '')
local at = #reply + 1
reply[at] = (ARGV[13] and '|' .. looked .. '|' .. table.concat(stolen, ';') or '') .. '\n'
for index = 1, #texts do reply[at + index] = texts[index] end
return table.concat(reply)
