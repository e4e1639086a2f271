-- delivered: these of the outbox have been delivered.
-- ARGV   time, numbers
-- Reply  1
-- May be repeated at will.

begin()
for index = 2, #ARGV do
  local base = call('ZREVRANGEBYSCORE', P .. 'jo', ARGV[index], '-inf', 'LIMIT', 0, 1)[1]
  if base then
    local place = text(ARGV[index] - base)
    call('ZREMRANGEBYSCORE', P .. 'jo:' .. base, place, place)
    if call('EXISTS', P .. 'jo:' .. base) == 0 then
      call('ZREM', P .. 'jo', base)
      call('HDEL', P .. 'jh', base)
    end
  end
end
return 1
