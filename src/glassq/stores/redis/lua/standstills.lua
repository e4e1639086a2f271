-- standstills: stands behind `waits`, before the verbs that change whether a queue can be served.

-- Of a queue so many bytes are kept: of 39 of them.
local MOST = 1482

local function is_deserted() return (call('HGET', C, 'up') or EVER) <= instant end

-- Keep them, as what holds the queue up is about to change.
local function note_standstills()
  local all = standstills()
  if all ~= '' then call('HSET', C, 'hu', string.sub(all, -MOST)) end
end
