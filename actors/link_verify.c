/* A walk in rounds, as a resynchronisation makes them, whose differences become suspects; then the
 * suspects one by one, each as a round of a single order. */
#include "actors/link_verify.h"

#include "actors/link_states.h"
#include "storage/store_link.h"

#define ANSWER_NS TM_SECONDS(3)
#define FULL_NS   TM_MS(2)
#define AGAIN_NS  TM_MS(500)     /* between two looks at a suspect */
#define GIVE_UP   TM_SECONDS(30) /* the target does not get there */
#define LOOKS_MAX 20

const char *tm_link_difference_name(enum tm_link_difference_kind kind)
{
    static const char *const names[] = {
#define X(name, text) #name,
        TM_LINK_DIFFERENCE_LIST(X)
#undef X
    };
    return names[kind];
}

static uint64_t now_of(const struct tm_link_verify *v)
{
    return tm_ctx_now(v->y.out->link->ctx);
}

static struct tm_store *store_of(const struct tm_link_verify *v)
{
    const struct tm_link_out *out = v->y.out;
    return out->link->ops->store(out->link->host, out);
}

void tm_link_verify_begin(struct tm_link_verify *v, struct tm_link_out *out, uint64_t theirs,
                          uint64_t pace_ns)
{
    v->y.out = out;
    v->theirs = theirs;
    v->y.looks = true;
    v->y.step = TM_LINK_SYNC_WALK;
    v->step = TM_LINK_VERIFY_WALK;
    v->cursor = v->next_walk = v->keys = v->more = 0;
    v->pace_ns = pace_ns;
    v->suspects = 0;
    v->looked = -1;
}

void tm_link_verify_end(struct tm_link_verify *v)
{
    v->y.out = NULL;
}

/* ---- what differs ---- */

/* What the source has of one order. */
struct naming {
    struct tm_link_verify *v;
    enum tm_link_difference_kind kind;
    uint64_t order;
    bool others; /* it has changes that neither end made and the link does not carry */
};

static void see_origin(void *host, enum tm_entity_type type, const struct tm_op *op,
                       struct tm_op_version stamp)
{
    struct naming *n = host;
    const struct tm_link_filter *f = &n->v->y.out->link->filter;
    (void)type;
    (void)op;
    if (stamp.origin != TM_ORIGIN_NONE && stamp.origin != n->v->theirs)
        n->others = n->others || !f->forwards(f->host, stamp.origin);
}

/* Tombstones of what the target has not either do not count. */
static void name_key(void *host, struct tm_bytes key)
{
    struct naming *n = host;
    struct tm_link_verify *v = n->v;
    if (!tm_link_states_ships(v->y.out, key))
        return;
    n->others = false;
    tm_link_state(store_of(v), key, see_origin, n);
    if (n->kind == TM_LINK_DIFFERENCE_ONLY_SOURCE && tm_store_find(store_of(v), key) == NULL)
        return;
    v->found(v->host, v, n->others ? TM_LINK_DIFFERENCE_OTHERS : n->kind, n->order, key);
}

static void name_suspect(struct tm_link_verify *v, const struct tm_link_suspect *s,
                         enum tm_link_difference_kind kind)
{
    struct naming n = {.v = v, .kind = kind, .order = s->order};
    if (s->ours == 0) {
        v->found(v->host, v, TM_LINK_DIFFERENCE_ONLY_TARGET, s->order, tm_bytes_of(NULL, 0));
        return;
    }
    uint64_t end = s->order + 1 < TM_LINK_ORDERS ? s->order + 1 : 0;
    (void)tm_link_keys(store_of(v), s->order, end, UINT32_MAX, name_key, &n);
}

static void suspect(struct tm_link_verify *v, uint64_t order)
{
    const struct tm_link_out *out = v->y.out;
    if (v->suspects == TM_LINK_SUSPECTS_MAX) {
        v->more++;
        return;
    }
    v->suspect[v->suspects++] =
        (struct tm_link_suspect){.order = order,
                                 .index = out->link->ops->commit(out->link->host, out),
                                 .due = now_of(v) + AGAIN_NS,
                                 .since = now_of(v)};
}

static void drop_suspect(struct tm_link_verify *v, unsigned i)
{
    v->suspect[i] = v->suspect[--v->suspects];
}

static uint64_t sum_of(const struct tm_link_key *keys, unsigned count, uint64_t order)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < count; i++)
        if (keys[i].order == order)
            sum += keys[i].hash;
    return sum;
}

static void take_walk(struct tm_link_verify *v)
{
    const struct tm_link_sync *y = &v->y;
    unsigned compared = 0;
    while (compared < y->keys && y->key[compared].order < y->end)
        compared++;
    v->keys += compared;
    tm_counter_add(y->out->link->ctx->counters, TM_COUNTER_link_check_keys, compared);
    for (unsigned i = 0; i < y->sends; i++)
        suspect(v, y->send[i]);
    for (unsigned i = 0; i < y->drops; i++)
        suspect(v, y->drop[i]);
    v->cursor = y->end;
    v->next_walk = now_of(v) + v->pace_ns;
    v->step = v->cursor == TM_LINK_ORDERS ? TM_LINK_VERIFY_LOOK : TM_LINK_VERIFY_WALK;
}

