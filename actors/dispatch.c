/* A call is one request under way.  Each partition has a lane: calls sent (to one place), calls
 * that came back from there undone, and calls waiting behind them, all in order.  A lane sends only
 * when everything sent before went to the present leader and nothing came back; once all that was
 * sent is answered, what came back waits again, before the rest, in the order of submission.
 *
 * Overtaken: the one asked refused a call and then took a later one of the same session (it became
 * leader in between).  The earlier must not be evaluated after the later: it ends as refused.
 *
 * Answers run sessions, which submit anew from inside: no loop here holds a call across an answer.
 *
 * Ids on the wire are slot and generation, a new one for each asking, so that a late answer never
 * meets a reused slot or a repeated call.  A call keeps its encoded request from the moment it
 * leaves this worker or waits; one given to a partition of this very worker by its submit keeps
 * nothing, and is repeated only if it is refused within that submit. */
#include "actors/dispatch.h"
#include "actors/command.h"
#include "actors/request_wire.h"

#include <stdlib.h>

#define SLOT_BITS 20
#define NONE      UINT32_MAX
#define RETRY_NS  TM_MS(5)

enum call_state {
    FREE,
    SENT,     /* to the place of its lane */
    RETURNED, /* that place did not lead and did nothing */
    WAITING
};

struct call {
    uint64_t session;
    uint64_t id;       /* the session's */
    uint64_t wire_id;  /* ours: generation << SLOT_BITS | slot, from a generation drawn at start */
    uint64_t order;    /* of submission */
    uint64_t deadline; /* ctx time */
    uint8_t *bytes;    /* encoded, or NULL */
    uint32_t size;
    uint32_t partition;
    uint32_t next, prev; /* in the lane's list, or the free list */
    enum call_state state;
    bool writes;
    bool overtaken; /* a later call of its session to this partition was acted upon */
};

struct list {
    uint32_t head, tail;
};

struct lane {
    struct list lists[WAITING + 1]; /* by state */
    struct tm_place place;          /* of what is sent */
    uint64_t handover; /* when what is sent to a former leader is given up; 0: not changing */
    uint64_t retry;    /* not to be sent before: the place asked did not lead, nobody else does */
    bool listed;       /* among the active lanes */
    bool losing;       /* what was sent is being given up: nothing is sent meanwhile */
};

struct tm_dispatch {
    struct tm_dispatch_config config;
    struct call *calls;
    struct lane *lanes;
    uint32_t *active; /* lanes that hold calls, in any order */
    uint32_t active_count;
    uint32_t free_head;
    uint32_t fresh; /* calls from here on were never used: their memory is not touched */
    uint32_t count;
    uint64_t bytes;
    uint64_t order; /* of the newest call */
    uint64_t first; /* generation, shifted: what is answered late to the process before this one
                       must not look like an answer to a call of this one */
    uint64_t next_tick;
    uint64_t next_look; /* for deadlines */
    struct tm_request_words words;
    const struct tm_request *in_hand; /* of the submit under way, to this worker's partition */
    uint64_t in_hand_id;              /* and its call's id on the wire */
    bool refused;                     /* a submit was answered FULL since the last tick */
};

static uint64_t now(const struct tm_dispatch *d)
{
    return tm_ctx_now(d->config.ctx);
}

struct tm_dispatch *tm_dispatch_new(const struct tm_dispatch_config *config)
{
    TM_ASSERT(config->calls >= 1 && config->calls <= 1u << SLOT_BITS);
    struct tm_dispatch *d = calloc(1, sizeof *d);
    if (d == NULL)
        return NULL;
    d->config = *config;
    d->calls = calloc(config->calls, sizeof *d->calls);
    d->lanes = calloc(config->partitions, sizeof *d->lanes);
    d->active = calloc(config->partitions, sizeof *d->active);
    if (d->calls == NULL || d->lanes == NULL || d->active == NULL) {
        tm_dispatch_free(d);
        return NULL;
    }
    d->free_head = NONE;
    d->first = tm_ctx_random(config->ctx) << SLOT_BITS;
    for (uint32_t p = 0; p < config->partitions; p++)
        for (unsigned state = FREE; state <= WAITING; state++)
            d->lanes[p].lists[state] = (struct list){NONE, NONE};
    return d;
}

