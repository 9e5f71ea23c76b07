#include "actors/link_stage_wire.h"
#include "tests/actors/link_world.h"

/* What clients of each source partition were told OK for: records up to there. */
static uint64_t told[LW_PARTS];

static struct lw *new_world(uint64_t seed, uint32_t sources, uint32_t targets)
{
    struct lw *w = lw_new(seed, sources, targets);
    w->outlet.prompt = w->outlet.stages = true;
    memset(told, 0, sizeof told);
    for (uint32_t p = 0; p < sources; p++)
        lw_source_lead(w, p);
    return w;
}

static uint64_t counted(const struct lw *w, enum tm_counter which)
{
    return tm_counter_get(&w->counters, which);
}

/* As the partition's gate lets replies through. */
static void tell_clients(const struct lw *w)
{
    for (uint32_t p = 0; p < w->sources; p++) {
        uint64_t passed = w->source[p].log.commit;
        for (uint32_t t = 0; t < w->targets; t++)
            if (w->source[p].streams[t])
                passed = tm_min_u64(passed, tm_link_out_passed(&w->source[p].out[t], false));
        told[p] = tm_max_u64(told[p], passed);
    }
}

static void step(struct lw *w, bool calm)
{
    lw_step(w, calm);
    tell_clients(w);
}

/* Time passes, and the source's quorum is not there. */
static void step_uncommitted(struct lw *w, unsigned steps)
{
    for (unsigned i = 0; i < steps; i++) {
        w->now += LW_STEP;
        lw_carry(w);
        for (uint32_t p = 0; p < w->sources; p++)
            for (uint32_t t = 0; t < w->targets; t++)
                if (w->source[p].streams[t])
                    tm_link_out_turn(&w->source[p].out[t]);
        for (uint32_t t = 0; t < w->targets; t++) {
            lw_commit_some(w, &w->target[t].log, true);
            tm_store_commit(w->target[t].store, w->target[t].log.commit);
        }
        for (unsigned n = 0; n < LW_NODES; n++)
            if (w->in[n] != NULL)
                (void)tm_link_in_turn(w->in[n]);
        tell_clients(w);
    }
}

static unsigned staged_at(const struct lw *w, uint32_t t)
{
    const struct tm_entity *e = tm_store_shadow(w->target[t].store, tm_bytes_of(NULL, 0));
    struct tm_link_staged_name staged;
    struct tm_field_iter fields;
    struct tm_bytes name;
    unsigned n = 0;
    if (e == NULL)
        return 0;
    tm_field_first(&fields, e);
    while (tm_field_next(&fields, &name, NULL))
        n += tm_link_staged_name_read(name, &staged);
    return n;
}

static unsigned all_staged(const struct lw *w)
{
    unsigned n = 0;
    for (uint32_t t = 0; t < w->targets; t++)
        n += staged_at(w, t);
    return n;
}

static unsigned taken_at(const struct lw *w, uint32_t p, uint32_t t)
{
    struct lw_list l = lw_taken(w, p, t);
    free(l.at);
    return l.count;
}

/* One record in partition 0, and where it is is staged and acknowledged, but not committed. */
static struct lw *world_with_one_staged(uint64_t seed)
{
    struct lw *w = new_world(seed, 1, 1);
    lw_run(w, TM_MS(50));
    lw_set(w, 0, "Order", "v");
    step_uncommitted(w, 20);
    CU_ASSERT_EQUAL_FATAL(staged_at(w, 0), 1);
    CU_ASSERT_EQUAL(tm_link_out_passed(&w->source[0].out[0], false), w->source[0].log.last);
    CU_ASSERT_EQUAL(taken_at(w, 0, 0), 0);
    return w;
}

/* ---- one batch ---- */

