#include "tests/actors/link_world.h"

/* ---- without trouble ---- */

static void what_is_committed_arrives_once_and_in_order(void)
{
    for (uint32_t p = 1; p <= 4; p++)
        for (uint32_t t = 1; t <= 4; t++) {
            struct lw *w = lw_new(10 * p + t, p, t);
            for (unsigned i = 0; i < 20; i++) {
                lw_scribble_some(w, 20);
                lw_run(w, TM_MS(2));
            }
            CU_ASSERT(lw_settle(w, TM_MS(100)));
            lw_check_prefix(w, true);
            CU_ASSERT(lw_counted(w, TM_COUNTER_link_changes_sent) > 0);
            CU_ASSERT_EQUAL(lw_counted(w, TM_COUNTER_link_batches_repeated), 0);
            CU_ASSERT_EQUAL(lw_counted(w, TM_COUNTER_link_batches_gap), 0);
            lw_free(w);
        }
}

static void nothing_is_shipped_before_it_is_committed(void)
{
    struct lw *w = lw_new(1, 1, 1);
    lw_run(w, TM_MS(50));
    for (unsigned i = 0; i < 5; i++)
        lw_set(w, 0, "Order", "v");
    w->source[0].log.commit = 2;
    for (unsigned i = 0; i < 100; i++) {
        w->now += LW_STEP;
        lw_carry(w);
        tm_link_out_turn(&w->source[0].out[0]);
        (void)tm_link_in_turn(w->in[w->target[0].leader]);
        w->target[0].log.commit = w->target[0].log.last;
    }
    CU_ASSERT_EQUAL(w->source[0].out[0].acked, 2);
    struct lw_list have = lw_taken(w, 0, 0);
    CU_ASSERT_EQUAL(have.count, 2);
    free(have.at);
    lw_free(w);
}

static void an_acknowledgement_waits_for_the_targets_commit(void)
{
    struct lw *w = lw_new(1, 1, 1);
    lw_run(w, TM_MS(50));
    lw_set(w, 0, "Order", "v");
    w->source[0].log.commit = 1;
    for (unsigned i = 0; i < 100; i++) { /* the target commits nothing */
        w->now += LW_STEP;
        lw_carry(w);
        tm_link_out_turn(&w->source[0].out[0]);
        (void)tm_link_in_turn(w->in[w->target[0].leader]);
    }
    CU_ASSERT_EQUAL(w->target[0].log.last, 1);
    CU_ASSERT_EQUAL(tm_link_out_needs(&w->source[0].out[0]), 0);
    CU_ASSERT_EQUAL(tm_link_out_lag(&w->source[0].out[0]).records, 1);
    lw_run(w, TM_MS(5));
    CU_ASSERT_EQUAL(tm_link_out_needs(&w->source[0].out[0]), 1);
    CU_ASSERT_EQUAL(tm_link_out_lag(&w->source[0].out[0]).records, 0);
    lw_free(w);
}

static void an_idle_link_shows_no_lag_and_writes_nothing(void)
{
    struct lw *w = lw_new(1, 1, 1);
    lw_run(w, TM_MS(5));
    for (unsigned i = 0; i < 50; i++)
        lw_set(w, 0, "Secret", "v"); /* committed, not shipped */
    lw_run(w, TM_SECONDS(1));
    struct tm_link_lag lag = tm_link_out_lag(&w->source[0].out[0]);
    CU_ASSERT(lag.records == 0 && lag.bytes == 0 && lag.age_ms == 0);
    CU_ASSERT_EQUAL(w->target[0].log.last, 0);
    CU_ASSERT_EQUAL(lw_counted(w, TM_COUNTER_link_batches_sent), 0);
    CU_ASSERT_EQUAL(tm_link_out_needs(&w->source[0].out[0]), 0);
    tm_link_out_move(&w->source[0].out[0], 30); /* the log wants its space back */
    lw_run(w, TM_MS(10));
    CU_ASSERT_EQUAL(tm_link_out_needs(&w->source[0].out[0]), 50);
    CU_ASSERT_EQUAL(w->target[0].log.last, 1);
    lw_free(w);
}

static void a_new_leader_at_the_source_goes_on_where_the_target_stands(void)
{
    struct lw *w = lw_new(3, 2, 3);
    for (unsigned i = 0; i < 10; i++) {
        lw_scribble_some(w, 30);
        lw_run(w, TM_MS(3));
        lw_source_lead(w, i % 2);
    }
    CU_ASSERT(lw_settle(w, TM_SECONDS(1)));
    lw_check_prefix(w, true);
    lw_free(w);
}

