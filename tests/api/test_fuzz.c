/* Hostile requests: each file of the corpus, then mutations of them by a seeded generator. No
 * answer may be a server's error, and after all of it the server still answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http_client.h"
#include "server_fixture.h"

#define ITEMS_MAX   100
#define BYTES_MAX   32768
#define MUTATIONS   1000
#define SMALL_BYTES 2000

struct item {
    char name[64];
    unsigned char *bytes;
    size_t n;
};

static struct item items[ITEMS_MAX];
static int n_items;
static uint64_t seed = 20240401;

static unsigned draw(unsigned below)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(seed >> 33) % below;
}

static void load(void)
{
    DIR *folder = opendir(CORPUS_FOLDER);
    const struct dirent *entry;

    assert_non_null(folder);
    while ((entry = readdir(folder)) && n_items < ITEMS_MAX) {
        struct item *item = &items[n_items];
        char path[512];
        FILE *file;

        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", CORPUS_FOLDER, entry->d_name);
        snprintf(item->name, sizeof item->name, "%.60s", entry->d_name);
        file = fopen(path, "rb");
        assert_non_null(file);
        item->bytes = malloc(BYTES_MAX);
        item->n = fread(item->bytes, 1, BYTES_MAX, file);
        fclose(file);
        n_items++;
    }
    closedir(folder);
    assert_true(n_items > 40);
}

static void send_one(const char *name, const void *bytes, size_t n, int milliseconds)
{
    char *answer;
    long length = http_send(fixture.port, bytes, n, true, milliseconds, &answer);

    if (length < 0)
        fail_msg("%s: the server does not listen any more", name);
    /* 505 names a version of HTTP that is not spoken; an upload before may still be under way. */
    if (length > 12 && strncmp(answer, "HTTP/1.", 7) == 0 && answer[9] == '5' &&
        strncmp(answer + 9, "505", 3) != 0 && !strstr(answer, "another file is being uploaded"))
        fail_msg("%s: %.200s", name, answer);
    free(answer);
}

static void still_answers(void)
{
    char *answer;

    assert_int_equal(http_ask(fixture.port, "GET", "/livez", "", NULL, &answer), 200);
    free(answer);
}

static void test_corpus(void **state)
{
    (void)state;
    load();
    for (int i = 0; i < n_items; i++)
        send_one(items[i].name, items[i].bytes, items[i].n, 1000);
    still_answers();
}

static size_t mutate(unsigned char *bytes, size_t n)
{
    static const char *const inserts[] = {"\r\n",     "%",       "{", "\"", "\\u0000", ": ", "-",
                                          "99999999", "chunked", ",", "\t", "HTTP/1.1"};
    size_t at = n ? draw((unsigned)n) : 0, count;
    const char *insert = inserts[draw(sizeof inserts / sizeof *inserts)];

    switch (draw(4)) {
    case 0:
        if (n)
            bytes[at] = (unsigned char)draw(256);
        return n;
    case 1:
        count = strlen(insert);
        memmove(bytes + at + count, bytes + at, n - at);
        memcpy(bytes + at, insert, count);
        return n + count;
    case 2:
        count = draw(10) + 1;
        count = count < n - at ? count : n - at;
        memmove(bytes + at, bytes + at + count, n - at - count);
        return n - count;
    default:
        return draw(4) ? n : at;
    }
}

static void test_mutations(void **state)
{
    static unsigned char bytes[BYTES_MAX];

    (void)state;
    for (int i = 0; i < MUTATIONS; i++) {
        const struct item *item = &items[draw((unsigned)n_items)];
        size_t n = item->n < SMALL_BYTES ? item->n : SMALL_BYTES;

        memcpy(bytes, item->bytes, n);
        for (unsigned j = draw(6) + 1; j > 0; j--)
            n = mutate(bytes, n);
        send_one(item->name, bytes, n, 20);
    }
    still_answers();
    for (int i = 0; i < n_items; i++)
        free(items[i].bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_corpus),
                                       cmocka_unit_test(test_mutations)};

    return cmocka_run_group_tests(tests, fixture_open, fixture_close);
}
