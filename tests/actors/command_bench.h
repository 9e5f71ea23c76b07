/* command_bench.h: a leader's store and a follower's, and commands given as text.
 *
 * Each command is looked up and checked as a session does, evaluated on the leader, undone,
 * applied again from its record, committed, and applied on the follower: after each of these steps
 * the stores must be what they have to be, byte for byte as a snapshot sees them.  Replies are
 * compared as text: CRLF is shown as a blank, the last one left out. */
#ifndef TM_TESTS_ACTORS_COMMAND_BENCH_H
#define TM_TESTS_ACTORS_COMMAND_BENCH_H

#include "actors/command.h"
#include "actors/command_table.h"
#include "net/resp.h"
#include "storage/arena.h"
#include "storage/entity.h"
#include "storage/store.h"
#include "test.h"

static struct tm_arena bench_arena;
static struct tm_store *leader, *follower;
static struct tm_resp_writer bench_reply;
static uint64_t bench_buffer[TM_RECORD_MAX / 8];
static uint64_t bench_now = 1700000000000, bench_random = 1, bench_term = 1;
static uint32_t bench_max_entity = 1 << 20;
static uint64_t bench_cursor;
static unsigned bench_version = 2;
static bool bench_wrote;          /* the last command left a record */
static struct tm_bytes bench_big; /* stands for the word BIG */

static inline void bench_open(void)
{
    if (leader != NULL) {
        tm_store_delete(leader);
        tm_store_delete(follower);
    }
    leader = tm_store_new(&bench_arena, 3);
    follower = tm_store_new(&bench_arena, 3);
    bench_version = 2;
    bench_max_entity = 1 << 20;
}

static inline struct tm_bytes bench_dump(struct tm_store *s, unsigned which)
{
    static uint8_t dumps[2][4 << 20];
    uint64_t cursor = 0, index;
    size_t used = 0;
    if (tm_store_snapshot(s, &cursor, dumps[which], sizeof dumps[which], &used, &index) != TM_OK ||
        cursor != 0)
        abort();
    return tm_bytes_of(dumps[which], used);
}

/* Words are divided by blanks; '' is an empty word, BIG is bench_big. */
static inline unsigned bench_split(const char *line, struct tm_bytes *argv, unsigned max)
{
    unsigned n = 0;
    while (*line != 0) {
        size_t len = strcspn(line, " ");
        if (n == max)
            abort();
        argv[n] = tm_bytes_of(line, len);
        if (len == 2 && memcmp(line, "''", 2) == 0)
            argv[n].len = 0;
        if (len == 3 && memcmp(line, "BIG", 3) == 0)
            argv[n] = bench_big;
        n++;
        line += len;
        line += strspn(line, " ");
    }
    return n;
}

static inline void bench_check_record(const struct tm_record *r, struct tm_bytes before)
{
    uint64_t down_to = tm_store_committed(leader);
    CU_ASSERT_EQUAL_FATAL(tm_record_check(r, r->length), TM_OK);
    tm_store_undo(leader, down_to);
    CU_ASSERT(tm_bytes_equal(bench_dump(leader, 1), before));
    CU_ASSERT_EQUAL(tm_store_apply(leader, r, true), TM_OK);
    CU_ASSERT(tm_bytes_equal(bench_dump(leader, 1), before)); /* still what is committed */
    tm_store_commit(leader, r->index);
    CU_ASSERT_EQUAL(tm_store_apply(follower, r, false), TM_OK);
    CU_ASSERT(tm_bytes_equal(bench_dump(leader, 0), bench_dump(follower, 1)));
    CU_ASSERT_EQUAL(tm_store_state_hash(leader), tm_store_state_hash(follower));
}

static inline void bench_run(const struct tm_command *c, const struct tm_bytes *argv, unsigned argc)
{
    struct tm_bytes before = bench_dump(leader, 0);
    struct tm_record head = {.term = bench_term,
                             .index = tm_store_applied(leader) + 1,
                             .hlc = (tm_store_applied(leader) + 1) << 16,
                             .origin = 77},
                     *r;
    struct tm_exec x = {leader,           &bench_reply, bench_now, bench_random += 7,
                        bench_max_entity, bench_cursor};
    tm_store_begin(leader, bench_buffer, sizeof bench_buffer, &head);
    c->run(&x, argv, argc);
    enum tm_err err = tm_store_finish(leader, &r);
    CU_ASSERT_EQUAL(err, TM_OK);
    bench_cursor = x.cursor;
    bench_wrote = r != NULL;
    if (bench_reply.len > 0 && bench_reply.data[0] == '-')
        CU_ASSERT_PTR_NULL(r);
    if (r != NULL)
        CU_ASSERT_NOT_EQUAL(c->flags & TM_CMD_WRITE, 0);
    if (r != NULL)
        bench_check_record(r, before);
}

/* Runs one command; the reply as text, valid until the next. */
static inline const char *reply_to(const char *line)
{
    static char text[4096];
    static struct tm_bytes argv[4096];
    unsigned argc = bench_split(line, argv, 4096);
    const struct tm_command *c = tm_command_find(argv[0]);
    if (c == NULL || c->run == NULL)
        return "no such command";
    if (!tm_command_arity_ok(c, argc))
        return "arity";
    tm_resp_writer_reset(&bench_reply, (uint8_t)bench_version, 1 << 20);
    bench_run(c, argv, argc);
    size_t n = 0;
    for (size_t i = 0; i < bench_reply.len && n < sizeof text - 1; i++)
        if (bench_reply.data[i] != '\n')
            text[n++] = bench_reply.data[i] == '\r' ? ' ' : (char)bench_reply.data[i];
    text[n > 0 ? n - 1 : 0] = 0;
    return text;
}

static inline void expect_at(const char *file, unsigned line, const char *command,
                             const char *expected)
{
    const char *got = reply_to(command);
    bool same = strcmp(got, expected) == 0;
    if (!same)
        printf("\n    %s\n      expected %s\n      got      %s\n", command, expected, got);
    CU_assertImplementation(same, line, command, file, "", CU_FALSE);
}
#define EXPECT(command, expected) expect_at(__FILE__, __LINE__, command, expected)
#define WRONGTYPE                 "-WRONGTYPE Operation against a key holding the wrong kind of value"
#define NOTINT                    "-ERR value is not an integer or out of range"
#define SYNTAX                    "-ERR syntax error"
#define TOOLARGE                  "-ERR entity exceeds maximum allowed size (max-entity-bytes)"

static inline int bench_main(const char *suite, const struct tm_test *tests, size_t count)
{
    if (tm_arena_open(&bench_arena) != TM_OK)
        return 1;
    tm_resp_writer_init(&bench_reply, 8 << 20);
    bench_open();
    int rc = tm_test_main(suite, tests, count);
    tm_store_delete(leader);
    tm_store_delete(follower);
    tm_resp_writer_free(&bench_reply);
    if (bench_arena.bytes != 0)
        rc = 1;
    tm_arena_close(&bench_arena);
    return rc;
}

#endif
