-- workflows: their records. Stands in `weaving`, behind `edges`.

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
  local known = call('HMGET', record, 'name', 'began', 'keep', 'x', 'b', 'c', 'e')
  local till, ms = now + known[3], text(math.ceil(known[3] / 1000))
  call('HSET', record, 'at', instant)
  call('ZADD', P .. 'jz', text(till), flow)
  call('PEXPIRE', record, ms)
  call('PEXPIRE', P .. 'jj:' .. flow, ms)
  told.flows[#told.flows + 1] = flow .. '\n' .. text(now - known[2]) .. '\n' .. (known[4] or '0') .. '\n'
    .. (known[5] or '0') .. '\n' .. (known[6] or '0') .. '\n' .. (known[7] or '0') .. '\n' .. known[1]
end

-- A job of a workflow of this shard has ended, or is unsettled again. What is heard of a job is kept with its number:
-- an older delivery, which was overtaken, changes nothing. Of outcomes all but successes are counted.
local function note_flow(flow, job, letter, number)
  local record, outcomes = P .. 'jg:' .. flow, P .. 'jj:' .. flow
  letter = letter == 'k' and 'c' or string.lower(letter)
  local known = call('HMGET', record, 'left', 'at')
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
  if left == 0 and not known[2] then
    end_flow(flow, record)
  elseif left > 0 and known[2] then
    call('HDEL', record, 'at')
    call('ZADD', P .. 'jz', '+inf', flow)
    call('PERSIST', record)
    call('PERSIST', outcomes)
  end
end

