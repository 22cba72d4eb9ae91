/* rwpd: options, signals, exit codes. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon.h"
#include "exit_code.h"
#include "files.h"
#include "folder.h"

/* How often an OpenMP thread looks whether the others are done before it sleeps: some 50 µs. Those
 * that libgomp takes by itself are milliseconds, in which nobody else gets the core: beside other
 * work training is ten times as slow then. */
#define SPIN_COUNT "1000"

/* libgomp reads its environment when it is loaded, so the program begins once more, by the same
 * path, of which ps and others make its name. Where ld.so was told to run it, the path is ld.so's:
 * then, and where it cannot begin again, libgomp's count stays. */
static void spin_briefly(char **argv)
{
    const char *path = (const char *)getauxval(AT_EXECFN);
    bool by_itself = getauxval(AT_BASE) != 0; /* that has an ld.so beside it */

    if (!path || !by_itself || getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY"))
        return;
    if (!setenv("GOMP_SPINCOUNT", SPIN_COUNT, 1))
        execv(path, argv);
}

static void leave_at_once(int number)
{
    _exit(EXIT_HURRIED + number);
}

static sigset_t waited_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR1); /* the daemon's own: a GPU was lost */
    return set;
}

/* All threads inherit the mask, so these signals wait for `wait_for_stop`, and none interrupts a
 * system call anywhere. */
static void prepare_signals(void)
{
    sigset_t set = waited_signals();
    struct sigaction leave = {.sa_handler = leave_at_once};

    signal(SIGPIPE, SIG_IGN);
    sigaction(SIGTERM, &leave, NULL);
    sigaction(SIGINT, &leave, NULL);
    signal(SIGHUP, SIG_IGN);
    signal(SIGUSR1, SIG_IGN);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* After the first one, the next meets its handler. Whether a GPU was lost, and nobody asked. */
static bool wait_for_stop(const struct daemon *daemon)
{
    sigset_t set = waited_signals();
    int number;

    do
        sigwait(&set, &number);
    while (number == SIGHUP || (number == SIGUSR1 && !daemon_lost(daemon)));
    if (number == SIGUSR1)
        log_error("a GPU was lost to this process: it ends, and has to be started again");
    else
        log_info("%s: stopping; once more ends the process at once", strsignal(number));
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    return number == SIGUSR1;
}

static int run(struct daemon_options *options)
{
    struct daemon *daemon;
    struct err err;
    int exit_code;
    bool lost;

    prepare_signals();
    files_reserve(&options->connections, options->workers);
    if (daemon_open(&daemon, options, &exit_code, &err)) {
        log_error("%s", err.message);
        return exit_code;
    }
    exit_code = wait_for_stop(daemon) ? EXIT_DEVICE : EXIT_STOPPED;
    lost = daemon_close(daemon);
    log_info("stopped");
    if (lost) /* at once: what the driver does at exit may wait for the device */
        _exit(exit_code);
    return exit_code;
}

static int check_config(const struct daemon_options *options)
{
    char address[ADDRESS_TEXT_BYTES];
    struct err err;

    if (folder_check(options->state, options->state_source, &err)) {
        fprintf(stderr, "rwpd: %s\n", err.message);
        return EXIT_USAGE;
    }
    address_text(&options->listen, options->listen.port, address);
    printf("listen       %s\nstate        %s\ntoken        %s\nworkers      %d\nthreads      %d\n"
           "queue limit  %lld\nbody limit   %zu\nupload limit %zu\nconnections  %d\n",
           address, options->state, options->token ? options->token_file : "none", options->workers,
           options->threads, (long long)options->queue_limit, options->body_bytes,
           options->upload_bytes, options->connections);
    return 0;
}

/* What was printed may have gone to a full disk. */
static int flushed(int exit_code)
{
    return fflush(stdout) || ferror(stdout) ? EXIT_OTHER : exit_code;
}

int main(int argc, char **argv)
{
    struct daemon_options options;
    struct err err;
    int exit_code = 0;

    files_fill_standard();
    spin_briefly(argv);
    if (options_read(&options, argc, argv, &err)) {
        fprintf(stderr, "rwpd: %s\n", err.message);
        return EXIT_USAGE;
    }
    log_set_level((enum log_level)options.log_level);
    switch (options.task) {
    case DAEMON_SHOW_HELP:
        options_print_help();
        break;
    case DAEMON_SHOW_VERSION:
        puts("rwpd " RWPD_VERSION);
        break;
    case DAEMON_CHECK_CONFIG:
        exit_code = check_config(&options);
        break;
    case DAEMON_RUN:
        exit_code = run(&options);
        break;
    }
    options_free(&options);
    return flushed(exit_code);
}
