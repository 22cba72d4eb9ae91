/* JSON that the fixture's server answers with. All of it fails the running cmocka test instead of
 * returning an error. */
#ifndef TESTS_JSON_CLIENT_H
#define TESTS_JSON_CLIENT_H

#include <cjson/cJSON.h>

/* http_ask; the answer must have this status, and a body of JSON, which the caller deletes. */
cJSON *ask_json(const char *method, const char *target, const char *headers, const char *body,
                int status);

/* What must be there, of an object, which owns it. */
cJSON *get_member(const cJSON *json, const char *name);
double get_number(const cJSON *json, const char *name);
const char *get_text(const cJSON *json, const char *name);

#endif
