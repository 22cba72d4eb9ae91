/* What a GPU is doing and how it is, as the engine finds it out and the API shows it. */
#ifndef BASE_DEVICE_H
#define BASE_DEVICE_H

#include <stdint.h>

#define DEVICE_PROCESSES_MAX 32

struct device_process {
    int pid;
    int64_t memory_bytes; /* on the device; -1: not known */
    char name[16];        /* of its program; "": not known */
};

/* At this moment. What a device does not tell (a part of a GPU has no temperature, say) is -1. */
struct device_load {
    int64_t memory_used_bytes; /* by all processes */
    double utilisation;        /* share of the last moment in which a kernel ran, 0 … 1 */
    int temperature_celsius;
    int processes; /* that compute on it, this one among them */
    int n_others;  /* of them, those that are not this one; the first ones are described */
    struct device_process others[DEVICE_PROCESSES_MAX];
};

/*   UNTESTED → READY: its test went well; it is tested before its first job
 *   READY → UNTESTED: something failed on it, so it is tested again
 *   UNTESTED → ASIDE: its test failed; it is tested again before each job that wants it
 *   → LOST: nothing of this process runs on it any more */
enum device_state {
    DEVICE_STATE_UNTESTED,
    DEVICE_STATE_READY,
    DEVICE_STATE_ASIDE,
    DEVICE_STATE_LOST,
    DEVICE_STATES
};

struct device_health {
    enum device_state state;
    char reason[512]; /* of ASIDE and LOST; else "" */
};

/* "untested", "ready", "set aside", "lost". */
const char *device_state_name(enum device_state state);

#endif
