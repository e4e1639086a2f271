-- guard: stands before every script that is sent to a node of a cluster. While a slot is on its way to another node its
-- keys are in either of the two, and the one they leave refuses each key that it has not got: in the middle of a
-- script, too, which would be left half done. So none begins then: a key is looked for that never is anywhere. Nor is
-- anybody sent after the keys (ASK) before they are all there: the other node would take the rest for missing.

if type(redis.pcall('EXISTS', string.sub(KEYS[1], 1, -2) .. '?')) == 'table' then
  return redis.error_reply('TRYAGAIN the slot of these keys is on its way to another node')
end
