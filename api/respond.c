/* A reply becomes libmicrohttpd's response. */
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

#include "http.h"

#define BLOCK_BYTES 65536

static ssize_t stream_read(void *context, uint64_t position, char *out, size_t size)
{
    struct stream *stream = context;
    ssize_t n = stream->read(stream->context, position, out, size);

    if (n == STREAM_END)
        return MHD_CONTENT_READER_END_OF_STREAM;
    return n == STREAM_FAIL ? MHD_CONTENT_READER_END_WITH_ERROR : n;
}

static void stream_free(void *context)
{
    struct stream *stream = context;

    if (stream->close)
        stream->close(stream->context);
    free(stream);
}

static struct MHD_Response *make_stream(struct reply *reply)
{
    struct stream *stream = malloc(sizeof *stream);
    uint64_t length = reply->stream.length < 0 ? MHD_SIZE_UNKNOWN : (uint64_t)reply->stream.length;
    struct MHD_Response *response;

    if (!stream)
        return NULL;
    *stream = reply->stream;
    response =
        MHD_create_response_from_callback(length, BLOCK_BYTES, stream_read, stream, stream_free);
    if (response)
        reply->stream = (struct stream){0};
    else
        free(stream);
    return response;
}

static struct MHD_Response *make(struct reply *reply)
{
    struct MHD_Response *response;
    size_t n = reply->body.length;

    if (reply->stream.read)
        return make_stream(reply);
    if (reply->bytes) {
        union {
            const void *read_only;
            void *any;
        } bytes = {.read_only = reply->bytes};

        return MHD_create_response_from_buffer(reply->n_bytes, bytes.any, MHD_RESPMEM_PERSISTENT);
    }
    if (reply->body.failed)
        return NULL;
    response = MHD_create_response_from_buffer(n, n ? reply->body.data : NULL,
                                               n ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    if (response)
        reply->body = (struct text){0};
    return response;
}

static bool has(const struct reply *reply, const char *name)
{
    for (int i = 0; i < reply->n_headers; i++)
        if (strcmp(reply->header[i].name, name) == 0)
            return true;
    return false;
}

static void add_headers(struct MHD_Response *response, const struct reply *reply, bool last)
{
    for (int i = 0; i < reply->n_headers; i++)
        MHD_add_response_header(response, reply->header[i].name, reply->header[i].value);
    if (reply->type)
        MHD_add_response_header(response, "Content-Type", reply->type);
    if (last && !has(reply, "Connection"))
        MHD_add_response_header(response, "Connection", "close");
    if (!has(reply, "Cache-Control"))
        MHD_add_response_header(response, "Cache-Control", "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    /* Not "no-referrer": with that a browser sends the login form with "Origin: null". */
    MHD_add_response_header(response, "Referrer-Policy", "same-origin");
    MHD_add_response_header(response, "Cross-Origin-Resource-Policy", "same-origin");
    MHD_add_response_header(response, "Content-Security-Policy",
                            "default-src 'none'; script-src 'self'; style-src 'self'; "
                            "img-src 'self' data:; font-src 'self'; connect-src 'self'; "
                            "base-uri 'none'; form-action 'self'; frame-ancestors 'none'");
}

int respond(struct request *request)
{
    struct reply *reply = request->reply;
    struct MHD_Response *response = make(reply);
    int queued;

    if (!response)
        return MHD_NO;
    add_headers(response, reply, atomic_load(&request->api->stopping));
    request->status = reply->status;
    queued = MHD_queue_response(request->connection, (unsigned)reply->status, response);
    MHD_destroy_response(response);
    return queued;
}
