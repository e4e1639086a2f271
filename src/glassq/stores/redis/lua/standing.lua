-- How lanes stand: their heads, and the states they are in and leave. Stands before the verbs that change that.

-- order: the one place that says which job of a lane comes first. A begun head is not overtaken.
local function first(lane, begun)
  if begun then return call('LINDEX', list_key(begun, lane), '0'), begun end
  for level in string.gmatch(levels, '%d') do
    local job = call('LINDEX', list_key(level, lane), '0')
    if job then return job, level end
  end
  return false, false
end

local function window(lane, size)
  if #levels == 1 then return call('LRANGE', list_key(levels, lane), '0', text(size - 1)) end
  local jobs = {}
  for level in string.gmatch(levels, '%d') do
    if #jobs >= size then break end
    for _, job in ipairs(call('LRANGE', list_key(level, lane), 0, size - #jobs - 1)) do jobs[#jobs + 1] = job end
  end
  return jobs
end

-- The lane is nobody's (ready, waiting or halted): it counts for the age of the oldest job by its lowest seq.
local function note_lowest(lane)
  local lowest
  for level in string.gmatch(levels, '%d') do
    -- The second, too: a begun head stands before replayed jobs of lower seqs.
    for _, job in ipairs(call('LRANGE', list_key(level, lane), '0', '1')) do
      local seq = sequence(job)
      if not lowest or seq < lowest then lowest = seq end
    end
  end
  call('ZADD', P .. LOWEST, text(lowest), lane)
end

local function note_blocked(lane, attempts, since)
  call('ZADD', P .. BLOCKED, text(since), lane)
  if attempts > 0 then call('ZADD', P .. TRIED, text(attempts), lane) end
end

local function forget_blocked(lane)
  call('ZREM', P .. BLOCKED, lane)
  call('ZREM', P .. TRIED, lane)
end

-- A lane without jobs leaves nothing behind.
local function vanish(lane)
  call('ZREM', P .. HELD, lane)
  call('SREM', P .. KEPT, lane)
  call('ZREM', P .. LOWEST, lane)
  forget_blocked(lane)
  call('DEL', lane_key(lane))
  call('HDEL', C, '@' .. lane)
end

