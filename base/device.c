#include "base/device.h"

const char *device_state_name(enum device_state state)
{
    static const char *const names[DEVICE_STATES] = {[STATE_UNTESTED] = "untested",
                                                     [STATE_READY] = "ready",
                                                     [STATE_ASIDE] = "set aside",
                                                     [STATE_LOST] = "lost"};

    return (unsigned)state < DEVICE_STATES ? names[state] : "unknown";
}
