/* The description is made once, at the start, and served as it is. */
#include "openapi.h"

#include <stdio.h>
#include <string.h>

#include "json_write.h"
#include "routes.h"

static const char introduction[] =
    "JSON in and out. Errors are application/problem+json. Losses that are no number are the "
    "strings NaN, Infinity and -Infinity; in summaries and tables of probes NaN is also what was "
    "not measured. Dates are UTC.\n\n"
    "With a token every path but /livez and /login needs Authorization: Bearer TOKEN, or the "
    "cookie that /login gives a browser.\n\n"
    "A path that is not listed is answered 404, a listed one with another method 405 with "
    "Allow; HEAD goes wherever GET does.\n\n"
    "What is no well-formed HTTP/1.x is refused below this API, with a short page of HTML in "
    "place of a problem, and the connection is closed: 400 for a broken first line, header "
    "line, chunk or Content-Length and for HTTP/1.1 without Host, 413 for lengths beyond 64 "
    "bits, 414 and 431 beyond 64 KiB of target and headers, 505 for other versions.\n\n"
    "A request must arrive whole within 30 seconds, an uploaded file at 64 KiB a second or more "
    "(it may fall behind that by 30 seconds at most); otherwise it is answered 408, or just "
    "closed when not even its first line has come. While all connections are taken, requests that "
    "have been on their way for more than a second are answered so, too. Connections idle for 30 "
    "seconds are closed, "
    "and so is a new one of an address that has as many as it may. A client that closes its "
    "sending half behind a request may count as one that has left: what it asked for is done, "
    "but it should not wait for the answer, nor for events. Streams and files that are not read "
    "for 30 seconds are cut off.";

static void put_path_parameter(struct text *out, const struct route *route, const char *name,
                               const char *schema)
{
    char place[24];

    snprintf(place, sizeof place, "{%s}", name);
    if (!strstr(route->pattern, place))
        return;
    json_open(out, '{');
    json_put_string(out, "name", name);
    json_put_string(out, "in", "path");
    json_put_bool(out, "required", true);
    json_key(out, "schema");
    json_raw(out, schema);
    json_close(out, '}');
}

static void put_query_schema(struct text *out, const struct query_parameter *parameter)
{
    json_open(out, '{');
    json_put_string(out, "type", parameter->type == QUERY_INT ? "integer" : "string");
    if (parameter->type == QUERY_INT) {
        json_put_int(out, "minimum", parameter->min);
        json_put_int(out, "maximum", parameter->max);
        if (parameter->value)
            json_put_int(out, "default", parameter->value);
    } else if (parameter->type == QUERY_CHOICE) {
        json_key(out, "enum");
        json_open(out, '[');
        for (int i = 0; parameter->choices[i]; i++)
            json_string(out, parameter->choices[i]);
        json_close(out, ']');
    }
    json_close(out, '}');
}

static void put_header_parameter(struct text *out, const char *name, const char *doc)
{
    json_open(out, '{');
    json_put_string(out, "name", name);
    json_put_string(out, "in", "header");
    json_put_string(out, "description", doc);
    json_key(out, "schema");
    json_raw(out, "{\"type\":\"string\"}");
    json_close(out, '}');
}

static void put_parameters(struct text *out, const struct route *route)
{
    static const char positive[] = "{\"type\":\"integer\",\"minimum\":1}";

    json_key(out, "parameters");
    json_open(out, '[');
    put_path_parameter(out, route, "id", positive);
    put_path_parameter(out, route, "number", positive);
    put_path_parameter(out, route, "update",
                       "{\"anyOf\":[{\"type\":\"integer\",\"minimum\":1},{\"const\":\"latest\"}]}");
    put_path_parameter(out, route, "table", "{\"type\":\"string\"}");
    for (int i = 0; i < route->n_query; i++) {
        json_open(out, '{');
        json_put_string(out, "name", route->query[i].name);
        json_put_string(out, "in", "query");
        json_put_string(out, "description", route->query[i].doc);
        json_key(out, "schema");
        put_query_schema(out, &route->query[i]);
        json_close(out, '}');
    }
    if (route->flags & ROUTE_JSON_BODY)
        put_header_parameter(out, "Idempotency-Key",
                             "The same key and request again give the first one's answer back.");
    if (route->flags & ROUTE_STREAM)
        put_header_parameter(out, "Last-Event-ID", "Goes on behind this event.");
    json_close(out, ']');
}

static void put_content(struct text *out, const struct route *route, const struct answer *answer)
{
    const char *types[] = {route->type, route->other_type};

    if (answer->status == 204 || answer->status == 303 || answer->status == 304)
        return;
    json_key(out, "content");
    json_open(out, '{');
    for (int i = 0; i < 2; i++) {
        if (!types[i])
            continue;
        json_key(out, types[i]);
        json_open(out, '{');
        json_key(out, "schema");
        if (i == 0 && answer->schema)
            text_append(out, "{\"$ref\":\"#/components/schemas/%s\"}", answer->schema);
        else
            text_append(out, "{\"type\":\"string\"}");
        json_close(out, '}');
    }
    json_close(out, '}');
}

