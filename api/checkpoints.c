/* Checkpoints: the list, and one as a safetensors file that is read from the database in blocks;
 * vectors of probes, which are kept like checkpoints, likewise. A file's SHA-256 is worked out on a
 * worker before the first byte is sent, and kept. */
#include "checkpoints.h"

#include <nettle/base64.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/probe.h"
#include "jobs.h"
#include "json_write.h"
#include "range.h"
#include "routes.h"
#include "safetensors.h"

#define PLACES      256
#define BLOCK_BYTES 262144
#define ATTEMPTS    50 /* to plan the latest one before it is replaced */

struct digests {
    pthread_mutex_t lock;
    int64_t key[PLACES]; /* checkpoint · 2 + full, plus 1 */
    uint8_t digest[PLACES][SHA256_DIGEST_SIZE];
};

int digests_open(struct digests **out, struct err *err)
{
    struct digests *digests = calloc(1, sizeof *digests);

    if (!digests)
        return err_no_memory(err);
    pthread_mutex_init(&digests->lock, NULL);
    *out = digests;
    return 0;
}

void digests_close(struct digests *digests)
{
    if (digests)
        pthread_mutex_destroy(&digests->lock);
    free(digests);
}

static bool digest_get(struct digests *digests, int64_t checkpoint, bool full, uint8_t *out)
{
    int64_t key = checkpoint * 2 + full + 1;
    bool known;

    pthread_mutex_lock(&digests->lock);
    known = digests->key[key % PLACES] == key;
    if (known)
        memcpy(out, digests->digest[key % PLACES], SHA256_DIGEST_SIZE);
    pthread_mutex_unlock(&digests->lock);
    return known;
}

static void digest_put(struct digests *digests, int64_t checkpoint, bool full, const uint8_t *in)
{
    int64_t key = checkpoint * 2 + full + 1;

    pthread_mutex_lock(&digests->lock);
    digests->key[key % PLACES] = key;
    memcpy(digests->digest[key % PLACES], in, SHA256_DIGEST_SIZE);
    pthread_mutex_unlock(&digests->lock);
}

/* A file that is being sent. */
struct file {
    struct api *api;
    int64_t checkpoint, first; /* first: where the range begins */
    struct safetensors plan;
    char name[96], url[96]; /* for whoever saves it; where it is always found */
};

/* Some bytes of the file from `at` on; less than 0: an error. */
static ssize_t file_bytes(const struct file *file, struct db_reader *reader, int64_t at, char *out,
                          size_t size, struct err *err)
{
    const struct safetensors *plan = &file->plan;
    size_t n;
    int low = 0, high = plan->n_parts - 1, rc;

    if (at < (int64_t)plan->header.length) {
        n = plan->header.length - (size_t)at;
        n = n < size ? n : size;
        memcpy(out, plan->header.data + at, n);
        return (ssize_t)n;
    }
    while (low < high) {
        int middle = (low + high) / 2;

        if (plan->part[middle].begin + plan->part[middle].bytes > at)
            high = middle;
        else
            low = middle + 1;
    }
    n = (size_t)(plan->part[low].begin + plan->part[low].bytes - at);
    n = n < size ? n : size;
    rc = db_checkpoint_read(reader, file->checkpoint, plan->part[low].number,
                            (size_t)(at - plan->part[low].begin), n, out, err);
    return rc ? rc : (ssize_t)n;
}

static ssize_t file_read(void *context, uint64_t position, char *out, size_t size)
{
    struct file *file = context;
    struct db_reader *reader;
    ssize_t n;

    if (readers_take(file->api->readers, &reader, NULL))
        return STREAM_FAIL;
    n = file_bytes(file, reader, file->first + (int64_t)position, out, size, NULL);
    readers_give(file->api->readers, reader);
    return n < 0 ? STREAM_FAIL : n;
}

static void file_close(void *context)
{
    struct file *file = context;

    safetensors_free(&file->plan);
    free(file);
}

static int file_digest(const struct file *file, struct db_reader *reader, uint8_t *out,
                       struct err *err)
{
    struct sha256_ctx hash;
    char *block = malloc(BLOCK_BYTES);
    ssize_t n = 0;

    if (!block)
        return err_no_memory(err);
    sha256_init(&hash);
    for (int64_t at = 0; at < file->plan.bytes; at += n) {
        n = file_bytes(file, reader, at, block, BLOCK_BYTES, err);
        if (n < 0)
            break;
        sha256_update(&hash, (size_t)n, (const uint8_t *)block);
    }
    sha256_digest(&hash, SHA256_DIGEST_SIZE, out);
    free(block);
    return n < 0 ? (int)n : 0;
}

