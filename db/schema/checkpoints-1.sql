-- checkpoints.db, version 1: a row a checkpoint, a row a tensor, written in one transaction. This
-- file alone says which checkpoints there are. Pages that a removed checkpoint leaves are used by
-- the next one, so the file stays as large as the most checkpoints there ever were at a time.

CREATE TABLE store (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    pair TEXT NOT NULL                       -- the same in rwpd.db
) STRICT;

CREATE TABLE checkpoint (
    id INTEGER PRIMARY KEY AUTOINCREMENT,    -- never used again, so a reader cannot mix two
    job INTEGER NOT NULL,
    updates INTEGER NOT NULL,
    final INTEGER NOT NULL,
    wall_ms INTEGER NOT NULL,
    bytes INTEGER NOT NULL,                  -- of the tensors' data
    UNIQUE (job, updates)
) STRICT;

CREATE TABLE tensor (
    id INTEGER PRIMARY KEY,
    checkpoint INTEGER NOT NULL REFERENCES checkpoint (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,                 -- place in the checkpoint, from 0
    name TEXT NOT NULL,
    role INTEGER NOT NULL,
    type INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    dim0 INTEGER NOT NULL,                   -- outermost; those beyond the rank are 0
    dim1 INTEGER NOT NULL,
    dim2 INTEGER NOT NULL,
    dim3 INTEGER NOT NULL,
    checksum INTEGER NOT NULL,               -- of data, see checksum.h
    data BLOB NOT NULL,                      -- row-major, in this machine's byte order
    UNIQUE (checkpoint, number)
) STRICT;
