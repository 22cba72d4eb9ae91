/* The four files of a dataset, opened and checked against each other. */
#ifndef ENGINE_DATA_SOURCES_H
#define ENGINE_DATA_SOURCES_H

#include "data/dataset.h"
#include "data/idx.h"

struct sources {
    struct data_file images[SPLITS], labels[SPLITS];
    struct idx_header header[SPLITS]; /* of the images; the labels' n is the same */
    int32_t *label[SPLITS];           /* [n], owned here; who takes one sets NULL */
    int classes;                      /* as the training labels say; no test label is beyond them */
};

/* *out must be closed afterwards, whatever was returned. Reads headers and labels. */
int sources_open(struct sources *out, const struct job_dataset *job, struct err *err);
void sources_close(struct sources *sources);

#endif
