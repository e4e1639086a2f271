-- What every verb knows of its queue: stands before each of the other files of this folder.
--
-- KEYS[1]  gq:{queue}:c  the only declared key. All others are built from it, so that they share its slot;
--                        a node that does not hold it answers MOVED.
-- ARGV[1]  the server's run as the client was told it on this connection, or '' when it was not; then, in tests, which
--          move time, a ':' and the time in µs (nobody else sends one)
--
-- c  hash  v format, in incarnation (which life of the queue: when this hash was made, by the server's clock), seq,
--          en enqueued, rp replayed, so last ordinal (= jobs settled), of these bu buried, ca
--          cancelled, ex expired; tok last token, tail and front (places given at the ends of r), seen (when
--          anything last happened), last (settled at), ml shortest lease, lv levels ever used, highest first,
--          pa paused, pn how many lanes are paused, dn last number of a scheduled job,
--          ru the server's run, and seq, en and so when it began
-- s<level>:<lane>  list  exactly the unsettled jobs of a lane and level, in order:
--                        <seq>:<level>:<eligible at>:<expires at>:<flags>:<session>:<number>|<body>
--                        flags: r was replayed, u is unique until it is settled
-- l:<lane> hash  made at the first claim, gone when the lane is ready without history or has no job left:
--          t token, o owner (while held), cu current job, b level of a begun head, n attempts, f failures,
--          k crashes, ba blocked at, re reason, er error, ch change, ln lease, gr the token that has had its
--          fresh lease, ca cause of the reclaim, cl the claim that granted it, cx job asked to be cancelled
-- r h w z g  zsets  lanes that are ready (place), held (end of lease), waiting (time of retry), halted (since),
--          or would be ready but are paused (place): a lane with jobs is in exactly one
-- pl set   paused lanes, also those without jobs
-- a  zset  lanes that are not held -> their lowest seq          e  set   held lanes without a current job
-- f n zsets  lanes with a blocked head -> since when, -> its attempts
-- x  hash  seq -> dead letter;  xs xt zsets  seq -> seq, -> buried at;  xi hash  job -> seq
-- d  zset  number -> due, dp hash  number -> <ttl>:<level>:<flags>:<length of lane>:<session>:<number>|<lane><body>,
--          di hash  job -> number: the scheduled jobs
-- y  hash  unique job -> its deduplication id;  dd hash  that id -> <until>:<seq>:<job>, dz zset  -> until
-- b  stream  the doorbell, one entry                            o  zset  workers -> alive until
-- p  hash  producer session -> last number:seq:stamp; pz zset  session -> stamp
-- i  hash  node -> incarnation that claimed last;  k u hashes  worker -> last claim, last settlements
--
-- Atomicity: a script runs alone and whole. First it reads and checks, and may refuse; after its first write it
-- never fails. Full servers refuse a script at its first write only if that command needs memory (deny-oom): so
-- `begin` starts with one that needs none, and settling goes on where appending stops.
-- Numbers above 2^49 (tokens, µs) are turned to text by `text` alone: `..` would print 1.75e+15.

local call = redis.call
local C = KEYS[1]
local P = string.sub(C, 1, -2)
local READY, HELD, WAITING, HALTED, STOPPED = P .. 'r', P .. 'h', P .. 'w', P .. 'z', P .. 'g'
local PAUSED = P .. 'pl'
local LOWEST, KEPT, BLOCKED, TRIED = P .. 'a', P .. 'e', P .. 'f', P .. 'n'
local SECOND = 1000000

local conf = call('HMGET', C, 'v', 'seen', 'lv', 'ml', 'pa', 'pn', 'in', 'seq', 'en', 'so', 'ru')
local format, seen = conf[1], tonumber(conf[2] or 0)
local levels, shortest = conf[3] or '', tonumber(conf[4] or 0)
local all_paused, paused_lanes = conf[5] == '1', tonumber(conf[6] or 0)
if format and format ~= '1' then return redis.error_reply('GLASSQFORMAT ' .. format) end

local run, given_time = string.match(ARGV[1], '^(%w*):?(%d*)$')
-- Whether the queue's life has no name yet, or the server was started since its run was noted here.
local is_new = not conf[7] or string.sub(conf[11] or '', 1, #run) ~= run
local now = tonumber(given_time)
if not now then
  local time = call('TIME')
  now = tonumber(time[1]) * SECOND + tonumber(time[2])
end

local function text(number) return string.format('%.0f', number) end

-- How far the queue had come before this script wrote anything: <seq>:<enqueued>:<settled>.
local function counts() return (conf[8] or '0') .. ':' .. (conf[9] or '0') .. ':' .. (conf[10] or '0') end

-- The same with its incarnation, its server's run and the counts this began with, the latter empty when not known.
local function found() return (conf[7] or '') .. ':' .. counts() .. ':' .. (conf[11] or '') end

-- Name the queue's life: another one, after everything was lost, bears another name. And note a start of the server
-- before the counters grow again: what they had come to beyond this was not kept.
local function note_run()
  if not conf[7] then
    local time = call('TIME')
    conf[7] = string.format('%x.%x', tonumber(time[1]), tonumber(time[2]))
    call('HSET', C, 'in', conf[7])
  end
  if string.sub(conf[11] or '', 1, #run) ~= run then
    conf[11] = run .. ':' .. counts()
    call('HSET', C, 'ru', conf[11])
  end
end

-- The queue's first write.
local function make_queue()
  call('HSET', C, 'v', '1')
  note_run()
end

local function lane_key(lane) return P .. 'l:' .. lane end
local function list_key(level, lane) return P .. 's' .. level .. ':' .. lane end
local function sequence(job) return tonumber(string.match(job, '^%d+')) end
local function identity(job) return string.match(job, '^%d+:%d:%d+:%d*:%a*:([^|]+)|') end

local function is_paused(lane)
  return all_paused or (paused_lanes > 0 and call('SISMEMBER', PAUSED, lane) == 1)
end

-- Whether any lane waits for a worker and may be served.
local function others_ready() return not all_paused and call('ZCARD', READY) > 0 end

-- µs. A step back of the clock below this is none: it stands still until it has come as far again. Corrections of
-- clocks, and replicas that take over, differ by some ms, and following each would cost a write per lane that waits.
local STILL = 100000

local function stand_still()
  if seen > now and seen - now < STILL then now = seen end
end

-- Note that time is seen to pass. What would end by a clock that was set back ends as much earlier by the new one.
-- After a jump of the clock (over a second back, over a lease forward) or an outage every holder gets one fresh
-- lease, once per token: no owner can have renewed by a clock that jumped, so none may be judged by it.
local function touch()
  stand_still()
  local back = seen - now
  if back > 0 then
    for _, ends in ipairs({HELD, WAITING}) do
      for _, lane in ipairs(call('ZRANGE', ends, 0, -1)) do call('ZINCRBY', ends, text(-back), lane) end
    end
  end
  if back > SECOND or -back > shortest then
    for _, lane in ipairs(call('ZRANGE', HELD, 0, -1)) do
      local held = call('HMGET', lane_key(lane), 't', 'ln', 'gr')
      local lease = tonumber(held[2])
      if held[1] ~= held[3] and (back > SECOND or -back > lease) then
        call('ZADD', HELD, text(now + lease), lane)
        call('HSET', lane_key(lane), 'gr', held[1])
      end
    end
  end
  call('HSET', C, 'seen', text(now))
end

local function begin()
  call('HDEL', C, '_')
  if format then
    touch()
    if is_new then note_run() end
  end
end

-- order: the one place that says which job of a lane comes first. A begun head is not overtaken.
local function first(lane, begun)
  if begun then return call('LINDEX', list_key(begun, lane), 0), begun end
  for level in string.gmatch(levels, '%d') do
    local job = call('LINDEX', list_key(level, lane), 0)
    if job then return job, level end
  end
  return false, false
end

local function window(lane, size)
  local jobs = {}
  for level in string.gmatch(levels, '%d') do
    if #jobs >= size then break end
    for _, job in ipairs(call('LRANGE', list_key(level, lane), 0, size - #jobs - 1)) do jobs[#jobs + 1] = job end
  end
  return jobs
end

local function ring() call('XADD', P .. 'b', 'MAXLEN', '1', '*', 'r', '1') end

-- The lane is nobody's (ready, waiting or halted): it counts for the age of the oldest job by its lowest seq.
local function note_lowest(lane)
  local lowest
  for level in string.gmatch(levels, '%d') do
    -- The second, too: a begun head stands before replayed jobs of lower seqs.
    for _, job in ipairs(call('LRANGE', list_key(level, lane), 0, 1)) do
      local seq = sequence(job)
      if not lowest or seq < lowest then lowest = seq end
    end
  end
  call('ZADD', LOWEST, text(lowest), lane)
end

-- A job leaves for good: what it alone might hold is free again.
local function forget_unique(job)
  local flags, id = string.match(job, '^%d+:%d:%d+:%d*:(%a*):([^|]+)|')
  if not string.find(flags, 'u', 1, true) then return end
  local dedup = call('HGET', P .. 'y', id)
  if dedup then
    call('HDEL', P .. 'y', id)
    call('HDEL', P .. 'dd', dedup)
  end
end

local OUTCOMES = {bury = 'bu', cancel = 'ca', expire = 'ex'}

-- Count jobs that were ended; the last one's ordinal.
local function count_settled(action, count)
  if OUTCOMES[action] then call('HINCRBY', C, OUTCOMES[action], text(count)) end
  call('HSET', C, 'last', text(now))
  return call('HINCRBY', C, 'so', text(count))
end

local function make_ready(lane, at_front)
  local place = call('HINCRBY', C, at_front and 'front' or 'tail', at_front and '-1' or '1')
  local stopped = paused_lanes > 0 and call('SISMEMBER', PAUSED, lane) == 1
  call('ZADD', stopped and STOPPED or READY, text(place), lane)
end

local function note_blocked(lane, attempts, since)
  call('ZADD', BLOCKED, text(since), lane)
  if attempts > 0 then call('ZADD', TRIED, text(attempts), lane) end
end

local function forget_blocked(lane)
  call('ZREM', BLOCKED, lane)
  call('ZREM', TRIED, lane)
end

-- Take a lane that nobody holds out of whatever state it is in.
local function forget_state(lane)
  for _, state in ipairs({READY, WAITING, HALTED, STOPPED}) do call('ZREM', state, lane) end
end

-- A lane without jobs leaves nothing behind.
local function vanish(lane)
  call('ZREM', HELD, lane)
  call('SREM', KEPT, lane)
  call('ZREM', LOWEST, lane)
  forget_blocked(lane)
  call('DEL', lane_key(lane))
end

-- The head is settled and the lane nobody's: it waits without history.
local function vacate(lane, at_front)
  call('ZREM', HELD, lane)
  call('SREM', KEPT, lane)
  call('DEL', lane_key(lane))
  note_lowest(lane)
  make_ready(lane, at_front)
end