static bool is_latest(const struct request *request)
{
    return strcmp(request->item, "latest") == 0;
}

static int find(struct request *request, struct db_reader *reader, struct db_checkpoint *out,
                struct err *err)
{
    struct db_job job;
    int rc = db_job_get(reader, request->id, &job, err);

    if (rc)
        return rc;
    db_job_free(&job);
    if (is_latest(request))
        return db_checkpoint_newest(reader, request->id, out, err);
    return db_checkpoint_get(reader, request->id, strtoull(request->item, NULL, 10), out, err);
}

static int make_file(struct file *file, struct db_reader *reader, int64_t job,
                     const struct db_checkpoint *checkpoint, bool full, uint8_t *digest,
                     struct err *err)
{
    struct tensor *tensors;
    int n, rc = db_checkpoint_tensors(reader, checkpoint->id, &tensors, &n, err);

    if (rc)
        return rc;
    file->checkpoint = checkpoint->id;
    rc = safetensors_plan(&file->plan, tensors, n, full, job, checkpoint->update, err);
    free(tensors);
    if (rc || digest_get(file->api->digests, checkpoint->id, full, digest))
        return rc;
    rc = file_digest(file, reader, digest, err);
    if (rc == 0)
        digest_put(file->api->digests, checkpoint->id, full, digest);
    return rc;
}

