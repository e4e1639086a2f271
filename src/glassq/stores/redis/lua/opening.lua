-- What every verb reads of its queue: stands before each of the other files of this folder.
--
-- KEYS[1]  gq:{queue}:c  the only declared key. All others are built from it, so that they share its slot;
--                        a node that does not hold it answers MOVED.
-- ARGV[1]  the server's run as the client was told it on this connection, or '' when it was not; then, in tests, which
--          move time, a ':' and the time in µs (nobody else sends one)
--
-- c  hash  v format, seq, en enqueued, rp replayed, so last ordinal (= jobs settled), of these bu buried, ca
--          cancelled, ex expired; tok last token, gt how many were given, tail and front (places given at the ends of r), seen (when
--          anything last happened), last (settled at), ml shortest lease, lv levels ever used, highest first,
--          pa how many lanes are paused, times two, and one more when the queue is, dn last number of a scheduled
--          job, id <incarnation>:<run>: which life of the queue this is (when this hash was made, by the server's
--          clock), and in <id>:<seq>:<en>:<so> the server's run and how far the queue was when that began, or ''
--          hu, up, ps when nothing could be served, until when somebody counts as alive who serves it, paused since;
--          fo how many jobs are in jp, there once a job has waited for others; on last number given in the outbox (see jo),
--          @<lane> what a lane had waited for when it was last given up: see `stretches`; table nothing: see `make_queue`
-- s<level>:<lane>  list  exactly the unsettled jobs of a lane and level, in order:
--                        <seq>:<level>:<eligible at>:<expires at>:<flags>:<session>:<number>|<body>
--                        flags: r was replayed, u is unique until it is settled, w waited for others, or belongs to
--                        a workflow, or is waited for by one that came with it
-- l:<lane> hash  made at the first claim, gone when the lane is ready without history or has no job left:
--          t token, o owner (while held), cu current job, b level of a begun head, n attempts, f failures,
--          k crashes, ba blocked at, re reason, er error, ch change, ln lease, gr the token that has had its
--          fresh lease, ca cause of the reclaim, cx job asked to be cancelled,
--          ah how many jobs the holder may run ahead, cw those of them that are asked to be cancelled,
--          wt when nobody held it, and why (see `stretches`),
--          go <token>|<owner>|<level>|<change>: its pass. It is there only while the lane is held and nothing but
--          `cu` is noted of its head, so that one look tells what else twelve would,
--          kp:<job> <µs>:<note> of one in `cw` whose end is kept,
--          nb:<token> there while the head the lane was granted with has not begun
-- t  hash  lane -> <current job>|<begun level>|<token>|<owner>|<lease>|<wt>: held lanes that were granted for a turn of
--          one job, and of which nothing else is to be noted. They have no hash of their own, until somebody writes to
--          it: see `lane_key`
-- r h w z g  zsets  lanes that are ready (place), held (end of lease), waiting (time of retry), halted (since),
--          or would be ready but are paused (place): a lane with jobs is in exactly one
-- pl set   paused lanes, also those without jobs
-- a  zset  lanes that are not held -> their lowest seq          e  set   held lanes without a current job
-- f n zsets  lanes with a blocked head -> since when, -> its attempts
-- x  hash  seq -> dead letter;  xs xt zsets  seq -> seq, -> buried at;  xi hash  job -> seq
-- d  zset  number -> due, dp hash  number -> <ttl>:<level>:<flags>:<length of lane>:<session>:<number>|<lane><body>,
--          di hash  job -> number: the scheduled jobs
-- y  hash  unique job -> its deduplication id;  dd hash  that id -> <until>:<seq>:<job>, dz zset  -> until
-- b  stream  the doorbell, one entry
-- o  zset  workers -> alive until;  oh hash  worker -> <heard of at>:<pid>:<host>
-- p  hash  producer session -> last number:seq:stamp; pz zset  session -> stamp
-- i  hash  node -> incarnation that claimed last;  k hash  worker -> <handle>:<number>:<first token> of its last claim
-- m  zset  lane -> until when its owner is remembered, mo hash  lane -> <since>:<owner>: of workers with assigned keys
-- n:<job> list  how its attempts ended, as far as that is kept (see `notes`);  v:<name> string  a value: both with an
--          expiry;  vz zset  either's name -> until;  vn zset  names of values, all of one score
-- What begins with j is about jobs that wait for others, parents (see `holding`). Jobs, workflows and gates of this shard
-- are named without their queue there.
-- jd hash  job -> <ttl>:<level>:<flags>:<length of lane>|<lane><body>: the deferred jobs;  jx hash  the same of those
--          that were cancelled because of a dead letter, and come back with it
-- jw hash  <job> <parent> -> <policy><+ if it has several><number>: of these two, for whom a parent has not ended well;
--          policy c cancel, C is cancelled because of it, r run, w wait. Deliveries of lower numbers are too late
-- jn hash  job -> how many parents that is, if it has several;  jf hash  job of jx -> because of how many of them
-- ju hash  job -> <workflow>, a line end, and <length>:<length of name>:<parent><name> of each parent: of those with
--          the flag w that have either
-- js hash  parent -> <policy><child>, a line end, the parent's workflow or '', a line end, that parent's own parent or
--          '', a line end, and <level><lane>: of a parent in its lane whose one child has its place behind it already
--          and is in none of jd, jw and je. See `places`
-- jr hash  parent -> <letter>, or that and a + and what it left: as long as children that heard of its end are
--          unsettled;  jm hash  parent -> how many these are beyond one
-- je:<parent> zset  who waits for it -> place: jobs of this shard, and of others;  jp set  parents without the flag w;
--          jl zset  parents somebody has to look for (see `conclude`) -> in which order
-- jo zset  the outbox: number -> itself, jh hash  number -> <letter><parent>, a line end, and '' or + and what it left,
--          jo:<number> zset  who has to hear of this end -> place; with that added to the number it is a delivery's
-- jz zset  workflow -> until when it is kept;  jg:<workflow> hash  name, total, body, began, keep (µs), left, b, c, e
--          how many ended so, at ended, un nobody was told of that, x cancelled;  jj:<workflow> hash  job -> <letter><number>
-- u:<worker> list  digests of its last settlements that were not refused, those of a call in one text, newest last
--
-- Atomicity: a script runs alone and whole. First it reads and checks, and may refuse; after its first write it
-- never fails. Full servers refuse a script at its first write only if that command needs memory (deny-oom): so
-- `begin` starts with one that needs none, and settling goes on where appending stops.
-- Numbers above 2^46 (tokens, µs) are turned to text by `text` alone: `..` would print 1.75e+15.
--
-- Cost: a script's text is run from its top for every call, so each function defined costs 0.1 µs, used or not; a
-- command costs 0.4 and more, and 0.1 for each number among its arguments that is not a text; a text that is put together
-- 0.1, and as much for every 50 bytes of it, since Lua looks at each; a number made into text 0.2 to 0.5. So the
-- commonest calls are answered by `append_plain`, `claim_turns`, `settle_next` and `settle_turns`, which stand before
-- nearly all functions and leave what is not common to these, the very commonest by `step`, which stands before this;
-- and what only some verbs use is in files of its own.

