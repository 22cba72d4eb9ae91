#include "http_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/text.h"

static int open_socket(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

long http_send(int port, const void *bytes, size_t n, int milliseconds, char **out)
{
    struct text text = {0};
    char block[16384];
    int fd = open_socket(port);
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
    if (http_send(port, text.data, text.length, 5000, answer) > 12)
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
