-- open_flow: make the record of a workflow, whose home this shard is.
-- ARGV   time, workflow, name, how many jobs, body, µs for which it is kept after its end
-- Reply  1
-- May be repeated at will: it is made once. Whole or not at all: its first write needs memory.

local flow = ARGV[2]
local record = P .. 'jg:' .. flow
if call('HSETNX', record, 'began', instant) == 0 then return 1 end
if not format then make_queue() end
call('HSET', C, 'seen', instant)
local counts, ended, job, letter = {b = 0, c = 0, e = 0}, 0, nil, nil
local outcomes = call('HGETALL', P .. 'jj:' .. flow) -- of jobs that ended before it was stored: mostly none
for index = 1, #outcomes, 2 do
  local one = string.sub(outcomes[index + 1], 1, 1)
  if one ~= '-' then
    job, letter, ended = outcomes[index], one, ended + 1
    if counts[one] then counts[one] = counts[one] + 1 end
  end
end
call('HSET', record, 'name', ARGV[3], 'total', ARGV[4], 'left', text(ARGV[4] - ended), 'body', ARGV[5], 'keep', ARGV[6],
  'b', counts.b, 'c', counts.c, 'e', counts.e)
call('ZADD', P .. 'jz', '+inf', flow)
weaving().flows().sweep()
-- That it has ended already is told by whoever relays.
if job and weaving().note_flow(flow, job, letter) then
  weaving().post({id = job, letter = letter}, nil, {}, flow, false)
end
return 1
