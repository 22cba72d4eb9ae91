#include "json_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "http_client.h"
#include "server_fixture.h"

cJSON *ask_json(const char *method, const char *target, const char *headers, const char *body,
                int status)
{
    char *answer;
    int got = http_ask(fixture.port, method, target, headers, body, &answer);
    cJSON *json;

    if (got != status)
        fail_msg("%s %s %.300s: %d, not %d: %.600s", method, target, body ? body : "", got, status,
                 answer ? answer : "");
    json = cJSON_Parse(http_body(answer));
    if (!json)
        fail_msg("%s: no JSON: %s", target, answer);
    free(answer);
    return json;
}

cJSON *get_member(const cJSON *json, const char *name)
{
    cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);

    if (!item)
        fail_msg("no member %s", name);
    return item;
}

double get_number(const cJSON *json, const char *name)
{
    const cJSON *item = get_member(json, name);

    if (!cJSON_IsNumber(item))
        fail_msg("%s is no number", name);
    return item->valuedouble;
}

const char *get_text(const cJSON *json, const char *name)
{
    const cJSON *item = get_member(json, name);

    if (!cJSON_IsString(item))
        fail_msg("%s is no string", name);
    return item->valuestring;
}
