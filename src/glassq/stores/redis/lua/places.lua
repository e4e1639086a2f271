-- places: jobs that have their places behind a parent which has not ended (js), as `settle_child` gives them. Stands in
-- `weaving`, behind `holding`. Behind it in the list of one level none can begin before it has ended: while all goes
-- well there is nothing left to do about them.

local function follower_in(place) return (string.match(place, '^%a([^\n]*)')) end

-- The parent has succeeded: what it left is for the one behind it.
local function take_over(parent, place, result)
  call('HDEL', P .. 'js', parent)
  hold(parent, 's', result)
  told.released, told.follows = told.released + 1, follower_in(place)
end

local known_places
local function places()
  if known_places then return known_places end

  -- The parent has not succeeded: all behind it wait beside the lanes again, in the order they were in before.
  local function recall(parent, place)
    local recalled, left, at, key, lane = {}, 0, 0, nil, nil
    while place do
      local policy, child, level, name = string.match(place, '^(%a)([^\n]*)\n[^\n]*\n[^\n]*\n(%d)(.*)$')
      key, lane = list_key(level, name), name
      call('HDEL', P .. 'js', parent)
      call('HSET', P .. 'jw', child .. ' ' .. parent, policy)
      call('ZADD', P .. 'je:' .. parent, '0', child)
      recalled[child], left = true, left + 1
      parent, place = child, call('HGET', P .. 'js', child)
    end
    local page = call('LRANGE', key, at, at + 99)
    while left > 0 and #page > 0 do
      for _, job in ipairs(page) do
        local level, flags, child, body = string.match(job, '^%d+:(%d):%d+:%d*:(%a*):([^|]+)|()')
        if recalled[child] then
          call('LREM', key, '1', job)
          call('HSET', P .. 'jd', child, ':' .. level .. ':' .. flags .. ':' .. #lane .. '|' .. lane
            .. string.sub(job, body))
          left = left - 1
        else
          at = at + 1
        end
      end
      page = call('LRANGE', key, at, at + 99)
    end
  end

  -- A job is cancelled that may be in such a place: nobody is behind the parent any more. Whether it was in one.
  local function leave(child, parent)
    local place = call('HGET', P .. 'js', parent)
    if not place or follower_in(place) ~= child then return false end
    call('HDEL', P .. 'js', parent)
    return true
  end

  known_places = {recall = recall, leave = leave}
  return known_places
end

