-- How single lanes stand, for people who look: stands before `rank` and `figures`. Reads only.

stand_still()

-- A script reads no more lists, and no more bytes of jobs, than this: a lane may have six, a job a megabyte. Its caller
-- asks for the rest.
local MANY, MUCH = 120, 1048576
local lists_read, bytes_read = 0, 0

local function is_enough() return lists_read >= MANY or bytes_read > MUCH end

-- The head of a lane (`begun` is the level of one that has begun) and its first job by seq, each without its body, and
-- how many jobs it has. Nothing when it has none.
local function jobs_of(lane, begun)
  local head, oldest, lowest, depth = nil, nil, nil, 0
  for level in string.gmatch(levels, '%d') do
    local key = list_key(level, lane)
    -- The second, too: a begun head stands before replayed jobs of lower seqs.
    for index, job in ipairs(call('LRANGE', key, 0, 1)) do
      bytes_read = bytes_read + #job
      job = string.match(job, '^[^|]*|')
      if index == 1 and (not head or level == begun) then head = job end
      local seq = sequence(job)
      if not lowest or seq < lowest then oldest, lowest = job, seq end
    end
    depth, lists_read = depth + call('LLEN', key), lists_read + 1
  end
  return head, oldest, depth
end

local function eligible_at(job) return tonumber(string.match(job, '^%d+:%d:(%d+)')) end

local function is_paused(lane) return paused_lanes > 0 and call('SISMEMBER', P .. PAUSED, lane) == 1 end

-- Since when a lane that nobody holds waits for a pause to end: from the pause on, or from when it was left, or from
-- when its first job came. What it waited for before is noted under '@' (see `stretches`); one pause may be noted in parts.
local function paused_since(lane, oldest)
  local noted, since = call('HGET', C, '@' .. lane), eligible_at(oldest)
  if noted then
    local from, ends, cause = string.match(noted, '^%d*,(%d+),(%d+),(%d),')
    local left = string.match(noted, '(%d+)$')
    if cause == '2' and ends == left then left = from end
    since = math.max(since, tonumber(left))
  end
  if is_paused(lane) then return since end
  return math.max(since, tonumber(call('HGET', C, 'ps') or 0))
end

-- Since when a lane is held up (µs), or nil: its head has failed, its lease has ended, or it waits for a pause to end.
local function held_up_since(lane, oldest)
  local since, ends = tonumber(call('ZSCORE', P .. BLOCKED, lane) or nil), call('ZSCORE', P .. HELD, lane)
  if ends then
    ends = tonumber(ends)
    return ends <= now and math.min(since or ends, ends) or since
  end
  if (all_paused or is_paused(lane)) and not call('ZSCORE', P .. HALTED, lane) then
    local paused = paused_since(lane, oldest)
    return math.min(since or paused, paused)
  end
  return since
end

