/* Counters are atomic and fixed in number, so that counting a request costs no lock and no memory.
 */
#include "metrics.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "db/probe.h"
#include "hub.h"
#include "routes.h"

#define ROUTES_MAX 64

static const int statuses[] = {200, 201, 204, 206, 303, 304, 400, 401, 403, 404, 405, 406, 408, 409,
                               412, 413, 414, 415, 416, 421, 422, 429, 431, 500, 503, 507, 0};
static const double bounds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                0.1,   0.25,   0.5,   1,    2.5,   10};

struct metrics {
    atomic_int active;
    atomic_ullong requests[ROUTES_MAX][ARRAY_LENGTH(statuses)]; /* last status: others */
    atomic_ullong bucket[ARRAY_LENGTH(bounds) + 1];
    atomic_ullong microseconds;
};

int metrics_open(struct metrics **out, struct err *err)
{
    int n;

    (void)routes(&n);
    assert(n < ROUTES_MAX); /* one place more is for what has no route */
    *out = calloc(1, sizeof **out);
    return *out ? 0 : err_no_memory(err);
}

void metrics_close(struct metrics *metrics)
{
    free(metrics);
}

void metrics_begin(struct metrics *metrics)
{
    atomic_fetch_add(&metrics->active, 1);
}

void metrics_request(struct metrics *metrics, const struct route *route, int status, double seconds)
{
    int n, place;
    const struct route *table = routes(&n);
    size_t s = 0, b = 0;

    atomic_fetch_sub(&metrics->active, 1);
    place = route ? (int)(route - table) : n;
    while (s + 1 < ARRAY_LENGTH(statuses) && statuses[s] != status)
        s++;
    atomic_fetch_add(&metrics->requests[place][s], 1);
    if (route && route->flags & ROUTE_STREAM)
        return;
    while (b < ARRAY_LENGTH(bounds) && seconds > bounds[b])
        b++;
    atomic_fetch_add(&metrics->bucket[b], 1);
    atomic_fetch_add(&metrics->microseconds, (unsigned long long)(seconds * 1e6));
}

int metrics_active(const struct metrics *metrics)
{
    return atomic_load(&metrics->active);
}

static void head(struct text *out, const char *name, const char *type, const char *help)
{
    text_append(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void one(struct text *out, const char *name, const char *type, const char *help,
                double value)
{
    char number[TEXT_NUMBER_BYTES];

    text_number(value, number);
    head(out, name, type, help);
    text_append(out, "%s %s\n", name, number);
}

static void put_requests(struct text *out, struct metrics *metrics)
{
    int n;
    const struct route *table = routes(&n);

    head(out, "rwpd_http_requests_total", "counter", "Requests by route, method and status.");
    for (int r = 0; r <= n; r++)
        for (size_t s = 0; s < ARRAY_LENGTH(statuses); s++) {
            unsigned long long count = atomic_load(&metrics->requests[r][s]);

            if (count)
                text_append(out,
                            "rwpd_http_requests_total{route=\"%s\",method=\"%s\",status=\"%d\"} "
                            "%llu\n",
                            r < n ? table[r].pattern : "other", r < n ? table[r].method : "any",
                            statuses[s], count);
        }
}

static void put_durations(struct text *out, struct metrics *metrics)
{
    static const char name[] = "rwpd_http_request_duration_seconds";
    unsigned long long sum = 0;

    head(out, name, "histogram", "From the first line to the end of the answer, without streams.");
    for (size_t b = 0; b < ARRAY_LENGTH(bounds); b++) {
        sum += atomic_load(&metrics->bucket[b]);
        text_append(out, "%s_bucket{le=\"%g\"} %llu\n", name, bounds[b], sum);
    }
    sum += atomic_load(&metrics->bucket[ARRAY_LENGTH(bounds)]);
    text_append(out, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum %.6f\n%s_count %llu\n", name, sum, name,
                (double)atomic_load(&metrics->microseconds) * 1e-6, name, sum);
}

static void put_db(struct text *out, const struct db *db)
{
    struct db_health health;

    db_health(db, &health);
    one(out, "rwpd_db_writing", "gauge", "1: the last commit went through.", health.writing);
    one(out, "rwpd_db_bytes", "gauge", "Size of the files.", (double)health.bytes);
    one(out, "rwpd_db_free_bytes", "gauge", "Left on the file system.", (double)health.free_bytes);
    one(out, "rwpd_db_queued_rows", "gauge", "Rows that wait.", (double)health.queued_rows);
    one(out, "rwpd_db_commits_total", "counter", "Commits.", (double)health.commits);
    one(out, "rwpd_db_rows_total", "counter", "Rows written.", (double)health.rows);
}

static void put_totals(struct text *out, const struct db_totals *totals)
{
    head(out, "rwpd_jobs", "gauge", "Jobs by state.");
    for (int s = 0; s < JOB_STATES; s++)
        text_append(out, "rwpd_jobs{state=\"%s\"} %lld\n", job_state_name((enum job_state)s),
                    (long long)totals->jobs[s]);
    one(out, "rwpd_losses", "gauge", "Recorded losses.", (double)totals->losses);
    one(out, "rwpd_checkpoints", "gauge", "Checkpoints.", (double)totals->checkpoints);
}

static void put_probes(struct text *out, const int64_t probes[PROBE_STATES])
{
    head(out, "rwpd_probes", "gauge", "Probes by state.");
    for (int s = 0; s < PROBE_STATES; s++)
        text_append(out, "rwpd_probes{state=\"%s\"} %lld\n", probe_state_name((enum probe_state)s),
                    (long long)probes[s]);
}

static void put_process(struct text *out, const struct api *api)
{
    struct rusage usage;
    long pages = 0, ignored;
    FILE *file = fopen("/proc/self/statm", "re");

    if (file && fscanf(file, "%ld %ld", &ignored, &pages) != 2)
        pages = 0;
    if (file)
        fclose(file);
    getrusage(RUSAGE_SELF, &usage);
    one(out, "process_resident_memory_bytes", "gauge", "Memory.",
        (double)pages * (double)sysconf(_SC_PAGESIZE));
    one(out, "process_cpu_seconds_total", "counter", "Processor time.",
        (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
            1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec));
    one(out, "process_start_time_seconds", "gauge", "Start, since 1970.",
        (double)api->started_ms * 1e-3);
}

int metrics_get(struct request *request, struct reply *reply, struct err *err)
{
    struct api *api = request->api;
    struct db_totals totals = {0};
    int64_t probes[PROBE_STATES];
    struct db_reader *reader;
    int rc = readers_take(api->readers, &reader, err);

    if (rc)
        return rc;
    rc = db_totals(reader, &totals, err);
    if (!rc)
        rc = db_probe_totals(reader, probes, err);
    readers_give(api->readers, reader);
    if (rc)
        return rc;
    reply->type = "text/plain; version=0.0.4; charset=utf-8";
    head(&reply->body, "rwpd_build_info", "gauge", "The version.");
    text_append(&reply->body, "rwpd_build_info{version=\"%s\"} 1\n", RWPD_VERSION);
    put_totals(&reply->body, &totals);
    put_probes(&reply->body, probes);
    put_db(&reply->body, api->db);
    put_requests(&reply->body, api->metrics);
    put_durations(&reply->body, api->metrics);
    one(&reply->body, "rwpd_event_streams", "gauge", "Event streams.", hub_streams(api->hub));
    one(&reply->body, "rwpd_workers", "gauge", "Training workers.", api->service->workers);
    put_process(&reply->body, api);
    metrics_put_devices(&reply->body, api->service);
    return 0;
}
