/* A key's state is some operations (tm_link_state), written as a change of a batch is.  A large key
 * goes on where the message before it ended: its operations come in the same order as long as it
 * does not change, and where it does, what was left out comes with the stream, which goes on. */
#include "actors/link_states.h"

#include "actors/link_batch.h"
#include "actors/router.h"
#include "runtime/hash.h"
#include "storage/store_link.h"
#include "storage/versions.h"

bool tm_link_states_ships(const struct tm_link_out *out, struct tm_bytes key)
{
    const struct tm_link_filter *f = &out->link->filter;
    return tm_partition_of_slot(tm_slot_of_key(key), out->link->targets) == out->target &&
           f->ships(f->host, tm_link_type_of(key));
}

/* ---- writing ---- */

/* A state being written behind others. */
struct writing {
    struct tm_link_states *s;
    const struct tm_link_out *out;
    uint32_t used;
    unsigned op;  /* of the key under way */
    bool full;    /* op did not fit */
    bool changes; /* the key has a change that is not finished */
    uint32_t at;  /* where it begins */
    enum tm_entity_type type;
    struct tm_bytes key;
    struct tm_op_version stamp;
};

static void put(struct writing *w, const void *bytes, size_t len)
{
    if (len > 0)
        memcpy(w->out->link->raw + w->used, bytes, len);
    w->used += (uint32_t)len;
}

static void put_op(struct writing *w, const struct tm_op *op)
{
    uint8_t head[TM_OP_HEAD];
    tm_op_head(head, op);
    put(w, head, sizeof head);
    put(w, op->name.data, op->name.len);
    put(w, op->value.data, op->value.len);
}

static void end_change(struct writing *w)
{
    if (w->changes)
        tm_store32(w->out->link->raw + w->at, w->used - w->at);
    w->changes = false;
}

static void begin_change(struct writing *w, enum tm_entity_type type)
{
    uint8_t head[TM_CHANGE_HEAD];
    tm_change_head(head, w->key, type);
    end_change(w);
    w->at = w->used;
    w->type = type;
    w->changes = true;
    put(w, head, sizeof head);
    put(w, w->key.data, w->key.len);
}

/* Of a field's versions those go that the link carries, whoever made the latest of all, and the
 * past: it is known of all of them.  *op and *stamp are of these then; false: there are none. */
static bool narrow(const struct writing *w, struct tm_op *op, struct tm_op_version *stamp)
{
    const struct tm_link_outlet *link = w->out->link;
    struct tm_versions v;
    unsigned count = 0;
    if (!tm_versions_decode(op->value, &v))
        return false;
    for (unsigned i = 0; i < v.count; i++)
        if (link->filter.forwards(link->filter.host, v.version[i].stamp.origin))
            v.version[count++] = v.version[i];
    if (count == 0)
        return false;
    v.count = count;
    *stamp = v.version[count - 1].stamp;
    tm_versions_encode(&v, link->packed); /* which is free until all is written */
    op->value = tm_bytes_of(link->packed, tm_versions_size(&v));
    return true;
}

/* Whether the operation goes, or something of it: *op and *stamp say what. */
static bool goes(const struct writing *w, enum tm_entity_type type, struct tm_op *op,
                 struct tm_op_version *stamp)
{
    const struct tm_link_filter *f = &w->out->link->filter;
    if (stamp->origin == TM_ORIGIN_NONE)
        return false;
    if (w->s->all)
        return true;
    if (type == TM_ENTITY_SHADOW && op->name.len > 0 && op->name.data[0] == TM_SHADOW_VERSIONS)
        return narrow(w, op, stamp);
    return f->forwards(f->host, stamp->origin);
}

