/* Joined heartbeats: two nodes' workers joined by hand. */
#include "actors/heartbeat.h"
#include "actors/replica_internal.h"
#include "test.h"

#define PARTITIONS 1000
#define QUEUE      4096

/* One worker of one node with its replicas, whose own doings go nowhere. */
struct side {
    struct tm_ctx ctx;
    struct tm_beat beat;
    struct tm_beat_link link[8];
    struct tm_replica *replica;
    uint64_t *role_changes;
};

struct queued {
    unsigned from, worker;
    size_t len;
    uint8_t bytes[TM_BEAT_MESSAGE_MAX];
};

static uint64_t now;
static struct tm_replica_options options;
static struct tm_beat_options beat_options;
static struct side side[2];
static struct queued *queue;
static unsigned queued, sent_bytes, sent;

static uint64_t the_time(void *host)
{
    (void)host;
    return now;
}
static uint64_t no_chance(void *host)
{
    (void)host;
    return 7;
}
static uint64_t no_log(void *host)
{
    (void)host;
    return 1;
}
static void to_disk_at_once(void *host, const struct tm_promise *hs, uint64_t seq)
{
    (void)host;
    (void)hs;
    (void)seq;
}
static void nowhere(void *host, unsigned node, const struct tm_replica_msg *m,
                    const struct tm_bytes *pieces, unsigned count)
{
    (void)host;
    (void)node;
    (void)m;
    (void)pieces;
    (void)count;
}
static void role_told(void *host, const struct tm_replica_status *s)
{
    (void)s;
    ++*(uint64_t *)host;
}
static void note_told(void *host, enum tm_replica_note note, uint64_t a, uint64_t b)
{
    (void)host;
    (void)note;
    (void)a;
    (void)b;
}
static uint64_t reads_done;
static void read_told(void *host, struct tm_replica_read *read, bool ok)
{
    (void)host;
    (void)read;
    reads_done += ok;
}
static const struct tm_replica_io replica_io = {.first = no_log,
                                                .persist = to_disk_at_once,
                                                .send = nowhere,
                                                .role = role_told,
                                                .note = note_told,
                                                .read_done = read_told};

static void queue_beat(void *host, unsigned node, unsigned worker, struct tm_bytes m)
{
    const struct side *s = host;
    CU_ASSERT_FATAL(queued < QUEUE && node == (s == &side[0] ? 1u : 0u));
    struct queued *q = &queue[queued++];
    q->from = s == &side[0] ? 0 : 1;
    q->worker = worker;
    q->len = m.len;
    memcpy(q->bytes, m.data, m.len);
    sent++;
    sent_bytes += (unsigned)m.len;
}
static uint64_t flush_age(void *host)
{
    return host == &side[0] ? 0 : 42;
}
static const struct tm_beat_io beat_io = {.send = queue_beat, .flush_age_ns = flush_age};

static void begin(unsigned partitions, uint64_t disk_of_1)
{
    now = TM_SECONDS(1);
    queued = sent = sent_bytes = 0;
    reads_done = 0;
    queue = calloc(QUEUE, sizeof *queue);
    tm_replica_options_default(&options);
    tm_beat_options_default(&beat_options);
    struct tm_members m = {.count = 2};
    m.at[0] = (struct tm_member){.id = {10, 0}, .role = TM_MEMBER_VOTER};
    m.at[1] = (struct tm_member){.id = {11, 1}, .role = TM_MEMBER_VOTER};
    for (unsigned i = 0; i < 2; i++) {
        struct side *s = &side[i];
        struct tm_id self = {i == 0 ? 10 : disk_of_1, (uint8_t)i};
        memset(s, 0, sizeof *s);
        s->ctx = (struct tm_ctx){.now_ns = the_time, .wall_ms = the_time, .random = no_chance};
        tm_beat_init(&s->beat, &beat_options, &beat_io, s, &s->ctx, self, 0, 100 + i, s->link, 8);
        tm_beat_workers(&s->beat, 0, 1);
        tm_beat_workers(&s->beat, 1, 1);
        s->replica = calloc(partitions, sizeof *s->replica);
        s->role_changes = calloc(partitions, sizeof *s->role_changes);
        for (unsigned p = 0; p < partitions; p++) {
            struct tm_replica_boot boot = {.members = m};
            boot.hs.vote.node = TM_NODE_UNKNOWN;
            boot.hs.term = 3;
            tm_replica_init(&s->replica[p], &options, &replica_io, &s->role_changes[p], &s->ctx,
                            &s->beat, p, self);
            tm_replica_start(&s->replica[p], &boot);
        }
    }
}

