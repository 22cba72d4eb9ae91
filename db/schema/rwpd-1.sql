-- rwpd.db, version 1: jobs and what their runs record.
--
-- Numbers that a run computes stand in columns of type ANY, which keep what they are given: REAL for
-- every finite value and the infinities, the text 'NaN' for NaN (SQLite would make it NULL), NULL for
-- a value that there is none of. Enumerations are the numbers of db.h.

CREATE TABLE store (
    one INTEGER PRIMARY KEY CHECK (one = 1), -- there is one row
    pair TEXT NOT NULL,                      -- the same in checkpoints.db: the two belong together
    sequence INTEGER NOT NULL,               -- highest event number ever given; only grows
    losses INTEGER NOT NULL                  -- rows in loss
) STRICT;

CREATE TABLE job (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    state INTEGER NOT NULL,
    wish INTEGER NOT NULL DEFAULT 0,
    reason TEXT,                             -- of the present state
    priority INTEGER NOT NULL,
    parameters INTEGER NOT NULL,
    threads INTEGER NOT NULL DEFAULT 0,      -- chosen by the first start; 0: not started yet
    starts INTEGER NOT NULL DEFAULT 0,
    created_ms INTEGER NOT NULL,
    started_ms INTEGER NOT NULL DEFAULT 0,   -- first start
    finished_ms INTEGER NOT NULL DEFAULT 0,
    updates INTEGER NOT NULL,                -- in all

    -- Summary of what is recorded; the writer keeps it true in the same transaction.
    updates_done INTEGER NOT NULL DEFAULT 0,
    seconds REAL NOT NULL DEFAULT 0,         -- sum of loss.seconds
    loss ANY,                                -- of the last update
    perturbed_loss ANY,
    epoch INTEGER NOT NULL DEFAULT 0,        -- last one that is recorded
    gradient_evaluations INTEGER NOT NULL DEFAULT 0,
    train_loss ANY,
    train_top1 ANY,
    test_loss ANY,                           -- of the last epoch that was evaluated
    test_top1 ANY,
    test_top5 ANY,
    best_top1 ANY,
    best_epoch INTEGER NOT NULL DEFAULT 0,
    checkpoint_updates INTEGER NOT NULL DEFAULT 0, -- what checkpoints.db said last; it has the truth

    idempotency_key TEXT,
    fingerprint TEXT,
    spec TEXT NOT NULL
) STRICT;

CREATE INDEX job_of_state ON job (state);
CREATE INDEX job_queue ON job (priority DESC, id) WHERE state = 0;
CREATE UNIQUE INDEX job_of_key ON job (idempotency_key) WHERE idempotency_key IS NOT NULL;

-- A row an update. Within a job `sequence` grows with `updates`, so that no index by sequence is
-- needed: it is searched by halving.
CREATE TABLE loss (
    job INTEGER NOT NULL REFERENCES job (id),
    updates INTEGER NOT NULL,                -- done, from 1
    sequence INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    loss ANY NOT NULL,
    perturbed_loss ANY,
    lr ANY NOT NULL,
    sigma ANY NOT NULL,
    seconds ANY NOT NULL,
    PRIMARY KEY (job, updates)
) STRICT, WITHOUT ROWID;

CREATE TABLE epoch (
    job INTEGER NOT NULL REFERENCES job (id),
    epoch INTEGER NOT NULL,                  -- from 1
    updates INTEGER NOT NULL,
    train_loss ANY NOT NULL,
    train_top1 ANY NOT NULL,
    test_loss ANY,                           -- NULL: not evaluated, as are the next two
    test_top1 ANY,
    test_top5 ANY,
    gradient_evaluations INTEGER NOT NULL,
    seconds ANY NOT NULL,
    wall_ms INTEGER NOT NULL,
    PRIMARY KEY (job, epoch)
) STRICT, WITHOUT ROWID;

-- What happened, but for losses, which carry their sequence number themselves.
CREATE TABLE event (
    sequence INTEGER PRIMARY KEY,
    job INTEGER NOT NULL REFERENCES job (id),
    kind INTEGER NOT NULL,
    wall_ms INTEGER NOT NULL,
    state INTEGER,
    number INTEGER,                          -- an epoch, or updates of a checkpoint
    text TEXT
) STRICT;

CREATE INDEX event_of_job ON event (job);
