-- settle_child: stands before `settle`, which says what is asked and answered, and does what the steps of a chain end
-- with: the last job of a lane, of the only level there is, has succeeded, and the one job that waits for it alone
-- follows it there. Whatever is otherwise is left to `settle`, with nothing changed. What is kept is said in `opening`.

local leaves_it = #ARGV == 17 and ARGV[4] == 'ack+' and ARGV[13] == '0' and ARGV[16] == 'r' -- and keeps no note of it
if (leaves_it or (#ARGV == 12 and ARGV[4] == 'ack')) and ARGV[8] == 'stay' and ARGV[9] == '' and ARGV[12] == '0' and format
    and not is_new and #levels == 1 and (conf[8] or '0') == '0' and conf[10] == '0' and now >= tonumber(conf[5])
    and now - tonumber(conf[5]) <= MOMENT then
  local name, job = ARGV[5], ARGV[7]
  local key, list, edges = P .. 'l:' .. name, P .. 's' .. levels .. ':' .. name, P .. 'je:' .. job
  local children = call('ZRANGE', edges, 0, 1)
  local child = #children == 1 and not string.find(children[1], '/', 1, true) and children[1]
  local lane = child and call('HMGET', key, 't', 'o', 'cu', 'b', 'ch', 'n', 'ba', 'f', 'k', 'cx', 'cw', 'ah') or {}
  -- fence: the number and the owner; `o` is there only while the lane is held.
  local is_ours = lane[1] == ARGV[6] and lane[2] == ARGV[2] and lane[3] == job and lane[4] == levels
  local is_plain = not (lane[6] or lane[7] or lane[8] or lane[9] or lane[10] or lane[11] or lane[12])
  local jobs = is_ours and is_plain and call('LRANGE', list, 0, 1) or {}
  local mark = #jobs == 1 and string.find(jobs[1], '|', 1, true)
  local is_head = mark and string.sub(jobs[1], mark - #job - 3, mark - 1) == ':w:' .. job -- and has no other flags
  local waits = is_head and child .. ' ' .. job
  local edge = is_head and call('HGET', P .. 'jw', waits)
  local record = edge and #edge == 1 and call('HGET', P .. 'jd', child)
  if record then
    local ttl, flags, length, at = string.match(record, '^(%d*):' .. levels .. ':(%a*):(%d+)|()')
    local follows = ttl and string.sub(record, at, at + length - 1) == name
    -- Its own workflow, of this shard and with more to come, and its own parent.
    local own = call('HGET', P .. 'ju', job)
    local flow, size, label, parent = '', nil, nil, nil
    if own then flow, size, label, parent = string.match(own, '^([^\n]*)\n(%d*):?(%d*):?(.*)$') end
    local left = flow and flow ~= '' and not string.find(flow, '/', 1, true)
      and tonumber(call('HGET', P .. 'jg:' .. flow, 'left') or 0) or 0
    local is_whole = not parent or parent == '' or size + label == #parent
    if follows and is_whole and flow and (flow == '' or left > 1)
        and (flow == '' or call('HEXISTS', P .. 'jj:' .. flow, job) == 0) then
      call('DEL', edges) -- the first write, one that needs no memory
      call('HDEL', P .. 'jw', waits)
      call('HDEL', P .. 'jd', child)
      if own then call('HDEL', P .. 'ju', job) end
      if flow ~= '' then
        call('HSET', P .. 'jj:' .. flow, job, 's')
        call('HSET', P .. 'jg:' .. flow, 'left', left - 1)
      end
      if parent and parent ~= '' and string.byte(parent) ~= 33 then -- it is not needed here any more; 33 is a '!'
        parent = string.sub(parent, 1, size)
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
      local seq, ordinal = string.format('%.0f', (conf[2] or 0) + 1), string.format('%.0f', (conf[4] or 0) + 1)
      local following = seq .. ':' .. levels .. ':' .. instant .. ':'
        .. (ttl ~= '' and string.format('%.0f', now + ttl) or '') .. ':' .. flags .. ':' .. child .. '|'
        .. string.sub(record, at + length)
      call('LSET', list, 0, following)
      call('HSET', key, 'cu', child)
      call('HSET', C, 'seq', seq, 'so', ordinal, 'seen', instant, 'last', instant)
      local calls = P .. 'u:' .. ARGV[2]
      if call('LPUSH', calls, ARGV[3] .. 'd') > 2 * KEPT_CALLS then call('LTRIM', calls, 0, KEPT_CALLS - 1) end
      local others = call('ZCARD', P .. 'r') > 0
      return {
        instant .. '|' .. conf[2] .. ':' .. conf[3] .. ':' .. (conf[4] or '0') .. ':' .. conf[7] .. '|done:' .. ordinal
          .. ':1:' .. (others and '1:' or '0:') .. (lane[5] or '0') .. ':1:1:0:0', following
      }
    end
  end
end

