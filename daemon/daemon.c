/* The order of things. Up: database, recovery, queue, API, workers, the listen file, word to the
 * service manager. Down: workers (the API still answers), API, queue, database. */
#include "daemon.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "api/api.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "db/probe.h"
#include "engine/job.h"
#include "exit_code.h"
#include "folder.h"
#include "notify.h"
#include "queue.h"
#include "service.h"
#include "web/assets.h"

struct daemon {
    const struct daemon_options *options;
    struct db *db;
    struct queue *queue;
    struct api *api;
    struct api_asset *assets;
    struct api_service service;
    char address[ADDRESS_TEXT_BYTES];
};

static int database_exit_code(int rc)
{
    static const struct {
        int rc, exit_code;
    } table[] = {
        {ERR_CORRUPT, EXIT_DAMAGED},
        {ERR_BUSY, EXIT_IN_USE},
        {ERR_FULL, EXIT_DISK},
        {ERR_UNSUPPORTED, EXIT_TOO_OLD},
    };

    for (size_t i = 0; i < ARRAY_LENGTH(table); i++)
        if (table[i].rc == rc)
            return table[i].exit_code;
    return EXIT_OTHER;
}

static int api_exit_code(int rc)
{
    if (rc == ERR_INVALID)
        return EXIT_USAGE;
    return rc == ERR_IO ? EXIT_ADDRESS : EXIT_OTHER;
}

/* A stale listen file goes as soon as the folder is ours: no script shall find a dead address. */
static int open_database(struct daemon *daemon, struct err *err)
{
    struct db_options options = {0};
    int n, rc = folder_make_parents(daemon->options->state, err);

    /* A large write-ahead log or a migration takes its time. */
    notify_send("STATUS=Opening the database\nEXTEND_TIMEOUT_USEC=600000000");
    if (!rc)
        rc = db_open(&daemon->db, daemon->options->state, &options, err);
    if (rc)
        return rc;
    folder_remove_listen(daemon->options->state);
    rc = db_recover(daemon->db, &n, err);
    if (!rc && n > 0)
        log_info("%d job%s running when the last process ended", n, n == 1 ? " was" : "s were");
    if (!rc)
        rc = db_probe_recover(daemon->db, &n, err);
    if (!rc && n > 0)
        log_info("%d probe%s running when the last process ended", n, n == 1 ? " was" : "s were");
    return rc;
}

static int copy_assets(struct daemon *daemon, int *n, struct err *err)
{
    const struct web_asset *assets = web_assets(n);

    daemon->assets = calloc((size_t)*n + 1, sizeof *daemon->assets);
    if (!daemon->assets)
        return err_no_memory(err);
    for (int i = 0; i < *n; i++)
        daemon->assets[i] =
            (struct api_asset){assets[i].path, assets[i].type, assets[i].bytes, assets[i].n};
    return 0;
}

static int open_api(struct daemon *daemon, struct err *err)
{
    const struct daemon_options *options = daemon->options;
    struct api_options api = {.address = options->listen.host,
                              .port = options->listen.port,
                              .token = options->token,
                              .body_bytes = options->body_bytes,
                              .upload_bytes = options->upload_bytes,
                              .connections = options->connections};
    int rc = copy_assets(daemon, &api.n_assets, err);

    api.assets = daemon->assets;
    service_fill(&daemon->service, daemon->queue, options->workers);
    return rc ? rc : api_open(&daemon->api, &api, &daemon->service, daemon->db, err);
}

/* To the thread that waits for signals. */
static void wake_main(void *context)
{
    (void)context;
    kill(getpid(), SIGUSR1);
}

bool daemon_lost(const struct daemon *daemon)
{
    return queue_lost(daemon->queue);
}

static int open_queue(struct daemon *daemon, struct err *err)
{
    struct queue_options options = {.workers = daemon->options->workers,
                                    .threads = daemon->options->threads,
                                    .queue_limit = daemon->options->queue_limit,
                                    .lost = wake_main};

    return queue_open(&daemon->queue, &options, daemon->db, err);
}

