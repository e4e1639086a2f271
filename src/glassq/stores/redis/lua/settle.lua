-- settle: end attempts of lane heads; at most one settlement per lane.
-- ARGV   time, owner, digest of this call, then per settlement: lane, token, job, action, reason, wait (µs), error,
--        ran, leaving, next job or '', change, window
-- Reply  {<now>|<how far the queue had come>, {status, ordinal, held, others, change, {job...}}...}, one per
--        settlement, in order
-- Errors GLASSQNOTHEAD when an unsettled job is not the head of its lane; nothing has changed then
-- Replay: a settlement of a job that is gone answers `already`. The last calls of every worker are kept by their
-- digests (a worker settles several lanes at a time), so that a repetition is known even where the lane vanished,
-- or its lease ended, with the first one.

local owner, digest = ARGV[2], ARGV[3]
local FIELDS, DEEP, REMEMBERED = 12, 1000, 1024 -- bytes: the last fifty calls of a worker, or the last of 100 lanes

local function settlement(index)
  local at = 3 + (index - 1) * FIELDS
  return {
    lane = ARGV[at + 1], token = ARGV[at + 2], job = ARGV[at + 3], action = ARGV[at + 4], reason = ARGV[at + 5],
    wait = tonumber(ARGV[at + 6]), error = ARGV[at + 7], ran = tonumber(ARGV[at + 8]), leaving = ARGV[at + 9],
    next = ARGV[at + 10], change = ARGV[at + 11], window = tonumber(ARGV[at + 12])
  }
end

-- Only for the refusal of a worker's mistake, so it looks as deep as windows reach, not further.
local function is_unsettled(lane, job)
  for level in string.gmatch(levels, '%d') do
    for _, each in ipairs(call('LRANGE', list_key(level, lane), 0, DEEP)) do
      if identity(each) == job then return true end
    end
  end
  return false
end

