/* dispatch_world.h: a dispatch whose leaders, ways and clients are the test's.
 *
 * Every request is "SET|GET s<session> <seq>"; the world notes what was handed to this worker's
 * partitions and what was sent to others, in order, and every answer a session was given. */
#ifndef TM_TESTS_ACTORS_DISPATCH_WORLD_H
#define TM_TESTS_ACTORS_DISPATCH_WORLD_H

#include "actors/dispatch.h"
#include "actors/request_wire.h"
#include "runtime/rng.h"
#include "tests/test.h"

#define WORLD_PARTITIONS 4
#define WORLD_EVENTS     512

static const struct tm_place WORLD_SELF = {.node = 0, .worker = 0};
static const struct tm_place WORLD_B = {.node = 1, .worker = 0};
static const struct tm_place WORLD_C = {.node = 2, .worker = 0};
static const struct tm_place WORLD_NOBODY = {.node = TM_NODES_MAX};

/* A request as it reached a leader. */
struct world_asked {
    struct tm_place to;
    uint64_t wire_id;
    uint64_t session, seq;
    uint32_t partition;
    enum tm_request_kind kind;
};

struct world_told {
    uint64_t session;
    struct tm_answer answer;
};

struct world {
    struct tm_ctx ctx;
    struct tm_rng rng;
    uint64_t now;
    struct tm_dispatch *d;
    struct tm_place leader[WORLD_PARTITIONS];
    enum tm_err way; /* what remote answers */
    struct world_asked asked[WORLD_EVENTS];
    unsigned asked_count;
    struct world_told told[WORLD_EVENTS];
    unsigned told_count;
    /* local answers at once, unless it is told to keep quiet. */
    bool local_waits;
    struct tm_answer local_answer; /* id is filled in */
    /* Called for each answer, after it was noted. */
    void (*on_answer)(struct world *w, uint64_t session, const struct tm_answer *a);
    unsigned budget; /* for on_answer */
    /* Called before local answers. */
    void (*on_local)(struct world *w, const struct world_asked *a);
};

static inline bool world_same(struct tm_place a, struct tm_place b)
{
    return a.node == b.node && a.worker == b.worker;
}

static inline uint64_t world_now(void *host)
{
    return ((struct world *)host)->now;
}

static inline uint64_t world_number(struct tm_bytes word)
{
    uint64_t n = 0;
    for (size_t i = 0; i < word.len; i++)
        if (word.data[i] >= '0' && word.data[i] <= '9')
            n = n * 10 + (uint64_t)(word.data[i] - '0');
    return n;
}

static inline struct tm_place world_leader(void *host, uint32_t partition)
{
    return ((struct world *)host)->leader[partition];
}

static inline struct world_asked *world_note(struct world *w, struct tm_place to,
                                             const struct tm_request *rq)
{
    TM_ASSERT(w->asked_count < WORLD_EVENTS);
    struct world_asked *a = &w->asked[w->asked_count++];
    *a = (struct world_asked){
        .to = to, .wire_id = rq->id, .partition = rq->partition, .kind = rq->kind};
    if (rq->count > 0 && rq->commands[0].argc == 3) {
        a->session = world_number(rq->commands[0].argv[1]);
        a->seq = world_number(rq->commands[0].argv[2]);
    }
    return a;
}

static inline void world_local(void *host, const struct tm_request *rq)
{
    struct world *w = host;
    struct world_asked *a = world_note(w, WORLD_SELF, rq);
    if (w->on_local != NULL)
        w->on_local(w, a);
    if (w->local_waits || rq->kind == TM_REQUEST_UNWATCH)
        return;
    struct tm_answer answer = w->local_answer;
    answer.id = rq->id;
    tm_dispatch_answer(w->d, WORLD_SELF, &answer);
}

static inline enum tm_err world_remote(void *host, struct tm_place to, struct tm_bytes request)
{
    struct world *w = host;
    struct tm_request_words words = {0};
    struct tm_request rq;
    CU_ASSERT(!world_same(to, WORLD_SELF));
    if (w->way != TM_OK)
        return w->way;
    TM_ASSERT(tm_request_decode(request, &words, &rq) == TM_OK);
    world_note(w, to, &rq);
    tm_request_words_free(&words);
    return TM_OK;
}