static void what_is_not_committed_is_staged_and_applied_by_its_commit(void)
{
    struct lw *w = world_with_one_staged(1);
    step_uncommitted(w, 1000);
    CU_ASSERT_EQUAL(taken_at(w, 0, 0), 0);
    lw_run(w, TM_MS(10));
    CU_ASSERT_EQUAL(taken_at(w, 0, 0), 1);
    CU_ASSERT_EQUAL(staged_at(w, 0), 0);
    CU_ASSERT_EQUAL(tm_link_out_needs(&w->source[0].out[0]), w->source[0].log.last);
    CU_ASSERT_EQUAL(counted(w, TM_COUNTER_link_batches_staged), 1);
    CU_ASSERT_EQUAL(counted(w, TM_COUNTER_link_batches_unstaged), 0);
    lw_free(w);
}

static void what_is_committed_goes_with_the_next_batch_into_one_record(void)
{
    struct lw *w = world_with_one_staged(1);
    uint64_t before = w->target[0].log.last;
    w->source[0].log.commit = w->source[0].log.last;
    lw_set(w, 0, "Order", "w");
    step_uncommitted(w, 10);
    CU_ASSERT_EQUAL(w->target[0].log.last, before + 1);
    CU_ASSERT_EQUAL(taken_at(w, 0, 0), 1);
    CU_ASSERT_EQUAL(staged_at(w, 0), 1);
    lw_free(w);
}

static void nothing_is_staged_where_nobody_waits(void)
{
    struct lw *w = lw_new(1, 1, 1);
    lw_run(w, TM_MS(50));
    lw_set(w, 0, "Order", "v");
    step_uncommitted(w, 100);
    CU_ASSERT_EQUAL(w->target[0].log.last, 0);
    lw_free(w);
}

static void a_large_record_ships_when_it_is_committed(void)
{
    static char value[TM_LINK_STAGE_MAX + 1];
    struct lw *w = new_world(1, 1, 1);
    memset(value, 'x', sizeof value - 1);
    lw_run(w, TM_MS(50));
    lw_set(w, 0, "Order", value);
    step_uncommitted(w, 100);
    CU_ASSERT_EQUAL(staged_at(w, 0), 0);
    lw_run(w, TM_MS(50));
    CU_ASSERT_EQUAL(taken_at(w, 0, 0), 1);
    lw_free(w);
}

/* ---- a new leader at the source ---- */

static void what_a_new_leader_does_not_have_is_unstaged(void)
{
    struct lw *w = world_with_one_staged(2);
    struct lw_log *log = &w->source[0].log;
    lw_cut(log, log->commit); /* it was lost */
    lw_source_lead(w, 0);
    lw_set(w, 0, "Order", "other");
    lw_run(w, TM_MS(50));
    CU_ASSERT_EQUAL(counted(w, TM_COUNTER_link_batches_unstaged), 1);
    CU_ASSERT_EQUAL(staged_at(w, 0), 0);
    CU_ASSERT_EQUAL(taken_at(w, 0, 0), 1);
    lw_check_prefix(w, true);
    lw_free(w);
}

static void what_a_new_leader_has_is_not_sent_again(void)
{
    struct lw *w = world_with_one_staged(3);
    struct lw_log *log = &w->source[0].log;
    uint64_t sent = counted(w, TM_COUNTER_link_changes_sent);
    log->commit = log->last; /* the old one was not told */
    lw_source_lead(w, 0);
    lw_run(w, TM_MS(50));
    CU_ASSERT_EQUAL(counted(w, TM_COUNTER_link_changes_sent), sent);
    CU_ASSERT_EQUAL(counted(w, TM_COUNTER_link_batches_unstaged), 0);
    CU_ASSERT_EQUAL(staged_at(w, 0), 0);
    lw_check_prefix(w, true);
    lw_free(w);
}

/* A message to the target, as the stream's source would send it. */
static void send_to_target(struct lw *w, uint16_t type, const void *body, size_t len)
{
    struct tm_place from = {.worker = 0};
    tm_link_in_message(w->in[w->target[0].leader], LW_SITE, from, type, 0, tm_bytes_of(body, len));
}

