/* The models that can be asked for, with their parameters. */
#include "base/cleanup.h"
#include "job/tables.h"

static const char *const stems[] = {
    [STEM_AUTO] = "auto", [STEM_CIFAR] = "cifar", [STEM_IMAGENET] = "imagenet", NULL};

#define WIDTH(value, text)                                                                         \
    {                                                                                              \
        .name = "width", .type = SPEC_INT, .offset = offsetof(struct job_model, width), .min = 1,  \
        .max = 1024, .number = (value), .doc = (text),                                             \
    }
#define RESNET_WIDTH WIDTH(64, "Channels of the first stage; each further stage doubles them.")
#define BLOCKS(...)                                                                                \
    {                                                                                              \
        .name = "blocks", .type = SPEC_INT_LIST, .offset = offsetof(struct job_model, blocks),     \
        .min = 1, .max = 64, .max_length = 6, .list = {.n = 4, .item = {__VA_ARGS__}},             \
        .doc = "Residual blocks a stage; each stage but the first halves the resolution.",         \
    }
#define STEM                                                                                       \
    {                                                                                              \
        .name = "stem", .type = SPEC_CHOICE, .offset = offsetof(struct job_model, stem),           \
        .choices = stems, .number = STEM_AUTO,                                                     \
        .doc = "cifar: a 3×3 convolution, and PyTorch's default start. imagenet: a 7×7 "         \
               "convolution of stride 2, a 3×3 max-pool of stride 2, and torchvision's start. "   \
               "auto: imagenet from 64×64 pixels on.",                                             \
    }
#define DEPTH(value, text)                                                                         \
    {                                                                                              \
        .name = "depth", .type = SPEC_INT, .offset = offsetof(struct job_model, depth), .min = 10, \
        .max = 2000, .number = (value), .doc = (text),                                             \
    }
#define DROPOUT(value, text)                                                                       \
    {                                                                                              \
        .name = "dropout", .type = SPEC_REAL, .offset = offsetof(struct job_model, dropout),       \
        .min = 0, .max = 1, .below_max = true, .number = (value), .doc = (text),                   \
    }
#define WRN_DROPOUT DROPOUT(0, "Rate of the dropout between the convolutions of a unit.")

static const struct spec_field resnet_fields[] = {RESNET_WIDTH, BLOCKS(2, 2, 2, 2), STEM};
static const struct spec_field resnet34_fields[] = {RESNET_WIDTH, BLOCKS(3, 4, 6, 3), STEM};
static const struct spec_field resnet101_fields[] = {RESNET_WIDTH, BLOCKS(3, 4, 23, 3), STEM};

#define PRERESNET_WIDTH                                                                            \
    WIDTH(16, "Channels in the middle of the first stage's blocks, which give out four times as "  \
              "many; each further stage doubles them.")

static const struct spec_field preresnet_fields[] = {
    DEPTH(164, "Layers with weights: 9·n + 2 for n blocks a stage."), PRERESNET_WIDTH};
static const struct spec_field preresnet164_fields[] = {PRERESNET_WIDTH};

static const struct spec_field vgg_fields[] = {
    WIDTH(64, "Channels of the first stage; the next three double them. The classifier's hidden "
              "layers have eight times as many."),
    DROPOUT(0.5, "Rate of the dropout before the classifier's first two layers."),
};

static const struct spec_field wrn_fields[] = {
    DEPTH(28, "Layers with weights: 6·n + 4 for n units a group."),
    {.name = "widen",
     .type = SPEC_INT,
     .offset = offsetof(struct job_model, widen),
     .min = 1,
     .max = 64,
     .number = 10,
     .doc = "The groups have this times 16, 32 and 64 channels."},
    WRN_DROPOUT,
};
static const struct spec_field wrn_fixed_fields[] = {WRN_DROPOUT};

#define VIT_COUNT(member, most, value, text)                                                       \
    {                                                                                              \
        .name = #member, .type = SPEC_INT, .offset = offsetof(struct job_model, member), .min = 1, \
        .max = (most), .number = (value), .doc = (text),                                           \
    }
/* A vision transformer's own numbers. */
#define VIT_FIELDS(side, features, blocks_, heads_, hidden)                                        \
    VIT_COUNT(patch, 256, side, "Pixels of a patch's side; divides the images' sides."),           \
        VIT_COUNT(width, 8192, features, "Features of a token; a multiple of the heads."),         \
        VIT_COUNT(depth, 200, blocks_, "Blocks of attention and two linear layers."),              \
        VIT_COUNT(heads, 128, heads_, "Attention heads of a block, each width/heads wide."),       \
        VIT_COUNT(mlp, 32768, hidden, "Hidden features of a block's two linear layers.")

