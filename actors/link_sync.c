/* A round: walk (keys and hashes of the next thousand), ask (a sum for every eight of them),
 * compare with the keys that the target names, send the states.  The cursor moves when the target
 * has committed what came of the round. */
#include "actors/link_sync.h"

#include "actors/link_states.h"
#include "runtime/hash.h"
#include "storage/store_link.h"

#define ANSWER_NS TM_SECONDS(3)
#define FULL_NS   TM_MS(2)

void tm_link_sync_begin(struct tm_link_sync *y, struct tm_link_out *out)
{
    TM_ASSERT(y->out == NULL);
    y->out = out;
    y->step = TM_LINK_SYNC_WALK;
}

void tm_link_sync_end(struct tm_link_sync *y, const struct tm_link_out *out)
{
    if (y->out == out)
        y->out = NULL;
}

/* ---- what the source has ---- */

static void walk_key(void *host, struct tm_bytes key)
{
    struct tm_link_sync *y = host;
    const struct tm_link_out *out = y->out;
    uint64_t order = tm_link_order(key);
    if (order >= y->end || !tm_link_states_ships(out, key))
        return;
    if (y->keys == TM_ARRAY_LEN(y->key)) {
        y->end = order; /* a large leaf of the table: the rest with the next round */
        return;
    }
    uint64_t hash = tm_link_hash(out->link->ops->store(out->link->host, out), key,
                                 tm_ctx_wall_ms(out->link->ctx), y->past);
    if (hash != 0)
        y->key[y->keys++] = (struct tm_link_key){order, hash};
}

/* Cuts the keys into ranges, none through keys of one order. */
static void cut(struct tm_link_sync *y)
{
    y->ranges = 0;
    for (unsigned i = 0; i < y->keys || y->ranges == 0;) {
        unsigned n = 0;
        uint64_t sum = 0;
        while (i < y->keys && (n < TM_LINK_RANGE_KEYS || y->ranges == TM_LINK_RANGES - 1 ||
                               y->key[i].order == y->key[i - 1].order)) {
            sum += y->key[i++].hash;
            n++;
        }
        y->range[y->ranges++] = (struct tm_link_range){i < y->keys ? y->key[i].order : y->end, sum};
    }
}

static void walk(struct tm_link_sync *y, uint64_t from, uint64_t to)
{
    struct tm_link_out *out = y->out;
    uint64_t settled;
    tm_link_frontier(out->link->ops->store(out->link->host, out), &settled, &y->past);
    y->past = tm_max_u64(y->past, out->heard.collected);
    y->keys = 0;
    y->from = from;
    y->end = to;
    uint64_t next = tm_link_keys(out->link->ops->store(out->link->host, out), from,
                                 to < TM_LINK_ORDERS ? to : 0, TM_LINK_WALK, walk_key, y);
    if (next != 0 && next < y->end)
        y->end = next;
    while (y->keys > 0 && y->key[y->keys - 1].order >= y->end)
        y->keys--;
    cut(y);
}

static enum tm_err send(struct tm_link_sync *y, uint16_t type, const struct tm_bytes *pieces,
                        unsigned count, enum tm_link_sync_step next)
{
    struct tm_link_out *out = y->out;
    struct tm_link_outlet *link = out->link;
    uint64_t bytes = 0;
    enum tm_err e = link->ops->send(link->host, out, out->block, type, pieces, count);
    if (e != TM_OK)
        return e;
    for (unsigned i = 0; i < count; i++)
        bytes += pieces[i].len;
    tm_counter_add(link->ctx->counters,
                   y->looks ? TM_COUNTER_link_check_bytes : TM_COUNTER_link_resync_bytes, bytes);
    if (link->limits.bytes_per_second != 0)
        link->tokens -= (int64_t)bytes;
    y->sent_at = tm_ctx_now(link->ctx);
    y->step = next;
    return TM_OK;
}

enum tm_err tm_link_sync_ask(struct tm_link_sync *y, uint64_t from, uint64_t to)
{
    walk(y, from, to);
    struct tm_link_ranges head = {.stream = tm_link_out_stream(y->out),
                                  .from = y->from,
                                  .past = y->past,
                                  .round = ++y->round,
                                  .count = y->ranges};
    struct tm_bytes pieces[2] = {tm_bytes_of(&head, sizeof head),
                                 tm_bytes_of(y->range, y->ranges * sizeof *y->range)};
    return send(y, TM_MESSAGE_LINK_RANGES, pieces, 2, TM_LINK_SYNC_ASKED);
}

/* ---- what differs ---- */

static bool range_differs(const struct tm_link_sync *y, const struct tm_link_differs *d,
                          uint64_t order, unsigned *range)
{
    while (*range + 1 < y->ranges && order >= y->range[*range].end)
        ++*range;
    return (d->map[*range / 64] >> *range % 64 & 1) != 0;
}

