-- settle: end attempts of lane heads; at most one settlement per lane.
-- ARGV   time, owner, a digest of each settlement (all of one length) or '', then per settlement: action, lane, token, job, leaving, next job or '',
--        change, window, ahead, and where the attempt failed (retry, halt, bury) also: reason, wait (µs), error, ran.
--        With a '+' behind the action there are also: for how long it is kept (µs, 0 not at all), its reason, what is
--        said of it, and what it leaves: 'r' a result, 'e' an error or '' nothing, and that
--        Leaving is also 'go_on': the next job has begun, whatever has changed. The digest of such a one is '': while
--        the lane is held, its head says enough. With 'yield' the next job and the change are instead the lane whose
--        head begins now, granted earlier to this owner, and its token or ''
--        Where all have succeeded with 'yield' and leave nothing, they are told in short: time, owner, digests, 'turns',
--        what begins with the last of them (lane and token, or '' and ''), then per settlement lane, token and job.
--        With 'steps' instead some may go on (as with 'go_on'): per settlement there is also the next job, or '' where
--        the lane is given up, as the last is if anything begins with it
-- Reply  <now>|<how far the queue had come>|<answer>;<answer>..., one answer per settlement, in order:
--        <status>:<ordinal>:<held>:<others, 2 in a paused queue>:<change>:<size of the new window>; as one text because
--        each part would cost its reader 4 µs. With new windows an array of this and of their jobs. Of a job others
--        waited for also :<how many of them it let go, or cancelled>:<1 if the outbox has something new>:<how many
--        workflows ended>, which stand behind its window (see `workflows`). Where all were told in short, perhaps only
--        the first answer and *<how many>:<the first that says that others wait, or 0>; ordinals count on. Of 'steps'
--        also :<of each 1 where its lane is held, or 0>
-- Errors GLASSQNOTHEAD when an unsettled job is not the head of its lane; nothing has changed then
-- Replay: a settlement of a job that is gone answers `already`. The last settlements of every worker are kept by their
-- digests, so that a repetition is known even where the lane vanished, or its lease ended, with the first one; also
-- when it is repeated without those it was told with.

