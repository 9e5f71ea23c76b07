/* The target's side of a resynchronisation (link_sync_wire.h): says where it differs from the
 * source, and takes the states that come.  What it has that the source does not name goes, if it
 * was the source's own.
 *
 * Where an operator has adopted a source that was restored, the source's state counts: what this
 * cluster has of it that is later, or that the source has lost, goes as well. */
#include "actors/link_in_internal.h"

#include "actors/incarnation.h"
#include "actors/router.h"
#include "storage/store_link.h"

/* What this cluster has in a range of orders. */
struct look {
    struct tm_link_in *in;
    const struct tm_link_from *from;
    const struct tm_link_in_stream *s;
    struct tm_store *store;
    unsigned keys;
    uint64_t past;
    uint64_t end; /* before the first that there was no room for */
};

/* Whether the stream is what brings the key. */
static bool comes_by(const struct tm_link_from *from, const struct tm_link_in_stream *s,
                     struct tm_bytes key)
{
    return tm_partition_of_slot(tm_slot_of_key(key), s->id.sources) == s->source &&
           from->ships(from->host, tm_link_type_of(key));
}

static void look_at(void *host, struct tm_bytes key)
{
    struct look *l = host;
    uint64_t order = tm_link_order(key);
    if (order >= l->end || !comes_by(l->from, l->s, key))
        return;
    if (l->keys == TM_LINK_KEYS) {
        l->end = order;
        return;
    }
    uint64_t hash = tm_link_hash(l->store, key, tm_ctx_wall_ms(l->in->c.ctx), l->past);
    if (hash != 0)
        l->in->key[l->keys++] = (struct tm_link_key){order, hash};
}

/* Keeps the keys in ranges whose sum differs, or that were not looked at to their end. */
static void sift(struct tm_link_in *in, struct look *l, struct tm_link_differs *d, uint32_t ranges)
{
    unsigned at = 0;
    for (uint32_t i = 0; i < ranges; i++) {
        unsigned begin = at;
        uint64_t sum = 0;
        for (; at < l->keys && in->key[at].order < in->range[i].end; at++)
            sum += in->key[at].hash;
        if (sum == in->range[i].sum && in->range[i].end <= l->end)
            continue;
        d->map[i / 64] |= UINT64_C(1) << i % 64;
        memmove(&in->key[d->keys], &in->key[begin], (at - begin) * sizeof *in->key);
        d->keys += at - begin;
    }
}

void tm_link_in_on_ranges(struct tm_link_in *in, const struct tm_link_from *from,
                          struct tm_link_in_stream *s, const struct tm_link_ranges *r)
{
    uint64_t to = in->range[r->count - 1].end, at = r->from;
    struct look l = {.in = in,
                     .from = from,
                     .s = s,
                     .store = in->c.ops->store(in->c.host, s->target),
                     .past = r->past,
                     .end = to};
    at = tm_link_keys(l.store, at, to == TM_LINK_ORDERS ? 0 : to, TM_LINK_KEYS, look_at, &l);
    if (at != 0 && at < l.end)
        l.end = at;
    while (l.keys > 0 && in->key[l.keys - 1].order >= l.end)
        l.keys--;
    struct tm_link_differs d = {.stream = s->id, .end = l.end, .round = r->round};
    sift(in, &l, &d, r->count);
    tm_link_in_answer(in, s, TM_MESSAGE_LINK_DIFFERS, &d, sizeof d,
                      tm_bytes_of(in->key, d.keys * sizeof *in->key));
}

/* Keys to be evicted, one behind the other as for a flush; and the states that come. */
struct restate {
    struct tm_link_in_apply a; /* what it merges is `raw`, without a position of a batch */
    const struct tm_link_state_head *head;
    struct tm_link_in_stream *s;
    struct tm_store *store;
    unsigned used;
    bool adopts; /* what the source wrote in another incarnation is as good as gone */
    bool theirs; /* of the key being looked at: all of it is the source's own, and old enough */
    uint64_t restated; /* of the last key in it, plus 1 */
};

static void look_whose(void *host, enum tm_entity_type type, const struct tm_op *op,
                       struct tm_op_version stamp)
{
    struct restate *r = host;
    uint64_t origin = r->head->stream.incarnation;
    uint64_t bits = r->adopts ? TM_INCARNATION_SAME : UINT64_MAX;
    r->theirs = r->theirs && ((stamp.origin ^ origin) & bits) == 0 &&
                (stamp.hlc <= r->head->hlc || stamp.origin != origin) &&
                tm_link_is_of(type, op, origin, bits);
}

