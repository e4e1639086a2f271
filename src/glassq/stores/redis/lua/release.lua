-- release: give lanes up with their heads unsettled and untouched.
-- ARGV   time, owner, '1' to the front or '0' to the tail, then per lease: lane, token
-- Reply  how many were given up
-- May be repeated at will: a lane is given up once.

local owner, at_front = ARGV[2], ARGV[3] == '1'

begin()
local given, rings = 0, false
for index = 1, (#ARGV - 3) / 2 do
  local lane, token = ARGV[index * 2 + 2], ARGV[index * 2 + 3]
  local key = lane_key(lane)
  local held = call('HMGET', key, 't', 'o', 'n', 'ba', 'cx', 'b', 'cw', 'cu', 'wt')
  if held[1] == token and held[2] == owner then -- fence: number and owner
    given = given + 1
    grant_wishes(lane, held[7], held[8])
    -- What has been tried, or is asked to be cancelled, has begun.
    local begun = held[3] or held[4] or held[5]
    if held[6] and not begun then unbegin(lane, held[6]) end
    if not first(lane) then
      vanish(lane)
    elseif begun then -- the head's history stays, with its place
      call('HDEL', key, 'o', 'cu', 'ah', 'go', 'nb:' .. token, 'wt')
      call('ZREM', P .. HELD, lane)
      call('SREM', P .. KEPT, lane)
      note_lowest(lane)
      keep_waits(lane, held[9])
      make_ready(lane, at_front)
      rings = true
    else
      vacate(lane, at_front)
      rings = true
    end
  end
end
if rings then ring() end
return given
