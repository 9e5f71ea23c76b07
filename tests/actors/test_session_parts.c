/* Commands over several partitions, and WAIT. */
#include "session_fixture.h"

static void mget_deals_values_out_in_the_order_of_keys(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    char text[800] = "mget", expected[900] = "*30\r\n";
    for (int i = 0; i < 30; i++) {
        char key[16], value[16];
        snprintf(key, sizeof key, "k%d", i * 7 % 30);
        snprintf(value, sizeof value, "v%02d", i * 7 % 30);
        fix_set(f, key, value);
        snprintf(text + strlen(text), 20, " %s", key);
        snprintf(expected + strlen(expected), 30, "$3\r\n%s\r\n", value);
    }
    strcat(text, "\r\n");
    fix_send(s, text);
    unsigned parts = f->submitted;
    CU_ASSERT(parts > 5 && parts <= FIX_PARTITIONS);
    while (parts-- > 0)
        fix_answer(f, fix_waiting(f, parts));
    CU_ASSERT_STRING_EQUAL(fix_output(f, s), expected);
    fix_delete(f);
}

static void keys_of_one_slot_go_as_one_command(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    FIX_EXPECT(f, s, "mset {t}a 1 {t}b 2\r\n", "+OK\r\n");
    CU_ASSERT_EQUAL(f->submitted, 1);
    FIX_EXPECT(f, s, "mget {t}b {t}a {t}b\r\n", "*3\r\n$1\r\n2\r\n$1\r\n1\r\n$1\r\n2\r\n");
    CU_ASSERT_EQUAL(f->submitted, 2);
    fix_delete(f);
}

static void counts_of_parts_are_added(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    FIX_EXPECT(f, s, "mset a 1 b 2 c 3 d 4\r\n", "+OK\r\n");
    FIX_EXPECT(f, s, "exists a b nothing c a\r\n", ":4\r\n");
    FIX_EXPECT(f, s, "del a b nothing c\r\n", ":3\r\n");
    FIX_EXPECT(f, s, "dbsize\r\n", ":1\r\n");
    fix_delete(f);
}

static void mset_with_a_missing_value_is_refused_whole(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    FIX_EXPECT(f, s, "mset a 1 b\r\n", "-ERR wrong number of arguments for 'mset' command\r\n");
    CU_ASSERT_EQUAL(f->submitted, 0);
    fix_delete(f);
}

static void broadcasts_reach_every_partition_once(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    FIX_EXPECT(f, s, "mset a 1 b 2 c 3\r\n", "+OK\r\n");
    f->submitted = 0;
    FIX_EXPECT(f, s, "flushall\r\n", "+OK\r\n");
    CU_ASSERT_EQUAL(f->submitted, FIX_PARTITIONS);
    for (unsigned i = 0; i < FIX_PARTITIONS; i++)
        CU_ASSERT_EQUAL(f->requests[i].r.partition, i);
    FIX_EXPECT(f, s, "dbsize\r\n", ":0\r\n");
    FIX_EXPECT(f, s, "keys *\r\n", "*0\r\n");
    FIX_EXPECT(f, s, "randomkey\r\n", "$-1\r\n");
    fix_delete(f);
}

/* Member 0, which is this worker, leads partitions 0..7; of 15 no leader is known. */
static bool is_ours(uint32_t partition)
{
    return partition < 8 || partition == 15;
}

static unsigned fill_keys(struct fix *f, int keys)
{
    unsigned ours = 0;
    for (int i = 0; i < keys; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        fix_set(f, key, "v");
        ours += is_ours(fix_partition(key));
    }
    return ours;
}

