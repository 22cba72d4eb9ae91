/* What probes tell: rows of their tables, read back by stretches, replaced where they are told
 * again, without a gap after a kill -9; and their vectors. */
#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "probe_support.h"
#include "victim.h"

static struct probe_row row_of(int table, int64_t number)
{
    struct probe_row row = {.table = table, .number = number, .n = table + 2};

    for (int i = 0; i < row.n; i++)
        row.value[i] = number % 7 == 3 ? NAN : 1.0 / (double)(number + i + 1);
    return row;
}

static void add_rows(struct place *place, int64_t id, int table, int64_t from, int64_t to)
{
    for (int64_t number = from; number < to; number++) {
        struct probe_row row = row_of(table, number);

        assert_ok(db_probe_row_add(place->db, id, &row, err));
    }
}

struct walk {
    int table;
    int64_t next;
};

static int next_row(void *context, const struct probe_row *got)
{
    struct walk *walk = context;
    struct probe_row want = row_of(walk->table, walk->next++);

    assert_int_equal(got->table, want.table);
    assert_int_equal(got->number, want.number);
    assert_int_equal(got->n, want.n);
    assert_memory_equal(got->value, want.value, (size_t)want.n * sizeof *want.value);
    return 0;
}

static void rows_come_back_and_are_replaced(void **state)
{
    struct place *place = *state;
    struct walk walk = {.table = 1, .next = 100};
    struct probe_row other = row_of(1, 5), *rows;
    int64_t job = open_with_checkpoint(place), n;
    struct db_probe_claim claimed;

    add_probe(place, job, 10, 0);
    claimed = claim_probe(place);
    other.value[0] = -1; /* until it is told again */
    assert_ok(db_probe_row_add(place->db, claimed.id, &other, err));
    add_rows(place, claimed.id, 1, 0, 10000);
    add_rows(place, claimed.id, 0, 0, 1);
    assert_ok(db_probe_set_state(place->db, claimed.id, PROBE_QUEUED, NULL, err));
    /* A state that is durable comes after the rows before it. */
    assert_ok(db_probe_rows_count(place->reader, claimed.id, 1, -1, &n, err));
    assert_int_equal(n, 10000);
    assert_ok(db_probe_rows_count(place->reader, claimed.id, 1, 9989, &n, err));
    assert_int_equal(n, 10);
    assert_ok(db_probe_rows_each(place->reader, claimed.id, 1, 99, 50, next_row, &walk, err));
    assert_int_equal(walk.next, 150);
    place_reopen(place);
    walk.next = 0;
    assert_ok(db_probe_rows_each(place->reader, claimed.id, 1, -1, 20000, next_row, &walk, err));
    assert_int_equal(walk.next, 10000);
    assert_ok(db_probe_rows_load(place->reader, claimed.id, &rows, &n, err));
    assert_int_equal(n, 10001);
    assert_true(rows[0].table == 0 && rows[1].table == 1 && rows[10000].number == 9999);
    free(rows);
}

static void vectors_are_kept_and_replaced(void **state)
{
    struct place *place = *state;
    int64_t job = open_with_checkpoint(place);
    struct db_probe_claim claimed;
    struct db_totals totals;
    struct db_probe probe;

    add_probe(place, job, 10, 0);
    claimed = claim_probe(place);
    for (uint64_t seed = 1; seed <= 2; seed++) {
        struct checkpoint *vectors = checkpoint_of(seed, 1), *got;

        assert_ok(db_probe_vectors_add(place->db, claimed.id, vectors, err));
        assert_ok(
            db_checkpoint_load(place->reader, DB_VECTORS_JOB, (uint64_t)claimed.id, &got, err));
        vectors->update = (uint64_t)claimed.id;
        assert_checkpoint_equal(got, vectors);
        db_checkpoint_free(got);
        checkpoint_drop(vectors);
    }
    probe = get_probe(place, job, 1);
    assert_true(probe.vectors);
    db_probe_free(&probe);
    assert_ok(db_totals(place->reader, &totals, err));
    assert_int_equal(totals.checkpoints, 1); /* vectors are none */
}

/* ---- Killed ---- */

#define ROUNDS 12
#define ROWS   400
#define KILLED 3 /* probes in each round's queue */

/* Goes on with each probe behind the rows that it has. */
static int measure_until_killed(const char *folder, int pipe)
{
    struct db_probe_claim claimed;
    struct db_reader *reader;
    struct db *db;
    int64_t n;

    must(db_open(&db, folder, NULL, err));
    must(db_reader_open(&reader, db, err));
    must(db_recover(db, NULL, err));
    must(db_probe_recover(db, NULL, err));
    if (write(pipe, "r", 1) != 1)
        return 4;
    while (db_probe_claim(db, 1, &claimed, NULL) == 0) {
        must(db_probe_rows_count(reader, claimed.id, 1, -1, &n, err));
        for (; n < ROWS; n++) {
            struct probe_row row = row_of(1, n);

            must(db_probe_row_add(db, claimed.id, &row, err));
            if (n % 40 == 0)
                usleep(1000);
        }
        must(db_probe_set_state(db, claimed.id, PROBE_SUCCEEDED, NULL, err));
        db_probe_claim_free(&claimed);
    }
    pause();
    return 0;
}

static void kill_after(struct place *place, unsigned delay_us)
{
    struct victim victim;
    char ready;

    victim_start(&victim, place);
    assert_int_equal(read(victim.from, &ready, 1), 1);
    usleep(delay_us);
    victim_kill(&victim);
    victim_close(&victim);
}

static void rows_survive_kill_9_without_a_gap(void **state)
{
    struct place *place = *state;
    unsigned seed = (unsigned)clock_wall_ms();
    int64_t job = open_with_checkpoint(place), n;

    print_message("seed %u\n", seed);
    for (int i = 0; i < KILLED * ROUNDS; i++)
        add_probe(place, job, 10, 0);
    place_close(place);
    for (int round = 0; round < ROUNDS; round++) {
        kill_after(place, (unsigned)rand_r(&seed) % 60000);
        place_check(place);
        place_open(place, NULL);
        for (int64_t id = 1; id <= KILLED * ROUNDS; id++) {
            struct walk walk = {.table = 1};

            assert_ok(db_probe_rows_each(place->reader, id, 1, -1, ROWS + 1, next_row, &walk, err));
            assert_ok(db_probe_rows_count(place->reader, id, 1, -1, &n, err));
            assert_int_equal(walk.next, n);
            if (state_of_probe(place, job, id) == PROBE_SUCCEEDED)
                assert_int_equal(n, ROWS);
        }
        place_close(place);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(rows_come_back_and_are_replaced),
        TEST(vectors_are_kept_and_replaced),
        TEST(rows_survive_kill_9_without_a_gap),
    };

    victim_main(argc, argv, measure_until_killed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
