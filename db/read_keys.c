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
    sqlite3_stmt *row;
    int code;

    *id = 0;
    if (key->of == DB_KEY_PROBE)
        code = sql_query(&reader->rows, &row, err, texts[key->of], "tti", key->key,
                         key->fingerprint, key->job);
    else
        code =
            sql_query(&reader->rows, &row, err, texts[key->of], "tt", key->key, key->fingerprint);
    if (!code)
        code = sql_step(&reader->rows, row, err);
    if (code <= 0)
        return code;
    *id = sqlite3_column_int64(row, 0);
    sql_done(row);
    return 0;
}