static void the_window_is_bounded_in_bytes(void)
{
    struct lw *w = lw_new(3, 1, 1);
    w->late = 1000;
    uint64_t most = 0;
    lw_scribble_some(w, 3000);
    for (unsigned i = 0; i < 3000; i++) {
        lw_step(w, true);
        most = tm_max_u64(most, w->source[0].out[0].flight_bytes);
    }
    CU_ASSERT(most >= w->outlet.limits.window_bytes / 2);
    CU_ASSERT(most <= w->outlet.limits.window_bytes + w->outlet.limits.batch_bytes + 1000);
    lw_free(w);
}

/* ---- trouble on the way ---- */

static void losses_copies_and_detours_change_nothing(void)
{
    uint64_t seed = tm_test_seed();
    for (unsigned round = 0; round < 8; round++) {
        struct lw *w = lw_new(seed + round, 1 + round % 3, 1 + round / 2);
        w->lose = w->twice = w->late = 60;
        for (unsigned i = 0; i < 200; i++) {
            lw_scribble_some(w, 4);
            for (unsigned k = 0; k < 20; k++)
                lw_step(w, false);
        }
        lw_check_prefix(w, false);
        w->lose = w->twice = w->late = 0;
        CU_ASSERT(lw_settle(w, TM_SECONDS(30)));
        lw_check_prefix(w, true);
        lw_free(w);
    }
}

/* A random piece of bad luck. */
static void trouble(struct lw *w)
{
    unsigned n = (unsigned)tm_rng_below(&w->rng, LW_NODES);
    uint32_t p = (uint32_t)tm_rng_below(&w->rng, w->sources);
    uint32_t t = (uint32_t)tm_rng_below(&w->rng, w->targets);
    switch (tm_rng_below(&w->rng, 6)) {
    case 0:
        lw_source_lead(w, p);
        break;
    case 1:
        do
            n = (unsigned)tm_rng_below(&w->rng, LW_NODES);
        while (w->down[n]);
        lw_target_lead(w, t, n);
        break;
    case 2:
        if (!w->down[0] && !w->down[1] && !w->down[2])
            lw_crash(w, n);
        break;
    case 3:
        for (n = 0; n < LW_NODES; n++)
            if (w->down[n]) {
                w->down[n] = false;
                lw_node_start(w, n);
            }
        break;
    case 4:
        w->cut = !w->cut;
        break;
    default:
        w->tells_leader = !w->tells_leader;
        break;
    }
}

static void heal(struct lw *w)
{
    w->lose = w->twice = w->late = w->busy = 0;
    w->cut = false;
    for (unsigned n = 0; n < LW_NODES; n++)
        if (w->down[n]) {
            w->down[n] = false;
            lw_node_start(w, n);
        }
}

static void after_any_trouble_the_target_has_each_change_once_and_in_order(void)
{
    uint64_t seed = tm_test_seed();
    for (unsigned round = 0; round < 40; round++) {
        struct lw *w = lw_new(seed + round, 1 + (uint32_t)(seed + round) % LW_PARTS,
                              1 + (uint32_t)(seed / 7 + round) % LW_PARTS);
        w->lose = w->twice = w->late = (unsigned)tm_rng_below(&w->rng, 100);
        w->busy = (unsigned)tm_rng_below(&w->rng, 100);
        for (unsigned i = 0; i < 150; i++) {
            lw_scribble_some(w, (unsigned)tm_rng_below(&w->rng, 12));
            if (lw_chance(w, 150))
                trouble(w);
            for (uint64_t k = tm_rng_below(&w->rng, 200); k > 0; k--)
                lw_step(w, false);
            if (i % 10 == 0)
                lw_check_prefix(w, false);
        }
        heal(w);
        CU_ASSERT(lw_settle(w, TM_SECONDS(60)));
        lw_check_prefix(w, true);
        lw_free(w);
    }
}

static void a_link_cut_for_long_catches_up(void)
{
    struct lw *w = lw_new(5, 2, 2);
    lw_run(w, TM_MS(20));
    w->cut = true;
    for (unsigned i = 0; i < 100; i++) {
        lw_scribble_some(w, 20);
        lw_run(w, TM_MS(100));
    }
    CU_ASSERT(tm_link_out_lag(&w->source[0].out[0]).records > 500);
    CU_ASSERT(tm_link_out_lag(&w->source[0].out[0]).age_ms > 5000);
    w->cut = false;
    CU_ASSERT(lw_settle(w, TM_SECONDS(10)));
    lw_check_prefix(w, true);
    lw_free(w);
}

/* ---- what the target refuses ---- */

