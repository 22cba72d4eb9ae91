#include "json_tree.h"

#include <math.h>

#include "json_write.h"

#define INTEGER_MAX 9007199254740991.0 /* 2^53 − 1 */

static void put_number(struct text *out, double value)
{
    if (value == floor(value) && fabs(value) <= INTEGER_MAX)
        json_int(out, (int64_t)value);
    else
        json_real(out, value);
}

/* As deep as json_scan has let it be. */
void json_tree(struct text *out, const cJSON *value)
{
    bool object = cJSON_IsObject(value);
    const cJSON *item;

    if (cJSON_IsString(value)) {
        json_string(out, value->valuestring);
    } else if (cJSON_IsNumber(value)) {
        put_number(out, value->valuedouble);
    } else if (cJSON_IsBool(value)) {
        json_bool(out, cJSON_IsTrue(value));
    } else if (object || cJSON_IsArray(value)) {
        json_open(out, object ? '{' : '[');
        cJSON_ArrayForEach(item, value)
        {
            if (object)
                json_key(out, item->string);
            json_tree(out, item);
        }
        json_close(out, object ? '}' : ']');
    } else {
        json_null(out);
    }
}
