/* What a stream waits for, and the record that its target lacks, in each kind of trouble. */
#include "actors/link_view.h"
#include "tests/actors/link_world.h"

static struct lw *w;
static bool on_disk; /* nothing is in memory */
static bool any = true, node = true;

static const struct tm_record *peek(void *host, const struct tm_link_out *out, uint64_t index)
{
    const struct lw_source *s = out->log;
    (void)host;
    return on_disk || index > s->log.commit ? NULL : s->log.record[index - 1];
}

static struct tm_link_view look(void)
{
    const struct tm_link_reach reach = {.any = any, .node = node, .peek = peek};
    struct tm_link_view v;
    tm_link_look(&w->source[0].out[0], &reach, &v);
    return v;
}

static void begin(void)
{
    w = lw_new(1, 1, 1);
    any = node = true;
    on_disk = false;
    lw_set(w, 0, "Order", "v");
    CU_ASSERT_FATAL(lw_settle(w, TM_SECONDS(2)));
    lw_run(w, TM_MS(50));
    CU_ASSERT_EQUAL(look().waits, TM_LINK_WAITS_NOTHING);
    CU_ASSERT_EQUAL(look().record, 0);
}

/* Writes what is to be shipped, and lets a second pass. */
static struct tm_link_view after_a_write(const char *type)
{
    lw_set(w, 0, type, "v");
    lw_run(w, TM_SECONDS(1));
    return look();
}

static bool becomes(enum tm_link_out_state state)
{
    for (unsigned i = 0; i < 10000 && w->source[0].out[0].state != state; i++)
        lw_run(w, TM_MS(1));
    return w->source[0].out[0].state == state;
}

static void the_first_record_that_is_shipped_is_named(void)
{
    begin();
    w->outlet.paused = true;
    lw_set(w, 0, "Secret", "v"); /* the filter leaves it out */
    uint64_t before = w->source[0].log.last;
    struct tm_link_view v = after_a_write("Order");
    CU_ASSERT_EQUAL(v.waits, TM_LINK_WAITS_PAUSED);
    CU_ASSERT_EQUAL(v.record, before + 1);
    CU_ASSERT_STRING_EQUAL(v.type, "Order");
    CU_ASSERT_EQUAL(v.hlc, w->source[0].log.record[before]->hlc);
    CU_ASSERT(v.lag.records >= 2 && v.lag.age_ms >= 900);
    on_disk = true;
    v = look();
    CU_ASSERT(v.record == 0 && v.not_in_memory);
    on_disk = false;
    w->outlet.paused = false;
    lw_run(w, TM_SECONDS(1));
    CU_ASSERT_EQUAL(look().waits, TM_LINK_WAITS_NOTHING);
    lw_free(w);
}

static void who_is_out_of_reach_is_told_apart(void)
{
    begin();
    w->lose = 1000;
    any = node = false;
    CU_ASSERT_EQUAL(look().waits, TM_LINK_WAITS_NOTHING); /* nothing is to be sent */
    CU_ASSERT_EQUAL(after_a_write("Order").waits, TM_LINK_WAITS_WAY);
    w->outlet.paused = true;
    CU_ASSERT_EQUAL(look().waits, TM_LINK_WAITS_PAUSED);
    w->outlet.paused = false;
    any = true;
    lw_run(w, TM_SECONDS(8));
    CU_ASSERT(becomes(TM_LINK_OUT_ASK));
    CU_ASSERT_EQUAL(look().waits, TM_LINK_WAITS_NODE);
    node = true;
    CU_ASSERT_EQUAL(look().waits, TM_LINK_WAITS_AGAIN);
    CU_ASSERT(becomes(TM_LINK_OUT_ASKED));
    CU_ASSERT_EQUAL(look().waits, TM_LINK_WAITS_ANSWER);
    CU_ASSERT(look().next_ms <= 1000);
    lw_free(w);
}

static void what_was_sent_waits_for_the_target(void)
{
    begin();
    w->lose = 1000;
    lw_set(w, 0, "Order", "v");
    lw_run(w, TM_MS(100));
    CU_ASSERT_EQUAL(look().waits, TM_LINK_WAITS_ACK);
    CU_ASSERT_EQUAL(look().record, w->source[0].log.last);
    w->outlet.limits.window_bytes = 1;
    lw_set(w, 0, "Order", "v");
    lw_run(w, TM_MS(100));
    CU_ASSERT_EQUAL(look().waits, TM_LINK_WAITS_WINDOW);
    w->outlet.limits.window_bytes = 1 << 20;
    w->outlet.limits.bytes_per_second = 1;
    w->outlet.tokens = -100000;
    CU_ASSERT_EQUAL(look().waits, TM_LINK_WAITS_THROTTLE);
    w->outlet.limits.bytes_per_second = 0;
    CU_ASSERT_EQUAL(look().waits, TM_LINK_WAITS_BATCH);
    on_disk = true;
    CU_ASSERT_EQUAL(look().waits, TM_LINK_WAITS_DISK);
    lw_free(w);
}

static void what_is_refused_and_what_has_to_be_compared_is_told(void)
{
    begin();
    CU_ASSERT_EQUAL(after_a_write("Local").waits, TM_LINK_WAITS_REFUSED);
    CU_ASSERT_STRING_EQUAL(look().type, "Local");
    lw_free(w);
    begin();
    w->source[0].out[0].state = TM_LINK_OUT_BEHIND;
    w->source[0].out[0].sync_cursor = TM_LINK_ORDERS / 4;
    CU_ASSERT(look().waits == TM_LINK_WAITS_TURN && look().percent == 25);
    w->source[0].out[0].state = TM_LINK_OUT_RESYNC;
    CU_ASSERT_EQUAL(look().waits, TM_LINK_WAITS_RESYNC);
    w->source[0].out[0].sync_cursor = TM_LINK_ORDERS;
    CU_ASSERT_EQUAL(look().percent, 100);
    w->source[0].out[0].state = TM_LINK_OUT_DIVERGED;
    CU_ASSERT_EQUAL(look().waits, TM_LINK_WAITS_DIVERGED);
    lw_free(w);
}

static const struct tm_test tests[] = {
    TM_TEST(the_first_record_that_is_shipped_is_named),
    TM_TEST(who_is_out_of_reach_is_told_apart),
    TM_TEST(what_was_sent_waits_for_the_target),
    TM_TEST(what_is_refused_and_what_has_to_be_compared_is_told),
};
TM_TEST_MAIN("actors/link_view", tests)
