/* The tables that describe a job: name, meaning, range and default of each member. An enum's
 * values are the places of its names here, so the order of the tables follows engine/job.h. */
#include "base/cleanup.h"
#include "job/tables.h"

/* dataset */

#define TRAIN_LIMIT                                                                                \
    {                                                                                              \
        .name = "train_limit", .type = SPEC_INT,                                                   \
        .offset = offsetof(struct job_dataset, train_limit), .min = 0, .max = 1e9,                 \
        .doc = "Only so many training samples are used, drawn by the seed; 0: all.",               \
    }
#define LABEL_NOISE                                                                                \
    {                                                                                              \
        .name = "label_noise", .type = SPEC_REAL,                                                  \
        .offset = offsetof(struct job_dataset, label_noise), .min = 0, .max = 1,                   \
        .doc = "Share of the training labels that are made wrong, drawn by the seed.",             \
    }

#define PATH(text)                                                                                 \
    {                                                                                              \
        .name = "path", .type = SPEC_STRING, .offset = offsetof(struct job_dataset, path),         \
        .required = true, .max_length = JOB_PATH_MAX, .doc = text,                                 \
    }
#define AUGMENT(description)                                                                       \
    {                                                                                              \
        .name = "augment", .type = SPEC_OBJECT, .offset = offsetof(struct job_dataset, augment),   \
        .object = &(description),                                                                  \
        .doc = "How training images are varied, anew in each pass over the data.",                 \
    }
#define FLIP(value)                                                                                \
    {                                                                                              \
        .name = "flip", .type = SPEC_BOOL, .offset = offsetof(struct job_augment, flip),           \
        .number = (value), .doc = "Half of the images are mirrored, left to right.",               \
    }
#define CROP_PADDING(value)                                                                        \
    {                                                                                              \
        .name = "crop_padding", .type = SPEC_INT,                                                  \
        .offset = offsetof(struct job_augment, crop_padding), .min = 0, .max = 4096,               \
        .number = (value),                                                                         \
        .doc = "Black pixels that are added on each side before a window of the image's size is "  \
               "cut out at random; 0: no such crop.",                                              \
    }
#define RANDAUGMENT                                                                                \
    {                                                                                              \
        .name = "randaugment",                                                                     \
        .type = SPEC_INT,                                                                          \
        .offset = offsetof(struct job_augment, randaugment),                                       \
        .min = 0,                                                                                  \
        .max = 14,                                                                                 \
        .doc = "RandAugment: operations an image, drawn from 14; 0: none.",                        \
    },                                                                                             \
    {                                                                                              \
        .name = "randaugment_magnitude", .type = SPEC_INT,                                         \
        .offset = offsetof(struct job_augment, randaugment_magnitude), .min = 0,                   \
        .max = JOB_RANDAUGMENT_MAX, .number = 9,                                                   \
        .doc = "RandAugment: strength of the operations, of 30.",                                  \
    }
#define CUTOUT(value)                                                                              \
    {                                                                                              \
        .name = "cutout",                                                                          \
        .type = SPEC_INT,                                                                          \
        .offset = offsetof(struct job_augment, cutout),                                            \
        .min = 0,                                                                                  \
        .max = 4096,                                                                               \
        .number = (value),                                                                         \
        .doc = "Side of a square, in pixels and centred anywhere in the image, that becomes 0 "    \
               "after normalisation; 0: none.",                                                    \
    },                                                                                             \
    {                                                                                              \
        .name = "cutout_probability", .type = SPEC_REAL,                                           \
        .offset = offsetof(struct job_augment, cutout_probability), .min = 0, .max = 1,            \
        .number = 0.5, .doc = "Share of the images that are cut out from.",                        \
    }

static const struct spec_field grey_augment_fields[] = {FLIP(0), CROP_PADDING(0), CUTOUT(0)};
static const struct spec_field cifar_augment_fields[] = {FLIP(1), CROP_PADDING(4), RANDAUGMENT,
                                                         CUTOUT(16)};