static void an_older_leader_unstages_nothing(void)
{
    struct lw *w = world_with_one_staged(4);
    const struct tm_link_out *out = &w->source[0].out[0];
    uint64_t last = w->source[0].log.last, end = w->target[0].log.last;
    const struct tm_record *r = w->source[0].log.record[last - 2];
    struct tm_link_unstage m = {.stream = {out->session, LW_OURS, 1, 0, 1, 0, 1},
                                .keep = {0, 0, 0},
                                .term = w->source[0].term - 1};
    CU_ASSERT_EQUAL(r->term, w->source[0].term);
    send_to_target(w, TM_MESSAGE_LINK_UNSTAGE, &m, sizeof m);
    CU_ASSERT_EQUAL(w->target[0].log.last, end);
    CU_ASSERT_EQUAL(staged_at(w, 0), 1);
    m.term++;
    m.keep = (struct tm_link_mark){last - 1, r->term, r->checksum}; /* not where a batch ends */
    send_to_target(w, TM_MESSAGE_LINK_UNSTAGE, &m, sizeof m);
    CU_ASSERT_EQUAL(staged_at(w, 0), 1);
    m.keep = (struct tm_link_mark){0};
    send_to_target(w, TM_MESSAGE_LINK_UNSTAGE, &m, sizeof m);
    CU_ASSERT_EQUAL(staged_at(w, 0), 0);
    lw_free(w);
}

static void a_notice_of_another_hash_applies_nothing(void)
{
    struct lw *w = world_with_one_staged(5);
    const struct tm_link_out *out = &w->source[0].out[0];
    const struct tm_record *r = w->source[0].log.record[w->source[0].log.last - 1];
    struct tm_link_commit m = {.stream = {out->session, LW_OURS, 1, 0, 1, 0, 1},
                               .through = {r->index, r->term, r->checksum + 1}};
    send_to_target(w, TM_MESSAGE_LINK_COMMIT, &m, sizeof m);
    m.through = (struct tm_link_mark){r->index, r->term + 1, r->checksum};
    send_to_target(w, TM_MESSAGE_LINK_COMMIT, &m, sizeof m);
    m.through = (struct tm_link_mark){r->index + 1, r->term, r->checksum};
    send_to_target(w, TM_MESSAGE_LINK_COMMIT, &m, sizeof m);
    CU_ASSERT_EQUAL(taken_at(w, 0, 0), 0);
    CU_ASSERT_EQUAL(staged_at(w, 0), 1);
    CU_ASSERT_EQUAL(counted(w, TM_COUNTER_link_commit_unmatched), 3);
    m.through = (struct tm_link_mark){r->index, r->term, r->checksum};
    for (unsigned i = 0; i < 2; i++) {
        send_to_target(w, TM_MESSAGE_LINK_COMMIT, &m, sizeof m);
        w->target[0].log.commit = w->target[0].log.last;
        CU_ASSERT_EQUAL(taken_at(w, 0, 0), 1);
        CU_ASSERT_EQUAL(staged_at(w, 0), 0);
    }
    lw_free(w);
}

/* ---- what may be staged ---- */

static void a_type_that_must_not_enter_is_not_staged(void)
{
    struct lw *w = new_world(6, 1, 1);
    lw_run(w, TM_MS(50));
    lw_set(w, 0, "Local", "v");
    step_uncommitted(w, 50);
    CU_ASSERT_EQUAL(staged_at(w, 0), 0);
    CU_ASSERT_EQUAL(w->source[0].out[0].refusal, TM_LINK_REFUSAL_RESIDENCY);
    CU_ASSERT(told[0] <= 1);
    lw_free(w);
}

static void stamps_too_far_ahead_are_not_staged(void)
{
    struct lw *w = new_world(7, 1, 1);
    lw_run(w, TM_MS(50));
    w->source_ahead_ms = 2000;
    lw_set(w, 0, "Order", "v");
    step_uncommitted(w, 50);
    CU_ASSERT_EQUAL(staged_at(w, 0), 0);
    CU_ASSERT_EQUAL(w->source[0].out[0].refusal, TM_LINK_REFUSAL_CLOCK);
    lw_free(w);
}