static void by_a_workers_own_port_only_what_it_leads_is_asked(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open_by(f, true), *shared = fix_open(f);
    char text[32];
    unsigned ours = fill_keys(f, 60);
    CU_ASSERT(ours > 10 && ours < 60);
    snprintf(text, sizeof text, ":%u\r\n", ours);
    FIX_EXPECT(f, s, "dbsize\r\n", text);
    CU_ASSERT_EQUAL(f->submitted, 9);
    FIX_EXPECT(f, shared, "dbsize\r\n", ":60\r\n");
    snprintf(text, sizeof text, "*%u\r\n", ours);
    FIX_EXPECT_PART(f, s, "keys *\r\n", text);
    for (unsigned i = 0; i < 40; i++) {
        f->submitted = 0;
        FIX_EXPECT_PART(f, s, "randomkey\r\n", "k");
        for (unsigned k = 0; k < f->submitted; k++)
            CU_ASSERT(is_ours(f->requests[k].r.partition));
    }
    FIX_EXPECT(f, s, "flushall\r\n", "+OK\r\n");
    FIX_EXPECT(f, s, "randomkey\r\n", "$-1\r\n");
    FIX_EXPECT(f, s, "dbsize\r\n", ":0\r\n");
    snprintf(text, sizeof text, ":%u\r\n", 60 - ours);
    FIX_EXPECT(f, shared, "dbsize\r\n", text);
    FIX_EXPECT(f, s, "set k1 new\r\nget k1\r\n", "+OK\r\n$3\r\nnew\r\n");
    fix_delete(f);
}

static void a_worker_that_leads_nothing_has_no_keys(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open_by(f, true);
    fill_keys(f, 20);
    f->taken_to = FIX_PARTITIONS;
    FIX_EXPECT(f, s, "dbsize\r\n", ":0\r\n");
    FIX_EXPECT(f, s, "keys *\r\n", "*0\r\n");
    FIX_EXPECT(f, s, "scan 0\r\n", "*2\r\n$1\r\n0\r\n*0\r\n");
    FIX_EXPECT(f, s, "randomkey\r\n", "$-1\r\n");
    FIX_EXPECT(f, s, "flushall\r\n", "+OK\r\n");
    CU_ASSERT_EQUAL(f->submitted, 0);
    FIX_EXPECT(f, s, "get k1\r\n", "$1\r\nv\r\n");
    fix_delete(f);
}

static void keys_of_all_partitions_come_as_one_array(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    for (int i = 0; i < 50; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        fix_set(f, key, "v");
    }
    fix_send(s, "keys *\r\n");
    fix_answer_all(f);
    const char *out = fix_output(f, s);
    struct tm_resp_skipper skipper = {0};
    size_t used = 0;
    CU_ASSERT_EQUAL(strncmp(out, "*50\r\n", 5), 0);
    CU_ASSERT_EQUAL(tm_resp_skip(&skipper, (const uint8_t *)out, strlen(out), &used), TM_RESP_DONE);
    CU_ASSERT_EQUAL(used, strlen(out));
    FIX_EXPECT_PART(f, s, "randomkey\r\n", "k");
    fix_delete(f);
}

/* Reads "*2 cursor *n key..." and marks the keys; returns the cursor. */
static uint64_t read_scan(const char *out, bool *seen, unsigned *count)
{
    struct tm_resp_value v;
    size_t at = 0, used, len = strlen(out);
    const uint8_t *data = (const uint8_t *)out;
    char cursor[24] = "";
    tm_resp_read(data, len, &v, &used);
    CU_ASSERT_EQUAL_FATAL(v.count, 2);
    at += used;
    tm_resp_read(data + at, len - at, &v, &used);
    memcpy(cursor, v.text.data, v.text.len);
    at += used;
    tm_resp_read(data + at, len - at, &v, &used);
    at += used;
    for (uint64_t n = v.count; n > 0; n--) {
        CU_ASSERT_EQUAL_FATAL(tm_resp_read(data + at, len - at, &v, &used), TM_RESP_DONE);
        seen[atoi((const char *)v.text.data + 1)] = true;
        ++*count;
        at += used;
    }
    CU_ASSERT_EQUAL(at, len);
    return strtoull(cursor, NULL, 10);
}