static const char *const crops[] = {[CROP_CENTER] = "center",
                                    [CROP_RANDOM] = "random",
                                    [CROP_RANDOM_RESIZED] = "random_resized",
                                    NULL};

static const struct spec_field folder_augment_fields[] = {
    {.name = "crop",
     .type = SPEC_CHOICE,
     .offset = offsetof(struct job_augment, crop),
     .choices = crops,
     .number = CROP_RANDOM_RESIZED,
     .doc =
         "random_resized: a window of random area and shape (3:4 to 4:3), scaled to size × size; "
         "random, center: a window of size × size of the image scaled to resize."},
    {.name = "crop_area_min",
     .type = SPEC_REAL,
     .offset = offsetof(struct job_augment, crop_area_min),
     .min = 0,
     .max = 1,
     .above_min = true,
     .number = 0.08,
     .doc = "Least share of the image's area that a random_resized crop takes."},
    FLIP(1),
    RANDAUGMENT,
    CUTOUT(0),
};

static const struct spec_object grey_augment = {.doc = "Of grey images.",
                                                FIELDS(grey_augment_fields)};
static const struct spec_object cifar_augment = {.doc = "Of CIFAR.", FIELDS(cifar_augment_fields)};
static const struct spec_object folder_augment = {.doc = "Of photographs.",
                                                  FIELDS(folder_augment_fields)};

static const struct spec_field digits_fields[] = {TRAIN_LIMIT, LABEL_NOISE};

static const struct spec_field idx_fields[] = {
    PATH("Absolute path of a folder on the server with train-images-idx3-ubyte, "
         "train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, unpacked."),
    AUGMENT(grey_augment),
    TRAIN_LIMIT,
    LABEL_NOISE,
};

static const struct spec_field cifar10_fields[] = {
    PATH("Absolute path of a folder on the server with data_batch_1.bin to data_batch_5.bin and "
         "test_batch.bin (cifar-10-binary.tar.gz, unpacked)."),
    AUGMENT(cifar_augment),
    TRAIN_LIMIT,
    LABEL_NOISE,
};

static const struct spec_field cifar100_fields[] = {
    PATH("Absolute path of a folder on the server with train.bin and test.bin "
         "(cifar-100-binary.tar.gz, unpacked)."),
    AUGMENT(cifar_augment),
    TRAIN_LIMIT,
    LABEL_NOISE,
};

static const struct spec_field folder_fields[] = {
    PATH("Absolute path of a folder on the server with train/CLASS/… and val/CLASS/…, JPEG and PNG "
         "files by class, as ImageNet is usually laid out."),
    {.name = "size",
     .type = SPEC_INT,
     .offset = offsetof(struct job_dataset, size),
     .min = 8,
     .max = 1024,
     .number = 224,
     .doc = "Height and width of the images that the model sees."},
    {.name = "resize",
     .type = SPEC_INT,
     .offset = offsetof(struct job_dataset, resize),
     .min = 8,
     .max = 2048,
     .number = 256,
     .doc = "Shorter side to which an image is scaled before size × size are cut out of it; for "
            "evaluation out of its centre."},
    AUGMENT(folder_augment),
    TRAIN_LIMIT,
    LABEL_NOISE,
};

static const struct spec_object datasets[] = {
    [DATASET_DIGITS] = {.name = "digits",
                        .doc = "1,797 real handwritten digits of 8×8 grey pixels, 1,297 of them "
                               "for training (UCI, Alpaydin and Kaynak, CC BY 4.0); built in.",
                        FIELDS(digits_fields)},
    [DATASET_IDX] = {.name = "idx",
                     .doc = "Grey images in IDX files: MNIST and its kin.",
                     FIELDS(idx_fields)},
    [DATASET_CIFAR10] = {.name = "cifar10",
                         .doc = "CIFAR-10, its binary version: 50,000 colour images of 32×32 for "
                                "training, 10,000 for testing, 10 classes.",
                         FIELDS(cifar10_fields)},
    [DATASET_CIFAR100] = {.name = "cifar100",
                          .doc = "CIFAR-100, its binary version: as CIFAR-10, with 100 classes.",
                          FIELDS(cifar100_fields)},
    [DATASET_IMAGE_FOLDER] = {.name = "image_folder",
                              .doc = "JPEG and PNG files in a folder a class: ImageNet and its "
                                     "kin. A file that cannot be decoded is named in the job's "
                                     "messages, and the next one takes its place.",
                              FIELDS(folder_fields)},
};