static void stamps_that_are_too_far_ahead_are_held_and_pull_no_clock_along(void)
{
    struct lw *w = lw_new(1, 1, 1);
    struct tm_link_out *out = &w->source[0].out[0];
    w->source_ahead_ms = 4000;
    lw_run(w, TM_MS(5));
    lw_set(w, 0, "Order", "v");
    lw_run(w, TM_SECONDS(1));
    CU_ASSERT_EQUAL(out->refusal, TM_LINK_REFUSAL_CLOCK);
    CU_ASSERT_EQUAL(w->target[0].log.last, 0);
    CU_ASSERT(lw_counted(w, TM_COUNTER_link_clock_held) > 0);
    CU_ASSERT(tm_hlc_ms(w->target_clock.last) <= lw_wall(w));
    CU_ASSERT(lw_settle(w, TM_SECONDS(10))); /* time has come up to it */
    lw_check_prefix(w, true);
    w->source_ahead_ms = 20000;
    lw_set(w, 0, "Order", "v");
    lw_run(w, TM_SECONDS(1));
    CU_ASSERT_EQUAL(out->state, TM_LINK_OUT_REFUSED);
    w->from.released = UINT64_MAX; /* an operator lets it pass */
    CU_ASSERT(lw_settle(w, TM_SECONDS(5)));
    lw_check_prefix(w, true);
    lw_free(w);
}

static void a_type_that_must_not_enter_stops_its_stream(void)
{
    struct lw *w = lw_new(1, 1, 1);
    lw_run(w, TM_MS(5));
    lw_set(w, 0, "Order", "first");
    lw_run(w, TM_MS(50));
    uint64_t last = w->target[0].log.last;
    lw_set(w, 0, "Local", "v");
    lw_set(w, 0, "Order", "second");
    lw_run(w, TM_SECONDS(30));
    CU_ASSERT_EQUAL(w->target[0].log.last, last);
    CU_ASSERT_EQUAL(w->source[0].out[0].state, TM_LINK_OUT_REFUSED);
    CU_ASSERT_EQUAL(w->source[0].out[0].refusal, TM_LINK_REFUSAL_RESIDENCY);
    CU_ASSERT_STRING_EQUAL(w->source[0].out[0].refusal_text, "type=Local");
    CU_ASSERT(lw_counted(w, TM_COUNTER_link_residency_refused) <= 4); /* asked seldom */
    lw_free(w);
}

static void a_restored_source_is_asked_to_be_adopted(void)
{
    struct lw *w = lw_new(1, 1, 1);
    lw_scribble_some(w, 20);
    lw_run(w, TM_MS(50));
    uint64_t last = w->target[0].log.last;
    CU_ASSERT_FATAL(last > 0);
    w->outlet.incarnation = 1234;
    lw_source_lead(w, 0);
    lw_run(w, TM_SECONDS(1));
    CU_ASSERT_EQUAL(w->source[0].out[0].refusal, TM_LINK_REFUSAL_INCARNATION);
    CU_ASSERT_EQUAL(w->target[0].log.last, last);
    w->from.adopted = 1234;
    lw_run(w, TM_SECONDS(20));
    CU_ASSERT_EQUAL(w->source[0].out[0].state, TM_LINK_OUT_STREAM);
    CU_ASSERT(w->target[0].log.last > last);
    lw_free(w);
}

static void rewind_and_check(bool idle)
{
    struct lw *w = lw_new(1, 1, 1);
    lw_scribble_some(w, 20);
    CU_ASSERT_FATAL(lw_settle(w, TM_SECONDS(2)));
    if (idle) /* since it was asked where it stands nothing was sent */
        lw_source_lead(w, 0);
    lw_run(w, TM_MS(100));
    uint64_t sent = lw_counted(w, TM_COUNTER_link_changes_sent);
    w->from.rewind =
        tm_hlc_pack(LW_WALL + w->now / 1000000 + 3000, 0); /* by a clock that is ahead */
    for (unsigned n = 0; n < LW_NODES; n++)
        tm_link_in_changed(w->in[n], LW_SITE);
    lw_run(w, TM_SECONDS(1));
    CU_ASSERT_EQUAL(lw_counted(w, TM_COUNTER_link_changes_sent), 2 * sent);
    for (unsigned n = 0; n < LW_NODES; n++)
        tm_link_in_changed(w->in[n], LW_SITE); /* once for each that an operator said */
    lw_source_lead(w, 0);
    lw_run(w, TM_SECONDS(1));
    CU_ASSERT_EQUAL(lw_counted(w, TM_COUNTER_link_changes_sent), 2 * sent);
    lw_scribble_some(w, 20);
    CU_ASSERT(lw_settle(w, TM_SECONDS(5)));
    lw_free(w);
}

static void a_rewound_link_ships_again_what_it_has_and_goes_on(void)
{
    rewind_and_check(false);
    rewind_and_check(true);
}

