/* Posts of three workers, two of them of one node, over a wire in memory that can lose frames, hold
 * them back and hand them over at odd addresses. */
#include "actors/post.h"
#include "runtime/counters.h"
#include "runtime/rng.h"
#include "tests/test.h"

#define ENDS   3
#define LOG    256
#define FRAMES 4096

struct wire;

struct note {
    struct tm_message_head head;
    size_t len;
    uint64_t sum;
};

struct end {
    struct wire *wire;
    unsigned number;
    struct tm_place self;
    struct tm_post *post;
    struct tm_fabric fabric;
    struct tm_ctx ctx;
    struct tm_counters *counters;
    const char *refuse;
    struct note notes[LOG];
    unsigned count, ups, fresh, downs, node_ups, log_lines, misaligned;
    uint64_t boot_seen; /* of the peer that was up last */
    struct tm_place up_from;
    char up_hello[64];
    bool ring_full;
    unsigned ring_pieces;
};

struct frame {
    unsigned from, to;
    uint8_t *data;
    size_t len;
};

struct wire {
    struct end end[ENDS]; /* 0: node 0 worker 0, 1: node 1 worker 0, 2: node 0 worker 1 */
    uint64_t boot[2];     /* of the nodes' processes */
    struct frame frames[FRAMES];
    unsigned count;
    uint64_t now;
    struct tm_rng rng;
    unsigned lose; /* percent */
    bool odd;      /* frames arrive at odd addresses */
    bool cut;
    unsigned deaf; /* bit i: end i hears nothing */
};

static uint64_t end_now(void *host)
{
    return ((struct end *)host)->wire->now;
}

static uint64_t end_random(void *host)
{
    return tm_rng_next(&((struct end *)host)->wire->rng);
}

static void end_log(void *host, enum tm_log_level level, const char *event, const char *fmt, ...)
    TM_PRINTF(4, 5);

static void end_log(void *host, enum tm_log_level level, const char *event, const char *fmt, ...)
{
    (void)level;
    (void)event;
    (void)fmt;
    ((struct end *)host)->log_lines++;
}

static enum tm_err fabric_send(struct tm_fabric *f, unsigned node, unsigned worker,
                               const struct tm_bytes *pieces, unsigned count)
{
    struct end *e = f->host;
    struct wire *w = e->wire;
    if (w->cut)
        return TM_ERR_CLOSED;
    if (w->count == FRAMES)
        return TM_ERR_FULL;
    for (unsigned i = 0; i < ENDS; i++) {
        if (w->end[i].self.node != node || w->end[i].self.worker != worker)
            continue;
        struct frame *fr = &w->frames[w->count++];
        *fr = (struct frame){.from = e->number, .to = i, .data = malloc(f->max_frame)};
        TM_ASSERT(fr->data != NULL);
        for (unsigned k = 0; k < count; fr->len += pieces[k].len, k++)
            memcpy(fr->data + fr->len, pieces[k].data, pieces[k].len);
    }
    return TM_OK;
}

static uint64_t sum_of(struct tm_bytes body)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < body.len; i++)
        sum = sum * 31 + body.data[i];
    return sum;
}

static void on_message(void *host, const struct tm_message_head *head, struct tm_bytes body)
{
    struct end *e = host;
    e->misaligned += ((uintptr_t)body.data & 7) != 0;
    TM_ASSERT(e->count < LOG);
    e->notes[e->count++] = (struct note){*head, body.len, sum_of(body)};
}

static enum tm_err on_local(void *host, unsigned worker, const struct tm_bytes *pieces,
                            unsigned count)
{
    static uint8_t ring[TM_KIB(64)] __attribute__((aligned(8)));
    struct end *e = host;
    size_t len = 0;
    if (e->ring_full)
        return TM_ERR_FULL;
    for (unsigned k = 0; k < count; len += pieces[k].len, k++)
        memcpy(ring + len, pieces[k].data, pieces[k].len);
    for (unsigned i = 0; i < ENDS; i++)
        if (e->wire->end[i].self.node == e->self.node && e->wire->end[i].self.worker == worker)
            tm_post_local(e->wire->end[i].post, e->self.worker, tm_bytes_of(ring, len));
    return TM_OK;
}

static const char *on_accept(void *host, struct tm_place from, struct tm_bytes hello)
{
    struct end *e = host;
    (void)from;
    CU_ASSERT_EQUAL(hello.len, 6);
    return e->refuse;
}

