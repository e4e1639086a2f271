-- settle_next: stands before `settle`, which says what is asked and answered, and does what most calls ask for: end
-- the head of one lane as succeeded and go on with the next job, the one that is named, of the only level there is.
-- Whatever is otherwise is left to `settle`, with nothing changed.

local goes_on = ARGV[8] == 'go_on'
if is_routine and #ARGV == 12 and ARGV[4] == 'ack' and (goes_on or ARGV[8] == 'stay') then
  local key, list = P .. 'l:' .. ARGV[5], P .. 's' .. levels .. ':' .. ARGV[5]
  -- fence: the number and the owner; `go` or `o` is there only while the lane is held.
  local pass, is_plain, ahead = ARGV[6] .. '|' .. ARGV[2] .. '|' .. levels .. '|' .. ARGV[10], false, ARGV[12]
  if goes_on then
    is_plain = call('HGET', key, 'go') == pass
  else
    local lane = call('HMGET', key, 't', 'o', 'cu', 'b', 'ch', 'n', 'ba', 'f', 'k', 'cx', 'cw', 'ah')
    local is_ours = lane[1] == ARGV[6] and lane[2] == ARGV[2]
    local is_fresh = lane[3] == ARGV[7] and lane[4] == levels and (lane[5] or '0') == ARGV[10]
    local has_history = lane[6] or lane[7] or lane[8] or lane[9] or lane[10] or lane[11]
    is_plain = is_ours and is_fresh and not has_history and (ahead ~= '0' or (lane[12] or '0') == '0')
  end
  if has_jp and is_plain then is_plain = call('SISMEMBER', P .. 'jp', ARGV[7]) == 0 end -- nobody waits for it
  -- The first write, one that needs no memory: taking a job and comparing it is cheaper than reading it before.
  local head = is_plain and call('LPOP', list)
  if head then
    local job, following = '::' .. ARGV[7], ':' .. ARGV[9]
    local mark = string.find(head, '|', 1, true)
    local is_next = mark and string.sub(head, mark - #job, mark - 1) == job -- which has no flags
    if is_next and not goes_on then -- what a worker that runs ahead goes on with is taken away by nobody
      local next_job = call('LINDEX', list, '0')
      mark = next_job and string.find(next_job, '|', 1, true)
      is_next = mark and string.sub(next_job, mark - #following, mark - 1) == following
    end
    if is_next then
      local ordinal = text((conf[4] or 0) + 1)
      if goes_on or ahead == '0' then
        call('HSET', key, 'cu', ARGV[9])
      else
        call('HSET', key, 'cu', ARGV[9], 'ah', ahead, 'go', pass)
      end
      call('HSET', C, 'so', ordinal, 'seen', instant, 'last', instant)
      if ARGV[3] ~= '' then
        local calls = P .. 'u:' .. ARGV[2]
        if call('RPUSH', calls, ARGV[3]) > 2 * KEPT_CALLS then call('LTRIM', calls, -KEPT_CALLS, -1) end
      end
      local others = call('ZCARD', P .. 'r') > 0
      return instant .. '|' .. conf[2] .. ':' .. conf[3] .. ':' .. (conf[4] or '0') .. ':' .. conf[7] .. '|done:'
        .. ordinal .. ':1:' .. (others and '1:' or '0:') .. ARGV[10] .. ':0'
    end
    call('LPUSH', list, head)
  end
end

