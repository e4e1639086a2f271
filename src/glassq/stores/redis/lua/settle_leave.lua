-- settle_leave: stands before `settle`, which says what is asked and answered, and does what most turns end with: the
-- head of one lane, of the only level there is, has succeeded, and the lane goes back to the ready ones, or vanishes.
-- Whatever is otherwise is left to `settle`, with nothing changed.

if #ARGV == 12 and ARGV[4] == 'ack' and ARGV[8] == 'yield' and format and not is_new and #levels == 1
    and (conf[8] or '0') == '0' and now >= tonumber(conf[5]) and now - tonumber(conf[5]) <= MOMENT then
  local name = ARGV[5]
  local key, list, job = P .. 'l:' .. name, P .. 's' .. levels .. ':' .. name, ':' .. ARGV[7]
  local lane = call('HMGET', key, 't', 'o', 'cu', 'b', 'ch', 'n', 'ba', 'f', 'k', 'cx', 'cw', 'wt')
  -- fence: the number and the owner; `o` is there only while the lane is held.
  local is_ours = lane[1] == ARGV[6] and lane[2] == ARGV[2]
  local is_plain = not (lane[6] or lane[7] or lane[8] or lane[9] or lane[10] or lane[11])
  if has_jp and is_plain then is_plain = call('SISMEMBER', P .. 'jp', ARGV[7]) == 0 end -- nobody waits for it
  -- The first write, one that needs no memory: taking a job and comparing it is cheaper than reading it before.
  local head = is_ours and is_plain and lane[3] == ARGV[7] and lane[4] == levels and call('LPOP', list)
  if head then
    local mark = string.find(head, '|', 1, true)
    if mark and string.sub(head, mark - #job - 1, mark - 1) == ':' .. job then -- and has no flags
      local next_job, ready, place = call('LINDEX', list, 0), call('ZCARD', P .. 'r'), nil
      local ordinal = string.format('%.0f', (conf[4] or 0) + 1)
      call('ZREM', P .. 'h', name)
      call('DEL', key)
      if next_job then
        place = string.format('%.0f', (conf[9] or 0) + 1)
        call('ZADD', P .. 'a', string.match(next_job, '^%d+'), name)
        call('ZADD', P .. 'r', place, name)
        -- Where lanes wait already, whoever could take this one has been rung for those.
        if ready == 0 then call('XADD', P .. 'b', 'MAXLEN', '1', '*', 'r', '1') end
        call('HSET', C, 'so', ordinal, 'seen', instant, 'last', instant, 'tail', place, '@' .. name,
          (lane[12] or '0,') .. instant) -- see `waits`
      else
        call('HSET', C, 'so', ordinal, 'seen', instant, 'last', instant)
        if lane[12] and string.sub(lane[12], 1, 1) ~= ',' then call('HDEL', C, '@' .. name) end
      end
      if ARGV[10] ~= '' then call('HDEL', P .. 'l:' .. ARGV[9], 'nb:' .. ARGV[10]) end
      local calls = P .. 'u:' .. ARGV[2]
      if call('RPUSH', calls, ARGV[3]) > 2 * KEPT_CALLS then call('LTRIM', calls, -KEPT_CALLS, -1) end
      return instant .. '|' .. conf[2] .. ':' .. conf[3] .. ':' .. (conf[4] or '0') .. ':' .. conf[7] .. '|done:'
        .. ordinal .. ':0:' .. ((next_job or ready > 0) and '1:' or '0:') .. (lane[5] or '0') .. ':0'
    end
    call('LPUSH', list, head)
  end
end

