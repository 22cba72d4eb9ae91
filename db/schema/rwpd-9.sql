-- rwpd.db, version 9: where a job computed, which is not always what it was forecast for.

ALTER TABLE estimate ADD COLUMN device TEXT;        -- what the forecast is for; NULL: of an earlier version
ALTER TABLE estimate ADD COLUMN ran_device TEXT;    -- of the latest run; NULL: none yet
ALTER TABLE estimate ADD COLUMN ran_precision TEXT;
