/* Errors as application/problem+json (RFC 9457), with `code` and `errors` as extensions. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "api/spec_json.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "http.h"
#include "json_write.h"

static const struct {
    int status;
    const char *title;
} titles[] = {
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {503, "Service Unavailable"},
    {507, "Insufficient Storage"},
};

const char *problem_title(int status)
{
    for (size_t i = 0; i < ARRAY_LENGTH(titles); i++)
        if (titles[i].status == status)
            return titles[i].title;
    return "Error";
}

static void write_error(struct text *out, const char *where, const char *name, const char *detail)
{
    json_open(out, '{');
    json_put_string(out, where, name);
    json_put_string(out, "detail", detail);
    json_close(out, '}');
}

static void write_errors(struct text *out, const struct reply *reply)
{
    const struct spec_problems *problems = reply->problems;
    int more = reply->more_errors + (problems ? problems->more : 0);

    if (reply->n_errors + (problems ? problems->n : 0) == 0)
        return;
    json_key(out, "errors");
    json_open(out, '[');
    for (int i = 0; i < reply->n_errors; i++)
        write_error(out, reply->errors[i].where, reply->errors[i].name, reply->errors[i].detail);
    for (int i = 0; problems && i < problems->n; i++)
        write_error(out, "pointer", problems->item[i].pointer, problems->item[i].message);
    json_close(out, ']');
    if (more)
        json_put_int(out, "more_errors", more);
}

void problem_set(struct reply *reply, int status, const char *code, const char *format, ...)
{
    char detail[600];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(detail, sizeof detail, format, arguments);
    va_end(arguments);
    reply_clear(reply);
    reply->status = status;
    reply->type = "application/problem+json";
    json_open(&reply->body, '{');
    json_put_string(&reply->body, "type", "about:blank");
    json_put_string(&reply->body, "title", problem_title(status));
    json_put_int(&reply->body, "status", status);
    json_put_string(&reply->body, "detail", detail);
    json_put_string(&reply->body, "code", code);
    write_errors(&reply->body, reply);
    json_close(&reply->body, '}');
    text_append(&reply->body, "\n");
    if (status == 503 || status == 429)
        reply_header(reply, "Retry-After", "5");
    if (status == 507)
        reply_header(reply, "Retry-After", "60");
}

void problem_of_err(struct reply *reply, const struct err *err)
{
    const struct err_info *info = err_info(err->code);

    if (info->http_status >= 500)
        log_error("%s (%s, %s:%d)", err->message, info->name, err->file ? err->file : "?",
                  err->line);
    problem_set(reply, info->http_status, info->name, "%s", err->message);
}
