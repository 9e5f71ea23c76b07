/* Random leaders, ways, losses, answers and sessions that go on from inside an answer, against a
 * model of what each leader did.  Held: every request taken is answered once; what is refused was
 * not done; what is done was done once; and of one session's requests to one partition, those that
 * were done were done in the order of submission. */
#include "actors/dispatch.h"
#include "actors/request_wire.h"
#include "runtime/rng.h"
#include "tests/test.h"

#define PARTITIONS 3
#define SESSIONS   6
#define PLACES     4
#define REQUESTS   6000
#define DEPTH_MAX  6

enum fate { ASKED, DONE, REFUSED, UNKNOWN };

/* One request of a session. */
struct wanted {
    uint32_t partition;
    uint64_t session;
    bool writes;
    unsigned executed; /* times that stand: not cut */
    uint64_t at;       /* when its answer's execution was */
    enum fate fate;
    unsigned answers;
};

/* A request at a leader: evaluated or not, its answer under way or not. */
struct letter {
    uint64_t wire_id;
    unsigned wanted;
    bool evaluated, answered;
    struct tm_answer answer;
};

struct mailbox {
    struct letter letters[REQUESTS];
    unsigned count, heard; /* answers leave in order, as over a channel */
    unsigned seen;         /* evaluated so far, in order */
};

struct soak {
    struct tm_ctx ctx;
    struct tm_rng rng;
    uint64_t now;
    struct tm_dispatch *d;
    struct tm_place place[PLACES];
    struct mailbox *box[PLACES];
    bool leads[PLACES][PARTITIONS]; /* evaluates; more than one may think so */
    unsigned known[PARTITIONS];     /* place, PLACES: nobody */
    struct wanted wanted[REQUESTS + 1];
    unsigned wanted_count;
    uint64_t executions;
    unsigned depth, in_submit_from;
    bool submitting, full, draining;
    unsigned outstanding, refusals_full;
    unsigned fates[4];
};

static bool chance(struct soak *s, unsigned percent)
{
    return tm_rng_below(&s->rng, 100) < percent;
}

static uint64_t soak_now(void *host)
{
    return ((struct soak *)host)->now;
}

static struct tm_place soak_leader(void *host, uint32_t partition)
{
    struct soak *s = host;
    unsigned known = s->known[partition];
    return known < PLACES ? s->place[known] : (struct tm_place){.node = TM_NODES_MAX};
}

static unsigned number_of(const struct tm_request *rq)
{
    struct tm_bytes word = rq->commands[0].argv[1];
    TM_ASSERT(word.len == 8);
    return (unsigned)tm_load64(word.data);
}

/* The leader evaluates a request: done now, pending (done, may be cut), or refused. */
static void evaluate(struct soak *s, unsigned place, struct letter *l)
{
    struct wanted *w = &s->wanted[l->wanted];
    l->evaluated = true;
    l->answer = (struct tm_answer){.id = l->wire_id, .status = TM_ANSWER_DONE};
    if (!s->leads[place][w->partition] || chance(s, 3)) {
        static const enum tm_err why[] = {TM_ERR_NOTLEADER, TM_ERR_AGAIN, TM_ERR_FULL};
        l->answer.status = TM_ANSWER_REFUSED;
        l->answer.err = why[tm_rng_below(&s->rng, 3)];
        return;
    }
    if (chance(s, 2)) {
        l->answer.status = TM_ANSWER_REFUSED;
        l->answer.err = TM_ERR_NOSPACE;
        return;
    }
    w->executed++;
    l->answer.index = ++s->executions;
    if (chance(s, 5)) { /* cut before it was committed */
        w->executed--;
        l->answer.status = TM_ANSWER_REFUSED;
        l->answer.err = TM_ERR_NOTLEADER;
        l->answer.index = 0;
    }
}

/* The next in line of a mailbox is evaluated. */
static void work(struct soak *s, unsigned place)
{
    struct mailbox *b = s->box[place];
    while (b->seen < b->count && b->letters[b->seen].evaluated)
        b->seen++;
    if (b->seen < b->count)
        evaluate(s, place, &b->letters[b->seen++]);
}

static struct letter *receive(struct soak *s, unsigned place, const struct tm_request *rq)
{
    struct mailbox *b = s->box[place];
    TM_ASSERT(b->count < REQUESTS);
    struct letter *l = &b->letters[b->count++];
    *l = (struct letter){.wire_id = rq->id, .wanted = number_of(rq)};
    CU_ASSERT_EQUAL(rq->partition, s->wanted[l->wanted].partition);
    return l;
}

static void say(struct soak *s, unsigned place, struct letter *l)
{
    l->answered = true;
    tm_dispatch_answer(s->d, s->place[place], &l->answer);
}

