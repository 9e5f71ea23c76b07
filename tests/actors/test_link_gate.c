#include "actors/link_gate.h"
#include "test.h"

static struct tm_link_gate gate;
static uint64_t now;

static void open_gate(enum tm_link_unavailable unavailable, uint64_t joins,
                      const struct tm_link_gate_note *note)
{
    struct tm_link_gate_rules rules = {
        .timeout_ns = TM_MS(1000), .unavailable = unavailable, .joins = joins};
    now = TM_SECONDS(100);
    tm_link_gate_init(&gate, &rules, note, 10, now);
}

/* Time goes on, in steps of a millisecond, until then; the last word. */
static enum tm_link_gate_word run(uint64_t ms, uint64_t commit, uint64_t passed, bool flows)
{
    enum tm_link_gate_word word = TM_LINK_GATE_NOTHING;
    for (uint64_t i = 0; i < ms && word == TM_LINK_GATE_NOTHING; i++) {
        now += TM_MS(1);
        word = tm_link_gate_turn(&gate, now, commit, passed, flows);
    }
    return word;
}

static void write_down(enum tm_link_gate_word word, uint64_t record)
{
    struct tm_link_gate_note note = tm_link_gate_say(&gate, word, 7);
    tm_link_gate_written(&gate, &note, record, now);
}

static void replies_leave_when_the_target_has_their_records(void)
{
    open_gate(TM_LINK_FAIL, 0, NULL);
    CU_ASSERT_EQUAL(tm_link_gate_open(&gate), 0);
    run(10, 12, 9, true);
    CU_ASSERT_EQUAL(tm_link_gate_open(&gate), 9);
    CU_ASSERT_EQUAL(gate.over, 0);
    run(1, 12, 12, true);
    CU_ASSERT_EQUAL(tm_link_gate_open(&gate), 12);
    CU_ASSERT_EQUAL(tm_link_gate_waiting(&gate), UINT64_MAX);
    run(1, 12, 3, false); /* asked anew: what it had it has */
    CU_ASSERT_EQUAL(tm_link_gate_open(&gate), 12);
}

static void who_waits_too_long_is_given_up_and_nobody_else(void)
{
    open_gate(TM_LINK_FAIL, 0, NULL);
    run(1, 11, 10, true);
    run(500, 12, 10, false);
    CU_ASSERT_EQUAL(gate.over, 0);
    run(498, 12, 10, false);
    CU_ASSERT_EQUAL(gate.over, 0);
    run(2, 12, 10, false);
    CU_ASSERT_EQUAL(gate.over, 11);
    run(65, 12, 10, false);
    CU_ASSERT_EQUAL(gate.over, 12);
    CU_ASSERT_EQUAL(tm_link_gate_open(&gate), 10);
    CU_ASSERT_EQUAL(tm_link_gate_deadline(&gate), UINT64_MAX); /* nobody is left */
    run(1, 20, 10, false);
    CU_ASSERT_EQUAL(gate.over, 12);
    run(1, 20, 20, true);
    CU_ASSERT_EQUAL(tm_link_gate_open(&gate), 20);
}

static void block_gives_nobody_up(void)
{
    open_gate(TM_LINK_BLOCK, 0, NULL);
    for (uint64_t i = 0; i < 1000; i++)
        CU_ASSERT_EQUAL(run(70, 11 + i, 10, false), TM_LINK_GATE_NOTHING);
    CU_ASSERT_EQUAL(gate.over, 0);
    CU_ASSERT_EQUAL(tm_link_gate_open(&gate), 10);
    CU_ASSERT_TRUE(tm_link_gate_waiting(&gate) <= TM_SECONDS(100) + TM_MS(2));
    CU_ASSERT_EQUAL(tm_link_gate_deadline(&gate), UINT64_MAX);
}

static void degraded_counts_when_it_is_committed(void)
{
    open_gate(TM_LINK_DEGRADE, 0, NULL);
    CU_ASSERT_EQUAL(run(999, 12, 10, false), TM_LINK_GATE_NOTHING);
    CU_ASSERT_EQUAL(run(10, 12, 10, false), TM_LINK_GATE_DEGRADE);
    CU_ASSERT_EQUAL(run(50, 12, 10, false), TM_LINK_GATE_NOTHING);
    CU_ASSERT_EQUAL(run(100, 12, 10, false), TM_LINK_GATE_DEGRADE); /* it could not be written */
    write_down(TM_LINK_GATE_DEGRADE, 14);
    CU_ASSERT_EQUAL(gate.note.degraded, 1);
    run(5, 13, 10, false);
    CU_ASSERT_EQUAL(tm_link_gate_open(&gate), 10);
    run(1, 14, 10, false);
    CU_ASSERT_EQUAL(tm_link_gate_open(&gate), UINT64_MAX);
}