static void on_up(void *host, struct tm_place from, struct tm_bytes hello, uint64_t boot)
{
    struct end *e = host;
    e->ups++;
    e->fresh += boot != e->boot_seen;
    e->boot_seen = boot;
    e->up_from = from;
    TM_ASSERT(hello.len < sizeof e->up_hello);
    memcpy(e->up_hello, hello.data, hello.len);
    e->up_hello[hello.len] = '\0';
}

static void on_node_event(void *host, unsigned node, bool up)
{
    struct end *e = host;
    CU_ASSERT_EQUAL(node, e->self.node == 0 ? 1 : 0);
    if (up)
        e->node_ups++;
    else
        e->downs++;
}

static void start(struct wire *w, unsigned i)
{
    struct end *e = &w->end[i];
    char hello[8];
    tm_post_free(e->post);
    snprintf(hello, sizeof hello, "hello%u", i);
    struct tm_post_config c = {.ctx = &e->ctx,
                               .self = e->self,
                               .boot = w->boot[e->self.node],
                               .cluster_hash = 77,
                               .hello = tm_bytes_str(hello),
                               .ops = {.host = e,
                                       .message = on_message,
                                       .local = on_local,
                                       .accept = on_accept,
                                       .up = on_up,
                                       .node_event = on_node_event}};
    e->post = tm_post_new(&c);
    TM_ASSERT(e->post != NULL);
    memset(hello, 0, sizeof hello); /* copied */
    e->fabric = (struct tm_fabric){.host = e, .name = "test", .max_frame = 1500};
    e->fabric.send = fabric_send;
    tm_post_set_fabric(e->post, &e->fabric);
}

/* Another process of the node. */
static void restart(struct wire *w, unsigned node)
{
    w->boot[node] = tm_rng_next(&w->rng) | 1;
    for (unsigned i = 0; i < ENDS; i++)
        if (w->end[i].self.node == node)
            start(w, i);
}

static void wire_begin(struct wire *w)
{
    static const struct tm_place places[ENDS] = {{0, 0}, {1, 0}, {0, 1}};
    memset(w, 0, sizeof *w);
    w->now = TM_SECONDS(1);
    tm_rng_seed(&w->rng, 1);
    for (unsigned i = 0; i < ENDS; i++) {
        struct end *e = &w->end[i];
        e->wire = w;
        e->number = i;
        e->self = places[i];
        e->counters = calloc(1, sizeof *e->counters);
        TM_ASSERT(e->counters != NULL);
        e->ctx = (struct tm_ctx){.host = e,
                                 .now_ns = end_now,
                                 .random = end_random,
                                 .log = end_log,
                                 .counters = e->counters};
    }
    restart(w, 0);
    restart(w, 1);
}

static void wire_end(struct wire *w)
{
    for (unsigned i = 0; i < w->count; i++)
        free(w->frames[i].data);
    for (unsigned i = 0; i < ENDS; i++) {
        tm_post_free(w->end[i].post);
        free(w->end[i].counters);
    }
}

static void deliver(struct wire *w)
{
    static uint8_t at[2048] __attribute__((aligned(64)));
    unsigned count = w->count;
    for (unsigned i = 0; i < count; i++) {
        struct frame f = w->frames[i];
        struct end *to = &w->end[f.to];
        uint8_t *data = at + (w->odd ? 3 : 0);
        memcpy(data, f.data, f.len);
        free(f.data);
        if (w->cut || (w->deaf >> f.to & 1) != 0 || tm_rng_below(&w->rng, 100) < w->lose)
            continue;
        struct tm_fabric_sink sink = tm_post_sink(to->post);
        sink.frame(sink.host, w->end[f.from].self.node, w->end[f.from].self.worker, data, f.len);
    }
    memmove(w->frames, w->frames + count, (w->count - count) * sizeof w->frames[0]);
    w->count -= count;
}

/* Turns of 100 us each. */
static void run(struct wire *w, unsigned turns)
{
    while (turns-- > 0) {
        deliver(w);
        for (unsigned i = 0; i < ENDS; i++)
            tm_post_flush(w->end[i].post);
        w->now += TM_US(100);
    }
}