static void soak_local(void *host, const struct tm_request *rq)
{
    struct soak *s = host;
    struct letter *l = receive(s, 0, rq);
    if (!chance(s, 50))
        return;
    while (!l->evaluated)
        work(s, 0);
    say(s, 0, l);
}

static enum tm_err soak_remote(void *host, struct tm_place to, struct tm_bytes request)
{
    struct soak *s = host;
    struct tm_request_words words = {0};
    struct tm_request rq;
    if (!s->draining && chance(s, 10))
        return chance(s, 50) ? TM_ERR_FULL : TM_ERR_CLOSED;
    for (unsigned i = 1; i < PLACES; i++)
        if (s->place[i].node == to.node && s->place[i].worker == to.worker) {
            TM_ASSERT(tm_request_decode(request, &words, &rq) == TM_OK);
            receive(s, i, &rq);
        }
    tm_request_words_free(&words);
    return TM_OK;
}

static bool submit(struct soak *s, uint64_t session)
{
    if (s->wanted_count == REQUESTS)
        return false;
    unsigned n = ++s->wanted_count;
    struct wanted *w = &s->wanted[n];
    *w = (struct wanted){.partition = (uint32_t)tm_rng_below(&s->rng, PARTITIONS),
                         .session = session,
                         .writes = chance(s, 60)};
    uint8_t word[8];
    tm_store64(word, n);
    struct tm_bytes argv[3] = {tm_bytes_str(w->writes ? "SET" : "GET"), tm_bytes_of(word, 8),
                               tm_bytes_str("v")};
    struct tm_request_command c = {argv, w->writes ? 3 : 2};
    struct tm_request rq = {
        .id = n, .partition = w->partition, .resp = 2, .commands = &c, .count = 1};
    s->outstanding++;
    enum tm_err e = tm_dispatch_submit(s->d, session, &rq);
    if (e == TM_OK)
        return true;
    CU_ASSERT_EQUAL(e, TM_ERR_FULL);
    CU_ASSERT_EQUAL(w->answers, 0);
    s->outstanding--;
    w->answers = 1; /* it was not taken */
    w->fate = REFUSED;
    s->full = true;
    s->refusals_full++;
    return false;
}

static void soak_answer(void *host, uint64_t session, const struct tm_answer *a)
{
    struct soak *s = host;
    CU_ASSERT_FATAL(a->id >= 1 && a->id <= s->wanted_count);
    struct wanted *w = &s->wanted[a->id];
    CU_ASSERT_EQUAL(w->session, session);
    w->answers++;
    s->outstanding--;
    /* Within a submit only what was submitted since it began. */
    CU_ASSERT(!s->submitting || a->id >= s->in_submit_from);
    w->fate = a->status == TM_ANSWER_DONE      ? DONE
              : a->status == TM_ANSWER_REFUSED ? REFUSED
                                               : UNKNOWN;
    s->fates[w->fate]++;
    w->at = a->index;
    if (!w->writes)
        CU_ASSERT_NOT_EQUAL(w->fate, UNKNOWN);
    if (s->depth >= DEPTH_MAX || s->draining || !chance(s, 60))
        return;
    s->depth++;
    submit(s, session);
    s->depth--;
}

static uint64_t soak_random(void *host)
{
    return tm_rng_next(&((struct soak *)host)->rng);
}

static void begin(struct soak *s, uint64_t seed)
{
    static const struct tm_place places[PLACES] = {{0, 0}, {0, 1}, {1, 0}, {2, 0}};
    *s = (struct soak){.now = TM_SECONDS(1)};
    tm_rng_seed(&s->rng, seed);
    s->ctx = (struct tm_ctx){.host = s, .now_ns = soak_now, .random = soak_random};
    for (unsigned i = 0; i < PLACES; i++) {
        s->place[i] = places[i];
        s->box[i] = calloc(1, sizeof *s->box[i]);
        TM_ASSERT(s->box[i] != NULL);
    }
    for (unsigned p = 0; p < PARTITIONS; p++)
        s->known[p] = PLACES;
    struct tm_dispatch_config c = {.ctx = &s->ctx,
                                   .partitions = PARTITIONS,
                                   .self = places[0],
                                   .calls = 24,
                                   .bytes = 2000,
                                   .patience_ms = 500,
                                   .handover_ms = 50,
                                   .ops = {.host = s,
                                           .leader = soak_leader,
                                           .local = soak_local,
                                           .remote = soak_remote,
                                           .answer = soak_answer}};
    s->d = tm_dispatch_new(&c);
    TM_ASSERT(s->d != NULL);
}

/* An answer leaves: mostly the oldest, at times a later one (its record was committed first, or it
 * was refused while the earlier waits for a commit). */