static void hex_of(const uint8_t *digest, int n, char *out)
{
    for (int i = 0; i < n; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

/* Whether a condition's list has the tag; a weak one (W/"…") counts where `weak` says so. */
static bool names_tag(const char *header, const char *etag, bool weak)
{
    if (strcmp(header, "*") == 0)
        return true;
    for (const char *at = header; (at = strstr(at, etag)); at++)
        if (weak || at < header + 2 || at[-1] != '/' || at[-2] != 'W')
            return true;
    return false;
}

/* Conditions and range; true when the file (or a part of it) is to be sent. */
static bool conditions(struct request *request, struct reply *reply, struct file *file,
                       const char *etag)
{
    int64_t first = 0, n = file->plan.bytes;
    enum range_kind kind = range_parse(request->range, file->plan.bytes, &first, &n);

    if (request->if_match && !names_tag(request->if_match, etag, false)) {
        problem_set(reply, 412, "precondition", "the file is %s", etag);
        return false;
    }
    if (request->if_none_match && names_tag(request->if_none_match, etag, true)) {
        reply->status = 304;
        return false;
    }
    if (request->if_range && strcmp(request->if_range, etag) != 0)
        kind = RANGE_NONE;
    if (kind == RANGE_UNSATISFIABLE) {
        problem_set(reply, 416, "range", "the file has %lld bytes", (long long)file->plan.bytes);
        reply_header(reply, "Content-Range", "bytes */%lld", (long long)file->plan.bytes);
        return false;
    }
    reply->stream = (struct stream){file_read, file_close, file, file->plan.bytes};
    if (kind == RANGE_PART) {
        file->first = first;
        reply->status = 206;
        reply->stream.length = n;
        reply_header(reply, "Content-Range", "bytes %lld-%lld/%lld", (long long)first,
                     (long long)(first + n - 1), (long long)file->plan.bytes);
    }
    return true;
}

static bool answer_file(struct request *request, struct reply *reply, struct file *file,
                        const uint8_t *digest)
{
    char etag[40], base64[BASE64_ENCODE_RAW_LENGTH(SHA256_DIGEST_SIZE) + 1];
    bool sends;

    etag[0] = '"';
    hex_of(digest, 16, etag + 1);
    strcpy(etag + 33, "\"");
    base64_encode_raw(base64, SHA256_DIGEST_SIZE, digest);
    base64[BASE64_ENCODE_RAW_LENGTH(SHA256_DIGEST_SIZE)] = '\0';
    sends = conditions(request, reply, file, etag);
    reply_header(reply, "ETag", "%s", etag);
    if (sends) {
        reply_header(reply, "Repr-Digest", "sha-256=:%s:", base64);
        reply_header(reply, "Accept-Ranges", "bytes");
        reply_header(reply, "Content-Disposition", "attachment; filename=\"%s.safetensors\"",
                     file->name);
        reply_header(reply, "Content-Location", "%s", file->url);
    }
    return sends;
}

/* Looks, and plans the file. The latest one may be replaced between the two: then by a later one.
 */
static int find_file(struct request *request, struct file *file, struct db_reader *reader,
                     struct db_checkpoint *checkpoint, uint8_t *digest, struct err *err)
{
    bool full = request->value[CHECKPOINT_STATE].number == 1;
    int rc = ERR_NOT_FOUND;

    for (int i = 0; i < ATTEMPTS && rc == ERR_NOT_FOUND; i++) {
        safetensors_free(&file->plan);
        rc = find(request, reader, checkpoint, err);
        if (rc)
            return rc;
        rc = make_file(file, reader, request->id, checkpoint, full, digest, err);
        if (!is_latest(request))
            break;
    }
    snprintf(file->name, sizeof file->name, "job-%lld-update-%llu%s", (long long)request->id,
             (unsigned long long)checkpoint->update, full ? "-full" : "");
    snprintf(file->url, sizeof file->url, "/v1/jobs/%lld/checkpoints/%llu%s",
             (long long)request->id, (unsigned long long)checkpoint->update,
             full ? "?state=full" : "");
    return rc;
}

/* All tensors of a probe's vectors are wanted, whatever their role. */
static int find_vectors(struct request *request, struct file *file, struct db_reader *reader,
                        uint8_t *digest, struct err *err)
{
    struct db_checkpoint vectors;
    struct db_probe probe;
    int rc = db_probe_get(reader, request->id, request->number, &probe, err);

    if (rc)
        return rc;
    if (!probe.vectors)
        rc = err_set(err, ERR_NOT_FOUND, "the probe has no vectors");
    if (!rc)
        rc = db_checkpoint_get(reader, DB_VECTORS_JOB, (uint64_t)probe.id, &vectors, err);
    if (!rc) {
        vectors.update = probe.update; /* for the file's header */
        rc = make_file(file, reader, request->id, &vectors, true, digest, err);
    }
    snprintf(file->name, sizeof file->name, "job-%lld-probe-%lld", (long long)request->id,
             (long long)request->number);
    snprintf(file->url, sizeof file->url, "/v1/jobs/%lld/probes/%lld/vectors",
             (long long)request->id, (long long)request->number);
    db_probe_free(&probe);
    return rc;
}

static int send_file(struct request *request, struct reply *reply, bool vectors, struct err *err)
{
    struct db_checkpoint checkpoint;
    struct db_reader *reader = NULL;
    uint8_t digest[SHA256_DIGEST_SIZE];
    struct file *file = calloc(1, sizeof *file);
    bool sends = false;
    int rc;

    if (!file)
        return err_no_memory(err);
    file->api = request->api;
    rc = readers_take(request->api->readers, &reader, err);
    if (rc == 0)
        rc = vectors ? find_vectors(request, file, reader, digest, err)
                     : find_file(request, file, reader, &checkpoint, digest, err);
    readers_give(request->api->readers, reader);
    if (rc == 0)
        sends = answer_file(request, reply, file, digest);
    if (!sends)
        file_close(file);
    return rc;
}

int checkpoint_get(struct request *request, struct reply *reply, struct err *err)
{
    return send_file(request, reply, false, err);
}

int probe_vectors_get(struct request *request, struct reply *reply, struct err *err)
{
    return send_file(request, reply, true, err);
}

struct list {
    struct request *request;
    struct text *out;
};

static int add(void *context, const struct db_checkpoint *checkpoint)
{
    struct list *list = context;
    uint8_t digest[SHA256_DIGEST_SIZE];
    char hex[2 * SHA256_DIGEST_SIZE + 1];
    bool known = digest_get(list->request->api->digests, checkpoint->id, false, digest);

    if (known)
        hex_of(digest, SHA256_DIGEST_SIZE, hex);
    json_open(list->out, '{');
    json_put_int(list->out, "update", (int64_t)checkpoint->update);
    json_put_int(list->out, "bytes", checkpoint->bytes);
    json_put_bool(list->out, "final", checkpoint->final);
    json_put_time(list->out, "created_at", checkpoint->wall_ms);
    json_put_string(list->out, "sha256", known ? hex : NULL);
    json_key(list->out, "url");
    text_append(list->out, "\"/v1/jobs/%lld/checkpoints/%llu\"", (long long)list->request->id,
                (unsigned long long)checkpoint->update);
    json_close(list->out, '}');
    return 0;
}

static int put_all(struct request *request, struct reply *reply, struct db_reader *reader,
                   struct err *err)
{
    struct list list = {request, &reply->body};

    return db_checkpoints_each(reader, request->id, add, &list, err);
}

int checkpoint_list(struct request *request, struct reply *reply, struct err *err)
{
    return job_list_reply(request, reply, "checkpoints", put_all, err);
}
