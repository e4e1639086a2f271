-- upstream: what those left that a job waited for, in its order, some at a time. Reads only.
-- ARGV   time, job, how many parents to leave out, how many to look at, bytes that are enough
-- Reply  {how many were left out and looked at, or 0 at the end, parent, name, letter and '' or '+' and what it left,
--        parent...}; nil for a job that has its place already behind a parent that has not ended

local own, skip, most, enough = call('HGET', P .. 'ju', ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local reply, place, bytes = {0}, 0, 0
if not own then return reply end
local waits = call('HEXISTS', P .. 'jd', ARGV[2]) == 1
local at = string.find(own, '\n', 1, true) + 1
while at <= #own do
  local size, name, from = string.match(own, '^(%d+):(%d+):()', at)
  local parent = string.sub(own, from, from + size - 1)
  if place == skip + most or bytes >= enough then
    reply[1] = place
    break
  end
  at, place = from + size + name, place + 1
  local is_wanted = place > skip and string.sub(parent, 1, 1) ~= '!'
  if is_wanted and not (waits and call('HEXISTS', P .. 'jw', ARGV[2] .. ' ' .. parent) == 1) then
    local left, count = call('HGET', P .. 'jr', parent), #reply
    local place = not left and call('HGET', P .. 'js', parent)
    if place and string.match(place, '^%a([^\n]*)') == ARGV[2] then return false end
    left = left or 's'
    reply[count + 1], reply[count + 2], reply[count + 3] = parent, string.sub(own, at - name, at - 1), left
    bytes = bytes + #left
  end
end
return reply
