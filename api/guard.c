/* Who may ask: before anything else is looked at.
 *
 * Without a token the daemon listens on the loopback only and serves only requests that name the
 * loopback as their host; a page that a browser got from elsewhere (DNS rebinding) does not. With
 * a token every route but /livez and the login needs it, as a bearer token or as the cookie that
 * the login gives. Browsers' requests from other sites may not change anything, and may not read
 * anything but by following a link. */
#include <arpa/inet.h>
#include <nettle/memops.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "http.h"
#include "session.h"

/* The length of a host without its port. */
static size_t host_length(const char *host)
{
    const char *close = *host == '[' ? strchr(host, ']') : NULL;
    size_t n = close ? (size_t)(close - host) + 1 : strcspn(host, ":");
    const char *port = host + n;

    if (*port == ':')
        port += 1 + strspn(port + 1, "0123456789");
    return *port ? 0 : n;
}

static bool host_is(const char *host, size_t n, const char *name)
{
    return n == strlen(name) && strncasecmp(host, name, n) == 0;
}

static bool host_allowed(const struct api *api, const char *host)
{
    size_t n = host_length(host);

    return host_is(host, n, "localhost") || host_is(host, n, "127.0.0.1") ||
           host_is(host, n, "[::1]") || host_is(host, n, api->address);
}

static bool check_host(struct request *request, struct reply *reply)
{
    const struct api *api = request->api;

    if (api->token || !request->host || host_allowed(api, request->host))
        return true;
    problem_set(reply, 421, "host",
                "this server answers as localhost only; for other names it "
                "needs a token");
    return false;
}

/* Same scheme is implied: the server speaks http, or https through a proxy that keeps the host. */
static bool same_origin(const struct request *request)
{
    const char *host = request->origin ? strstr(request->origin, "://") : NULL;

    return host && request->host && strcasecmp(host + 3, request->host) == 0;
}

static bool check_site(struct request *request, struct reply *reply)
{
    bool changes = strcmp(request->method, "POST") == 0 || strcmp(request->method, "DELETE") == 0;
    bool foreign = request->site && strcasecmp(request->site, "same-origin") != 0 &&
                   strcasecmp(request->site, "none") != 0;

    if (foreign && !changes && request->mode && strcasecmp(request->mode, "navigate") == 0)
        foreign = false;
    if (request->origin && !same_origin(request))
        foreign = true;
    if (!foreign)
        return true;
    problem_set(reply, 403, "cross_site", "requests from other sites' pages are not accepted");
    return false;
}

static bool has_token(const struct request *request)
{
    const char *token = request->api->token, *given = request->authorization;

    if (given && strncasecmp(given, "Bearer ", 7) == 0) {
        given += 7;
        given += strspn(given, " ");
        return session_same(given, token);
    }
    return request->cookie && session_check(token, request->cookie);
}

bool guard_check(struct request *request, struct reply *reply)
{
    if (!check_host(request, reply) || !check_site(request, reply))
        return false;
    if (!request->api->token || (request->route && request->route->flags & ROUTE_OPEN) ||
        has_token(request))
        return true;
    if (session_wants_login(request)) {
        session_login_page(reply, 401);
    } else {
        problem_set(reply, 401, "unauthorized", "a bearer token is needed");
    }
    reply_header(reply, "WWW-Authenticate", "Bearer realm=\"rwpd\"");
    return false;
}