void tm_dispatch_free(struct tm_dispatch *d)
{
    if (d == NULL)
        return;
    for (uint32_t i = 0; i < d->fresh; i++)
        free(d->calls[i].bytes);
    tm_request_words_free(&d->words);
    free(d->calls);
    free(d->lanes);
    free(d->active);
    free(d);
}

/* ---- lists ---- */

static void push(struct tm_dispatch *d, struct list *l, uint32_t slot)
{
    struct call *c = &d->calls[slot];
    c->next = NONE;
    c->prev = l->tail;
    if (l->tail == NONE)
        l->head = slot;
    else
        d->calls[l->tail].next = slot;
    l->tail = slot;
}

/* Refusals come in any order: an earlier call may have waited for a record that was then cut. */
static void insert(struct tm_dispatch *d, struct list *l, uint32_t slot)
{
    struct call *c = &d->calls[slot];
    uint32_t before = l->tail;
    while (before != NONE && d->calls[before].order > c->order)
        before = d->calls[before].prev;
    uint32_t after = before == NONE ? l->head : d->calls[before].next;
    c->prev = before;
    c->next = after;
    *(before == NONE ? &l->head : &d->calls[before].next) = slot;
    *(after == NONE ? &l->tail : &d->calls[after].prev) = slot;
}

static void take(struct tm_dispatch *d, struct list *l, uint32_t slot)
{
    const struct call *c = &d->calls[slot];
    if (c->prev == NONE)
        l->head = c->next;
    else
        d->calls[c->prev].next = c->next;
    if (c->next == NONE)
        l->tail = c->prev;
    else
        d->calls[c->next].prev = c->prev;
}

static uint32_t slot_of(const struct call *c)
{
    return (uint32_t)(c->wire_id & ((1u << SLOT_BITS) - 1));
}

/* The only way a call changes its state: out of one list of its lane, to its place in another. */
static void move(struct tm_dispatch *d, struct call *c, enum call_state to)
{
    struct lane *lane = &d->lanes[c->partition];
    TM_ASSERT((c->state == FREE && to != RETURNED) || (c->state == WAITING && to == SENT) ||
              c->state == SENT || to == FREE);
    if (c->state != FREE)
        take(d, &lane->lists[c->state], slot_of(c));
    c->state = to;
    if (to == RETURNED)
        insert(d, &lane->lists[to], slot_of(c));
    else if (to != FREE)
        push(d, &lane->lists[to], slot_of(c));
}

static bool empty(const struct lane *lane, enum call_state state)
{
    return lane->lists[state].head == NONE;
}

/* What came back waits again, in order, before all that waits. */
static void returned_wait(struct tm_dispatch *d, struct lane *lane)
{
    struct list *from = &lane->lists[RETURNED], *to = &lane->lists[WAITING];
    if (from->head == NONE)
        return;
    for (uint32_t slot = from->head; slot != NONE; slot = d->calls[slot].next)
        d->calls[slot].state = WAITING;
    d->calls[from->tail].next = to->head;
    if (to->head == NONE)
        to->tail = from->tail;
    else
        d->calls[to->head].prev = from->tail;
    to->head = from->head;
    *from = (struct list){NONE, NONE};
}

/* ---- calls ---- */

static bool request_writes(const struct tm_request *rq)
{
    if (rq->kind != TM_REQUEST_EXEC && rq->kind != TM_REQUEST_MULTI)
        return false;
    for (unsigned i = 0; i < rq->count; i++) {
        const struct tm_command *c = tm_command_find(rq->commands[i].argv[0]);
        if (c == NULL || (c->flags & TM_CMD_READONLY) == 0)
            return true;
    }
    return false;
}

