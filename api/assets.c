/* The dashboard's files. */
#include <stdio.h>
#include <string.h>

#include "http.h"

/* FNV-1a: tells versions of a file apart, nothing more. */
static uint64_t fingerprint(const struct api_asset *asset)
{
    const unsigned char *at = asset->bytes;
    uint64_t hash = UINT64_C(14695981039346656037);

    for (size_t i = 0; i < asset->n; i++)
        hash = (hash ^ at[i]) * UINT64_C(1099511628211);
    return hash;
}

bool asset_reply(struct request *request, struct reply *reply)
{
    const struct api_options *options = &request->api->options;
    const struct api_asset *asset = NULL;
    char etag[24];

    for (int i = 0; i < options->n_assets && !asset; i++)
        if (strcmp(options->assets[i].path, request->path) == 0)
            asset = &options->assets[i];
    if (!asset)
        return false;
    if (strcmp(request->method, "GET") != 0 && !request->head) {
        bool asks = strcmp(request->method, "OPTIONS") == 0;

        if (!asks)
            problem_set(reply, 405, "method", "this path takes GET, HEAD, OPTIONS");
        else
            reply->status = 204;
        reply_header(reply, "Allow", "GET, HEAD, OPTIONS");
        return true;
    }
    snprintf(etag, sizeof etag, "\"%016llx\"", (unsigned long long)fingerprint(asset));
    reply_header(reply, "ETag", "%s", etag);
    reply_header(reply, "Cache-Control", "no-cache");
    reply->status = 200;
    if (request->if_none_match && strstr(request->if_none_match, etag)) {
        reply->status = 304;
        return true;
    }
    reply->type = asset->type;
    reply->bytes = asset->bytes;
    reply->n_bytes = asset->n;
    return true;
}
