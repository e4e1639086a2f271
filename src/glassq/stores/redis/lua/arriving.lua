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
  if call('HEXISTS', lane_key(lane), 'o') == 1 then call('HINCRBY', lane_key(lane), 'ch', '1') end
end

-- A lane that was idle is ready from now on; whether it was.
local function wake(lane)
  if call('EXISTS', lane_key(lane)) == 1 or call('ZSCORE', READY, lane) then return false end
  if paused_lanes > 0 and call('ZSCORE', STOPPED, lane) then return false end
  make_ready(lane, false)
  note_lowest(lane)
  return true
end

-- Whether a job of this level comes before some that are there, and that a window may show.
local function overtakes(lane, level)
  for each in string.gmatch(levels, '%d') do
    if each < level and call('EXISTS', list_key(each, lane)) == 1 then return true end
  end
  return false
end

-- Put jobs ({lane, level, seq, job}, ascending) into their lanes; whether an idle one became ready.
local function arrive(jobs)
  local keys, batches, lanes, best = {}, {}, {}, {}
  for _, each in ipairs(jobs) do
    know_level(each.level)
    if not best[each.lane] then lanes[#lanes + 1] = each.lane end
    if each.level > (best[each.lane] or '') then best[each.lane] = each.level end
    local key = list_key(each.level, each.lane)
    if not batches[key] then
      batches[key] = {lane = each.lane, level = each.level}
      keys[#keys + 1] = key
    end
    table.insert(batches[key], each.job)
  end
  -- Before they are in: they may stand in any order among themselves.
  for _, lane in ipairs(lanes) do
    if overtakes(lane, best[lane]) then change(lane) end
  end
  local woken = false
  for _, key in ipairs(keys) do
    local batch = batches[key]
    -- Where jobs of this level were waiting already, the lane is known to somebody.
    local was_empty = call('RPUSH', key, unpack(batch)) == #batch
    if was_empty and wake(batch.lane) then woken = true end
  end
  return woken
end

