-- How lanes stand: their heads, and the states they are in and leave. Stands before the verbs that change that.

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

-- The head of this level has not begun after all: it takes its place behind what was put before it meanwhile.
local function unbegin(lane, level)
  local key = list_key(level, lane)
  local head, at = call('LINDEX', key, 0), 1
  local other = call('LINDEX', key, 1)
  if not other or sequence(other) > sequence(head) then return end
  call('LPOP', key)
  at = 0
  while true do
    other = call('LINDEX', key, at)
    if not other then call('RPUSH', key, head) return end
    if sequence(other) > sequence(head) then call('LINSERT', key, 'BEFORE', other, head) return end
    at = at + 1
  end
end

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
  call('ZADD', P .. LOWEST, text(lowest), lane)
end

-- A job leaves for good: what it alone might hold is free again.
local function forget_unique(job)
  if not string.find(job, '^%d+:%d:%d+:%d*:%a*u') then return end
  local id = identity(job)
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
  call('HSET', C, 'last', instant)
  return call('HINCRBY', C, 'so', text(count))
end

local function note_blocked(lane, attempts, since)
  call('ZADD', P .. BLOCKED, text(since), lane)
  if attempts > 0 then call('ZADD', P .. TRIED, text(attempts), lane) end
end

local function forget_blocked(lane)
  call('ZREM', P .. BLOCKED, lane)
  call('ZREM', P .. TRIED, lane)
end

-- Take a lane that nobody holds out of whatever state it is in.
local function forget_state(lane)
  for _, state in ipairs({P .. READY, P .. WAITING, P .. HALTED, P .. STOPPED}) do call('ZREM', state, lane) end
  call('HDEL', C, '@' .. lane)
end

-- A lane without jobs leaves nothing behind.
local function vanish(lane)
  call('ZREM', P .. HELD, lane)
  call('SREM', P .. KEPT, lane)
  call('ZREM', P .. LOWEST, lane)
  forget_blocked(lane)
  call('DEL', lane_key(lane))
end

-- The head is settled and the lane nobody's: it waits without history. `head` is what comes first now, if known;
-- `waits` are those of a lane that was nobody's before.
local function vacate(lane, at_front, head, waits)
  waits = waits or call('HGET', lane_key(lane), 'wt')
  call('ZREM', P .. HELD, lane)
  call('SREM', P .. KEPT, lane)
  call('DEL', lane_key(lane))
  if head and #levels == 1 then
    call('ZADD', P .. LOWEST, string.match(head, '^%d+'), lane)
  else
    note_lowest(lane)
  end
  keep_waits(lane, waits)
  make_ready(lane, at_front)
end