local call = redis.call
local C = KEYS[1]
local P = string.sub(C, 1, -2)
local SECOND, MOMENT, BILLION, KEPT_CALLS = 1000000, 10000, 1000000000, 256


-- A whole number as text. `%.0f` alone would take twice as long, and `%d` alone has 32 bits on some machines.
local write = string.format
local function text(number)
  number = number + 0 -- it may be a text that stands for one
  if number < BILLION then return write(number > -BILLION and '%d' or '%.0f', number) end
  local rest = number % BILLION
  return write('%d%09d', (number - rest) / BILLION, rest)
end

local conf = call('HMGET', C, 'v', 'seq', 'en', 'so', 'seen', 'lv', 'id', 'pa', 'tail', 'fo')
local format, levels = conf[1], conf[6] or ''
local has_jp = conf[10] and conf[10] ~= '0' -- whether any job is waited for that has not the flag w
if format and format ~= '1' then return redis.error_reply('GLASSQFORMAT ' .. format) end

local run, instant = ARGV[1], nil -- `now` as text
local colon = string.find(run, ':', 1, true)
if colon then run, instant = string.sub(run, 1, colon - 1), string.sub(run, colon + 1) end
-- Whether the queue's life has no name yet, or the server was started since its run was noted here.
local is_new = not conf[7] or (run ~= '' and not string.find(conf[7], ':' .. run .. ':', 1, true))
if not instant then
  local time = call('TIME')
  instant = time[1] .. string.sub('00000' .. time[2], -6)
end
local now = tonumber(instant)
local passed = now - (conf[5] or now) -- since anything last happened, in µs
-- Whether shortcuts may be taken: in a queue of one level, where nothing is paused, a moment after the last call.
local is_routine = format and not is_new and #levels == 1 and (conf[8] or '0') == '0' and passed >= 0 and passed <= MOMENT