static uint64_t scan_on(struct fix *f, struct tm_session *s, uint64_t cursor, bool *seen,
                        unsigned *count)
{
    char text[80];
    snprintf(text, sizeof text, "scan %llu count 5\r\n", (unsigned long long)cursor);
    fix_send(s, text);
    fix_answer_all(f);
    return read_scan(fix_output(f, s), seen, count);
}

static void a_walk_by_the_own_port_visits_what_the_worker_leads_once(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open_by(f, true);
    bool seen[100] = {0};
    unsigned count = 0, calls = 0, ours = fill_keys(f, 100);
    uint64_t cursor = 0;
    do {
        cursor = scan_on(f, s, cursor, seen, &count);
    } while (cursor != 0 && calls++ < 100);
    CU_ASSERT_EQUAL(count, ours);
    for (unsigned k = 0; k < f->submitted; k++)
        CU_ASSERT(is_ours(f->requests[k].r.partition));

    /* Leadership moves away in the middle of a partition: that one is finished, no other begun. */
    memset(seen, 0, sizeof seen);
    for (calls = 0, cursor = 0; calls == 0 || (cursor >> 14 == 0 && calls < 100); calls++)
        cursor = scan_on(f, s, cursor, seen, &count);
    CU_ASSERT_FATAL(cursor >> 14 != 0);
    uint32_t middle = cursor & (TM_SLOTS - 1);
    f->taken_to = FIX_PARTITIONS;
    f->submitted = 0;
    for (calls = 0; cursor != 0 && calls < 100; calls++)
        cursor = scan_on(f, s, cursor, seen, &count);
    CU_ASSERT_EQUAL(cursor, 0);
    CU_ASSERT(f->submitted > 0);
    for (unsigned k = 0; k < f->submitted; k++)
        CU_ASSERT_EQUAL(f->requests[k].r.partition, middle);
    for (int i = 0; i < 100; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        if (fix_partition(key) == middle)
            CU_ASSERT(seen[i]);
    }
    fix_delete(f);
}

static void a_scan_visits_every_key_and_ends(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    bool seen[100] = {0};
    unsigned count = 0, calls = 0;
    uint64_t cursor = 0;
    for (int i = 0; i < 100; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        fix_set(f, key, "v");
    }
    do {
        char text[80];
        snprintf(text, sizeof text, "scan %llu count 7 match *\r\n", (unsigned long long)cursor);
        f->submitted = 0;
        f->answer_at_once = calls % 2 == 0;
        fix_send(s, text);
        fix_answer_all(f);
        cursor = read_scan(fix_output(f, s), seen, &count);
        calls++;
    } while (cursor != 0 && calls < 100);
    CU_ASSERT_EQUAL(cursor, 0);
    CU_ASSERT_EQUAL(count, 100);
    CU_ASSERT(calls > 10 && calls <= 15);
    for (int i = 0; i < 100; i++)
        CU_ASSERT(seen[i]);
    fix_delete(f);
}

static void a_scan_goes_on_when_the_router_was_full(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    f->room = 1;
    fix_send(s, "scan 0\r\nping\r\n");
    for (int i = 0; i < FIX_PARTITIONS; i++) {
        CU_ASSERT_STRING_EQUAL(fix_output(f, s), "");
        CU_ASSERT_PTR_NOT_NULL_FATAL(fix_waiting(f, 0));
        fix_answer(f, fix_waiting(f, 0));
        f->room = 1;
        tm_sessions_resume(f->all);
    }
    CU_ASSERT_STRING_EQUAL(fix_output(f, s), "*2\r\n$1\r\n0\r\n*0\r\n+PONG\r\n");
    fix_delete(f);
}

static void bad_cursors_are_refused(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    FIX_EXPECT(f, s, "scan x\r\n", "-ERR invalid cursor\r\n");
    FIX_EXPECT(f, s, "scan -1\r\n", "-ERR invalid cursor\r\n");
    FIX_EXPECT(f, s, "scan 99999999999999999999\r\n", "-ERR invalid cursor\r\n");
    FIX_EXPECT(f, s, "scan 16000\r\n", "*2\r\n$1\r\n0\r\n*0\r\n"); /* no such partition */
    fix_delete(f);
}

