/* channel_wire.h: two channels and a wire in memory between them, for tests.
 *
 * Time is a number.  Each frame emitted may be lost, doubled, delayed or have a bit flipped, as
 * the wire's settings say; wire_run advances to the next event until nothing is left to do or the
 * time is over.  Messages carry a number and bytes that follow from it, which the receiving end
 * compares. */
#ifndef TM_TESTS_NET_CHANNEL_WIRE_H
#define TM_TESTS_NET_CHANNEL_WIRE_H

#include "net/channel.h"
#include "test.h"

#define WIRE_CLUSTER 0x636c7573746572ull
#define WIRE_KEEP    4096

struct wire;

struct end {
    struct wire *wire;
    int side;
    struct tm_channel *ch;
    uint64_t boot;

    /* What the channel told. */
    unsigned ups, resets, refusals, writables;
    uint64_t dropped, peer_boot;
    char reason[TM_CHANNEL_REASON_MAX];
    char hello[TM_CHANNEL_HELLO_MAX + 1];
    uint64_t received; /* messages */
    uint64_t bytes;
    uint64_t wrong;      /* messages that were not what they had to be */
    uint64_t number;     /* of the last message; 0 right after up */
    bool first;          /* the next message may have any number */
    const uint8_t *last; /* where the last message lay */

    /* What the test tells it. */
    const char *refuse;   /* reason, or NULL to accept */
    bool deaf;            /* message() answers false */
    bool raw;             /* messages are not numbered ones */
    enum tm_err emit_err; /* instead of emitting */
    uint64_t sent;        /* messages sent: their numbers */
};

struct packet {
    uint64_t at, order;
    int to;
    size_t len;
    uint8_t *data;
};

struct wire {
    uint64_t now, order, rng;
    struct end end[2];
    struct packet *packets;
    size_t count, size;
    uint64_t delay, jitter;          /* ns */
    unsigned lose, doubled, corrupt; /* of 1000 */
    bool (*drop)(struct wire *w, int to, const struct tm_frame_head *head);
    uint64_t marks[8]; /* for drop */
    uint64_t flipped;  /* bits */
    bool numbered;     /* all messages are long enough for their number */
    bool keep;         /* remember all frames in kept */
    struct packet kept[WIRE_KEEP];
    size_t kept_count;
    uint32_t max_frame, send_window, recv_window;
};

