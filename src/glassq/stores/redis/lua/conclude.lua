-- conclude: what somebody found who looked for a parent in the lanes.
-- ARGV   time, parent, '1' when it is there, else '', the figures that were told before the look, or '' when it was looked
--        for often enough; then children that hear of it in another way
-- Reply  {'there'}, {'ended', letter}; {'told'} when it has ended meanwhile, or somebody else has concluded; or, when
--        nobody can be sure, {'again', figures}: of what has to stay as it is while lanes are read one after the other
-- May be repeated at will.

local parent = ARGV[2]
if not call('ZSCORE', P .. 'jl', parent) then return {'told'} end
-- Taken and given up, settled, or brought back meanwhile, it may have been missed.
local marks = call('HMGET', C, 'gt', 'so', 'rp', 'tail', 'front')
for index = 1, 5 do marks[index] = marks[index] or '0' end
local figures = table.concat(marks, ':')
if ARGV[3] ~= '1' and ARGV[4] ~= '' and ARGV[4] ~= figures then return {'again', figures} end

-- How it ended, and what it left, if that is kept for others or noted; else it has succeeded, for all that is known.
local function kept_end()
  local left = call('HGET', P .. 'jr', parent)
  if left then
    local letter = string.sub(left, 1, 1)
    return letter == 'b' and 'B' or letter, #left > 1 and string.sub(left, 3) or nil
  end
  local ends = call('ZSCORE', P .. 'vz', 'n:' .. parent)
  local note = ends and tonumber(ends) > now and call('LINDEX', P .. 'n:' .. parent, -1)
  if not note then return 's' end
  local action, reason, said, kind, at = string.match(note, '^(%a+):%d+:(%d+):(%d+):(%a*)|()')
  local letter = ({expire = 'e', cancel = 'c', bury = 'B'})[action] or 's'
  return letter, letter == 's' and kind == 'r' and string.sub(note, at + reason + said) or nil
end

begin()
call('ZREM', P .. 'jl', parent)
if ARGV[3] == '1' then return {'there'} end
for index = 5, #ARGV do call('ZREM', P .. 'je:' .. parent, ARGV[index]) end
local letter, result = kept_end()
weaving().ended(parent, letter, result)
return {'ended', letter}
