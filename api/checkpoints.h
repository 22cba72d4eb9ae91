/* SHA-256 of checkpoint files that were sent lately. */
#ifndef API_CHECKPOINTS_H
#define API_CHECKPOINTS_H

#include "http.h"

int digests_open(struct digests **out, struct err *err);
void digests_close(struct digests *digests);

#endif
