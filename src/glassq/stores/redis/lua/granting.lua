-- granting: what is done about lanes that are granted, in short and in full: stands behind `stretches`, before
-- `claim_turns` and `claim`.

local SOON = 200000 -- µs: when to look again, at the latest, where it is likely to be sooner, and no lease was looked at

local function first_due(key) return tonumber(call('ZRANGE', key, '0', '0', 'WITHSCORES')[2]) end

local WAITED_ITS_TURN = ',' .. FAIRNESS .. ',' -- between the end of a stretch and its amount

-- What a ready lane has waited for, of which this was noted when it was given up: if that was its turn alone, now as
-- before, and no job came that has not waited as long, the newest stretch grows. Else nil. What stands where is known,
-- as moments are of one length.
local function grown(lane, noted, newest)
  local find, sub = string.find, string.sub
  local began, comma = sub(noted, -16) + 0, find(noted, ',', 1, true)
  local cause = comma + 34
  local ends = find(noted, WAITED_ITS_TURN, cause, true) == cause and find(noted, ',', cause + 3, true)
  if not ends or began > now or served_since > began then return nil end
  if comma ~= #newest + 1 or find(noted, newest, 1, true) ~= 1 then
    local from = sub(noted, comma + 1, comma + 16)
    for level in string.gmatch(levels, '%d') do
      local last = call('LINDEX', P .. 's' .. level .. ':' .. lane, '-1')
      if last and string.match(last, '^%d+:%d:(%d+)') > from then return nil end
    end
  end
  local amount = sub(noted, cause + 3, ends - 1)
  if amount == '0' then amount = sub(noted, cause - 16, cause - 1) - sub(noted, comma + 1, comma + 16) end
  return newest .. sub(noted, comma, comma + 17) .. instant .. WAITED_ITS_TURN .. text(amount + (now - began))
    .. sub(noted, ends, -17)
end

-- What a ready lane that is granted now has waited for, to be handed to its owner. `newest` is the queue's seq.
local function waited(lane, head, noted, newest)
  if not noted then -- since its first job; with other levels or replayed jobs another may have come earlier
    local all = ready_stretches(#levels == 1 and string.match(head, '^%d+:%d:(%d+):%d*:[uw]*:') or EVER, instant)
    return #all <= MUCH and ',' .. all or put_before(lane, all, '', '')
  end
  local waits = grown(lane, noted, newest) -- nearly always
  if waits then return waits end
  local known, stretches = string.match(noted, '^(%d*),(.*)$')
  local newer = ready_stretches(string.sub(noted, -16), instant)
  return put_before(lane, newer, known ~= '' and known or '0', string.sub(stretches, 1, -17))
end

-- Sets of up to 128 lanes are lists, each of which is searched from its beginning. One member of over 64 bytes makes
-- them tables, which they stay until they are empty.
local FEW, MANY, NO_LANE = 8, 128, string.rep('\255\255\255\255\255', 13) -- which is no text in UTF-8
local function make_table(set)
  call('ZADD', P .. set, '0', NO_LANE)
  call('ZREM', P .. set, NO_LANE)
end

-- So many lanes were granted, so many are still ready.
local function make_tables(granted, ready)
  if granted <= FEW then return end
  if call('ZCARD', P .. 'h') < 2 * granted then make_table('h') end
  if ready > FEW and ready <= MANY then
    make_table('r')
    make_table('a')
  end
end

