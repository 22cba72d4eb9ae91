-- rwpd.db, version 11: jobs that were deleted, as events of the sequence that all share. Of such a job no
-- more than this stays; until all that it recorded is removed, its row has the state -1 and says nothing.

CREATE TABLE deleted (
    sequence INTEGER PRIMARY KEY,
    job INTEGER NOT NULL,
    wall_ms INTEGER NOT NULL
) STRICT;

CREATE INDEX deleted_job ON deleted (job);
