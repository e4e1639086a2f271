-- put: keep a value under a name.
-- ARGV   time, name, value, µs or '' for ever
-- Reply  1
-- May be repeated.

keep_value(ARGV[2], ARGV[3], tonumber(ARGV[4]))
return 1