/* A WAIT has its own time beside ours; without a timeout it waits as long as its leader lives. */
static uint64_t deadline_of(const struct tm_dispatch *d, const struct tm_request *rq)
{
    uint64_t patience = now(d) + TM_MS(d->config.patience_ms);
    if (rq->kind != TM_REQUEST_WAIT)
        return patience;
    if (rq->timeout_ms == 0 || rq->timeout_ms > (UINT64_MAX - patience) / TM_MS(1))
        return UINT64_MAX;
    return patience + TM_MS(rq->timeout_ms);
}

static bool calls_left(const struct tm_dispatch *d)
{
    return d->free_head != NONE || d->fresh < d->config.calls;
}

static struct call *call_take(struct tm_dispatch *d)
{
    struct call *c = &d->calls[d->free_head != NONE ? d->free_head : d->fresh];
    if (d->free_head != NONE)
        d->free_head = c->next;
    else
        c->wire_id = d->first | d->fresh++;
    return c;
}

static struct call *call_new(struct tm_dispatch *d, uint64_t session, const struct tm_request *rq)
{
    struct call *c = call_take(d);
    d->count++;
    c->session = session;
    c->id = rq->id;
    c->partition = rq->partition;
    c->order = ++d->order;
    c->deadline = deadline_of(d, rq);
    c->writes = request_writes(rq);
    c->overtaken = false;
    struct lane *lane = &d->lanes[rq->partition];
    if (!lane->listed) {
        lane->listed = true;
        d->active[d->active_count++] = rq->partition;
    }
    return c;
}

/* c was acted upon, or may have been: earlier calls of its session that were not, must not be. */
static void overtake(struct tm_dispatch *d, const struct call *c)
{
    const struct lane *lane = &d->lanes[c->partition];
    for (enum call_state state = SENT; state <= RETURNED; state++)
        for (uint32_t slot = lane->lists[state].head;
             slot != NONE && d->calls[slot].order < c->order; slot = d->calls[slot].next)
            if (d->calls[slot].session == c->session)
                d->calls[slot].overtaken = true;
}

/* Ends a call with an answer; frees it first, for the answer may submit anew. */
static void call_end(struct tm_dispatch *d, struct call *c, struct tm_answer a)
{
    uint64_t session = c->session;
    a.id = c->id;
    if (a.status != TM_ANSWER_REFUSED)
        overtake(d, c);
    move(d, c, FREE);
    d->bytes -= c->size;
    free(c->bytes);
    c->bytes = NULL;
    c->size = 0;
    c->next = d->free_head;
    d->free_head = slot_of(c);
    c->wire_id += 1ULL << SLOT_BITS;
    d->count--;
    d->config.ops.answer(d->config.ops.host, session, &a);
}

static void call_fail(struct tm_dispatch *d, struct call *c, enum tm_answer_status status,
                      enum tm_err err)
{
    call_end(d, c, (struct tm_answer){.status = status, .err = err});
}

static bool call_encode(struct tm_dispatch *d, struct call *c, const struct tm_request *rq,
                        size_t size)
{
    c->bytes = malloc(size);
    if (c->bytes == NULL)
        return false;
    c->size = (uint32_t)size;
    d->bytes += size;
    struct tm_request ours = *rq;
    ours.id = c->wire_id;
    tm_request_encode(&ours, c->bytes);
    return true;
}

/* It will be asked again, under another id: an answer to the first asking that comes after all says
 * nothing of the next. */
static void call_return(struct tm_dispatch *d, struct call *c)
{
    move(d, c, RETURNED);
    c->wire_id += 1ULL << SLOT_BITS;
    tm_request_renumber(c->bytes, c->wire_id);
}

static bool same_place(struct tm_place a, struct tm_place b)
{
    return a.node == b.node && a.worker == b.worker;
}

/* Hands an encoded call to this worker's own partition.  The words are out of d meanwhile: an
 * answer given in there may bring us here again. */
