#include "victim.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

static const char role[] = "victim"; /* argv[1]; then the folder and the pipe's number */

void victim_main(int argc, char **argv, int (*work)(const char *folder, int pipe))
{
    if (argc == 4 && strcmp(argv[1], role) == 0)
        exit(work(argv[2], atoi(argv[3])));
}

void victim_start(struct victim *victim, const struct place *place)
{
    int ends[2];
    char end[16];

    assert_int_equal(pipe(ends), 0);
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    snprintf(end, sizeof end, "%d", ends[1]);
    victim->from = ends[0];
    victim->pid = fork();
    assert_true(victim->pid >= 0);
    if (victim->pid == 0) {
        execl("/proc/self/exe", "test_db", role, place->state, end, (char *)NULL);
        _exit(6);
    }
    close(ends[1]);
}

void victim_kill(struct victim *victim)
{
    int status;

    kill(victim->pid, SIGKILL);
    assert_int_equal(waitpid(victim->pid, &status, 0), victim->pid);
    if (!WIFSIGNALED(status))
        fail_msg("the victim ended by itself, with %d", WEXITSTATUS(status));
}

void victim_close(struct victim *victim)
{
    close(victim->from);
}