static void wait_asks_the_partitions_written_to(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    FIX_EXPECT(f, s, "set a 1\r\nset a 2\r\nset b 1\r\nget c\r\n", "+OK\r\n+OK\r\n+OK\r\n$-1\r\n");
    f->submitted = 0;
    fix_send(s, "wait 2 500\r\n");
    CU_ASSERT_EQUAL_FATAL(f->submitted, 2);
    for (unsigned i = 0; i < 2; i++) {
        const struct tm_request *r = &f->requests[i].r;
        bool is_a = r->partition == fix_partition("a");
        CU_ASSERT(is_a || r->partition == fix_partition("b"));
        CU_ASSERT_EQUAL(r->kind, TM_REQUEST_WAIT);
        CU_ASSERT_EQUAL(r->index, is_a ? 2 : 1);
        CU_ASSERT_EQUAL(r->copies, 3); /* the leader's own and two more */
        CU_ASSERT_EQUAL(r->timeout_ms, 500);
    }
    struct tm_answer two = {.id = f->requests[0].r.id, .status = TM_ANSWER_DONE, .copies = 2};
    f->requests[0].taken = true;
    f->now_ns += TM_MS(500);
    tm_sessions_answer(f->all, f->requests[0].session, &two);
    CU_ASSERT_STRING_EQUAL(fix_output(f, s), "");
    fix_answer_all(f); /* 3 copies */
    CU_ASSERT_STRING_EQUAL(fix_output(f, s), ":1\r\n");
    FIX_EXPECT(f, s, "waitaof 1 1 0\r\n", "*2\r\n:1\r\n:2\r\n");
    fix_delete(f);
}

/* A session that wrote to two partitions. */
static struct tm_session *open_and_write(struct fix *f)
{
    struct tm_session *s = fix_open(f);
    FIX_EXPECT(f, s, "set a 1\r\nset b 1\r\n", "+OK\r\n+OK\r\n");
    f->submitted = 0;
    return s;
}

/* Answers a WAIT with so many copies. */
static void wait_answer(struct fix *f, struct fix_request *q, uint32_t copies)
{
    struct tm_answer a = {.id = q->r.id, .status = TM_ANSWER_DONE, .copies = copies};
    q->taken = true;
    tm_sessions_answer(f->all, q->session, &a);
}

/* Eventual mode: what an earlier leader took may be cut off since, whatever the present one has at
 * its index. */
static void wait_asks_for_what_each_leader_took(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    for (f->term = 3; f->term <= 8; f->term++) {
        f->index[fix_partition("a")] = 20 - f->term; /* each log was cut back further */
        FIX_EXPECT(f, s, "set a 1\r\nset a 2\r\n", "+OK\r\n+OK\r\n");
    }
    f->submitted = 0;
    fix_send(s, "wait 1 0\r\n");
    CU_ASSERT_EQUAL_FATAL(f->submitted, 4); /* of the newest terms */
    unsigned terms = 0;
    for (unsigned i = 0; i < 4; i++) {
        const struct tm_request *r = &f->requests[i].r;
        terms |= 1u << r->term;
        CU_ASSERT_EQUAL(r->index, 22 - r->term);
    }
    CU_ASSERT_EQUAL(terms, 1u << 5 | 1u << 6 | 1u << 7 | 1u << 8);
    struct fix_request *gone = fix_waiting(f, 0);
    struct tm_answer none = {
        .id = gone->r.id, .status = TM_ANSWER_DONE, .err = TM_ERR_NOTFOUND, .copies = 0};
    gone->taken = true;
    tm_sessions_answer(f->all, gone->session, &none);
    CU_ASSERT_EQUAL(f->submitted, 4); /* not asked again: no copy will have it */
    fix_answer_all(f);
    CU_ASSERT_STRING_EQUAL(fix_output(f, s), ":0\r\n");
    fix_delete(f);
}

