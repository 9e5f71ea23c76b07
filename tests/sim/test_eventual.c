/* What an eventual cluster owes at rest: the oracle hears of a made-up run, sound or not. */
#include "tests/sim/sim_eventual.h"
#include "tests/test.h"

/* Registers 0.. of one group: a string, a counter, a string, a field, a member, a counter field,
 * and so on. */
static const struct tm_sim_layout LAYOUT = {.groups = 1, .registers = 60};

struct world {
    struct tm_sim_truth *truth;
    struct tm_sim_eventual *eventual;
    struct tm_replica replica;
    struct {
        struct tm_record head;
        uint8_t body[512];
    } records[32] __attribute__((aligned(8)));
    uint64_t last, now, ids;
    unsigned wrongs;
    char text[512];
};

static struct world w;

static void wrong(void *host, const char *text)
{
    struct world *world = host;
    if (world->wrongs++ == 0)
        snprintf(world->text, sizeof world->text, "%s", text);
}

static void begin(void)
{
    w = (struct world){.now = 1000};
    struct tm_sim_truth_config t = {.partitions = 1, .eventual = true, .host = &w, .wrong = wrong};
    struct tm_sim_eventual_config e = {.layout = LAYOUT,
                                       .window_bytes = TM_KIB(1),
                                       .window_ns = TM_MS(100),
                                       .host = &w,
                                       .wrong = wrong};
    w.truth = tm_sim_truth_new(&t);
    w.eventual = tm_sim_eventual_new(&e);
}

static void expect(const char *text)
{
    bool right = text == NULL ? w.wrongs == 0 : strstr(w.text, text) != NULL;
    if (!right)
        printf("  expected \"%s\", heard \"%s\"\n", text == NULL ? "" : text, w.text);
    CU_ASSERT_TRUE(right);
    tm_sim_eventual_free(w.eventual);
    tm_sim_truth_free(w.truth);
}

static void step(enum tm_sim_verb verb, uint32_t reg, uint64_t value, bool found,
                 enum tm_sim_outcome outcome)
{
    struct tm_sim_call c = {.id = ++w.ids,
                            .outcome = outcome,
                            .count = 1,
                            .called_ns = w.now,
                            .returned_ns = w.now + 1};
    c.step[0] = (struct tm_sim_step){
        .verb = verb, .reg = reg, .value = value, .found = found, .result = value};
    w.now += 10;
    tm_sim_eventual_returned(w.eventual, &c);
}

static void writes(uint32_t reg, uint64_t value, enum tm_sim_outcome outcome)
{
    step(TM_SIM_WRITE, reg, value, false, outcome);
}

static void reads(uint32_t reg, uint64_t value)
{
    step(TM_SIM_READ, reg, value, value != 0, TM_SIM_DONE);
}

/* Records are durable on the disks of nodes; each disk's log may begin anywhere. */
static void hold(unsigned node, const struct tm_record *r)
{
    struct tm_id id = {.disk = 100 + node, .node = (uint8_t)node};
    tm_sim_truth_reset(w.truth, id, 0, r->index - 1, 0);
    tm_sim_truth_durable(w.truth, id, r);
}

/* A record of that version on the disk of node 1, with an operation on the register; merged: that
 * was made by that version. */
static const struct tm_record *makes(uint64_t term, uint64_t index, uint32_t reg,
                                     const struct tm_op *op, const struct tm_op_source *merged)
{
    struct tm_record_builder b;
    struct tm_record head = {.term = term, .index = index, .hlc = ++w.now};
    struct tm_op at, named = *op;
    struct tm_sim_register r = tm_sim_register(reg, &LAYOUT);
    struct tm_bytes key = tm_bytes_str(r.key);
    enum tm_entity_type type = r.field[0] == '\0'        ? TM_ENTITY_STRING
                               : r.kind == TM_SIM_MEMBER ? TM_ENTITY_SET
                                                         : TM_ENTITY_HASH;
    unsigned slot = (unsigned)w.last++;
    named.name = tm_bytes_str(r.field);
    tm_record_begin(&b, &w.records[slot], sizeof w.records[slot], TM_RECORD_EFFECT, &head);
    if (merged != NULL) {
        struct tm_op mark = {.code = TM_OP_MERGED, .value = tm_bytes_of(merged, sizeof *merged)};
        CU_ASSERT_EQUAL_FATAL(tm_record_op(&b, key, type, &mark, &at), TM_OK);
    }
    CU_ASSERT_EQUAL_FATAL(tm_record_op(&b, key, type, &named, &at), TM_OK);
    const struct tm_record *record = tm_record_end(&b);
    tm_sim_eventual_record(w.eventual, record, w.now);
    hold(1, record);
    return record;
}

