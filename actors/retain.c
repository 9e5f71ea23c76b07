/* The log is not scarce most of the time: leaders wait for those who lag.  When it is, they stop
 * waiting until half of it is free again, so that a copy that is gone for long does not make every
 * new segment ask for snapshots of everything. */
#include "actors/retain.h"

#include "actors/links.h"
#include "actors/shard_internal.h"

#define OLDER_REST_NS   TM_SECONDS(10)  /* older generations stay at least so long */
#define OLDER_SPARED_NS TM_SECONDS(600) /* and so long for copies that lack records of them */
#define OLDER_MANY      (TM_WAL_GENERATIONS / 2)
#define TAIL_SHARE      8 /* of what the WAL may take: the tail beside the current segment */

void tm_retain_init(struct tm_retain *r, const struct tm_shard *shard)
{
    *r = (struct tm_retain){.shard = shard,
                            .since = tm_ctx_now(shard->ctx),
                            .many = shard->config.datadir->generation_count > OLDER_MANY};
}

/* There is an older generation, and it is its time to go. */
static bool older_due(const struct tm_retain *r)
{
    uint32_t partition;
    uint64_t ran = tm_ctx_now(r->shard->ctx) - r->since;
    return (ran >= OLDER_REST_NS || r->many) && tm_log_set_needs_older(r->shard->logs, &partition);
}

bool tm_retain_look(struct tm_retain *r)
{
    uint64_t held = tm_wal_held_bytes(tm_log_set_wal(r->shard->logs));
    uint64_t most = r->shard->options.wal_bytes;
    r->pressed = held >= most / 2;
    r->scarce = held >= most / 8 * 5 || (r->scarce && r->pressed);
    r->short_of = held >= most / 8 * 6 || (r->short_of && r->pressed);
    r->full = tm_wal_state(tm_log_set_wal(r->shard->logs)) == TM_WAL_FULL;
    return r->pressed || older_due(r);
}

static bool spares(const struct tm_retain *r, const struct tm_partition *p)
{
    if (!tm_replica_leads(&p->replica) || (p->eventual ? r->short_of : r->scarce) || r->full)
        return false;
    bool long_since = tm_ctx_now(r->shard->ctx) - r->since >= OLDER_SPARED_NS;
    return r->pressed || !(long_since || r->many);
}

uint64_t tm_retain_until(const struct tm_retain *r, const struct tm_partition *p)
{
    const struct tm_wal *wal = tm_log_set_wal(r->shard->logs);
    uint64_t nothing = tm_log_first(p->log) - 1, until = nothing;
    uint64_t tail = r->full ? 0 : r->shard->options.wal_bytes / TAIL_SHARE;
    if (r->pressed || r->full)
        until = tm_log_last_below(p->log, tm_wal_segment_back(wal, tail));
    else if (older_due(r))
        until = tm_log_last_below(p->log, 1);
    if (spares(r, p))
        until = tm_min_u64(until, tm_replica_everywhere(&p->replica));
    if (r->shard->link_streams != NULL && until > nothing && !r->full)
        until = tm_links_retain(r->shard->link_streams, p, until);
    return tm_max_u64(until, nothing);
}
