#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "bench.h"
#include "job/tables.h"

const char bench_usage[] =
    "usage: bench_update, bench_product [options]\n"
    "  --model KIND (of GET /v1/models)   --width N   --blocks N,N,…   --depth N   --widen N\n"
    "  --dropout 0…99 (hundredths)   --stem auto|cifar|imagenet\n"
    "  --patch N   --heads N   --mlp N\n"
    "  --batch N   --channels N   --size N (images of N×N)   --classes N\n"
    "  --method sgd|sam|rwp|arwp|m-rwp|m-arwp   --backend cpu|reference   --threads N\n"
    "  --exact      no algorithms of lower accuracy\n"
    "  --updates N  timed in a round   --warm N  before the first round\n"
    "  --rounds     a round for each line of standard input\n"
    "  --profile    a line for each operation, with its share of the time\n";

static const char *const stems[] = {"auto", "cifar", "imagenet", NULL};
static const char *const methods[] = {"sgd", "sam", "rwp", "arwp", "m-rwp", "m-arwp", NULL};

static int choice(const char *option, const char *text, const char *const *names, int *out,
                  struct err *err)
{
    for (int i = 0; names[i]; i++)
        if (strcmp(text, names[i]) == 0) {
            *out = i;
            return 0;
        }
    return err_set(err, ERR_INVALID, "--%s: there is no %s", option, text);
}

static int model_kind(const char *text, int *out, struct err *err)
{
    for (int i = 0; i < MODEL_KINDS; i++)
        if (strcmp(text, job_model_kinds[i].name) == 0) {
            *out = i;
            return 0;
        }
    return err_set(err, ERR_INVALID, "--model: there is no %s", text);
}

static int number(const char *option, const char *text, long *out, struct err *err)
{
    char *end;

    *out = strtol(text, &end, 10);
    if (end == text || *end || *out < 0 || *out > 1 << 20)
        return err_set(err, ERR_INVALID, "--%s: %s is no number that makes sense", option, text);
    return 0;
}

static int number_list(const char *option, const char *text, struct spec_int_list *out,
                       struct err *err)
{
    char *rest, copy[200];

    snprintf(copy, sizeof copy, "%s", text);
    out->n = 0;
    for (char *item = strtok_r(copy, ",", &rest); item; item = strtok_r(NULL, ",", &rest)) {
        long value;
        int rc = number(option, item, &value, err);

        if (rc)
            return rc;
        if (out->n == SPEC_LIST_MAX)
            return err_set(err, ERR_INVALID, "--%s: too many", option);
        out->item[out->n++] = value;
    }
    return 0;
}

static int read_backend(struct bench_options *o, const char *text, struct err *err)
{
    if (strcmp(text, "cpu") == 0)
        o->class = &backend_cpu;
    else if (strcmp(text, "reference") == 0)
        o->class = &backend_reference;
    else
        return err_set(err, ERR_INVALID, "--backend: there is no %s", text);
    return 0;
}

enum {
    MODEL,
    WIDTH,
    BLOCKS,
    DEPTH,
    WIDEN,
    DROPOUT,
    STEM,
    PATCH,
    HEADS,
    MLP,
    BATCH,
    CHANNELS,
    SIZE,
    CLASSES,
    METHOD,
    BACKEND,
    THREADS,
    UPDATES,
    WARM,
    EXACT,
    ROUNDS,
    PROFILE,
    HELP
};