static void meet(struct wire *w)
{
    tm_post_know(w->end[0].post, w->end[1].self);
    tm_post_know(w->end[2].post, w->end[1].self);
    run(w, 100);
    CU_ASSERT_TRUE_FATAL(tm_post_is_up(w->end[0].post, w->end[1].self));
    CU_ASSERT_TRUE_FATAL(tm_post_is_up(w->end[1].post, w->end[0].self));
    CU_ASSERT_TRUE_FATAL(tm_post_is_up(w->end[1].post, w->end[2].self));
}

static enum tm_err send(struct wire *w, unsigned from, unsigned to, uint64_t arg, size_t len)
{
    static uint8_t body[TM_KIB(32)];
    TM_ASSERT(len <= sizeof body);
    for (size_t i = 0; i < len; i++)
        body[i] = (uint8_t)(i * 7 + arg);
    struct tm_bytes pieces[3] = {tm_bytes_of(body, len / 3), tm_bytes_of(NULL, 0),
                                 tm_bytes_of(body + len / 3, len - len / 3)};
    struct tm_message_head head = {.type = TM_MESSAGE_RAFT,
                                   .node = 63,
                                   .worker = 63,
                                   .partition = 9,
                                   .arg = arg,
                                   .arg2 = ~arg};
    return tm_post_send(w->end[from].post, w->end[to].self, head, pieces, 3);
}

/* Message n at `to` is the one numbered arg from `from`, whole. */
static void expect(struct wire *w, unsigned to, unsigned n, unsigned from, uint64_t arg, size_t len)
{
    const struct note *note = &w->end[to].notes[n];
    static uint8_t body[TM_KIB(32)];
    CU_ASSERT_FATAL(w->end[to].count > n);
    for (size_t i = 0; i < len; i++)
        body[i] = (uint8_t)(i * 7 + arg);
    CU_ASSERT_EQUAL(note->head.type, TM_MESSAGE_RAFT);
    CU_ASSERT_EQUAL(note->head.node, w->end[from].self.node); /* not what it claimed */
    CU_ASSERT_EQUAL(note->head.worker, w->end[from].self.worker);
    CU_ASSERT_EQUAL(note->head.partition, 9);
    CU_ASSERT(note->head.arg == arg && note->head.arg2 == ~arg);
    CU_ASSERT_EQUAL(note->len, len);
    CU_ASSERT_EQUAL(note->sum, sum_of(tm_bytes_of(body, len)));
}

static struct wire wire;

static void workers_that_know_each_other_are_told_so(void)
{
    struct wire *w = &wire;
    wire_begin(w);
    CU_ASSERT_EQUAL(send(w, 0, 1, 1, 10), TM_ERR_CLOSED);
    CU_ASSERT_FALSE(tm_post_is_up(w->end[0].post, w->end[1].self));
    run(w, 100); /* the try made a channel, and that says hello */
    CU_ASSERT_EQUAL(w->end[0].ups, 1);
    CU_ASSERT_EQUAL(w->end[0].fresh, 1);
    CU_ASSERT_EQUAL(w->end[1].ups, 1);
    CU_ASSERT_STRING_EQUAL(w->end[0].up_hello, "hello1");
    CU_ASSERT_STRING_EQUAL(w->end[1].up_hello, "hello0");
    CU_ASSERT_EQUAL(w->end[1].up_from.node, 0);
    CU_ASSERT_EQUAL(w->end[0].count, 0); /* what was refused was not kept */
    CU_ASSERT_EQUAL(w->end[1].count, 0);
    CU_ASSERT_TRUE(tm_post_idle(w->end[0].post));
    wire_end(w);
}

