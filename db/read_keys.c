/* Whether a request with an idempotency key has become something already. The writer looks again
 * when it inserts (db_key_find); this is for whoever asks before it looks at what may be gone. */
#include "db/db.h"
#include "reader.h"

int db_key_known(struct db_reader *reader, const struct db_key *key, int64_t *id, struct err *err)
{
    static const char *const texts[] = {
        [DB_KEY_JOB] = "SELECT id FROM job WHERE idempotency_key = ?1 AND fingerprint = ?2",
        [DB_KEY_SWEEP] = "SELECT id FROM sweep WHERE idempotency_key = ?1 AND fingerprint = ?2",
        [DB_KEY_PROBE] = "SELECT number FROM probe WHERE idempotency_key = ?1 AND fingerprint = ?2 "
                         "AND job = ?3",
    };
    int code;

    *id = 0;
    if (key->of == DB_KEY_PROBE)
        code = sql_integer(&reader->rows, id, err, texts[key->of], "tti", key->key,
                           key->fingerprint, key->job);
    else
        code =
            sql_integer(&reader->rows, id, err, texts[key->of], "tt", key->key, key->fingerprint);
    return code < 0 ? code : 0;
}
