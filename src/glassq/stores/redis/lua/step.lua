-- step: stands before the opening of `settle`, and does what most settlements without an answer ask for, see `in_full`:
-- end the head of a lane that is run ahead, and note that the next job has begun. Whatever is otherwise is left to
-- what stands behind it, with nothing changed.
--
-- What only answers tell is not looked at: the time, who else waits, pauses. Nor is it noted when this was (`seen`,
-- `last`): somebody asks at most some jobs, or 1 ms, later, and that notes it. Until then it is seen as earlier than it
-- was: so no outage and no jump of the clock is overlooked. Nor is the server's run: that is noted by what is answered,
-- as the first settlement of a course is, and another run means another connection.

local ARGV = ARGV
if #ARGV == 6 then
  local call, C = redis.call, KEYS[1]
  local P, lane = string.sub(C, 1, -2), ARGV[2]
  local key = P .. 'l:' .. lane
  local conf = call('HMGET', C, 'v', 'lv', 'fo')
  local levels, waited_for = conf[2], conf[3]
  -- fence: the number and the owner; `go` is there only while the lane is held. It names one level: so where there are
  -- several it is another.
  if conf[1] == '1' and levels and call('HGET', key, 'go') == ARGV[3] .. levels .. ARGV[4]
      and (not waited_for or waited_for == '0' or call('SISMEMBER', P .. 'jp', ARGV[5]) == 0) then
    local list, job = P .. 's' .. levels .. ':' .. lane, '::' .. ARGV[5]
    local head = call('LPOP', list) -- the first write, one that needs no memory
    if head then
      local mark = string.find(head, '|', 1, true)
      if mark and string.sub(head, mark - #job, mark - 1) == job then -- which has no flags
        call('HSET', key, 'cu', ARGV[6])
        call('HINCRBY', C, 'so', '1')
        return
      end
      call('LPUSH', list, head)
    end
  end
end