static void deliver_here(struct tm_dispatch *d, struct call *c)
{
    struct tm_request rq;
    struct tm_request_words words = d->words;
    uint8_t *bytes = c->bytes;
    d->words = (struct tm_request_words){0};
    enum tm_err e = tm_request_decode(tm_bytes_of(bytes, c->size), &words, &rq);
    TM_ASSERT(e == TM_OK || e == TM_ERR_NOMEM); /* we encoded it */
    if (e == TM_OK)
        d->config.ops.local(d->config.ops.host, &rq);
    else
        call_fail(d, c, TM_ANSWER_REFUSED, e);
    tm_request_words_free(&d->words);
    d->words = words;
}

/* ---- lanes ---- */

static struct tm_place leader(const struct tm_dispatch *d, uint32_t partition)
{
    return d->config.ops.leader(d->config.ops.host, partition);
}

/* May a call be sent to `to` now, without overtaking any other? */
static bool lane_open(const struct tm_dispatch *d, const struct lane *lane, struct tm_place to)
{
    return to.node < TM_NODES_MAX && !lane->losing && lane->handover == 0 &&
           lane->retry <= now(d) && empty(lane, RETURNED) &&
           (empty(lane, SENT) || same_place(to, lane->place));
}

/* Sends the first waiting call; false if the way is full. */
static bool send_first(struct tm_dispatch *d, struct lane *lane, struct tm_place to)
{
    struct call *c = &d->calls[lane->lists[WAITING].head];
    bool here = same_place(to, d->config.self);
    if (!here &&
        d->config.ops.remote(d->config.ops.host, to, tm_bytes_of(c->bytes, c->size)) != TM_OK)
        return false;
    lane->place = to;
    move(d, c, SENT);
    if (here)
        deliver_here(d, c);
    return true;
}

/* Sends what waits, as far as there is a leader and a way.  The budget ends it should answers
 * submit anew without end. */
static void lane_run(struct tm_dispatch *d, uint32_t partition)
{
    struct lane *lane = &d->lanes[partition];
    for (uint32_t budget = d->count; budget > 0 && !empty(lane, WAITING); budget--) {
        struct tm_place to = leader(d, partition);
        if (!lane_open(d, lane, to) || !send_first(d, lane, to))
            return;
    }
}

/* The answers may submit anew; what returned closes the lane meanwhile, or nothing is left. */
static void end_overtaken(struct tm_dispatch *d, struct lane *lane)
{
    for (uint32_t slot = lane->lists[RETURNED].head; slot != NONE;) {
        struct call *c = &d->calls[slot];
        slot = c->next;
        if (!c->overtaken)
            continue;
        call_fail(d, c, TM_ANSWER_REFUSED, TM_ERR_NOTLEADER);
        slot = lane->lists[RETURNED].head;
    }
}

/* Something that was sent is answered: once all is, what came back may go to the next leader. */
static void lane_settle(struct tm_dispatch *d, uint32_t partition)
{
    struct lane *lane = &d->lanes[partition];
    if (!empty(lane, SENT))
        return;
    lane->handover = 0;
    end_overtaken(d, lane);
    if (!empty(lane, SENT))
        return;
    if (!empty(lane, RETURNED)) {
        returned_wait(d, lane);
        if (same_place(leader(d, partition), lane->place))
            lane->retry = now(d) + RETRY_NS;
    }
    lane_run(d, partition);
}

/* What was sent, up to the call numbered `until`, to a place that will not answer: reads wait
 * again, writes end as unknown. */
static void lane_lost(struct tm_dispatch *d, uint32_t partition, uint64_t until)
{
    struct lane *lane = &d->lanes[partition];
    lane->losing = true;
    while (!empty(lane, SENT) && d->calls[lane->lists[SENT].head].order <= until) {
        struct call *c = &d->calls[lane->lists[SENT].head];
        if (c->writes)
            call_fail(d, c, TM_ANSWER_UNKNOWN, TM_ERR_TIMEOUT);
        else if (c->bytes != NULL)
            call_return(d, c);
        else
            call_fail(d, c, TM_ANSWER_REFUSED, TM_ERR_NOTLEADER);
    }
    lane->losing = false;
    lane_settle(d, partition);
}

