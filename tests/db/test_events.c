/* Events: one sequence over all jobs, in order, without gaps or doubles, however they are read. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "support.h"

#define SEEN_MAX 20000

struct seen {
    int64_t last;
    int n, kinds[EVENT_TELEMETRY + 1];
    uint64_t last_update;
    struct db_event event[SEEN_MAX]; /* text is not kept */
    char text[8][1200];              /* of the first eight with one */
    int n_texts;
};

static int see(void *context, const struct db_event *event)
{
    struct seen *seen = context;

    assert_true(event->sequence > seen->last);
    assert_true(seen->n < SEEN_MAX);
    seen->last = event->sequence;
    seen->kinds[event->kind]++;
    seen->event[seen->n++] = *event;
    if (event->text && seen->n_texts < 8)
        strcpy(seen->text[seen->n_texts++], event->text);
    return 0;
}

static struct seen *seen_new(void)
{
    struct seen *seen = calloc(1, sizeof *seen);

    assert_non_null(seen);
    return seen;
}

static void read_all(struct place *place, int64_t job, int64_t limit, struct seen *seen)
{
    for (int before = -1; before != seen->n;) {
        before = seen->n;
        assert_ok(db_events_each(place->reader, job, seen->last, limit, see, seen, err));
        assert_true(seen->n - before <= limit);
    }
}

static void a_life_is_told_in_order(void **state)
{
    static const enum db_event_kind told[] = {EVENT_STATE, EVENT_STATE,      EVENT_LOSS,
                                              EVENT_LOSS,  EVENT_EPOCH,      EVENT_MESSAGE,
                                              EVENT_LOSS,  EVENT_CHECKPOINT, EVENT_STATE};
    struct place *place = *state;
    struct checkpoint *checkpoint = checkpoint_of(3, 1);
    struct db_epoch epoch = epoch_of(1);
    struct seen *seen = seen_new(), *all = seen_new();
    int64_t job, last;

    place_open(place, NULL);
    job = start_job(place);
    add_losses(place, job, 1, 2);
    assert_ok(db_epoch_add(place->db, job, &epoch, err));
    assert_ok(db_message_add(place->db, job, "half way", err));
    add_losses(place, job, 3, 3);
    assert_ok(db_checkpoint_add(place->db, job, checkpoint, true, 1, err));
    assert_ok(db_job_set_state(place->db, job, JOB_FAILED, "the end", err));
    read_all(place, job, 100, seen);
    assert_int_equal(seen->n, 9);
    for (int i = 0; i < 9; i++) {
        assert_int_equal(seen->event[i].kind, told[i]);
        assert_int_equal(seen->event[i].job, job);
        assert_int_equal(seen->event[i].wall_ms == 0, told[i] == EVENT_LOSS);
    }
    assert_int_equal(seen->event[0].state, JOB_QUEUED);
    assert_int_equal(seen->event[1].state, JOB_RUNNING);
    assert_int_equal(seen->event[6].loss.update, 3);
    assert_true(seen->event[6].loss.loss == loss_of(3).loss);
    assert_int_equal(seen->event[4].epoch.epoch, 1);
    assert_true(seen->event[4].epoch.test_loss == epoch.test_loss);
    assert_int_equal(seen->event[7].checkpoint_update, 3);
    assert_int_equal(seen->event[8].state, JOB_FAILED);
    assert_string_equal(seen->text[0], "half way");
    assert_string_equal(seen->text[1], "the end");
    assert_ok(db_events_last(place->reader, &last, err));
    assert_int_equal(last, seen->last);
    read_all(place, 0, 100, all); /* of all jobs: the same without losses */
    assert_int_equal(all->n, 6);
    assert_int_equal(all->kinds[EVENT_LOSS], 0);
    assert_int_equal(all->last, seen->last);
    free(seen);
    free(all);
    checkpoint_drop(checkpoint);
}

static int take_text(void *context, const struct db_event *event)
{
    struct seen *seen = context;

    assert_int_equal(event->kind, EVENT_MESSAGE);
    strcpy(seen->text[seen->n_texts++], event->text);
    return 0;
}

