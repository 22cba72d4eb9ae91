/* Files that could not be used, and what has been told of them. Not safe from several threads. */
#ifndef ENGINE_DATA_BROKEN_H
#define ENGINE_DATA_BROKEN_H

#include "data/dataset.h"

#define BROKEN_TEXT_BYTES 600

struct broken;

/* *out stays NULL for datasets in memory, which have no such files. */
int broken_open(struct broken **out, const struct dataset *dataset, struct err *err);
void broken_close(struct broken *broken);

/* File `item` of a split, and what is wrong with it. One that is known already is not counted. */
void broken_add(struct broken *broken, enum split split, int64_t item, const char *what);

/* The next thing to tell, false when there is none; `total`: how many there are, too. */
bool broken_tell(struct broken *broken, bool total, char text[BROKEN_TEXT_BYTES]);

#endif
