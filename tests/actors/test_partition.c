/* One partition on three nodes: when replies leave, what is refused, what is undone, what expires,
 * what a restart finds. */
#include "partition_world.h"

#include "storage/entity.h"

static struct pw world;

static void stall(unsigned node, bool stalled)
{
    tm_sim_disk_stall(world.node[node].sd, stalled);
}

static unsigned after(unsigned node, unsigned steps)
{
    return (node + steps) % PW_NODES;
}

/* The next leader, once the old one has noticed. */
static unsigned await_successor(unsigned old)
{
    for (unsigned i = 0; i < 50000 && pw_leader(&world) == old; i++)
        pw_step(&world);
    unsigned next = pw_await_leader(&world);
    CU_ASSERT_NOT_EQUAL_FATAL(next, old);
    return next;
}

/* What the newest version of key is on that node; "" if there is none. */
static const char *value_on(unsigned node, const char *key)
{
    static char text[64];
    const struct tm_entity *e = tm_store_find(world.node[node].p->store, tm_bytes_str(key));
    struct tm_value v = {.text = {0}};
    if (e != NULL)
        tm_entity_string(e, &v);
    CU_ASSERT_FATAL(v.text.len < sizeof text);
    if (v.text.len > 0)
        memcpy(text, v.text.data, v.text.len);
    text[v.text.len] = '\0';
    return text;
}

/* ---- answers ---- */

static void commands_are_evaluated_by_the_leader_and_reach_all_copies(void)
{
    pw_open(&world);
    CU_ASSERT_STRING_EQUAL(pw_do(&world, "SET Order:1 paid"), "+OK");
    CU_ASSERT_STRING_EQUAL(pw_do(&world, "GET Order:1"), "$4 paid");
    CU_ASSERT_STRING_EQUAL(pw_do(&world, "INCR Count:1"), ":1");
    CU_ASSERT_STRING_EQUAL(pw_do(&world, "INCRBY Count:1 41"), ":42");
    CU_ASSERT_STRING_EQUAL(pw_do(&world, "HSET Order:2 status new"), ":1");
    CU_ASSERT_STRING_EQUAL(pw_do(&world, "DEL Order:1"), ":1");
    CU_ASSERT_STRING_EQUAL(pw_do(&world, "GET Order:1"), "$-1");
    pw_expect_equal(&world);
    for (unsigned i = 0; i < PW_NODES; i++)
        CU_ASSERT_EQUAL(tm_store_count(world.node[i].p->store), 2);
    pw_close(&world);
}

static void a_write_is_answered_when_a_quorum_has_it_durably(void)
{
    pw_open(&world);
    unsigned l = pw_await_leader(&world);
    CU_ASSERT_STRING_EQUAL(pw_do(&world, "SET k 1"), "+OK");
    stall(l, true);
    stall(after(l, 1), true);
    uint64_t id = pw_ask(&world, l, "SET k 2");
    pw_run(&world, TM_MS(100));
    CU_ASSERT_FALSE(pw_has(&world, id)); /* one disk has it */
    CU_ASSERT_STRING_EQUAL(value_on(l, "k"), "2");
    CU_ASSERT_STRING_EQUAL(value_on(after(l, 2), "k"), "1");
    stall(after(l, 1), false);
    CU_ASSERT_STRING_EQUAL(pw_await(&world, id)->reply, "+OK"); /* two of three, not its own */
    CU_ASSERT(tm_log_durable(world.node[l].p->log) < world.answers[id].index);
    stall(l, false);
    pw_expect_equal(&world);
    pw_close(&world);
}

static void a_read_waits_for_a_round_of_leadership(void)
{
    pw_open(&world);
    unsigned l = pw_await_leader(&world);
    CU_ASSERT_STRING_EQUAL(pw_do(&world, "SET k 1"), "+OK");
    pw_isolate(&world, l, true);
    pw_run(&world, TM_MS(1));
    uint64_t id = pw_ask(&world, l, "GET k");
    uint64_t nothing = pw_ask(&world, l, "SETNX k 2"); /* appends nothing: a read as well */
    pw_run(&world, TM_MS(50));
    CU_ASSERT_FALSE(pw_has(&world, id));
    CU_ASSERT_FALSE(pw_has(&world, nothing));
    pw_isolate(&world, l, false);
    CU_ASSERT_STRING_EQUAL(pw_await(&world, id)->reply, "$1 1");
    CU_ASSERT_STRING_EQUAL(pw_await(&world, nothing)->reply, ":0");
    CU_ASSERT_EQUAL(world.answers[nothing].index, 0);
    pw_close(&world);
}