static void what_an_operator_wants_compared_is_compared_once(void)
{
    struct lw *w = lw_new(1, 1, 1);
    lw_scribble_some(w, 20);
    CU_ASSERT_FATAL(lw_settle(w, TM_SECONDS(2)));
    w->outlet.backfill = false;
    w->outlet.filter.hash ^= 5; /* another filter alone asks for nothing */
    lw_source_lead(w, 0);
    CU_ASSERT(lw_settle(w, TM_SECONDS(5)));
    CU_ASSERT_EQUAL(lw_counted(w, TM_COUNTER_link_resyncs), 0);
    w->outlet.filter.hash |= UINT64_C(1) << TM_LINK_FILTER_BITS;
    lw_source_lead(w, 0);
    CU_ASSERT(lw_settle(w, TM_SECONDS(5)));
    CU_ASSERT_EQUAL(lw_counted(w, TM_COUNTER_link_resyncs), 1);
    lw_source_lead(w, 0);
    CU_ASSERT(lw_settle(w, TM_SECONDS(5)));
    CU_ASSERT_EQUAL(lw_counted(w, TM_COUNTER_link_resyncs), 1);
    lw_free(w);
}

static void an_older_epoch_is_refused(void)
{
    struct lw *w = lw_new(1, 1, 1);
    w->outlet.epoch = 3;
    lw_scribble_some(w, 20);
    lw_run(w, TM_MS(50));
    w->outlet.epoch = 2;
    lw_source_lead(w, 0);
    lw_run(w, TM_SECONDS(1));
    CU_ASSERT_EQUAL(w->source[0].out[0].refusal, TM_LINK_REFUSAL_EPOCH);
    lw_free(w);
}

/* From the moment on that it is known, not only where a newer source has spoken. */
static void a_source_whose_target_was_promoted_is_refused(void)
{
    struct lw *w = lw_new(1, 1, 1);
    lw_scribble_some(w, 20);
    CU_ASSERT_FATAL(lw_settle(w, TM_SECONDS(2)));
    uint64_t last = w->target[0].log.last;
    w->from.epoch = 2;
    lw_scribble_some(w, 20);
    lw_run(w, TM_SECONDS(1));
    CU_ASSERT_EQUAL(w->source[0].out[0].refusal, TM_LINK_REFUSAL_EPOCH);
    CU_ASSERT_EQUAL(w->target[0].log.last, last);
    w->outlet.epoch = 2;
    lw_source_lead(w, 0);
    CU_ASSERT(lw_settle(w, TM_SECONDS(5)));
    lw_free(w);
}

static void a_source_with_other_partitions_than_it_has_is_refused(void)
{
    struct lw *w = lw_new(1, 2, 2);
    w->from.sources = 3;
    lw_scribble_some(w, 50);
    lw_run(w, TM_SECONDS(1));
    CU_ASSERT_EQUAL(w->source[0].out[0].refusal, TM_LINK_REFUSAL_PARTITIONS);
    CU_ASSERT_EQUAL(w->target[0].log.last, 0);
    w->from.sources = 2;
    CU_ASSERT(lw_settle(w, TM_SECONDS(10)));
    lw_check_prefix(w, true);
    lw_free(w);
}

static void what_passes_by_itself_is_tried_again(void)
{
    struct lw *w = lw_new(1, 2, 2);
    w->full_memory = true;
    lw_scribble_some(w, 50);
    lw_run(w, TM_SECONDS(1));
    CU_ASSERT_EQUAL(w->source[0].out[0].refusal, TM_LINK_REFUSAL_MEMORY);
    CU_ASSERT_EQUAL(w->target[0].log.last, 0);
    w->full_memory = false;
    w->unlinked = true;
    lw_run(w, TM_SECONDS(3));
    CU_ASSERT_EQUAL(w->source[0].out[0].refusal, TM_LINK_REFUSAL_UNLINKED);
    w->unlinked = false;
    CU_ASSERT(lw_settle(w, TM_SECONDS(5)));
    lw_check_prefix(w, true);
    lw_free(w);
}

/* For so long, whatever the stream does to learn of an end of it. */
static void stays_refused(struct lw *w, enum tm_link_refusal refusal, uint64_t ns)
{
    const struct tm_link_out *out = &w->source[0].out[0];
    for (uint64_t end = w->now + ns; w->now < end; lw_step(w, false))
        if (tm_link_out_shown(out) != TM_LINK_OUT_REFUSED || out->refusal != refusal)
            CU_FAIL_FATAL("it is shown as something else while it is refused");
}

static void what_is_refused_stays_so_until_it_is_taken(void)
{
    struct lw *w = lw_new(9, 1, 1);
    const struct tm_link_out *out = &w->source[0].out[0];
    lw_set(w, 0, "Order", "first");
    CU_ASSERT_FATAL(lw_settle(w, TM_SECONDS(1)));
    CU_ASSERT_EQUAL(w->said, 0); /* that all goes its way is not said */
    w->full_memory = true;       /* a batch is refused, and leave to speak is not */
    lw_set(w, 0, "Order", "second");
    lw_run(w, TM_MS(10));
    uint64_t asked = lw_counted(w, TM_COUNTER_link_batches_refused);
    stays_refused(w, TM_LINK_REFUSAL_MEMORY, TM_SECONDS(20));
    CU_ASSERT(lw_counted(w, TM_COUNTER_link_batches_refused) > asked + 3);
    CU_ASSERT_EQUAL(w->said, 1);
    w->from.paused = true; /* another reason */
    lw_run(w, TM_SECONDS(3));
    stays_refused(w, TM_LINK_REFUSAL_PAUSED, TM_SECONDS(10));
    CU_ASSERT_EQUAL(w->said, 2);
    w->full_memory = w->from.paused = false;
    CU_ASSERT(lw_settle(w, TM_SECONDS(5)));
    CU_ASSERT_EQUAL(tm_link_out_shown(out), TM_LINK_OUT_STREAM);
    CU_ASSERT_EQUAL(out->refusal, TM_LINK_REFUSAL_NONE);
    CU_ASSERT_EQUAL(w->said, 3); /* and that it streams again */
    lw_free(w);
}