static void end(void)
{
    for (unsigned i = 0; i < 2; i++) {
        free(side[i].replica);
        free(side[i].role_changes);
    }
    free(queue);
}

/* Node 0 leads partition p in its term, as if it had won. */
static void make_leader(unsigned p)
{
    struct tm_replica *r = &side[0].replica[p];
    r->hs.vote = r->self;
    r->role = TM_ROLE_CANDIDATE;
    tm_replica_become(r, TM_ROLE_LEADER);
    r->leader = 0;
    r->election_at = 0;
    r->deadline = UINT64_MAX;
    tm_replica_peers_reset(r);
    tm_beat_update(&side[0].beat, r);
}

static void deliver_all(void)
{
    while (queued > 0) {
        struct queued q = queue[0];
        memmove(queue, queue + 1, --queued * sizeof *queue);
        tm_beat_receive(&side[1 - q.from].beat, q.from, 0, tm_bytes_of(q.bytes, q.len));
        (void)tm_beat_turn(&side[0].beat);
    }
}

static void one_exchange(void)
{
    now += beat_options.interval_ns;
    (void)tm_beat_turn(&side[0].beat);
    deliver_all();
}

static void a_list_makes_the_digests_agree_then_one_message_serves_all(void)
{
    begin(PARTITIONS, 11);
    for (unsigned p = 0; p < PARTITIONS; p++)
        make_leader(p);
    one_exchange();
    for (unsigned p = 0; p < PARTITIONS; p++)
        CU_ASSERT_EQUAL(side[1].replica[p].leader, 0);
    one_exchange();
    sent = sent_bytes = 0;
    one_exchange();
    CU_ASSERT_EQUAL(sent, 2); /* a thousand idle partitions cost what one costs */
    CU_ASSERT_EQUAL(sent_bytes, 128);
    for (unsigned p = 0; p < PARTITIONS; p++) {
        uint64_t promise = 0;
        CU_ASSERT_EQUAL(tm_beat_heard(&side[1].beat, &side[1].replica[p], &promise), now);
        CU_ASSERT_EQUAL(promise, beat_options.interval_ns);
        CU_ASSERT_EQUAL(tm_beat_confirmed_at(&side[0].beat, &side[0].replica[p], 1, 11), now);
    }
    CU_ASSERT_EQUAL(tm_beat_flush_age(&side[0].beat, &side[0].replica[0], 1), 42);
    end();
}

/* [partition 7 has a newer leader] */
static void a_partition_with_a_newer_term_is_told_and_not_confirmed(void)
{
    begin(20, 11);
    for (unsigned p = 0; p < 20; p++)
        make_leader(p);
    one_exchange();
    one_exchange();
    struct tm_replica *seven = &side[1].replica[7];
    tm_replica_follow(seven, 9, TM_NODE_UNKNOWN);
    tm_replica_persisted(seven, seven->hs_wanted);
    uint64_t round = side[0].beat.round;
    one_exchange();
    for (unsigned p = 0; p < 20; p++) {
        const struct tm_replica *r = &side[0].replica[p];
        CU_ASSERT_EQUAL(r->role, p == 7 ? TM_ROLE_FOLLOWER : TM_ROLE_LEADER);
        CU_ASSERT_EQUAL(r->hs.term, p == 7 ? 9 : 3);
        if (p != 7)
            CU_ASSERT(tm_beat_confirmed(&side[0].beat, r, 1, 11) > round);
    }
    CU_ASSERT(seven->heard_at < now);
    end();
}

static void a_term_that_is_not_durable_agrees_to_nothing(void)
{
    begin(1, 11);
    side[0].replica[0].hs.term = 5;
    make_leader(0);
    one_exchange();
    one_exchange();
    CU_ASSERT_EQUAL(side[1].replica[0].hs.term, 5);
    CU_ASSERT_EQUAL(tm_beat_confirmed(&side[0].beat, &side[0].replica[0], 1, 11), 0);
    tm_replica_persisted(&side[1].replica[0], side[1].replica[0].hs_wanted);
    one_exchange();
    CU_ASSERT(tm_beat_confirmed(&side[0].beat, &side[0].replica[0], 1, 11) > 0);
    end();
}

static void another_disk_confirms_nothing(void)
{
    begin(3, 999);
    for (unsigned p = 0; p < 3; p++)
        make_leader(p);
    one_exchange();
    one_exchange();
    CU_ASSERT_EQUAL(tm_beat_disk(&side[0].beat, &side[0].replica[0], 1), 999);
    CU_ASSERT_EQUAL(tm_beat_confirmed(&side[0].beat, &side[0].replica[0], 1, 11), 0);
    end();
}