/* Both lists ascend by order. */
static void compare(struct tm_link_sync *y, const struct tm_link_differs *d)
{
    unsigned range = 0, t = 0;
    y->sends = y->sent = y->skip = y->drops = y->dropped = 0;
    for (unsigned i = 0; i < y->keys && y->key[i].order < d->end; i++) {
        uint64_t order = y->key[i].order;
        if (!range_differs(y, d, order, &range))
            continue;
        for (; t < y->theirs_count && y->theirs[t].order < order; t++)
            y->drop[y->drops++] = y->theirs[t].order;
        bool same = t < y->theirs_count && y->theirs[t].order == order &&
                    y->theirs[t].hash == y->key[i].hash;
        bool cut = y->out->sync_bar != 0 && !same; /* what the target has of it goes before */
        for (; t < y->theirs_count && y->theirs[t].order == order; t++)
            if (cut && (y->drops == 0 || y->drop[y->drops - 1] != order))
                y->drop[y->drops++] = order;
        if (!same && (y->sends == 0 || y->send[y->sends - 1] != order))
            y->send[y->sends++] = order;
    }
    for (; t < y->theirs_count; t++)
        if (y->drops == 0 || y->drop[y->drops - 1] != y->theirs[t].order)
            y->drop[y->drops++] = y->theirs[t].order;
}

/* ---- states ---- */

static uint32_t write_states(struct tm_link_sync *y)
{
    struct tm_link_out *out = y->out;
    struct tm_link_states s = {.order = y->send,
                               .count = y->sends,
                               .at = y->sent,
                               .skip = y->skip,
                               .all = out->sync_bar != 0};
    unsigned before = y->sent;
    uint32_t used = tm_link_states_write(&s, out);
    y->sent = s.at;
    y->skip = s.skip;
    tm_counter_add(out->link->ctx->counters, TM_COUNTER_link_resync_keys, s.at - before);
    return used;
}

static enum tm_err send_state(struct tm_link_sync *y)
{
    struct tm_link_out *out = y->out;
    unsigned sent = y->sent, skip = y->skip;
    uint32_t drops = (uint32_t)tm_min_u64(y->drops - y->dropped, TM_LINK_DROPS);
    bool more = y->dropped + drops < y->drops;
    uint32_t used = more && out->sync_bar != 0 ? 0 : write_states(y);
    bool last = y->sent == y->sends && y->dropped + drops == y->drops && y->end == TM_LINK_ORDERS;
    struct tm_link_state_head head = {.stream = tm_link_out_stream(out),
                                      .hlc = out->sync_bar != 0 ? out->sync_bar : out->sync_hlc,
                                      .stands = out->sync_stands,
                                      .to = out->sync_to,
                                      .round = ++y->round,
                                      .drops = drops,
                                      .last = last,
                                      .replaces = out->sync_bar != 0};
    struct tm_bytes body = tm_link_states_pack(&head, out, used);
    struct tm_bytes pieces[3] = {tm_bytes_of(&head, sizeof head),
                                 tm_bytes_of(y->drop + y->dropped, drops * sizeof *y->drop), body};
    enum tm_err e = send(y, TM_MESSAGE_LINK_STATE, pieces, 3, TM_LINK_SYNC_WAITING);
    if (e != TM_OK) {
        y->sent = sent;
        y->skip = skip;
    } else {
        y->dropped += drops;
    }
    return e;
}

/* ---- turns ---- */

enum tm_err tm_link_sync_turn(struct tm_link_sync *y, uint64_t *wait)
{
    uint64_t now = tm_ctx_now(y->out->link->ctx);
    enum tm_err e = TM_OK;
    if (y->step == TM_LINK_SYNC_WALK)
        e = tm_link_sync_ask(y, y->out->sync_cursor, TM_LINK_ORDERS);
    else if (y->step == TM_LINK_SYNC_SEND)
        e = send_state(y);
    else if (now >= y->sent_at + ANSWER_NS)
        return TM_ERR_CLOSED;
    *wait = e == TM_OK ? y->sent_at + ANSWER_NS : now + FULL_NS;
    return e == TM_ERR_CLOSED ? e : TM_ERR_AGAIN;
}

static bool round_done(struct tm_link_sync *y)
{
    if (y->sent < y->sends || y->dropped < y->drops) {
        y->step = TM_LINK_SYNC_SEND;
        return false;
    }
    y->out->sync_cursor = y->end;
    y->step = TM_LINK_SYNC_WALK;
    return y->end == TM_LINK_ORDERS;
}

bool tm_link_sync_compared(struct tm_link_sync *y, struct tm_bytes body)
{
    struct tm_link_differs d;
    if (tm_link_differs_decode(body, &d, y->theirs) != TM_OK || y->step != TM_LINK_SYNC_ASKED ||
        d.round != y->round || d.end <= y->from || d.end > y->end)
        return false;
    y->theirs_count = d.keys;
    y->end = d.end;
    compare(y, &d);
    return true;
}

bool tm_link_sync_message(struct tm_link_sync *y, uint16_t type, struct tm_bytes body)
{
    struct tm_link_stated s;
    if (type == TM_MESSAGE_LINK_STATED && tm_link_stated_decode(body, &s) == TM_OK &&
        y->step == TM_LINK_SYNC_WAITING && s.round == y->round)
        return round_done(y);
    if (type != TM_MESSAGE_LINK_DIFFERS || !tm_link_sync_compared(y, body))
        return false;
    if (y->end == TM_LINK_ORDERS)
        y->step = TM_LINK_SYNC_SEND; /* the last one, if only for the position */
    else
        (void)round_done(y);
    return false;
}
