/* Client connections: order of replies, bounds, and what becomes of broken ones. */
#include "session_fixture.h"

#include "runtime/crc16.h"

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void a_command_goes_to_the_partition_of_its_slot(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    fix_send(s, "*3\r\n$3\r\nSET\r\n$3\r\nfoo\r\n$3\r\nbar\r\n");
    struct fix_request *q = fix_waiting(f, 0);
    CU_ASSERT_EQUAL(q->r.partition, 12182u * FIX_PARTITIONS / 16384); /* slot of foo: 12182 */
    CU_ASSERT_EQUAL(q->r.kind, TM_REQUEST_EXEC);
    CU_ASSERT_STRING_EQUAL(q->text[0][2], "bar");
    CU_ASSERT_STRING_EQUAL(fix_output(f, s), "");
    fix_answer(f, q);
    CU_ASSERT_STRING_EQUAL(fix_output(f, s), "+OK\r\n");
    FIX_EXPECT(f, s, "get foo\r\n", "$3\r\nbar\r\n");
    fix_delete(f);
}

static void slots_are_cut_into_contiguous_ranges(void)
{
    for (uint32_t partitions = 1; partitions <= 300; partitions += 13)
        for (uint32_t slot = 0; slot < TM_SLOTS; slot++) {
            uint32_t p = tm_partition_of_slot(slot, partitions);
            CU_ASSERT_FATAL(p < partitions);
            CU_ASSERT_FATAL(tm_partition_first_slot(p, partitions) <= slot);
            CU_ASSERT_FATAL(slot < tm_partition_first_slot(p + 1, partitions));
        }
}

static void replies_keep_the_order_of_requests(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    fix_set(f, "b", "a value that is longer than an entry keeps in place");
    fix_send(s, "set a 1\r\nget b\r\nping\r\nget c\r\nset d 4\r\n");
    CU_ASSERT_STRING_EQUAL(fix_output(f, s), "");
    for (unsigned i = 4; i-- > 1;)
        fix_answer(f, fix_waiting(f, i));
    CU_ASSERT_STRING_EQUAL(fix_output(f, s), "");
    fix_answer(f, fix_waiting(f, 0));
    CU_ASSERT_STRING_EQUAL(fix_output(f, s),
                           "+OK\r\n$51\r\na value that is longer than an entry keeps in place\r\n"
                           "+PONG\r\n$-1\r\n+OK\r\n");
    CU_ASSERT_EQUAL(f->submitted, 4);
    fix_delete(f);
}

static void replies_and_errors_that_clients_see_are_counted(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    const struct tm_sessions_stats *st = tm_sessions_stats(f->all);
    fix_set(f, "b", "1");
    fix_send(s, "ping\r\nget b\r\nmget a b c\r\nkeys *\r\nscan 0\r\nrandomkey\r\nwait 0 0\r\n");
    fix_answer_all(f);
    CU_ASSERT_EQUAL(st->replies, 7);
    CU_ASSERT_EQUAL(st->errors, 0);
    fix_send(s, "nosuch\r\nget\r\nappend b 1\r\nmget a b c\r\nget b\r\nscan x\r\n");
    fix_answer(f, fix_waiting(f, 0)); /* append: the test's partitions know no such command */
    for (unsigned i = 0; i < 4; i++)
        fix_refuse(f, fix_waiting(f, 0), TM_ANSWER_REFUSED, TM_ERR_NOTLEADER);
    CU_ASSERT_EQUAL(st->replies, 13);
    CU_ASSERT_EQUAL(st->errors, 6);
    fix_send(s, "multi\r\nget b\r\nping\r\nexec\r\nmulti\r\nget\r\nexec\r\n");
    fix_answer_all(f);
    CU_ASSERT_EQUAL(st->replies, 20);
    CU_ASSERT_EQUAL(st->errors, 8);
    fix_send(s, "client reply off\r\nget b\r\nnosuch\r\n");
    fix_answer_all(f);
    CU_ASSERT_EQUAL(st->replies, 20);
    CU_ASSERT_EQUAL(st->errors, 8);
    fix_delete(f);
}

/* Commands sent ahead, and what one store would answer to them. */
struct pipeline {
    uint64_t rnd;
    struct fix *f, *model;
    struct tm_session *s;
    struct tm_resp_writer want;
    char *input, *got;
};

