/* The dashboard's files, built into the binary. */
#ifndef WEB_ASSETS_H
#define WEB_ASSETS_H

#include <stddef.h>

struct web_asset {
    const char *path; /* "/", "/app.js", … */
    const char *type; /* Content-Type */
    const unsigned char *bytes;
    size_t n;
};

/* Static; *n is their number, 0 when it was built without the page. */
const struct web_asset *web_assets(int *n);

#endif