static const struct option table[] = {
    {"model", 1, NULL, MODEL},     {"width", 1, NULL, WIDTH},     {"blocks", 1, NULL, BLOCKS},
    {"depth", 1, NULL, DEPTH},     {"widen", 1, NULL, WIDEN},     {"dropout", 1, NULL, DROPOUT},
    {"patch", 1, NULL, PATCH},     {"heads", 1, NULL, HEADS},     {"mlp", 1, NULL, MLP},
    {"stem", 1, NULL, STEM},       {"batch", 1, NULL, BATCH},     {"channels", 1, NULL, CHANNELS},
    {"size", 1, NULL, SIZE},       {"classes", 1, NULL, CLASSES}, {"method", 1, NULL, METHOD},
    {"backend", 1, NULL, BACKEND}, {"threads", 1, NULL, THREADS}, {"updates", 1, NULL, UPDATES},
    {"warm", 1, NULL, WARM},       {"exact", 0, NULL, EXACT},     {"rounds", 0, NULL, ROUNDS},
    {"profile", 0, NULL, PROFILE}, {"help", 0, NULL, HELP},       {0},
};

static int take_flag(struct bench_options *o, int option)
{
    if (option == EXACT)
        o->exact = true;
    else if (option == ROUNDS)
        o->rounds = true;
    else
        o->profile = true;
    return 0;
}

static int take_number(struct bench_options *o, int option, const char *name, struct err *err)
{
    long n;
    int rc = number(name, optarg, &n, err);

    if (rc)
        return rc;
    switch (option) {
    case WIDTH:
        o->job.model.width = n;
        break;
    case DEPTH:
        o->job.model.depth = n;
        break;
    case WIDEN:
        o->job.model.widen = n;
        break;
    case PATCH:
        o->job.model.patch = n;
        break;
    case HEADS:
        o->job.model.heads = n;
        break;
    case MLP:
        o->job.model.mlp = n;
        break;
    case DROPOUT:
        o->job.model.dropout = (double)n / 100;
        break;
    case BATCH:
        o->input.batch = n;
        break;
    case CHANNELS:
        o->input.channels = n;
        break;
    case SIZE:
        o->input.height = o->input.width = n;
        break;
    case CLASSES:
        o->input.classes = (int)n;
        break;
    case THREADS:
        o->threads = (int)n;
        break;
    case UPDATES:
        o->updates = (int)n;
        break;
    default:
        o->warm = (int)n;
    }
    return 0;
}

/* Model and method first: they decide what the others start from. */
static int find_kinds(int argc, char **argv, int *model, int *method, struct err *err)
{
    int option, rc = 0;

    *model = MODEL_RESNET18;
    *method = METHOD_SGD;
    optind = 1;
    opterr = 0;
    while (!rc && (option = getopt_long(argc, argv, "", table, NULL)) != -1)
        if (option == MODEL)
            rc = model_kind(optarg, model, err);
        else if (option == METHOD)
            rc = choice("method", optarg, methods, method, err);
        else if (option == HELP || option == '?')
            rc = err_set(err, ERR_INVALID, "%s", option == HELP ? "help" : argv[optind - 1]);
    if (!rc && optind < argc)
        rc = err_set(err, ERR_INVALID, "%s: not an option", argv[optind]);
    return rc;
}

int bench_options_read(struct bench_options *o, int argc, char **argv, struct err *err)
{
    int model, method, option, at, rc = find_kinds(argc, argv, &model, &method, err);

    if (rc)
        return rc;
    *o = (struct bench_options){.class = &backend_cpu, .threads = 2, .updates = 5, .warm = 2};
    o->input =
        (struct model_input){.batch = 128, .channels = 3, .height = 32, .width = 32, .classes = 10};
    engine_job_defaults(&o->job, model, DATASET_DIGITS, method);
    optind = 1;
    while (!rc && (option = getopt_long(argc, argv, "", table, &at)) != -1)
        switch (option) {
        case MODEL:
        case METHOD:
            break;
        case BLOCKS:
            rc = number_list("blocks", optarg, &o->job.model.blocks, err);
            break;
        case STEM:
            rc = choice("stem", optarg, stems, &o->job.model.stem, err);
            break;
        case BACKEND:
            rc = read_backend(o, optarg, err);
            break;
        case EXACT:
        case ROUNDS:
        case PROFILE:
            rc = take_flag(o, option);
            break;
        default:
            rc = take_number(o, option, table[at].name, err);
        }
    return rc;
}
