-- rwpd.db, version 4: what a job's weights begin with. Until the job has a checkpoint of its own or has
-- ended, the one that it begins with is kept.

ALTER TABLE job ADD COLUMN init_job INTEGER NOT NULL DEFAULT 0;    -- 0: none
ALTER TABLE job ADD COLUMN init_update INTEGER NOT NULL DEFAULT 0;
ALTER TABLE job ADD COLUMN init_upload INTEGER NOT NULL DEFAULT 0; -- 0: none

CREATE INDEX job_of_init_job ON job (init_job) WHERE init_job <> 0;
CREATE INDEX job_of_init_upload ON job (init_upload) WHERE init_upload <> 0;
