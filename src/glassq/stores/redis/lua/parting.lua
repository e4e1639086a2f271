-- parting: stands behind `weaving`, before the verbs that end jobs, or bury them.

-- A job leaves its lane for good, or is buried: what it alone might hold is free again, and whoever waits for it hears
-- of it. `letter` is how it ended (see `holding`), `result` what it left, and `tells` whether the caller is told what
-- workflows ended. What came of that, where anybody waited.
local function part(job, letter, result, tells)
  local flags, id = string.match(job, '^%d+:%d:%d+:%d*:(%a*):([^|]+)|')
  if flags == '' and not has_jp then return nil end
  if string.find(flags, 'u', 1, true) then free_unique(id) end
  if string.find(flags, 'w', 1, true) or (has_jp and call('SISMEMBER', P .. 'jp', id) == 1) then
    return weaving().ended(id, letter, result, tells)
  end
end

-- The same of a scheduled job, by its record.
local function end_beside(id, record)
  if string.find(record, '^%d*:%d:%a*w') or (has_jp and call('SISMEMBER', P .. 'jp', id) == 1) then
    return weaving().ended(id, 'c')
  end
end