static void no_more_is_staged_than_there_may_be(void)
{
    struct lw *w = new_world(8, 1, 1);
    w->outlet.limits.window_bytes = TM_MIB(1);
    lw_run(w, TM_MS(50));
    for (unsigned i = 0; i < 100; i++) {
        lw_set(w, 0, "Order", "v");
        step_uncommitted(w, 3);
    }
    CU_ASSERT_EQUAL(staged_at(w, 0), TM_LINK_MARKS);
    CU_ASSERT_EQUAL(counted(w, TM_COUNTER_link_refused), 0);
    lw_source_lead(w, 0); /* takes over what is staged, some of which is lost perhaps */
    CU_ASSERT(lw_settle(w, TM_SECONDS(10)));
    lw_run(w, TM_MS(10));
    lw_check_prefix(w, true);
    CU_ASSERT_EQUAL(staged_at(w, 0), 0);
    lw_free(w);
}

static void what_a_record_cannot_hold_is_applied_in_steps(void)
{
    struct lw *w = new_world(9, 1, 1);
    char value[600];
    memset(value, 'y', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    lw_run(w, TM_MS(50));
    for (unsigned i = 0; i < 6; i++) {
        lw_set(w, 0, "Order", value);
        step_uncommitted(w, 3);
    }
    CU_ASSERT_EQUAL_FATAL(staged_at(w, 0), 6);
    w->largest = 1000; /* one fits, two do not */
    lw_run(w, TM_MS(50));
    CU_ASSERT_EQUAL(staged_at(w, 0), 0);
    CU_ASSERT_EQUAL(taken_at(w, 0, 0), 6);
    lw_check_prefix(w, true);
    lw_free(w);
}

/* ---- the source is lost ---- */

static void promote(struct lw *w)
{
    w->from.epoch = 2;
    for (uint32_t t = 0; t < w->targets; t++)
        if (w->target[t].leader < LW_NODES && w->in[w->target[t].leader] != NULL)
            tm_link_in_promote(w->in[w->target[t].leader], t);
}

/* Everything for which a client was told OK is in the target's logs. */
static void check_told(const struct lw *w)
{
    for (uint32_t p = 0; p < w->sources; p++)
        for (uint32_t t = 0; t < w->targets; t++) {
            if (!w->source[p].streams[t])
                continue;
            struct lw acknowledged = {.sources = w->sources, .targets = w->targets};
            acknowledged.source[p].log = w->source[p].log;
            acknowledged.source[p].log.commit = told[p];
            struct lw_list want = lw_expect(&acknowledged, p, t), have = lw_taken(w, p, t);
            unsigned k = 0;
            for (unsigned i = 0; i < want.count; i++) {
                bool there = k < have.count && lw_same(&want.at[i], &have.at[k]);
                CU_ASSERT(there || want.at[i].code == TM_OP_DEL_ENTITY);
                k += there;
            }
            free(want.at);
            free(have.at);
        }
}

static void promotion_applies_all_that_is_staged_in_order(void)
{
    struct lw *w = new_world(10, 2, 3);
    lw_run(w, TM_MS(50));
    for (unsigned i = 0; i < 60; i++) {
        lw_scribble(w, i % 2);
        step_uncommitted(w, 3);
    }
    w->cut = true;
    CU_ASSERT(all_staged(w) > 20);
    for (uint32_t p = 0; p < 2; p++) /* as it turns out, all had its OK */
        w->source[p].log.commit = w->source[p].log.last;
    tell_clients(w);
    CU_ASSERT(told[0] > 20 && told[1] > 20);
    promote(w);
    for (uint32_t t = 0; t < 3; t++) {
        CU_ASSERT_EQUAL(staged_at(w, t), 0);
        w->target[t].log.commit = w->target[t].log.last;
    }
    check_told(w);
    lw_check_prefix(w, false);
    lw_free(w);
}

static bool nothing_enters(const void *host, struct tm_bytes type)
{
    (void)host;
    (void)type;
    return false;
}

static void a_type_that_was_shut_out_meanwhile_stays_out_of_a_promoted_target(void)
{
    struct lw *w = new_world(11, 1, 1);
    lw_run(w, TM_MS(50));
    lw_set(w, 0, "Order", "v");
    lw_set(w, 0, "Item", "v");
    step_uncommitted(w, 20);
    w->from.may_enter = nothing_enters;
    lw_run(w, TM_MS(20)); /* the source is there: it is told */
    CU_ASSERT_EQUAL(w->source[0].out[0].refusal, TM_LINK_REFUSAL_RESIDENCY);
    CU_ASSERT_EQUAL(taken_at(w, 0, 0), 0);
    promote(w);
    w->target[0].log.commit = w->target[0].log.last;
    CU_ASSERT_EQUAL(taken_at(w, 0, 0), 0);
    CU_ASSERT_EQUAL(staged_at(w, 0), 0);
    CU_ASSERT(counted(w, TM_COUNTER_link_residency_refused) >= 2);
    lw_free(w);
}

/* ---- any trouble ---- */

static void trouble(struct lw *w)
{
    unsigned n = (unsigned)tm_rng_below(&w->rng, LW_NODES);
    uint32_t t = (uint32_t)tm_rng_below(&w->rng, w->targets);
    switch (tm_rng_below(&w->rng, 6)) {
    case 0:
        lw_source_lead(w, (uint32_t)tm_rng_below(&w->rng, w->sources));
        break;
    case 1:
        while (w->down[n])
            n = (n + 1) % LW_NODES;
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
        w->full_memory = !w->full_memory;
        break;
    }
}

static void make_trouble(struct lw *w, unsigned rounds)
{
    w->lose = w->twice = w->late = (unsigned)tm_rng_below(&w->rng, 80);
    w->busy = (unsigned)tm_rng_below(&w->rng, 80);
    for (unsigned i = 0; i < rounds; i++) {
        for (uint64_t k = tm_rng_below(&w->rng, 12); k > 0; k--)
            lw_scribble(w, (uint32_t)tm_rng_below(&w->rng, w->sources));
        if (lw_chance(w, 150))
            trouble(w);
        for (uint64_t k = tm_rng_below(&w->rng, 200); k > 0; k--)
            step(w, false);
        if (i % 10 == 0)
            lw_check_prefix(w, false);
    }
    w->lose = w->twice = w->late = w->busy = 0;
    w->cut = w->full_memory = false;
}

static struct lw *new_trouble(uint64_t seed, unsigned round)
{
    return new_world(seed + round, 1 + (uint32_t)(seed + round) % LW_PARTS,
                     1 + (uint32_t)(seed / 7 + round) % LW_PARTS);
}

static void after_any_trouble_the_target_has_each_change_once_and_in_order(void)
{
    uint64_t seed = tm_test_seed();
    for (unsigned round = 0; round < 40; round++) {
        struct lw *w = new_trouble(seed, round);
        make_trouble(w, 150);
        for (unsigned n = 0; n < LW_NODES; n++)
            if (w->down[n]) {
                w->down[n] = false;
                lw_node_start(w, n);
            }
        CU_ASSERT(lw_settle(w, TM_SECONDS(60)));
        for (uint64_t end = w->now + TM_SECONDS(20); all_staged(w) > 0 && w->now < end;)
            lw_step(w, true); /* a notice may have been lost */
        lw_check_prefix(w, true);
        CU_ASSERT_EQUAL(all_staged(w), 0);
        lw_free(w);
    }
}

/* The source is gone; the target promotes itself, and crashes while it does so. */
static void promote_with_crashes(struct lw *w)
{
    for (uint32_t p = 0; p < w->sources; p++)
        for (uint32_t t = 0; t < w->targets; t++)
            w->source[p].streams[t] = false;
    w->busy = 300;
    for (unsigned i = 0; i < 20; i++) {
        promote(w);
        for (uint32_t t = 0; t < w->targets; t++) {
            unsigned n = (unsigned)tm_rng_below(&w->rng, LW_NODES);
            if (!w->down[n] && lw_chance(w, 300))
                lw_target_lead(w, t, n);
            lw_commit_some(w, &w->target[t].log, false);
            tm_store_commit(w->target[t].store, w->target[t].log.commit);
        }
    }
    w->busy = 0;
    promote(w);
}

static void nothing_that_had_its_ok_is_missing_after_promotion(void)
{
    uint64_t seed = tm_test_seed();
    uint64_t sum = 0;
    for (unsigned round = 0; round < 60; round++) {
        struct lw *w = new_trouble(seed, round);
        bool streams[LW_PARTS][LW_PARTS];
        make_trouble(w, 10 + (unsigned)tm_rng_below(&w->rng, 60));
        for (uint32_t p = 0; p < w->sources; p++) {
            sum += told[p];
            memcpy(streams[p], w->source[p].streams, sizeof streams[p]);
        }
        promote_with_crashes(w);
        for (uint32_t p = 0; p < w->sources; p++)
            memcpy(w->source[p].streams, streams[p], sizeof streams[p]);
        for (uint32_t t = 0; t < w->targets; t++) {
            CU_ASSERT_EQUAL(staged_at(w, t), 0);
            w->target[t].log.commit = w->target[t].log.last;
        }
        check_told(w);
        lw_free(w);
    }
    CU_ASSERT(sum > 1000);
}

/* ---- the wire ---- */

static void messages_that_cannot_be_are_refused(void)
{
    struct tm_link_stream stream = {.session = 5, .incarnation = 7, .sources = 1, .targets = 1};
    struct tm_link_staging good = {.batch = {.stream = stream,
                                             .from = {4, 1, 44},
                                             .to = {.incarnation = 7, .index = 6, .term = 2}},
                                   .through = {4, 1, 44}},
                           bad[5] = {good, good, good, good, good}, out;
    struct tm_bytes packed;
    CU_ASSERT_EQUAL(tm_link_staging_decode(tm_bytes_of(&good, sizeof good), &out, &packed), TM_OK);
    bad[0].batch.raw_len = bad[0].batch.packed_len = TM_LINK_STAGE_MAX + 1;
    bad[1].through.index = 5; /* behind what the batch follows on */
    bad[2].through.term = 2;
    bad[3].through.term = 0;
    bad[4].batch.to.index = 4;
    for (unsigned i = 0; i < 5; i++)
        CU_ASSERT_EQUAL(tm_link_staging_decode(tm_bytes_of(&bad[i], sizeof bad[i]), &out, &packed),
                        TM_ERR_CORRUPT);
    struct tm_link_commit commit = {stream, {4, 1, 44}}, commit2;
    CU_ASSERT_EQUAL(tm_link_commit_decode(tm_bytes_of(&commit, sizeof commit), &commit2), TM_OK);
    CU_ASSERT(memcmp(&commit, &commit2, sizeof commit) == 0);
    commit.through = (struct tm_link_mark){0};
    CU_ASSERT_EQUAL(tm_link_commit_decode(tm_bytes_of(&commit, sizeof commit), &commit2),
                    TM_ERR_CORRUPT);
    struct tm_link_unstage unstage = {stream, {0, 0, 0}, 3}, unstage2;
    CU_ASSERT_EQUAL(tm_link_unstage_decode(tm_bytes_of(&unstage, sizeof unstage), &unstage2),
                    TM_OK);
    unstage.keep = (struct tm_link_mark){4, 4, 44}; /* of a later term than its leader's */
    CU_ASSERT_EQUAL(tm_link_unstage_decode(tm_bytes_of(&unstage, sizeof unstage), &unstage2),
                    TM_ERR_CORRUPT);
}

static void marks_that_cannot_be_are_refused(void)
{
    struct {
        struct tm_link_at at;
        struct tm_link_mark mark[TM_LINK_MARKS + 1];
    } m = {.at = {.stream = {.session = 5, .incarnation = 7, .sources = 1, .targets = 1},
                  .position = {.incarnation = 7, .index = 4, .term = 2},
                  .durable = 1,
                  .marks = 2},
           .mark = {{5, 2, 55}, {7, 3, 77}}};
    struct tm_link_at out;
    struct tm_link_mark marks[TM_LINK_MARKS];
    size_t len = sizeof m.at + 2 * sizeof m.mark[0];
    CU_ASSERT_EQUAL(tm_link_at_decode(tm_bytes_of(&m, len), &out, marks), TM_OK);
    CU_ASSERT(marks[1].hash == 77 && out.durable == 1);
    CU_ASSERT_EQUAL(tm_link_at_decode(tm_bytes_of(&m, len - 1), &out, marks), TM_ERR_CORRUPT);
    m.at.durable = 3;
    CU_ASSERT_EQUAL(tm_link_at_decode(tm_bytes_of(&m, len), &out, marks), TM_ERR_CORRUPT);
    m.at.durable = 1;
    m.mark[1].index = 5;
    CU_ASSERT_EQUAL(tm_link_at_decode(tm_bytes_of(&m, len), &out, marks), TM_ERR_CORRUPT);
    m.mark[1] = (struct tm_link_mark){7, 1, 77};
    CU_ASSERT_EQUAL(tm_link_at_decode(tm_bytes_of(&m, len), &out, marks), TM_ERR_CORRUPT);
    m.at.marks = TM_LINK_MARKS + 1;
    CU_ASSERT_EQUAL(tm_link_at_decode(tm_bytes_of(&m, sizeof m), &out, marks), TM_ERR_CORRUPT);
}

static void names_sort_as_their_batches_do(void)
{
    struct tm_link_staged_name a = {.uuid = {1, 2}, .source = 3, .index = 0x1ff}, b = a, read;
    uint8_t name[2][TM_LINK_STAGED_NAME];
    b.index = 0x200;
    tm_link_staged_name(&a, name[0]);
    tm_link_staged_name(&b, name[1]);
    CU_ASSERT(memcmp(name[0], name[1], TM_LINK_STAGED_NAME) < 0);
    CU_ASSERT(tm_link_staged_name_read(tm_bytes_of(name[1], TM_LINK_STAGED_NAME), &read));
    CU_ASSERT(read.index == 0x200 && read.source == 3 && memcmp(read.uuid, a.uuid, 16) == 0);
    CU_ASSERT(!tm_link_staged_name_read(tm_bytes_of(name[1], TM_LINK_STAGED_NAME - 1), &read));
}

static const struct tm_test tests[] = {
    TM_TEST(what_is_not_committed_is_staged_and_applied_by_its_commit),
    TM_TEST(what_is_committed_goes_with_the_next_batch_into_one_record),
    TM_TEST(nothing_is_staged_where_nobody_waits),
    TM_TEST(a_large_record_ships_when_it_is_committed),
    TM_TEST(what_a_new_leader_does_not_have_is_unstaged),
    TM_TEST(what_a_new_leader_has_is_not_sent_again),
    TM_TEST(an_older_leader_unstages_nothing),
    TM_TEST(a_notice_of_another_hash_applies_nothing),
    TM_TEST(a_type_that_must_not_enter_is_not_staged),
    TM_TEST(stamps_too_far_ahead_are_not_staged),
    TM_TEST(no_more_is_staged_than_there_may_be),
    TM_TEST(what_a_record_cannot_hold_is_applied_in_steps),
    TM_TEST(promotion_applies_all_that_is_staged_in_order),
    TM_TEST(a_type_that_was_shut_out_meanwhile_stays_out_of_a_promoted_target),
    TM_TEST(after_any_trouble_the_target_has_each_change_once_and_in_order),
    TM_TEST(nothing_that_had_its_ok_is_missing_after_promotion),
    TM_TEST(messages_that_cannot_be_are_refused),
    TM_TEST(marks_that_cannot_be_are_refused),
    TM_TEST(names_sort_as_their_batches_do),
};

TM_TEST_MAIN("actors/link_stage", tests)
