-- settle_child: stands before `settle`, which says what is asked and answered, and does what the steps of a chain end
-- with: the head of a lane, of the only level there is, has succeeded, and the one job that waits for it alone follows
-- it there. That has its place already, or gets it now as the lane's only job; and where the worker runs ahead, so do
-- those that follow it in the same way (see `js`), as many as fit into its window. Whatever is otherwise is left to
-- `settle`, with nothing changed. Nobody else waits for a job in such a place: it would be in jp, see `deferring`.

local leaves_it = #ARGV == 17 and ARGV[4] == 'ack+' and ARGV[13] == '0' and ARGV[16] == 'r' -- and keeps no note of it
local runs_on = ARGV[8] == 'go_on'
local AT_ONCE, ENOUGH = 100, 65536 -- jobs, and bytes of jobs, that get their places in one step
if is_routine and conf[10] == '0' and (leaves_it or (#ARGV == 12 and ARGV[4] == 'ack'))
    and (runs_on or (ARGV[8] == 'stay' and ARGV[9] == '')) then
  local name, job, ahead = ARGV[5], ARGV[7], ARGV[12]
  local key, list, mine = P .. 'l:' .. name, P .. 's' .. levels .. ':' .. name, ':w:' .. ARGV[7] -- has no other flags
  local child, flow, parent, change, arrived, records = nil, '', '', ARGV[10], 0, {}

  if runs_on then
    -- fence: `go` is there only while the lane is held.
    local place = call('HGET', key, 'go') == ARGV[6] .. '|' .. ARGV[2] .. '|' .. levels .. '|' .. change
      and call('HGET', P .. 'js', job)
    if place then child, flow, parent = string.match(place, '^%a([^\n]*)\n([^\n]*)\n([^\n]*)\n') end
    -- The first write, one that needs no memory: taking a job and comparing it is cheaper than reading it before.
    local head = child and child == ARGV[9] and call('LPOP', list)
    local mark = head and string.find(head, '|', 1, true)
    local is_head = mark and string.sub(head, mark - #mine, mark - 1) == mine
    -- A workflow may have heard of it before.
    if not (is_head and (flow == '' or call('HSETNX', P .. 'jj:' .. flow, job, 's') == 1)) then
      if head then call('LPUSH', list, head) end
      child = nil
    else
      call('HDEL', P .. 'js', job)
      call('HDEL', P .. 'ju', job)
      call('HSET', key, 'cu', child)
    end
  else
    local lane = call('HMGET', key, 't', 'o', 'cu', 'b', 'ch', 'n', 'ba', 'f', 'k', 'cx', 'cw', 'ah')
    -- fence: the number and the owner; `o` is there only while the lane is held.
    local is_ours = lane[1] == ARGV[6] and lane[2] == ARGV[2] and lane[3] == job and lane[4] == levels
    local is_plain = not (lane[6] or lane[7] or lane[8] or lane[9] or lane[10] or lane[11])
    local jobs = is_ours and is_plain and call('LRANGE', list, 0, 1) or {}
    local mark = #jobs == 1 and string.find(jobs[1], '|', 1, true)
    local is_head = mark and string.sub(jobs[1], mark - #mine, mark - 1) == mine

    -- Those that follow in this lane, each the only one that waits for the one before it.
    local most = is_head and (ahead == '0' and 1 or math.min(ARGV[11], AT_ONCE)) or 0
    local children, edges, waits, last, bytes = {}, {}, {}, job, 0
    while #children < most and bytes < ENOUGH do
      local page = call('ZRANGE', P .. 'je:' .. last, 0, 1)
      local follower = #page == 1 and not string.find(page[1], '/', 1, true) and page[1]
      local record = follower and call('HGET', P .. 'jd', follower)
      if not record then break end
      local ttl, flags, length, at = string.match(record, '^(%d*):' .. levels .. ':(%a*):(%d+)|()')
      if not ttl or string.sub(record, at, at + length - 1) ~= name or (ttl ~= '' and last ~= job) then break end
      local count = #children + 1
      children[count], edges[count], waits[count] = follower, P .. 'je:' .. last, follower .. ' ' .. last
      records[count] = (ttl ~= '' and text(now + ttl) or '') .. ':' .. flags .. ':' .. follower .. '|'
        .. string.sub(record, at + length)
      last, bytes = follower, bytes + #record
    end

    -- Of these the ones that wait for nobody else, in the workflow of the first.
    local policies = #children > 0 and call('HMGET', P .. 'jw', unpack(waits))
    local owns = #children > 0 and call('HMGET', P .. 'ju', job, unpack(children)) or {}
    local seq, middle, places, count = conf[2] or 0, ':' .. levels .. ':' .. instant .. ':', {}, 0
    while count < #children and policies[count + 1] and #policies[count + 1] == 1 do
      local its_flow, size, label, its_parent = '', nil, nil, ''
      local own = owns[count + 1]
      if own then its_flow, size, label, its_parent = string.match(own, '^([^\n]*)\n(%d*):?(%d*):?(.*)$') end
      if its_parent ~= '' and size + label ~= #its_parent then break end
      if its_parent ~= '' then -- 33 is a '!', of a gate: it has left nothing
        its_parent = string.byte(its_parent) ~= 33 and string.sub(its_parent, 1, size) or ''
      end
      if count == 0 then -- there is more to come in the workflow, which is of this shard and has not heard of it before
        flow, parent = its_flow, its_parent
        if flow ~= '' and (string.find(flow, '/', 1, true) or call('HEXISTS', P .. 'jj:' .. flow, job) == 1
            or tonumber(call('HGET', P .. 'jg:' .. flow, 'left') or 0) <= 1) then break end
      elseif its_flow ~= flow or (flow ~= '' and string.match(owns[count + 2], '^[^\n]*') ~= flow) then
        break
      else
        places[2 * count - 1], places[2 * count] = children[count], policies[count + 1] .. children[count + 1] .. '\n'
          .. flow .. '\n' .. its_parent .. '\n' .. levels .. name
      end
      count = count + 1
      records[count] = text(seq + count) .. middle .. records[count]
    end
    if count > 0 then
      child, change, arrived = children[1], lane[5] or '0', count
      call('DEL', unpack(edges, 1, count)) -- the first write, one that needs no memory
      call('HDEL', P .. 'jw', unpack(waits, 1, count))
      call('HDEL', P .. 'jd', unpack(children, 1, count))
      call('HDEL', P .. 'ju', job)
      call('LSET', list, 0, records[1])
      if count > 1 then
        call('RPUSH', list, unpack(records, 2, count))
        call('HSET', P .. 'js', unpack(places))
      end
      if flow ~= '' then call('HSET', P .. 'jj:' .. flow, job, 's') end
      if ahead ~= '0' then
        call('HSET', key, 'cu', child, 'ah', ahead, 'go', ARGV[6] .. '|' .. ARGV[2] .. '|' .. levels .. '|' .. change)
      elseif (lane[12] or '0') ~= '0' then
        call('HSET', key, 'cu', child, 'ah', ahead)
        call('HDEL', key, 'go')
      else
        call('HSET', key, 'cu', child)
      end
      call('HSET', C, 'seq', text(seq + count))
    end
  end

  if child then
    if flow ~= '' then call('HINCRBY', P .. 'jg:' .. flow, 'left', '-1') end
    if parent ~= '' then -- it is not needed here any more
      local more = call('HGET', P .. 'jm', parent)
      if not more then
        call('HDEL', P .. 'jr', parent)
      elseif more == '1' then
        call('HDEL', P .. 'jm', parent)
      else
        call('HINCRBY', P .. 'jm', parent, '-1')
      end
    end
    call('HSET', P .. 'jr', job, leaves_it and 's+' .. ARGV[17] or 's')
    local ordinal = text((conf[4] or 0) + 1)
    call('HSET', C, 'so', ordinal, 'seen', instant, 'last', instant)
    if ARGV[3] ~= '' then
      local calls = P .. 'u:' .. ARGV[2]
      if call('RPUSH', calls, ARGV[3]) > 2 * KEPT_CALLS then call('LTRIM', calls, -KEPT_CALLS, -1) end
    end
    local others = call('ZCARD', P .. 'r') > 0
    local reply = instant .. '|' .. conf[2] .. ':' .. conf[3] .. ':' .. (conf[4] or '0') .. ':' .. conf[7] .. '|done:'
      .. ordinal .. ':1:' .. (others and '1:' or '0:') .. change .. ':' .. arrived .. ':1:0:0'
    if arrived > 0 then return {reply, unpack(records, 1, arrived)} end
    return reply
  end
end