#define PIPELINE_BYTES (1 << 16)

static struct pipeline pipeline_new(uint64_t *rnd)
{
    struct tm_session_limits limits = fix_limits();
    limits.pipeline = 1 + (uint32_t)(next_random(rnd) % 20);
    struct pipeline p = {.rnd = *rnd, .f = fix_new_with(&limits), .model = fix_new()};
    p.s = fix_open(p.f);
    p.input = calloc(1, PIPELINE_BYTES);
    p.got = calloc(1, PIPELINE_BYTES);
    CU_ASSERT_FATAL(p.input != NULL && p.got != NULL);
    tm_resp_writer_init(&p.want, PIPELINE_BYTES);
    return p;
}

static void pipeline_delete(struct pipeline *p)
{
    tm_resp_writer_free(&p->want);
    free(p->input);
    free(p->got);
    fix_delete(p->f);
    fix_delete(p->model);
}

static void expect_set(struct pipeline *p, const char *key, const char *before, int c,
                       const char *after)
{
    char value[64];
    snprintf(value, sizeof value, "%s%d%s", before, c, after);
    fix_set(p->model, key, value);
}

static int64_t expect_del(struct pipeline *p, const char *key)
{
    int at = fix_find(p->model, key);
    if (at >= 0)
        p->model->used[at] = false;
    return at >= 0;
}

/* Adds command c, and to what is wanted its answer. */
static void add_command(struct pipeline *p, int c)
{
    unsigned number = (unsigned)(next_random(&p->rnd) % 20);
    char line[200], key[16], other[16], text[16];
    snprintf(key, sizeof key, "key%u", number);
    snprintf(other, sizeof other, "other%u", number);
    switch (next_random(&p->rnd) % 6) {
    case 0:
        snprintf(line, sizeof line, "SET %s value-%d-of-some-length\r\n", key, c);
        expect_set(p, key, "value-", c, "-of-some-length");
        tm_resp_simple(&p->want, "OK");
        break;
    case 1:
        snprintf(line, sizeof line, "MSET %s m%d %s o%d\r\n", key, c, other, c);
        expect_set(p, key, "m", c, "");
        expect_set(p, other, "o", c, "");
        tm_resp_simple(&p->want, "OK");
        break;
    case 2:
        snprintf(line, sizeof line, "MGET %s nothing %s\r\n", key, other);
        tm_resp_array(&p->want, 3);
        fix_get(p->model, key, &p->want);
        tm_resp_null(&p->want);
        fix_get(p->model, other, &p->want);
        break;
    case 3:
        snprintf(line, sizeof line, "DEL %s %s\r\n", key, other);
        tm_resp_integer(&p->want, expect_del(p, key) + expect_del(p, other));
        break;
    case 4:
        snprintf(line, sizeof line, "ECHO x%d\r\n", c);
        snprintf(text, sizeof text, "x%d", c);
        tm_resp_bulk_str(&p->want, text);
        break;
    default:
        snprintf(line, sizeof line, "GET %s\r\n", key);
        fix_get(p->model, key, &p->want);
    }
    strcat(p->input, line);
}

/* Of a partition drawn among those that are asked, the oldest request is answered. */
static void answer_any(struct pipeline *p)
{
    unsigned waiting = 0;
    while (fix_waiting(p->f, waiting) != NULL)
        waiting++;
    if (waiting == 0)
        return;
    uint32_t pick = (uint32_t)(next_random(&p->rnd) % waiting);
    uint32_t partition = fix_waiting(p->f, pick)->r.partition;
    unsigned first = 0;
    while (fix_waiting(p->f, first)->r.partition != partition)
        first++;
    fix_answer(p->f, fix_waiting(p->f, first));
}

/* Sends the input cut at random, and collects what comes out. */
static void run_pipeline(struct pipeline *p)
{
    size_t at = 0, len = strlen(p->input);
    while (at < len || fix_waiting(p->f, 0) != NULL || !tm_session_wants_input(p->s)) {
        if (at < len && tm_session_wants_input(p->s)) {
            size_t n = (size_t)tm_min_u64(1 + next_random(&p->rnd) % 200, len - at);
            tm_session_input(p->s, (uint8_t *)p->input + at, n);
            at += n;
        }
        answer_any(p);
        p->f->room = next_random(&p->rnd) % 3 == 0 ? 0 : (unsigned)(next_random(&p->rnd) % 4);
        tm_sessions_resume(p->f->all);
        strcat(p->got, fix_output(p->f, p->s));
    }
}

