-- outbox: what is to be delivered, the oldest first. Reads only.
-- ARGV   time, how many at most, bytes that are enough
-- Reply  {{parents that somebody has to look for}, {number, to, parent, letter, '' or '+' and what it left}...}

local most, enough = tonumber(ARGV[2]), tonumber(ARGV[3])
local reply, bytes = {call('ZRANGE', P .. 'jl', 0, 9)}, 0
for _, base in ipairs(call('ZRANGE', P .. 'jo', 0, most - 1)) do
  if #reply > most or bytes >= enough then break end
  local letter, parent, left = string.match(call('HGET', P .. 'jh', base), '^(.)([^\n]*)\n(.*)$')
  local page = call('ZRANGE', P .. 'jo:' .. base, 0, most - #reply, 'WITHSCORES')
  for at = 1, #page, 2 do
    if bytes >= enough then break end
    reply[#reply + 1] = {text(base + page[at + 1]), page[at], parent, letter, left}
    bytes = bytes + #left
  end
end
return reply
