-- purge_deferred: end deferred jobs as cancelled, of all lanes or of one; some at a time.
-- ARGV   time, cursor, how many to look at; then, of one only: the lane
-- Reply  {cursor to go on at, '0' at the end, how many are gone}
-- May be repeated at will.

begin()
local woven, lane, count = weaving(), ARGV[4], 0
woven.lane = lane
local following, page = unpack(call('HSCAN', P .. 'jd', ARGV[2], 'COUNT', ARGV[3]))
for index = 1, #page, 2 do
  local length, at = string.match(page[index + 1], '^%d*:%d:%a*:(%d+)|()')
  -- It may have gone with another one of this page.
  if not lane or string.sub(page[index + 1], at, at + length - 1) == lane then
    if woven.failing().cancel_deferred(page[index]) then
      local came = woven.finish()
      count = count + 1 + (lane and came.of_lane or came.cancelled)
    end
  end
end
return {following, count}