/* Many commands, cut at random, answered in random order between partitions but in order within
 * each: what comes out is what one store would have said, one command after the other. */
static void random_pipelines_answer_as_one_store_would(void)
{
    uint64_t rnd = tm_test_seed() | 1;
    for (int round = 0; round < 30; round++) {
        struct pipeline p = pipeline_new(&rnd);
        for (int c = 0; c < 150; c++)
            add_command(&p, c);
        run_pipeline(&p);
        CU_ASSERT_EQUAL(strlen(p.got), p.want.len);
        CU_ASSERT_EQUAL(memcmp(p.got, p.want.data, p.want.len), 0);
        rnd = p.rnd;
        pipeline_delete(&p);
    }
}

static void an_answer_at_once_is_as_good_as_a_late_one(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    f->answer_at_once = true;
    fix_send(s, "mset a 1 b 2 c 3 d 4\r\nmget d c b a\r\nget a\r\ndbsize\r\n");
    CU_ASSERT_STRING_EQUAL(fix_output(f, s), "+OK\r\n*4\r\n$1\r\n4\r\n$1\r\n3\r\n$1\r\n2\r\n"
                                             "$1\r\n1\r\n$1\r\n1\r\n:4\r\n");
    fix_delete(f);
}

static void a_full_pipeline_stops_reading_and_loses_nothing(void)
{
    struct tm_session_limits limits = fix_limits();
    limits.pipeline = 3;
    struct fix *f = fix_new_with(&limits);
    struct tm_session *s = fix_open(f);
    CU_ASSERT(tm_session_wants_input(s));
    fix_send(s, "set k 1\r\nset k 2\r\nset k 3\r\nset k 4\r\nget k\r\n");
    CU_ASSERT_FALSE(tm_session_wants_input(s));
    CU_ASSERT_EQUAL(f->submitted, 3);
    fix_send(s, "get k\r\n"); /* was on its way already */
    CU_ASSERT_EQUAL(f->submitted, 3);
    fix_answer(f, fix_waiting(f, 0));
    CU_ASSERT_EQUAL(f->submitted, 4);
    fix_answer_all(f);
    CU_ASSERT_STRING_EQUAL(fix_output(f, s), "+OK\r\n+OK\r\n+OK\r\n+OK\r\n$1\r\n4\r\n$1\r\n4\r\n");
    CU_ASSERT(tm_session_wants_input(s));
    fix_delete(f);
}

static void a_full_router_stops_reading_until_it_has_room(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    f->room = 1;
    fix_send(s, "set a 1\r\nmset b 2 c 3 d 4 e 5\r\nget b\r\n");
    CU_ASSERT_FALSE(tm_session_wants_input(s));
    CU_ASSERT(tm_sessions_resume(f->all));
    CU_ASSERT_EQUAL(f->submitted, 1);
    f->room = 2; /* in the middle of the MSET */
    CU_ASSERT(tm_sessions_resume(f->all));
    CU_ASSERT_EQUAL(f->submitted, 3);
    fix_answer_all(f);
    f->room = 100;
    CU_ASSERT_FALSE(tm_sessions_resume(f->all));
    CU_ASSERT(tm_session_wants_input(s));
    fix_answer_all(f);
    CU_ASSERT_STRING_EQUAL(fix_output(f, s), "+OK\r\n+OK\r\n$1\r\n2\r\n");
    CU_ASSERT_STRING_EQUAL(f->value[fix_find(f, "e")], "5");
    fix_delete(f);
}

