-- holding: what is known of ends, and of what they left. Stands first in `weaving`.
-- How a job ended is one letter: s succeeded, c cancelled, e expired, b buried, B buried and never to be replayed (it
-- was purged), k cancelled because of a dead letter: it comes back with that; and - is no end: it was replayed.
-- Jobs and workflows of this shard are named without their queue, those of others with it: by the '/' in it.

local MOST = 100 -- children that one script lets go; the others are told by way of the outbox
local room = MOST
local STAYS, COMES_BACK = {b = true, k = true, ['-'] = true}, {b = true, k = true}

-- What came of the end that is told: jobs let into their lanes, jobs cancelled, those of these of the one lane that is
-- asked about (`woven.lane`), workflows that ended, whether there is something new in the outbox.
local function nothing() return {released = 0, cancelled = 0, of_lane = 0, relay = false, flows = {}} end
local told, ends, arrivals, held = nothing(), {}, {}, {}

local function is_far(name) return string.find(name, '/', 1, true) end
local function is_gate(name) return string.byte(name) == 33 end -- a '!'

-- The parents of a job, out of its record in `ju`.
local function each_parent(own, visit)
  local at = string.find(own, '\n', 1, true) + 1
  while at <= #own do
    local size, name, from = string.match(own, '^(%d+):(%d+):()', at)
    visit(string.sub(own, from, from + size - 1))
    at = from + size + name
  end
end

-- What a parent left is kept once for all its children here; `jm` counts those beyond the first.
local function keep_held()
  for parent, what in pairs(held) do
    local more = what.count - call('HSET', P .. 'jr', parent, what.left)
    if more > 0 then call('HINCRBY', P .. 'jm', parent, text(more)) end
  end
  held = {}
end

local function hold(parent, letter, result)
  if is_gate(parent) then return end
  local left = string.lower(letter == 'k' and 'c' or letter) .. (result and '+' .. result or '')
  local what = held[parent]
  held[parent] = {left = left, count = (what and what.count or 0) + 1}
end

local function let_go(parent)
  if is_gate(parent) then return end
  if next(held) then keep_held() end
  local more = call('HGET', P .. 'jm', parent)
  if not more then
    call('HDEL', P .. 'jr', parent)
  elseif more == '1' then
    call('HDEL', P .. 'jm', parent)
  else
    call('HINCRBY', P .. 'jm', parent, '-1')
  end
end