/* Answers each WAIT that waits: of a record of `term`, or of any if that is 0, no copy is known. */
static unsigned answer_but(struct fix *f, uint64_t term)
{
    unsigned gone = 0;
    struct fix_request *q;
    while ((q = fix_waiting(f, 0)) != NULL) {
        bool is_gone = term == 0 || q->r.term == term;
        struct tm_answer a = {.id = q->r.id,
                              .status = TM_ANSWER_DONE,
                              .err = is_gone ? TM_ERR_NOTFOUND : TM_OK,
                              .copies = is_gone ? 0 : 3};
        q->taken = true;
        gone += is_gone;
        tm_sessions_answer(f->all, q->session, &a);
    }
    return gone;
}

/* Else a connection would be told 0 for good once a failover cut one of its writes off, or once the
 * leader's log begins behind it. */
static void what_wait_told_to_be_gone_is_asked_for_no_more(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    char text[40];
    for (f->term = 3; f->term <= 6; f->term++)
        for (int i = 0; i < 100; i++) {
            snprintf(text, sizeof text, "set k%d v\r\n", i);
            fix_send(s, text);
            fix_answer_all(f);
        }
    fix_output(f, s);
    for (uint64_t left = 4; left > 0; left--) {
        f->submitted = 0;
        fix_send(s, "wait 2 0\r\n");
        CU_ASSERT_EQUAL(f->submitted, left * FIX_PARTITIONS);
        for (unsigned i = 0; i < f->submitted; i++)
            CU_ASSERT_EQUAL(f->requests[i].r.index,
                            f->index[f->requests[i].r.partition] / 4 * (f->requests[i].r.term - 2));
        CU_ASSERT_EQUAL(answer_but(f, 2 + left), FIX_PARTITIONS);
        CU_ASSERT_STRING_EQUAL(fix_output(f, s), ":0\r\n");
    }
    f->submitted = 0;
    fix_send(s, "wait 2 0\r\n");
    CU_ASSERT_EQUAL(f->submitted, 1); /* nothing is written any more, as far as is remembered */
    fix_answer_all(f);
    CU_ASSERT_STRING_EQUAL(fix_output(f, s), ":2\r\n");
    fix_delete(f);
}

/* A client that was told something else, or nothing, is yet to hear of it. */
static void what_is_gone_is_told_before_it_is_forgotten(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    f->term = 3;
    FIX_EXPECT(f, s, "set a 1\r\nset b 1\r\n", "+OK\r\n+OK\r\n");
    f->submitted = 0;
    fix_send(s, "wait 1 0\r\n");
    fix_refuse(f, fix_waiting(f, 0), TM_ANSWER_REFUSED, TM_ERR_NOTLEADER);
    CU_ASSERT_EQUAL(answer_but(f, 0), 1);
    CU_ASSERT_EQUAL(fix_output(f, s)[0], '-');
    f->submitted = 0;
    fix_send(s, "client reply skip\r\nwait 1 0\r\n");
    CU_ASSERT_EQUAL(answer_but(f, 0), 2);
    CU_ASSERT_STRING_EQUAL(fix_output(f, s), "");
    f->submitted = 0;
    fix_send(s, "multi\r\nwait 1 0\r\n");
    CU_ASSERT_EQUAL(answer_but(f, 0), 2);
    FIX_EXPECT(f, s, "discard\r\n", "+OK\r\n+QUEUED\r\n+OK\r\n");
    f->submitted = 0;
    fix_send(s, "wait 1 0\r\n");
    CU_ASSERT_EQUAL(f->submitted, 2);
    FIX_EXPECT(f, s, "", ":2\r\n");
    fix_delete(f);
}

