-- waits: what a lane that nobody holds has waited for, when that changes. Stands behind `stretches`, which says what
-- is noted, before the verbs that end such a time.

-- Note what a lane that nobody holds has waited for, up to now, and tell it. Comes before its state, or a pause,
-- changes.
local function bring_up(lane)
  local due, halted = call('ZSCORE', P .. WAITING, lane), call('ZSCORE', P .. HALTED, lane)
  local is_ready = call('ZSCORE', P .. STOPPED, lane) or call('ZSCORE', P .. READY, lane)
  if not (due or halted or is_ready) then return nil end
  local noted, newer = call('HGET', C, '@' .. lane), ''
  local known, since, stretches = '', EVER, ''
  if noted then
    local at
    known, at = string.match(noted, '^(%d*),()')
    since, stretches = string.sub(noted, -16), string.sub(noted, at, -17)
  end
  if halted then
    newer = stretch(since, instant, HALT)
  else
    if due then
      due = text(tonumber(due))
      newer = stretch(since, due < instant and due or instant, BACKOFF)
      since = due > since and due or since
    end
    if paused_lanes > 0 and call('SISMEMBER', P .. PAUSED, lane) == 1 then
      newer = stretch(since, instant, PAUSE) .. newer
    else
      newer = ready_stretches(since, instant) .. newer
    end
  end
  local waits = put_before(lane, newer, known, stretches)
  keep_waits(lane, waits)
  return waits
end