static void give(void *host, enum tm_entity_type type, const struct tm_op *state,
                 struct tm_op_version stamp)
{
    struct writing *w = host;
    struct tm_op part = *state, *op = &part;
    size_t most = 8 + w->key.len + 8 + sizeof stamp + 8 + op->name.len + op->value.len;
    unsigned at = w->op++;
    if (w->full || at < w->s->skip || !goes(w, type, op, &stamp))
        return;
    if (w->used + most > TM_LINK_RAW_MAX) {
        w->full = true;
        w->s->skip = at;
        return;
    }
    if (!w->changes || w->type != type)
        begin_change(w, type);
    if (tm_stamp_compare(w->stamp, stamp) != 0) {
        struct tm_op stamped = {.code = TM_OP_STAMPED, .value = tm_bytes_of(&stamp, sizeof stamp)};
        put_op(w, &stamped);
        w->stamp = stamp;
    }
    put_op(w, op);
}

static void write_state(void *host, struct tm_bytes key)
{
    struct writing *w = host;
    const struct tm_link_out *out = w->out;
    if (w->full || !tm_link_states_ships(out, key))
        return;
    w->key = key;
    w->op = 0;
    tm_link_state(out->link->ops->store(out->link->host, out), key, give, w);
    end_change(w);
}

uint32_t tm_link_states_write(struct tm_link_states *s, const struct tm_link_out *out)
{
    struct writing w = {.s = s, .out = out};
    while (s->at < s->count && w.used < out->link->limits.batch_bytes && !w.full) {
        uint64_t order = s->order[s->at];
        uint64_t end = order + 1 < TM_LINK_ORDERS ? order + 1 : 0;
        (void)tm_link_keys(out->link->ops->store(out->link->host, out), order, end, UINT32_MAX,
                           write_state, &w);
        if (w.full)
            break; /* a large one goes on in the next message */
        s->at++;
        s->skip = 0;
    }
    return w.used;
}

/* ---- sending ---- */

struct tm_bytes tm_link_states_pack(struct tm_link_state_head *head, const struct tm_link_out *out,
                                    uint32_t used)
{
    struct tm_bytes raw = tm_bytes_of(out->link->raw, used);
    head->raw_hash = tm_hash64(raw.data, raw.len, 0);
    head->raw_len = used;
    head->packed_len = out->link->plain ? 0 : tm_link_pack(raw, out->link->packed, TM_LINK_RAW_MAX);
    if (head->packed_len > 0)
        return tm_bytes_of(out->link->packed, head->packed_len);
    head->packed_len = used;
    return raw;
}

static enum tm_err send_some(struct tm_link_states *s, struct tm_link_out *out)
{
    struct tm_link_outlet *link = out->link;
    struct tm_link_state_head head = {.stream = tm_link_out_stream(out)};
    unsigned first = s->at;
    uint32_t used = tm_link_states_write(s, out);
    struct tm_bytes body = tm_link_states_pack(&head, out, used);
    head.drops = s->at - first;
    struct tm_bytes pieces[3] = {tm_bytes_of(&head, sizeof head),
                                 tm_bytes_of(s->order + first, head.drops * sizeof *s->order),
                                 body};
    enum tm_err e = link->ops->send(link->host, out, out->block, TM_MESSAGE_LINK_STATE, pieces, 3);
    if (e == TM_OK && link->limits.bytes_per_second != 0)
        link->tokens -= (int64_t)(sizeof head + pieces[1].len + body.len);
    return e;
}

void tm_link_states_answer(struct tm_link_out *out, struct tm_bytes body)
{
    uint64_t orders[TM_LINK_LACKS_KEYS];
    struct tm_link_lacks m;
    if (tm_link_lacks_decode(body, &m, orders) != TM_OK || m.stream.source != out->source ||
        m.stream.target != out->target || out->link->paused)
        return;
    struct tm_link_states s = {.order = orders, .count = m.count, .all = true};
    while (s.at < s.count && send_some(&s, out) == TM_OK) {
    }
    tm_counter_add(out->link->ctx->counters, TM_COUNTER_link_lacks_answered, s.at);
}
