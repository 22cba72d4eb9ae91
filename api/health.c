/* Whether we live and whether we record; the index. */
#include "base/clock.h"
#include "json_write.h"
#include "routes.h"

int livez_get(struct request *request, struct reply *reply, struct err *err)
{
    (void)request;
    (void)err;
    text_append(&reply->body, "{\"status\":\"ok\"}\n");
    return 0;
}

int readyz_get(struct request *request, struct reply *reply, struct err *err)
{
    struct db_health health;

    (void)err;
    db_health(request->api->db, &health);
    if (!health.writing) {
        char since[CLOCK_RFC3339_BYTES];

        clock_rfc3339(health.since_ms, since);
        problem_set(reply, 503, "not_writing", "nothing reaches the disk since %s: %s", since,
                    health.problem);
        return 0;
    }
    text_append(&reply->body, "{\"status\":\"ok\"}\n");
    return 0;
}

int index_get(struct request *request, struct reply *reply, struct err *err)
{
    int n;
    const struct route *table = routes(&n);
    struct text *out = &reply->body;

    (void)request;
    (void)err;
    json_open(out, '{');
    json_put_string(out, "name", "rwpd");
    json_put_string(out, "version", RWPD_VERSION);
    json_key(out, "routes");
    json_open(out, '[');
    for (int i = 0; i < n; i++) {
        json_open(out, '{');
        json_put_string(out, "method", table[i].method);
        json_put_string(out, "path", table[i].pattern);
        json_put_string(out, "summary", table[i].summary);
        json_close(out, '}');
    }
    json_close(out, ']');
    json_close(out, '}');
    text_append(out, "\n");
    return 0;
}