static inline void world_answer(void *host, uint64_t session, const struct tm_answer *answer)
{
    struct world *w = host;
    TM_ASSERT(w->told_count < WORLD_EVENTS);
    w->told[w->told_count++] = (struct world_told){.session = session, .answer = *answer};
    if (w->on_answer != NULL)
        w->on_answer(w, session, answer);
}

static inline uint64_t world_random(void *host)
{
    return tm_rng_next(&((struct world *)host)->rng);
}

/* The process begins. */
static inline void world_start(struct world *w, uint32_t calls, uint64_t bytes)
{
    struct tm_dispatch_config c = {.ctx = &w->ctx,
                                   .partitions = WORLD_PARTITIONS,
                                   .self = WORLD_SELF,
                                   .calls = calls,
                                   .bytes = bytes,
                                   .patience_ms = 1000,
                                   .handover_ms = 100,
                                   .ops = {.host = w,
                                           .leader = world_leader,
                                           .local = world_local,
                                           .remote = world_remote,
                                           .answer = world_answer}};
    w->d = tm_dispatch_new(&c);
    TM_ASSERT(w->d != NULL);
}

static inline void world_begin_with(struct world *w, uint32_t calls, uint64_t bytes)
{
    *w = (struct world){.now = TM_SECONDS(1)};
    tm_rng_seed(&w->rng, tm_test_seed());
    w->ctx = (struct tm_ctx){.host = w, .now_ns = world_now, .random = world_random};
    for (unsigned p = 0; p < WORLD_PARTITIONS; p++)
        w->leader[p] = WORLD_NOBODY;
    world_start(w, calls, bytes);
}

static inline void world_begin(struct world *w)
{
    world_begin_with(w, 64, TM_MIB(1));
}

static inline void world_end(struct world *w)
{
    tm_dispatch_free(w->d);
}

static inline enum tm_err world_submit_kind(struct world *w, enum tm_request_kind kind,
                                            const char *verb, uint64_t session, uint64_t seq,
                                            uint32_t partition, uint64_t timeout_ms)
{
    char s[24], n[24];
    snprintf(s, sizeof s, "s%" PRIu64, session);
    snprintf(n, sizeof n, "%" PRIu64, seq);
    struct tm_bytes argv[3] = {tm_bytes_str(verb), tm_bytes_str(s), tm_bytes_str(n)};
    struct tm_request_command command = {argv, 3};
    struct tm_request rq = {.id = seq,
                            .kind = kind,
                            .partition = partition,
                            .resp = 2,
                            .commands = &command,
                            .count = 1,
                            .timeout_ms = timeout_ms};
    enum tm_err e = tm_dispatch_submit(w->d, session, &rq);
    memset(s, 'x', sizeof s); /* borrowed no longer */
    memset(n, 'x', sizeof n);
    return e;
}

static inline enum tm_err world_set(struct world *w, uint64_t session, uint64_t seq, uint32_t p)
{
    return world_submit_kind(w, TM_REQUEST_EXEC, "SET", session, seq, p, 0);
}

static inline enum tm_err world_get(struct world *w, uint64_t session, uint64_t seq, uint32_t p)
{
    return world_submit_kind(w, TM_REQUEST_EXEC, "GET", session, seq, p, 0);
}

/* The answer of asked[i], as its leader would give it. */
static inline void world_reply(struct world *w, unsigned i, enum tm_answer_status status,
                               enum tm_err err)
{
    TM_ASSERT(i < w->asked_count);
    struct tm_answer a = {.id = w->asked[i].wire_id, .status = status, .err = err};
    tm_dispatch_answer(w->d, w->asked[i].to, &a);
}

static inline void world_done(struct world *w, unsigned i)
{
    world_reply(w, i, TM_ANSWER_DONE, TM_OK);
}

static inline void world_lead(struct world *w, uint32_t partition, struct tm_place place)
{
    w->leader[partition] = place;
    tm_dispatch_leader_changed(w->d, partition);
}

/* Lets time go by, with the ticks that were asked for. */
static inline void world_pass(struct world *w, uint64_t ns)
{
    uint64_t end = w->now + ns;
    for (;;) {
        uint64_t at = tm_dispatch_next_deadline(w->d);
        if (at > end)
            break;
        w->now = tm_max_u64(w->now, at);
        (void)tm_dispatch_tick(w->d);
        CU_ASSERT(tm_dispatch_next_deadline(w->d) > w->now);
    }
    w->now = end;
}

#endif