static bool ships_order(const void *host, struct tm_bytes type)
{
    (void)host;
    return tm_bytes_equal(type, tm_bytes_str("Order"));
}

static void a_refusal_ends_with_what_it_was_for_and_with_whoever_refused(void)
{
    struct lw *w = lw_new(9, 1, 1);
    const struct tm_link_out *out = &w->source[0].out[0];
    lw_run(w, TM_MS(5));
    lw_set(w, 0, "Local", "v");
    lw_run(w, TM_SECONDS(1));
    stays_refused(w, TM_LINK_REFUSAL_RESIDENCY, TM_SECONDS(30));
    w->outlet.filter.ships = ships_order; /* nothing of it is left to be shipped */
    lw_run(w, TM_SECONDS(12));
    CU_ASSERT_EQUAL(tm_link_out_shown(out), TM_LINK_OUT_STREAM);
    CU_ASSERT_EQUAL(w->said, 2);
    w->full_memory = true;
    lw_set(w, 0, "Order", "v");
    lw_run(w, TM_SECONDS(1));
    stays_refused(w, TM_LINK_REFUSAL_MEMORY, TM_SECONDS(5));
    w->cut = true;
    for (unsigned n = 0; n < LW_NODES; n++)
        tm_link_out_down(&w->source[0].out[0], LW_BLOCK + n);
    lw_run(w, TM_SECONDS(1));
    CU_ASSERT_EQUAL(tm_link_out_shown(out), TM_LINK_OUT_ASK);
    w->cut = w->full_memory = false;
    CU_ASSERT(lw_settle(w, TM_SECONDS(5)));
    lw_free(w);
}

static void a_change_that_cannot_be_applied_is_buried_and_the_rest_goes_on(void)
{
    static char large[3001];
    struct lw *w = lw_new(1, 1, 1);
    memset(large, 'x', sizeof large - 1);
    w->largest = 2048;
    w->outlet.limits.batch_bytes = 8000;
    for (unsigned i = 0; i < 20; i++)
        lw_set(w, 0, i == 7 ? "Large" : "Order", i == 7 ? large : "v");
    CU_ASSERT(lw_settle(w, TM_SECONDS(1)));
    struct lw_list have = lw_taken(w, 0, 0);
    CU_ASSERT_EQUAL(have.count, 19);
    free(have.at);
    CU_ASSERT_EQUAL(lw_counted(w, TM_COUNTER_link_dead_letters), 1);
    const struct tm_link_in *in = w->in[w->target[0].leader];
    CU_ASSERT_EQUAL_FATAL(tm_link_in_deads(in), 1);
    struct tm_link_in_counts counts[2];
    tm_link_in_count(in, counts, 2);
    CU_ASSERT_EQUAL(counts[tm_link_in_dead(in, 0)->site].dead, 1);
    CU_ASSERT_EQUAL(counts[0].dead + counts[1].dead, 1);
    CU_ASSERT(memcmp(tm_link_in_dead(in, 0)->key, "Large:", 6) == 0);
    CU_ASSERT_EQUAL(tm_link_in_dead(in, 0)->err, TM_ERR_TOOBIG);
    lw_free(w);
}

/* ---- the log at the source ---- */

static void a_target_before_the_logs_beginning_is_resynchronised(void)
{
    struct lw *w = lw_new(1, 1, 1);
    w->cut = true;
    lw_scribble_some(w, 100);
    lw_run(w, TM_MS(50));
    w->source[0].log.first = 41;
    w->cut = false;
    lw_run(w, TM_SECONDS(3));
    CU_ASSERT_EQUAL(w->source[0].out[0].state, TM_LINK_OUT_STREAM);
    CU_ASSERT_EQUAL(lw_counted(w, TM_COUNTER_link_resyncs), 1);
    CU_ASSERT_EQUAL(lw_counted(w, TM_COUNTER_link_batches_sent), 0);
    lw_free(w);
}