static void a_round_before_the_leadership_does_not_confirm_it(void)
{
    begin(2, 11);
    make_leader(0);
    one_exchange();
    now += beat_options.interval_ns;
    (void)tm_beat_turn(&side[0].beat); /* a round leaves for partition 0 alone */
    make_leader(1);
    struct tm_replica *r = &side[0].replica[1];
    struct queued q = queue[0];
    queued = 0;
    tm_beat_receive(&side[1].beat, 0, 0, tm_bytes_of(q.bytes, q.len));
    q = queue[0];
    queued = 0;
    tm_beat_receive(&side[0].beat, 1, 0, tm_bytes_of(q.bytes, q.len));
    CU_ASSERT(tm_beat_confirmed(&side[0].beat, &side[0].replica[0], 1, 11) > 0);
    CU_ASSERT_EQUAL(tm_beat_confirmed(&side[0].beat, r, 1, 11), 0);
    end();
}

static void an_answer_to_another_process_or_a_future_round_is_ignored(void)
{
    begin(1, 11);
    make_leader(0);
    one_exchange();
    one_exchange();
    uint64_t confirmed = side[0].link[0].confirmed;
    now += beat_options.interval_ns;
    (void)tm_beat_turn(&side[0].beat);
    struct queued q = queue[0];
    queued = 0;
    tm_beat_receive(&side[1].beat, 0, 0, tm_bytes_of(q.bytes, q.len));
    q = queue[0];
    queued = 0;
    q.bytes[16] ^= 1; /* boot */
    tm_beat_receive(&side[0].beat, 1, 0, tm_bytes_of(q.bytes, q.len));
    CU_ASSERT_EQUAL(side[0].link[0].confirmed, confirmed);
    q.bytes[16] ^= 1;
    q.bytes[26] ^= 1; /* round + 65536 */
    tm_beat_receive(&side[0].beat, 1, 0, tm_bytes_of(q.bytes, q.len));
    CU_ASSERT_EQUAL(side[0].link[0].confirmed, confirmed);
    q.bytes[26] ^= 1;
    tm_beat_receive(&side[0].beat, 1, 0, tm_bytes_of(q.bytes, q.len));
    CU_ASSERT(side[0].link[0].confirmed > confirmed);
    end();
}

static void what_the_list_does_not_name_has_no_leader_there(void)
{
    begin(300, 11);
    for (unsigned p = 0; p < 300; p++)
        make_leader(p);
    one_exchange();
    one_exchange();
    tm_replica_resign(&side[0].replica[5]);
    one_exchange();
    CU_ASSERT_EQUAL(side[1].replica[5].leader, TM_NODE_UNKNOWN);
    CU_ASSERT_EQUAL(side[1].replica[6].leader, 0);
    end();
}

static void a_read_asks_for_a_round_at_once(void)
{
    begin(1, 11);
    make_leader(0);
    one_exchange();
    one_exchange();
    struct tm_replica *r = &side[0].replica[0];
    r->members.count = 2;
    struct tm_replica_read read = {.index = 0};
    CU_ASSERT_EQUAL(tm_replica_read(r, &read), TM_ERR_AGAIN);
    CU_ASSERT_EQUAL(reads_done, 0);
    (void)tm_beat_turn(&side[0].beat); /* no time has passed */
    CU_ASSERT_EQUAL(queued, 1);
    deliver_all();
    CU_ASSERT_EQUAL(reads_done, 1);
    end();
}

/* A round was under way when the read came; its answer says nothing of the time since. */
static void a_round_begun_before_the_read_does_not_serve_it(void)
{
    begin(1, 11);
    make_leader(0);
    one_exchange();
    one_exchange();
    now += beat_options.interval_ns;
    (void)tm_beat_turn(&side[0].beat);
    struct tm_replica_read read = {.index = 0};
    CU_ASSERT_EQUAL(tm_replica_read(&side[0].replica[0], &read), TM_ERR_AGAIN);
    struct queued q = queue[0];
    queued = 0;
    tm_beat_receive(&side[1].beat, 0, 0, tm_bytes_of(q.bytes, q.len));
    q = queue[0];
    queued = 0;
    tm_beat_receive(&side[0].beat, 1, 0, tm_bytes_of(q.bytes, q.len));
    CU_ASSERT_EQUAL(reads_done, 0);
    (void)tm_beat_turn(&side[0].beat);
    deliver_all();
    CU_ASSERT_EQUAL(reads_done, 1);
    end();
}

