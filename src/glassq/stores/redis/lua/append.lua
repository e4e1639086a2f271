-- append: add jobs at the tail of their lanes, or beside them until they are due.
-- ARGV   time, producer session, number of the first job, how many, most unsettled jobs or '', then
--        '1' and runs of jobs that are due now, for ever and as often as they come: lane, level, how many, and of
--        each <session>:<number>|<body>;
--        or '' and of each job: lane, level, body, due ('' now, '+' and µs from now, '@' and µs since the epoch),
--        ttl (µs) or '', deduplication ('' none, 'u' until settled, 'w' for a window), its id, its window (µs);
--        or 'w' and of each job these and: its workflow or '', and its parents, '' or as
--        <policy>:<length>:<length of name>:<parent><name>..., one of this call by '#' and its place from 0
-- Reply  <answer>|<how far the queue had come>|<1 in a repetition, else 0>, as one text because each part would cost
--        its reader 4 µs; the answer is the seq of the first job, when those of the others follow it; else per job
--        <seq>,<duplicate of>; with an empty seq while scheduled or deferred. |1 stands behind it while somebody has
--        to look for parents (see `conclude`)
-- Errors GLASSQSTALE when a later append of this session has been done already; GLASSQFULL; GLASSQNEVER when a parent's
--        id was not given out
-- Whole or not at all: its first write needs memory, so a full server refuses it before anything has changed.
-- Replay: a session's appends arrive in order; the last one's answer is kept, and given again.

local session, number, count, limit = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local is_plain, is_woven, BEFORE = ARGV[6] == '1', ARGV[6] == 'w', 6
local HOUR, DAY = 3600 * SECOND, 86400 * SECOND
stand_still()
local number_of_last = number + count - 1

local stamp
local known = call('HGET', P .. 'p', session)
if known then
  local last, at, answer = string.match(known, '^(%d+):(%d+):(.*)$')
  if tonumber(last) == number_of_last then
    if is_new then begin() end
    return answer .. '|' .. found() .. '|1' .. (is_woven and call('EXISTS', P .. 'jl') == 1 and '|1' or '')
  end
  if tonumber(last) >= number then return redis.error_reply('GLASSQSTALE ' .. last) end
  stamp = tonumber(at)
end

