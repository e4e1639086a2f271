-- stats: the queue's figures in one moment. Reads only; costs a read per held and per halted lane, not per job.
-- ARGV   time
-- Reply  the figures that `figures.py` names, in its order; times in µs, 0 for none

local function lowest_score(key)
  return tonumber(call('ZRANGE', key, 0, 0, 'WITHSCORES')[2] or 0)
end

local oldest_seq, oldest_at = nil, 0
local function look_at(lane)
  for level in string.gmatch(levels, '%d') do
    -- The second, too: a begun head stands before replayed jobs of lower seqs.
    for _, job in ipairs(call('LRANGE', list_key(level, lane), 0, 1)) do
      local seq = sequence(job)
      if not oldest_seq or seq < oldest_seq then
        oldest_seq = seq
        oldest_at = tonumber(string.match(job, '^%d+:%d:(%d+)'))
      end
    end
  end
end
for _, lane in ipairs(call('ZRANGE', P .. LOWEST, 0, 0)) do look_at(lane) end
for _, lane in ipairs(call('ZRANGE', P .. HELD, 0, -1)) do look_at(lane) end

local function jobs_of(lane)
  local count = 0
  for level in string.gmatch(levels, '%d') do count = count + call('LLEN', list_key(level, lane)) end
  return count
end

local halted_jobs = 0
for _, lane in ipairs(call('ZRANGE', P .. HALTED, 0, -1)) do halted_jobs = halted_jobs + jobs_of(lane) end

-- Of lanes that are paused by themselves: what runs is leased even there, and halted comes before paused.
local paused_jobs, paused_waiting = 0, 0
for _, lane in ipairs(call('SMEMBERS', P .. PAUSED)) do
  if not call('ZSCORE', P .. HALTED, lane) then
    paused_jobs = paused_jobs + jobs_of(lane)
    local runs = call('ZSCORE', P .. HELD, lane) and call('SISMEMBER', P .. KEPT, lane) == 0
    if runs then paused_jobs = paused_jobs - 1 end
    if call('ZSCORE', P .. WAITING, lane) then paused_waiting = paused_waiting + 1 end
  end
end

local totals = call('HMGET', C, 'en', 'rp', 'so', 'bu', 'ca', 'ex', 'last', 'gt')
local most = tonumber(call('ZREVRANGE', P .. TRIED, 0, 0, 'WITHSCORES')[2] or 0)
local figures = {
  now, totals[1] or 0, totals[2] or 0, totals[3] or 0, totals[4] or 0, totals[5] or 0, totals[6] or 0, totals[7] or 0,
  all_paused and 1 or 0, call('ZCARD', P .. READY), call('ZCARD', P .. HELD), call('SCARD', P .. KEPT),
  call('ZCARD', P .. WAITING), call('ZCARD', P .. HALTED), call('ZCARD', P .. STOPPED), call('ZCARD', P .. 'd'),
  halted_jobs, paused_jobs, paused_waiting, call('ZCARD', P .. 'xs'), lowest_score(P .. 'xt'), oldest_at,
  lowest_score(P .. BLOCKED), most, call('ZCOUNT', P .. 'o', text(now), '+inf'), totals[8] or 0,
  lowest_score(P .. 'd'), paused_lanes, call('HLEN', P .. 'jd')
}
for index, figure in ipairs(figures) do figures[index] = text(tonumber(figure)) end
return figures
