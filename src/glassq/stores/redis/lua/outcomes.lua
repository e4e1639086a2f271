-- outcomes: the end of a job is told to all who have to hear of it. Stands last in `weaving`, behind `edges` and
-- `workflows`.

-- Note in the outbox what is told to others of this end: to the children in `edges` but those that are `done`, and to
-- a workflow ('' for none). Each has the number of its place there, counted on from the outbox's last.
local function post(what, edges, done, flow, moves)
  local base = tonumber(call('HGET', C, 'on') or 0) + 1
  local box = P .. 'jo:' .. text(base)
  if moves then
    call('RENAME', edges, box)
  elseif edges then
    call('ZUNIONSTORE', box, 1, edges)
  end
  for from = 1, #done, MOST do call('ZREM', box, unpack(done, from, math.min(#done, from + MOST - 1))) end
  local last = tonumber(call('ZREVRANGE', box, 0, 0, 'WITHSCORES')[2] or -1)
  if flow ~= '' then
    last = last + 1
    call('ZADD', box, text(last), flow)
  end
  if last < 0 then return end
  call('HSET', C, 'on', text(base + last))
  call('ZADD', P .. 'jo', text(base), text(base))
  call('HSET', P .. 'jh', text(base), what.letter .. what.id .. '\n' .. (what.result and '+' .. what.result or ''))
  told.relay = true
end

-- Those who waited for this job, in the order in which they began to.
local function tell_children(what, flow)
  local edges, done, is_all = P .. 'je:' .. what.id, {}, true
  local page = call('ZRANGE', edges, 0, math.max(room, 1) - 1)
  if room == 0 and #page > 0 then page, is_all = {}, false end
  for _, child in ipairs(page) do
    if is_far(child) then
      is_all = false
    else
      hear(child, what.id, what.letter, what.result)
      done[#done + 1] = child
    end
  end
  if room > 0 and #page == room then is_all = false end
  room = room - #done
  if is_all then
    if #page > 0 and not STAYS[what.letter] then call('DEL', edges) end
    if flow ~= '' then post(what, nil, {}, flow, false) end
  elseif call('EXISTS', edges) == 1 then -- those who have heard of it may have gone meanwhile
    post(what, edges, done, flow, not STAYS[what.letter])
  elseif flow ~= '' then
    post(what, nil, {}, flow, false)
  end
end

local function tell(what)
  local id, letter, own = what.id, what.letter, what.own
  local place = call('HGET', P .. 'js', id)
  if place and letter == 's' then take_over(id, place, what.result) elseif place then places().recall(id, place) end
  if not own then
    own = call('HGET', P .. 'ju', id)
    if own and not STAYS[letter] then
      call('HDEL', P .. 'ju', id)
      each_parent(own, function(parent)
        if letter ~= 'c' or not places().leave(id, parent) then let_go(parent) end
      end)
    end
  end
  if has_jp and not STAYS[letter] and call('SREM', P .. 'jp', id) == 1 then
    call('HINCRBY', C, 'fo', '-1')
    call('ZREM', P .. 'jl', id)
  end
  local flow = own and letter ~= 'B' and string.match(own, '^[^\n]*') or ''
  if flow ~= '' and not is_far(flow) then
    local number = letter == '-' and tonumber(call('HGET', C, 'on') or 0) + 1 or nil
    if not note_flow(flow, id, letter, number) then flow = '' end
  end
  tell_children(what, flow)
end

-- Tell all who have to hear of it; what came of it. `tells`: whether whoever asked is told what workflows ended.
local function finish(tells)
  woven.tells = tells
  local at = 0
  while at < #ends do
    at = at + 1
    tell(ends[at])
  end
  ends = {}
  if next(held) then keep_held() end
  if #arrivals > 0 then
    told.woke = arrive(arrivals)
    if told.woke then ring() end
    arrivals = {}
  end
  local came = told
  told = nothing()
  return came
end

-- A job has ended, or a gate has opened, or a dead letter is replayed; what came of it.
local function ended(id, letter, result, tells)
  ends[1] = {id = id, letter = letter, result = result}
  return finish(tells)
end

woven = {
  ended = ended, finish = finish, hear = hear, note_flow = note_flow, post = post, failing = failing, flows = flows,
  is_far = is_far, is_gate = is_gate
}
return woven
