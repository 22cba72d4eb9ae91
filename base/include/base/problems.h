/* What is wrong with what somebody asks for, told one by one as it is found. */
#ifndef BASE_PROBLEMS_H
#define BASE_PROBLEMS_H

/* `{0}` only counts them. */
struct problems {
    /* `pointer` is the RFC 6901 JSON pointer of the member to blame ("/dataset/path", "" for all of
     * it). Neither text outlives the call. */
    void (*tell)(void *to, const char *pointer, const char *message);
    void *to;
    int n; /* told so far */
};

/* Messages of more than 511 bytes are cut. */
void problems_add(struct problems *problems, const char *pointer, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* For what is wrong with an item of a list: `tell` of its problems is problems_tell_item, `to`
 * this. `whole` gets them with the item's place in front, "/probes/3/rho". */
struct problems_item {
    struct problems *whole;
    const char *list; /* "/probes" */
    int i;
};
void problems_tell_item(void *to, const char *pointer, const char *message);

#endif
