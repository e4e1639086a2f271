-- How lanes are given up, and leave the states they are in: stands behind `standing`, before the verbs that do that.

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

-- Take a lane that nobody holds out of whatever state it is in.
local function forget_state(lane)
  for _, state in ipairs({P .. READY, P .. WAITING, P .. HALTED, P .. STOPPED}) do call('ZREM', state, lane) end
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