/* A record with the value of string 0. */
static const struct tm_record *records(uint64_t term, uint64_t index, uint64_t value,
                                       const struct tm_op_source *merged)
{
    char text[32];
    struct tm_op op = {.code = TM_OP_SET_FIELD};
    snprintf(text, sizeof text, "%llu.abc", (unsigned long long)value);
    op.value = tm_bytes_str(text);
    return makes(term, index, 0, &op, merged);
}

/* A record with the total of the term's component of a counter. */
static const struct tm_record *counts(uint32_t reg, uint64_t term, uint64_t index, int64_t total)
{
    struct tm_counter_component c = {.origin = 1, .term = term, .total = total};
    struct tm_op op = {.code = TM_OP_COUNTER, .value = tm_bytes_of(&c, sizeof c)};
    return makes(term, index, reg, &op, NULL);
}

/* ---- a leader of one, so that something is committed ---- */

static const struct tm_record *committed_now;

static bool log_at(void *log, uint64_t index, uint64_t *term, uint64_t *hash)
{
    (void)log;
    if (committed_now == NULL || index != committed_now->index)
        return false;
    *term = committed_now->term;
    *hash = committed_now->checksum;
    return true;
}

static const struct tm_record *log_record(void *log, uint64_t index)
{
    (void)log;
    (void)index;
    return NULL;
}

/* A cluster of one commits this record, its first. */
static void commits(const struct tm_record *r)
{
    struct tm_id id = {.disk = 7};
    struct tm_replica *replica = &w.replica;
    *replica = (struct tm_replica){.self = id, .role = TM_ROLE_FOLLOWER};
    replica->hs.vote.node = TM_NODE_UNKNOWN;
    replica->members.count = 1;
    replica->members.at[0].id = id;
    struct tm_sim_view v = {
        .replica = replica, .first = r->index, .at = log_at, .record = log_record};
    struct tm_promise p = {.term = r->term, .vote = id};
    committed_now = NULL;
    tm_sim_truth_booted(w.truth, &v, &(struct tm_sim_truth_boot){.lied = true});
    tm_sim_truth_promise(w.truth, id, 0, &p);
    tm_sim_truth_reset(w.truth, id, 0, r->index - 1, 0);
    tm_sim_truth_durable(w.truth, id, r);
    committed_now = r;
    replica->hs = p;
    replica->role = TM_ROLE_LEADER;
    replica->granted = 1;
    replica->term_start = r->index;
    replica->last = (struct tm_tail){r->index, r->term, r->checksum};
    replica->durable = replica->commit = r->index;
    tm_sim_truth_look(w.truth, &v);
    CU_ASSERT_TRUE_FATAL(tm_sim_truth_is_committed(w.truth, 0, r->index, r->checksum));
}

static void judge(void)
{
    tm_sim_eventual_judge(w.eventual, w.truth, (const uint64_t[]){0});
}

static void the_later_version_stands_whoever_was_answered_first(void)
{
    begin();
    writes(0, 10, TM_SIM_DONE);
    writes(0, 11, TM_SIM_DONE); /* by a leader that had been replaced */
    records(2, 5, 10, NULL);
    records(1, 9, 11, NULL);
    reads(0, 10);
    judge();
    expect(NULL);
    begin();
    writes(0, 10, TM_SIM_DONE);
    writes(0, 11, TM_SIM_DONE);
    records(2, 5, 10, NULL);
    records(1, 9, 11, NULL);
    reads(0, 11);
    judge();
    expect("holds 11, version (1, 9); 10 has (2, 5)");
}

static void a_merged_value_has_the_version_of_its_source(void)
{
    begin();
    writes(0, 10, TM_SIM_DONE);
    writes(0, 11, TM_SIM_DONE);
    records(1, 5, 10, NULL);
    records(3, 7, 10, &(struct tm_op_source){.term = 1, .index = 5});
    records(2, 6, 11, NULL);
    reads(0, 11);
    judge();
    expect(NULL);
}

