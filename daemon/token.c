#include "token.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"

#define TOKEN_MIN 16
#define TOKEN_MAX 512

static const char allowed[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/=";

static void warn_if_shared(FILE *file, const char *path)
{
    struct stat about;

    if (!fstat(fileno(file), &about) && (about.st_mode & 077) != 0)
        log_warning("others than its owner may read the token file %s: chmod 600 it", path);
}

static int check(const char *token, const char *source, const char *path, struct err *err)
{
    size_t length = strlen(token);

    if (length < TOKEN_MIN || length > TOKEN_MAX)
        return err_set(err, ERR_INVALID,
                       "%s: the token in %s has %zu characters, it should have %d to %d "
                       "(openssl rand -hex 32 makes a good one)",
                       source, path, length, TOKEN_MIN, TOKEN_MAX);
    if (token[strspn(token, allowed)])
        return err_set(
            err, ERR_INVALID,
            "%s: the token in %s must be one line of letters, digits and -._~+/=", source, path);
    return 0;
}

int token_read(char **out, const char *source, const char *path, struct err *err)
{
    char token[TOKEN_MAX + 3];
    FILE *file = fopen(path, "re");
    size_t n;
    int rc;

    if (!file)
        return err_set(err, ERR_INVALID, "%s: cannot open the token file %s: %s", source, path,
                       strerror(errno));
    warn_if_shared(file, path);
    n = fread(token, 1, sizeof token - 1, file);
    fclose(file);
    token[n] = '\0';
    if (n && token[n - 1] == '\n')
        token[n - 1] = '\0';
    rc = check(token, source, path, err);
    if (rc)
        return rc;
    *out = strdup(token);
    return *out ? 0 : err_no_memory(err);
}
