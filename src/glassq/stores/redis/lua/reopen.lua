-- reopen: let a queue take jobs again that was closed by a change which has come to nothing. Stands alone, since every
-- other script refuses a closed queue.
-- ARGV   time, the mark it was closed with
-- May be repeated at will: another change has another mark.

if redis.call('HGET', KEYS[1], 'v') == 'closed:' .. ARGV[2] then redis.call('DEL', KEYS[1]) end
return 1