static void messages_arrive_once_in_order_and_say_truly_who_sent_them(void)
{
    static const size_t sizes[] = {0, 1, 7, 8, 9, 100, 1499, 1500, 4000, 32768};
    for (unsigned odd = 0; odd < 2; odd++) {
        struct wire *w = &wire;
        wire_begin(w);
        w->odd = odd == 1;
        meet(w);
        w->lose = 20;
        for (unsigned i = 0; i < TM_ARRAY_LEN(sizes); i++) {
            CU_ASSERT_EQUAL(send(w, 0, 1, i, sizes[i]), TM_OK);
            CU_ASSERT_EQUAL(send(w, 1, 2, i, sizes[i]), TM_OK);
        }
        CU_ASSERT_FALSE(tm_post_idle(w->end[0].post));
        run(w, 20000);
        CU_ASSERT_EQUAL(w->end[1].count, TM_ARRAY_LEN(sizes));
        CU_ASSERT_EQUAL(w->end[2].count, TM_ARRAY_LEN(sizes));
        for (unsigned i = 0; i < TM_ARRAY_LEN(sizes); i++) {
            expect(w, 1, i, 0, i, sizes[i]);
            expect(w, 2, i, 1, i, sizes[i]);
        }
        CU_ASSERT_EQUAL(w->end[1].misaligned + w->end[2].misaligned, 0);
        CU_ASSERT_TRUE(tm_post_idle(w->end[0].post));
        CU_ASSERT_EQUAL(tm_counter_get(w->end[0].counters, TM_COUNTER_channel_messages_sent),
                        TM_ARRAY_LEN(sizes));
        CU_ASSERT_EQUAL(tm_counter_get(w->end[1].counters, TM_COUNTER_channel_messages_received),
                        TM_ARRAY_LEN(sizes));
        wire_end(w);
    }
}

static void workers_of_one_node_speak_over_its_ring(void)
{
    struct wire *w = &wire;
    wire_begin(w);
    CU_ASSERT_TRUE(tm_post_is_up(w->end[0].post, w->end[2].self));
    CU_ASSERT_EQUAL(send(w, 0, 2, 4, 1000), TM_OK);
    expect(w, 2, 0, 0, 4, 1000);
    CU_ASSERT_EQUAL(send(w, 2, 0, 5, 0), TM_OK);
    expect(w, 0, 0, 2, 5, 0);
    w->end[0].ring_full = true;
    CU_ASSERT_EQUAL(send(w, 0, 2, 6, 1000), TM_ERR_FULL);
    CU_ASSERT_EQUAL(w->end[2].count, 1);
    CU_ASSERT_EQUAL(w->count, 0); /* no frame */
    wire_end(w);
}

static void a_peer_that_is_refused_is_not_up(void)
{
    struct wire *w = &wire;
    wire_begin(w);
    w->end[1].refuse = "go away";
    tm_post_know(w->end[0].post, w->end[1].self);
    run(w, 300);
    CU_ASSERT_EQUAL(w->end[1].ups, 0);
    CU_ASSERT_FALSE(tm_post_is_up(w->end[1].post, w->end[0].self));
    CU_ASSERT_FALSE(tm_post_is_up(w->end[0].post, w->end[1].self));
    CU_ASSERT_EQUAL(send(w, 0, 1, 1, 10), TM_ERR_CLOSED);
    CU_ASSERT(w->end[0].log_lines > 0); /* the reason is said */
    w->end[1].refuse = NULL;            /* asked again every second */
    run(w, 20000);
    CU_ASSERT_TRUE(tm_post_is_up(w->end[0].post, w->end[1].self));
    CU_ASSERT_TRUE(tm_post_is_up(w->end[1].post, w->end[0].self));
    wire_end(w);
}

static void a_restarted_peer_is_fresh_and_gets_nothing_old(void)
{
    struct wire *w = &wire;
    wire_begin(w);
    meet(w);
    w->cut = true;
    CU_ASSERT_EQUAL(send(w, 0, 1, 1, 100), TM_OK);
    run(w, 10);
    w->cut = false;
    restart(w, 1);
    tm_post_know(w->end[1].post, w->end[0].self);
    run(w, 10000);
    CU_ASSERT_EQUAL(w->end[0].fresh, 2);
    CU_ASSERT_EQUAL(w->end[1].count, 0);
    CU_ASSERT_EQUAL(tm_counter_get(w->end[0].counters, TM_COUNTER_channel_resets), 1);
    CU_ASSERT_EQUAL(send(w, 0, 1, 2, 100), TM_OK);
    run(w, 100);
    expect(w, 1, 0, 0, 2, 100);
    wire_end(w);
}

/* Of the next process of a node one worker says hello first: nothing is given to the ways to the
 * others that the process before had, for it would be lost without a word. */
