/* How many processors this process can keep busy. */
#ifndef JOB_CORES_H
#define JOB_CORES_H

/* The processors that the kernel may run it on, and no more than its share of processor time is
 * worth. At least 1. */
int cores_usable(void);

/* The whole processors that control groups leave it: the smallest quota of its group and of those
 * above it, rounded up; 0: no limit. `membership` is /proc/self/cgroup, `mount` where version 2 of
 * the groups is mounted. */
int cores_of_groups(const char *membership, const char *mount);

#endif
