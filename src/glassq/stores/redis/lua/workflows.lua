-- workflows: their records. Stands in `weaving`, behind `edges`.

-- Whatever is not the commonest: see `note_flow`.
local known_flows
local function flows()
  if known_flows then return known_flows end
  local DAY = 86400 * SECOND

  local function forget_flow(flow)
    call('DEL', P .. 'jg:' .. flow, P .. 'jj:' .. flow)
    call('ZREM', P .. 'jz', flow)
  end

  -- Forget what has been kept for long enough, some at a time.
  local function sweep_flows()
    for _, flow in ipairs(call('ZRANGEBYSCORE', P .. 'jz', '-inf', instant, 'LIMIT', 0, 10)) do forget_flow(flow) end
  end

  -- All its jobs have ended.
  local function end_flow(flow, record)
    local keep = tonumber(call('HGET', record, 'keep'))
    local ms = text(math.ceil(keep / 1000))
    call('HSET', record, 'at', instant, 'un', '1')
    call('ZADD', P .. 'jz', text(now + keep), flow)
    call('PEXPIRE', record, ms)
    call('PEXPIRE', P .. 'jj:' .. flow, ms)
  end

  local function tell_end(flow, record)
    local known = call('HMGET', record, 'name', 'began', 'at', 'x', 'b', 'c', 'e')
    call('HDEL', record, 'un')
    told.flows[#told.flows + 1] = flow .. '\n' .. text(known[3] - known[2]) .. '\n' .. (known[4] or '0') .. '\n'
      .. (known[5] or '0') .. '\n' .. (known[6] or '0') .. '\n' .. (known[7] or '0') .. '\n' .. known[1]
  end

  -- A job of a workflow of this shard has ended, or is unsettled again. What is heard of a job is kept with its number:
  -- an older delivery, which was overtaken, changes nothing. Of outcomes all but successes are counted.
  local function note(flow, job, letter, number)
    local record, outcomes = P .. 'jg:' .. flow, P .. 'jj:' .. flow
    letter = letter == 'k' and 'c' or string.lower(letter)
    local known = call('HMGET', record, 'left', 'at', 'un')
    local left, value = tonumber(known[1]), letter .. (number and text(number) or '')
    local step = letter ~= '-' and -1 or 0
    if call('HSETNX', outcomes, job, value) == 0 then
      local was = call('HGET', outcomes, job)
      local before, since = string.sub(was, 1, 1), tonumber(string.sub(was, 2)) or 0
      if number and number < since then return end
      if before ~= letter then
        call('HSET', outcomes, job, value)
        if left and before ~= 's' and before ~= '-' then call('HINCRBY', record, before, '-1') end
      end
      if before ~= '-' then step = step + 1 end
      if before == letter then letter = '-' end -- it is counted already
    end
    if not left then -- not opened yet, or never
      call('ZADD', P .. 'jz', 'NX', text(now + DAY), flow)
      sweep_flows()
      return
    end
    if letter ~= 's' and letter ~= '-' then call('HINCRBY', record, letter, '1') end
    if step ~= 0 then left = call('HINCRBY', record, 'left', text(step)) end
    if left <= 0 and (known[3] or not known[2]) then
      if not known[2] then end_flow(flow, record) end
      if not woven.tells then return true end
      tell_end(flow, record)
    elseif left > 0 and known[2] then
      call('HDEL', record, 'at', 'un')
      call('ZADD', P .. 'jz', '+inf', flow)
      call('PERSIST', record)
      call('PERSIST', outcomes)
    end
  end

  known_flows = {note = note, sweep = sweep_flows}
  return known_flows
end

-- A job of a workflow of this shard has ended, or is unsettled again. Whether the workflow has ended by that and nobody
-- is told: whoever asked is not, so it is left to a delivery of this again.
local function note_flow(flow, job, letter, number)
  local record = P .. 'jg:' .. flow
  local left = letter == 's' and not number and tonumber(call('HGET', record, 'left') or 0) or 0
  -- A success that is neither the last of its workflow nor heard of before.
  if left > 1 and call('HSETNX', P .. 'jj:' .. flow, job, 's') == 1 then
    call('HSET', record, 'left', left - 1)
  else
    return flows().note(flow, job, letter, number)
  end
end