local ARGV = ARGV
if ARGV[4] == 'turns' or ARGV[4] == 'steps' then
  local told, size = {ARGV[1], ARGV[2], ARGV[3]}, ARGV[4] == 'turns' and 3 or 4
  for at = 7, #ARGV, size do
    local following = size == 4 and ARGV[at + 3] or ''
    local goes_on = following ~= ''
    for _, each in ipairs({'ack', ARGV[at], ARGV[at + 1], ARGV[at + 2], goes_on and 'go_on' or 'yield', following,
        goes_on and '0' or '', '1', '0'}) do
      told[#told + 1] = each
    end
  end
  if ARGV[5] ~= '' then told[#told - 3], told[#told - 2] = ARGV[5], ARGV[6] end
  ARGV = told
end

local owner, digests = ARGV[2], ARGV[3]
local DEEP = 1000
local FAILED = {retry = true, halt = true, bury = true}
local LETTERS = {ack = 's', bury = 'b', expire = 'e', cancel = 'c'}
local PLUS = string.byte('+')

-- The settlement that begins at this argument, with what the lane said of itself.
local function settlement(at, held)
  local yields, action, leaves = ARGV[at + 4] == 'yield', ARGV[at], string.byte(ARGV[at], -1) == PLUS
  if leaves then action = string.sub(action, 1, -2) end
  local ends = at + (FAILED[action] and 13 or 9)
  return {
    action = action, left = leaves and ends, ends = leaves and ends + 5 or ends, lane = ARGV[at + 1], token = ARGV[at + 2], job = ARGV[at + 3], leaving = ARGV[at + 4],
    next = yields and '' or ARGV[at + 5], change = ARGV[at + 6], ahead = ARGV[at + 8], at = at, status = false,
    head = false, current = held[3], begun = held[4], changes = held[5] or '0', attempts = held[6], blocked = held[7],
    tried = held[6] or held[7] or held[8] or held[9] or held[10], was_ahead = held[11], wishes = held[12]
  }
end

local function is_job(value, id)
  local mark = string.find(value, '|', 1, true)
  return mark and string.sub(value, mark - #id - 1, mark - 1) == ':' .. id
end

-- Only for the refusal of a worker's mistake, so it looks as deep as windows reach, not further.
local function is_unsettled(lane, job)
  for level in string.gmatch(levels, '%d') do
    for _, each in ipairs(call('LRANGE', list_key(level, lane), 0, DEEP)) do
      if is_job(each, job) then return true end
    end
  end
  return false
end

local all, fenced, at, ends = {}, false, 4, #ARGV
while at <= ends do
  local held = call('HMGET', lane_key(ARGV[at + 1]), 't', 'o', 'cu', 'b', 'ch', 'n', 'ba', 'f', 'k', 'cx', 'ah',
    'cw')
  local what = settlement(at, held)
  -- fence: the number and the owner; `o` is there only while the lane is held.
  if held[1] ~= what.token or held[2] ~= owner then
    what.status, fenced = 'fenced', true
  elseif not what.current then -- kept: nothing runs, so what comes is a repetition, even if the job was replayed
    what.status = 'already'
  else
    what.head = first(what.lane, what.begun)
    if what.head and is_job(what.head, what.job) then
      what.status = 'done'
    elseif is_unsettled(what.lane, what.job) then -- order: settling it would let it pass the jobs before it
      return redis.error_reply('GLASSQNOTHEAD ' .. what.job)
    else
      what.status = 'already'
    end
  end
  all[#all + 1] = what
  at = what.ends
end

call('HDEL', C, '_') -- the first write, one that needs no memory
pass_time()
if is_new and format then note_run() end

local size = #digests / #all
if fenced and size > 0 then -- perhaps because this very settlement has been carried out before
  local known = {}
  for _, earlier in ipairs(call('LRANGE', P .. 'u:' .. owner, 0, -1)) do
    for at = 1, #earlier, size do known[string.sub(earlier, at, at + size - 1)] = true end
  end
  for index, what in ipairs(all) do
    local was_done = known[string.sub(digests, (index - 1) * size + 1, index * size)]
    if what.status == 'fenced' and was_done then what.status = 'gone' end
  end
end

-- What is told of an attempt that failed.
local function failure(what)
  local at = what.at
  return ARGV[at + 9], tonumber(ARGV[at + 10]), ARGV[at + 11], tonumber(what.attempts or 0) + tonumber(ARGV[at + 12])
end

local function bury(what)
  local seq = text(sequence(what.head))
  local reason, _, error, attempts = failure(what)
  local header = #what.lane .. ':' .. #reason .. ':' .. #error .. ':' .. text(attempts) .. ':' .. instant
  call('HSET', P .. 'x', seq, header .. '|' .. what.lane .. reason .. error .. what.head)
  call('ZADD', P .. 'xs', seq, seq)
  call('ZADD', P .. 'xt', instant, seq)
  call('HSET', P .. 'xi', what.job, seq)
end

-- Write down what is to be kept of a settlement that was done. What is tried again has its wait besides.
local function note_settled(what)
  local at = what.left
  local time = tonumber(ARGV[at])
  if time == 0 then return end
  if what.action == 'retry' then time = time + ARGV[what.at + 10] end
  keep_note(what.job, what.action, time, ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4])
end

local settled = tonumber(conf[4] or 0)

-- RETRY and HALT: the head stays in its place, the lane waits without an owner.
local function stop(what)
  local key, since = lane_key(what.lane), tonumber(what.blocked or now)
  local reason, wait, error, attempts = failure(what)
  call('HSET', key, 'ba', text(since), 're', reason, 'er', error)
  if ARGV[what.at + 12] ~= '0' then call('HSET', key, 'n', text(attempts)) end
  call('HINCRBY', key, 'f', '1')
  keep_waits(what.lane, call('HGET', key, 'wt'))
  call('HDEL', key, 'o', 'cu', 'ah', 'go', 'wt')
  settled = settled + grant_wishes(what.lane, what.wishes, what.job)
  call('ZREM', P .. HELD, what.lane)
  if what.action == 'halt' then
    call('ZADD', P .. HALTED, instant, what.lane)
  else
    call('ZADD', P .. WAITING, text(now + wait), what.lane)
    ring() -- others learn when it is due
  end
  note_blocked(what.lane, attempts, since)
  note_lowest(what.lane)
end

-- The lane's next job: the one the worker named if its window is fresh or it has begun, else the lane's true head; and
-- whether it is the one that was named.
local function follower(what, goes_by_name)
  local head, level = first(what.lane)
  if not head or what.next == '' then return head, level, false end
  if is_job(head, what.next) then return head, level, true end
  if goes_by_name then
    for each in string.gmatch(levels, '%d') do
      local job = call('LINDEX', list_key(each, what.lane), 0)
      if job and is_job(job, what.next) then return job, each, true end
    end
  end
  return head, level, false
end

local function is_paused(lane)
  return all_paused or (paused_lanes > 0 and call('SISMEMBER', P .. PAUSED, lane) == 1)
end

local ready = call('ZCARD', P .. READY)

-- The head is gone and the worker is at the next job already. Whether the lane is still held.
local function go_on(what)
  if what.status == 'already' then return true end -- what follows was named the first time
  local head, level, is_named = follower(what, true)
  if not head then
    vanish(what.lane)
    return false
  end
  local key, id = lane_key(what.lane), is_named and what.next or identity(head)
  if what.tried then
    forget_blocked(what.lane)
    call('HDEL', key, 'n', 'f', 'k', 'ba', 're', 'er', 'cx')
  end
  call('HSET', key, 'cu', id, 'b', level)
  if level ~= what.begun or not is_named then call('HDEL', key, 'go') end
  if is_wished(what.wishes, id) then call('HSET', key, 'cx', id) end
  return true
end

-- The head is gone: the lane vanishes, goes back to the ready lanes, or goes on with its next job. Whether it is
-- still held, and its window when the one the worker has is not to be used any more.
local function move_on(what)
  local lane, leaving, is_fresh = what.lane, what.leaving, what.change == what.changes
  if leaving == 'go_on' then return go_on(what) end
  if what.wishes then
    settled = settled + grant_wishes(lane, what.wishes, what.status == 'already' and what.current)
  end
  -- Repeated, since nobody heard of the job that was named then: it has not begun.
  if what.status == 'already' and what.begun then unbegin(lane, what.begun) end
  local head, level, is_named = follower(what, is_fresh)
  if not head and leaving ~= 'keep' then
    vanish(lane)
    return false
  end
  local id = head and (is_named and what.next or identity(head))
  -- One that was named before, by a call that is repeated, keeps what happened to it since.
  local tried = what.tried and not (head and leaving == 'stay' and id == what.current)
  if tried then forget_blocked(lane) end
  local paused = is_paused(lane)
  if leaving == 'yield' or leaving == 'release' or (paused and leaving == 'stay') then
    -- A job that was replayed while somebody was ahead stands behind the new head, and may be of a lower seq.
    vacate(lane, leaving ~= 'yield', not what.was_ahead and head)
    if not paused then
      -- Where lanes wait already, whoever could take this one has been rung for those.
      if ready == 0 or leaving == 'release' then ring() end
      ready = ready + 1
    end
    return false
  end
  local key = lane_key(lane)
  -- The counters are the head's: its successor starts without.
  if tried then call('HDEL', key, 'n', 'f', 'k', 'ba', 're', 'er', 'cx') end
  if leaving == 'keep' then -- held for a callback; what comes next has not begun
    call('HDEL', key, 'cu', 'b', 'ah', 'go')
    call('SADD', P .. KEPT, lane)
    return true
  end
  if what.status == 'already' then call('SREM', P .. KEPT, lane) end
  call('HSET', key, 'cu', id, 'b', level)
  local keeps_history = what.tried and not tried
  if what.ahead ~= '0' and not keeps_history then
    call('HSET', key, 'ah', what.ahead, 'go', what.token .. '|' .. owner .. '|' .. level .. '|' .. what.changes)
  elseif what.ahead ~= (what.was_ahead or '0') then
    call('HSET', key, 'ah', what.ahead)
    call('HDEL', key, 'go')
  elseif level ~= what.begun then
    call('HDEL', key, 'go')
  end
  if is_named and is_fresh then return true end
  return true, window(lane, math.max(1, tonumber(ARGV[what.at + 7])))
end

-- A job that had its place before its turn has waited only since the one before it ended. That took long: those that
-- are run ahead are quick.
local function refresh(what, id)
  local key = list_key(string.match(what.head, '^%d+:(%d)'), what.lane)
  local job = call('LINDEX', key, 0)
  if not (job and is_job(job, id)) then return end
  call('LSET', key, 0, (string.gsub(job, '^(%d+:%d:)%d+', '%1' .. instant, 1)))
  what.changes = text(call('HINCRBY', lane_key(what.lane), 'ch', '1'))
  call('HDEL', lane_key(what.lane), 'go')
end

local done, answers, texts = '', '', nil
for index, what in ipairs(all) do
  local status, ordinal, held, jobs, came = what.status, 0, false, nil, nil
  if what.leaving == 'yield' and what.change ~= '' then begin_head(ARGV[what.at + 5], what.change) end
  if what.left and status == 'done' then note_settled(what) end
  if status == 'done' and (what.action == 'retry' or what.action == 'halt') then
    stop(what)
  elseif status == 'done' then
    call('LPOP', list_key(what.begun or string.match(what.head, '^%d+:(%d)'), what.lane))
    if what.action ~= 'ack' then
      if what.action == 'bury' then bury(what) end
      call('HINCRBY', C, OUTCOMES[what.action], '1')
    end
    settled = settled + 1
    ordinal = settled
    local result = what.left and ARGV[what.left + 3] == 'r' and ARGV[what.left + 4] or nil
    came = part(what.head, LETTERS[what.action], result, true)
    if came then
      settled = settled + came.cancelled
      if came.woke then ready = call('ZCARD', P .. READY) end
      if came.follows and what.leaving ~= 'go_on' then refresh(what, came.follows) end
      local tells = came.relay and what.leaving == 'go_on' -- this answer may be one that nobody gets: later ones tell
      if tells then note_change(what.lane) end
      if #levels > 1 or tells then what.changes = call('HGET', lane_key(what.lane), 'ch') or '0' end
    end
    held, jobs = move_on(what)
  elseif status == 'already' then
    held, jobs = move_on(what)
  elseif status == 'gone' then
    status = 'already'
  end
  if status ~= 'fenced' then done = done .. string.sub(digests, (index - 1) * size + 1, index * size) end
  answers = answers .. (index > 1 and ';' or '|') .. status .. ':' .. ordinal .. (held and ':1:' or ':0:')
    .. (all_paused and '2:' or ready > 0 and '1:' or '0:') .. what.changes .. ':' .. (jobs and #jobs or 0)
  if jobs then
    texts = texts or {false}
    for _, job in ipairs(jobs) do texts[#texts + 1] = job end
  end
  if came then
    answers = answers .. ':' .. came.released + came.cancelled .. (came.relay and ':1:' or ':0:') .. #came.flows
    texts = texts or {false}
    for _, flow in ipairs(came.flows) do texts[#texts + 1] = flow end
  end
end
if settled > tonumber(conf[4] or 0) then
  call('HSET', C, 'seen', instant, 'so', text(settled), 'last', instant)
elseif format then
  call('HSET', C, 'seen', instant)
end
if format and done ~= '' then
  local calls = P .. 'u:' .. owner
  if call('RPUSH', calls, done) > 2 * KEPT_CALLS then call('LTRIM', calls, -KEPT_CALLS, -1) end
end
local reply = instant .. '|' .. found() .. answers
if not texts then return reply end
texts[1] = reply
return texts
