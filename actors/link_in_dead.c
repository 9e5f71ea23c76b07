/* Changes that could not be applied: a batch is tried whole, in parts, and each change alone; what
 * does not fit even then lies here, and the stream goes on.  The list is the worker's, in memory:
 * what falls off it, or is lost with the process, `tidemill link verify` still names.
 *
 * To try one again is to ask for its key (link_in_lacks.c): by then the key may fit, for it
 * changed, or what made it too large here is gone. */
#include "actors/link_in_internal.h"

#include <inttypes.h>

unsigned tm_link_in_deads(const struct tm_link_in *in)
{
    return in->dead_count;
}

const struct tm_link_dead *tm_link_in_dead(const struct tm_link_in *in, unsigned i)
{
    TM_ASSERT(i < in->dead_count);
    return &in->dead[i];
}

static unsigned find(const struct tm_link_in *in, uint64_t number)
{
    unsigned i = 0;
    while (i < in->dead_count && in->dead[i].number != number)
        i++;
    return i;
}

static void take_off(struct tm_link_in *in, unsigned i)
{
    in->dead_count--;
    memmove(&in->dead[i], &in->dead[i + 1], (in->dead_count - i) * sizeof *in->dead);
}

/* The place of the key's letter, emptied, at the end of the list; how often it was buried. */
static struct tm_link_dead *place_of(struct tm_link_in *in, const struct tm_link_in_stream *s,
                                     uint64_t order, unsigned *tries)
{
    *tries = 0;
    for (unsigned i = 0; i < in->dead_count; i++) {
        const struct tm_link_dead *d = &in->dead[i];
        if (d->site != s->site || d->source != s->source || d->target != s->target ||
            d->order != order)
            continue;
        *tries = d->tries;
        take_off(in, i);
        break;
    }
    if (in->dead_count == TM_LINK_DEAD_MAX)
        take_off(in, 0);
    return &in->dead[in->dead_count++];
}

static struct tm_bytes key_of(const struct tm_link_in_apply *a)
{
    struct tm_bytes rest = a->raw;
    struct tm_change change = {0};
    for (unsigned i = 0; tm_change_next(&rest, &change) && i < a->first; i++) {
    }
    return change.key;
}

void tm_link_in_bury(struct tm_link_in *in, const struct tm_link_in_stream *s,
                     const struct tm_link_in_apply *a, enum tm_err err)
{
    struct tm_bytes key = key_of(a);
    unsigned tries;
    struct tm_link_dead *d = place_of(in, s, tm_link_order(key), &tries);
    *d = (struct tm_link_dead){.number = ++in->deads,
                               .site = s->site,
                               .source = s->source,
                               .target = s->target,
                               .index = a->batch->to.index,
                               .at_ms = tm_ctx_wall_ms(in->c.ctx),
                               .tries = tries + 1,
                               .err = err,
                               .order = tm_link_order(key),
                               .key_len = (uint8_t)tm_min_u64(key.len, sizeof d->key)};
    if (d->key_len > 0)
        memcpy(d->key, key.data, d->key_len);
    tm_counter_add(in->c.ctx->counters, TM_COUNTER_link_dead_letters, 1);
    tm_ctx_log(in->c.ctx, TM_LOG_ERROR, "link_dead_letter",
               "source=%s source_partition=%u partition=%u index=%" PRIu64 " err=%s",
               a->from->source, s->source, s->target, d->index, tm_err_name(err));
}

/* ---- what operators do with them ---- */

struct asking {
    struct tm_link_in *in;
    const struct tm_link_from *from;
    const struct tm_link_dead *dead;
};

static void fill(struct tm_store *store, void *arg)
{
    const struct asking *k = arg;
    const struct tm_link_dead *d = k->dead;
    tm_link_in_note_asked(k->in, store, k->from, d->source, d->target, d->order);
}

static void tell(const struct tm_link_in *in, const struct tm_link_dead *d, const char *event)
{
    tm_ctx_log(in->c.ctx, TM_LOG_INFO, event, "source_partition=%u partition=%u index=%" PRIu64,
               d->source, d->target, d->index);
}

enum tm_err tm_link_in_retry(struct tm_link_in *in, uint64_t number)
{
    unsigned i = find(in, number), block;
    uint64_t record;
    if (i == in->dead_count)
        return TM_ERR_NOTFOUND;
    struct asking k = {in, in->c.ops->from(in->c.host, in->dead[i].site), &in->dead[i]};
    if (k.from == NULL)
        return TM_ERR_CLOSED;
    if (!in->c.ops->leads(in->c.host, in->dead[i].target, &block))
        return TM_ERR_NOTLEADER;
    enum tm_err e = in->c.ops->write(in->c.host, in->dead[i].target, 0, fill, &k, &record);
    if (e != TM_OK)
        return e;
    tm_counter_add(in->c.ctx->counters, TM_COUNTER_link_dead_retried, 1);
    tell(in, &in->dead[i], "link_dead_retried");
    take_off(in, i);
    return TM_OK;
}

bool tm_link_in_drop(struct tm_link_in *in, uint64_t number)
{
    unsigned i = find(in, number);
    if (i == in->dead_count)
        return false;
    tm_counter_add(in->c.ctx->counters, TM_COUNTER_link_dead_dropped, 1);
    tell(in, &in->dead[i], "link_dead_dropped");
    take_off(in, i);
    return true;
}
