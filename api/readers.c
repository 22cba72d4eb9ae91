/* Database readers that wait for the next request. There are never more than threads that ask. */
#include <stdlib.h>

#include "http.h"

#define IDLE_MAX 16

struct readers {
    struct db *db;
    pthread_mutex_t lock;
    struct db_reader *idle[IDLE_MAX];
    int n;
};

int readers_open(struct readers **out, struct db *db, struct err *err)
{
    struct readers *readers = calloc(1, sizeof *readers);

    if (!readers)
        return err_no_memory(err);
    readers->db = db;
    pthread_mutex_init(&readers->lock, NULL);
    *out = readers;
    return 0;
}

void readers_close(struct readers *readers)
{
    if (!readers)
        return;
    while (readers->n > 0)
        db_reader_close(readers->idle[--readers->n]);
    pthread_mutex_destroy(&readers->lock);
    free(readers);
}

int readers_take(struct readers *readers, struct db_reader **out, struct err *err)
{
    struct db_reader *reader = NULL;

    pthread_mutex_lock(&readers->lock);
    if (readers->n > 0)
        reader = readers->idle[--readers->n];
    pthread_mutex_unlock(&readers->lock);
    if (!reader)
        return db_reader_open(out, readers->db, err);
    *out = reader;
    return 0;
}

void readers_give(struct readers *readers, struct db_reader *reader)
{
    if (!reader)
        return;
    pthread_mutex_lock(&readers->lock);
    if (readers->n < IDLE_MAX) {
        readers->idle[readers->n++] = reader;
        reader = NULL;
    }
    pthread_mutex_unlock(&readers->lock);
    db_reader_close(reader);
}