static void take_look(struct tm_link_verify *v)
{
    const struct tm_link_sync *y = &v->y;
    const struct tm_link_out *out = y->out;
    unsigned at = (unsigned)v->looked;
    struct tm_link_suspect *s = &v->suspect[at];
    v->step = TM_LINK_VERIFY_LOOK;
    v->looked = -1;
    if (y->sends == 0 && y->drops == 0) {
        drop_suspect(v, at);
        return;
    }
    uint64_t ours = sum_of(y->key, y->keys, s->order);
    uint64_t theirs = sum_of(y->theirs, y->theirs_count, s->order);
    bool same = s->looks > 0 && s->ours == ours && s->theirs == theirs;
    s->ours = ours;
    s->theirs = theirs;
    s->looks++;
    s->index = out->link->ops->commit(out->link->host, out);
    s->due = now_of(v) + AGAIN_NS;
    if (!same && s->looks < LOOKS_MAX)
        return;
    name_suspect(v, s,
                 !same         ? TM_LINK_DIFFERENCE_UNSETTLED
                 : theirs == 0 ? TM_LINK_DIFFERENCE_ONLY_SOURCE
                               : TM_LINK_DIFFERENCE_DIFFERS);
    drop_suspect(v, at);
}

/* ---- turns ---- */

/* Those that the target does not get to are given up. */
static void give_up(struct tm_link_verify *v)
{
    for (unsigned i = v->suspects; i-- > 0;)
        if (v->suspect[i].index > v->y.out->acked &&
            now_of(v) >= v->suspect[i].since + GIVE_UP + LOOKS_MAX * AGAIN_NS) {
            v->suspect[i].ours = 1; /* by its name, if it has one here */
            name_suspect(v, &v->suspect[i], TM_LINK_DIFFERENCE_UNSETTLED);
            drop_suspect(v, i);
        }
}

/* The suspect that is due, or -1 and when one is. */
static int due_suspect(const struct tm_link_verify *v, uint64_t *wait)
{
    uint64_t now = now_of(v);
    *wait = now + AGAIN_NS;
    for (unsigned i = 0; i < v->suspects; i++) {
        const struct tm_link_suspect *s = &v->suspect[i];
        if (s->due <= now && s->index <= v->y.out->acked)
            return (int)i;
        if (s->due > now)
            *wait = tm_min_u64(*wait, s->due);
    }
    return -1;
}

static enum tm_err ask(struct tm_link_verify *v, uint64_t from, uint64_t to, int looked,
                       uint64_t *wait)
{
    enum tm_err e = tm_link_sync_ask(&v->y, from, to);
    *wait = now_of(v) + FULL_NS;
    if (e == TM_ERR_CLOSED)
        return e;
    if (e == TM_OK) {
        v->step = TM_LINK_VERIFY_ASKED;
        v->looked = looked;
        *wait = now_of(v) + ANSWER_NS;
    }
    return TM_ERR_AGAIN;
}

/* All that is committed here is at the target as far as this end knows: its position may not have
 * moved, where nothing of what came last is shipped. */
static void settle(struct tm_link_verify *v)
{
    const struct tm_link_out *out = v->y.out;
    bool all = out->flight_count == 0 && out->acked >= out->sent.index;
    for (unsigned i = 0; i < v->suspects; i++)
        if (all && v->suspect[i].index <= out->scanned.index)
            v->suspect[i].index = out->acked;
}

enum tm_err tm_link_verify_turn(struct tm_link_verify *v, uint64_t *wait)
{
    uint64_t now = now_of(v);
    if (v->y.out->state != TM_LINK_OUT_STREAM)
        return TM_ERR_CLOSED;
    if (v->step == TM_LINK_VERIFY_ASKED) {
        *wait = v->y.sent_at + ANSWER_NS;
        return now >= *wait ? TM_ERR_CLOSED : TM_ERR_AGAIN;
    }
    if (v->step == TM_LINK_VERIFY_WALK) {
        *wait = v->next_walk;
        return now < v->next_walk ? TM_ERR_AGAIN : ask(v, v->cursor, TM_LINK_ORDERS, -1, wait);
    }
    settle(v);
    give_up(v);
    if (v->suspects == 0)
        return TM_OK;
    int i = due_suspect(v, wait);
    return i < 0 ? TM_ERR_AGAIN : ask(v, v->suspect[i].order, v->suspect[i].order + 1, i, wait);
}

bool tm_link_verify_message(struct tm_link_verify *v, struct tm_bytes body)
{
    if (v->y.out == NULL || v->step != TM_LINK_VERIFY_ASKED || !tm_link_sync_compared(&v->y, body))
        return false;
    if (v->looked >= 0)
        take_look(v);
    else
        take_walk(v);
    return true;
}
