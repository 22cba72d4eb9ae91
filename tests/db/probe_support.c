#include "probe_support.h"

const char probe_request[] = "{\"kind\":\"spectrum\",\"update\":1}";

struct db_new_probe probe_of(int64_t job, uint64_t update)
{
    return (struct db_new_probe){
        .plan = {.kind = "spectrum", .request = probe_request}, .job = job, .update = update};
}

int64_t add_probe(struct place *place, int64_t job, uint64_t update, int64_t priority)
{
    struct db_new_probe probe = probe_of(job, update);
    int64_t number = 0;

    probe.plan.priority = priority;
    assert_ok(db_probe_insert(place->db, &probe, &number, NULL, err));
    return number;
}

void add_checkpoint(struct place *place, int64_t job, uint64_t update, int64_t keep)
{
    struct checkpoint *checkpoint = checkpoint_of(update, 1);

    assert_ok(db_checkpoint_add(place->db, job, checkpoint, false, keep, err));
    checkpoint_drop(checkpoint);
}

struct db_probe get_probe(struct place *place, int64_t job, int64_t number)
{
    struct db_probe probe;

    assert_ok(db_probe_get(place->reader, job, number, &probe, err));
    return probe;
}

enum probe_state state_of_probe(struct place *place, int64_t job, int64_t number)
{
    struct db_probe probe = get_probe(place, job, number);

    db_probe_free(&probe);
    return probe.state;
}

struct db_probe_claim claim_probe(struct place *place)
{
    struct db_probe_claim claimed = {0};

    assert_ok(db_probe_claim(place->db, 3, &claimed, err));
    db_probe_claim_free(&claimed);
    return claimed;
}

int64_t open_with_checkpoint(struct place *place)
{
    int64_t job;

    place_open(place, NULL);
    job = start_job(place);
    add_checkpoint(place, job, 10, 1);
    return job;
}
