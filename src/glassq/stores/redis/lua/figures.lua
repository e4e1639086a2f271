-- figures: how some lanes stand. Reads only.
-- ARGV   time, lane...
-- Reply  {now, and of each lane, as far as this came: state, depth, head, when that became eligible, its attempts, when
--        the lane's first job by seq did, since when it is held up or 0, its owner or ''; or nil when it has no jobs}

local function state_of(lane, owner)
  if owner then return 'leased' end
  if call('ZSCORE', P .. HALTED, lane) then return 'halted' end
  if all_paused or is_paused(lane) then return 'paused' end
  return call('ZSCORE', P .. WAITING, lane) and 'waiting_retry' or 'ready'
end

local reply = {instant}
for index = 2, #ARGV do
  local lane = ARGV[index]
  local held = fields_of(lane, 'b', 'n', 'o', 'cu', 't')
  local head, oldest, depth = jobs_of(lane, held[1])
  if head then
    local runs = held[3] and held[4] and call('HEXISTS', hash_of(lane), 'nb:' .. held[5]) == 0
    reply[index] = {
      state_of(lane, held[3]), depth, identity(head), text(eligible_at(head)), tonumber(held[2] or 0) + (runs and 1 or 0),
      text(eligible_at(oldest)), text(held_up_since(lane, oldest) or 0), held[3] or ''
    }
  else
    reply[index] = false
  end
  if is_enough() then break end
end
return reply
