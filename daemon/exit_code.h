/* What the process says when it ends. `rwpd --help` lists them; the unit's
 * RestartPreventExitStatus= names those that another start would only meet again, its
 * RestartForceExitStatus= the one that asks for it. */
#ifndef DAEMON_EXIT_CODE_H
#define DAEMON_EXIT_CODE_H

enum exit_code {
    EXIT_STOPPED = 0, /* asked to stop, and did so in order */
    EXIT_OTHER = 1,
    EXIT_USAGE = 2,    /* options, environment, token file */
    EXIT_ADDRESS = 3,  /* cannot listen there */
    EXIT_DAMAGED = 4,  /* the database is corrupt */
    EXIT_IN_USE = 5,   /* another process has the state folder */
    EXIT_DISK = 6,     /* no space left */
    EXIT_TOO_OLD = 7,  /* a newer version wrote the database */
    EXIT_DEVICE = 75,  /* a GPU can be used by another process only: start again (EX_TEMPFAIL) */
    EXIT_HURRIED = 128 /* + the number of the second signal: left without waiting */
};

#endif
