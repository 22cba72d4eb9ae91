-- rwpd.db, version 8: what a job holds on a GPU, and how often the process ended under a job.

ALTER TABLE estimate ADD COLUMN device_bytes INTEGER NOT NULL DEFAULT 0;      -- of bytes; 0: on no GPU
ALTER TABLE estimate ADD COLUMN held_device_bytes INTEGER NOT NULL DEFAULT 0; -- of held_bytes

CREATE TABLE death (                         -- since the job last got further
    job INTEGER PRIMARY KEY REFERENCES job (id),
    updates INTEGER NOT NULL,                -- of its latest checkpoint, at the last of them
    lost INTEGER NOT NULL,                   -- its GPU was lost, and the process had to end
    crashed INTEGER NOT NULL                 -- the process was killed, or the machine stopped
) STRICT;

ALTER TABLE probe ADD COLUMN lost INTEGER NOT NULL DEFAULT 0; -- how often its GPU was
