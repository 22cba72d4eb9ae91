/* The queue's lists: singly linked through `db_op.next`. */
#ifndef DB_LIST_H
#define DB_LIST_H

#include "queue.h"

static inline void list_push(struct db_list *list, struct db_op *op)
{
    op->next = NULL;
    if (list->tail)
        list->tail->next = op;
    else
        list->head = op;
    list->tail = op;
}

static inline struct db_op *list_pop(struct db_list *list)
{
    struct db_op *op = list->head;

    if (!op)
        return NULL;
    list->head = op->next;
    if (!list->head)
        list->tail = NULL;
    op->next = NULL;
    return op;
}

/* All of `front` goes before what `list` holds; `front` is empty afterwards. */
static inline void list_prepend(struct db_list *list, struct db_list *front)
{
    if (!front->head)
        return;
    front->tail->next = list->head;
    if (!list->tail)
        list->tail = front->tail;
    list->head = front->head;
    *front = (struct db_list){0};
}

#endif
