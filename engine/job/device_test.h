/* Whether a device computes: memory is taken, written, worked on by two kernels, read back and
 * compared. On a backend of its own, in some milliseconds (where the device was not used before, it
 * is made ready for this process first, which takes a second or so). */
#ifndef ENGINE_JOB_DEVICE_TEST_H
#define ENGINE_JOB_DEVICE_TEST_H

#include "backend/backend.h"

/* ERR_DEVICE when numbers come back that are not right, or what the backend says. */
int device_test(const struct backend_class *class, int device, struct err *err);

/* Whether it computes what it should: the gradients of two small nets, a convolutional one and a
 * transformer, in each precision against those of the reference backend. Takes a second or so.
 * ERR_DEVICE when one is far off. */
int device_gradient_test(const struct backend_class *class, int device, struct err *err);

#endif
