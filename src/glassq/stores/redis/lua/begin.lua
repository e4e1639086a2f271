-- begin: the head of a lane that was granted earlier begins now.
-- ARGV   time, lane, token
-- Reply  1
-- May be repeated at will.

begin()
begin_head(ARGV[2], ARGV[3])
return 1
