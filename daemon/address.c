#include "address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int refuse(const char *source, const char *text, struct err *err)
{
    return err_set(
        err, ERR_INVALID,
        "%s: '%s' is not ADDRESS:PORT with a numeric address and a port from 0 to 65535, "
        "such as 127.0.0.1:8470 or [::1]:8470",
        source, text);
}

static bool is_numeric(const char *host, bool bracketed)
{
    unsigned char raw[sizeof(struct in6_addr)];

    return inet_pton(bracketed ? AF_INET6 : AF_INET, host, raw) == 1;
}

static bool read_port(const char *text, int *port)
{
    size_t digits = strspn(text, "0123456789");

    if (digits == 0 || digits > 5 || text[digits])
        return false;
    *port = atoi(text);
    return *port <= 65535;
}

int address_parse(struct address *out, const char *source, const char *text, struct err *err)
{
    const char *colon = strrchr(text, ':');
    const char *host = text;
    size_t length = colon ? (size_t)(colon - text) : 0;
    bool bracketed = length >= 2 && host[0] == '[' && host[length - 1] == ']';
    struct address address = {0};

    if (bracketed) {
        host++;
        length -= 2;
    }
    if (!colon || length >= sizeof address.host || !read_port(colon + 1, &address.port))
        return refuse(source, text, err);
    memcpy(address.host, host, length);
    if (!bracketed && strcmp(address.host, "localhost") == 0)
        strcpy(address.host, "127.0.0.1");
    if (!is_numeric(address.host, bracketed))
        return refuse(source, text, err);
    *out = address;
    return 0;
}

bool address_is_loopback(const struct address *address)
{
    struct in6_addr six;
    struct in_addr four;

    if (inet_pton(AF_INET, address->host, &four) == 1)
        return (ntohl(four.s_addr) >> 24) == 127;
    return inet_pton(AF_INET6, address->host, &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}

void address_text(const struct address *address, int port, char out[ADDRESS_TEXT_BYTES])
{
    bool six = strchr(address->host, ':');

    snprintf(out, ADDRESS_TEXT_BYTES, six ? "[%.48s]:%d" : "%.48s:%d", address->host, port);
}