#define VIT_DROPOUT(value) DROPOUT(value, "Rate of the dropout after attention and linear layers.")
#define TIMM_DROPOUT       DROPOUT(0, "Rate of the dropout after embedding, attention and linear layers.")

static const struct spec_field vit_fields[] = {
    VIT_FIELDS(4, 512, 6, 8, 512),
    VIT_DROPOUT(0.1),
    {.name = "embedding_dropout",
     .type = SPEC_REAL,
     .offset = offsetof(struct job_model, embedding_dropout),
     .min = 0,
     .max = 1,
     .below_max = true,
     .number = 0.1,
     .doc = "Rate of the dropout after the embedding."},
};
static const struct spec_field vit_s32_fields[] = {VIT_FIELDS(32, 384, 12, 6, 1536), TIMM_DROPOUT};
static const struct spec_field vit_s16_fields[] = {VIT_FIELDS(16, 384, 12, 6, 1536), TIMM_DROPOUT};
static const struct spec_field vit_b16_fields[] = {VIT_FIELDS(16, 768, 12, 12, 3072), TIMM_DROPOUT};

const struct spec_object job_model_kinds[MODEL_KINDS] = {
    [MODEL_RESNET] = {.name = "resnet",
                      .doc = "ResNet of basic blocks; stages as given.",
                      FIELDS(resnet_fields)},
    [MODEL_RESNET18] = {.name = "resnet18",
                        .doc = "ResNet-18: 4 stages of 2 basic blocks.",
                        FIELDS(resnet_fields)},
    [MODEL_RESNET34] = {.name = "resnet34",
                        .doc = "ResNet-34: stages of 3, 4, 6 and 3 basic blocks.",
                        FIELDS(resnet34_fields)},
    [MODEL_RESNET50] = {.name = "resnet50",
                        .doc = "ResNet-50: stages of 3, 4, 6 and 3 bottlenecks.",
                        FIELDS(resnet34_fields)},
    [MODEL_RESNET101] = {.name = "resnet101",
                         .doc = "ResNet-101: stages of 3, 4, 23 and 3 bottlenecks.",
                         FIELDS(resnet101_fields)},
    [MODEL_PRERESNET] = {.name = "preresnet",
                         .doc = "ResNet of bottlenecks with pre-activation for small images: "
                                "3 stages.",
                         FIELDS(preresnet_fields)},
    [MODEL_PRERESNET164] = {.name = "preresnet164",
                            .doc = "PreResNet-164: 3 stages of 18 bottlenecks with "
                                   "pre-activation.",
                            FIELDS(preresnet164_fields)},
    [MODEL_VGG16_BN] = {.name = "vgg16_bn",
                        .doc = "VGG-16 with batch norm and a classifier of 512 with dropout, for "
                               "images from 32×32 on.",
                        FIELDS(vgg_fields)},
    [MODEL_VGG19_BN] = {.name = "vgg19_bn",
                        .doc = "VGG-19 with batch norm and a classifier of 512 with dropout, for "
                               "images from 32×32 on.",
                        FIELDS(vgg_fields)},
    [MODEL_WRN] = {.name = "wrn",
                   .doc = "Wide ResNet for small images: 3 groups; depth and width as given.",
                   FIELDS(wrn_fields)},
    [MODEL_WRN16_8] = {.name = "wrn16_8",
                       .doc = "WRN-16-8: 2 units a group.",
                       FIELDS(wrn_fixed_fields)},
    [MODEL_WRN28_10] = {.name = "wrn28_10",
                        .doc = "WRN-28-10: 4 units a group.",
                        FIELDS(wrn_fixed_fields)},
    [MODEL_WRN22_8] = {.name = "wrn22_8",
                       .doc = "WRN-22-8: 3 units a group. What the paper's code calls 16x8.",
                       FIELDS(wrn_fixed_fields)},
    [MODEL_WRN34_10] = {.name = "wrn34_10",
                        .doc = "WRN-34-10: 5 units a group. What the paper's code calls 28x10.",
                        FIELDS(wrn_fixed_fields)},
    [MODEL_VIT] = {.name = "vit",
                   .doc = "Vision transformer for small images, as in vit-pytorch.",
                   FIELDS(vit_fields)},
    [MODEL_VIT_S32] = {.name = "vit_s32",
                       .doc = "ViT-S/32: timm's vit_small_patch32_224, for images of any size that "
                              "the patches divide.",
                       FIELDS(vit_s32_fields)},
    [MODEL_VIT_S16] = {.name = "vit_s16",
                       .doc = "ViT-S/16: timm's vit_small_patch16_224, for images of any size that "
                              "the patches divide.",
                       FIELDS(vit_s16_fields)},
    [MODEL_VIT_B16] = {.name = "vit_b16",
                       .doc = "ViT-B/16: timm's vit_base_patch16_224, for images of any size that "
                              "the patches divide.",
                       FIELDS(vit_b16_fields)},
};
