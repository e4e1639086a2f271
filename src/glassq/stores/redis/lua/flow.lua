-- flow: the record of a workflow, or that it is cancelled. Reads only unless it is to be.
-- ARGV   time, workflow, '1' to mark it as cancelled
-- Reply  {name, jobs, jobs that have not ended, buried, cancelled, expired, body, began, ended or '', 1 if cancelled};
--        nil when there is none. To mark it: 1, or 0 when it has ended or there is none

local record = P .. 'jg:' .. ARGV[2]
local known = call('HMGET', record, 'name', 'total', 'left', 'b', 'c', 'e', 'body', 'began', 'at', 'x', 'keep')
local is_kept = known[2] and (not known[9] or known[9] + known[11] > now)
if ARGV[3] == '1' then
  if not is_kept or known[9] then return 0 end
  begin()
  call('HSET', record, 'x', '1')
  return 1
end
if not is_kept then return false end
known[9], known[10], known[11] = known[9] or '', known[10] or '0', nil
return known
