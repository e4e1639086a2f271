-- deliver: jobs and workflows of this shard hear how those ended whom they have to hear of.
-- ARGV   time, then per delivery: number, to, parent, letter (see `holding`), '' or '+' and what it left
-- Reply  {jobs let into their lanes, jobs cancelled, 1 if the outbox has something new, workflow that ended...}
-- May be repeated at will: nobody is let go twice.

begin()
if not format then make_queue() end -- a workflow's home may hold none of its jobs
local woven, came = weaving(), {released = 0, cancelled = 0, relay = 0, flows = {}}
woven.tells = true
for at = 2, #ARGV, 5 do
  local to, parent, letter, left = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  local number, result = tonumber(ARGV[at]), left ~= '' and string.sub(left, 2) or nil
  if string.sub(to, 1, 1) == '~' then
    woven.note_flow(to, parent, letter, number)
  elseif not woven.is_gate(to) then
    woven.hear(to, parent, letter, result, number)
  end
  -- The next one may be about the same job: it is to find it where this one put it.
  local one = woven.is_gate(to) and woven.ended(to, letter, nil, true) or woven.finish(true)
  came.released, came.cancelled = came.released + one.released, came.cancelled + one.cancelled
  if one.relay then came.relay = 1 end
  for _, flow in ipairs(one.flows) do came.flows[#came.flows + 1] = flow end
end
return {came.released, came.cancelled, came.relay, unpack(came.flows)}
