/* Built without the dashboard: there is no file to serve. */
#include "web/assets.h"

const struct web_asset *web_assets(int *n)
{
    *n = 0;
    return NULL;
}