static void a_target_that_stands_where_the_log_never_was_is_left_alone(void)
{
    struct lw *w = lw_new(1, 1, 1);
    lw_scribble_some(w, 100);
    lw_run(w, TM_MS(100));
    uint64_t last = w->target[0].log.last;
    struct lw_log *log = &w->source[0].log;
    log->commit = 50; /* the source has lost what it had committed */
    lw_cut(log, 50);
    lw_source_lead(w, 0);
    lw_run(w, TM_SECONDS(10));
    CU_ASSERT_EQUAL(w->source[0].out[0].state, TM_LINK_OUT_DIVERGED);
    lw_scribble_some(w, 100); /* and goes on otherwise */
    lw_source_lead(w, 0);
    lw_run(w, TM_SECONDS(10));
    CU_ASSERT_EQUAL(w->source[0].out[0].state, TM_LINK_OUT_DIVERGED);
    CU_ASSERT_EQUAL(w->target[0].log.last, last);
    lw_free(w);
}

/* ---- the operator ---- */

static void a_paused_link_sends_nothing_until_it_goes_on(void)
{
    struct lw *w = lw_new(1, 2, 2);
    lw_scribble_some(w, 50);
    CU_ASSERT(lw_settle(w, TM_SECONDS(1)));
    w->outlet.paused = true;
    uint64_t sent = lw_counted(w, TM_COUNTER_link_batches_sent);
    lw_scribble_some(w, 50);
    lw_run(w, TM_SECONDS(5));
    CU_ASSERT_EQUAL(lw_counted(w, TM_COUNTER_link_batches_sent), sent);
    CU_ASSERT(!lw_settled(w));
    w->outlet.paused = false;
    CU_ASSERT(lw_settle(w, TM_SECONDS(1)));
    lw_check_prefix(w, true);
    lw_free(w);
}

static void a_throttled_link_keeps_to_its_rate(void)
{
    struct lw *w = lw_new(1, 3, 2);
    w->outlet.limits.bytes_per_second = 50000;
    lw_scribble_some(w, 6000);
    lw_run(w, TM_SECONDS(2));
    uint64_t begin = lw_counted(w, TM_COUNTER_link_batch_bytes_sent);
    lw_run(w, TM_SECONDS(4));
    uint64_t sent = lw_counted(w, TM_COUNTER_link_batch_bytes_sent) - begin;
    CU_ASSERT(sent > 4 * 50000 * 9 / 10 && sent < 4 * 50000 * 11 / 10);
    w->outlet.limits.bytes_per_second = 0;
    CU_ASSERT(lw_settle(w, TM_SECONDS(10)));
    lw_check_prefix(w, true);
    lw_free(w);
}

static uint64_t sent_in_four_seconds(struct lw *w)
{
    lw_run(w, TM_SECONDS(2));
    uint64_t begin = lw_counted(w, TM_COUNTER_link_batch_bytes_sent);
    lw_run(w, TM_SECONDS(4));
    return lw_counted(w, TM_COUNTER_link_batch_bytes_sent) - begin;
}

static void a_worker_ships_its_share_of_the_links_rate(void)
{
    struct lw *w = lw_new(1, 3, 2);
    w->outlet.rate = 60000;
    lw_scribble_some(w, 12000);
    tm_link_outlet_share(&w->outlet, 1); /* of three partitions: other workers lead two */
    uint64_t sent = sent_in_four_seconds(w);
    CU_ASSERT(sent > 4 * 20000 * 9 / 10 && sent < 4 * 20000 * 11 / 10);
    tm_link_outlet_share(&w->outlet, 3); /* all of them */
    sent = sent_in_four_seconds(w);
    CU_ASSERT(sent > 4 * 60000 * 9 / 10 && sent < 4 * 60000 * 11 / 10);
    lw_free(w);
}

static void shares_of_a_rate_are_never_more_than_it_and_never_no_bound(void)
{
    struct lw *w = lw_new(1, 3, 2);
    for (unsigned i = 0; i < 1000; i++) {
        uint64_t sum = 0;
        w->outlet.sources = 1 + (uint32_t)tm_rng_below(&w->rng, 1000);
        w->outlet.rate = w->outlet.sources + tm_rng_below(&w->rng, TM_MIB(1048576));
        for (uint32_t left = w->outlet.sources, led; left > 0; left -= led) {
            led = 1 + (uint32_t)tm_rng_below(&w->rng, left);
            tm_link_outlet_share(&w->outlet, led);
            sum += w->outlet.limits.bytes_per_second;
        }
        CU_ASSERT(sum <= w->outlet.rate && sum + w->outlet.sources > w->outlet.rate);
    }
    w->outlet.rate = 2;
    tm_link_outlet_share(&w->outlet, 0);
    CU_ASSERT_EQUAL(w->outlet.limits.bytes_per_second, 1);
    w->outlet.rate = 0;
    tm_link_outlet_share(&w->outlet, 1);
    CU_ASSERT_EQUAL(w->outlet.limits.bytes_per_second, 0);
    lw_free(w);
}

