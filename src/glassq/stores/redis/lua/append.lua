-- append: add jobs at the tail of their lanes, or beside them until they are due.
-- ARGV   time, producer session, number of the first job, most unsettled jobs or '', then per job: lane, level,
--        body, due ('' now, '+' and µs from now, '@' and µs since the epoch), ttl (µs) or '', deduplication ('' none,
--        'u' until settled, 'w' for a window), its id, its window (µs)
-- Reply  <answer>|<how far the queue had come>|<1 in a repetition, else 0>, as one text because each part would cost
--        its reader 4 µs; the answer is the seq of the first job, when those of the others follow it; else per job
--        <seq>,<duplicate of>; with an empty seq while scheduled
-- Errors GLASSQSTALE when a later append of this session has been done already; GLASSQFULL
-- Whole or not at all: its first write needs memory, so a full server refuses it before anything has changed.
-- Replay: a session's appends arrive in order; the last one's answer is kept, and given again.

local session, number, limit = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local FIELDS, HOUR, DAY = 8, 3600 * SECOND, 86400 * SECOND
local count = (#ARGV - 4) / FIELDS
stand_still()
local number_of_last = number + count - 1

local stamp
local known = call('HGET', P .. 'p', session)
if known then
  local last, at, answer = string.match(known, '^(%d+):(%d+):(.*)$')
  if tonumber(last) == number_of_last then
    if is_new then begin() end
    return answer .. '|' .. found() .. '|1'
  end
  if tonumber(last) >= number then return redis.error_reply('GLASSQSTALE ' .. last) end
  stamp = tonumber(at)
end

local function due_time(given)
  if given == '' then return now end
  local time = tonumber(string.sub(given, 2))
  return string.sub(given, 1, 1) == '@' and time or now + time
end

-- The job that made this one a duplicate, as {id, seq}.
local function twin(dedup)
  local entry = call('HGET', P .. 'dd', dedup)
  if not entry then return nil end
  local till, seq, id = string.match(entry, '^(%d*):(%d*):(.*)$')
  if till ~= '' and tonumber(till) <= now then return nil end
  return {id = id, seq = seq}
end

local jobs, fresh, placed, first_of = {}, 0, 0, {}
for index = 1, count do
  local at = 4 + (index - 1) * FIELDS
  local job = {
    lane = ARGV[at + 1], level = ARGV[at + 2], body = ARGV[at + 3], due = due_time(ARGV[at + 4]), ttl = ARGV[at + 5],
    kind = ARGV[at + 6], dedup = ARGV[at + 7], window = tonumber(ARGV[at + 8]),
    id = session .. ':' .. text(number + index - 1)
  }
  if job.kind ~= '' then
    job.twin = first_of[job.dedup] or twin(job.dedup)
    first_of[job.dedup] = first_of[job.dedup] or job.twin or job
  end
  if not job.twin then
    fresh = fresh + 1
    if job.due <= now then placed = placed + 1 end
  end
  jobs[index] = job
end
if limit and fresh > 0 then
  local totals = call('HMGET', C, 'en', 'rp', 'so')
  local depth = (totals[1] or 0) + (totals[2] or 0) - (totals[3] or 0)
  if depth + fresh > limit then return redis.error_reply('GLASSQFULL ' .. text(depth)) end
end

call('HINCRBY', C, 'en', text(fresh)) -- needs memory: fails whole
-- order: assigned here, where the jobs are stored, by a counter that only grows.
local seq = call('HINCRBY', C, 'seq', text(placed)) - placed
local first_seq = seq + 1
if not format then make_queue() elseif is_new then note_run() end
touch()

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
  for _, old in ipairs(call('ZRANGEBYSCORE', P .. 'dz', '-inf', text(now), 'LIMIT', 0, 10)) do
    call('ZREM', P .. 'dz', old)
    call('HDEL', P .. 'dd', old)
  end
end

local arriving, answers = {}, {}
for index, job in ipairs(jobs) do
  local flags = job.kind == 'u' and 'u' or ''
  job.seq = ''
  if not job.twin and job.due <= now then
    seq = seq + 1
    job.seq = text(seq)
    local expires = job.ttl ~= '' and text(now + tonumber(job.ttl)) or ''
    arriving[#arriving + 1] = {
      lane = job.lane, level = job.level, seq = seq,
      job = job.seq .. ':' .. job.level .. ':' .. text(now) .. ':' .. expires .. ':' .. flags .. ':' .. job.id .. '|'
        .. job.body
    }
  elseif not job.twin then
    schedule(job, flags)
  end
  if job.kind ~= '' and not job.twin then remember(job) end
  answers[index] = (job.twin and job.twin.seq or job.seq) .. ',' .. (job.twin and job.twin.id or '')
end
-- A busy lane's owner looks for more by itself; a scheduled job may be due earlier than what a worker sleeps for.
if arrive(arriving) or placed < fresh then ring() end

local answer = placed == count and text(first_seq) or table.concat(answers, ';')
-- Sessions of producers that are gone are forgotten after a day, a few at a time.
if not stamp or now - stamp > HOUR then
  stamp = now
  call('ZADD', P .. 'pz', text(now), session)
  for _, old in ipairs(call('ZRANGEBYSCORE', P .. 'pz', '-inf', text(now - DAY), 'LIMIT', 0, 10)) do
    call('ZREM', P .. 'pz', old)
    call('HDEL', P .. 'p', old)
  end
end
call('HSET', P .. 'p', session, text(number_of_last) .. ':' .. text(stamp) .. ':' .. answer)
return answer .. '|' .. found() .. '|0'