/* What is written while the answer is on its way is not what it speaks of. */
static void a_write_after_what_is_gone_is_not_forgotten_with_it(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    f->term = 3;
    FIX_EXPECT(f, s, "set a 1\r\n", "+OK\r\n");
    f->submitted = 0;
    fix_send(s, "wait 1 0\r\nset a 2\r\n");
    struct fix_request *wait = fix_waiting(f, 0);
    if (f->submitted > 1)
        fix_answer(f, fix_waiting(f, 1)); /* its reply stands behind that of WAIT */
    struct tm_answer none = {
        .id = wait->r.id, .status = TM_ANSWER_DONE, .err = TM_ERR_NOTFOUND, .copies = 0};
    wait->taken = true;
    tm_sessions_answer(f->all, wait->session, &none);
    FIX_EXPECT(f, s, "", ":0\r\n+OK\r\n");
    f->submitted = 0;
    fix_send(s, "wait 1 0\r\n");
    CU_ASSERT(f->submitted == 1 && f->requests[0].r.index == 2 && f->requests[0].r.term == 3);
    fix_delete(f);
}

static void a_long_wait_is_asked_again_as_long_as_its_client_is_there(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = open_and_write(f);
    fix_send(s, "wait 3 2500\r\n");
    for (unsigned slice = 0; slice < 3; slice++) {
        CU_ASSERT_EQUAL_FATAL(f->submitted, 2 + slice);
        CU_ASSERT_EQUAL(f->requests[slice == 0 ? 0 : slice + 1].r.timeout_ms,
                        slice < 2 ? 1000 : 500);
        f->now_ns += TM_MS(slice < 2 ? 1000 : 500);
        wait_answer(f, slice == 0 ? &f->requests[0] : &f->requests[slice + 1], 2);
    }
    CU_ASSERT_EQUAL(f->submitted, 4); /* the time is over: that answer stands */
    CU_ASSERT_STRING_EQUAL(fix_output(f, s), "");
    wait_answer(f, &f->requests[1], 4); /* the other partition had them all */
    CU_ASSERT_STRING_EQUAL(fix_output(f, s), ":1\r\n");

    f->submitted = 0;
    fix_send(s, "wait 9 0\r\nping\r\n"); /* without end */
    for (unsigned i = 0; i < 20; i++) {
        CU_ASSERT_EQUAL_FATAL(f->submitted, i + 2);
        CU_ASSERT(f->requests[i].r.timeout_ms == 1000 && f->requests[i].r.copies == 10);
        wait_answer(f, &f->requests[i], 3);
    }
    CU_ASSERT_STRING_EQUAL(fix_output(f, s), "");
    tm_session_close(s);
    f->submitted = 0;
    for (unsigned i = 20; i < 22; i++)
        wait_answer(f, &f->requests[i], 3);
    CU_ASSERT_EQUAL(f->submitted, 0); /* nobody is there to wait for it */
    fix_delete(f);
}

static void a_wait_goes_on_when_the_router_was_full(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = open_and_write(f);
    fix_send(s, "wait 3 0\r\n");
    f->room = 0;
    wait_answer(f, &f->requests[0], 2);
    wait_answer(f, &f->requests[1], 2);
    CU_ASSERT_EQUAL(f->submitted, 2);
    f->room = 1;
    CU_ASSERT(tm_sessions_resume(f->all));
    CU_ASSERT_EQUAL(f->submitted, 3);
    f->room = UINT32_MAX;
    CU_ASSERT_FALSE(tm_sessions_resume(f->all));
    CU_ASSERT_EQUAL(f->submitted, 4);
    wait_answer(f, &f->requests[2], 4);
    fix_refuse(f, &f->requests[3], TM_ANSWER_REFUSED, TM_ERR_NOTLEADER);
    CU_ASSERT_EQUAL(strncmp(fix_output(f, s), "-CLUSTERDOWN ", 13), 0);
    fix_delete(f);
}

