-- rwpd.db, version 12: the few messages among a job's many events are found without them.

CREATE INDEX event_of_message ON event (job) WHERE kind = 4;
