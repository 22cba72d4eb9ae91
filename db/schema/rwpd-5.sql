-- rwpd.db, version 5: probes, measurements at a checkpoint, and the rows of their tables. A checkpoint that
-- a probe needs, queued or running, is kept.

CREATE TABLE probe (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job INTEGER NOT NULL REFERENCES job (id),
    number INTEGER NOT NULL,                 -- within the job, from 1
    updates INTEGER NOT NULL,                -- of the checkpoint that is looked at
    place INTEGER,                           -- in the job's own list of probes; NULL: asked for later
    kind TEXT NOT NULL,
    request TEXT NOT NULL,                   -- as normalised JSON
    state INTEGER NOT NULL DEFAULT 0,
    cancelling INTEGER NOT NULL DEFAULT 0,   -- asked of a running one
    progress REAL NOT NULL DEFAULT 0,        -- 0 to 1
    progress_event INTEGER NOT NULL DEFAULT 0, -- the one that tells of it; 0: none
    reason TEXT,                             -- of the present state
    message TEXT,                            -- how the results came about
    priority INTEGER NOT NULL,
    threads INTEGER NOT NULL DEFAULT 0,      -- chosen by the first start; 0: not started yet
    starts INTEGER NOT NULL DEFAULT 0,
    created_ms INTEGER NOT NULL,
    started_ms INTEGER NOT NULL DEFAULT 0,   -- first start
    finished_ms INTEGER NOT NULL DEFAULT 0,
    other_job INTEGER NOT NULL DEFAULT 0,    -- a second checkpoint that it needs; 0: none
    other_update INTEGER NOT NULL DEFAULT 0,
    upload INTEGER NOT NULL DEFAULT 0,       -- given vectors; 0: none
    vectors INTEGER NOT NULL DEFAULT 0,      -- checkpoints.db has vectors of it: update `id` of job 0
    idempotency_key TEXT,
    fingerprint TEXT,
    UNIQUE (job, number)
) STRICT;

CREATE INDEX probe_of_state ON probe (state);
CREATE INDEX probe_queue ON probe (priority DESC, id) WHERE state = 0;
CREATE UNIQUE INDEX probe_of_key ON probe (idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE UNIQUE INDEX probe_of_place ON probe (job, updates, place) WHERE place IS NOT NULL;
CREATE INDEX probe_of_other_job ON probe (other_job) WHERE other_job <> 0;

CREATE TABLE probe_row (
    probe INTEGER NOT NULL REFERENCES probe (id),
    part INTEGER NOT NULL,                   -- which of its kind's tables
    number INTEGER NOT NULL,                 -- of the row, from 0
    data BLOB NOT NULL,                      -- doubles, in this machine's byte order
    PRIMARY KEY (probe, part, number)
) STRICT, WITHOUT ROWID;

ALTER TABLE job ADD COLUMN keep INTEGER NOT NULL DEFAULT 0; -- checkpoints; 0: not known