/* ---- entry points ---- */

static enum tm_err submit_here(struct tm_dispatch *d, uint64_t session, const struct tm_request *rq)
{
    struct call *c = call_new(d, session, rq);
    struct tm_request ours = *rq;
    ours.id = c->wire_id;
    d->lanes[rq->partition].place = d->config.self;
    move(d, c, SENT);
    const struct tm_request *outer = d->in_hand;
    uint64_t outer_id = d->in_hand_id;
    d->in_hand = rq;
    d->in_hand_id = ours.id;
    d->config.ops.local(d->config.ops.host, &ours);
    d->in_hand = outer;
    d->in_hand_id = outer_id;
    return TM_OK;
}

/* An UNWATCH is not answered, so it is no call: it goes to the leader at once, or not at all.  The
 * token it would have dropped means nothing to the next leader, and gives way in time here. */
static void unwatch(struct tm_dispatch *d, const struct tm_request *rq)
{
    struct tm_place to = leader(d, rq->partition);
    size_t size = tm_request_size(rq);
    if (same_place(to, d->config.self)) {
        d->config.ops.local(d->config.ops.host, rq);
        return;
    }
    uint8_t *bytes = to.node < TM_NODES_MAX && size > 0 ? malloc(size) : NULL;
    if (bytes == NULL)
        return;
    tm_request_encode(rq, bytes);
    d->config.ops.remote(d->config.ops.host, to, tm_bytes_of(bytes, size));
    free(bytes);
}

static enum tm_err full(struct tm_dispatch *d)
{
    d->refused = true;
    return TM_ERR_FULL;
}

enum tm_err tm_dispatch_submit(struct tm_dispatch *d, uint64_t session, const struct tm_request *rq)
{
    TM_ASSERT(rq->partition < d->config.partitions);
    if (rq->kind == TM_REQUEST_UNWATCH) {
        unwatch(d, rq);
        return TM_OK;
    }
    struct lane *lane = &d->lanes[rq->partition];
    struct tm_place to = leader(d, rq->partition);
    if (!calls_left(d))
        return full(d);
    if (same_place(to, d->config.self) && empty(lane, WAITING) && lane_open(d, lane, to))
        return submit_here(d, session, rq);
    size_t size = tm_request_size(rq);
    if (size == 0 || size > d->config.bytes)
        return TM_ERR_TOOBIG;
    if (d->bytes + size > d->config.bytes)
        return full(d);
    bool first = empty(lane, WAITING); /* else others would be answered in here */
    struct call *c = call_new(d, session, rq);
    move(d, c, WAITING);
    if (!call_encode(d, c, rq, size))
        call_fail(d, c, TM_ANSWER_REFUSED, TM_ERR_NOMEM);
    else if (first)
        lane_run(d, rq->partition);
    return TM_OK;
}

/* May the call be sent again?  Its request was not acted upon, for a reason that passes, and is
 * there: kept, or still in the hand of a submit. */
static bool may_return(struct tm_dispatch *d, struct call *c, const struct tm_answer *a)
{
    if (a->status != TM_ANSWER_REFUSED || c->overtaken ||
        (a->err != TM_ERR_NOTLEADER && a->err != TM_ERR_AGAIN && a->err != TM_ERR_FULL))
        return false;
    if (c->bytes != NULL)
        return true;
    if (d->in_hand == NULL || d->in_hand_id != c->wire_id)
        return false;
    size_t size = tm_request_size(d->in_hand);
    return size != 0 && d->bytes + size <= d->config.bytes && call_encode(d, c, d->in_hand, size);
}

void tm_dispatch_answer(struct tm_dispatch *d, struct tm_place from, const struct tm_answer *a)
{
    uint64_t slot = a->id & ((1u << SLOT_BITS) - 1);
    if (slot >= d->config.calls || d->calls[slot].wire_id != a->id || d->calls[slot].state != SENT)
        return;
    struct call *c = &d->calls[slot];
    uint32_t partition = c->partition;
    if (!same_place(from, d->lanes[partition].place))
        return;
    if (a->status == TM_ANSWER_WAITS) {
        c->deadline = now(d) + TM_MS(d->config.patience_ms);
        return;
    }
    if (may_return(d, c, a))
        call_return(d, c);
    else
        call_end(d, c, *a);
    lane_settle(d, partition);
}