/* The messages of the job by themselves, of which `seen` has read two in their order. */
static void check_newest_first(struct place *place, int64_t job, const struct seen *seen)
{
    struct seen *own = seen_new();

    assert_ok(db_messages_each(place->reader, job, 8, take_text, own, err));
    assert_int_equal(own->n_texts, 2);
    assert_string_equal(own->text[0], seen->text[1]);
    assert_string_equal(own->text[1], seen->text[0]);
    assert_ok(db_messages_each(place->reader, job, 1, take_text, own, err));
    assert_int_equal(own->n_texts, 3);
    assert_string_equal(own->text[2], seen->text[1]);
    assert_ok(db_messages_each(place->reader, job + 1, 8, take_text, own, err));
    assert_int_equal(own->n_texts, 3);
    free(own);
}

static void messages_are_cut_between_characters(void **state)
{
    struct place *place = *state;
    struct seen *seen = seen_new();
    char text[1101];
    int64_t job;

    place_open(place, NULL);
    job = add_job(place, "j", 0);
    memset(text, 'a', sizeof text);
    text[1100] = '\0';
    memcpy(text + 998, "\xe2\x82\xac", 3); /* a euro sign over the edge */
    assert_ok(db_message_add(place->db, job, text, err));
    text[1000] = '\0';
    memset(text, 'b', 1000);
    assert_ok(db_message_add(place->db, job, text, err));
    settle(place);
    read_all(place, job, 100, seen);
    assert_int_equal(seen->n_texts, 2);
    assert_int_equal(strlen(seen->text[0]), 998);
    assert_string_equal(seen->text[1], text);
    check_newest_first(place, job, seen);
    free(seen);
}

/* Two jobs at once, one resumed in the middle; read in pages of each size, from each place. */
static void pages_of_any_size_give_the_same(void **state)
{
    struct place *place = *state;
    struct checkpoint *checkpoint = checkpoint_of(500, 1);
    struct seen *whole = seen_new(), *paged = seen_new();
    int64_t a, b;

    place_open(place, NULL);
    a = start_job(place);
    b = start_job(place);
    for (uint64_t i = 0; i < 100; i++) {
        struct db_epoch epoch = epoch_of((int64_t)i + 1);

        add_losses(place, a, i * 10 + 1, i * 10 + 10);
        add_losses(place, b, i * 3 + 1, i * 3 + 3);
        assert_ok(db_epoch_add(place->db, a, &epoch, err));
        if (i == 49)
            assert_ok(db_checkpoint_add(place->db, a, checkpoint, false, 1, err));
    }
    assert_ok(db_job_set_state(place->db, a, JOB_QUEUED, NULL, err));
    assert_ok(db_job_set_state(place->db, a, JOB_RUNNING, NULL, err));
    add_losses(place, a, 501, 700);
    settle(place);
    read_all(place, a, INT64_MAX, whole);
    assert_int_equal(whole->kinds[EVENT_LOSS], 700);
    assert_int_equal(whole->kinds[EVENT_EPOCH], 50);
    for (int limit = 1; limit <= 1000; limit = limit * 3 + 1) {
        memset(paged, 0, sizeof *paged);
        read_all(place, a, limit, paged);
        assert_int_equal(paged->n, whole->n);
        for (int i = 0; i < whole->n; i++)
            assert_int_equal(paged->event[i].sequence, whole->event[i].sequence);
    }
    for (int i = 0; i < whole->n; i += 7) { /* after each number, its successor */
        memset(paged, 0, sizeof *paged);
        paged->last = whole->event[i].sequence;
        assert_ok(db_events_each(place->reader, a, paged->last, 1, see, paged, err));
        assert_int_equal(paged->n, i + 1 < whole->n);
        if (paged->n)
            assert_int_equal(paged->event[0].sequence, whole->event[i + 1].sequence);
    }
    free(whole);
    free(paged);
    checkpoint_drop(checkpoint);
}