static void a_read_of_a_deposed_leader_is_refused(void)
{
    pw_open(&world);
    unsigned l = pw_await_leader(&world);
    CU_ASSERT_STRING_EQUAL(pw_do(&world, "SET k 1"), "+OK");
    pw_isolate(&world, l, true);
    uint64_t id = pw_ask(&world, l, "GET k");
    const struct pw_answer *a = pw_await(&world, id);
    CU_ASSERT_EQUAL(a->status, TM_ANSWER_REFUSED);
    CU_ASSERT_EQUAL(a->err, TM_ERR_NOTLEADER);
    (void)await_successor(l);
    pw_close(&world);
}

static void a_read_waits_for_what_it_saw_and_for_nothing_later(void)
{
    pw_open(&world);
    unsigned l = pw_await_leader(&world);
    CU_ASSERT_STRING_EQUAL(pw_do(&world, "SET k 1"), "+OK");
    CU_ASSERT_STRING_EQUAL(pw_do(&world, "SET other 1"), "+OK");
    stall(after(l, 1), true);
    stall(after(l, 2), true);
    uint64_t set = pw_ask(&world, l, "SET k 2");
    uint64_t gone = pw_ask(&world, l, "DEL other");
    uint64_t saw = pw_ask(&world, l, "GET k");
    uint64_t absent = pw_ask(&world, l, "GET other");
    uint64_t untouched = pw_ask(&world, l, "GET third");
    CU_ASSERT_STRING_EQUAL(pw_await(&world, untouched)->reply, "$-1");
    pw_run(&world, TM_MS(50));
    CU_ASSERT_FALSE(pw_has(&world, set));
    CU_ASSERT_FALSE(pw_has(&world, saw));
    CU_ASSERT_FALSE(pw_has(&world, gone));
    CU_ASSERT_FALSE(pw_has(&world, absent)); /* that it is not there is not committed yet */
    stall(after(l, 1), false);
    stall(after(l, 2), false);
    CU_ASSERT_STRING_EQUAL(pw_await(&world, saw)->reply, "$1 2");
    CU_ASSERT_STRING_EQUAL(pw_await(&world, absent)->reply, "$-1");
    CU_ASSERT_TRUE(pw_has(&world, set) && pw_has(&world, gone));
    pw_close(&world);
}

static void who_does_not_lead_refuses(void)
{
    pw_open(&world);
    uint64_t early = pw_ask(&world, 0, "SET k 1");
    CU_ASSERT_EQUAL(world.answers[early].status, TM_ANSWER_REFUSED);
    unsigned l = pw_await_leader(&world);
    for (unsigned i = 1; i < PW_NODES; i++) {
        uint64_t set = pw_ask(&world, after(l, i), "SET k 1");
        uint64_t get = pw_ask(&world, after(l, i), "GET k");
        CU_ASSERT_EQUAL(world.answers[set].err, TM_ERR_NOTLEADER);
        CU_ASSERT_EQUAL(world.answers[get].err, TM_ERR_NOTLEADER);
    }
    CU_ASSERT_STRING_EQUAL(pw_do(&world, "GET k"), "$-1");
    pw_close(&world);
}

static void waiting_for_copies_counts_disks(void)
{
    pw_open(&world);
    unsigned l = pw_await_leader(&world);
    stall(after(l, 1), true);
    uint64_t set = pw_ask(&world, l, "SET k 1");
    uint64_t index = pw_await(&world, set)->index;
    struct tm_request three = {.kind = TM_REQUEST_WAIT, .index = index, .copies = 3};
    struct tm_request soon = {
        .kind = TM_REQUEST_WAIT, .index = index, .copies = 3, .timeout_ms = 150};
    uint64_t all = pw_request(&world, l, &three), some = pw_request(&world, l, &soon);
    CU_ASSERT_EQUAL(pw_await(&world, some)->copies, 2);
    CU_ASSERT_FALSE(pw_has(&world, all));
    stall(after(l, 1), false);
    CU_ASSERT_EQUAL(pw_await(&world, all)->copies, 3);
    pw_close(&world);
}

/* ---- what is cut ---- */