static void at_rest_the_pace_slows_and_a_touch_brings_it_back(void)
{
    begin(1, 11);
    make_leader(0);
    one_exchange();
    now += beat_options.rest_after_ns;
    (void)tm_beat_turn(&side[0].beat);
    deliver_all();
    CU_ASSERT_EQUAL(tm_beat_interval(&side[0].beat), beat_options.rest_interval_ns);
    uint64_t promise = 0;
    (void)tm_beat_heard(&side[1].beat, &side[1].replica[0], &promise);
    CU_ASSERT_EQUAL(promise, beat_options.rest_interval_ns);
    CU_ASSERT_EQUAL(tm_beat_turn(&side[0].beat), now + beat_options.rest_interval_ns);
    tm_beat_touch(&side[0].beat);
    CU_ASSERT_EQUAL(tm_beat_turn(&side[0].beat), now + beat_options.interval_ns);
    CU_ASSERT_EQUAL(tm_beat_patience(&side[0].beat), beat_options.rest_interval_ns);
    end();
}

static void worker_counts_may_change_under_way(void)
{
    begin(40, 11);
    for (unsigned p = 0; p < 40; p++)
        make_leader(p);
    one_exchange();
    CU_ASSERT_EQUAL(side[0].link[0].led_count, 40);
    tm_beat_workers(&side[0].beat, 1, 4); /* node 1 came back with four workers */
    uint64_t led = 0;
    unsigned used = 0;
    for (unsigned i = 0; i < 8; i++) {
        used += side[0].link[i].used;
        led += side[0].link[i].used ? side[0].link[i].led_count : 0;
    }
    CU_ASSERT_EQUAL(used, 4);
    CU_ASSERT_EQUAL(led, 40);
    end();
}

/* An idle leader would step down otherwise, if it looked for its quorum just then. */
static void news_of_a_node_takes_nothing_back_that_others_confirmed(void)
{
    begin(40, 11);
    for (unsigned p = 0; p < 40; p++)
        make_leader(p);
    one_exchange();
    one_exchange();
    one_exchange();
    struct tm_beat *b = &side[0].beat;
    const struct tm_replica *r = &side[0].replica[7];
    uint64_t round = tm_beat_confirmed(b, r, 1, 11), at = tm_beat_confirmed_at(b, r, 1, 11);
    CU_ASSERT_TRUE(round > 0 && at == now);
    tm_beat_workers(b, 2, 3);
    tm_beat_workers(b, 2, 1);
    CU_ASSERT_EQUAL(tm_beat_confirmed(b, r, 1, 11), round);
    CU_ASSERT_EQUAL(tm_beat_confirmed_at(b, r, 1, 11), at);
    sent = 0;
    (void)tm_beat_turn(b); /* whoever is new hears of its leaders at once */
    CU_ASSERT_EQUAL(sent, 1);
    deliver_all();
    CU_ASSERT_EQUAL(tm_beat_confirmed(b, r, 1, 11), round + 1);
    end();
}

/* What was asked of other workers of the node was asked about other partitions. */
static void an_answer_from_before_the_workers_changed_confirms_nothing(void)
{
    begin(1, 11);
    make_leader(0);
    one_exchange();
    one_exchange();
    now += beat_options.interval_ns;
    (void)tm_beat_turn(&side[0].beat);
    struct queued beat = queue[0];
    queued = 0;
    tm_beat_receive(&side[1].beat, 0, 0, tm_bytes_of(beat.bytes, beat.len));
    CU_ASSERT_EQUAL_FATAL(queued, 1);
    struct tm_beat *b = &side[0].beat;
    tm_beat_workers(b, 1, 4);
    tm_beat_workers(b, 1, 1);
    CU_ASSERT_EQUAL(tm_beat_confirmed_at(b, &side[0].replica[0], 1, 11), 0);
    tm_beat_receive(b, 1, 0, tm_bytes_of(queue[0].bytes, queue[0].len));
    CU_ASSERT_EQUAL(tm_beat_confirmed_at(b, &side[0].replica[0], 1, 11), 0);
    queued = 0;
    one_exchange();
    CU_ASSERT_EQUAL(tm_beat_confirmed_at(b, &side[0].replica[0], 1, 11), now);
    end();
}

static void a_replica_that_leaves_takes_its_part_along(void)
{
    begin(3, 11);
    for (unsigned p = 0; p < 3; p++)
        make_leader(p);
    for (unsigned p = 0; p < 3; p++)
        tm_replica_stop(&side[0].replica[p]);
    CU_ASSERT_EQUAL(side[0].link[0].led_count, 0);
    CU_ASSERT_EQUAL(side[0].link[0].led_digest, 0);
    CU_ASSERT_PTR_NULL(side[0].beat.replicas);
    end();
}

