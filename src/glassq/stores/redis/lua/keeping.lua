-- keeping: what is kept for a time beside the jobs. Stands before the verbs that end jobs, and those about values.
-- Each thing has a key of its own, which the server forgets by itself; `vz` says when by the scripts' time.

local MAX_NOTES = 100

local function forget_kept(name)
  call('ZREM', P .. 'vz', name)
  call('DEL', P .. name)
  if string.sub(name, 1, 2) == 'v:' then call('ZREM', P .. 'vn', string.sub(name, 3)) end
end

-- Forget what has ended; some at a time.
local function sweep_kept(most)
  for _, name in ipairs(call('ZRANGEBYSCORE', P .. 'vz', '-inf', instant, 'LIMIT', 0, most)) do forget_kept(name) end
end

-- Times of expiry are whole ms.
local function ms(wait) return text(math.ceil(wait / 1000)) end

-- Write down how an attempt ended, or the job itself, for so long (µs). `kind` says what `data` is: r result, e error,
-- or '' nothing.
local function keep_note(id, action, wait, reason, said, kind, data)
  local name = 'n:' .. id
  local ends = call('ZSCORE', P .. 'vz', name)
  if ends and tonumber(ends) <= now then forget_kept(name) end
  local note = action .. ':' .. instant .. ':' .. #reason .. ':' .. #said .. ':' .. kind .. '|' .. reason .. said .. data
  if call('RPUSH', P .. name, note) > MAX_NOTES then call('LTRIM', P .. name, -MAX_NOTES, -1) end
  call('PEXPIRE', P .. name, ms(wait))
  call('ZADD', P .. 'vz', text(now + wait), name)
  sweep_kept(10)
end

