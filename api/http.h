/* What a handler sees of HTTP, and the room's own state. Only server.c, connection.c, respond.c
 * and hub.c know libmicrohttpd. */
#ifndef API_HTTP_H
#define API_HTTP_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "api/api.h"
#include "base/text.h"

#define QUERY_MAX        6 /* parameters of a route */
#define HEADER_MAX       12
#define FIELD_ERRORS_MAX 16

struct MHD_Connection;
struct MHD_Daemon;
struct readers;
struct hub;
struct metrics;
struct work;
struct facts_cache;
struct digests;
struct watch;
struct watched;

struct api {
    struct api_options options; /* strings and assets are copies or static */
    char *address, *token;
    const struct api_service *service;
    struct db *db;
    struct MHD_Daemon *daemon;
    int port;
    bool loopback;
    struct readers *readers;
    struct hub *hub;
    struct metrics *metrics;
    struct work *work;
    struct facts_cache *facts;
    struct digests *digests;
    atomic_bool uploading; /* a file is being taken */
    atomic_bool stopping;  /* no new connections, and answers end those that there are */
    struct watch *watch;
    char *openapi; /* the description, made once */
    int64_t started_ms;
};

enum query_type { QUERY_INT, QUERY_CHOICE, QUERY_TEXT };

/* A parameter behind the question mark. */
struct query_parameter {
    const char *name, *doc;
    enum query_type type;
    int64_t min, max, value; /* INT: range, and what it is when not given */
    const char *const *choices;
};

struct query_value {
    bool given;
    int64_t number; /* INT: the value; CHOICE: the index, -1 when not given */
    char text[256]; /* TEXT */
};

struct field_error {
    char where[16]; /* "pointer", "parameter", "header" */
    char name[160];
    char detail[256];
};

struct answer {
    int status;
    const char *schema; /* name in the description's components; NULL: no JSON body */
    const char *doc;
};

struct request;
struct reply;

enum route_flag {
    ROUTE_OPEN = 1, /* needs no token */
    ROUTE_WORK = 2, /* may wait for a disk: runs on a worker, not on a thread of the server */
    ROUTE_JSON_BODY = 4,
    ROUTE_FORM_BODY = 8,
    ROUTE_STREAM = 16,    /* an event stream */
    ROUTE_FILE_BODY = 32, /* one at a time, because it is held in memory */
};

struct route {
    const char *method, *pattern, *operation, *summary, *tag;
    int (*handle)(struct request *request, struct reply *reply, struct err *err);
    unsigned flags;
    const struct query_parameter *query;
    int n_query;
    const struct answer *answers; /* beyond the problems */
    int n_answers;
    const char *type, *other_type; /* media types of the good answer */
    const char *body;              /* schema of a JSON body; NULL: a job's */
};

struct header {
    char name[32];
    char *value;
};

/* A body that is made while it is sent. `read` gives at most `size` bytes of the body from
 * `position` on; STREAM_END, STREAM_FAIL, or 0 after it has suspended the connection. */
#define STREAM_END  (-1)
#define STREAM_FAIL (-2)

struct stream {
    ssize_t (*read)(void *context, uint64_t position, char *out, size_t size);
    void (*close)(void *context);
    void *context;
    int64_t length; /* -1: not known before */
};

struct reply {
    int status;
    const char *type; /* static */
    struct text body;
    const void *bytes; /* static body in place of `body` */
    size_t n_bytes;
    struct stream stream; /* in place of both when it has a `read` */
    struct header header[HEADER_MAX];
    int n_headers;
    struct field_error errors[FIELD_ERRORS_MAX];
    int n_errors, more_errors;
    struct spec_problems *problems; /* of a body */
};

/* What came. Headers are looked at once, when they are complete. */
struct request {
    struct api *api;
    struct MHD_Connection *connection;
    struct watched *watched;
    char method[12];
    bool head;
    char *target; /* as it came, taken apart in place; owned */
    char *path;   /* decoded, within target */
    char *query;  /* as it came */
    const struct route *route;
    int64_t id;     /* of the path, {id} */
    char item[24];  /* {update} */
    int64_t number; /* {number} */
    char table[32]; /* {table} */
    struct query_value value[QUERY_MAX];
    char *accept, *range, *if_range, *if_none_match, *if_match, *idempotency_key, *last_event_id;
    char *host, *origin, *site, *mode, *authorization, *cookie, *content_type;
    struct text body;
    bool admitted; /* by the guard */
    bool uploads;  /* its body is the file that is being taken */
    size_t discarded;
    bool decided; /* the reply is there, the rest of the body is read and dropped */
    int refused;  /* the status of a refusal that waits for the end of the body */
    double began;
    int status;    /* of the answer, for the metrics */
    bool may_wait; /* on a worker: may read a lot, may wait for a disk */
    bool defer;    /* set by a handler that wants to be called again where it may wait */
    int phase;
    struct reply *reply;
};

/* reply.c */
void reply_header(struct reply *reply, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void reply_clear(struct reply *reply);
void reply_free(struct reply *reply);
void reply_error(struct reply *reply, const char *where, const char *name, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* problem.c: the reply becomes application/problem+json. */
void problem_set(struct reply *reply, int status, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void problem_of_err(struct reply *reply, const struct err *err);
const char *problem_title(int status);

/* guard.c: false when it was refused and the reply says why. */
bool guard_check(struct request *request, struct reply *reply);

/* route.c */
const struct route *routes(int *n);
/* NULL when the path is no route's; *allow gets its methods, "" for an unknown path. */
const struct route *route_find(struct request *request, char allow[64]);
/* What stands in the pattern's places goes into the request. */
bool route_match(const char *pattern, const char *path, struct request *request);

/* query.c: false when a parameter is wrong. */
bool query_parse(struct request *request, struct reply *reply);

/* readers.c */
int readers_open(struct readers **out, struct db *db, struct err *err);
void readers_close(struct readers *readers);
int readers_take(struct readers *readers, struct db_reader **out, struct err *err);
void readers_give(struct readers *readers, struct db_reader *reader);

/* work.c */
int work_open(struct work **out, int threads, struct err *err);
/* Waits for what is there and lets nothing more in. */
void work_stop(struct work *work);
/* After the last thread that adds to it has ended. */
void work_close(struct work *work);
/* Runs `run` on a worker; ERR_LIMIT when too much waits, or it has stopped. */
int work_add(struct work *work, void (*run)(void *), void *context, struct err *err);

/* assets.c */
bool asset_reply(struct request *request, struct reply *reply);

/* respond.c */
int respond(struct request *request);

#endif