/* Which devices `auto` may mean, or why it means the processor. */
static void log_devices(void)
{
    struct err err;
    int n_gpus = engine_gpus(&err), n;
    const struct engine_device *devices = engine_devices(&n);

    for (int i = 0; i < n_gpus; i++)
        log_info("%s: %s with %.1f GiB, %s", devices[i].name, devices[i].description,
                 (double)devices[i].memory_bytes / (1 << 30), devices[i].uuid);
    if (n_gpus == 0)
        log_info("no GPU: %s", err.message);
}

static int announce(struct daemon *daemon, struct err *err)
{
    const struct daemon_options *options = daemon->options;
    int rc;

    address_text(&options->listen, api_port(daemon->api), daemon->address);
    rc = folder_write_listen(options->state, daemon->address, err);
    if (rc)
        return rc;
    log_info("listening on http://%s/, state in %s, %d worker%s with %d thread%s in all",
             daemon->address, options->state, options->workers, options->workers == 1 ? "" : "s",
             options->threads, options->threads == 1 ? "" : "s");
    log_devices();
    notify_send("READY=1\nSTATUS=Listening on %s", daemon->address);
    return 0;
}

int daemon_open(struct daemon **out, const struct daemon_options *options, int *exit_code,
                struct err *err)
{
    struct daemon *daemon = calloc(1, sizeof *daemon);
    int rc;

    *exit_code = EXIT_OTHER;
    if (!daemon)
        return err_no_memory(err);
    daemon->options = options;
    rc = open_database(daemon, err);
    if (!rc)
        rc = open_queue(daemon, err);
    if (rc)
        *exit_code = database_exit_code(rc);
    if (!rc) {
        rc = open_api(daemon, err);
        if (rc)
            *exit_code = api_exit_code(rc);
    }
    if (!rc)
        rc = queue_start(daemon->queue, err);
    if (!rc)
        rc = announce(daemon, err);
    if (rc)
        daemon_close(daemon);
    else
        *out = daemon;
    return rc;
}

/* Tells the service manager to wait for as long as a worker is at work; gives up on a database that
 * stays unwritable. */
static void stop_workers(struct daemon *daemon)
{
    int unwritable_seconds = 0, seconds = 0, left;

    queue_stop(daemon->queue);
    while ((left = queue_wait(daemon->queue, 1)) > 0) {
        struct db_health health;

        notify_send("STATUS=Waiting for the checkpoints of %d job%s\nEXTEND_TIMEOUT_USEC=30000000",
                    left, left == 1 ? "" : "s");
        if (queue_lost(daemon->queue) && ++seconds > DAEMON_LOST_SECONDS) {
            log_error("%d job%s did not stop: they go on from their last checkpoints", left,
                      left == 1 ? "" : "s");
            _exit(EXIT_DEVICE);
        }
        db_health(daemon->db, &health);
        unwritable_seconds = health.writing ? 0 : unwritable_seconds + 1;
        if (unwritable_seconds != DAEMON_PATIENCE_SECONDS)
            continue;
        log_error("%s: stopping without new checkpoints; jobs go on from their last ones",
                  health.problem);
        queue_give_up(daemon->queue);
        db_give_up(daemon->db);
    }
}

bool daemon_close(struct daemon *daemon)
{
    bool lost;

    if (!daemon)
        return false;
    notify_send("STOPPING=1\nSTATUS=Stopping");
    if (daemon->queue)
        stop_workers(daemon);
    lost = daemon->queue && queue_lost(daemon->queue);
    api_close(daemon->api);
    queue_close(daemon->queue);
    if (daemon->db)
        folder_remove_listen(daemon->options->state);
    db_close(daemon->db);
    free(daemon->assets);
    free(daemon);
    return lost;
}
