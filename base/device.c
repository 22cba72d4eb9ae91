#include "base/device.h"

const char *device_state_name(enum device_state state)
{
    static const char *const names[DEVICE_STATES] = {[DEVICE_STATE_UNTESTED] = "untested",
                                                     [DEVICE_STATE_READY] = "ready",
                                                     [DEVICE_STATE_ASIDE] = "set aside",
                                                     [DEVICE_STATE_LOST] = "lost"};

    return (unsigned)state < DEVICE_STATES ? names[state] : "unknown";
}
