#include "data/broken.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/folder.h"

#define NAMED_MAX 16 /* files that are told of by name */

struct broken {
    uint8_t *known[SPLITS]; /* a bit a file */
    int64_t n, told;        /* files; how many of them the last message knew of */
    char name[NAMED_MAX][sizeof((struct err *)NULL)->message];
};

int broken_open(struct broken **out, const struct dataset *dataset, struct err *err)
{
    struct broken *broken;

    if (!dataset->folder)
        return 0;
    broken = calloc(1, sizeof *broken);
    if (!broken)
        return err_no_memory(err);
    for (int s = 0; s < SPLITS; s++) {
        broken->known[s] =
            calloc((size_t)image_folder_files(dataset->folder, (enum split)s) / 8 + 1, 1);
        if (!broken->known[s]) {
            broken_close(broken);
            return err_no_memory(err);
        }
    }
    *out = broken;
    return 0;
}

void broken_close(struct broken *broken)
{
    if (!broken)
        return;
    for (int s = 0; s < SPLITS; s++)
        free(broken->known[s]);
    free(broken);
}

void broken_add(struct broken *broken, enum split split, int64_t item, const char *what)
{
    uint8_t *at = &broken->known[split][item / 8], bit = (uint8_t)(1 << item % 8);

    if (*at & bit)
        return;
    *at |= bit;
    if (broken->n < NAMED_MAX)
        strcpy(broken->name[broken->n], what);
    broken->n++;
}

bool broken_tell(struct broken *broken, bool total, char text[BROKEN_TEXT_BYTES])
{
    if (!broken || broken->told == broken->n)
        return false;
    if (broken->told < NAMED_MAX) {
        snprintf(text, BROKEN_TEXT_BYTES, "%s; the next image takes its place",
                 broken->name[broken->told++]);
        return true;
    }
    if (!total && broken->n < 2 * broken->told)
        return false;
    broken->told = broken->n;
    snprintf(text, BROKEN_TEXT_BYTES,
             "%lld images could not be used so far; the next ones took their places",
             (long long)broken->n);
    return true;
}