static void answer_one(struct soak *s, unsigned place)
{
    struct mailbox *b = s->box[place];
    while (b->heard < b->count && b->letters[b->heard].answered)
        b->heard++;
    unsigned at = b->heard;
    if (chance(s, 20))
        at += (unsigned)tm_rng_below(&s->rng, 4);
    if (at < b->count && b->letters[at].evaluated && !b->letters[at].answered)
        say(s, place, &b->letters[at]);
    else if (at < b->count && chance(s, 2) && b->letters[at].answered)
        tm_dispatch_answer(s->d, s->place[place], &b->letters[at].answer); /* doubled */
}

static void lose(struct soak *s, unsigned place)
{
    unsigned node = s->place[place].node;
    if (node == 0)
        return;
    s->box[place]->seen = s->box[place]->heard = s->box[place]->count;
    for (unsigned p = 0; p < PARTITIONS; p++)
        s->leads[place][p] = false;
    tm_dispatch_node_lost(s->d, node);
}

/* Leadership moves; who had it finds out at some time, so does the dispatch. */
static void move_leader(struct soak *s)
{
    unsigned p = (unsigned)tm_rng_below(&s->rng, PARTITIONS);
    unsigned place = (unsigned)tm_rng_below(&s->rng, PLACES);
    for (unsigned i = 0; i < PLACES; i++)
        if (i != place)
            s->leads[i][p] = false;
    s->leads[place][p] = true;
    if (chance(s, 80))
        s->known[p] = chance(s, 90) ? place : PLACES;
    if (chance(s, 90))
        tm_dispatch_leader_changed(s->d, p);
    else if (chance(s, 50))
        tm_dispatch_leaders_changed(s->d);
}

static void pass(struct soak *s, uint64_t ns)
{
    s->now += ns;
    if (tm_dispatch_next_deadline(s->d) <= s->now && tm_dispatch_tick(s->d))
        s->full = false;
}

static void step(struct soak *s)
{
    unsigned place = (unsigned)tm_rng_below(&s->rng, PLACES);
    unsigned what = (unsigned)tm_rng_below(&s->rng, 100);
    if (what < 25 && !s->full) {
        s->submitting = true;
        s->in_submit_from = s->wanted_count + 1;
        submit(s, 1 + tm_rng_below(&s->rng, SESSIONS));
        s->submitting = false;
    } else if (what < 50) {
        work(s, place);
    } else if (what < 80) {
        answer_one(s, place);
    } else if (what < 83) {
        move_leader(s);
    } else if (what < 84) {
        lose(s, place);
    } else {
        pass(s, tm_rng_below(&s->rng, TM_MS(4)));
    }
}

/* All leaders at rest: everything comes to its end. */
static void drain(struct soak *s)
{
    s->draining = true;
    for (unsigned i = 0; i < 3000 && s->outstanding > 0; i++) {
        for (unsigned place = 0; place < PLACES; place++) {
            work(s, place);
            answer_one(s, place);
        }
        pass(s, TM_MS(1));
    }
    CU_ASSERT_EQUAL(s->outstanding, 0);
    CU_ASSERT_EQUAL(tm_dispatch_count(s->d), 0);
    CU_ASSERT_EQUAL(tm_dispatch_next_deadline(s->d) == UINT64_MAX, !s->full);
}

static void check(const struct soak *s)
{
    uint64_t last[SESSIONS + 1][PARTITIONS] = {0};
    for (unsigned n = 1; n <= s->wanted_count; n++) {
        const struct wanted *w = &s->wanted[n];
        CU_ASSERT_EQUAL(w->answers, 1);
        if (w->writes)
            CU_ASSERT(w->executed <= 1);
        if (w->fate == REFUSED && w->writes)
            CU_ASSERT_EQUAL(w->executed, 0);
        if (w->fate != DONE)
            continue;
        CU_ASSERT(w->executed >= 1);
        uint64_t *before = &last[w->session][w->partition];
        CU_ASSERT(w->at > *before);
        *before = w->at;
    }
}

static void every_request_is_answered_once_truly_and_in_order(void)
{
    uint64_t seed = tm_test_seed();
    static struct soak s;
    for (unsigned round = 0; round < 40 && CU_get_number_of_failures() == 0; round++) {
        begin(&s, seed + round);
        while (s.wanted_count < REQUESTS / 4)
            step(&s);
        drain(&s);
        check(&s);
        if (CU_get_number_of_failures() != 0)
            printf("  round %u\n", round);
        if (round == 0)
            printf("  done %u refused %u unknown %u full %u\n", s.fates[DONE], s.fates[REFUSED],
                   s.fates[UNKNOWN], s.refusals_full);
        CU_ASSERT(s.fates[DONE] > REQUESTS / 20);
        tm_dispatch_free(s.d);
        for (unsigned i = 0; i < PLACES; i++)
            free(s.box[i]);
    }
}

static const struct tm_test tests[] = {
    TM_TEST(every_request_is_answered_once_truly_and_in_order),
};

TM_TEST_MAIN("actors/dispatch_soak", tests)
