-- rwpd.db, version 6: sweeps, a base job and a grid of changes that became jobs together.

CREATE TABLE sweep (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    max_running INTEGER NOT NULL,            -- most of its jobs that run at a time; 0: any number
    created_ms INTEGER NOT NULL,
    points INTEGER NOT NULL,                 -- its jobs
    idempotency_key TEXT,
    fingerprint TEXT,
    spec TEXT NOT NULL                       -- the base job and the grid, as JSON
) STRICT;

CREATE UNIQUE INDEX sweep_of_key ON sweep (idempotency_key) WHERE idempotency_key IS NOT NULL;

ALTER TABLE job ADD COLUMN sweep INTEGER NOT NULL DEFAULT 0; -- 0: none
ALTER TABLE job ADD COLUMN point INTEGER NOT NULL DEFAULT 0; -- its place in the sweep, from 1

CREATE INDEX job_of_sweep ON job (sweep) WHERE sweep <> 0;
CREATE INDEX job_running ON job (sweep) WHERE state = 1;

-- The queue by sweep, so that the jobs of a sweep of which as many run as may are passed over at
-- once. Jobs of no sweep are those of sweep 0 here.
DROP INDEX job_queue;
CREATE INDEX job_queue ON job (sweep, priority DESC, id) WHERE state = 0;
