/* A sigma for training, from what noise does to what a checkpoint has learnt.
 *
 * A checkpoint has learnt G = ln(classes) − L(w): by how much it is better than guessing. Noise of
 * strength sigma takes E L(w + ε) − L(w) of that back. Below, the perturbed gradient is a blurred
 * gradient of the same landscape; where noise takes nearly all, it is the gradient of another one.
 * The suggestion is the largest sigma at which the noise costs at most the share `suggest_share`
 * of G: sigmas rise by a fixed factor until one costs more, and between that and the one before,
 * the cost is taken to be linear in the logarithm of sigma.
 *
 * Losses are those that training would see: the training split, batches of the job's size with
 * their own statistics, the filter-wise noise of RWP. So the rule knows no number that belongs to
 * one model or one dataset; it is a heuristic all the same, and the message says what it saw. On
 * the demonstration with digits it says 0.07 to 0.09, whether SGD's checkpoint is of epoch 2 or 60;
 * m-rwp gains over SGD from there on, gains most at twice to nearly three times that, and no longer
 * learns at four times.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "probe/radius.h"
#include "probe/tables.h"

#define SIGMA_FIRST  1e-3
#define SIGMA_FACTOR 1.4142135623730951
#define SIGMAS       24 /* the last one is 2.9 */

enum { DRAW_POINT, DRAW_NUMBER, DRAW_RADIUS, DRAW_LOSS, DRAW_COLUMNS };
enum { ROW_SIGMA, ROW_RADIUS, ROW_LOSS, ROW_ERROR, ROW_RISE, ROW_SHARE, ROW_COLUMNS };

/* Where the search has come to. */
struct search {
    struct probe_set set;
    double learnt; /* G */
    double before[ROW_COLUMNS], now[ROW_COLUMNS];
};

double suggest_cost(const struct engine_probe_run *run)
{
    return (1 + SIGMAS * (double)run->probe.draws) * COST_FORWARD;
}

static double sigma_of(int point)
{
    return SIGMA_FIRST * pow(SIGMA_FACTOR, point);
}

/* Row 0 is the loss without noise. */
static int64_t row_number(const struct engine_probe_run *run, int point, int64_t draw)
{
    return 1 + point * run->probe.draws + draw;
}

static int measure_draw(struct engine_probe_run *run, struct search *search, int point,
                        int64_t draw, struct err *err)
{
    struct perturbation noise = probe_noise_perturbation(run, false, draw, sigma_of(point));
    struct probe_point at = {run->weights, run->states, point < 0 ? NULL : &noise};
    double row[DRAW_COLUMNS] = {point, (double)draw};
    int64_t number = point < 0 ? 0 : row_number(run, point, draw);
    struct probe_loss loss;
    int rc = 0;

    if (rows_find(run->rows, RADIUS_SIGMA_DRAWS, number))
        return probe_progress(run, COST_FORWARD, err);
    if (point >= 0)
        rc = probe_noise_norm(run, &noise, &row[DRAW_RADIUS], err);
    if (!rc)
        rc = probe_loss_at(run, &search->set, &at, &loss, err);
    if (rc)
        return rc;
    row[DRAW_LOSS] = loss.loss;
    return probe_tell(run, RADIUS_SIGMA_DRAWS, number, row, err);
}

static int tell_sigma(struct engine_probe_run *run, struct search *search, int point,
                      struct err *err)
{
    int64_t n = run->probe.draws;
    double *row = search->now, *losses = probe_numbers(n);
    struct probe_mean mean;

    if (!losses)
        return err_no_memory(err);
    row[ROW_SIGMA] = sigma_of(point);
    row[ROW_RADIUS] = 0;
    for (int64_t i = 0; i < n; i++) {
        const double *draw = rows_find(run->rows, RADIUS_SIGMA_DRAWS, row_number(run, point, i));

        losses[i] = draw[DRAW_LOSS];
        row[ROW_RADIUS] += draw[DRAW_RADIUS] / (double)n;
    }
    mean = probe_mean_of(losses, n);
    free(losses);
    row[ROW_LOSS] = mean.mean;
    row[ROW_ERROR] = mean.standard_error;
    row[ROW_RISE] = mean.mean - run->summary[RADIUS_TRAINING_LOSS];
    row[ROW_SHARE] = row[ROW_RISE] / search->learnt;
    return probe_tell(run, RADIUS_SIGMAS, point, row, err);
}

