#include "http_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

int http_open(int port, int from)
{
    struct sockaddr_in address = {.sin_family = AF_INET}, own = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_port = htons((uint16_t)port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    own.sin_addr.s_addr = htonl(INADDR_LOOPBACK - 1 + (uint32_t)from);
    if (fd >= 0 && (bind(fd, (const struct sockaddr *)&own, sizeof own) != 0 ||
                    connect(fd, (const struct sockaddr *)&address, sizeof address) != 0)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

bool http_put(int fd, const char *text)
{
    size_t n = strlen(text);

    return send(fd, text, n, MSG_NOSIGNAL) == (ssize_t)n;
}

bool http_await(int fd, struct text *got, const char *wanted, double seconds)
{
    double until = clock_seconds() + seconds;
    size_t seen = 0, margin = wanted ? strlen(wanted) : 0;
    char block[65536];

    while (!wanted || !got->data || !strstr(got->data + seen, wanted)) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        double left = until - clock_seconds();
        ssize_t n;

        if (left <= 0 || poll(&ready, 1, (int)(left * 1000) + 1) <= 0)
            return false;
        n = recv(fd, block, sizeof block, 0);
        if (n <= 0)
            return !wanted;
        seen = got->length > margin ? got->length - margin : 0;
        text_append_bytes(got, block, (size_t)n);
    }
    return true;
}

long http_send(int port, const void *bytes, size_t n, bool ends, int milliseconds, char **out)
{
    struct text text = {0};
    char block[16384];
    int fd = http_open(port, 1);
    long length;

    *out = NULL;
    if (fd < 0)
        return -1;
    for (size_t sent = 0; sent < n;) {
        ssize_t part = send(fd, (const char *)bytes + sent, n - sent, MSG_NOSIGNAL);

        if (part <= 0)
            break;
        sent += (size_t)part;
    }
    if (ends)
        shutdown(fd, SHUT_WR);
    for (;;) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        ssize_t part = poll(&ready, 1, milliseconds) > 0 ? recv(fd, block, sizeof block, 0) : 0;

        if (part <= 0)
            break;
        text_append_bytes(&text, block, (size_t)part);
    }
    close(fd);
    length = (long)text.length;
    *out = text_take(&text);
    return length;
}

int http_ask(int port, const char *method, const char *target, const char *headers,
             const char *body, char **answer)
{
    struct text text = {0};
    int status = -1;

    text_append(&text, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s", method,
                target, headers);
    if (body)
        text_append(&text, "Content-Type: application/json\r\nContent-Length: %zu\r\n",
                    strlen(body));
    text_append(&text, "\r\n%s", body ? body : "");
    if (http_send(port, text.data, text.length, false, 60000, answer) > 12)
        status = atoi(*answer + 9);
    text_free(&text);
    return status;
}

char *http_body(char *answer)
{
    char *body = strstr(answer, "\r\n\r\n"), *in, *out;
    char *chunked = strcasestr(answer, "Transfer-Encoding: chunked");

    if (!body)
        return answer + strlen(answer);
    body += 4;
    if (!chunked || chunked > body)
        return body;
    in = out = body;
    for (;;) {
        char *end;
        size_t n = strtoul(in, &end, 16);

        if (end == in || n == 0 || strlen(end) < n + 2)
            break;
        memmove(out, end + 2, n);
        out += n;
        in = end + 2 + n + 2;
    }
    *out = '\0';
    return body;
}

void http_header(const char *answer, const char *name, char *out, size_t size)
{
    const char *end = strstr(answer, "\r\n\r\n"), *at = answer;
    size_t n = strlen(name);

    *out = '\0';
    while ((at = strstr(at, "\r\n")) && at < end) {
        at += 2;
        if (strncasecmp(at, name, n) == 0 && at[n] == ':') {
            at += n + 1;
            at += strspn(at, " ");
            snprintf(out, size, "%.*s", (int)strcspn(at, "\r"), at);
            return;
        }
    }
}
