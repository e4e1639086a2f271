-- Format 5. Times are microseconds since the epoch, by the wall clock of the host.
-- `STRICT` is left out on purpose: it needs SQLite 3.37, this file needs 3.35.

CREATE TABLE queues (
    id           INTEGER PRIMARY KEY,
    name         TEXT    NOT NULL UNIQUE,
    incarnation  TEXT    NOT NULL,             -- random: which life of the queue this is; '' once it is closed
    seq          INTEGER NOT NULL DEFAULT 0,   -- last sequence given to a job
    enqueued     INTEGER NOT NULL DEFAULT 0,   -- jobs accepted, scheduled ones included
    replayed     INTEGER NOT NULL DEFAULT 0,   -- dead letters brought back
    settled      INTEGER NOT NULL DEFAULT 0,   -- ordinal of the last settled job; left = enqueued + replayed - settled
    token        INTEGER NOT NULL DEFAULT 0,   -- last fencing token; here because a lane's row vanishes with its last job
    granted      INTEGER NOT NULL DEFAULT 0,   -- how many tokens were given
    tail         INTEGER NOT NULL DEFAULT 0,   -- last place given at the end of the ready lanes
    front        INTEGER NOT NULL DEFAULT 0,   -- last place given at their front; counts down
    seen         INTEGER NOT NULL DEFAULT 0,   -- when anything last happened here: clock jumps show against it
    succeeded    INTEGER NOT NULL DEFAULT 0,
    buried       INTEGER NOT NULL DEFAULT 0,
    cancelled    INTEGER NOT NULL DEFAULT 0,
    expired      INTEGER NOT NULL DEFAULT 0,
    settled_at   INTEGER NOT NULL DEFAULT 0,
    paused       INTEGER NOT NULL DEFAULT 0,
    paused_at    INTEGER NOT NULL DEFAULT 0,
    tied         INTEGER NOT NULL DEFAULT 0,   -- jobs whose end is yet to be told: while there are none, none concerns others
    deferred     INTEGER NOT NULL DEFAULT 0,   -- of these, unsettled jobs that have no place in their lane yet
    served_until INTEGER NOT NULL DEFAULT 0,   -- until when somebody who serves it counts as alive
    standstills  TEXT    NOT NULL DEFAULT ''   -- when nothing of it could be served: <begin>,<end>,<cause>,<amount>,...
);

-- Queues that are cut into shards, which are rows of `queues` of their own; all others are whole.
CREATE TABLE layouts (
    queue        TEXT    PRIMARY KEY,
    shards       INTEGER NOT NULL,
    first        INTEGER NOT NULL              -- the number of the first of them
) WITHOUT ROWID;

-- Exactly the unsettled jobs that have their place. `rank` is the priority level negated, so that the key's order is the order
-- in which a lane's jobs are served.
CREATE TABLE jobs (
    queue        INTEGER NOT NULL,
    lane         TEXT    NOT NULL,
    rank         INTEGER NOT NULL,
    seq          INTEGER NOT NULL,
    id           TEXT    NOT NULL,
    eligible_at  INTEGER NOT NULL,
    expires_at   INTEGER,
    replayed     INTEGER NOT NULL DEFAULT 0,
    dedup        TEXT,                         -- what it alone may hold until it is settled
    body         BLOB    NOT NULL,
    PRIMARY KEY (queue, lane, rank, seq)
) WITHOUT ROWID;

-- Jobs that are not due yet. They take their sequence when they are; `number` keeps those due together in order.
CREATE TABLE scheduled (
    number       INTEGER PRIMARY KEY AUTOINCREMENT,
    queue        INTEGER NOT NULL,
    due_at       INTEGER NOT NULL,
    lane         TEXT    NOT NULL,
    rank         INTEGER NOT NULL,
    id           TEXT    NOT NULL,
    ttl          INTEGER,
    dedup        TEXT,
    body         BLOB    NOT NULL
);

CREATE INDEX scheduled_by_due ON scheduled (queue, due_at, number);

-- Jobs whose end concerns others, or who wait or waited for others, until they are settled for good and all have been told;
-- and gates that are being opened. A deferred job is kept here, and has no place in its lane yet. One that a parent's failure
-- cancelled has ended, and is kept for as long as a replay may bring it back. One that was told of for good is still kept for
-- as long as a child may want its result, or the record of its workflow is.
CREATE TABLE ties (
    job          TEXT    PRIMARY KEY,
    queue        INTEGER NOT NULL,
    flow         TEXT,
    outcome      TEXT,                         -- how it ended; NULL while it is unsettled
    final        INTEGER NOT NULL DEFAULT 0,   -- whether it stays so: no replay can change it
    untold       INTEGER NOT NULL DEFAULT 0,   -- whether there are children that are yet to be told
    parents      INTEGER NOT NULL DEFAULT 0,   -- how many edges it has as a child
    awaited      INTEGER NOT NULL DEFAULT 0,   -- how many of these wait
    lane         TEXT,
    rank         INTEGER,
    ttl          INTEGER,
    dedup        TEXT,
    body         BLOB,                         -- NULL in a job that is not kept here
    result       BLOB,                         -- for its children
    heir_of      TEXT,                         -- its only parent, once that succeeded: then there is no edge
    heir_as      TEXT,                         -- the edge's name
    legacy       BLOB                          -- the parent's result, which nobody else may want
) WITHOUT ROWID;