local all, fenced = {}, false
for index = 1, (#ARGV - 3) / FIELDS do
  local what = settlement(index)
  local held = call('HMGET', lane_key(what.lane), 't', 'o', 'b', 'n', 'ba', 'ch', 'f', 'k', 'cx', 'cu')
  what.begun, what.attempts, what.blocked = held[3], tonumber(held[4] or 0), tonumber(held[5])
  what.changes, what.tried = held[6] or '0', held[4] or held[5] or held[7] or held[8] or held[9]
  what.current = held[10]
  -- fence: the number and the owner; `o` is there only while the lane is held.
  if held[1] ~= what.token or held[2] ~= owner then
    what.status, fenced = 'fenced', true
  elseif not what.current then -- kept: nothing runs, so what comes is a repetition, even if the job was replayed
    what.status = 'already'
  else
    what.head = first(what.lane, what.begun)
    if what.head and identity(what.head) == what.job then
      what.status = 'done'
    elseif is_unsettled(what.lane, what.job) then -- order: settling it would let it pass the jobs before it
      return redis.error_reply('GLASSQNOTHEAD ' .. what.job)
    else
      what.status = 'already'
    end
  end
  all[index] = what
end

begin()

if fenced then -- perhaps because this very call has been carried out before
  local _, at = string.find(call('HGET', P .. 'u', owner) or '', digest, 1, true)
  if at then
    local done = string.match(call('HGET', P .. 'u', owner), '^[df]*', at + 1)
    for index, what in ipairs(all) do
      if what.status == 'fenced' and string.sub(done, index, index) == 'd' then what.status = 'gone' end
    end
  end
end

local function bury(what)
  local seq = text(sequence(what.head))
  local attempts = text(what.attempts + what.ran)
  local header = #what.lane .. ':' .. #what.reason .. ':' .. #what.error .. ':' .. attempts .. ':' .. text(now)
  call('HSET', P .. 'x', seq, header .. '|' .. what.lane .. what.reason .. what.error .. what.head)
  call('ZADD', P .. 'xs', seq, seq)
  call('ZADD', P .. 'xt', text(now), seq)
  call('HSET', P .. 'xi', what.job, seq)
end

-- RETRY and HALT: the head stays in its place, the lane waits without an owner.
local function stop(what)
  local key, since = lane_key(what.lane), what.blocked or now
  local attempts = what.attempts + what.ran
  call('HSET', key, 'ba', text(since), 're', what.reason, 'er', what.error)
  if what.ran > 0 then call('HSET', key, 'n', text(attempts)) end
  call('HINCRBY', key, 'f', '1')
  call('HDEL', key, 'o', 'cu')
  call('ZREM', HELD, what.lane)
  if what.action == 'halt' then
    call('ZADD', HALTED, text(now), what.lane)
  else
    call('ZADD', WAITING, text(now + what.wait), what.lane)
    ring() -- others learn when it is due
  end
  note_blocked(what.lane, attempts, since)
  note_lowest(what.lane)
end

-- The lane's next job: the one the worker named while its window is fresh, else the lane's true head.
local function follower(what)
  local head, level = first(what.lane)
  if not head or what.next == '' or what.change ~= what.changes or identity(head) == what.next then
    return head, level
  end
  for each in string.gmatch(levels, '%d') do
    local job = call('LINDEX', list_key(each, what.lane), 0)
    if job and identity(job) == what.next then return job, each end
  end
  return head, level
end

-- The head is gone: the lane vanishes, goes back to the ready lanes, or goes on with its next job.
local function move_on(what)
  local lane, key = what.lane, lane_key(what.lane)
  local head, level = follower(what)
  -- One that was named before, by a call that is repeated, keeps what happened to it since.
  local tried = what.tried and not (head and what.leaving == 'stay' and identity(head) == what.current)
  if not head and what.leaving ~= 'keep' then
    vanish(lane)
    return false, {}
  end
  if tried then forget_blocked(lane) end
  local paused = is_paused(lane)
  if what.leaving == 'yield' or what.leaving == 'release' or (paused and what.leaving == 'stay') then
    -- Where lanes wait already, whoever could take this one has been rung for those.
    local alone = call('ZCARD', READY) == 0
    vacate(lane, what.leaving ~= 'yield')
    if not paused and (alone or what.leaving == 'release') then ring() end
    return false, {}
  end
  -- The counters are the head's: its successor starts without.
  if tried then call('HDEL', key, 'n', 'f', 'k', 'ba', 're', 'er', 'cx') end
  if what.leaving == 'keep' then -- held for a callback; what comes next has not begun
    call('HDEL', key, 'cu', 'b')
    call('SADD', KEPT, lane)
    return true, {}
  end
  local id = identity(head)
  if what.status == 'already' then call('SREM', KEPT, lane) end
  call('HSET', key, 'cu', id, 'b', level)
  if id == what.next and what.change == what.changes then return true, {} end
  return true, window(lane, math.max(1, what.window))
end

local marks, reply = {}, {text(now) .. '|' .. found()}
for index, what in ipairs(all) do
  local ordinal, held, jobs = 0, false, {}
  if what.status == 'done' and (what.action == 'retry' or what.action == 'halt') then
    stop(what)
  elseif what.status == 'done' then
    call('LPOP', list_key(what.begun or string.match(what.head, '^%d+:(%d)'), what.lane))
    if what.action == 'bury' then bury(what) end
    forget_unique(what.head)
    ordinal = count_settled(what.action, 1)
  end
  if what.status == 'already' or (what.status == 'done' and what.action ~= 'retry' and what.action ~= 'halt') then
    held, jobs = move_on(what)
  end
  marks[index] = what.status == 'fenced' and 'f' or 'd'
  reply[index + 1] = {
    what.status == 'gone' and 'already' or what.status, ordinal, held and 1 or 0,
    others_ready() and 1 or 0, tonumber(what.changes), jobs
  }
end
if format then
  local earlier = call('HGET', P .. 'u', owner) or ''
  call('HSET', P .. 'u', owner, string.sub(digest .. table.concat(marks) .. ';' .. earlier, 1, REMEMBERED))
end
return reply
