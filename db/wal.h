/* A write-ahead log as its file says it, without SQLite: which ends at the first frame that does
 * not fit, silently, whatever lies behind. */
#ifndef DB_WAL_H
#define DB_WAL_H

struct err;

/* ERR_CORRUPT, naming the log, if commits lie behind a damaged place of it that had been confirmed
 * to whoever asked for them. A last commit that never got to the disk whole is no damage, nor is a
 * log that is missing or empty. Changes nothing. */
int db_wal_check(const char *database, struct err *err);

#endif