/* batch norm, checkpoint, evaluate */

static const struct spec_field batch_norm_fields[] = {
    {.name = "momentum",
     .type = SPEC_REAL,
     .offset = offsetof(struct job_batch_norm, momentum),
     .min = 0,
     .max = 1,
     .above_min = true,
     .number = 0.1,
     .doc = "Share of a batch's statistics in the running ones, as PyTorch's momentum."},
};

static const struct spec_object batch_norm_object = {
    .doc = "How batch norm's running statistics follow the batches'.", FIELDS(batch_norm_fields)};

static const struct spec_field checkpoint_fields[] = {
    {.name = "every_epochs",
     .type = SPEC_INT,
     .offset = offsetof(struct job_checkpoint, every_epochs),
     .min = 0,
     .max = 100000,
     .number = 1,
     .doc = "Epochs between two checkpoints; 0: not by epochs."},
    {.name = "every_seconds",
     .type = SPEC_INT,
     .offset = offsetof(struct job_checkpoint, every_seconds),
     .min = 0,
     .max = 2592000,
     .number = 300,
     .doc = "Seconds after which a checkpoint is written at the latest; 0: not by time."},
    {.name = "keep",
     .type = SPEC_INT,
     .offset = offsetof(struct job_checkpoint, keep),
     .min = 1,
     .max = 100,
     .number = 2,
     .doc = "Newest checkpoints that are kept."},
};

static const struct spec_object checkpoint_object = {.doc = "When the state of the run is written.",
                                                     FIELDS(checkpoint_fields)};

static const struct spec_field evaluate_fields[] = {
    {.name = "every_epochs",
     .type = SPEC_INT,
     .offset = offsetof(struct job_evaluate, every_epochs),
     .min = 1,
     .max = 100000,
     .number = 1,
     .doc = "Epochs between two evaluations; the last epoch is always evaluated."},
};

static const struct spec_object evaluate_object = {.doc = "When the whole test set is evaluated.",
                                                   FIELDS(evaluate_fields)};

static const struct spec_field init_from_fields[] = {
    {.name = "job",
     .type = SPEC_INT,
     .offset = offsetof(struct job_init_from, job),
     .min = 0,
     .max = 9007199254740991,
     .doc = "A job whose checkpoint has the weights; 0: none."},
    {.name = "update",
     .type = SPEC_INT,
     .offset = offsetof(struct job_init_from, update),
     .min = 0,
     .max = 9007199254740991,
     .doc = "That checkpoint's update; 0: the newest there is when the job is submitted."},
    {.name = "upload",
     .type = SPEC_INT,
     .offset = offsetof(struct job_init_from, upload),
     .min = 0,
     .max = 9007199254740991,
     .doc = "Weights that were uploaded, in place of a checkpoint; 0: none."},
};

static const struct spec_object init_from_object = {
    .doc = "Weights and running statistics to begin with, in place of those that the seed draws. "
           "The optimizer, the Fisher numbers and the schedule begin anew.",
    FIELDS(init_from_fields)};

static const struct spec_field telemetry_fields[] = {
    {.name = "every_updates",
     .type = SPEC_INT,
     .offset = offsetof(struct job_telemetry, every_updates),
     .min = 0,
     .max = 1e9,
     .doc = "Updates between two measurements; 0: none. One costs about as much as drawing the "
            "noise again and reading each gradient once."},
};

