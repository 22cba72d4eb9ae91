-- checkpoints.db, version 3: the probes that a job wants of a checkpoint, written with it, so that rwpd.db can
-- queue them after a crash between the two files. And vectors of the probe n: a checkpoint of update n
-- of the job 0.

CREATE TABLE due (
    checkpoint INTEGER NOT NULL REFERENCES checkpoint (id) ON DELETE CASCADE,
    place INTEGER NOT NULL,                  -- in the job's own list of probes
    kind TEXT NOT NULL,
    request TEXT NOT NULL,
    priority INTEGER NOT NULL,
    other_job INTEGER NOT NULL,
    other_update INTEGER NOT NULL,
    upload INTEGER NOT NULL,
    PRIMARY KEY (checkpoint, place)
) STRICT;