static void broken_bytes_do_nothing(void)
{
    uint64_t seed = tm_test_seed(), x = seed | 1;
    begin(5, 11);
    for (unsigned p = 0; p < 5; p++)
        make_leader(p);
    for (unsigned i = 0; i < 20000; i++) {
        uint8_t bytes[200];
        for (size_t k = 0; k < sizeof bytes; k++) {
            x = x * 6364136223846793005ull + 1442695040888963407ull;
            bytes[k] = (uint8_t)(x >> 56);
        }
        bytes[0] = (uint8_t)(bytes[0] % 8);
        bytes[1] = 0;
        tm_store16(bytes + 2, bytes[2] % 3);
        tm_store16(bytes + 4, bytes[4] % 3);
        tm_store16(bytes + 6, bytes[6] % 9);
        size_t len = i % 2 == 0 ? 64u + 16u * tm_load16(bytes + 6) : x % sizeof bytes;
        tm_beat_receive(&side[i % 4 < 2].beat, i % 3, i % 2, tm_bytes_of(bytes, len));
        queued = 0;
    }
    CU_ASSERT(side[0].beat.links == 8);
    end();
}

/* Node 0's clock is five seconds ahead. */
static uint64_t wall_of_0(void *host)
{
    (void)host;
    return now / TM_MS(1) + 5000;
}

static uint64_t wall_of_1(void *host)
{
    (void)host;
    return now / TM_MS(1);
}

static void a_clock_is_known_however_slow_the_way_is(void)
{
    begin(1, 11);
    make_leader(0);
    side[0].ctx.wall_ms = wall_of_0;
    side[1].ctx.wall_ms = wall_of_1;
    one_exchange();
    const unsigned under_way = 6; /* two intervals there, one back */
    for (unsigned i = 0; i < 40; i++) {
        now += beat_options.interval_ns;
        (void)tm_beat_turn(&side[0].beat);
        while (queued > under_way) {
            struct queued q = queue[0];
            memmove(queue, queue + 1, --queued * sizeof *queue);
            tm_beat_receive(&side[1 - q.from].beat, q.from, 0, tm_bytes_of(q.bytes, q.len));
        }
    }
    int64_t ahead = tm_beat_ahead_ms(&side[0].beat, &side[0].replica[0], 1);
    int64_t way = (int64_t)(2 * under_way * beat_options.interval_ns / TM_MS(1));
    CU_ASSERT(ahead > 5000 - way && ahead <= 5000);
    CU_ASSERT(now - side[0].link[0].ahead_at < TM_MS(2) * (uint64_t)way);
    end();
}

static void a_lost_answer_about_a_clock_is_asked_for_again(void)
{
    begin(1, 11);
    make_leader(0);
    side[0].ctx.wall_ms = wall_of_0;
    side[1].ctx.wall_ms = wall_of_1;
    now += beat_options.interval_ns;
    (void)tm_beat_turn(&side[0].beat);
    queued = 0;
    for (unsigned i = 0; i < TM_SECONDS(3) / beat_options.interval_ns; i++)
        one_exchange();
    CU_ASSERT_EQUAL(tm_beat_ahead_ms(&side[0].beat, &side[0].replica[0], 1), 5000);
    end();
}

static const struct tm_test tests[] = {
    TM_TEST(a_list_makes_the_digests_agree_then_one_message_serves_all),
    TM_TEST(a_partition_with_a_newer_term_is_told_and_not_confirmed),
    TM_TEST(a_term_that_is_not_durable_agrees_to_nothing),
    TM_TEST(another_disk_confirms_nothing),
    TM_TEST(a_round_before_the_leadership_does_not_confirm_it),
    TM_TEST(an_answer_to_another_process_or_a_future_round_is_ignored),
    TM_TEST(what_the_list_does_not_name_has_no_leader_there),
    TM_TEST(a_read_asks_for_a_round_at_once),
    TM_TEST(a_round_begun_before_the_read_does_not_serve_it),
    TM_TEST(at_rest_the_pace_slows_and_a_touch_brings_it_back),
    TM_TEST(worker_counts_may_change_under_way),
    TM_TEST(news_of_a_node_takes_nothing_back_that_others_confirmed),
    TM_TEST(an_answer_from_before_the_workers_changed_confirms_nothing),
    TM_TEST(a_replica_that_leaves_takes_its_part_along),
    TM_TEST(a_clock_is_known_however_slow_the_way_is),
    TM_TEST(a_lost_answer_about_a_clock_is_asked_for_again),
    TM_TEST(broken_bytes_do_nothing),
};
TM_TEST_MAIN("actors/heartbeat", tests)
