/* What opening looks at before it changes anything. */
#ifndef DB_LOOK_H
#define DB_LOOK_H

struct err;

/* Refuses what must not be opened, and leaves each file in the folder as it was: one of the two
 * missing or empty while there is what belongs to it, a damaged write-ahead log, damage as far as
 * opening reads (ERR_CORRUPT), files of another program, of different databases (ERR_CORRUPT) or of
 * a newer version (ERR_UNSUPPORTED). 0 for an empty folder, and for each state in which a first
 * start can be interrupted. */
int db_look(const char *folder, struct err *err);

#endif