CREATE INDEX ties_untold ON ties (queue) WHERE untold;
CREATE INDEX ties_by_flow ON ties (flow) WHERE flow IS NOT NULL;

-- Who waits, or waited, for whom, until the child is settled for good. `outcome` and `final` are what it was told.
-- A child of one parent that succeeded is told of it in its own row, and has no edge any more.
CREATE TABLE edges (
    child        TEXT    NOT NULL,
    parent       TEXT    NOT NULL,
    number       INTEGER NOT NULL,             -- orders the children of a parent as they were appended
    place        INTEGER NOT NULL,             -- among all parents of the child
    name         TEXT    NOT NULL,
    policy       TEXT    NOT NULL,
    waits        INTEGER NOT NULL DEFAULT 1,   -- until the parent's end is good for the child
    outcome      TEXT,
    final        INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (child, parent)
) WITHOUT ROWID;

CREATE INDEX edges_by_parent ON edges (parent, waits, number);

-- A result is kept while any child may want it that was told of it.
CREATE TRIGGER results_end AFTER DELETE ON edges WHEN OLD.outcome IS NOT NULL BEGIN
    UPDATE ties SET result = NULL WHERE job = OLD.parent AND result IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM edges WHERE edges.parent = OLD.parent);
    DELETE FROM ties WHERE job = OLD.parent AND result IS NULL AND flow IS NULL AND final AND NOT untold;
END;

-- Workflows. One that is not opened yet has no `total`.
CREATE TABLE flows (
    number       INTEGER PRIMARY KEY,
    id           TEXT    NOT NULL UNIQUE,
    home         TEXT    NOT NULL,             -- the name of its queue
    name         TEXT    NOT NULL DEFAULT '',
    total        INTEGER,
    succeeded    INTEGER NOT NULL DEFAULT 0,
    buried       INTEGER NOT NULL DEFAULT 0,
    cancelled    INTEGER NOT NULL DEFAULT 0,
    expired      INTEGER NOT NULL DEFAULT 0,
    asked        INTEGER NOT NULL DEFAULT 0,   -- whether somebody asked for its cancellation
    began_at     INTEGER NOT NULL DEFAULT 0,
    ended_at     INTEGER,
    told         INTEGER NOT NULL DEFAULT 0,   -- whether its end was told
    keep         INTEGER NOT NULL DEFAULT 0,
    until        INTEGER
);

CREATE INDEX flows_untold ON flows (home) WHERE ended_at IS NOT NULL AND NOT told;
CREATE INDEX flows_by_end ON flows (until) WHERE until IS NOT NULL;

-- What whoever opened them says of them: beside them, since each of their jobs writes their row, and this may be long.
CREATE TABLE graphs (
    flow         INTEGER PRIMARY KEY,          -- its number
    body         BLOB    NOT NULL
);

-- What was accepted lately, or (`until` is NULL) is not settled yet.
CREATE TABLE dedup (
    queue        INTEGER NOT NULL,
    id           TEXT    NOT NULL,
    job          TEXT    NOT NULL,
    seq          INTEGER,
    until        INTEGER,
    PRIMARY KEY (queue, id)
) WITHOUT ROWID;

CREATE INDEX dedup_by_end ON dedup (queue, until) WHERE until IS NOT NULL;

-- Paused lanes, also those that have no jobs now.
CREATE TABLE paused (
    queue        INTEGER NOT NULL,
    lane         TEXT    NOT NULL,
    PRIMARY KEY (queue, lane)
) WITHOUT ROWID;

-- One row per lane that has jobs: who may touch its head.
CREATE TABLE lanes (
    queue        INTEGER NOT NULL,
    lane         TEXT    NOT NULL,
    state        TEXT    NOT NULL,             -- ready, held, waiting, halted, paused
    place        INTEGER NOT NULL,             -- orders the state: turn, end of lease, time of retry, time of halt
    token        INTEGER NOT NULL DEFAULT 0,
    owner        TEXT,
    lease        INTEGER NOT NULL DEFAULT 0,   -- length of the lease, for the fresh one after a clock jump
    graced       INTEGER NOT NULL DEFAULT 0,   -- the token that has had its fresh lease
    cause        TEXT    NOT NULL DEFAULT 'ready',
    runs         INTEGER NOT NULL DEFAULT 0,   -- whether the owner runs the head: a crash is blamed on that
    begun_rank   INTEGER,                      -- a head that has begun and need not be the first: nothing overtakes it
    begun_seq    INTEGER,                      -- (while it runs and is the first anyway, nothing is written)
    cancel       TEXT,                         -- a head that somebody asked to cancel while it ran
    paused       INTEGER NOT NULL DEFAULT 0,
    attempts     INTEGER NOT NULL DEFAULT 0,   -- of the head, as are the next six
    failures     INTEGER NOT NULL DEFAULT 0,
    crashes      INTEGER NOT NULL DEFAULT 0,
    blocked_at   INTEGER,                      -- its first failure or crash
    reason       TEXT    NOT NULL DEFAULT '',
    error        BLOB    NOT NULL DEFAULT x'',
    change       INTEGER NOT NULL DEFAULT 0,
    since        INTEGER NOT NULL DEFAULT 0,   -- up to when `waits` goes; 0 in a lane that nobody ever held
    waits        TEXT    NOT NULL DEFAULT '',  -- when nobody held it, and why: <begin>,<end>,<cause>,<amount>,...
    PRIMARY KEY (queue, lane)
) WITHOUT ROWID;