static void refusals_and_losses_say_what_happened(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    static const struct {
        enum tm_err err;
        const char *code;
    } refusals[] = {{TM_ERR_NOTLEADER, "-CLUSTERDOWN "},
                    {TM_ERR_NOSPACE, "-DISKFULL "},
                    {TM_ERR_NOMEM, "-OOM "},
                    {TM_ERR_AGAIN, "-TRYAGAIN "},
                    {TM_ERR_NOREPLICAS, "-NOREPLICAS "},
                    {TM_ERR_BACKLOG, "-BACKLOGFULL "}};
    for (size_t i = 0; i < TM_ARRAY_LEN(refusals); i++) {
        fix_send(s, "set k v\r\n");
        fix_refuse(f, fix_waiting(f, 0), TM_ANSWER_REFUSED, refusals[i].err);
        CU_ASSERT_EQUAL(strncmp(fix_output(f, s), refusals[i].code, strlen(refusals[i].code)), 0);
    }
    fix_send(s, "incr k\r\n");
    fix_refuse(f, fix_waiting(f, 0), TM_ANSWER_UNKNOWN, TM_ERR_CLOSED);
    CU_ASSERT_EQUAL(strncmp(fix_output(f, s), "-TIMEOUT outcome unknown: ", 26), 0);
    fix_delete(f);
}

static void a_write_done_in_part_is_unknown_not_refused(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    fix_send(s, "mset a 1 b 2 c 3\r\n");
    fix_answer(f, fix_waiting(f, 0));
    fix_refuse(f, fix_waiting(f, 0), TM_ANSWER_REFUSED, TM_ERR_NOTLEADER);
    fix_answer_all(f);
    CU_ASSERT_EQUAL(strncmp(fix_output(f, s), "-TIMEOUT outcome unknown: ", 26), 0);
    fix_send(s, "mget a b c\r\n");
    fix_refuse(f, fix_waiting(f, 0), TM_ANSWER_REFUSED, TM_ERR_NOTLEADER);
    fix_answer_all(f);
    CU_ASSERT_EQUAL(strncmp(fix_output(f, s), "-CLUSTERDOWN ", 13), 0);
    fix_delete(f);
}

static void commands_that_need_one_slot_refuse_several(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    static const char error[] = "-CROSSSLOT Keys in request don't hash to the same slot\r\n";
    FIX_EXPECT(f, s, "rename a b\r\n", error);
    FIX_EXPECT(f, s, "msetnx a 1 b 2\r\n", error);
    FIX_EXPECT(f, s, "sinter a b\r\n", error);
    FIX_EXPECT(f, s, "sintercard 2 a b\r\n", error);
    fix_send(s, "rename {t}a {t}b\r\nsintercard 2 {t}a {t}b LIMIT 3\r\n");
    CU_ASSERT_EQUAL(f->submitted, 2);
    fix_delete(f);
}

static void protocol_errors_are_answered_last_and_close(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    fix_send(s, "set k 1\r\n*1\r\n!3\r\nget k\r\n");
    CU_ASSERT_FALSE(tm_session_wants_input(s));
    CU_ASSERT_FALSE(tm_session_wants_close(s));
    CU_ASSERT_STRING_EQUAL(fix_output(f, s), "");
    fix_answer_all(f);
    CU_ASSERT_FALSE(tm_session_wants_close(s));
    CU_ASSERT_STRING_EQUAL(fix_output(f, s),
                           "+OK\r\n-ERR Protocol error: expected '$', got '!'\r\n");
    CU_ASSERT(tm_session_wants_close(s));
    CU_ASSERT_EQUAL(f->submitted, 1);
    fix_delete(f);
}

