#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

static const struct err_info infos[] = {
    {ERR_INTERNAL, "internal", 500, false},   {ERR_INVALID, "invalid", 422, false},
    {ERR_NOT_FOUND, "not_found", 404, false}, {ERR_CONFLICT, "conflict", 409, false},
    {ERR_LIMIT, "limit", 429, true},          {ERR_UNSUPPORTED, "unsupported", 422, false},
    {ERR_NO_MEMORY, "no_memory", 503, true},  {ERR_IO, "io", 500, true},
    {ERR_FULL, "disk_full", 507, true},       {ERR_BUSY, "busy", 503, true},
    {ERR_CORRUPT, "corrupt", 500, false},     {ERR_DIVERGED, "diverged", 500, false},
    {ERR_DEVICE, "device", 500, true},        {ERR_DEVICE_LOST, "device_lost", 503, true},
};

const struct err_info *err_info(int code)
{
    for (size_t i = 0; i < ARRAY_LENGTH(infos); i++)
        if (infos[i].code == code)
            return &infos[i];
    return &infos[0];
}

static void fill(struct err *err, int code, const char *file, int line, const char *format,
                 va_list arguments)
{
    err->code = code;
    err->file = file;
    err->line = line;
    vsnprintf(err->message, sizeof err->message, format, arguments);
}

int err_set_at(struct err *err, int code, const char *file, int line, const char *format, ...)
{
    va_list arguments;

    if (!err)
        return code;
    va_start(arguments, format);
    fill(err, code, file, line, format, arguments);
    va_end(arguments);
    return code;
}

static int code_of_errno(int number)
{
    switch (number) {
    case ENOSPC:
    case EDQUOT:
        return ERR_FULL;
    case ENOMEM:
        return ERR_NO_MEMORY;
    case ENOENT:
        return ERR_NOT_FOUND;
    default:
        return ERR_IO;
    }
}

int err_errno_at(struct err *err, const char *file, int line, const char *format, ...)
{
    int number = errno;
    va_list arguments;
    size_t used;

    if (!err)
        return code_of_errno(number);
    va_start(arguments, format);
    fill(err, code_of_errno(number), file, line, format, arguments);
    va_end(arguments);
    used = strlen(err->message);
    snprintf(err->message + used, sizeof err->message - used, ": %s", strerror(number));
    return err->code;
}
