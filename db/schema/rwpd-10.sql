-- rwpd.db, version 10: probes under which the process ends, or that wait for their GPU; jobs whose own
-- lines may need other checkpoints.

ALTER TABLE probe ADD COLUMN crashed INTEGER NOT NULL DEFAULT 0; -- the process ended, since it told rows last
ALTER TABLE probe ADD COLUMN crashed_rows INTEGER NOT NULL DEFAULT 0; -- that it had told by the last time
ALTER TABLE probe ADD COLUMN waits INTEGER NOT NULL DEFAULT 0; -- queued, and not to be claimed yet

-- Few jobs have lines in their list of probes; the checkpoints at whose ends are looked for with every
-- checkpoint that is written.
CREATE INDEX job_of_lines ON job (id) WHERE state IN (0, 1, 2) AND instr(spec, '"line"') > 0;