void tm_dispatch_leader_changed(struct tm_dispatch *d, uint32_t partition)
{
    struct lane *lane = &d->lanes[partition];
    lane->retry = 0;
    struct tm_place to = leader(d, partition);
    bool elsewhere = !empty(lane, SENT) && to.node < TM_NODES_MAX && !same_place(to, lane->place);
    if (!elsewhere)
        lane->handover = 0;
    else if (lane->handover == 0)
        lane->handover = now(d) + TM_MS(d->config.handover_ms);
    lane_run(d, partition);
}

void tm_dispatch_leaders_changed(struct tm_dispatch *d)
{
    for (uint32_t i = 0; i < d->active_count; i++)
        tm_dispatch_leader_changed(d, d->active[i]);
}

void tm_dispatch_node_lost(struct tm_dispatch *d, unsigned node)
{
    uint64_t until = d->order; /* what the answers bring is sent to the node as it is now */
    for (uint32_t i = 0; i < d->active_count; i++) {
        uint32_t partition = d->active[i];
        struct lane *lane = &d->lanes[partition];
        if (!empty(lane, SENT) && lane->place.node == node)
            lane_lost(d, partition, until);
    }
}

/* The first call in this state that is over its deadline; NULL: none is. */
static struct call *overdue(struct tm_dispatch *d, const struct lane *lane, enum call_state state)
{
    for (uint32_t slot = lane->lists[state].head; slot != NONE; slot = d->calls[slot].next)
        if (d->calls[slot].deadline <= now(d))
            return &d->calls[slot];
    return NULL;
}

/* Ends what is over its deadline.  Lists are in order of submission, and deadlines nearly so (only
 * a WAIT's own timeout puts a later one before an earlier): what is overdue stands in front. */
static void lane_expire(struct tm_dispatch *d, struct lane *lane)
{
    struct call *c;
    for (enum call_state state = SENT; state <= WAITING; state++) {
        while ((c = overdue(d, lane, state)) != NULL) {
            bool unknown = state == SENT && c->writes;
            call_fail(d, c, unknown ? TM_ANSWER_UNKNOWN : TM_ANSWER_REFUSED,
                      unknown ? TM_ERR_TIMEOUT : TM_ERR_NOTLEADER);
        }
    }
}

static void lane_tick(struct tm_dispatch *d, uint32_t partition, bool look)
{
    struct lane *lane = &d->lanes[partition];
    if (lane->handover != 0 && lane->handover <= now(d))
        lane_lost(d, partition, d->order);
    if (look)
        lane_expire(d, lane);
    lane_settle(d, partition);
    lane_run(d, partition);
}

bool tm_dispatch_tick(struct tm_dispatch *d)
{
    bool look = now(d) >= d->next_look;
    d->next_tick = now(d) + RETRY_NS;
    if (look)
        d->next_look = now(d) + TM_MS(50);
    for (uint32_t i = 0; i < d->active_count;) {
        uint32_t partition = d->active[i];
        struct lane *lane = &d->lanes[partition];
        lane_tick(d, partition, look);
        if (empty(lane, SENT) && empty(lane, RETURNED) && empty(lane, WAITING)) {
            lane->listed = false;
            lane->retry = 0;
            d->active[i] = d->active[--d->active_count];
        } else {
            i++;
        }
    }
    bool room = d->refused && calls_left(d) && d->bytes < d->config.bytes / 2;
    if (room)
        d->refused = false;
    return room;
}

uint64_t tm_dispatch_next_deadline(const struct tm_dispatch *d)
{
    return d->count > 0 || d->refused ? d->next_tick : UINT64_MAX;
}

uint32_t tm_dispatch_count(const struct tm_dispatch *d)
{
    return d->count;
}
