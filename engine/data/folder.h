/* The listing of a folder of images: PATH/train/CLASS/FILE and PATH/val/CLASS/FILE.
 *
 * Classes are the folders in train, numbered in the order of their names' bytes (torchvision's
 * order); val may lack some, but has no others. Files are those whose names end in .jpg, .jpeg,
 * .jpe or .png, in either case, ordered by class and name; names that begin with a dot are passed
 * over. Links are followed. What a file holds is not looked at here. */
#ifndef ENGINE_DATA_FOLDER_H
#define ENGINE_DATA_FOLDER_H

#include <limits.h>

#include "data/dataset.h"

#define FOLDER_CLASSES_MAX 65536
#define FOLDER_FILES_MAX   20000000 /* a split; ImageNet in full has 14 million */

struct image_folder;

int image_folder_open(struct image_folder **out, const char *path, struct err *err);
void image_folder_close(struct image_folder *folder);

/* Memory that the listing takes. */
int64_t image_folder_bytes(const struct image_folder *folder);

int image_folder_classes(const struct image_folder *folder);
const char *image_folder_class_name(const struct image_folder *folder, int class);
/* How many classes have no files in a split, and, of those, the first `n`. */
int image_folder_lacking(const struct image_folder *folder, enum split split, int first[], int n);
int64_t image_folder_files(const struct image_folder *folder, enum split split);
int image_folder_class(const struct image_folder *folder, enum split split, int64_t item);

/* The path of a file; false when it is longer than PATH_MAX. */
bool image_folder_path(const struct image_folder *folder, enum split split, int64_t item,
                       char out[PATH_MAX]);

#endif
