-- What verbs do with their queue: stands behind `opening`, before each of the other files of this folder.

local find, sub, match = string.find, string.sub, string.match -- to look for them each time costs as much as they do

local READY, HELD, WAITING, HALTED, STOPPED, PAUSED = 'r', 'h', 'w', 'z', 'g', 'pl'
local LOWEST, KEPT, BLOCKED, TRIED = 'a', 'e', 'f', 'n'
local pauses = tonumber(conf[8] or 0)
local all_paused, paused_lanes = pauses % 2 == 1, math.floor(pauses / 2)
local newest = conf[2] or '0' -- the queue's seq; whoever gives out further ones says so here

-- How far the queue had come before this script wrote anything: <seq>:<enqueued>:<settled>.
local function counts() return (conf[2] or '0') .. ':' .. (conf[3] or '0') .. ':' .. (conf[4] or '0') end

-- The same with its id: which life of the queue this is, and in which run of the server.
local function found() return counts() .. ':' .. (conf[7] or ':') end

-- Name the queue's life: another one, after everything was lost, bears another name. And note a start of the server
-- before the counters grow again: what they had come to beyond this was not kept.
local function note_run()
  local life, rest = string.match(conf[7] or '', '^([^:]*):?(.*)$')
  if life == '' then
    local time = call('TIME')
    life = string.format('%x.%x', tonumber(time[1]), tonumber(time[2]))
  end
  if run ~= '' and string.sub(rest, 1, #run) ~= run then rest = run .. ':' .. counts() end
  conf[7] = life .. ':' .. rest
  call('HSET', C, 'id', conf[7])
end

-- The queue's first write.
local function make_queue()
  -- One text of over 64 bytes makes this hash a table: else it is searched from its beginning, up to 512 lanes long.
  call('HSET', C, 'v', '1', 'table', string.rep('=', 65))
  local served = call('ZREVRANGE', P .. 'o', 0, 0, 'WITHSCORES')[2] -- before there was anything in it
  if served then call('HSET', C, 'up', text(tonumber(served))) end
  note_run()
end

local function hash_of(lane) return P .. 'l:' .. lane end

-- What a claim noted of a lane in short (see `opening`), by the fields of the hash it stands for; nil when it did not.
local function noted_in_short(lane)
  local short = call('HGET', P .. 't', lane)
  if not short then return nil end
  local job, level, token, owner, lease, waits = match(short, '^([^|]*)|(%d)|(%d+)|(.*)|(%d+)|([^|]*)$')
  local pass = token .. '|' .. owner .. '|' .. level .. '|0'
  return {cu = job, b = level, t = token, o = owner, ln = lease, wt = waits, go = pass}
end

-- These fields of a lane's hash, for those who only read.
local function fields_of(lane, ...)
  local short = noted_in_short(lane)
  if not short then return call('HMGET', hash_of(lane), ...) end
  local found = {}
  for index, field in ipairs({...}) do found[index] = short[field] or false end
  return found
end

-- The lane's hash, for those who may write. What was noted in short is written out first: they are not here for the end
-- of a turn.
local written_out = {}
local function lane_key(lane)
  local key = hash_of(lane)
  if written_out[lane] then return key end
  written_out[lane] = true
  local short = noted_in_short(lane)
  if short then
    call('HDEL', P .. 't', lane) -- perhaps the script's first write: one that needs no memory
    call('HSET', key, 'wt', short.wt, 't', short.t, 'o', short.o, 'cu', short.cu, 'b', short.b, 'ln', short.ln,
      'go', short.go)
  end
  return key
end

local function list_key(level, lane) return P .. 's' .. level .. ':' .. lane end

-- What the holder read of this lane before is not to be trusted: neither its window nor its pass.
local function note_change(lane)
  call('HINCRBY', lane_key(lane), 'ch', '1')
  call('HDEL', lane_key(lane), 'go')
end

local function sequence(job) return tonumber(string.match(job, '^%d+')) end

-- And whether it is a plain one, which neither expires nor has flags, as nearly all.
local function identity(job)
  local at, ends = find(job, ':::', 1, true), find(job, '|', 1, true)
  if at and at < ends then return sub(job, at + 3, ends - 1), true end
  return match(job, '^%d+:%d:%d+:%d*:%a*:([^|]+)|')
end


-- µs. A step back of the clock below this is none: it stands still until it has come as far again. Corrections of
-- clocks, and replicas that take over, differ by some ms, and following each would cost a write per lane that waits.
local STILL = 100000

local function stand_still()
  local back = tonumber(conf[5] or instant) - now
  if back > 0 and back < STILL then now, instant = tonumber(conf[5]), conf[5] end
end

-- Look at the time that has passed; whoever writes then notes it as `seen`. What would end by a clock that was set
-- back ends as much earlier by the new one. After a jump of the clock (over a second back, over a lease forward) or
-- an outage every holder gets one fresh lease, once per token: no owner can have renewed by a clock that jumped, so
-- none may be judged by it. Whoever notes nothing of the time, as `step`, makes what has passed seem longer, by the moment
-- until somebody does; never shorter.
local function pass_time()
  stand_still()
  local back = tonumber(conf[5] or instant) - now
  if back <= 0 and -back <= MOMENT then return end -- shorter than any lease
  if back > 0 then
    for _, ends in ipairs({P .. HELD, P .. WAITING}) do
      for _, lane in ipairs(call('ZRANGE', ends, 0, -1)) do call('ZINCRBY', ends, text(-back), lane) end
    end
  end
  if back > SECOND or -back > tonumber(call('HGET', C, 'ml') or 0) then
    for _, lane in ipairs(call('ZRANGE', P .. HELD, 0, -1)) do
      local held = call('HMGET', lane_key(lane), 't', 'ln', 'gr')
      local lease = tonumber(held[2])
      if held[1] ~= held[3] and (back > SECOND or -back > lease) then
        call('ZADD', P .. HELD, text(now + lease), lane)
        call('HSET', lane_key(lane), 'gr', held[1])
      end
    end
  end
end

local function begin()
  call('HDEL', C, '_')
  if format then
    pass_time()
    call('HSET', C, 'seen', instant)
    if is_new then note_run() end
  end
end

local function ring() call('XADD', P .. 'b', 'MAXLEN', '1', '*', 'r', '1') end

local function make_ready(lane, at_front)
  local place = call('HINCRBY', C, at_front and 'front' or 'tail', at_front and '-1' or '1')
  local stopped = paused_lanes > 0 and call('SISMEMBER', P .. PAUSED, lane) == 1
  call('ZADD', P .. (stopped and STOPPED or READY), text(place), lane)
end

-- A lane is nobody's from now on, or what it waits for changes: this is what it has waited for so far.
local function keep_waits(lane, waits)
  call('HSET', C, '@' .. lane, (waits or '0,') .. instant)
end

-- A lane that was granted to be begun later has begun. The field's name has the token, so this does nothing to a lane
-- that has another owner by now.
local function begin_head(lane, token) call('HDEL', lane_key(lane), 'nb:' .. token) end