static void wait_waits_for_what_came_before_it(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    fix_send(s, "set a 1\r\nwait 1 0\r\nping\r\n");
    CU_ASSERT_EQUAL(f->submitted, 1);
    CU_ASSERT_FALSE(tm_session_wants_input(s));
    fix_answer(f, fix_waiting(f, 0));
    CU_ASSERT_EQUAL(f->submitted, 2);
    CU_ASSERT_EQUAL(f->requests[1].r.index, 1);
    fix_answer_all(f);
    CU_ASSERT_STRING_EQUAL(fix_output(f, s), "+OK\r\n:2\r\n+PONG\r\n");
    fix_delete(f);
}

static void wait_without_a_write_asks_how_many_copies_there_are(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    FIX_EXPECT(f, s, "wait 0 0\r\n", ":2\r\n");
    CU_ASSERT_EQUAL(f->submitted, 1);
    FIX_EXPECT(f, s, "wait -1 0\r\n", ":2\r\n"); /* nothing to wait for */
    CU_ASSERT_EQUAL(f->requests[1].r.copies, 1);
    FIX_EXPECT(f, s, "wait x 0\r\n", "-ERR value is not an integer or out of range\r\n");
    FIX_EXPECT(f, s, "waitaof 2 0 0\r\n",
               "-ERR WAITAOF cannot be used when numlocal is greater than 1\r\n");
    FIX_EXPECT(f, s, "wait 1 -1\r\n", "-ERR timeout is negative\r\n");
    FIX_EXPECT(f, s, "wait 1 x\r\n", "-ERR timeout is not an integer or out of range\r\n");
    fix_delete(f);
}

/* Writes to many partitions are all remembered, whatever the order. */
static void wait_remembers_every_partition(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    char text[40];
    for (int i = 0; i < 100; i++) {
        snprintf(text, sizeof text, "set k%d v\r\n", i);
        fix_send(s, text);
        fix_answer_all(f);
    }
    fix_output(f, s);
    f->submitted = 0;
    fix_send(s, "wait 1 0\r\n");
    CU_ASSERT_EQUAL(f->submitted, FIX_PARTITIONS);
    for (unsigned i = 0; i < f->submitted; i++)
        CU_ASSERT_EQUAL(f->requests[i].r.index, f->index[f->requests[i].r.partition]);
    fix_delete(f);
}

static const struct tm_test tests[] = {
    TM_TEST(mget_deals_values_out_in_the_order_of_keys),
    TM_TEST(keys_of_one_slot_go_as_one_command),
    TM_TEST(counts_of_parts_are_added),
    TM_TEST(mset_with_a_missing_value_is_refused_whole),
    TM_TEST(broadcasts_reach_every_partition_once),
    TM_TEST(by_a_workers_own_port_only_what_it_leads_is_asked),
    TM_TEST(a_worker_that_leads_nothing_has_no_keys),
    TM_TEST(a_walk_by_the_own_port_visits_what_the_worker_leads_once),
    TM_TEST(keys_of_all_partitions_come_as_one_array),
    TM_TEST(a_scan_visits_every_key_and_ends),
    TM_TEST(a_scan_goes_on_when_the_router_was_full),
    TM_TEST(bad_cursors_are_refused),
    TM_TEST(wait_asks_the_partitions_written_to),
    TM_TEST(wait_asks_for_what_each_leader_took),
    TM_TEST(what_wait_told_to_be_gone_is_asked_for_no_more),
    TM_TEST(what_is_gone_is_told_before_it_is_forgotten),
    TM_TEST(a_write_after_what_is_gone_is_not_forgotten_with_it),
    TM_TEST(a_long_wait_is_asked_again_as_long_as_its_client_is_there),
    TM_TEST(a_wait_goes_on_when_the_router_was_full),
    TM_TEST(wait_waits_for_what_came_before_it),
    TM_TEST(wait_without_a_write_asks_how_many_copies_there_are),
    TM_TEST(wait_remembers_every_partition),
};

TM_TEST_MAIN("actors/session_parts", tests)
