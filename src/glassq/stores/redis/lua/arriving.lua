-- How jobs take their places at the tails of their lanes: stands before `append`, `claim` and `replay`.

local function know_level(level)
  if string.find(levels, level, 1, true) then return end
  local all = {level}
  for each in string.gmatch(levels, '%d') do all[#all + 1] = each end
  table.sort(all, function(a, b) return a > b end)
  levels = table.concat(all)
  call('HSET', C, 'lv', levels)
end

-- Windows of a held lane that were read before are not to be trusted.
local function change(lane)
  if call('HEXISTS', lane_key(lane), 'o') == 1 then note_change(lane) end
end

local any_short -- whether any held lane is noted in `t`: asked once for all lanes
local function is_held_in_short(lane)
  if any_short == nil then any_short = call('EXISTS', P .. 't') == 1 end
  return any_short and call('HEXISTS', P .. 't', lane) == 1
end

-- A lane that was idle, and whose only jobs begin at this seq, is ready from now on; whether it was.
local function wake(lane, seq)
  if call('EXISTS', hash_of(lane)) == 1 or is_held_in_short(lane) or call('ZSCORE', P .. READY, lane) then
    return false
  end
  if paused_lanes > 0 and call('ZSCORE', P .. STOPPED, lane) then return false end
  make_ready(lane, false)
  call('ZADD', P .. LOWEST, text(seq), lane)
  return true
end

-- Jobs of a higher level come before some that are there, and that a window may show.
local function note_overtaking(runs)
  local lanes, best = {}, {}
  for _, run in ipairs(runs) do
    if not best[run.lane] then lanes[#lanes + 1] = run.lane end
    if run.level > (best[run.lane] or '') then best[run.lane] = run.level end
  end
  for _, lane in ipairs(lanes) do
    for level in string.gmatch(levels, '%d') do
      if level < best[lane] and call('EXISTS', list_key(level, lane)) == 1 then
        change(lane)
        break
      end
    end
  end
end

-- Put jobs into their lanes, as runs {lane, level, seq of the first, jobs} in ascending order; whether an idle lane
-- became ready.
local function arrive(runs)
  for _, run in ipairs(runs) do know_level(run.level) end
  -- Before they are in: they may stand in any order among themselves.
  if #levels > 1 then note_overtaking(runs) end
  local woken = false
  for _, run in ipairs(runs) do
    local was_empty = call('RPUSH', list_key(run.level, run.lane), unpack(run.jobs)) == #run.jobs
    -- Where jobs of this level were waiting already, the lane is known to somebody.
    if was_empty and wake(run.lane, run.seq) then woken = true end
  end
  return woken
end

