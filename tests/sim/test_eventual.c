/* What an eventual cluster owes at rest: the oracle hears of a made-up run, sound or not. */
#include "storage/store.h"
#include "tests/sim/sim_eventual.h"
#include "tests/test.h"

/* Registers 0.. of one group: a string, a counter, a string, a field, a member, a counter field. */
static const struct tm_sim_layout LAYOUT = {.groups = 1, .registers = 6};

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
    struct tm_sim_eventual_config e = {.layout = LAYOUT, .host = &w, .wrong = wrong};
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

/* A record with the value of string 0, of that version; merged: that was made by that version. */
static const struct tm_record *records(uint64_t term, uint64_t index, uint64_t value,
                                       const struct tm_op_source *merged)
{
    char text[32];
    struct tm_record_builder b;
    struct tm_record head = {.term = term, .index = index, .hlc = ++w.now};
    struct tm_op at, op = {.code = TM_OP_SET_FIELD};
    struct tm_bytes key = tm_bytes_str("k");
    unsigned slot = (unsigned)w.last++;
    snprintf(text, sizeof text, "%llu.abc", (unsigned long long)value);
    op.value = tm_bytes_str(text);
    tm_record_begin(&b, &w.records[slot], sizeof w.records[slot], TM_RECORD_EFFECT, &head);
    if (merged != NULL) {
        struct tm_op mark = {.code = TM_OP_MERGED, .value = tm_bytes_of(merged, sizeof *merged)};
        CU_ASSERT_EQUAL_FATAL(tm_record_op(&b, key, TM_ENTITY_STRING, &mark, &at), TM_OK);
    }
    CU_ASSERT_EQUAL_FATAL(tm_record_op(&b, key, TM_ENTITY_STRING, &op, &at), TM_OK);
    const struct tm_record *r = tm_record_end(&b);
    tm_sim_eventual_record(w.eventual, r);
    return r;
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

static void judge(bool lost)
{
    tm_sim_eventual_judge(w.eventual, w.truth, lost);
}

static void the_later_version_stands_whoever_was_answered_first(void)
{
    begin();
    writes(0, 10, TM_SIM_DONE);
    writes(0, 11, TM_SIM_DONE); /* by a leader that had been replaced */
    records(2, 5, 10, NULL);
    records(1, 9, 11, NULL);
    reads(0, 10);
    judge(false);
    expect(NULL);
    begin();
    writes(0, 10, TM_SIM_DONE);
    writes(0, 11, TM_SIM_DONE);
    records(2, 5, 10, NULL);
    records(1, 9, 11, NULL);
    reads(0, 11);
    judge(false);
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
    judge(false);
    expect(NULL);
}

static void what_was_acknowledged_is_there_if_nobody_lost_anything(void)
{
    for (int lost = 0; lost < 2; lost++) {
        begin();
        writes(0, 10, TM_SIM_DONE);
        records(1, 5, 10, NULL);
        reads(0, 0);
        judge(lost);
        expect(lost ? NULL : "holds nothing, though 10 was written");
    }
    begin();
    writes(0, 10, TM_SIM_DONE);
    reads(0, 10);
    judge(false);
    expect("value 10 was acknowledged and is in no record");
}

static void what_was_committed_is_there_whoever_lost_what(void)
{
    begin();
    writes(0, 10, TM_SIM_UNKNOWN);
    commits(records(1, 5, 10, NULL));
    reads(0, 0);
    judge(true);
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
    judge(false);
    expect("holds 10, which nobody wrote there");
}

static void counters_are_sums_and_members_are_there(void)
{
    for (uint64_t total = 5; total < 9; total++) {
        begin();
        step(TM_SIM_ADD, 1, 3, true, TM_SIM_DONE);
        step(TM_SIM_ADD, 1, 3, true, TM_SIM_DONE);
        step(TM_SIM_ADD, 1, 1, true, TM_SIM_UNKNOWN);
        step(TM_SIM_ADD, 1, 9, true, TM_SIM_REFUSED);
        reads(1, total);
        judge(false);
        expect(total == 6 || total == 7 ? NULL : "6 was acknowledged");
    }
    begin();
    writes(4, 1, TM_SIM_DONE);
    reads(4, 0);
    judge(false);
    expect("is not there, though it was acknowledged");
}

static const struct tm_test tests[] = {
    TM_TEST(the_later_version_stands_whoever_was_answered_first),
    TM_TEST(a_merged_value_has_the_version_of_its_source),
    TM_TEST(what_was_acknowledged_is_there_if_nobody_lost_anything),
    TM_TEST(what_was_committed_is_there_whoever_lost_what),
    TM_TEST(a_write_that_happens_twice_is_seen),
    TM_TEST(what_was_refused_or_never_written_is_seen),
    TM_TEST(counters_are_sums_and_members_are_there),
};

TM_TEST_MAIN("sim/eventual", tests)
