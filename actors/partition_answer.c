/* Replies that wait.  For a commit, and at the gate: a ring in order of index, the reply beside it.
 * For a read:
 * the replica keeps the entry and says when.  For WAIT: a short list, looked at when copies may
 * have moved.
 *
 * What decides them mostly happens inside the replica, from where nobody may be answered: an answer
 * can bring the next request.  So decisions are noted, and answers given by tm_partition_turn. */
#include "actors/partition_internal.h"

#include <stdlib.h>

struct tm_partition_read {
    struct tm_replica_read base;
    struct tm_partition_read *next, *prev;
    struct tm_place to;
    struct tm_answer answer; /* its reply points to bytes */
    uint64_t term;           /* of its record, where that was cut */
    bool ok;
    uint8_t bytes[];
};

struct tm_partition_wait {
    struct tm_partition_wait *next;
    struct tm_place to;
    uint64_t id, index, term, deadline;
    uint32_t copies;
};

void tm_partition_answer(struct tm_partition *p, struct tm_place to, const struct tm_answer *a)
{
    p->env->ops->answer(p->env->host, to, a);
}

void tm_partition_refuse(struct tm_partition *p, struct tm_place to, uint64_t id, enum tm_err err)
{
    struct tm_answer a = {.id = id, .status = TM_ANSWER_REFUSED, .err = err};
    struct tm_counters *counters = p->env->ctx->counters;
    if (err == TM_ERR_NOSPACE)
        tm_counter_add(counters, TM_COUNTER_refused_diskfull, 1);
    else if (err == TM_ERR_NOMEM)
        tm_counter_add(counters, TM_COUNTER_refused_oom, 1);
    else if (err == TM_ERR_NOREPLICAS)
        tm_counter_add(counters, TM_COUNTER_refused_noreplicas, 1);
    tm_partition_answer(p, to, &a);
}

/* ---- decided, to be answered ---- */

static struct tm_partition_read *read_new(struct tm_partition *p, struct tm_place to,
                                          const struct tm_answer *answer, uint64_t seen)
{
    struct tm_bytes reply = answer->reply;
    struct tm_partition_read *r = malloc(sizeof *r + reply.len);
    if (r == NULL)
        return NULL;
    *r = (struct tm_partition_read){
        .base = {.index = seen, .owner = p}, .to = to, .answer = *answer};
    if (reply.len > 0)
        memcpy(r->bytes, reply.data, reply.len);
    r->answer.reply = tm_bytes_of(r->bytes, reply.len);
    return r;
}

static void done_push(struct tm_partition *p, struct tm_partition_read *r, bool ok)
{
    r->ok = ok;
    r->next = p->done;
    p->done = r;
    tm_partition_due(p);
}

static void give_done(struct tm_partition *p)
{
    while (p->done != NULL) {
        struct tm_partition_read *r = p->done;
        p->done = r->next;
        if (r->ok)
            tm_partition_answer(p, r->to, &r->answer);
        else
            tm_partition_refuse(p, r->to, r->answer.id, TM_ERR_NOTLEADER);
        free(r);
    }
}

/* ---- for a commit ---- */

static struct tm_pending *pending_at(struct tm_partition *p, uint32_t i)
{
    return &p->pending[(p->pending_head + i) & (p->pending_cap - 1)];
}

/* What is said in place of a reply that there was no memory to keep. */
static const char reply_lost[] = "-ERR done, but there was no memory for the reply\r\n";

static struct tm_bytes reply_of(const struct tm_pending *e)
{
    if (e->lost)
        return tm_bytes_str(reply_lost);
    return tm_bytes_of(e->bytes != NULL ? e->bytes : e->inline_, e->len);
}

/* The ring is as long as the replica's window allows: tm_replica_next refuses beyond it. */
bool tm_partition_may_pend(struct tm_partition *p)
{
    if (p->pending_count < p->pending_cap)
        return true;
    uint32_t cap = p->pending_cap == 0 ? 16 : p->pending_cap * 2;
    struct tm_pending *ring = calloc(cap, sizeof *ring);
    if (ring == NULL)
        return false;
    for (uint32_t i = 0; i < p->pending_count; i++)
        ring[i] = *pending_at(p, i);
    free(p->pending);
    p->pending = ring;
    p->pending_cap = cap;
    p->pending_head = 0;
    return true;
}

void tm_partition_pend(struct tm_partition *p, struct tm_place to, uint64_t id, uint64_t index,
                       uint64_t term)
{
    struct tm_bytes reply = tm_resp_writer_bytes(&p->env->reply);
    TM_ASSERT(p->pending_count < p->pending_cap); /* tm_partition_may_pend */
    struct tm_pending *e = pending_at(p, p->pending_count++);
    *e = (struct tm_pending){
        .index = index, .term = term, .id = id, .to = to, .len = (uint32_t)reply.len};
    uint8_t *at = e->inline_;
    if (reply.len > sizeof e->inline_)
        at = e->bytes = malloc(reply.len);
    e->lost = at == NULL;
    if (reply.len > 0 && !e->lost)
        memcpy(at, reply.data, reply.len);
}

