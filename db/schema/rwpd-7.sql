-- rwpd.db, version 7: what a job is forecast to take, and the memory that its runs then held.

CREATE TABLE estimate (
    job INTEGER PRIMARY KEY REFERENCES job (id),
    signature INTEGER NOT NULL,              -- jobs of the same one do the same work; 0: not known
    bytes INTEGER NOT NULL,                  -- forecast, as the next three; 0: there is no forecast
    update_seconds REAL,                     -- NULL: not known, as the next two
    evaluation_seconds REAL,
    run_seconds REAL,
    earlier INTEGER NOT NULL,                -- whether the times are an earlier job's
    held_bytes INTEGER NOT NULL DEFAULT 0    -- at most by any run; 0: none yet
) STRICT;

CREATE INDEX estimate_of_signature ON estimate (signature) WHERE signature <> 0;