static void what_is_cut_is_undone_and_refused(void)
{
    pw_open(&world);
    unsigned l = pw_await_leader(&world);
    CU_ASSERT_STRING_EQUAL(pw_do(&world, "SET k old"), "+OK");
    CU_ASSERT_STRING_EQUAL(pw_do(&world, "INCR n"), ":1");
    pw_isolate(&world, l, true);
    uint64_t lost[] = {pw_ask(&world, l, "SET k lost"), pw_ask(&world, l, "INCR n"),
                       pw_ask(&world, l, "SET fresh lost"), pw_ask(&world, l, "SET k again")};
    pw_run(&world, TM_MS(1));
    CU_ASSERT_STRING_EQUAL(value_on(l, "k"), "again");
    (void)await_successor(l);
    CU_ASSERT_STRING_EQUAL(value_on(l, "k"), "old"); /* as soon as it does not lead */
    CU_ASSERT_STRING_EQUAL(value_on(l, "fresh"), "");
    CU_ASSERT_STRING_EQUAL(pw_do(&world, "SET k new"), "+OK");
    CU_ASSERT_STRING_EQUAL(pw_do(&world, "INCR n"), ":2");
    for (unsigned i = 0; i < 4; i++)
        CU_ASSERT_FALSE(pw_has(&world, lost[i])); /* another might have them still */
    pw_isolate(&world, l, false);
    for (unsigned i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(pw_await(&world, lost[i])->status, TM_ANSWER_REFUSED);
        CU_ASSERT_EQUAL(world.answers[lost[i]].err, TM_ERR_NOTLEADER);
    }
    pw_expect_equal(&world);
    CU_ASSERT_STRING_EQUAL(value_on(l, "k"), "new");
    pw_close(&world);
}

static void open_eventual(void)
{
    pw_open(&world);
    world.replica_options.eventual = true;
    for (unsigned i = 0; i < PW_NODES; i++)
        world.node[i].p->eventual = true;
}

/* Consistency "eventual": what is cut is put aside and comes back by a merge.  Told that it was not
 * done, the dispatch would ask the next leader, and it would be counted twice. */
static void what_is_cut_and_comes_back_by_a_merge_is_not_refused(void)
{
    open_eventual();
    unsigned l = pw_await_leader(&world);
    CU_ASSERT_STRING_EQUAL(pw_do(&world, "INCR n"), ":1");
    pw_run(&world, TM_MS(50));
    stall(l, true);
    pw_isolate(&world, l, true);
    uint64_t id = pw_ask(&world, l, "INCR n");
    pw_run(&world, TM_MS(1));
    (void)await_successor(l);
    CU_ASSERT_STRING_EQUAL(pw_do(&world, "INCR n"), ":2");
    CU_ASSERT_FALSE(pw_has(&world, id));
    stall(l, false);
    pw_isolate(&world, l, false);
    CU_ASSERT_EQUAL(pw_await(&world, id)->status, TM_ANSWER_UNKNOWN);
    pw_expect_equal(&world);
    pw_close(&world);
}

static const struct pw_answer *wait_for(const struct pw_answer *written, uint32_t copies)
{
    struct tm_request rq = {
        .kind = TM_REQUEST_WAIT, .index = written->index, .term = written->term, .copies = copies};
    return pw_await(&world, pw_request(&world, pw_await_leader(&world), &rq));
}

/* Its leader had it alone: another record is at its index, on all copies. */
static void what_a_failover_cut_off_is_on_no_copy(void)
{
    open_eventual();
    unsigned l = pw_await_leader(&world);
    const struct pw_answer *kept = pw_await(&world, pw_ask(&world, l, "SET k 1"));
    CU_ASSERT_EQUAL(wait_for(kept, 3)->copies, 3);
    pw_isolate(&world, l, true);
    const struct pw_answer *lost = pw_await(&world, pw_ask(&world, l, "SET k 2"));
    CU_ASSERT_EQUAL(lost->status, TM_ANSWER_DONE);
    (void)await_successor(l);
    const struct pw_answer *last = lost;
    while (last == lost || last->index <= lost->index)
        last = pw_await(&world, pw_ask(&world, pw_await_leader(&world), "SET k 3"));
    CU_ASSERT(lost->term != 0 && last->term > lost->term);
    const struct pw_answer *a = wait_for(lost, 2);
    CU_ASSERT(a->status == TM_ANSWER_DONE && a->err == TM_ERR_NOTFOUND && a->copies == 0);
    CU_ASSERT_EQUAL(wait_for(last, 2)->copies, 2);
    CU_ASSERT_EQUAL(wait_for(kept, 2)->err, TM_OK);
    pw_isolate(&world, l, false);
    CU_ASSERT_EQUAL(wait_for(kept, 3)->copies, 3);
    CU_ASSERT_EQUAL(wait_for(lost, 1)->copies, 0);
    pw_close(&world);
}