static const struct spec_object telemetry_object = {
    .doc = "When the perturbation is measured: the losses of the update's clean and perturbed "
           "batch, the norms of the perturbation and of both gradients, the cosine between them, "
           "and by how much the Fisher numbers scale the filters' noise. What a method does not "
           "have is null.",
    FIELDS(telemetry_fields)};

/* the job */

static const char *const devices[] = {[DEVICE_AUTO] = "auto",
                                      [DEVICE_CPU] = "cpu",
                                      [DEVICE_REFERENCE] = "reference",
                                      [DEVICE_CUDA] = "cuda",
                                      "cuda:0",
                                      "cuda:1",
                                      "cuda:2",
                                      "cuda:3",
                                      "cuda:4",
                                      "cuda:5",
                                      "cuda:6",
                                      "cuda:7",
                                      NULL};

static const char *const precisions[] = {
    [PRECISION_AUTO] = "auto", [PRECISION_FP32] = "fp32", [PRECISION_FP64] = "fp64",
    [PRECISION_TF32] = "tf32", [PRECISION_BF16] = "bf16", NULL};

static const struct spec_field job_fields[] = {
    {.name = "name",
     .type = SPEC_STRING,
     .offset = offsetof(struct engine_job, name),
     .max_length = JOB_NAME_MAX,
     .doc = "For people; need not be unique."},
    {.name = "model",
     .type = SPEC_VARIANT,
     .offset = offsetof(struct engine_job, model),
     .required = true,
     .kinds = job_model_kinds,
     .n_kinds = MODEL_KINDS,
     .default_kind = MODEL_RESNET18,
     .doc = "What is trained."},
    {.name = "dataset",
     .type = SPEC_VARIANT,
     .offset = offsetof(struct engine_job, dataset),
     .required = true,
     KINDS(datasets),
     .default_kind = DATASET_DIGITS,
     .doc = "What it is trained on."},
    {.name = "method",
     .type = SPEC_VARIANT,
     .offset = offsetof(struct engine_job, method),
     .required = true,
     KINDS(job_methods),
     .default_kind = METHOD_SGD,
     .doc = "How an update's gradient is made."},
    {.name = "optimizer",
     .type = SPEC_VARIANT,
     .offset = offsetof(struct engine_job, optimizer),
     KINDS(job_optimizers),
     .default_kind = OPTIMIZER_SGD,
     .doc = "How the gradient changes the weights."},
    {.name = "schedule",
     .type = SPEC_VARIANT,
     .offset = offsetof(struct engine_job, schedule),
     KINDS(job_schedules),
     .default_kind = SCHEDULE_COSINE,
     .doc = "The learning rate over the run."},
    {.name = "epochs",
     .type = SPEC_INT,
     .offset = offsetof(struct engine_job, epochs),
     .min = 0,
     .max = 100000,
     .number = 30,
     .instead = "updates",
     .doc = "An epoch is as many updates as the training data has batches, for every method; 0 "
            "where updates are given."},
    {.name = "updates",
     .type = SPEC_INT,
     .offset = offsetof(struct engine_job, updates),
     .min = 0,
     .max = 1e9,
     .doc =
         "The run's length in updates, in place of epochs; its last epoch may be a part of one. 0: "
         "epochs say it."},
    {.name = "batch_size",
     .type = SPEC_INT,
     .offset = offsetof(struct engine_job, batch_size),
     .min = 1,
     .max = 65536,
     .number = 128,
     .doc = "Samples in a batch; the last batch of a pass may be smaller."},
    {.name = "seed",
     .type = SPEC_INT,
     .offset = offsetof(struct engine_job, seed),
     .min = 0,
     .max = 9007199254740991,
     .number = 1,
     .doc = "Of everything random: initial weights, order of the samples, wrong labels, noise."},
    {.name = "device",
     .type = SPEC_CHOICE,
     .offset = offsetof(struct engine_job, device),
     .choices = devices,
     .number = DEVICE_AUTO,
     .doc =
         "What computes; auto: a GPU if there is one that passes its test and has the precision, "
         "else the CPU. Of several GPUs auto and cuda mean the one with the fewest jobs."},
    {.name = "precision",
     .type = SPEC_CHOICE,
     .offset = offsetof(struct engine_job, precision),
     .choices = precisions,
     .number = PRECISION_AUTO,
     .doc = "Of arithmetic; auto: the device's own (cuda tf32, cpu fp32, reference fp64). With "
            "tf32 and bf16, which only GPUs have, weights and sums are fp32 all the same."},
    {.name = "deterministic",
     .type = SPEC_BOOL,
     .offset = offsetof(struct engine_job, deterministic),
     .doc = "GPUs: algorithms are chosen without timing them, so that two runs have the same bits "
            "wherever on GPUs of one kind they are computed; otherwise only those have that share "
            "what was timed. Other devices always give the same bits."},
    {.name = "threads",
     .type = SPEC_INT,
     .offset = offsetof(struct engine_job, threads),
     .min = 0,
     .max = 256,
     .doc = "CPU threads, as many as all workers have together (--threads) at most; 0: the job's "
            "share of them. The bits of a result depend on their number."},
    {.name = "world_size",
     .type = SPEC_INT,
     .offset = offsetof(struct engine_job, world_size),
     .min = 1,
     .max = JOB_WORLD_SIZE_MAX,
     .number = 1,
     .doc = "Ranks that each update is spread over: so many GPUs, from the device's on, or on "
            "other devices equal groups of the threads. Gradients that need nothing of each other "
            "go to different ranks first, then batches are split. Batch norm normalises what a "
            "rank has of a batch by itself."},
    {.name = "priority",
     .type = SPEC_INT,
     .offset = offsetof(struct engine_job, priority),
     .min = -100,
     .max = 100,
     .doc = "Higher runs first; equal ones run in the order of their arrival."},
    {.name = "label_smoothing",
     .type = SPEC_REAL,
     .offset = offsetof(struct engine_job, label_smoothing),
     .min = 0,
     .max = 1,
     .below_max = true,
     .doc = "Share of the target that is spread evenly over all classes, as in PyTorch's "
            "CrossEntropyLoss; of the training loss only."},
    {.name = "batch_norm",
     .type = SPEC_OBJECT,
     .offset = offsetof(struct engine_job, batch_norm),
     .object = &batch_norm_object,
     .doc = "How batch norm's running statistics follow the batches'."},
    {.name = "checkpoint",
     .type = SPEC_OBJECT,
     .offset = offsetof(struct engine_job, checkpoint),
     .object = &checkpoint_object,
     .doc = "When the state of the run is written."},
    {.name = "evaluate",
     .type = SPEC_OBJECT,
     .offset = offsetof(struct engine_job, evaluate),
     .object = &evaluate_object,
     .doc = "When the whole test set is evaluated."},
    {.name = "telemetry",
     .type = SPEC_OBJECT,
     .offset = offsetof(struct engine_job, telemetry),
     .object = &telemetry_object,
     .doc = "When the perturbation is measured."},
    {.name = "init_from",
     .type = SPEC_OBJECT,
     .offset = offsetof(struct engine_job, init_from),
     .object = &init_from_object,
     .doc = "Weights to begin with."},
    {.name = "probes",
     .type = SPEC_VARIANT_LIST,
     .offset = offsetof(struct engine_job, probes),
     .item_offset = offsetof(struct job_probes, item),
     .item_bytes = sizeof(struct engine_probe),
     .max_length = JOB_PROBES_MAX,
     KINDS(job_probe_kinds),
     .doc = "What is measured of its checkpoints while it trains and at its end."},
};

static const struct spec_object job_object = {
    .name = "job", .doc = "A training job.", FIELDS(job_fields)};

const struct spec_object *engine_job_spec(void)
{
    return &job_object;
}
