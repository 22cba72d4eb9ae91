/* JSON that was parsed already to settable struct. */
#ifndef API_SPEC_TREE_H
#define API_SPEC_TREE_H

#include <cjson/cJSON.h>

#include "api/spec_json.h"

/* As spec_json_parse; adds to *problems. The tree is of a text that json_scan found good. */
void spec_tree_parse(const struct spec_object *spec, const cJSON *tree, void *out,
                     struct spec_problems *problems);

#endif