/* Told that it was not done, the dispatch would ask the next leader: it would happen twice. */
static void what_outlives_its_leader_is_done_once(void)
{
    pw_open(&world);
    unsigned l = pw_await_leader(&world);
    CU_ASSERT_STRING_EQUAL(pw_do(&world, "INCR n"), ":1");
    for (unsigned i = 0; i < PW_NODES; i++)
        world.cut[i][l] = true; /* it is heard, and hears nothing */
    uint64_t id = pw_ask(&world, l, "INCR n");
    pw_run(&world, TM_MS(5));
    pw_isolate(&world, l, true);
    (void)await_successor(l);
    CU_ASSERT_STRING_EQUAL(pw_do(&world, "GET n"), "$1 2"); /* the next leader had it */
    CU_ASSERT_FALSE(pw_has(&world, id));
    pw_isolate(&world, l, false);
    CU_ASSERT_EQUAL(pw_await(&world, id)->status, TM_ANSWER_DONE);
    CU_ASSERT_STRING_EQUAL(world.answers[id].reply, ":2");
    CU_ASSERT_STRING_EQUAL(pw_do(&world, "GET n"), "$1 2");
    pw_expect_equal(&world);
    pw_close(&world);
}

static void a_watch_does_not_outlive_its_leader(void)
{
    pw_open(&world);
    unsigned l = pw_await_leader(&world);
    CU_ASSERT_STRING_EQUAL(pw_do(&world, "SET k 1"), "+OK");
    struct tm_bytes key[] = {tm_bytes_of("k", 1)};
    struct tm_bytes incr[] = {tm_bytes_of("INCR", 4), tm_bytes_of("k", 1)};
    struct tm_request_command keys = {key, 1}, words = {incr, 2};
    struct tm_request watch = {.kind = TM_REQUEST_WATCH, .commands = &keys, .count = 1};
    uint64_t clean = pw_await(&world, pw_request(&world, l, &watch))->watch_token;
    struct tm_request multi = {
        .kind = TM_REQUEST_MULTI, .commands = &words, .count = 1, .watch_token = clean};
    CU_ASSERT_STRING_EQUAL(pw_await(&world, pw_request(&world, l, &multi))->reply, "*1 :2");

    uint64_t dirty = pw_await(&world, pw_request(&world, l, &watch))->watch_token;
    CU_ASSERT_STRING_EQUAL(pw_do(&world, "SET k 7"), "+OK");
    multi.watch_token = dirty;
    CU_ASSERT_STRING_EQUAL(pw_await(&world, pw_request(&world, l, &multi))->reply, "*-1");

    uint64_t old = pw_await(&world, pw_request(&world, l, &watch))->watch_token;
    pw_die(&world.node[l], -1);
    multi.watch_token = old;
    unsigned next = pw_await_leader(&world);
    CU_ASSERT_STRING_EQUAL(pw_await(&world, pw_request(&world, next, &multi))->reply, "*-1");
    CU_ASSERT_STRING_EQUAL(pw_do(&world, "GET k"), "$1 7");
    pw_close(&world);
}

/* ---- expiry ---- */

static void what_is_watched_and_expires_has_changed(void)
{
    pw_open(&world);
    unsigned l = pw_await_leader(&world);
    struct tm_bytes key[] = {tm_bytes_of("k", 1)};
    struct tm_request_command keys = {key, 1};
    struct tm_request watch = {.kind = TM_REQUEST_WATCH, .commands = &keys, .count = 1};
    for (unsigned other = 0; other < 2; other++) {
        CU_ASSERT_STRING_EQUAL(pw_do(&world, "SET k v PX 1000"), "+OK");
        struct tm_bytes del[] = {tm_bytes_of("DEL", 3), tm_bytes_of(other ? "o" : "k", 1)};
        struct tm_request_command words = {del, 2};
        struct tm_request multi = {.kind = TM_REQUEST_MULTI, .commands = &words, .count = 1};
        multi.watch_token = pw_await(&world, pw_request(&world, l, &watch))->watch_token;
        world.node[l].ahead_ms += 1001; /* due now, and not looked for yet */
        CU_ASSERT_STRING_EQUAL(pw_await(&world, pw_request(&world, l, &multi))->reply, "*-1");
        CU_ASSERT_STRING_EQUAL(value_on(l, "k"), "");
    }
    pw_close(&world);
}

