/* Uploaded weights: taken whole into memory, checked, stored; listed; deleted. */
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "json_write.h"
#include "routes.h"
#include "safetensors_read.h"

static void put_upload(struct text *out, const struct db_upload *upload)
{
    json_open(out, '{');
    json_put_int(out, "id", upload->id);
    json_put_string(out, "name", upload->name);
    json_put_string(out, "sha256", upload->sha256);
    json_put_int(out, "bytes", upload->file_bytes);
    json_put_int(out, "tensors", upload->tensors);
    json_put_time(out, "created_at", upload->wall_ms);
    json_close(out, '}');
}

static void sum_up(const struct text *body, char out[65])
{
    struct sha256_ctx hash;
    uint8_t digest[SHA256_DIGEST_SIZE];

    sha256_init(&hash);
    sha256_update(&hash, body->length, (const uint8_t *)body->data);
    sha256_digest(&hash, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

/* False: the reply says what is wrong. */
static bool check_parameters(struct request *request, struct reply *reply,
                             const struct db_upload *upload)
{
    const struct query_value *name = &request->value[UPLOAD_NAME];
    const struct query_value *sha256 = &request->value[UPLOAD_SHA256];

    if (name->given && strlen(name->text) >= sizeof upload->name)
        reply_error(reply, "parameter", "name", "is longer than 200 bytes");
    if (sha256->given && strcasecmp(sha256->text, upload->sha256) != 0)
        reply_error(reply, "parameter", "sha256", "the body's is %s", upload->sha256);
    if (reply->n_errors)
        problem_set(reply, 422, "invalid", "the upload is not what its parameters say");
    return reply->n_errors == 0;
}

static int reply_with(struct request *request, struct reply *reply, struct err *err)
{
    struct db_reader *reader;
    struct db_upload upload;
    int rc = readers_take(request->api->readers, &reader, err);

    if (rc)
        return rc;
    rc = db_upload_get(reader, request->id, &upload, err);
    readers_give(request->api->readers, reader);
    if (rc)
        return rc;
    put_upload(&reply->body, &upload);
    text_append(&reply->body, "\n");
    return 0;
}

int upload_post(struct request *request, struct reply *reply, struct err *err)
{
    const struct api_service *service = request->api->service;
    const struct text *body = &request->body;
    struct db_upload upload = {.file_bytes = (int64_t)body->length};
    struct checkpoint tensors;
    bool existing = false;
    int rc;

    sum_up(body, upload.sha256);
    if (!check_parameters(request, reply, &upload))
        return 0;
    rc = safetensors_read(body->data ? body->data : "", body->length, &tensors, err);
    if (rc == ERR_INVALID || rc == ERR_UNSUPPORTED) {
        problem_set(reply, 422, "safetensors", "%s", err->message);
        return 0;
    }
    if (rc)
        return rc;
    snprintf(upload.name, sizeof upload.name, "%.200s", request->value[UPLOAD_NAME].text);
    upload.tensors = tensors.n_tensors;
    rc = service->add_upload(service->context, &upload, &tensors, &request->id, &existing, err);
    free(tensors.tensors);
    if (!rc)
        rc = reply_with(request, reply, err);
    reply->status = existing ? 200 : 201;
    if (!rc)
        reply_header(reply, "Location", "/v1/uploads/%lld", (long long)request->id);
    return rc;
}

int upload_get(struct request *request, struct reply *reply, struct err *err)
{
    return reply_with(request, reply, err);
}

int upload_delete(struct request *request, struct reply *reply, struct err *err)
{
    const struct api_service *service = request->api->service;

    reply->status = 204;
    reply->type = NULL; /* there is no body */
    return service->delete_upload(service->context, request->id, err);
}

static int add_upload(void *context, const struct db_upload *upload)
{
    put_upload(context, upload);
    return 0;
}

int upload_list(struct request *request, struct reply *reply, struct err *err)
{
    struct db_reader *reader;
    int rc = readers_take(request->api->readers, &reader, err);

    if (rc)
        return rc;
    json_open(&reply->body, '{');
    json_key(&reply->body, "uploads");
    json_open(&reply->body, '[');
    rc = db_uploads_each(reader, add_upload, &reply->body, err);
    readers_give(request->api->readers, reader);
    json_close(&reply->body, ']');
    json_close(&reply->body, '}');
    text_append(&reply->body, "\n");
    return rc;
}
