-- checkpoints.db, version 2: weights that were uploaded. Their tensors are a checkpoint of update 1 of the
-- job −id.

CREATE TABLE upload (
    id INTEGER PRIMARY KEY AUTOINCREMENT,    -- never used again
    name TEXT NOT NULL,
    sha256 TEXT NOT NULL UNIQUE,             -- of the file, in hexadecimal
    wall_ms INTEGER NOT NULL,
    file_bytes INTEGER NOT NULL,
    tensors INTEGER NOT NULL
) STRICT;
