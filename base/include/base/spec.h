/* Descriptions of settable structs, as data: one table serves validation, defaults, discovery
 * and the OpenAPI schema. The engine writes the tables; the API reads them; neither knows the
 * other. A settable struct is plain C: each field of a table names the offset of its member. */
#ifndef BASE_SPEC_H
#define BASE_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum spec_type {
    SPEC_INT,      /* int64_t */
    SPEC_REAL,     /* double; always finite */
    SPEC_BOOL,     /* bool */
    SPEC_STRING,   /* char[max_length + 1], UTF-8, NUL-terminated */
    SPEC_CHOICE,   /* int, an index into `choices`; a string in JSON */
    SPEC_INT_LIST, /* struct spec_int_list */
    SPEC_OBJECT,   /* a struct within; `object` describes it, its offsets count from this member */
    SPEC_VARIANT,  /* a struct within that begins with `int kind`, an index into `kinds` */
    SPEC_VARIANT_LIST, /* a struct that begins with `int n`, the number of variants in its array */
};

#define SPEC_LIST_MAX 16

struct spec_int_list {
    int n; /* 0: not given */
    int64_t item[SPEC_LIST_MAX];
};

struct spec_object;

struct spec_field {
    const char *name; /* in JSON */
    const char *doc;  /* one sentence, with the unit and the paper's symbol where there is one */
    enum spec_type type;
    size_t offset;

    bool required;       /* no default */
    const char *instead; /* INT: another INT beside it; where that is above 0, the default is 0 */
    double min, max;     /* INT, REAL, and each item of an INT_LIST; inclusive */
    bool above_min;      /* min itself is excluded */
    bool below_max;      /* max itself is excluded */
    double number;       /* default of INT, REAL, BOOL (0 or 1) and CHOICE (the index) */
    const char *text;    /* default of STRING; NULL: "" */
    size_t max_length;   /* STRING, in bytes without the NUL; INT_LIST, VARIANT_LIST: most items */
    struct spec_int_list list;        /* default of INT_LIST */
    const char *const *choices;       /* CHOICE: NULL-terminated */
    const struct spec_object *object; /* OBJECT: its description; NULL otherwise */
    const struct spec_object *kinds;  /* VARIANT, VARIANT_LIST: one description a kind */
    int n_kinds;
    int default_kind; /* VARIANT that is not required and not given */
    /* VARIANT_LIST, which is empty when it is not given: where its array begins, counted from the
     * member, and the size of an item */
    size_t item_offset, item_bytes;
};

/* An object, or one kind of a variant. */
struct spec_object {
    const char *name; /* of a kind: the value of "kind" */
    const char *doc;
    const struct spec_field *fields; /* a variant's offsets count from the variant's own member */
    int n_fields;
};

/* Gives the member of a field its default; an OBJECT or a VARIANT is left as it is: its fields have
 * defaults of their own. */
void spec_set_default(const struct spec_field *field, void *member);

#endif
