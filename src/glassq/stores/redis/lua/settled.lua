-- settled: what is noted of jobs that are.

-- What one job alone may hold is free again.
local function free_unique(id)
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

