/* Errors, the same way in each room.
 *
 * A function that can fail returns 0 or a negative `enum err_code`; its last parameter is a
 * `struct err *` that the caller owns. It is filled once, where the error begins, and passed on
 * unchanged. `err` may be NULL where a caller only wants the code.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdarg.h>
#include <stdbool.h>

enum err_code {
    ERR_INVALID = -1,     /* a value that a user gave is wrong */
    ERR_NOT_FOUND = -2,   /* what was named does not exist */
    ERR_CONFLICT = -3,    /* not possible in the present state */
    ERR_LIMIT = -4,       /* a limit of this daemon is reached */
    ERR_UNSUPPORTED = -5, /* well formed, but not offered here */
    ERR_NO_MEMORY = -6,
    ERR_IO = -7,           /* the operating system refused */
    ERR_FULL = -8,         /* no space left on the device */
    ERR_BUSY = -9,         /* somebody else holds a lock */
    ERR_CORRUPT = -10,     /* a file is damaged */
    ERR_DIVERGED = -11,    /* the loss is NaN or infinite */
    ERR_DEVICE = -12,      /* a compute library or device failed */
    ERR_INTERNAL = -13,    /* a bug */
    ERR_DEVICE_LOST = -14, /* a device failed so that only another process can use it again */
};

struct err {
    int code;
    int line;
    const char *file; /* static */
    char message[512];
};

/* What the other rooms need to know of a code. */
struct err_info {
    int code;
    const char *name; /* "invalid", "not_found", … */
    int http_status;
    bool retry; /* the same request may succeed later */
};

/* Never NULL: an unknown code is answered as ERR_INTERNAL. */
const struct err_info *err_info(int code);

/* Fills *err (unless NULL) and returns `code`. */
int err_set_at(struct err *err, int code, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

#define err_set(err, code, ...) err_set_at((err), (code), __FILE__, __LINE__, __VA_ARGS__)

/* ERR_NO_MEMORY, for the many places that have nothing more to say. */
#define err_no_memory(err) err_set((err), ERR_NO_MEMORY, "out of memory")

/* Fills *err from errno: ENOSPC and EDQUOT become ERR_FULL, ENOMEM ERR_NO_MEMORY, ENOENT
 * ERR_NOT_FOUND, others ERR_IO. The message is "<what>: <strerror>". */
int err_errno_at(struct err *err, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#define err_errno(err, ...) err_errno_at((err), __FILE__, __LINE__, __VA_ARGS__)

#endif
