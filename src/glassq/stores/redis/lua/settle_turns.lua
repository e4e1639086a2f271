-- settle_turns: stands before `settle`, which says what is asked and answered, and does what turns nearly always end
-- with: the heads of these lanes, of the only level there is, have succeeded, and each lane goes back to the ready ones,
-- or vanishes. All of them or none: whatever is otherwise is left to `settle`, with nothing changed.

if is_routine and ARGV[4] == 'turns' then
  local ARGV, find, sub = ARGV, string.find, string.sub
  local count, lists, hashes, owned = (#ARGV - 6) / 3, P .. 's' .. levels .. ':', P .. 'l:', '|' .. ARGV[2] .. '|'
  local all, level, pass = {}, '|' .. levels .. '|', owned .. levels .. '|0'
  for index = 1, count do all[index] = ARGV[index * 3 + 4] end
  local shorts, hashed = call('HMGET', P .. 't', unpack(all)), {}
  local taken, heads, next_jobs, waits = 0, {}, {}, {}
  for index = 1, count do
    local name, token, job = all[index], ARGV[index * 3 + 5], ARGV[index * 3 + 6]
    local short, list = shorts[index], lists .. name
    -- fence: the number and the owner, noted in either way only while the lane is held, and nothing of its head.
    if short then
      local from, till = find(short, job .. level .. token .. owned, 1, true)
      if from ~= 1 then break end
      waits[index] = sub(short, find(short, '|', till + 1, true) + 1)
    else
      local key = hashes .. name
      local lane = call('HMGET', key, 'go', 'wt')
      if lane[1] ~= token .. pass then break end
      waits[index], hashed[#hashed + 1] = lane[2] or '0,', key
    end
    if has_jp and call('SISMEMBER', P .. 'jp', job) == 1 then break end -- somebody waits for it
    -- The first write, one that needs no memory: taking a job and comparing it is cheaper than reading it before.
    local head = call('LPOP', list)
    if not head then break end
    local mark, mine = find(head, '|', 1, true), '::' .. job -- which has no flags
    if not (mark and sub(head, mark - #mine, mark - 1) == mine) then
      call('LPUSH', list, head)
      break
    end
    taken, heads[index], next_jobs[index] = index, head, call('LINDEX', list, '0')
  end

  if taken == count then
    local ready, place, lowest, places, left, gone, first_other = call('ZCARD', P .. 'r'), conf[9] or 0, {}, {}, {}, {}, 0
    local at = 0
    for index = 1, count do
      local name, next_job = all[index], next_jobs[index]
      if next_job then
        place = place + 1
        lowest[at + 1], lowest[at + 2] = sub(next_job, 1, find(next_job, ':', 1, true) - 1), name
        places[at + 1], places[at + 2] = text(place), name
        left[at + 1], left[at + 2] = '@' .. name, waits[index] .. instant -- see `waits`
        at = at + 2
        if first_other == 0 then first_other = index end
      elseif sub(waits[index], 1, 1) ~= ',' then
        gone[#gone + 1] = '@' .. name
      end
    end
    local settled = conf[4] or 0
    call('ZREM', P .. 'h', unpack(all))
    if #hashed < count then call('HDEL', P .. 't', unpack(all)) end
    if #hashed > 0 then call('DEL', unpack(hashed)) end
    if first_other > 0 then
      call('ZADD', P .. 'a', unpack(lowest))
      call('ZADD', P .. 'r', unpack(places))
      -- Where lanes wait already, whoever could take these has been rung for those.
      if ready == 0 then call('XADD', P .. 'b', 'MAXLEN', '1', '*', 'r', '1') end
    end
    if #gone > 0 then call('HDEL', C, unpack(gone)) end
    call('HSET', C, 'so', text(settled + count), 'seen', instant, 'last', instant, 'tail', text(place), unpack(left))
    if ARGV[6] ~= '' then call('HDEL', P .. 'l:' .. ARGV[5], 'nb:' .. ARGV[6]) end
    local calls = P .. 'u:' .. ARGV[2]
    if call('RPUSH', calls, ARGV[3]) > 2 * KEPT_CALLS then call('LTRIM', calls, -KEPT_CALLS, -1) end
    if ready > 0 then first_other = 1 end
    return instant .. '|' .. conf[2] .. ':' .. conf[3] .. ':' .. settled .. ':' .. conf[7] .. '|done:' .. text(settled + 1)
      .. (first_other == 1 and ':0:1:0:0' or ':0:0:0:0') .. (count > 1 and '*' .. count .. ':' .. first_other or '')
  end
  for index = 1, taken do call('LPUSH', lists .. all[index], heads[index]) end
end

