/* The process's open files, settled before anything is opened. */
#ifndef DAEMON_FILES_H
#define DAEMON_FILES_H

/* Where standard input, output or error are closed they become /dev/null, so that no file of the
 * daemon's takes their place and has log lines written into it. */
void files_fill_standard(void);

/* Raises the limit on open files to what so many connections and workers may need at the same time.
 * Where it cannot be raised as far, *connections is lowered, with a warning: clients shall never
 * take the files that jobs need. */
void files_reserve(int *connections, int workers);

#endif