static void only_a_record_of_the_leader_expires(void)
{
    pw_open(&world);
    unsigned l = pw_await_leader(&world);
    world.node[after(l, 1)].ahead_ms = 60000; /* for its clock all of this is long over */
    CU_ASSERT_STRING_EQUAL(pw_do(&world, "SET k v PX 400"), "+OK");
    CU_ASSERT_STRING_EQUAL(pw_do(&world, "SET kept v PX 400"), "+OK");
    CU_ASSERT_STRING_EQUAL(pw_do(&world, "PERSIST kept"), ":1");
    pw_run(&world, TM_MS(200));
    pw_expect_equal(&world);
    for (unsigned i = 0; i < PW_NODES; i++)
        CU_ASSERT_STRING_EQUAL(value_on(i, "k"), "v");
    uint64_t before = world.node[l].p->replica.last.index;
    pw_run(&world, TM_MS(500));
    CU_ASSERT(world.node[l].p->replica.last.index > before);
    pw_expect_equal(&world);
    for (unsigned i = 0; i < PW_NODES; i++) {
        CU_ASSERT_STRING_EQUAL(value_on(i, "k"), "");
        CU_ASSERT_STRING_EQUAL(value_on(i, "kept"), "v");
    }
    pw_close(&world);
}

static void who_finds_a_key_due_waits_for_the_record_that_expires_it(void)
{
    pw_open(&world);
    unsigned l = pw_await_leader(&world);
    CU_ASSERT_STRING_EQUAL(pw_do(&world, "SET k v PX 1000"), "+OK");
    pw_expect_equal(&world);
    stall(after(l, 1), true);
    stall(after(l, 2), true);
    world.node[l].ahead_ms = 1001; /* due now, and not looked for yet */
    uint64_t before = world.node[l].p->replica.last.index;
    uint64_t id = pw_ask(&world, l, "GET k");
    CU_ASSERT_EQUAL(world.node[l].p->replica.last.index, before + 1);
    pw_run(&world, TM_MS(10));
    CU_ASSERT_FALSE(pw_has(&world, id));
    CU_ASSERT_STRING_EQUAL(value_on(after(l, 1), "k"), "v");
    world.node[l].ahead_ms = 0;
    stall(after(l, 1), false);
    CU_ASSERT_STRING_EQUAL(pw_await(&world, id)->reply, "$-1");
    stall(after(l, 2), false);
    pw_expect_equal(&world);
    CU_ASSERT_STRING_EQUAL(value_on(after(l, 1), "k"), "");
    pw_close(&world);
}

/* ---- the disk ---- */

/* Writes until one is refused; false if none was. */
static bool write_until_refused(unsigned leader, unsigned *acked)
{
    char line[4096];
    int head = snprintf(line, sizeof line, "SET big ");
    memset(line + head, 'x', 3000);
    line[head + 3000] = '\0';
    for (unsigned i = 0; i < 400; i++) {
        const struct pw_answer *a = pw_await(&world, pw_ask(&world, leader, line));
        if (a->status == TM_ANSWER_REFUSED && a->err == TM_ERR_NOSPACE)
            return true;
        if (a->status == TM_ANSWER_DONE)
            ++*acked;
        else
            pw_run(&world, TM_MS(2)); /* a segment is being prepared */
    }
    return false;
}

static void a_full_disk_refuses_writes_and_resumes_by_itself(void)
{
    pw_open(&world);
    unsigned l = pw_await_leader(&world), acked = 0;
    CU_ASSERT_STRING_EQUAL(pw_do(&world, "SET k 1"), "+OK");
    struct tm_sim_disk *sd = world.node[l].sd;
    tm_sim_disk_set_capacity(sd, tm_sim_disk_used(sd) + TM_KIB(80));
    CU_ASSERT_TRUE(write_until_refused(l, &acked));
    CU_ASSERT(acked > 5);
    CU_ASSERT(tm_counter_get(&world.node[l].counters, TM_COUNTER_refused_diskfull) >= 1);
    CU_ASSERT_STRING_EQUAL(pw_do(&world, "GET k"), "$1 1");
    pw_run(&world, TM_MS(500));
    CU_ASSERT_EQUAL(pw_leader(&world), l); /* it leads on, and still refuses */
    uint64_t id = pw_ask(&world, l, "SET k 2");
    CU_ASSERT_EQUAL(pw_await(&world, id)->err, TM_ERR_NOSPACE);
    CU_ASSERT_STRING_EQUAL(value_on(l, "k"), "1");
    tm_sim_disk_set_capacity(sd, 0);
    pw_run(&world, TM_MS(500));
    CU_ASSERT_STRING_EQUAL(pw_do(&world, "SET k 3"), "+OK");
    pw_expect_equal(&world);
    pw_close(&world);
}

