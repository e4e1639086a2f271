-- in_full: what is asked in short, as all that stands behind it reads it. Stands before the opening of `settle`.
-- ARGV   time, lane, <token>|<owner>|, |<change>, job, next job: a job of a lane that is run ahead has succeeded, and the
--        next one has begun. How far it is run ahead does not matter then.

local ARGV = ARGV
if #ARGV == 6 then
  local token, owner = string.match(ARGV[3], '^(%d+)|(.*)|$')
  local change = string.sub(ARGV[4], 2)
  ARGV = {ARGV[1], owner, '', 'ack', ARGV[2], token, ARGV[5], 'go_on', ARGV[6], change, '1', '0'}
end

