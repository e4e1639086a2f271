-- follow: jobs of other shards wait for one of this.
-- ARGV   time, parent, children
-- Reply  'waits'; 'unsure': somebody has to look for it (see `conclude`); 'never' when its id was not given out; or 'nothing'
--        when there is nothing of this shard
-- May be repeated at will.

if not format then return 'nothing' end
if not was_given(ARGV[2]) then return 'never' end
begin()
local beside, parent, far = deferring(), ARGV[2], {}
local letter = beside.standing_of(parent)
for index = 3, #ARGV do beside.note_edge(parent, ARGV[index]) end
if letter == 'b' or letter == 'k' then -- its end was told before they came
  local late = P .. 'je:' .. parent .. '?'
  for index = 3, #ARGV do call('ZADD', late, index, ARGV[index]) end
  weaving().post({id = parent, letter = letter}, late, {}, '', true)
end
return letter and 'waits' or 'unsure'