/* ---- restarts ---- */

/* A counter of each of some keys, and what it must be. */
static void count_up(unsigned *model, unsigned keys, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        char line[64], expected[64];
        unsigned k = (unsigned)(pw_random(&world.node[0]) % keys);
        snprintf(line, sizeof line, "INCR n%u", k);
        snprintf(expected, sizeof expected, ":%u", ++model[k]);
        CU_ASSERT_STRING_EQUAL_FATAL(pw_do(&world, line), expected);
    }
}

static void expect_counts(const unsigned *model, unsigned keys)
{
    for (unsigned k = 0; k < keys; k++) {
        char line[64], expected[64], number[32];
        snprintf(number, sizeof number, "%u", model[k]);
        snprintf(line, sizeof line, "GET n%u", k);
        snprintf(expected, sizeof expected, "$%zu %s", strlen(number), number);
        CU_ASSERT_STRING_EQUAL(pw_do(&world, line), model[k] > 0 ? expected : "$-1");
    }
}

static void recovery_builds_the_same_table(void)
{
    unsigned model[12] = {0};
    pw_open(&world);
    for (unsigned round = 0; round < 6; round++) {
        count_up(model, 12, 60);
        uint64_t hash = tm_store_state_hash(world.node[pw_await_leader(&world)].p->store);
        bool power = round % 2 == 0;
        for (unsigned i = 0; i < PW_NODES; i++)
            pw_die(&world.node[i], power ? (int)(pw_random(&world.node[0]) % 101) : -1);
        for (unsigned i = 0; i < PW_NODES; i++)
            pw_start(&world, i);
        (void)pw_await_leader(&world);
        pw_expect_equal(&world);
        CU_ASSERT_EQUAL(tm_store_state_hash(world.node[0].p->store), hash);
        expect_counts(model, 12);
    }
    pw_close(&world);
}

static void a_copy_that_was_away_reads_what_it_missed_from_the_leaders_disk(void)
{
    unsigned model[12] = {0};
    pw_open(&world);
    unsigned l = pw_await_leader(&world), away = after(l, 1);
    pw_die(&world.node[away], -1);
    count_up(model, 12, 400); /* more than the cache of 16 KiB holds */
    CU_ASSERT_PTR_NULL(tm_log_get(world.node[l].p->log, 2).data);
    pw_start(&world, away);
    for (unsigned i = 0; i < PW_NODES; i++)
        if (i != away) {
            tm_beat_peer_up(&world.node[i].beat, away);
            tm_beat_peer_up(&world.node[away].beat, i);
        }
    pw_expect_equal(&world);
    CU_ASSERT_EQUAL(world.node[l].snapshots_wanted, 0);
    expect_counts(model, 12);
    pw_close(&world);
}

static const struct tm_test tests[] = {
    TM_TEST(commands_are_evaluated_by_the_leader_and_reach_all_copies),
    TM_TEST(a_write_is_answered_when_a_quorum_has_it_durably),
    TM_TEST(a_read_waits_for_a_round_of_leadership),
    TM_TEST(a_read_of_a_deposed_leader_is_refused),
    TM_TEST(a_read_waits_for_what_it_saw_and_for_nothing_later),
    TM_TEST(who_does_not_lead_refuses),
    TM_TEST(waiting_for_copies_counts_disks),
    TM_TEST(what_is_cut_is_undone_and_refused),
    TM_TEST(what_is_cut_and_comes_back_by_a_merge_is_not_refused),
    TM_TEST(what_a_failover_cut_off_is_on_no_copy),
    TM_TEST(what_outlives_its_leader_is_done_once),
    TM_TEST(a_watch_does_not_outlive_its_leader),
    TM_TEST(what_is_watched_and_expires_has_changed),
    TM_TEST(only_a_record_of_the_leader_expires),
    TM_TEST(who_finds_a_key_due_waits_for_the_record_that_expires_it),
    TM_TEST(a_full_disk_refuses_writes_and_resumes_by_itself),
    TM_TEST(recovery_builds_the_same_table),
    TM_TEST(a_copy_that_was_away_reads_what_it_missed_from_the_leaders_disk),
};

TM_TEST_MAIN("actors/partition", tests)