void tm_partition_due(struct tm_partition *p)
{
    if (p->is_due)
        return;
    p->is_due = true;
    p->due_next = p->env->due;
    p->env->due = p;
}

void tm_partition_settle(struct tm_partition *p, uint64_t index)
{
    p->settled = tm_max_u64(p->settled, index);
    if (p->pending_count > 0 || p->waits != NULL)
        tm_partition_due(p);
}

static struct tm_answer answer_of(const struct tm_partition *p, const struct tm_pending *e)
{
    return (struct tm_answer){.id = e->id,
                              .status = TM_ANSWER_DONE,
                              .reply = reply_of(e),
                              .index = e->index,
                              .term = p->eventual ? e->term : 0};
}

static struct tm_answer unknown(uint64_t id)
{
    return (struct tm_answer){.id = id, .status = TM_ANSWER_UNKNOWN, .err = TM_ERR_TIMEOUT};
}

/* A committed record's reply is at the gate, and may still pass. */
static bool waits_at_gate(const struct tm_partition *p, uint64_t index)
{
    return index > p->gate && index > p->gate_shut && p->leading;
}

static void give_pending(struct tm_partition *p)
{
    while (p->pending_count > 0 && pending_at(p, 0)->index <= p->settled) {
        struct tm_pending e = *pending_at(p, 0);
        if (waits_at_gate(p, e.index))
            return;
        p->pending_head = (p->pending_head + 1) & (p->pending_cap - 1);
        p->pending_count--;
        struct tm_answer a = answer_of(p, &e);
        if (e.index > p->gate) {
            a = unknown(e.id);
            tm_counter_add(p->env->ctx->counters, TM_COUNTER_link_sync_unknown, 1);
        }
        tm_partition_answer(p, e.to, &a);
        free(e.bytes);
    }
}

/* ---- the gate ---- */

void tm_partition_open_gate(struct tm_partition *p, uint64_t index)
{
    if (p->gate == index)
        return;
    p->gate = index;
    if (p->pending_count > 0)
        tm_partition_due(p);
}

void tm_partition_shut_gate(struct tm_partition *p, uint64_t index)
{
    p->gate_shut = tm_max_u64(p->gate_shut, tm_min_u64(index, p->settled));
    if (p->pending_count > 0)
        tm_partition_due(p);
}

void tm_partition_hold_gate(struct tm_partition *p)
{
    for (uint32_t i = 0; i < p->pending_count && pending_at(p, i)->index <= p->settled; i++) {
        const struct tm_pending *e = pending_at(p, i);
        struct tm_answer a = {.id = e->id, .status = TM_ANSWER_WAITS};
        if (e->index > p->gate && e->index > p->gate_shut)
            tm_partition_answer(p, e->to, &a);
    }
}

uint64_t tm_partition_gate_count(const struct tm_partition *p)
{
    uint64_t n = 0;
    while (n < p->pending_count &&
           p->pending[(p->pending_head + n) & (p->pending_cap - 1)].index <= p->settled)
        n++;
    return p->gate == UINT64_MAX ? 0 : n;
}

void tm_partition_unsettle(struct tm_partition *p, uint64_t from)
{
    p->settled = tm_min_u64(p->settled, from > 0 ? from - 1 : 0);
    while (p->pending_count > 0 && pending_at(p, p->pending_count - 1)->index >= from) {
        struct tm_pending e = *pending_at(p, p->pending_count - 1);
        p->pending_count--;
        struct tm_answer a = answer_of(p, &e);
        struct tm_partition_read *r = read_new(p, e.to, &a, e.index);
        free(e.bytes);
        if (r == NULL)
            continue; /* no answer: who asked says in time that the outcome is unknown */
        r->term = e.term;
        r->next = p->cut;
        p->cut = r;
    }
}

/* What is committed ends with a record of a later term than r's: terms never go back along a log,
 * so r's record cannot come after it. */
static bool is_passed(const struct tm_partition *p, const struct tm_partition_read *r,
                      uint64_t commit)
{
    uint64_t term;
    return tm_log_term_at(p->log, commit, &term) && term > r->term;
}

void tm_partition_decide(struct tm_partition *p, uint64_t commit)
{
    for (struct tm_partition_read **at = &p->cut; *at != NULL;) {
        struct tm_partition_read *r = *at;
        uint64_t term = 0;
        bool known = r->base.index > commit || tm_log_term_at(p->log, r->base.index, &term);
        if (r->base.index > commit && !is_passed(p, r, commit)) {
            at = &r->next;
            continue;
        }
        *at = r->next;
        known =
            known && (!p->eventual || term == r->term); /* else it was put aside: it comes back */
        if (known && term == r->term && r->base.index > p->gate)
            known = false; /* what else it had to wait for nobody here knows any more */
        if (!known)
            r->answer = unknown(r->answer.id);
        done_push(p, r, !known || term == r->term);
    }
}