-- Jobs that ask for more than their place, with those they are duplicates of; how many are new, due, and deferred.
local never
local function read_jobs()
  -- The job that made this one a duplicate, as {id, seq}.
  local function twin(dedup)
    local entry = call('HGET', P .. 'dd', dedup)
    if not entry then return nil end
    local till, seq, id = string.match(entry, '^(%d*):(%d*):(.*)$')
    if till ~= '' and tonumber(till) <= now then return nil end
    return {id = id, seq = seq}
  end

  local function due_time(given)
    if given == '' then return now end
    local time = tonumber(string.sub(given, 2))
    return string.sub(given, 1, 1) == '@' and time or now + time
  end

  local jobs, fresh, placed, waiting, first_of, width = {}, 0, 0, 0, {}, is_woven and 10 or 8

  -- As {policy, parent, name}. Whoever is waited for, or belongs to a workflow, says so by a flag from the beginning.
  local function parents_of(given)
    local parents, from = {}, 1
    while from <= #given do
      local policy, size, name, at = string.match(given, '^(%a):(%d+):(%d+):()', from)
      from = at + size + name
      local parent = string.sub(given, at, at + size - 1)
      local place = string.match(parent, '^#(%d+)$')
      if place then
        parent = jobs[place + 1]
        parent.is_woven = true
      elseif not was_given(parent) then
        never = parent
      end
      parents[#parents + 1] = {policy, parent, string.sub(given, from - name, from - 1)}
    end
    return parents
  end

  for index = 1, count do
    local at = BEFORE + (index - 1) * width
    local job = {
      lane = ARGV[at + 1], level = ARGV[at + 2], body = ARGV[at + 3], due = due_time(ARGV[at + 4]),
      ttl = ARGV[at + 5], kind = ARGV[at + 6], dedup = ARGV[at + 7], window = tonumber(ARGV[at + 8]),
      id = session .. ':' .. text(number + index - 1)
    }
    if is_woven then
      job.flow, job.parents = ARGV[at + 9], parents_of(ARGV[at + 10])
      job.is_woven, job.waits = job.flow ~= '' or #job.parents > 0, #job.parents > 0
    end
    if job.kind ~= '' then
      job.twin = first_of[job.dedup] or twin(job.dedup)
      first_of[job.dedup] = first_of[job.dedup] or job.twin or job
    end
    if not job.twin then
      fresh = fresh + 1
      if job.waits then waiting = waiting + 1 elseif job.due <= now then placed = placed + 1 end
    end
    jobs[index] = job
  end
  return jobs, fresh, placed, waiting
end

local jobs, fresh, placed, deferred = nil, count, count, 0
if not is_plain then jobs, fresh, placed, deferred = read_jobs() end
if never then return redis.error_reply('GLASSQNEVER ' .. never) end
local enqueued, seq = tonumber(conf[3] or 0), tonumber(conf[2] or 0)
if limit and fresh > 0 then
  local depth = enqueued + (call('HGET', C, 'rp') or 0) - (conf[4] or 0)
  if depth + fresh > limit then return redis.error_reply('GLASSQFULL ' .. text(depth)) end
end

-- Needs memory: fails whole.
-- order: seqs are given here, where the jobs are stored, by a counter that only grows.
call('HSET', C, 'en', text(enqueued + fresh), 'seq', text(seq + placed), 'seen', instant)
if not format then make_queue() elseif is_new then note_run() end
pass_time()

local function plain_runs()
  local runs, at, next_seq = {}, BEFORE + 1, seq + 1
  while at <= #ARGV do
    local lane, level, size = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
    local run, middle = {}, ':' .. level .. ':' .. instant .. ':::'
    for index = 1, size do run[index] = next_seq + index - 1 .. middle .. ARGV[at + 2 + index] end
    runs[#runs + 1] = {lane = lane, level = level, seq = next_seq, jobs = run}
    at, next_seq = at + 3 + size, next_seq + size
  end
  return runs
end

local beside = deferred > 0 and deferring()

-- The same of jobs that ask for more; what they ask for is noted. Each job's answer, too.
local function other_runs()
  local function schedule(job, flags)
    local slot = string.format('%016.0f', call('HINCRBY', C, 'dn', '1'))
    call('ZADD', P .. 'd', text(job.due), slot)
    call('HSET', P .. 'dp', slot, job.ttl .. ':' .. job.level .. ':' .. flags .. ':' .. #job.lane .. ':' .. job.id
      .. '|' .. job.lane .. job.body)
    call('HSET', P .. 'di', job.id, slot)
  end

  local function remember(job)
    if job.kind == 'u' then
      call('HSET', P .. 'y', job.id, job.dedup)
      call('ZREM', P .. 'dz', job.dedup)
    else
      call('ZADD', P .. 'dz', text(now + job.window), job.dedup)
    end
    local till = job.kind == 'u' and '' or text(now + job.window)
    call('HSET', P .. 'dd', job.dedup, till .. ':' .. job.seq .. ':' .. job.id)
    for _, old in ipairs(call('ZRANGEBYSCORE', P .. 'dz', '-inf', instant, 'LIMIT', 0, 10)) do
      call('ZREM', P .. 'dz', old)
      call('HDEL', P .. 'dd', old)
    end
  end

  local runs, answers, last = {}, {}, seq
  for index, job in ipairs(jobs) do
    local flags = (job.kind == 'u' and 'u' or '') .. (job.is_woven and 'w' or '')
    job.seq = ''
    if job.waits then
      if not job.twin then beside.put(job, flags) end
    elseif not job.twin and job.due <= now then
      last = last + 1
      job.seq = text(last)
      local expires = job.ttl ~= '' and text(now + tonumber(job.ttl)) or ''
      runs[#runs + 1] = {lane = job.lane, level = job.level, seq = last, jobs = {
        job.seq .. ':' .. job.level .. ':' .. instant .. ':' .. expires .. ':' .. flags .. ':' .. job.id
          .. '|' .. job.body
      }}
    elseif not job.twin then
      schedule(job, flags)
    end
    if job.flow and job.flow ~= '' and not (job.twin or job.waits) then
      call('HSET', P .. 'ju', job.id, job.flow .. '\n')
    end
    if job.kind ~= '' and not job.twin then remember(job) end
    answers[index] = (job.twin and job.twin.seq or job.seq) .. ',' .. (job.twin and job.twin.id or '')
  end
  return runs, answers
end

local runs, answers
if is_plain then runs = plain_runs() else runs, answers = other_runs() end
-- A busy lane's owner looks for more by itself; a scheduled job may be due earlier than what a worker sleeps for.
if arrive(runs) or placed + deferred < fresh then ring() end
if deferred > 0 then beside.hear_of() end

local answer = placed == count and text(seq + 1) or table.concat(answers, ';')
-- Sessions of producers that are gone are forgotten after a day, a few at a time.
if not stamp or now - stamp > HOUR then
  stamp = now
  call('ZADD', P .. 'pz', instant, session)
  for _, old in ipairs(call('ZRANGEBYSCORE', P .. 'pz', '-inf', text(now - DAY), 'LIMIT', 0, 10)) do
    call('ZREM', P .. 'pz', old)
    call('HDEL', P .. 'p', old)
  end
end
call('HSET', P .. 'p', session, text(number_of_last) .. ':' .. text(stamp) .. ':' .. answer)
return answer .. '|' .. found() .. '|0' .. (deferred > 0 and call('EXISTS', P .. 'jl') == 1 and '|1' or '')
