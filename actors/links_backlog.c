/* How much of the log is kept for targets that lag: what they need, up to a number of bytes and an
 * age.  Past that a link is folded: the log goes, and in the end the target is sent the latest
 * version of what differs.  A link with backlogFull "reject" keeps what its targets need, and
 * writes are refused instead, until they have caught up.
 *
 * The age of segments is known since this worker began; older ones count as new. */
#include "actors/links_internal.h"

#define BOUND_EIGHTHS                                                                              \
    3 /* of --wal-bytes, whatever maxBacklogBytes says: the rest is for writing                    \
       */

uint64_t tm_links_backlog_bytes(const struct tm_links *l, const struct tm_links_out *o)
{
    return tm_min_u64(l->shard->options.wal_bytes / 8 * BOUND_EIGHTHS, o->max_backlog_bytes);
}

/* The last index of the partition that the link has no right to any more. */
static uint64_t beyond(const struct tm_links *l, const struct tm_links_out *o,
                       const struct tm_partition *p)
{
    const struct tm_wal *wal = tm_log_set_wal(l->shard->logs);
    uint64_t back = tm_wal_segment_back(wal, tm_links_backlog_bytes(l, o));
    uint64_t segment = tm_max_u64(back, o->aged);
    return tm_log_last_below(p->log, segment);
}

/* Of the streams of one link that begin at the partition: what comes after it they need. */
static uint64_t needs_of(struct tm_links_slot *slot, const struct tm_links_out *o, uint64_t most)
{
    uint64_t needs = most;
    for (unsigned k = 0; k < slot->count; k++)
        if (slot->out[k].link == &o->outlet)
            needs = tm_min_u64(needs, tm_link_out_needs(&slot->out[k]));
    return needs;
}

uint64_t tm_links_retain(struct tm_links *l, const struct tm_partition *p, uint64_t until)
{
    struct tm_links_slot *slot = tm_links_slot_of(l, p->id);
    uint64_t least = until;
    if (slot == NULL || slot->p != p)
        return until;
    for (unsigned k = 0; k < slot->count; k++)
        tm_link_out_move(&slot->out[k], until);
    for (unsigned i = 0; i < TM_LINKS_MAX; i++) {
        const struct tm_links_out *o = &l->out[i];
        if (!o->used)
            continue;
        /* A follower keeps as much as it may, for the day when it leads. */
        uint64_t needs = slot->count == 0 ? 0 : needs_of(slot, o, until);
        if (!o->rejects || slot->count == 0)
            needs = tm_max_u64(needs, beyond(l, o, p));
        least = tm_min_u64(least, needs);
    }
    return least;
}

/* Every sixteenth of the age one segment is noted, and what is that old goes by. */
static void grow_older(struct tm_links *l, struct tm_links_out *o, uint64_t now)
{
    const struct tm_wal *wal = tm_log_set_wal(l->shard->logs);
    struct tm_links_age *last = &o->age[o->age_at];
    for (unsigned i = 0; i < TM_LINKS_AGES; i++)
        if (o->age[i].segment > o->aged && now - o->age[i].at >= o->max_backlog_ns)
            o->aged = o->age[i].segment;
    if (last->segment != 0 && now - last->at < o->max_backlog_ns / (TM_LINKS_AGES - 1))
        return;
    o->age_at = (o->age_at + 1) % TM_LINKS_AGES;
    o->age[o->age_at] = (struct tm_links_age){now, tm_wal_current_segment(wal)};
}

/* A stream that only was not told of what it passed over is told now, and lags by nothing. */
static bool is_past(struct tm_link_out *out, uint64_t most)
{
    if (tm_link_out_needs(out) >= most)
        return false;
    tm_link_out_move(out, most);
    return tm_link_out_lag(out).records > 0;
}

static bool is_full(struct tm_links *l, const struct tm_links_out *o)
{
    for (uint32_t i = 0; o->rejects && i < l->slots; i++) {
        struct tm_links_slot *slot = &l->slot[i];
        uint64_t most = slot->count > 0 ? beyond(l, o, slot->p) : 0;
        for (unsigned k = 0; k < slot->count; k++)
            if (slot->out[k].link == &o->outlet && is_past(&slot->out[k], most))
                return true;
    }
    return false;
}

static void tell(const struct tm_links *l, const struct tm_links_out *o)
{
    tm_ctx_log(l->ctx, o->full ? TM_LOG_WARN : TM_LOG_INFO,
               o->full ? "link_backlog_full" : "link_backlog_taken", "target=%s text=\"%s\"",
               o->target,
               o->full ? "writes are refused until it has caught up" : "writes are taken again");
}

void tm_links_look_back(struct tm_links *l)
{
    bool any = false;
    for (unsigned i = 0; i < TM_LINKS_MAX; i++) {
        struct tm_links_out *o = &l->out[i];
        bool was = o->full;
        if (!o->used)
            continue;
        grow_older(l, o, tm_ctx_now(l->ctx));
        o->full = is_full(l, o);
        if (o->full != was)
            tell(l, o);
        any |= o->full;
    }
    l->shard->env.backlog_full = any;
}