static void gather_drop(void *host, struct tm_bytes key)
{
    struct restate *r = host;
    struct tm_link_in *in = r->a.in;
    if (!comes_by(r->a.from, r->s, key) || r->used + 2 + key.len > TM_LINK_IN_KEY_BYTES)
        return;
    r->theirs = true;
    tm_link_state(r->store, key, look_whose, r);
    if (!r->theirs && r->head->replaces == 0)
        return;
    tm_store16(in->keys + r->used, (uint16_t)key.len);
    memcpy(in->keys + r->used + 2, key.data, key.len);
    r->used += 2 + (unsigned)key.len;
}

static void drop_gathered(struct tm_store *store, void *arg)
{
    struct restate *r = arg;
    for (unsigned at = 0; at < r->used;) {
        size_t len = tm_load16(r->a.in->keys + at);
        struct tm_bytes key = tm_bytes_of(r->a.in->keys + at + 2, len);
        if (r->head->replaces != 0)
            tm_link_cut_old(store, key, r->head->hlc);
        else
            tm_link_evict(store, key);
        at += 2 + (unsigned)len;
    }
}

/* Keys that come go before, if all of them is the source's; but not one that only goes on here
 * from the message before. */
static void evict_before(struct tm_store *store, struct restate *r)
{
    struct tm_bytes rest = r->a.raw;
    struct tm_change change;
    uint64_t last = r->head->round == r->s->round + 1 ? r->s->restated : 0;
    while (tm_change_next(&rest, &change)) {
        uint64_t order = tm_link_order(change.key) + 1;
        if (order == last)
            continue;
        last = order;
        r->theirs = true;
        tm_link_state(store, change.key, look_whose, r);
        if (r->theirs)
            tm_link_evict(store, change.key);
    }
    r->restated = last;
}

static void fill_state(struct tm_store *store, void *arg)
{
    struct restate *r = arg;
    if (r->head->replaces != 0)
        drop_gathered(store, r);
    r->a.ends = false;
    if (r->adopts)
        evict_before(store, r);
    tm_link_in_fill(store, &r->a);
    tm_store_stamp(store, 0, 0);
    if (r->a.told) {
        tm_link_in_lacks_told(store, r->a.from, r->s->source, r->a.in->drop, r->head->drops);
        return;
    }
    if (r->head->replaces == 0)
        drop_gathered(store, r);
    if (r->head->last == 0)
        return;
    struct tm_link_batch batch = {.stream = r->head->stream, .to = r->head->to};
    r->a.batch = &batch;
    tm_link_in_put_position(store, &r->a);
    tm_link_in_unstage_all(store, r->a.from, r->s->source);
}

void tm_link_in_say_stated(struct tm_link_in *in, const struct tm_link_in_stream *s)
{
    struct tm_link_stated m = {.stream = s->id, .round = s->round};
    tm_link_in_answer(in, s, TM_MESSAGE_LINK_STATED, &m, sizeof m, tm_bytes_of(NULL, 0));
}

/* One record; *last: the newest that there was something for. */
static enum tm_err write(struct tm_link_in *in, const struct restate *r,
                         void (*fill)(struct tm_store *store, void *arg), void *arg, uint64_t *last)
{
    uint64_t record, hlc = tm_max_u64(r->a.seen.newest, r->a.from->rewind);
    enum tm_err e = in->c.ops->write(in->c.host, r->s->target, hlc, fill, arg, &record);
    if (e == TM_OK && record != 0)
        *last = record;
    return e;
}

/* What was gathered goes at once. */
static enum tm_err write_drops(struct tm_link_in *in, struct restate *r, uint64_t *last)
{
    enum tm_err e = write(in, r, drop_gathered, r, last);
    if (e == TM_OK)
        r->used = 0;
    return e;
}

/* Finds the keys that are to go; where there is not room for all of them, some go at once. */
static enum tm_err gather_drops(struct tm_link_in *in, struct restate *r, uint64_t *last)
{
    enum tm_err e = TM_OK;
    for (uint32_t i = 0; i < r->head->drops && e == TM_OK; i++) {
        uint64_t end = in->drop[i] + 1 < TM_LINK_ORDERS ? in->drop[i] + 1 : 0;
        if (r->used > TM_LINK_IN_KEY_BYTES / 2)
            e = write_drops(in, r, last);
        (void)tm_link_keys(r->store, in->drop[i], end, UINT32_MAX, gather_drop, r);
    }
    return e;
}

/* Whether the source may have all that is older go: only where an operator has had this cluster
 * forget the stream, and both ends go by one filter.  False: it was refused. */
