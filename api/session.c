/* Sessions without a memory: what the cookie says is signed with the token. */
#include "session.h"

#include <nettle/hmac.h>
#include <nettle/memops.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "routes.h"
#include "uri.h"

#define COOKIE          "rwpd_session="
#define SESSION_SECONDS (7 * 24 * 3600)
#define MAC_HEX         (2 * SHA256_DIGEST_SIZE)

static const char page[] =
    "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>rwpd: log in</title>\n"
    "<h1>rwpd</h1><form method=\"post\" action=\"/login\"><label>Token <input type=\"password\" "
    "name=\"token\" autocomplete=\"current-password\" autofocus required></label> "
    "<button>Log in</button></form></html>\n";

bool session_same(const char *given, const char *token)
{
    uint8_t mac[2][SHA256_DIGEST_SIZE];
    const char *text[2] = {given, token};

    for (int i = 0; i < 2; i++) {
        struct sha256_ctx hash;

        sha256_init(&hash);
        sha256_update(&hash, strlen(text[i]), (const uint8_t *)text[i]);
        sha256_digest(&hash, SHA256_DIGEST_SIZE, mac[i]);
    }
    return memeql_sec(mac[0], mac[1], SHA256_DIGEST_SIZE);
}

static void session_mac(const char *token, long long ends, char out[MAC_HEX + 1])
{
    uint8_t mac[SHA256_DIGEST_SIZE];
    struct hmac_sha256_ctx hmac;
    char text[48];
    int n = snprintf(text, sizeof text, "rwpd session %lld", ends);

    hmac_sha256_set_key(&hmac, strlen(token), (const uint8_t *)token);
    hmac_sha256_update(&hmac, (size_t)n, (const uint8_t *)text);
    hmac_sha256_digest(&hmac, sizeof mac, mac);
    for (size_t i = 0; i < sizeof mac; i++)
        snprintf(out + 2 * i, 3, "%02x", mac[i]);
}

bool session_check(const char *token, const char *cookies)
{
    const char *at = cookies;

    while ((at = strstr(at, COOKIE))) {
        char mac[MAC_HEX + 1], *end;
        long long ends;
        bool starts = at == cookies || at[-1] == ' ' || at[-1] == ';';

        at += strlen(COOKIE);
        ends = strtoll(at, &end, 10);
        if (!starts || *end != '.' || strspn(end + 1, "0123456789abcdef") != MAC_HEX)
            continue;
        session_mac(token, ends, mac);
        if (memeql_sec(mac, end + 1, MAC_HEX))
            return ends > clock_wall_ms() / 1000;
    }
    return false;
}

bool session_wants_login(const struct request *request)
{
    return strcmp(request->method, "GET") == 0 && strcmp(request->path, "/") == 0 &&
           request->accept && strstr(request->accept, "text/html");
}

void session_login_page(struct reply *reply, int status)
{
    reply_clear(reply);
    reply->status = status;
    reply->type = "text/html; charset=utf-8";
    reply->bytes = page;
    reply->n_bytes = sizeof page - 1;
}

int login_post(struct request *request, struct reply *reply, struct err *err)
{
    char *at = request->body.data, *name, *value;
    const char *token = NULL;
    char mac[MAC_HEX + 1];
    long long ends = clock_wall_ms() / 1000 + SESSION_SECONDS;
    bool good = true;

    (void)err;
    while (at && uri_next(&at, &name, &value, &good) && good)
        if (strcmp(name, "token") == 0)
            token = value;
    if (!good || (request->api->token && (!token || !session_same(token, request->api->token)))) {
        session_login_page(reply, 401);
        reply_header(reply, "WWW-Authenticate", "Bearer realm=\"rwpd\"");
        return 0;
    }
    reply->status = 303;
    reply_header(reply, "Location", "/");
    if (request->api->token) {
        session_mac(request->api->token, ends, mac);
        reply_header(reply, "Set-Cookie",
                     COOKIE "%lld.%s; Path=/; Max-Age=%d; HttpOnly; SameSite=Lax", ends, mac,
                     SESSION_SECONDS);
    }
    return 0;
}
