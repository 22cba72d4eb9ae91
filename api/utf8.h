/* UTF-8 (RFC 3629): no surrogates, no overlong forms, nothing above U+10FFFF. */
#ifndef API_UTF8_H
#define API_UTF8_H

#include <stddef.h>

/* Bytes of the character at `at`, of which `n` are there; 0: it is none. */
size_t utf8_length(const char *at, size_t n);

#endif