static bool may_replace(struct tm_link_in *in, const struct tm_link_from *from,
                        struct tm_link_in_stream *s, const struct tm_link_position *at,
                        const struct tm_link_state_head *head)
{
    if (head->replaces == 0)
        return true;
    if (at->incarnation != 0 || from->rewind == 0)
        tm_link_in_refuse(in, s, TM_LINK_REFUSAL_MALFORMED, "it was not rewound");
    else if (!tm_link_same_filter(head->to.rules, from->filter))
        tm_link_in_refuse(in, s, TM_LINK_REFUSAL_BUSY, "another filter");
    else
        return true;
    return false;
}

/* The record would be too large: what goes and each change get records of their own, and a change
 * that does not fit alone goes to the dead letters; then the rest, as if it had been done. */
static enum tm_err take_in_parts(struct tm_link_in *in, struct restate *r, uint64_t stands,
                                 uint64_t *last)
{
    unsigned total = r->a.count;
    struct tm_link_batch batch = {.stream = r->head->stream, .to.index = stands};
    enum tm_err e = TM_OK;
    r->a.batch = &batch;
    r->a.ends = false;
    if (r->head->replaces != 0)
        e = write_drops(in, r, last);
    for (unsigned i = 0; i < total && e == TM_OK; i++) {
        r->a.first = i;
        r->a.count = 1;
        e = write(in, r, tm_link_in_fill, &r->a, last);
        if (e != TM_ERR_TOOBIG)
            continue;
        tm_link_in_bury(in, r->s, &r->a, e);
        e = TM_OK;
    }
    r->a.first = r->a.count = 0;
    return e != TM_OK ? e : write(in, r, fill_state, r, last);
}

void tm_link_in_on_state(struct tm_link_in *in, const struct tm_link_from *from,
                         struct tm_link_in_stream *s, const struct tm_link_position *at,
                         const struct tm_link_state_head *head, struct tm_bytes packed)
{
    struct tm_link_batch batch = {
        .raw_hash = head->raw_hash, .raw_len = head->raw_len, .packed_len = head->packed_len};
    struct restate r = {
        .a = {.in = in, .from = from, .target = s->target, .told = head->round == 0},
        .head = head,
        .s = s,
        .adopts = at->rules == TM_LINK_ADOPTS && head->round != 0,
        .store = in->c.ops->store(in->c.host, s->target)};
    uint64_t record = 0;
    enum tm_err e = TM_OK;
    if (!r.a.told && !tm_link_in_follows(at, &head->stands)) {
        tm_link_in_tell_position(in, from, s, at);
        return;
    }
    if (tm_link_unpack(&batch, packed, in->c.raw, &r.a.raw) != TM_OK) {
        tm_link_in_refuse(in, s, TM_LINK_REFUSAL_MALFORMED, "round=%u", head->round);
        return;
    }
    if (in->c.ops->out_of_memory(in->c.host) && r.a.raw.len > 0) {
        tm_link_in_refuse(in, s, TM_LINK_REFUSAL_MEMORY, "%s", from->source);
        return;
    }
    if (!tm_link_in_may_enter(in, from, s, r.a.raw, &r.a.seen) ||
        !tm_link_in_clock_is_well(in, from, s, r.a.seen.newest))
        return;
    if (!may_replace(in, from, s, at, head))
        return;
    r.a.count = r.a.seen.changes;
    r.a.past = head->replaces == 0 ? tm_link_in_bar(r.store, from) : 0;
    /* By another filter what the source does not name may only not be shipped any more. */
    if (!r.a.told && tm_link_same_filter(head->to.rules, from->filter))
        e = gather_drops(in, &r, &record);
    if (e == TM_OK)
        e = write(in, &r, fill_state, &r, &record);
    if (e == TM_ERR_TOOBIG && r.a.count > 0)
        e = take_in_parts(in, &r, at->index, &record);
    if (e != TM_OK) {
        tm_link_in_refuse_err(in, s, e);
        return;
    }
    tm_counter_add(in->c.ctx->counters, TM_COUNTER_link_changes_taken, r.a.won);
    tm_counter_add(in->c.ctx->counters, TM_COUNTER_link_changes_lost, r.a.lost);
    if (r.a.told) {
        s->ask_at = 0; /* for the next */
        return;
    }
    s->round = head->round;
    s->restated = r.restated;
    s->stated = record;
    if (head->last != 0) {
        s->refused = TM_LINK_REFUSAL_NONE;
        tm_link_in_forget_staged(s);
    }
    if (record == 0)
        tm_link_in_say_stated(in, s); /* it was all here */
    else
        tm_link_in_be_busy(in, s);
}
