-- Jobs of a lane that is run ahead and that somebody wants cancelled: `cw` names them, with spaces between. Whether they
-- run already only their worker knows; once it has been heard of, what has not begun is ended.

local function is_wished(wishes, id)
  return wishes and string.find(' ' .. wishes .. ' ', ' ' .. id .. ' ', 1, true)
end

-- Nothing has begun but the current job: end the others. How many.
local function grant_wishes(lane, wishes, current)
  if not wishes then return 0 end
  local function find(id)
    for level in string.gmatch(levels, '%d') do
      for _, job in ipairs(call('LRANGE', list_key(level, lane), 0, 1000)) do
        if identity(job) == id then return list_key(level, lane), job end
      end
    end
  end

  local count = 0
  for id in string.gmatch(wishes, '%S+') do
    local key, job = find(id)
    if job and id ~= current then
      call('LREM', key, 1, job)
      local came = part(job, 'c')
      count_settled('cancel', 1)
      count = count + 1 + (came and came.cancelled or 0)
      local wait, said = string.match(call('HGET', lane_key(lane), 'kp:' .. id) or '', '^(%d+):(.*)$')
      if wait then keep_note(id, 'cancel', tonumber(wait), 'cancelled', said, '', '') end
    end
    call('HDEL', lane_key(lane), 'kp:' .. id)
  end
  call('HDEL', lane_key(lane), 'cw')
  return count
end