static void what_a_copy_that_is_left_had_is_there(void)
{
    static const char *const says[] = {"holds nothing, though 10 was written",
                                       "holds nothing, though 10 was written", NULL};
    for (unsigned lost = 0; lost < 3; lost++) {
        begin();
        writes(0, 10, TM_SIM_DONE);
        hold(2, records(1, 5, 10, NULL));
        for (unsigned node = 1; node <= lost; node++)
            tm_sim_truth_lose(w.truth, node);
        reads(0, 0);
        judge();
        struct tm_sim_eventual_stats stats = tm_sim_eventual_stats(w.eventual);
        CU_ASSERT(stats.records == 1 && stats.cut == 1 && stats.cut_and_owed == (lost < 2));
        CU_ASSERT(stats.lost == (lost == 2) && stats.missing == (lost < 2));
        expect(says[lost]);
    }
}

/* A copy that got it, or found it at a start, after another had lost it. */
static void what_a_copy_got_later_is_there(void)
{
    begin();
    writes(0, 10, TM_SIM_DONE);
    const struct tm_record *r = records(1, 5, 10, NULL);
    tm_sim_truth_lose(w.truth, 1);
    tm_sim_truth_lose(w.truth, 2);
    hold(2, r);
    reads(0, 0);
    judge();
    expect("holds nothing, though 10 was written");
}

static void what_is_acknowledged_is_in_some_record(void)
{
    begin();
    writes(0, 10, TM_SIM_DONE);
    reads(0, 10);
    judge();
    expect("value 10 was acknowledged and is in no record");
    begin();
    writes(4, 1, TM_SIM_DONE);
    reads(4, 1);
    judge();
    expect("was acknowledged and is in no record");
}

/* One record may be about eight registers. */
static void what_is_missing_was_counted_as_dropped(void)
{
    for (uint64_t dropped = 0; dropped < 3; dropped++) {
        begin();
        for (uint32_t i = 0; i < 9; i++) {
            uint32_t reg = i * 6 + 1; /* counters */
            counts(reg, 1, 5 + i, 3);
            step(TM_SIM_ADD, reg, 3, true, TM_SIM_DONE);
            reads(reg, 0);
        }
        tm_sim_eventual_judge(w.eventual, w.truth, &dropped);
        CU_ASSERT_EQUAL(tm_sim_eventual_stats(w.eventual).missing, 9);
        expect(dropped < 2 ? "counts 0; from 3 to 3 is what is left of 3" : NULL);
    }
}

/* Some 120 bytes each; 1 KiB and 50 ms are granted beside the window of 1 KiB and 100 ms. */
static void what_is_lost_is_within_the_window(void)
{
    for (unsigned many = 2; many <= 24; many += 22) {
        begin();
        for (unsigned i = 0; i < many; i++)
            records(1, 5 + i, 10 + i, NULL);
        tm_sim_truth_lose(w.truth, 1);
        judge();
        expect(many == 2 ? NULL : "bytes of term 1 are lost with it, from record 5 to 28");
    }
    for (unsigned late = 0; late < 2; late++) {
        begin();
        records(1, 5, 10, NULL);
        w.now += TM_MS(159 + 2 * late);
        records(1, 6, 11, NULL);
        records(2, 7, 12, NULL);
        w.now += TM_SECONDS(1);
        records(3, 8, 13, NULL);
        tm_sim_truth_lose(w.truth, 1);
        judge();
        expect(late == 0 ? NULL : "161 ms of term 1 are lost with it, from record 5 to 6");
    }
}

static void what_was_merged_somewhere_is_not_lost(void)
{
    begin();
    for (unsigned i = 0; i < 15; i++) {
        writes(0, 10 + i, TM_SIM_DONE);
        records(1, 5 + i, 10 + i, NULL);
    }
    tm_sim_truth_lose(w.truth, 1);
    for (unsigned i = 0; i < 15; i++)
        records(2, 50 + i, 10 + i, &(struct tm_op_source){.term = 1, .index = 5 + i});
    reads(0, 24);
    judge();
    CU_ASSERT_EQUAL(tm_sim_eventual_stats(w.eventual).lost, 0);
    CU_ASSERT_EQUAL(tm_sim_eventual_stats(w.eventual).cut_and_owed, 15);
    expect(NULL);
}