static void a_resume_says_from_where(void **state)
{
    struct place *place = *state;
    struct checkpoint *checkpoint = checkpoint_of(5, 1);
    struct seen *seen = seen_new();
    int64_t job, before;

    place_open(place, NULL);
    job = start_job(place);
    add_losses(place, job, 1, 5);
    assert_ok(db_checkpoint_add(place->db, job, checkpoint, false, 1, err));
    add_losses(place, job, 6, 9);
    place_reopen(place);
    assert_ok(db_events_last(place->reader, &before, err));
    assert_ok(db_recover(place->db, NULL, err));
    assert_ok(db_job_set_state(place->db, job, JOB_RUNNING, NULL, err));
    add_losses(place, job, 6, 7);
    settle(place);
    seen->last = before; /* a client that had seen all up to update 9 */
    read_all(place, job, 100, seen);
    assert_int_equal(seen->n, 4);
    assert_int_equal(seen->event[0].state, JOB_QUEUED);
    assert_int_equal(seen->event[1].state, JOB_RUNNING);
    assert_int_equal(seen->event[1].checkpoint_update, 5);
    assert_int_equal(seen->event[2].loss.update, 6);
    assert_int_equal(seen->event[3].loss.update, 7);
    free(seen);
    checkpoint_drop(checkpoint);
}

struct heard {
    pthread_mutex_t lock;
    int64_t sequence;
    int calls;
};

static void hear(void *context, int64_t sequence)
{
    struct heard *heard = context;

    pthread_mutex_lock(&heard->lock);
    if (sequence <= heard->sequence)
        heard->calls = -1000000;
    heard->sequence = sequence;
    heard->calls++;
    pthread_mutex_unlock(&heard->lock);
}

static void the_listener_hears_of_each_commit_with_events(void **state)
{
    struct heard heard = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct place *place = *state;
    struct db_claim claim;
    int64_t job, last;
    int calls;

    place_open(place, NULL);
    db_listen(place->db, hear, &heard);
    job = start_job(place);
    add_losses(place, job, 1, 100);
    settle(place);
    assert_ok(db_job_wish(place->db, job, WISH_PAUSE, err)); /* no event */
    db_listen(place->db, NULL, NULL);
    assert_ok(db_events_last(place->reader, &last, err));
    assert_int_equal(heard.sequence, last);
    assert_in_range(heard.calls, 3, 20);
    calls = heard.calls;
    add_job(place, "another", 0);
    assert_ok(db_job_claim(place->db, 1, &claim, err));
    free(claim.spec);
    assert_int_equal(heard.calls, calls);
}

static void the_sequence_survives_reopening_and_removed_rows(void **state)
{
    struct place *place = *state;
    int64_t job, before, after;
    struct seen *seen = seen_new();

    place_open(place, NULL);
    job = start_job(place);
    add_losses(place, job, 1, 1000);
    settle(place);
    assert_ok(db_events_last(place->reader, &before, err));
    place_reopen(place);
    assert_ok(db_events_last(place->reader, &after, err));
    assert_int_equal(after, before);
    assert_ok(db_recover(place->db, NULL, err));
    assert_ok(db_job_set_state(place->db, job, JOB_RUNNING, NULL, err)); /* removes the losses */
    place_reopen(place);
    assert_ok(db_message_add(place->db, job, "m", err));
    settle(place);
    seen->last = before;
    read_all(place, job, 100, seen);
    assert_int_equal(seen->kinds[EVENT_MESSAGE], 1);
    free(seen);
}

/* A reader that follows a job while it records, as an event stream does, misses nothing. */
static void following_misses_nothing(void **state)
{
    struct place *place = *state;
    struct seen *seen = seen_new();
    int64_t job;

    place_open(place, NULL);
    job = start_job(place);
    for (uint64_t i = 0; i < 100; i++) {
        add_losses(place, job, i * 100 + 1, i * 100 + 100);
        assert_ok(db_events_each(place->reader, job, seen->last, 64, see, seen, err));
        if (i % 10 == 9)
            settle(place);
    }
    read_all(place, job, 64, seen);
    assert_int_equal(seen->kinds[EVENT_LOSS], 10000);
    for (int i = 0, update = 1; i < seen->n; i++)
        if (seen->event[i].kind == EVENT_LOSS)
            assert_int_equal(seen->event[i].loss.update, update++);
    free(seen);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_life_is_told_in_order),
        TEST(messages_are_cut_between_characters),
        TEST(pages_of_any_size_give_the_same),
        TEST(a_resume_says_from_where),
        TEST(the_listener_hears_of_each_commit_with_events),
        TEST(the_sequence_survives_reopening_and_removed_rows),
        TEST(following_misses_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
