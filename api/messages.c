/* What the runs of a job said in words: where they ran, which images could not be used. */
#include "jobs.h"
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

static int put_all(struct request *request, struct reply *reply, struct db_reader *reader,
                   struct err *err)
{
    return db_messages_each(reader, request->id, MOST, add, &reply->body, err);
}

int message_list(struct request *request, struct reply *reply, struct err *err)
{
    return job_list_reply(request, reply, "messages", put_all, err);
}