static void put_answers(struct text *out, const struct route *route)
{
    json_key(out, "responses");
    json_open(out, '{');
    for (int i = 0; i < route->n_answers; i++) {
        char status[8];

        snprintf(status, sizeof status, "%d", route->answers[i].status);
        json_key(out, status);
        json_open(out, '{');
        json_put_string(out, "description", route->answers[i].doc);
        put_content(out, route, &route->answers[i]);
        json_close(out, '}');
    }
    openapi_problems(out, route);
    json_close(out, '}');
}

static void put_body(struct text *out, const struct route *route)
{
    if (route->flags & ROUTE_JSON_BODY) {
        json_key(out, "requestBody");
        text_append(out,
                    "{\"required\":true,\"content\":{\"application/json\":{\"schema\":{\"$ref\":"
                    "\"#/components/schemas/%s\"}}}}",
                    route->body);
    } else if (route->flags & ROUTE_FILE_BODY) {
        json_key(out, "requestBody");
        json_raw(out, "{\"required\":true,\"content\":{\"application/octet-stream\":{}}}");
    } else if (route->flags & ROUTE_FORM_BODY) {
        json_key(out, "requestBody");
        json_raw(out, "{\"required\":true,\"content\":{\"application/x-www-form-urlencoded\":{"
                      "\"schema\":{\"type\":\"object\",\"properties\":{\"token\":{\"type\":"
                      "\"string\"}}}}}}");
    }
}

static const char *method_key(const char *method)
{
    if (strcmp(method, "DELETE") == 0)
        return "delete";
    return strcmp(method, "GET") == 0 ? "get" : "post";
}

static void put_operation(struct text *out, const struct route *route)
{
    json_key(out, method_key(route->method));
    json_open(out, '{');
    json_put_string(out, "operationId", route->operation);
    json_put_string(out, "summary", route->summary);
    json_key(out, "tags");
    json_open(out, '[');
    json_string(out, route->tag);
    json_close(out, ']');
    if (route->flags & ROUTE_OPEN) {
        json_key(out, "security");
        json_raw(out, "[]");
    }
    put_parameters(out, route);
    put_body(out, route);
    put_answers(out, route);
    json_close(out, '}');
}

static void put_paths(struct text *out)
{
    int n;
    const struct route *table = routes(&n);

    json_key(out, "paths");
    json_open(out, '{');
    for (int i = 0; i < n; i++) {
        bool first = true;

        for (int j = 0; j < i; j++)
            first = first && strcmp(table[j].pattern, table[i].pattern) != 0;
        if (!first)
            continue;
        json_key(out, table[i].pattern);
        json_open(out, '{');
        for (int j = i; j < n; j++)
            if (strcmp(table[j].pattern, table[i].pattern) == 0)
                put_operation(out, &table[j]);
        json_close(out, '}');
    }
    json_close(out, '}');
}

int openapi_make(const struct spec_object *job, const struct spec_field *probe, char **json,
                 struct err *err)
{
    struct text out = {0};
    char *text;

    json_open(&out, '{');
    json_put_string(&out, "openapi", "3.1.0");
    json_key(&out, "info");
    json_open(&out, '{');
    json_put_string(&out, "title", "rwpd");
    json_put_string(&out, "version", RWPD_VERSION);
    json_put_string(&out, "description", introduction);
    json_close(&out, '}');
    put_paths(&out);
    json_key(&out, "components");
    json_open(&out, '{');
    json_key(&out, "schemas");
    json_open(&out, '{');
    openapi_spec(&out, job, probe);
    openapi_sweep(&out);
    openapi_answers(&out);
    json_close(&out, '}');
    json_key(&out, "responses");
    json_open(&out, '{');
    openapi_problem_answers(&out);
    json_close(&out, '}');
    json_key(&out, "securitySchemes");
    json_raw(&out, "{\"token\":{\"type\":\"http\",\"scheme\":\"bearer\"},\"session\":{\"type\":"
                   "\"apiKey\",\"in\":\"cookie\",\"name\":\"rwpd_session\"}}");
    json_close(&out, '}');
    json_key(&out, "security");
    json_raw(&out, "[{},{\"token\":[]},{\"session\":[]}]");
    json_close(&out, '}');
    text_append(&out, "\n");
    text = text_take(&out);
    if (!text)
        return err_no_memory(err);
    *json = text;
    return 0;
}

int openapi_get(struct request *request, struct reply *reply, struct err *err)
{
    (void)err;
    text_append_bytes(&reply->body, request->api->openapi, strlen(request->api->openapi));
    return 0;
}