static void what_was_committed_is_there_whoever_lost_what(void)
{
    begin();
    writes(0, 10, TM_SIM_UNKNOWN);
    commits(records(1, 5, 10, NULL));
    tm_sim_truth_lose(w.truth, 0);
    tm_sim_truth_lose(w.truth, 1);
    reads(0, 0);
    judge();
    expect("holds nothing, though 10 was written");
}

static void a_write_that_happens_twice_is_seen(void)
{
    begin();
    writes(0, 10, TM_SIM_DONE);
    records(1, 5, 10, NULL);
    records(2, 6, 10, NULL);
    expect("value 10 was written by record 5 of term 1, and again by 6 of 2");
}

static void what_was_refused_or_never_written_is_seen(void)
{
    begin();
    writes(0, 10, TM_SIM_REFUSED);
    records(1, 5, 10, NULL);
    reads(0, 10);
    judge();
    expect("holds 10, which nobody wrote there");
}

static void records_count_what_was_acknowledged(void)
{
    for (int64_t total = 5; total < 9; total++) {
        begin();
        step(TM_SIM_ADD, 1, 3, true, TM_SIM_DONE);
        step(TM_SIM_ADD, 1, 3, true, TM_SIM_DONE);
        step(TM_SIM_ADD, 1, 1, true, TM_SIM_UNKNOWN);
        step(TM_SIM_ADD, 1, 9, true, TM_SIM_REFUSED);
        counts(1, 1, 5, 3);
        counts(1, 2, 6, total - 3);
        reads(1, (uint64_t)total);
        judge();
        expect(total == 6 || total == 7 ? NULL : "6 was acknowledged");
    }
}

/* Of one component the total of each record is that of all before it, too. */
static void a_counter_is_the_sum_of_what_is_left(void)
{
    for (uint64_t value = 3; value < 9; value++) {
        begin();
        step(TM_SIM_ADD, 1, 3, true, TM_SIM_DONE);
        step(TM_SIM_ADD, 1, 1, true, TM_SIM_DONE);
        step(TM_SIM_ADD, 1, 4, true, TM_SIM_DONE);
        counts(1, 1, 5, 3);
        hold(2, counts(1, 1, 6, 4));
        counts(1, 2, 9, 4);
        tm_sim_truth_lose(w.truth, 1);
        reads(1, value);
        judge();
        expect(value < 4 ? "from 4 to 8 is what is left of 8" : NULL);
    }
    begin();
    step(TM_SIM_ADD, 5, 3, true, TM_SIM_DONE);
    counts(5, 1, 5, 3);
    reads(5, 4);
    judge();
    expect("counts 4; from 3 to 3 is what is left of 3");
}

static void members_are_there(void)
{
    for (unsigned lost = 0; lost < 2; lost++) {
        struct tm_op op = {.code = TM_OP_SET_FIELD};
        begin();
        writes(4, 1, TM_SIM_DONE);
        makes(1, 5, 4, &op, NULL);
        if (lost)
            tm_sim_truth_lose(w.truth, 1);
        reads(4, 0);
        judge();
        expect(lost ? NULL : "is not there, though it was written");
    }
}

static const struct tm_test tests[] = {
    TM_TEST(the_later_version_stands_whoever_was_answered_first),
    TM_TEST(a_merged_value_has_the_version_of_its_source),
    TM_TEST(what_a_copy_that_is_left_had_is_there),
    TM_TEST(what_a_copy_got_later_is_there),
    TM_TEST(what_is_acknowledged_is_in_some_record),
    TM_TEST(what_is_missing_was_counted_as_dropped),
    TM_TEST(what_is_lost_is_within_the_window),
    TM_TEST(what_was_merged_somewhere_is_not_lost),
    TM_TEST(what_was_committed_is_there_whoever_lost_what),
    TM_TEST(a_write_that_happens_twice_is_seen),
    TM_TEST(what_was_refused_or_never_written_is_seen),
    TM_TEST(records_count_what_was_acknowledged),
    TM_TEST(a_counter_is_the_sum_of_what_is_left),
    TM_TEST(members_are_there),
};

TM_TEST_MAIN("sim/eventual", tests)
