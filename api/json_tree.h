#ifndef API_JSON_TREE_H
#define API_JSON_TREE_H

#include <cjson/cJSON.h>

#include "base/text.h"

/* Writes a parsed value. Unlike cJSON's own printer it keeps each number to the last bit. */
void json_tree(struct text *out, const cJSON *value);

#endif
