-- rwpd.db, version 10: probes under which the process ends, and those that wait for their GPU.

ALTER TABLE probe ADD COLUMN crashed INTEGER NOT NULL DEFAULT 0; -- the process ended, since it told rows last
ALTER TABLE probe ADD COLUMN crashed_rows INTEGER NOT NULL DEFAULT 0; -- that it had told by the last time