static void a_command_beyond_the_limit_closes_the_connection(void)
{
    struct tm_session_limits limits = fix_limits();
    limits.query_bytes = 5000;
    limits.max_entity_bytes = 1000;
    struct fix *f = fix_new_with(&limits);
    struct tm_session *s = fix_open(f);
    static char big[1200];
    memset(big, 'x', sizeof big - 1);
    char text[2000];
    snprintf(text, sizeof text, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%zu\r\n%s\r\n", strlen(big), big);
    FIX_EXPECT(f, s, text, "-ERR an argument is larger than max-entity-bytes\r\n");
    fix_send(s, "*100\r\n");
    for (int i = 0; i < 10; i++) {
        snprintf(text, sizeof text, "$1000\r\n%.1000s\r\n", big);
        fix_send(s, text);
    }
    CU_ASSERT(tm_session_wants_close(s));
    CU_ASSERT_PTR_NOT_NULL(strstr(f->last_log, "query_limit"));
    fix_delete(f);
}

static void a_client_that_never_reads_is_paused_then_closed(void)
{
    struct tm_session_limits limits = fix_limits();
    limits.output_pause = 10000;
    limits.output_bytes = 20000;
    struct fix *f = fix_new_with(&limits);
    struct tm_session *s = fix_open(f);
    char text[1100];
    memset(text, 'x', sizeof text);
    memcpy(text, "ECHO ", 5);
    strcpy(text + 1000, "\r\n");
    for (int i = 0; i < 20 && tm_session_wants_input(s); i++)
        fix_send(s, text);
    CU_ASSERT_FALSE(tm_session_wants_input(s));
    CU_ASSERT_FALSE(tm_session_wants_close(s));
    f->now_ns += TM_MS(limits.stall_ms) + TM_SECONDS(1);
    for (int i = 0; i < 1000; i++)
        tm_sessions_tick(f->all);
    CU_ASSERT(tm_session_wants_close(s));
    CU_ASSERT_PTR_NOT_NULL(strstr(f->last_log, "reason=stalled"));
    tm_session_close(s);
    CU_ASSERT_EQUAL(tm_sessions_stats(f->all)->memory, 0);
    fix_delete(f);
}

static void a_paused_client_that_reads_again_goes_on(void)
{
    struct tm_session_limits limits = fix_limits();
    limits.output_pause = 1000;
    struct fix *f = fix_new_with(&limits);
    struct tm_session *s = fix_open(f);
    char text[20000] = "";
    for (int i = 0; i < 300; i++)
        snprintf(text + strlen(text), 30, "ECHO word-number-%03d\r\n", i);
    fix_send(s, text);
    CU_ASSERT_FALSE(tm_session_wants_input(s));
    const char *out = fix_output(f, s);
    CU_ASSERT_PTR_NOT_NULL(strstr(out, "word-number-299"));
    CU_ASSERT_EQUAL(strlen(out), 300 * strlen("$15\r\nword-number-000\r\n"));
    CU_ASSERT(tm_session_wants_input(s));
    fix_delete(f);
}

static void unsent_output_beyond_the_limit_closes(void)
{
    struct tm_session_limits limits = fix_limits();
    limits.output_pause = 100;
    limits.output_bytes = 200;
    struct fix *f = fix_new_with(&limits);
    struct tm_session *s = fix_open(f);
    fix_set(f, "k", "sixty bytes of value that will be asked for again and again");
    fix_send(s, "get k\r\nget k\r\nget k\r\nget k\r\nget k\r\n");
    fix_answer_all(f);
    CU_ASSERT(tm_session_wants_close(s));
    CU_ASSERT_PTR_NOT_NULL(strstr(f->last_log, "output_limit"));
    CU_ASSERT_EQUAL(tm_session_output(s, &(struct tm_bytes){0}, 1), 0);
    fix_delete(f);
}

/* Replies that wait for an earlier one count as unsent output. */
static void held_replies_count_as_output(void)
{
    struct tm_session_limits limits = fix_limits();
    limits.output_bytes = 300;
    struct fix *f = fix_new_with(&limits);
    struct tm_session *s = fix_open(f);
    fix_set(f, "k", "sixty bytes of value that will be asked for again and again");
    fix_send(s, "get first\r\nget k\r\nget k\r\nget k\r\nget k\r\nget k\r\n");
    for (int i = 0; i < 4; i++)
        fix_answer(f, fix_waiting(f, 1));
    CU_ASSERT_FALSE(tm_session_wants_close(s));
    fix_answer(f, fix_waiting(f, 1));
    CU_ASSERT(tm_session_wants_close(s));
    CU_ASSERT_PTR_NOT_NULL(strstr(f->last_log, "output_limit"));
    tm_session_close(s);
    CU_ASSERT_EQUAL(tm_sessions_stats(f->all)->memory, 0);
    fix_delete(f);
}

static void large_replies_make_the_pipeline_short(void)
{
    struct tm_session_limits limits = fix_limits();
    limits.output_bytes = 600;
    struct fix *f = fix_new_with(&limits);
    struct tm_session *s = fix_open(f);
    char text[400] = "";
    fix_set(f, "k", "sixty bytes of value that will be asked for again and again");
    FIX_EXPECT_PART(f, s, "get k\r\n", "sixty bytes");
    f->submitted = 0;
    for (int i = 0; i < 20; i++)
        snprintf(text + strlen(text), 20, "get k\r\n");
    fix_send(s, text);
    CU_ASSERT_EQUAL(f->submitted, 4); /* 4 x 66 bytes are within half of 600 */
    CU_ASSERT_FALSE(tm_session_wants_input(s));
    size_t got = 0;
    for (int i = 0; i < 20; i++) {
        CU_ASSERT_PTR_NOT_NULL_FATAL(fix_waiting(f, 0));
        fix_answer(f, fix_waiting(f, 0));
        got += strlen(fix_output(f, s));
    }
    CU_ASSERT_EQUAL(got, 20 * 66);
    CU_ASSERT(tm_session_wants_input(s));
    fix_delete(f);
}

static void reading_pauses_earlier_when_memory_is_scarce(void)
{
    struct tm_session_limits limits = fix_limits();
    limits.total_bytes = TM_KIB(620);
    struct fix *f = fix_new_with(&limits);
    char text[1100];
    memset(text, 'x', sizeof text);
    memcpy(text, "ECHO ", 5);
    memcpy(text + 1000, "\r\n", 3);
    unsigned taken[4];
    for (int c = 0; c < 4; c++) {
        struct tm_session *s = fix_open(f);
        CU_ASSERT_PTR_NOT_NULL_FATAL(s);
        for (taken[c] = 0; taken[c] < 300 && tm_session_wants_input(s); taken[c]++)
            fix_send(s, text);
        CU_ASSERT(tm_sessions_stats(f->all)->memory <= limits.total_bytes);
    }
    CU_ASSERT_EQUAL(taken[0], 300);
    CU_ASSERT(taken[1] <= 66);
    fix_delete(f);
}

static void all_clients_together_stay_within_the_budget(void)
{
    struct tm_session_limits limits = fix_limits();
    limits.total_bytes = 100000;
    struct fix *f = fix_new_with(&limits);
    char text[9000];
    snprintf(text, sizeof text, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000\r\n");
    memset(text + strlen(text), 'x', 8000);
    unsigned closed = 0;
    for (int i = 0; i < 20; i++) {
        struct tm_session *s = fix_open(f);
        CU_ASSERT_PTR_NOT_NULL_FATAL(s);
        tm_session_input(s, (uint8_t *)text, 8000);
        CU_ASSERT(tm_sessions_stats(f->all)->memory <= limits.total_bytes);
        if (tm_session_wants_close(s)) {
            tm_session_close(s);
            closed++;
        }
    }
    CU_ASSERT(closed > 5 && closed < 20);
    CU_ASSERT_PTR_NOT_NULL(strstr(f->last_log, "reason=memory"));
    fix_delete(f);
}

static void ten_thousand_idle_clients_cost_little(void)
{
    struct fix *f = fix_new();
    struct tm_session **s = calloc(10000, sizeof *s);
    for (int i = 0; i < 10000; i++) {
        s[i] = fix_open(f);
        CU_ASSERT_PTR_NOT_NULL_FATAL(s[i]);
        fix_send(s[i], "set k v\r\nget k\r\n");
        fix_answer(f, fix_waiting(f, 0));
        fix_answer(f, fix_waiting(f, 0));
        f->submitted = 0;
        fix_output(f, s[i]);
    }
    CU_ASSERT(tm_sessions_stats(f->all)->memory / 10000 < 1200);
    CU_ASSERT_EQUAL(tm_sessions_stats(f->all)->clients, 10000);
    for (int i = 0; i < 10000; i++)
        tm_session_close(s[i]);
    CU_ASSERT_EQUAL(tm_sessions_stats(f->all)->memory, 0);
    free(s);
    fix_delete(f);
}

static void clients_beyond_the_limit_are_turned_away(void)
{
    struct tm_session_limits limits = fix_limits();
    limits.clients = 2;
    struct fix *f = fix_new_with(&limits);
    struct tm_session *a = fix_open(f);
    CU_ASSERT_PTR_NOT_NULL(fix_open(f));
    CU_ASSERT_PTR_NULL(fix_open(f));
    CU_ASSERT_EQUAL(tm_sessions_stats(f->all)->rejected, 1);
    uint64_t id = tm_session_id(a);
    CU_ASSERT_EQUAL(id % 64, 3);
    tm_session_close(a);
    a = fix_open(f);
    CU_ASSERT_PTR_NOT_NULL(a);
    CU_ASSERT_NOT_EQUAL(tm_session_id(a), id);
    fix_delete(f);
}

static void clients_of_other_workers_count_too(void)
{
    struct tm_session_limits limits = fix_limits();
    limits.clients = 3;
    struct fix *f = fix_new_with(&limits);
    f->other_clients = 2;
    CU_ASSERT_PTR_NOT_NULL(fix_open(f));
    CU_ASSERT_PTR_NULL(fix_open(f));
    f->other_clients = 1;
    CU_ASSERT_PTR_NOT_NULL(fix_open(f));
    fix_delete(f);
}

/* Far beyond what there was room for at the start. */
static void the_limit_of_clients_can_be_raised(void)
{
    enum { MANY = 500 };
    struct tm_session *all[MANY];
    struct tm_session_limits limits = fix_limits();
    limits.clients = 2;
    struct fix *f = fix_new_with(&limits);
    tm_sessions_limits(f->all)->clients = MANY;
    for (unsigned i = 0; i < MANY; i++) {
        all[i] = fix_open(f);
        CU_ASSERT_PTR_NOT_NULL_FATAL(all[i]);
        fix_send(all[i], i < 10 ? "get k\r\n" : "echo x\r\n");
    }
    CU_ASSERT_PTR_NULL(fix_open(f));
    fix_answer_all(f); /* answers find their sessions by id, wherever those were moved */
    for (unsigned i = 0; i < MANY; i++)
        FIX_EXPECT(f, all[i], "", i < 10 ? "$-1\r\n" : "$1\r\nx\r\n");
    fix_delete(f);
}

static void answers_to_a_closed_session_are_dropped(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    fix_send(s, "set k v\r\nmget a b c\r\nscan 0\r\n");
    tm_session_close(s);
    fix_answer_all(f);
    CU_ASSERT_EQUAL(tm_sessions_stats(f->all)->memory, 0);
    fix_delete(f);
}

static void ready_sessions_are_told_once(void)
{
    struct fix *f = fix_new();
    struct tm_session *a = fix_open(f), *b = fix_open(f);
    fix_send(b, "ping\r\nping\r\n");
    fix_send(a, "ping\r\n");
    CU_ASSERT_PTR_EQUAL(tm_sessions_next_ready(f->all), b);
    CU_ASSERT_PTR_EQUAL(tm_sessions_next_ready(f->all), a);
    CU_ASSERT_PTR_NULL(tm_sessions_next_ready(f->all));
    fix_send(a, "ping\r\n");
    fix_send(b, "ping\r\n");
    tm_session_close(a);
    CU_ASSERT_PTR_EQUAL(tm_sessions_next_ready(f->all), b);
    CU_ASSERT_PTR_NULL(tm_sessions_next_ready(f->all));
    fix_delete(f);
}

/* Output given to the kernel stays where it is while replies are appended. */
static void pieces_do_not_move_until_they_are_sent(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    struct tm_bytes first, pieces[64];
    fix_send(s, "echo first\r\n");
    CU_ASSERT_EQUAL(tm_session_output(s, &first, 1), 1);
    for (int i = 0; i < 2000; i++)
        fix_send(s, "echo abcdefghijklmnopqrstuvwxyz\r\n");
    CU_ASSERT_EQUAL(memcmp(first.data, "$5\r\nfirst\r\n", 11), 0);
    unsigned n = tm_session_output(s, pieces, 64);
    size_t total = 0;
    CU_ASSERT_PTR_EQUAL(pieces[0].data, first.data);
    for (unsigned i = 0; i < n; i++)
        total += pieces[i].len;
    CU_ASSERT_EQUAL(total, 11 + 2000 * strlen("$26\r\nabcdefghijklmnopqrstuvwxyz\r\n"));
    tm_session_sent(s, 3);
    tm_session_output(s, pieces, 64);
    CU_ASSERT_PTR_EQUAL(pieces[0].data, first.data + 3);
    fix_delete(f);
}

static void garbage_never_harms_a_session(void)
{
    static const char *const parts[] = {"*2\r\n",
                                        "$3\r\nGET\r\n",
                                        "$1\r\nk\r\n",
                                        "SET k v\r\n",
                                        "MULTI\r\n",
                                        "EXEC\r\n",
                                        "\"",
                                        "WATCH a\r\n",
                                        "CLIENT REPLY SKIP\r\n",
                                        "MGET a b c\r\n",
                                        "*-1\r\n",
                                        "\r\n",
                                        "SCAN 0\r\n",
                                        "RESET\r\n",
                                        "WAIT 1 0\r\n",
                                        "\x00\xff",
                                        "CLIENT KILL ID 3\r\n",
                                        "HELLO 3\r\n",
                                        "DISCARD\r\n",
                                        "PING\r\n",
                                        "UNWATCH\r\n",
                                        "RANDOMKEY\r\n"};
    uint64_t rnd = tm_test_seed() | 1;
    struct fix *f = fix_new();
    for (int round = 0; round < 300; round++) {
        struct tm_session *s = fix_open(f);
        for (int i = 0; i < 40 && !tm_session_wants_close(s); i++) {
            const char *part = parts[next_random(&rnd) % TM_ARRAY_LEN(parts)];
            size_t len = strlen(part);
            tm_session_input(s, (const uint8_t *)part,
                             next_random(&rnd) % 20 == 0 ? next_random(&rnd) % (len + 1) : len);
            f->room = next_random(&rnd) % 4 == 0 ? 0 : 1000;
            while (next_random(&rnd) % 2 == 0 && fix_waiting(f, 0) != NULL)
                fix_answer(f, fix_waiting(f, 0));
            if (next_random(&rnd) % 3 == 0)
                tm_sessions_resume(f->all);
            fix_output(f, s);
        }
        f->room = 10000;
        tm_sessions_resume(f->all);
        tm_session_close(s);
        fix_answer_all(f);
        f->submitted = 0;
        while (tm_sessions_resume(f->all))
            fix_answer_all(f);
        CU_ASSERT_EQUAL(tm_sessions_stats(f->all)->memory, 0);
        CU_ASSERT_EQUAL(tm_sessions_stats(f->all)->clients, 0);
    }
    fix_delete(f);
}

static const struct tm_test tests[] = {
    TM_TEST(a_command_goes_to_the_partition_of_its_slot),
    TM_TEST(slots_are_cut_into_contiguous_ranges),
    TM_TEST(replies_keep_the_order_of_requests),
    TM_TEST(replies_and_errors_that_clients_see_are_counted),
    TM_TEST(random_pipelines_answer_as_one_store_would),
    TM_TEST(an_answer_at_once_is_as_good_as_a_late_one),
    TM_TEST(a_full_pipeline_stops_reading_and_loses_nothing),
    TM_TEST(a_full_router_stops_reading_until_it_has_room),
    TM_TEST(refusals_and_losses_say_what_happened),
    TM_TEST(a_write_done_in_part_is_unknown_not_refused),
    TM_TEST(commands_that_need_one_slot_refuse_several),
    TM_TEST(protocol_errors_are_answered_last_and_close),
    TM_TEST(a_command_beyond_the_limit_closes_the_connection),
    TM_TEST(a_client_that_never_reads_is_paused_then_closed),
    TM_TEST(a_paused_client_that_reads_again_goes_on),
    TM_TEST(unsent_output_beyond_the_limit_closes),
    TM_TEST(held_replies_count_as_output),
    TM_TEST(large_replies_make_the_pipeline_short),
    TM_TEST(reading_pauses_earlier_when_memory_is_scarce),
    TM_TEST(all_clients_together_stay_within_the_budget),
    TM_TEST(ten_thousand_idle_clients_cost_little),
    TM_TEST(clients_beyond_the_limit_are_turned_away),
    TM_TEST(clients_of_other_workers_count_too),
    TM_TEST(the_limit_of_clients_can_be_raised),
    TM_TEST(answers_to_a_closed_session_are_dropped),
    TM_TEST(ready_sessions_are_told_once),
    TM_TEST(pieces_do_not_move_until_they_are_sent),
    TM_TEST(garbage_never_harms_a_session),
};

TM_TEST_MAIN("actors/session", tests)