static uint64_t bytes_sent(struct lw *w)
{
    return lw_counted(w, TM_COUNTER_link_batch_bytes_sent) -
           sizeof(struct tm_link_batch) * lw_counted(w, TM_COUNTER_link_batches_sent);
}

/* Whether values that pack well are packed, once the link knows how far the target is. */
static bool packs_letters(struct lw *w)
{
    char value[1000];
    memset(value, 'a', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    CU_ASSERT(lw_settle(w, TM_SECONDS(1)));
    uint64_t sent = bytes_sent(w), raw = lw_counted(w, TM_COUNTER_link_batch_raw_bytes);
    for (unsigned i = 0; i < 50; i++)
        lw_set(w, 0, "Order", value);
    CU_ASSERT(lw_settle(w, TM_SECONDS(1)));
    lw_check_prefix(w, true);
    sent = bytes_sent(w) - sent;
    raw = lw_counted(w, TM_COUNTER_link_batch_raw_bytes) - raw;
    CU_ASSERT(sent == raw || sent < raw / 4);
    return sent < raw;
}

static struct lw *far_away(uint64_t ns)
{
    struct lw *w = lw_new(1, 1, 1);
    w->far_ns = ns;
    lw_set(w, 0, "Order", "first");
    return w;
}

static void batches_are_packed_where_the_way_is_long_unless_the_link_is_plain(void)
{
    for (unsigned plain = 0; plain < 2; plain++) {
        struct lw *w = far_away(TM_MS(10));
        w->outlet.plain = plain != 0;
        CU_ASSERT_EQUAL(packs_letters(w), plain == 0);
        lw_free(w);
    }
}

static void batches_to_a_near_target_are_packed_if_bytes_are_short_only(void)
{
    struct lw *w = far_away(0);
    CU_ASSERT(!packs_letters(w));
    w->outlet.limits.bytes_per_second = TM_MIB(100);
    CU_ASSERT(packs_letters(w));
    w->outlet.limits.bytes_per_second = 0;
    CU_ASSERT(!packs_letters(w));
    w->outlet.pace.full_until = w->now + TM_SECONDS(10);
    CU_ASSERT(packs_letters(w));
    lw_free(w);
}

static void a_way_that_gets_longer_is_seen_to(void)
{
    struct lw *w = far_away(0);
    CU_ASSERT(!packs_letters(w));
    w->far_ns = TM_MS(10);
    for (unsigned i = 0; i < 3; i++) { /* what was seen before is believed for two spans */
        lw_set(w, 0, "Order", "next");
        lw_run(w, TM_SECONDS(11));
    }
    CU_ASSERT(packs_letters(w));
    lw_free(w);
}

static void a_way_that_was_full_is_packed_for(void)
{
    struct lw *w = far_away(0);
    CU_ASSERT(!packs_letters(w));
    w->busy = 1000; /* nothing is taken */
    lw_set(w, 0, "Order", "stuck");
    lw_run(w, TM_MS(50));
    w->busy = 0;
    CU_ASSERT(packs_letters(w));
    lw_free(w);
}

/* ---- flush ---- */

static void put_flush(struct lw *w, uint32_t p)
{
    struct tm_record_builder b;
    lw_begin(w, &b, p, TM_RECORD_FLUSH);
    tm_record_flush(&b);
    lw_end(w, &b, p);
}

struct tally {
    const char *type;
    unsigned count;
};

static void tally(void *host, const struct tm_entity *e)
{
    struct tally *t = host;
    t->count += tm_bytes_equal(tm_link_type_of(tm_entity_key(e)), tm_bytes_str(t->type));
}

/* Entities of that type at the target. */
static unsigned entities(struct lw *w, const char *type)
{
    struct tally t = {.type = type};
    for (uint32_t i = 0; i < w->targets; i++)
        for (uint64_t cursor = 0;;) {
            cursor = tm_store_scan(w->target[i].store, cursor, 100, tally, &t);
            if (cursor == 0)
                break;
        }
    return t.count;
}

static void a_flush_removes_what_the_link_carries_and_is_older(void)
{
    struct lw *w = lw_new(1, 2, 3);
    for (unsigned i = 0; i < 2000; i++)
        lw_set(w, i % 2, "Order", "before");
    lw_put_at_target(w, "Secret:1", 0); /* of a type that the link does not carry */
    lw_put_at_target(w, "Order:newer", tm_hlc_pack(lw_wall(w) + TM_MS(60000), 0));
    CU_ASSERT(lw_settle(w, TM_SECONDS(5)));
    CU_ASSERT(entities(w, "Order") > 100);
    put_flush(w, 0);
    put_flush(w, 1);
    lw_set(w, 0, "Item", "after");
    CU_ASSERT(lw_settle(w, TM_SECONDS(10)));
    CU_ASSERT_EQUAL(entities(w, "Order"), 1);
    CU_ASSERT_EQUAL(entities(w, "Secret"), 1);
    CU_ASSERT_EQUAL(entities(w, "Item"), 1);
    lw_free(w);
}

static void a_flush_that_is_cut_short_begins_again(void)
{
    struct lw *w = lw_new(1, 1, 1);
    for (unsigned i = 0; i < 2000; i++)
        lw_set(w, 0, "Order", "before");
    CU_ASSERT(lw_settle(w, TM_SECONDS(5)));
    unsigned before = entities(w, "Order");
    put_flush(w, 0);
    while (entities(w, "Order") == before)
        lw_step(w, true);
    unsigned left = entities(w, "Order");
    CU_ASSERT(left > 0);
    lw_crash(w, w->target[0].leader);
    lw_set(w, 0, "Item", "after");
    CU_ASSERT(lw_settle(w, TM_SECONDS(10)));
    CU_ASSERT_EQUAL(entities(w, "Order"), 0);
    CU_ASSERT_EQUAL(entities(w, "Item"), 1);
    lw_free(w);
}

/* ---- bytes from outside ---- */

static void messages_that_make_no_sense_change_nothing(void)
{
    struct lw *w = lw_new(tm_test_seed(), 2, 2);
    lw_scribble_some(w, 100);
    for (unsigned i = 0; i < 3000; i++) {
        for (unsigned m = 0; m < w->under_way; m++)
            if (lw_chance(w, 300) && w->wire[m].len > 0)
                w->wire[m].bytes[tm_rng_below(&w->rng, w->wire[m].len)] ^=
                    (uint8_t)(1 + tm_rng_below(&w->rng, 255));
        lw_step(w, true);
    }
    for (unsigned n = 0; n < LW_NODES; n++) {
        uint64_t junk[64];
        for (unsigned i = 0; i < 64; i++)
            junk[i] = tm_rng_next(&w->rng);
        struct tm_place from = {0};
        for (uint16_t type = 0; type < 60; type++)
            tm_link_in_message(w->in[n], LW_SITE, from, type, 0, tm_bytes_of(junk, sizeof junk));
    }
    CU_ASSERT(lw_counted(w, TM_COUNTER_link_malformed) > 0);
    lw_free(w);
}

static const struct tm_test tests[] = {
    TM_TEST(what_is_committed_arrives_once_and_in_order),
    TM_TEST(nothing_is_shipped_before_it_is_committed),
    TM_TEST(an_acknowledgement_waits_for_the_targets_commit),
    TM_TEST(an_idle_link_shows_no_lag_and_writes_nothing),
    TM_TEST(a_new_leader_at_the_source_goes_on_where_the_target_stands),
    TM_TEST(the_window_is_bounded_in_bytes),
    TM_TEST(losses_copies_and_detours_change_nothing),
    TM_TEST(after_any_trouble_the_target_has_each_change_once_and_in_order),
    TM_TEST(a_link_cut_for_long_catches_up),
    TM_TEST(stamps_that_are_too_far_ahead_are_held_and_pull_no_clock_along),
    TM_TEST(a_type_that_must_not_enter_stops_its_stream),
    TM_TEST(a_restored_source_is_asked_to_be_adopted),
    TM_TEST(a_rewound_link_ships_again_what_it_has_and_goes_on),
    TM_TEST(what_an_operator_wants_compared_is_compared_once),
    TM_TEST(an_older_epoch_is_refused),
    TM_TEST(a_source_whose_target_was_promoted_is_refused),
    TM_TEST(a_source_with_other_partitions_than_it_has_is_refused),
    TM_TEST(what_passes_by_itself_is_tried_again),
    TM_TEST(what_is_refused_stays_so_until_it_is_taken),
    TM_TEST(a_refusal_ends_with_what_it_was_for_and_with_whoever_refused),
    TM_TEST(a_change_that_cannot_be_applied_is_buried_and_the_rest_goes_on),
    TM_TEST(a_target_before_the_logs_beginning_is_resynchronised),
    TM_TEST(a_target_that_stands_where_the_log_never_was_is_left_alone),
    TM_TEST(a_paused_link_sends_nothing_until_it_goes_on),
    TM_TEST(a_throttled_link_keeps_to_its_rate),
    TM_TEST(batches_are_packed_where_the_way_is_long_unless_the_link_is_plain),
    TM_TEST(batches_to_a_near_target_are_packed_if_bytes_are_short_only),
    TM_TEST(a_way_that_gets_longer_is_seen_to),
    TM_TEST(a_way_that_was_full_is_packed_for),
    TM_TEST(a_worker_ships_its_share_of_the_links_rate),
    TM_TEST(shares_of_a_rate_are_never_more_than_it_and_never_no_bound),
    TM_TEST(a_flush_removes_what_the_link_carries_and_is_older),
    TM_TEST(a_flush_that_is_cut_short_begins_again),
    TM_TEST(messages_that_make_no_sense_change_nothing),
};
TM_TEST_MAIN("actors/link_stream", tests)
