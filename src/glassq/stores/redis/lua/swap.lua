-- swap: put a new text into a field of a hash if it is still the one that was read. Stands alone: its key is none of a
-- queue's.
-- ARGV   time, field, the text that was read or '', the new text or '' for none
-- Reply  1, or 0 when somebody was faster
-- May be repeated when its answer was lost if no two writers ever put the same text in.

local text = redis.call('HGET', KEYS[1], ARGV[2]) or ''
if text == ARGV[4] then return 1 end
if text ~= ARGV[3] then return 0 end
if ARGV[4] == '' then redis.call('HDEL', KEYS[1], ARGV[2]) else redis.call('HSET', KEYS[1], ARGV[2], ARGV[4]) end
return 1
