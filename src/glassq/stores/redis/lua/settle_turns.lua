-- settle_turns: stands before `settle`, which says what is asked and answered, and does what is nearly always told in
-- short: the heads of these lanes, of the only level there is, have succeeded, and each lane goes back to the ready ones,
-- vanishes, or is held on, with the job that is named begun. All of them or none: whatever is otherwise is left to
-- `settle`, with nothing changed.

if is_routine and (ARGV[4] == 'turns' or ARGV[4] == 'steps') then
  local ARGV, find, sub = ARGV, string.find, string.sub
  local stride = ARGV[4] == 'turns' and 3 or 4
  local before = 7 - stride -- so many are before the first settlement, when they are counted from 1
  local count, lists, hashes = (#ARGV - 6) / stride, P .. 's' .. levels .. ':', P .. 'l:'
  -- A table that grows is made anew again and again: these begin as large as they will be, whatever is in them first.
  local function room(size) return {unpack(ARGV, 1, size)} end
  local owned, all, heads = '|' .. ARGV[2] .. '|', room(count), room(count)
  for index = 1, count do all[index] = ARGV[index * stride + before] end
  local shorts, hashed, taken = call('HMGET', P .. 't', unpack(all)), {}, 0
  -- Of 'steps': the lanes that are given up, which hashes go on with which job, and which lanes are held then.
  local over, steps, held = stride == 4 and {} or all, {}, stride == 4 and {} or nil
  -- Of lanes with further jobs: the next one's seq, the place among the ready ones, and what was waited for; of others
  -- that nothing is kept any more.
  local lowest, places, left, gone = room(2 * count), room(2 * count), room(2 * count), {}
  local next_place, others, first_other = counting(tonumber(conf[9] or 0)), 0, 0
  for index = 1, count do
    local at = index * stride + before
    local name, token, job = all[index], ARGV[at + 1], ARGV[at + 2]
    local short, list, waits, following = shorts[index], lists .. name, nil, held and ARGV[at + 3] or ''
    -- fence: the number and the owner, noted in either way only while the lane is held, and nothing of its head.
    if following ~= '' then
      local key = hashes .. name
      if call('HGET', key, 'go') ~= token .. owned .. levels .. '|0' then break end
      steps[#steps + 1], steps[#steps + 2], held[index] = key, following, '1'
    elseif short then
      local at = #job + 4 -- behind the job and the level, of which there is one
      local behind = at + #token
      if find(short, job, 1, true) ~= 1 or find(short, token, at, true) ~= at then break end
      if find(short, owned, behind, true) ~= behind then break end
      waits = sub(short, find(short, '|', behind + #owned, true) + 1)
    else
      local key = hashes .. name
      local lane = call('HMGET', key, 'go', 'wt')
      if lane[1] ~= token .. owned .. levels .. '|0' then break end
      waits, hashed[#hashed + 1] = lane[2] or '0,', key
    end
    if has_jp and call('SISMEMBER', P .. 'jp', job) == 1 then break end -- somebody waits for it
    -- The first write, one that needs no memory: taking a job and comparing it is cheaper than reading it before.
    local head = call('LPOP', list)
    if not head then break end
    local at = (find(head, '|', 1, true) or 0) - #job
    if find(head, job, at, true) ~= at or find(head, '::', at - 2, true) ~= at - 2 then -- which has no flags
      call('LPUSH', list, head)
      break
    end
    taken, heads[index] = index, head
    local next_job = nil
    if following == '' then
      next_job = call('LINDEX', list, '0')
      if held then over[#over + 1], held[index] = name, '0' end
    end
    if next_job then
      lowest[others + 1], lowest[others + 2] = sub(next_job, 1, find(next_job, ':', 1, true) - 1), name
      places[others + 1], places[others + 2] = next_place(), name
      left[others + 1], left[others + 2] = '@' .. name, waits .. instant -- see `stretches`
      others = others + 2
      if first_other == 0 then first_other = index end
    elseif waits and sub(waits, 1, 1) ~= ',' then
      gone[#gone + 1] = '@' .. name
    end
  end

  if taken == count then
    local ready, settled = call('ZCARD', P .. 'r'), conf[4] or 0
    for at = 1, #steps, 2 do call('HSET', steps[at], 'cu', steps[at + 1]) end
    if #over > 0 then
      call('ZREM', P .. 'h', unpack(over))
      if #hashed < #over then call('HDEL', P .. 't', unpack(over)) end
    end
    if #hashed > 0 then call('DEL', unpack(hashed)) end
    if others > 0 then
      call('ZADD', P .. 'a', unpack(lowest, 1, others))
      call('ZADD', P .. 'r', unpack(places, 1, others))
      -- Where lanes wait already, whoever could take these has been rung for those.
      if ready == 0 then call('XADD', P .. 'b', 'MAXLEN', '1', '*', 'r', '1') end
    end
    if #gone > 0 then call('HDEL', C, unpack(gone)) end
    call('HSET', C, 'so', text(settled + count), 'seen', instant, 'last', instant,
      'tail', others > 0 and places[others - 1] or conf[9] or '0', unpack(left, 1, others))
    if ARGV[6] ~= '' then call('HDEL', P .. 'l:' .. ARGV[5], 'nb:' .. ARGV[6]) end
    local calls = P .. 'u:' .. ARGV[2]
    if call('RPUSH', calls, ARGV[3]) > 2 * KEPT_CALLS then call('LTRIM', calls, -KEPT_CALLS, -1) end
    if ready > 0 then first_other = 1 end
    return instant .. '|' .. conf[2] .. ':' .. conf[3] .. ':' .. settled .. ':' .. conf[7] .. '|done:' .. text(settled + 1)
      .. ':' .. (held and held[1] or '0') .. (first_other == 1 and ':1:0:0' or ':0:0:0')
      .. ((held or count > 1) and '*' .. count .. ':' .. first_other or '') .. (held and ':' .. table.concat(held) or '')
  end
  for index = 1, taken do call('LPUSH', lists .. all[index], heads[index]) end
end

