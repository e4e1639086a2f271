-- append_plain: stands before `append`, which says what is asked and answered, and does what most calls ask for: put
-- jobs that ask for nothing but their place behind others, in the only level there is, or into a lane that was idle,
-- for a producer that is known. Whatever is otherwise is left to `append`, with nothing changed.

if format and not is_new and ARGV[6] == '1' and ARGV[5] == '' and ARGV[4] == ARGV[9] and ARGV[8] == levels then
  local last, stamp
  local known = call('HGET', P .. 'p', ARGV[2])
  -- What the time that has passed may change are leases: see `pass_time`.
  local is_usual = known and passed >= 0 and (passed <= MOMENT or call('ZCARD', P .. 'h') == 0)
  if is_usual then last, stamp = string.match(known, '^(%d+):(%d+):') end
  if last and last + 1 == tonumber(ARGV[3]) and now - stamp <= 3600 * SECOND then
    local count, seq, lane = ARGV[4] + 0, conf[2] + 0, ARGV[7]
    local list, first_seq = P .. 's' .. levels .. ':' .. lane, text(seq + 1)
    local middle, jobs = ':' .. levels .. ':' .. instant .. ':::', {}
    for index = 1, count do jobs[index] = seq + index .. middle .. ARGV[9 + index] end
    -- The first write: needs memory, fails whole, and does nothing unless there are jobs in this lane and level.
    local placed = call('RPUSHX', list, unpack(jobs)) > 0
    if not placed and (conf[8] or '0') == '0' and call('EXISTS', list, P .. 'l:' .. lane) == 0
        and not call('ZSCORE', P .. 'r', lane) then
      local place = text((conf[9] or 0) + 1)
      call('RPUSH', list, unpack(jobs))
      call('HSET', C, 'tail', place)
      call('ZADD', P .. 'r', place, lane)
      call('ZADD', P .. 'a', first_seq, lane)
      call('XADD', P .. 'b', 'MAXLEN', '1', '*', 'r', '1')
      placed = true
    end
    if placed then
      call('HSET', C, 'seq', text(seq + count), 'en', text(conf[3] + count),
        'seen', instant)
      call('HSET', P .. 'p', ARGV[2], text(last + count) .. ':' .. stamp .. ':' .. first_seq)
      return first_seq .. '|' .. conf[2] .. ':' .. conf[3] .. ':' .. (conf[4] or '0') .. ':' .. conf[7] .. '|0'
    end
  end
end

