#include "files.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"

/* Databases with their logs, readers of the API, event loops, listening; then what a worker's own
 * reader and its job's dataset take. */
#define FILES_OF_ITS_OWN     96
#define FILES_A_WORKER       8
#define CONNECTIONS_AT_LEAST 8

void files_fill_standard(void)
{
    int file;

    do
        file = open("/dev/null", O_RDWR);
    while (file >= 0 && file <= STDERR_FILENO);
    if (file >= 0)
        close(file);
}

void files_reserve(int *connections, int workers)
{
    rlim_t own = FILES_OF_ITS_OWN + FILES_A_WORKER * (rlim_t)workers;
    rlim_t needed = own + (rlim_t)*connections;
    struct rlimit limit;
    int left;

    if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= needed)
        return;
    limit.rlim_cur = limit.rlim_max < needed ? limit.rlim_max : needed;
    if (setrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= needed)
        return;
    left = limit.rlim_cur > own ? (int)(limit.rlim_cur - own) : 0;
    if (left < CONNECTIONS_AT_LEAST)
        left = CONNECTIONS_AT_LEAST;
    log_warning("this process may have only %llu open files: %d connections in place of %d",
                (unsigned long long)limit.rlim_cur, left, *connections);
    *connections = left;
}
