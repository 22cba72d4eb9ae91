/* Query parameters, by the route's table: unknown, doubled and wrong ones are all named. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "http.h"
#include "uri.h"

static void set_int(const struct query_parameter *parameter, struct query_value *out,
                    const char *text, struct reply *reply)
{
    char *end;
    long long value;

    errno = 0;
    value = strtoll(text, &end, 10);
    if (errno || *end || end == text || *text == ' ' || *text == '+' || value < parameter->min ||
        value > parameter->max)
        reply_error(reply, "parameter", parameter->name, "must be an integer from %lld to %lld",
                    (long long)parameter->min, (long long)parameter->max);
    else
        out->number = value;
}

static void set_choice(const struct query_parameter *parameter, struct query_value *out,
                       const char *text, struct reply *reply)
{
    char names[160] = "";

    for (int i = 0; parameter->choices[i]; i++) {
        if (strcmp(parameter->choices[i], text) == 0) {
            out->number = i;
            return;
        }
        if (i)
            strncat(names, ", ", sizeof names - strlen(names) - 1);
        strncat(names, parameter->choices[i], sizeof names - strlen(names) - 1);
    }
    reply_error(reply, "parameter", parameter->name, "must be one of %s", names);
}

static void set_text(const struct query_parameter *parameter, struct query_value *out,
                     const char *text, struct reply *reply)
{
    if (strlen(text) >= sizeof out->text)
        reply_error(reply, "parameter", parameter->name, "is too long");
    else
        strcpy(out->text, text);
}

static void set_value(struct request *request, const char *name, const char *value,
                      struct reply *reply)
{
    const struct route *route = request->route;

    for (int i = 0; i < route->n_query; i++) {
        const struct query_parameter *parameter = &route->query[i];
        struct query_value *out = &request->value[i];

        if (strcmp(parameter->name, name) != 0)
            continue;
        if (out->given)
            reply_error(reply, "parameter", name, "is given twice");
        out->given = true;
        if (parameter->type == QUERY_INT)
            set_int(parameter, out, value, reply);
        else if (parameter->type == QUERY_CHOICE)
            set_choice(parameter, out, value, reply);
        else
            set_text(parameter, out, value, reply);
        return;
    }
    reply_error(reply, "parameter", name, "unknown parameter");
}

bool query_parse(struct request *request, struct reply *reply)
{
    char *at = request->query, *name, *value;
    bool good = true;

    for (int i = 0; i < request->route->n_query; i++)
        request->value[i].number =
            request->route->query[i].type == QUERY_CHOICE ? -1 : request->route->query[i].value;
    while (uri_next(&at, &name, &value, &good) && good)
        set_value(request, name, value, reply);
    if (!good)
        reply_error(reply, "parameter", "", "the query has a broken escape");
    if (reply->n_errors == 0)
        return true;
    problem_set(reply, 422, "invalid", "the query is not valid");
    return false;
}