/* Between the last sigma that costs little enough and the first that costs too much. */
static void interpolate(struct engine_probe_run *run, const struct search *search)
{
    const double *low = search->before, *high = search->now;
    double at = (run->probe.suggest_share - low[ROW_SHARE]) / (high[ROW_SHARE] - low[ROW_SHARE]);

    if (!isfinite(high[ROW_SHARE]))
        at = 0;
    run->summary[RADIUS_SUGGESTED_SIGMA] =
        low[ROW_SIGMA] * pow(high[ROW_SIGMA] / low[ROW_SIGMA], at);
    run->summary[RADIUS_SUGGESTED_RADIUS] =
        low[ROW_RADIUS] * pow(high[ROW_RADIUS] / low[ROW_RADIUS], at);
    probe_message(
        run,
        "suggested sigma: %.3g, for the noise of rwp and m-rwp on this model and these data. "
        "The checkpoint's training loss, batches with their own statistics, is %.4g; guessing has "
        "%.4g; so it has learnt %.4g. Noise of sigma %.3g costs %.1f%% of that (mean of %lld "
        "draws), sigma %.3g %.1f%%; at %.3g it should cost %.0f%%, which is suggest_share. "
        "That is where to begin; methods with a clean gradient beside the noisy one often gain up "
        "to about twice of it. With a ramp, sigma is what the ramp begins with: divide by "
        "(1 + ramp).",
        run->summary[RADIUS_SUGGESTED_SIGMA], run->summary[RADIUS_TRAINING_LOSS],
        run->summary[RADIUS_GUESSING_LOSS], search->learnt, low[ROW_SIGMA], 100 * low[ROW_SHARE],
        (long long)run->probe.draws, high[ROW_SIGMA], 100 * high[ROW_SHARE],
        run->summary[RADIUS_SUGGESTED_SIGMA], 100 * run->probe.suggest_share);
}

static int search_sigmas(struct engine_probe_run *run, struct search *search, struct err *err)
{
    for (int point = 0; point < SIGMAS; point++) {
        int rc = 0;

        for (int64_t draw = 0; draw < run->probe.draws && !rc; draw++)
            rc = measure_draw(run, search, point, draw, err);
        if (!rc)
            rc = tell_sigma(run, search, point, err);
        if (rc)
            return rc;
        if (!(search->now[ROW_SHARE] <= run->probe.suggest_share)) {
            if (point > 0)
                interpolate(run, search);
            else
                probe_message(run,
                              "no sigma is suggested: already the smallest one tried, %g, costs "
                              "more than suggest_share of what the checkpoint has learnt",
                              SIGMA_FIRST);
            return 0;
        }
        for (int i = 0; i < ROW_COLUMNS; i++)
            search->before[i] = search->now[i];
    }
    probe_message(run,
                  "no sigma is suggested: even the largest one tried, %.2g, costs less than "
                  "suggest_share of what the checkpoint has learnt",
                  sigma_of(SIGMAS - 1));
    return 0;
}

static int measure_learnt(struct engine_probe_run *run, struct search *search, struct err *err)
{
    double *summary = run->summary;
    int rc = measure_draw(run, search, -1, 0, err);

    if (rc)
        return rc;
    summary[RADIUS_TRAINING_LOSS] = rows_find(run->rows, RADIUS_SIGMA_DRAWS, 0)[DRAW_LOSS];
    summary[RADIUS_GUESSING_LOSS] = log(run->dataset->classes);
    search->learnt = summary[RADIUS_GUESSING_LOSS] - summary[RADIUS_TRAINING_LOSS];
    return 0;
}

int suggest_measure(struct engine_probe_run *run, struct err *err)
{
    struct search search = {0};
    int rc = probe_set_open(run, &search.set, SPLIT_TRAIN, true, err);

    if (!rc)
        rc = measure_learnt(run, &search, err);
    if (!rc && !(search.learnt > 0.05 * run->summary[RADIUS_GUESSING_LOSS]))
        probe_message(run,
                      "no sigma is suggested: the checkpoint's training loss, %.4g, is hardly "
                      "below that of guessing, %.4g. Ask a later checkpoint",
                      run->summary[RADIUS_TRAINING_LOSS], run->summary[RADIUS_GUESSING_LOSS]);
    else if (!rc)
        rc = search_sigmas(run, &search, err);
    probe_set_close(run, &search.set);
    return rc ? rc : probe_tell_summary(run, err);
}