static inline uint64_t wire_random(struct wire *w)
{
    uint64_t z = (w->rng += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static inline bool wire_chance(struct wire *w, unsigned of_1000)
{
    return of_1000 > 0 && wire_random(w) % 1000 < of_1000;
}

static inline void wire_put(struct wire *w, int to, const uint8_t *data, size_t len, uint64_t at)
{
    if (w->count == w->size) {
        w->size = w->size ? 2 * w->size : 64;
        w->packets = realloc(w->packets, w->size * sizeof *w->packets);
        TM_ASSERT(w->packets != NULL);
    }
    uint8_t *copy = malloc(len);
    TM_ASSERT(copy != NULL);
    memcpy(copy, data, len);
    w->packets[w->count++] = (struct packet){at, w->order++, to, len, copy};
}

static inline void wire_keep(struct wire *w, int to, const uint8_t *data, size_t len)
{
    if (!w->keep || w->kept_count == WIRE_KEEP)
        return;
    uint8_t *copy = malloc(len);
    TM_ASSERT(copy != NULL);
    memcpy(copy, data, len);
    w->kept[w->kept_count++] = (struct packet){0, 0, to, len, copy};
}

static inline enum tm_err wire_emit(void *host, struct tm_channel *ch,
                                    const struct tm_bytes *pieces, unsigned count)
{
    struct end *e = host;
    struct wire *w = e->wire;
    static uint8_t frame[65536];
    size_t len = 0;
    CU_ASSERT_PTR_EQUAL(ch, e->ch);
    if (e->emit_err != TM_OK)
        return e->emit_err;
    for (unsigned i = 0; i < count; len += pieces[i].len, i++) {
        TM_ASSERT(len + pieces[i].len <= w->max_frame);
        memcpy(frame + len, pieces[i].data, pieces[i].len);
    }
    struct tm_frame_head head;
    TM_ASSERT(tm_frame_check(frame, len, WIRE_CLUSTER, &head) == TM_OK);
    wire_keep(w, !e->side, frame, len);
    if (w->drop != NULL && w->drop(w, !e->side, &head))
        return TM_OK;
    for (int copies = wire_chance(w, w->doubled) ? 2 : 1; copies > 0; copies--) {
        if (wire_chance(w, w->lose))
            continue;
        uint64_t bit = wire_random(w) % (8 * len);
        bool flip = wire_chance(w, w->corrupt);
        w->flipped += flip;
        frame[bit / 8] ^= (uint8_t)(flip ? 1u << (bit % 8) : 0);
        uint64_t at = w->now + w->delay + (w->jitter ? wire_random(w) % w->jitter : 0);
        wire_put(w, !e->side, frame, len, at);
        frame[bit / 8] ^= (uint8_t)(flip ? 1u << (bit % 8) : 0);
    }
    return TM_OK;
}

/* Byte i of message number n of a process. */
static inline uint8_t wire_byte(uint64_t boot, uint64_t n, size_t i)
{
    return (uint8_t)((boot ^ n * 131) + i * 7 + (i >> 8));
}

static inline bool wire_message(void *host, struct tm_channel *ch, struct tm_bytes m)
{
    struct end *e = host;
    CU_ASSERT_PTR_EQUAL(ch, e->ch);
    if (e->deaf)
        return false;
    e->received++;
    e->bytes += m.len;
    e->last = m.data;
    if (e->raw)
        return true;
    uint64_t n = m.len >= 8 ? tm_load64(m.data) : e->number + 1;
    bool right = e->first ? n > e->number : n == e->number + 1;
    for (size_t i = 8; i < m.len && right; i += 1 + m.len / 997)
        right = m.data[i] == wire_byte(e->peer_boot, n, i);
    e->wrong += !right;
    e->number = n;
    e->first = false;
    return true;
}

static inline const char *wire_accept(void *host, struct tm_channel *ch, struct tm_bytes hello)
{
    struct end *e = host;
    CU_ASSERT_PTR_EQUAL(ch, e->ch);
    TM_ASSERT(hello.len <= TM_CHANNEL_HELLO_MAX);
    return e->refuse;
}

static inline void wire_up(void *host, struct tm_channel *ch, uint64_t boot, struct tm_bytes hello)
{
    struct end *e = host;
    CU_ASSERT_PTR_EQUAL(ch, e->ch);
    e->ups++;
    e->number = 0;
    e->first = true;
    e->peer_boot = boot;
    memcpy(e->hello, hello.data, hello.len);
    e->hello[hello.len] = 0;
}

static inline void wire_reset(void *host, struct tm_channel *ch, uint64_t dropped)
{
    struct end *e = host;
    CU_ASSERT_PTR_EQUAL(ch, e->ch);
    e->resets++;
    e->dropped += dropped;
}

static inline void wire_refused(void *host, struct tm_channel *ch, const char *reason)
{
    struct end *e = host;
    CU_ASSERT_PTR_EQUAL(ch, e->ch);
    e->refusals++;
    snprintf(e->reason, sizeof e->reason, "%s", reason);
}

static inline void wire_writable(void *host, struct tm_channel *ch)
{
    struct end *e = host;
    CU_ASSERT_PTR_EQUAL(ch, e->ch);
    e->writables++;
}

static inline struct tm_channel_config wire_config(struct end *e)
{
    struct wire *w = e->wire;
    return (struct tm_channel_config){
        .cluster = WIRE_CLUSTER,
        .boot = e->boot,
        .local_node = (uint8_t)(10 + e->side),
        .local_worker = (uint8_t)(3 + e->side),
        .peer_node = (uint8_t)(10 + !e->side),
        .peer_worker = (uint8_t)(3 + !e->side),
        .max_frame = w->max_frame,
        .send_window = w->send_window,
        .recv_window = w->recv_window,
        .hello = tm_bytes_str(e->side == 0 ? "left" : "right"),
        .sink = {e, wire_emit, wire_message, wire_accept, wire_up, wire_reset, wire_refused,
                 wire_writable},
    };
}

/* A (new) process at this end; what the last one told is forgotten. */
static inline void wire_boot(struct wire *w, int side)
{
    struct end *e = &w->end[side];
    tm_channel_free(e->ch);
    *e = (struct end){.wire = w, .side = side, .boot = wire_random(w) | 1};
    struct tm_channel_config cfg = wire_config(e);
    TM_ASSERT(tm_channel_new(&cfg, &e->ch) == TM_OK);
}

static inline struct wire *wire_new(uint64_t seed, uint32_t max_frame)
{
    struct wire *w = calloc(1, sizeof *w);
    TM_ASSERT(w != NULL);
    w->rng = seed;
    w->now = TM_SECONDS(5);
    w->delay = TM_US(10);
    w->max_frame = max_frame;
    wire_boot(w, 0);
    wire_boot(w, 1);
    return w;
}

static inline void wire_free(struct wire *w)
{
    tm_channel_free(w->end[0].ch);
    tm_channel_free(w->end[1].ch);
    for (size_t i = 0; i < w->count; i++)
        free(w->packets[i].data);
    for (size_t i = 0; i < w->kept_count; i++)
        free(w->kept[i].data);
    free(w->packets);
    free(w);
}

/* Delivers what is due, in order of time; false if nothing was. */
static inline bool wire_deliver(struct wire *w)
{
    bool any = false;
    for (;;) {
        size_t best = w->count;
        for (size_t i = 0; i < w->count; i++)
            if (w->packets[i].at <= w->now &&
                (best == w->count || w->packets[i].at < w->packets[best].at ||
                 (w->packets[i].at == w->packets[best].at &&
                  w->packets[i].order < w->packets[best].order)))
                best = i;
        if (best == w->count)
            return any;
        struct packet p = w->packets[best];
        w->packets[best] = w->packets[--w->count];
        tm_channel_input(w->end[p.to].ch, p.data, p.len, w->now);
        free(p.data);
        any = true;
    }
}

/* One turn of both ends at the present time. */
static inline void wire_turn(struct wire *w)
{
    wire_deliver(w);
    tm_channel_flush(w->end[0].ch, w->now);
    tm_channel_flush(w->end[1].ch, w->now);
}

/* When something happens next; UINT64_MAX: never. */
static inline uint64_t wire_next(struct wire *w)
{
    uint64_t at =
        tm_min_u64(tm_channel_next_deadline(w->end[0].ch), tm_channel_next_deadline(w->end[1].ch));
    for (size_t i = 0; i < w->count; i++)
        at = tm_min_u64(at, w->packets[i].at);
    return at;
}

/* Runs until `until` or nothing is left to do; true in the second case. */
static inline bool wire_run(struct wire *w, uint64_t until)
{
    for (;;) {
        wire_turn(w);
        uint64_t at = wire_next(w);
        if (at > until) {
            w->now = at == UINT64_MAX ? w->now : until;
            return at == UINT64_MAX;
        }
        /* An event at the present time means that a turn did not settle: give it 1 us. */
        w->now = at > w->now ? at : w->now + TM_US(1);
    }
}

static inline bool wire_run_for(struct wire *w, uint64_t ns)
{
    return wire_run(w, w->now + ns);
}

/* Sends the next numbered message of len bytes (below 8 it carries no number). */
static inline enum tm_err wire_send(struct wire *w, int side, size_t len)
{
    static uint8_t bytes[TM_CHANNEL_MESSAGE_MAX + 1];
    struct end *e = &w->end[side];
    uint64_t n = e->sent + 1;
    for (size_t i = 0; i < len; i++)
        bytes[i] = i >= 8 ? wire_byte(e->boot, n, i) : 0;
    if (len >= 8)
        tm_store64(bytes, n);
    size_t half = len / 2;
    struct tm_bytes pieces[3] = {tm_bytes_of(bytes, half), tm_bytes_of(NULL, 0),
                                 tm_bytes_of(bytes + half, len - half)};
    enum tm_err err = tm_channel_send(e->ch, pieces, 3);
    e->sent += err == TM_OK;
    return err;
}

/* A wire whose ends know each other and owe each other nothing. */
static inline struct wire *wire_up_new(uint64_t seed, uint32_t max_frame)
{
    struct wire *w = wire_new(seed, max_frame);
    bool quiet = wire_run_for(w, TM_MS(100));
    CU_ASSERT(quiet);
    CU_ASSERT(tm_channel_is_up(w->end[0].ch) && tm_channel_is_up(w->end[1].ch));
    return w;
}

#endif
