/* What the runs of a job said in words: where they ran, which images could not be used. */
#include "json_write.h"
#include "routes.h"

#define MOST 50

static int add(void *context, const struct db_event *event)
{
    struct text *out = context;

    json_open(out, '{');
    json_put_time(out, "at", event->wall_ms);
    json_put_string(out, "text", event->text ? event->text : "");
    json_close(out, '}');
    return 0;
}

int message_list(struct request *request, struct reply *reply, struct err *err)
{
    struct db_reader *reader;
    struct db_job job;
    int rc = readers_take(request->api->readers, &reader, err);

    if (rc)
        return rc;
    rc = db_job_get(reader, request->id, &job, err);
    if (rc == 0) {
        db_job_free(&job);
        json_open(&reply->body, '{');
        json_key(&reply->body, "messages");
        json_open(&reply->body, '[');
        rc = db_messages_each(reader, request->id, MOST, add, &reply->body, err);
        json_close(&reply->body, ']');
        json_close(&reply->body, '}');
        text_append(&reply->body, "\n");
    }
    readers_give(request->api->readers, reader);
    return rc;
}
