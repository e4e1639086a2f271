-- replay: bring dead letters back, in ascending seq.
-- ARGV   time, '1' to the front or '0' to the tail, then jobs
-- Reply  {job, lane, seq it had, seq it has}...
-- A repetition after a lost answer finds them back already, and leaves them out.

local at_front = ARGV[2] == '1'

begin()

local seqs = {}
for index = 3, #ARGV do
  local seq = call('HGET', P .. 'xi', ARGV[index])
  if seq then
    call('HDEL', P .. 'xi', ARGV[index])
    seqs[#seqs + 1] = tonumber(seq)
  end
end
table.sort(seqs)

-- order: before every job of a higher seq, behind a head that has begun, and what may have in a lane run ahead.
local function insert(lane, level, seq, job)
  local key, at = list_key(level, lane), 0
  local held = call('HMGET', lane_key(lane), 'b', 'ah')
  if held[1] == level then at = 1 end
  if tonumber(held[2] or 0) > 0 then at = tonumber(held[2]) + 1 end
  while true do
    local other = call('LINDEX', key, at)
    if not other then
      call('RPUSH', key, job)
      return
    elseif sequence(other) > seq then
      call('LINSERT', key, 'BEFORE', other, job)
      return
    end
    at = at + 1
  end
end

local reply, rings = {}, false
for _, was in ipairs(seqs) do
  local field = text(was)
  local record = call('HGET', P .. 'x', field)
  local lane_length, reason, error, at = string.match(record, '^(%d+):(%d+):(%d+):%d+:%d+|()')
  lane_length, at = tonumber(lane_length), tonumber(at)
  local lane = string.sub(record, at, at + lane_length - 1)
  local job = string.sub(record, at + lane_length + tonumber(reason) + tonumber(error))
  local level, flags, id, body = string.match(job, '^%d+:(%d):%d+:%d*:(%a*):([^|]+)|()')
  local seq = at_front and was or call('HINCRBY', C, 'seq', '1')
  flags = string.find(flags, 'w', 1, true) and 'rw' or 'r'
  local back = text(seq) .. ':' .. level .. ':' .. instant .. '::' .. flags .. ':' .. id .. '|'
    .. string.sub(job, tonumber(body))
  know_level(level)
  if at_front then insert(lane, level, seq, back) else call('RPUSH', list_key(level, lane), back) end
  if wake(lane, seq) then
    rings = true
  else
    change(lane)
    local lowest = call('ZSCORE', P .. LOWEST, lane)
    if lowest and seq < tonumber(lowest) then call('ZADD', P .. LOWEST, text(seq), lane) end
  end
  forget_kept('n:' .. id) -- how it ended is not how it ends
  call('HDEL', P .. 'x', field)
  call('ZREM', P .. 'xs', field)
  call('ZREM', P .. 'xt', field)
  reply[#reply + 1] = {id, lane, field, text(seq)}
  if flags == 'rw' or (has_jp and call('SISMEMBER', P .. 'jp', id) == 1) then weaving().ended(id, '-') end
end
if #seqs > 0 then call('HINCRBY', C, 'rp', text(#seqs)) end
if rings then ring() end
return reply