CREATE INDEX lanes_by_state ON lanes (queue, state, place);

-- Lanes that are run ahead: some of their first jobs may have ended and be in `jobs` still, which is noted in a file beside
-- this one. Every transaction takes them out before it does anything, and the row with them: see `legs.py`.
CREATE TABLE IF NOT EXISTS legs (
    number       INTEGER PRIMARY KEY,          -- random: nobody else's ever
    queue        INTEGER NOT NULL,
    lane         TEXT    NOT NULL,
    rank         INTEGER NOT NULL,
    from_seq     INTEGER NOT NULL,             -- the sequence of the first of them
    notes_at     INTEGER NOT NULL              -- where in that file its notes begin
);

-- Lanes that a process goes on putting jobs into: those behind the last sequence of their queue are in `jobs`, and not
-- counted yet. Transactions of others count them before they do anything, and take the rows away: see `inflows.py`.
CREATE TABLE IF NOT EXISTS inflows (
    number       INTEGER PRIMARY KEY,          -- random: nobody else's ever
    queue        INTEGER NOT NULL,
    lane         TEXT    NOT NULL,
    rank         INTEGER NOT NULL
);

-- Of workers with assigned keys: who had a lane last, since when (0 if nobody had it before), and until when that is
-- remembered.
CREATE TABLE owners (
    queue        INTEGER NOT NULL,
    lane         TEXT    NOT NULL,
    owner        TEXT    NOT NULL,
    since        INTEGER NOT NULL,
    until        INTEGER NOT NULL,
    PRIMARY KEY (queue, lane)
) WITHOUT ROWID;

CREATE INDEX owners_by_end ON owners (queue, until);

-- The jobs that owners run: of each such lane its head.
CREATE VIEW running AS
SELECT queue, lane, CASE WHEN begun_rank IS NULL
    THEN (SELECT id FROM jobs WHERE jobs.queue = lanes.queue AND jobs.lane = lanes.lane ORDER BY rank, seq LIMIT 1)
    ELSE (SELECT id FROM jobs WHERE jobs.queue = lanes.queue AND jobs.lane = lanes.lane
          AND rank = begun_rank AND seq = begun_seq)
    END AS id
FROM lanes WHERE runs;

CREATE TABLE dead (
    queue        INTEGER NOT NULL,
    seq          INTEGER NOT NULL,
    id           TEXT    NOT NULL,
    lane         TEXT    NOT NULL,
    rank         INTEGER NOT NULL,
    eligible_at  INTEGER NOT NULL,
    replayed     INTEGER NOT NULL,
    body         BLOB    NOT NULL,
    reason       TEXT    NOT NULL,
    attempts     INTEGER NOT NULL,
    error        BLOB    NOT NULL,
    buried_at    INTEGER NOT NULL,
    PRIMARY KEY (queue, seq)
) WITHOUT ROWID;

-- How attempts of jobs ended, as far as that is kept: see `keeping.py`.
CREATE TABLE notes (
    queue        INTEGER NOT NULL,
    job          TEXT    NOT NULL,
    number       INTEGER NOT NULL,
    action       TEXT    NOT NULL,
    at           INTEGER NOT NULL,
    until        INTEGER NOT NULL,             -- the same for all of a job
    reason       TEXT    NOT NULL,
    said         BLOB    NOT NULL,
    result       BLOB,
    error        BLOB    NOT NULL,
    PRIMARY KEY (queue, job, number)
) WITHOUT ROWID;

CREATE INDEX notes_by_end ON notes (queue, until);

-- Values by name. Those without an end are kept until they are dropped.
CREATE TABLE kept (
    queue        INTEGER NOT NULL,
    name         TEXT    NOT NULL,
    until        INTEGER,
    body         BLOB    NOT NULL,
    PRIMARY KEY (queue, name)
) WITHOUT ROWID;

CREATE INDEX kept_by_end ON kept (queue, until) WHERE until IS NOT NULL;

-- Live workers. `bell` is the name of the FIFO whose reading end the worker's process holds.
CREATE TABLE workers (
    owner        TEXT    PRIMARY KEY,
    bell         TEXT,
    queues       TEXT    NOT NULL,             -- a JSON list
    beat         INTEGER NOT NULL
) WITHOUT ROWID;