static void it_ends_only_when_the_target_has_all(void)
{
    open_gate(TM_LINK_DEGRADE, 0, NULL);
    run(1100, 12, 10, false);
    write_down(TM_LINK_GATE_DEGRADE, 13);
    run(1, 13, 10, false);
    CU_ASSERT_EQUAL(run(1000, 90, 60, false), TM_LINK_GATE_NOTHING);
    CU_ASSERT_EQUAL(run(1000, 90, 60, true), TM_LINK_GATE_NOTHING);
    CU_ASSERT_EQUAL(gate.state, TM_LINK_GATE_DEGRADED);
    CU_ASSERT_EQUAL(run(200, 91, 90, true), TM_LINK_GATE_NOTHING); /* nearly: writes wait */
    CU_ASSERT_EQUAL(gate.state, TM_LINK_GATE_CLOSING);
    CU_ASSERT_EQUAL(tm_link_gate_open(&gate), 90);
    CU_ASSERT_EQUAL(run(1, 95, 91, true), TM_LINK_GATE_RESTORE);
    write_down(TM_LINK_GATE_RESTORE, 96);
    CU_ASSERT_EQUAL(tm_link_gate_open(&gate), 91);
    run(1, 96, 93, true);
    CU_ASSERT_EQUAL(gate.state, TM_LINK_GATE_SYNC);
    CU_ASSERT_EQUAL(gate.note.degraded, 0);
    CU_ASSERT_EQUAL(tm_link_gate_open(&gate), 93);
}

static void who_does_not_come_the_last_step_is_waited_for_no_longer(void)
{
    open_gate(TM_LINK_DEGRADE, 0, NULL);
    run(1100, 12, 10, false);
    write_down(TM_LINK_GATE_DEGRADE, 13);
    run(1, 13, 13, true);
    run(250, 20, 13, true);
    CU_ASSERT_EQUAL(gate.state, TM_LINK_GATE_CLOSING);
    CU_ASSERT_EQUAL(run(1000, 20, 13, false), TM_LINK_GATE_NOTHING);
    CU_ASSERT_EQUAL(gate.state, TM_LINK_GATE_DEGRADED);
    CU_ASSERT_EQUAL(tm_link_gate_open(&gate), UINT64_MAX);
}

static void a_later_leader_goes_by_what_is_written_down(void)
{
    struct tm_link_gate_note note = {.since_ms = 5, .degraded = 1};
    open_gate(TM_LINK_DEGRADE, 0, &note);
    run(1, 9, 3, false); /* what says so may not be committed: record 10 is the newest */
    CU_ASSERT_EQUAL(tm_link_gate_open(&gate), 3);
    run(1, 10, 3, false);
    CU_ASSERT_EQUAL(tm_link_gate_open(&gate), UINT64_MAX);
    note = (struct tm_link_gate_note){.since_ms = 6};
    open_gate(TM_LINK_DEGRADE, 0, &note);
    run(1, 10, 3, false);
    CU_ASSERT_EQUAL(tm_link_gate_open(&gate), 3);
}

static void a_link_that_begins_catches_up_first(void)
{
    open_gate(TM_LINK_FAIL, 4, NULL);
    CU_ASSERT_EQUAL(run(2000, 12, 3, true), TM_LINK_GATE_NOTHING);
    CU_ASSERT_EQUAL(tm_link_gate_open(&gate), UINT64_MAX);
    CU_ASSERT_EQUAL(run(300, 12, 12, true), TM_LINK_GATE_RESTORE);
    write_down(TM_LINK_GATE_RESTORE, 13);
    CU_ASSERT_EQUAL(gate.note.joined, 4);
    run(1, 13, 12, true);
    CU_ASSERT_EQUAL(tm_link_gate_open(&gate), 12);
    struct tm_link_gate_note note = gate.note;
    open_gate(TM_LINK_FAIL, 4, &note); /* the next leader */
    CU_ASSERT_EQUAL(tm_link_gate_open(&gate), 0);
    open_gate(TM_LINK_FAIL, 5, &note); /* it ships more by now */
    CU_ASSERT_EQUAL(tm_link_gate_open(&gate), UINT64_MAX);
}

static const struct tm_test tests[] = {
    {"replies leave when the target has their records",
     replies_leave_when_the_target_has_their_records},
    {"who waits too long is given up, and nobody else",
     who_waits_too_long_is_given_up_and_nobody_else},
    {"block gives nobody up", block_gives_nobody_up},
    {"degraded counts when it is committed", degraded_counts_when_it_is_committed},
    {"it ends only when the target has all", it_ends_only_when_the_target_has_all},
    {"who does not come the last step is waited for no longer",
     who_does_not_come_the_last_step_is_waited_for_no_longer},
    {"a later leader goes by what is written down", a_later_leader_goes_by_what_is_written_down},
    {"a link that begins catches up first", a_link_that_begins_catches_up_first},
};

TM_TEST_MAIN("actors/link_gate", tests)
