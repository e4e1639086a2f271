-- deferring: how jobs are put beside the lanes until others have ended. Stands behind `weaving`, before `append` and
-- `follow`.

-- Whether a job of this shard may have this name: a producer's numbers ascend, and the last one is known for a day.
local last_numbers = {}
local function was_given(name)
  local producer, number = string.match(name, '^([^/!~]+):(%d+)$')
  if not producer then return true end
  if not last_numbers[producer] then
    local known = call('HGET', P .. 'p', producer)
    last_numbers[producer] = known and tonumber(string.match(known, '^%d+')) or math.huge
  end
  return tonumber(number) <= last_numbers[producer]
end

-- What puts them there.
local function deferring()
  local woven = weaving()
  local places, known, late = {}, {}, {}

  -- This child, or one of another shard, hears of the end of this parent.
  local function note_edge(parent, child)
    local edges = P .. 'je:' .. parent
    local place = places[parent]
    if not place then
      local last = call('ZREVRANGE', edges, 0, 0, 'WITHSCORES')[2]
      -- Before all others comes one that has its place behind this parent (see `places`).
      place = tonumber(last or call('HEXISTS', P .. 'js', parent) - 1) + 1
    end
    places[parent] = place + call('ZADD', edges, 'NX', text(place), child)
  end

  -- How a parent stands that was named by its id: '' unsettled, how it ended, or nil. What is in no lane is found at
  -- once; about the others somebody has to look, whoever comes first. From now on its end is told.
  local function standing_of(parent)
    if known[parent] then return known[parent].letter end
    local letter = call('HEXISTS', P .. 'jd', parent) == 1 and '' or call('HEXISTS', P .. 'jx', parent) == 1 and 'k'
    if not letter then
      if call('SADD', P .. 'jp', parent) == 1 then call('HINCRBY', C, 'fo', '1') end
      letter = call('HEXISTS', P .. 'xi', parent) == 1 and 'b' or call('HEXISTS', P .. 'di', parent) == 1 and '' or nil
      if not letter then call('ZADD', P .. 'jl', 'NX', call('HINCRBY', C, 'on', '1'), parent) end
    end
    known[parent] = {letter = letter}
    return letter
  end

  -- Whom a job waits for: {policy, parent, name}, where a parent is a job of this very append or who was named.
  local function note_parents(job)
    local own, count, many = {job.flow .. '\n'}, 0, #job.parents > 1 and '+' or ''
    for _, each in ipairs(job.parents) do
      local policy, parent, name = unpack(each)
      local is_new = type(parent) == 'table' and not parent.twin
      if type(parent) == 'table' then parent = parent.twin and parent.twin.id or parent.id end
      own[#own + 1] = #parent .. ':' .. #name .. ':' .. parent .. name
      if call('HSETNX', P .. 'jw', job.id .. ' ' .. parent, policy .. many) == 1 then
        count = count + 1
        if woven.is_gate(parent) or is_new then
          note_edge(parent, job.id)
        elseif not woven.is_far(parent) then
          local letter = standing_of(parent)
          note_edge(parent, job.id)
          if letter == 'b' or letter == 'k' then late[#late + 1] = {job.id, parent, letter} end
        end
      end
    end
    if many ~= '' then call('HSET', P .. 'jn', job.id, count) end
    return table.concat(own)
  end

  local function put(job, flags)
    if not conf[10] then call('HSETNX', C, 'fo', '0') end
    call('HSET', P .. 'jd', job.id, job.ttl .. ':' .. job.level .. ':' .. flags .. ':' .. #job.lane .. '|' .. job.lane
      .. job.body)
    call('HSET', P .. 'ju', job.id, note_parents(job))
  end

  -- Some of their parents had ended before.
  local function hear_of()
    for _, each in ipairs(late) do woven.hear(unpack(each)) end
    woven.finish()
  end

  return {note_edge = note_edge, standing_of = standing_of, put = put, hear_of = hear_of}
end