static void no_way_of_the_process_before_takes_anything(void)
{
    struct wire *w = &wire;
    wire_begin(w);
    meet(w);
    restart(w, 0);
    w->deaf = 1u << 2;
    tm_post_know(w->end[0].post, w->end[1].self);
    for (unsigned i = 0; i < 10000 && w->end[1].ups < 3; i++)
        run(w, 1);
    CU_ASSERT_EQUAL(w->end[1].ups, 3);
    CU_ASSERT_TRUE(tm_post_is_up(w->end[1].post, w->end[0].self));
    CU_ASSERT_FALSE(tm_post_is_up(w->end[1].post, w->end[2].self));
    CU_ASSERT_EQUAL(send(w, 1, 0, 1, 100), TM_OK);
    CU_ASSERT_EQUAL(send(w, 1, 2, 2, 100), TM_ERR_CLOSED);
    w->deaf = 0;
    tm_post_know(w->end[2].post, w->end[1].self);
    run(w, 10000);
    CU_ASSERT_EQUAL(send(w, 1, 2, 3, 100), TM_OK);
    run(w, 100);
    expect(w, 0, 0, 1, 1, 100);
    CU_ASSERT_EQUAL(w->end[2].count, 1);
    expect(w, 2, 0, 1, 3, 100);
    wire_end(w);
}

static void expect_way(struct wire *w, unsigned from, unsigned to)
{
    unsigned before = w->end[to].count;
    CU_ASSERT_TRUE(tm_post_is_up(w->end[from].post, w->end[to].self));
    CU_ASSERT_EQUAL(send(w, from, to, 5, 100), TM_OK);
    run(w, 100);
    CU_ASSERT_EQUAL(w->end[to].count, before + 1);
    expect(w, to, before, from, 5, 100);
}

/* Of the next process one worker says hello.  The other knows nobody, and over the way to it, which
 * leads to the process before, nothing is under way. */
static void a_way_at_rest_is_led_to_the_next_process(void)
{
    struct wire *w = &wire;
    wire_begin(w);
    meet(w);
    run(w, 1000);
    CU_ASSERT_TRUE(tm_post_idle(w->end[1].post));
    restart(w, 0);
    tm_post_know(w->end[0].post, w->end[1].self);
    run(w, 1000);
    expect_way(w, 1, 0);
    expect_way(w, 1, 2);
    expect_way(w, 2, 1);
    wire_end(w);
}

/* Each frame that is under way is lost, but the first. */
static struct frame keep_first(struct wire *w)
{
    CU_ASSERT_FATAL(w->count > 0);
    while (w->count > 1)
        free(w->frames[--w->count].data);
    w->count = 0;
    return w->frames[0];
}

/* A process has answered a hello, and ended; the answer arrives between the hello of the next one
 * and its proof that it lives.  So the next takes the two for met, and says no more.  known:
 * another worker of the next process is met before, else after that. */
static void play_late_answer(struct wire *w, bool known)
{
    wire_begin(w);
    tm_post_know(w->end[1].post, w->end[2].self);
    run(w, 2);
    struct frame late = keep_first(w);
    uint64_t before = w->boot[0];
    restart(w, 0);
    if (known)
        tm_post_know(w->end[0].post, w->end[1].self);
    run(w, 10);
    tm_post_know(w->end[2].post, w->end[1].self);
    run(w, 2);
    struct tm_fabric_sink sink = tm_post_sink(w->end[1].post);
    sink.frame(sink.host, 0, 1, late.data, late.len);
    free(late.data);
    CU_ASSERT_EQUAL(w->end[1].boot_seen, before);
    run(w, 1000);
    if (!known)
        tm_post_know(w->end[0].post, w->end[1].self);
    run(w, 1000);
    CU_ASSERT_EQUAL(w->end[1].boot_seen, w->boot[0]);
    expect_way(w, 1, 0);
    expect_way(w, 1, 2);
    expect_way(w, 2, 1);
    wire_end(w);
}

static void an_answer_from_the_process_before_is_outlived(void)
{
    play_late_answer(&wire, false);
    play_late_answer(&wire, true);
}

