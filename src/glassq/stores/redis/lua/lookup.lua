-- lookup: a scheduled, deferred or buried job by its id. Reads only.
-- ARGV   time, job
-- Reply  {'scheduled', due (µs), record}, {'deferred', record}, {'dead', dead letter}, or nil

local slot = call('HGET', P .. 'di', ARGV[2])
if slot then return {'scheduled', text(tonumber(call('ZSCORE', P .. 'd', slot))), call('HGET', P .. 'dp', slot)} end
local deferred = call('HGET', P .. 'jd', ARGV[2])
if deferred then return {'deferred', deferred} end
local seq = call('HGET', P .. 'xi', ARGV[2])
if seq then return {'dead', call('HGET', P .. 'x', seq)} end
return false
