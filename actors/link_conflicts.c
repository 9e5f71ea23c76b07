/* Entry n lies at n modulo the ring's size. */
#include "actors/link_conflicts.h"

static uint32_t keep(uint8_t *into, uint32_t max, struct tm_bytes bytes)
{
    uint32_t kept = (uint32_t)tm_min_u64(bytes.len, max);
    if (kept > 0)
        memcpy(into, bytes.data, kept);
    return (uint32_t)tm_min_u64(bytes.len, UINT32_MAX);
}

static void keep_side(struct tm_link_conflict_side *side, const struct tm_conflict_side *from)
{
    side->stamp = from->stamp;
    side->deleted = from->deleted;
    side->len = 0;
    if (!from->deleted)
        side->len = keep(side->value, TM_LINK_CONFLICT_VALUE_MAX, from->value);
}

void tm_link_conflicts_add(struct tm_link_conflicts *log, uint64_t at_ms,
                           const struct tm_conflict_found *found)
{
    struct tm_link_conflict *c = &log->ring[log->count++ % TM_LINK_CONFLICTS_MAX];
    c->number = log->count;
    c->at_ms = at_ms;
    c->type = found->type;
    c->rule = found->rule.rule;
    c->whole = found->whole;
    c->key_len = keep(c->key, TM_LINK_CONFLICT_KEY_MAX, found->key);
    c->field_len = keep(c->field, TM_LINK_CONFLICT_FIELD_MAX, found->field);
    keep_side(&c->winner, &found->winner);
    keep_side(&c->loser, &found->loser);
}

unsigned tm_link_conflicts_kept(const struct tm_link_conflicts *log)
{
    return (unsigned)tm_min_u64(log->count, TM_LINK_CONFLICTS_MAX);
}

const struct tm_link_conflict *tm_link_conflicts_at(const struct tm_link_conflicts *log, unsigned i)
{
    TM_ASSERT(i < tm_link_conflicts_kept(log));
    return &log->ring[(log->count - 1 - i) % TM_LINK_CONFLICTS_MAX];
}