static void a_lost_way_is_no_new_process(void)
{
    struct wire *w = &wire;
    wire_begin(w);
    meet(w);
    struct tm_fabric_sink sink = tm_post_sink(w->end[0].post);
    sink.event(sink.host, 1, TM_FABRIC_PEER_DOWN);
    w->cut = true;
    CU_ASSERT_EQUAL(w->end[0].downs, 1);
    CU_ASSERT_EQUAL(send(w, 0, 1, 3, 100), TM_OK); /* may still be there: kept */
    run(w, 100);
    CU_ASSERT_EQUAL(w->end[1].count, 0);
    w->cut = false;
    sink.event(sink.host, 1, TM_FABRIC_PEER_UP);
    CU_ASSERT_EQUAL(w->end[0].node_ups, 1);
    run(w, 20);
    expect(w, 1, 0, 0, 3, 100);
    CU_ASSERT_EQUAL(w->end[0].fresh, 1);
    CU_ASSERT_EQUAL(tm_counter_get(w->end[0].counters, TM_COUNTER_peer_downs), 1);
    wire_end(w);
}

static void a_way_that_is_full_says_so_and_opens_again(void)
{
    struct wire *w = &wire;
    wire_begin(w);
    meet(w);
    w->cut = true;
    unsigned taken = 0;
    while (send(w, 0, 1, taken, 32768) == TM_OK && taken < 1000)
        taken++;
    CU_ASSERT(taken > 10 && taken < 1000);
    CU_ASSERT_EQUAL(send(w, 0, 1, 0, 32768), TM_ERR_FULL);
    CU_ASSERT_EQUAL(tm_counter_get(w->end[0].counters, TM_COUNTER_channel_full), 2);
    w->cut = false;
    run(w, 20000);
    CU_ASSERT_EQUAL(w->end[1].count, taken);
    CU_ASSERT_EQUAL(send(w, 0, 1, 0, 32768), TM_OK);
    wire_end(w);
}

static void nonsense_frames_and_numbers_hurt_nobody(void)
{
    struct wire *w = &wire;
    wire_begin(w);
    meet(w);
    uint8_t junk[64];
    struct tm_fabric_sink sink = tm_post_sink(w->end[0].post);
    for (unsigned i = 0; i < 1000; i++) {
        for (unsigned k = 0; k < sizeof junk; k++)
            junk[k] = (uint8_t)tm_rng_next(&w->rng);
        sink.frame(sink.host, (unsigned)tm_rng_below(&w->rng, 80),
                   (unsigned)tm_rng_below(&w->rng, 80), junk, tm_rng_below(&w->rng, 64));
    }
    CU_ASSERT_EQUAL(send(w, 1, 0, 1, 50), TM_OK);
    run(w, 100);
    expect(w, 0, 0, 1, 1, 50);
    CU_ASSERT_EQUAL(w->end[0].count, 1);
    struct tm_message_head head = {.type = TM_MESSAGE_RAFT};
    struct tm_place nowhere = {.node = 70, .worker = 0};
    CU_ASSERT_EQUAL(tm_post_send(w->end[0].post, nowhere, head, NULL, 0), TM_ERR_CLOSED);
    wire_end(w);
}

static void a_quiet_post_asks_for_no_turns(void)
{
    struct wire *w = &wire;
    wire_begin(w);
    CU_ASSERT_EQUAL(tm_post_next_deadline(w->end[0].post), UINT64_MAX);
    meet(w);
    run(w, 1000);
    CU_ASSERT(tm_post_next_deadline(w->end[0].post) > w->now + TM_MS(100));
    CU_ASSERT_EQUAL(send(w, 0, 1, 1, 50), TM_OK);
    tm_post_flush(w->end[0].post);
    CU_ASSERT(tm_post_next_deadline(w->end[0].post) < w->now + TM_SECONDS(1));
    wire_end(w);
}

static const struct tm_test tests[] = {
    TM_TEST(workers_that_know_each_other_are_told_so),
    TM_TEST(messages_arrive_once_in_order_and_say_truly_who_sent_them),
    TM_TEST(workers_of_one_node_speak_over_its_ring),
    TM_TEST(a_peer_that_is_refused_is_not_up),
    TM_TEST(a_restarted_peer_is_fresh_and_gets_nothing_old),
    TM_TEST(no_way_of_the_process_before_takes_anything),
    TM_TEST(a_way_at_rest_is_led_to_the_next_process),
    TM_TEST(an_answer_from_the_process_before_is_outlived),
    TM_TEST(a_lost_way_is_no_new_process),
    TM_TEST(a_way_that_is_full_says_so_and_opens_again),
    TM_TEST(nonsense_frames_and_numbers_hurt_nobody),
    TM_TEST(a_quiet_post_asks_for_no_turns),
};

TM_TEST_MAIN("actors/post", tests)
