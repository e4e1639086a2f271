-- append_plain: stands before `append`, which says what is asked and answered, and does what most calls ask for: put
-- jobs that ask for nothing but their place behind others, in the only level there is, for a producer that is known.
-- Whatever is otherwise is left to `append`, with nothing changed.

if format and not is_new and ARGV[6] == '1' and ARGV[5] == '' and ARGV[4] == ARGV[9] and ARGV[8] == levels then
  local last, stamp
  local known, since = call('HGET', P .. 'p', ARGV[2]), now - tonumber(conf[5])
  if known and since >= 0 and since <= MOMENT then last, stamp = string.match(known, '^(%d+):(%d+):') end
  if last and last + 1 == tonumber(ARGV[3]) and now - stamp <= 3600 * SECOND then
    local count, seq = ARGV[4] + 0, conf[2] + 0
    local middle, jobs = ':' .. levels .. ':' .. instant .. ':::', {}
    for index = 1, count do jobs[index] = seq + index .. middle .. ARGV[9 + index] end
    -- The first write: needs memory, fails whole, and does nothing unless there are jobs in this lane and level.
    if call('RPUSHX', P .. 's' .. levels .. ':' .. ARGV[7], unpack(jobs)) > 0 then
      local first_seq = text(seq + 1)
      call('HSET', C, 'seq', text(seq + count), 'en', text(conf[3] + count),
        'seen', instant)
      call('HSET', P .. 'p', ARGV[2], text(last + count) .. ':' .. stamp .. ':' .. first_seq)
      return first_seq .. '|' .. conf[2] .. ':' .. conf[3] .. ':' .. (conf[4] or '0') .. ':' .. conf[7] .. '|0'
    end
  end
end