/* ---- for a round ---- */

static void read_unlink(struct tm_partition *p, struct tm_partition_read *r)
{
    if (r->prev != NULL)
        r->prev->next = r->next;
    else
        p->reads = r->next;
    if (r->next != NULL)
        r->next->prev = r->prev;
}

void tm_partition_pend_read(struct tm_partition *p, struct tm_place to,
                            const struct tm_answer *answer, uint64_t seen)
{
    struct tm_answer a = *answer;
    a.reply = tm_resp_writer_bytes(&p->env->reply);
    struct tm_partition_read *r = read_new(p, to, &a, seen);
    if (r == NULL) {
        tm_partition_refuse(p, to, answer->id, TM_ERR_NOMEM);
        return;
    }
    r->base.until = tm_ctx_now(p->env->ctx) + TM_MS(TM_REQUEST_PATIENCE_MS);
    enum tm_err e = tm_replica_read(&p->replica, &r->base);
    if (e == TM_ERR_AGAIN) {
        r->next = p->reads;
        if (p->reads != NULL)
            p->reads->prev = r;
        p->reads = r;
        return;
    }
    if (e == TM_OK)
        tm_partition_answer(p, to, &a);
    else
        tm_partition_refuse(p, to, a.id, TM_ERR_NOTLEADER);
    free(r);
}

void tm_partition_read_done(struct tm_partition *p, struct tm_replica_read *read, bool ok)
{
    struct tm_partition_read *r = TM_CONTAINER_OF(read, struct tm_partition_read, base);
    read_unlink(p, r);
    done_push(p, r, ok);
}

/* ---- for copies ---- */

void tm_partition_pend_wait(struct tm_partition *p, struct tm_place to, const struct tm_request *rq)
{
    struct tm_partition_wait *w = malloc(sizeof *w);
    if (w == NULL) {
        tm_partition_refuse(p, to, rq->id, TM_ERR_NOMEM);
        return;
    }
    *w = (struct tm_partition_wait){.next = p->waits,
                                    .to = to,
                                    .id = rq->id,
                                    .index = rq->index,
                                    .term = rq->term,
                                    .copies = rq->copies,
                                    .deadline = rq->timeout_ms == 0 ? UINT64_MAX
                                                                    : tm_ctx_now(p->env->ctx) +
                                                                          TM_MS(rq->timeout_ms)};
    p->waits = w;
    tm_partition_due(p);
}

/* Whether the log leads over that very record.  Of one before its beginning only a later record of
 * the same leader tells. */
static bool holds(const struct tm_partition *p, uint64_t index, uint64_t term)
{
    uint64_t there;
    if (term == 0)
        return true;
    return tm_log_term_at(p->log, tm_max_u64(index, tm_log_first(p->log) - 1), &there) &&
           there == term;
}

static void give_waits(struct tm_partition *p)
{
    bool lost = p->waits_lost;
    p->waits_lost = false;
    uint64_t now = tm_ctx_now(p->env->ctx);
    for (struct tm_partition_wait **at = &p->waits; *at != NULL;) {
        struct tm_partition_wait *w = *at;
        bool here = holds(p, w->index, w->term);
        unsigned copies = here ? tm_replica_copies(&p->replica, w->index) : 0;
        if (!lost && here && copies < w->copies && now < w->deadline) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        if (lost) {
            tm_partition_refuse(p, w->to, w->id, TM_ERR_NOTLEADER);
        } else {
            struct tm_answer a = {.id = w->id,
                                  .status = TM_ANSWER_DONE,
                                  .err = here ? TM_OK : TM_ERR_NOTFOUND,
                                  .copies = copies};
            tm_partition_answer(p, w->to, &a);
        }
        free(w);
    }
}

void tm_partition_give_answers(struct tm_partition *p)
{
    give_pending(p);
    give_done(p);
    give_waits(p);
}

static void free_list(struct tm_partition_read **list)
{
    while (*list != NULL) {
        struct tm_partition_read *r = *list;
        *list = r->next;
        free(r);
    }
}

void tm_partition_drop_answers(struct tm_partition *p)
{
    for (uint32_t i = 0; i < p->pending_count; i++)
        free(pending_at(p, i)->bytes);
    free(p->pending);
    p->pending = NULL;
    p->pending_count = p->pending_cap = 0;
    while (p->reads != NULL) {
        struct tm_partition_read *r = p->reads;
        read_unlink(p, r);
        free(r);
    }
    free_list(&p->done);
    free_list(&p->cut);
    while (p->waits != NULL) {
        struct tm_partition_wait *w = p->waits;
        p->waits = w->next;
        free(w);
    }
    tm_watch_free(&p->watches);
}
