/* The rule of a field, and what becomes of conflicts that merges found.
 *
 * By field-lww a change that lost to one of this cluster's own was made without knowing of that
 * one. Whether that one was made in knowledge of it depends on whether it had come before: over the
 * stream of the cluster that made it, which the stored position tells, or over others (transit),
 * which only a table of hashes of late arrivals tells, as far as it reaches back. */
#include "actors/links_internal.h"

#include "actors/router.h"
#include "runtime/hash.h"

#include <stdio.h>

/* What defineEntity says of the key's type, NULL: nothing about conflicts. */
static const struct tm_link_type *type_of(struct tm_links *l, struct tm_bytes key)
{
    const struct tm_link_plan *plan = l->shard->links;
    if (l->ruled_by == plan->version &&
        tm_link_is_of_type(key, tm_bytes_of(l->ruled_name, l->ruled_len)))
        return l->ruled;
    struct tm_bytes name = tm_link_type_of(key);
    const struct tm_link_type *type = tm_link_plan_type(plan, name);
    bool ruled =
        type != NULL && (type->field_count > 0 || type->rule.rule != TM_CONFLICT_FIELD_LWW);
    l->ruled_by = name.len <= sizeof l->ruled_name ? plan->version : 0;
    l->ruled_len = tm_min_u64(name.len, sizeof l->ruled_name);
    memcpy(l->ruled_name, name.data, l->ruled_len);
    l->ruled = ruled ? type : NULL;
    return l->ruled;
}

struct tm_conflict_rule tm_links_rule(void *host, struct tm_bytes key, struct tm_bytes name)
{
    struct tm_shard *s = host;
    struct tm_conflict_rule rule = {.rule = TM_CONFLICT_FIELD_LWW};
    const struct tm_link_type *type =
        s->link_streams != NULL ? type_of(s->link_streams, key) : NULL;
    if (type == NULL)
        return rule;
    struct tm_link_rule found =
        tm_link_plan_rule(s->links, tm_bytes_of(type->name, strlen(type->name)), name);
    const char *text = tm_link_rule_text(s->links, found);
    rule.rule = found.rule;
    rule.home = found.rule == TM_CONFLICT_HOME && strcmp(text, s->links->cluster) == 0;
    if (found.rule == TM_CONFLICT_FUNCTION) {
        rule.function = text;
        rule.whole = type->rule.rule == TM_CONFLICT_FUNCTION && type->rule.text == found.text;
    }
    if (rule.whole)
        rule.rule = TM_CONFLICT_FIELD_LWW;
    return rule;
}

/* ---- functions ---- */

#define SAMPLE_EVERY   16
#define COMPLAIN_EVERY TM_SECONDS(10)

static void complain(struct tm_links *l, const struct tm_conflict_rule *rule, const char *what)
{
    uint64_t now = tm_ctx_now(l->ctx);
    char text[64];
    if (l->complained_at != 0 && now - l->complained_at < COMPLAIN_EVERY)
        return;
    l->complained_at = now;
    snprintf(text, sizeof text, "%s", rule->function);
    for (char *c = text; *c != '\0'; c++)
        if (*c < ' ' || *c > '~' || *c == '"')
            *c = ' ';
    tm_ctx_log(l->ctx, TM_LOG_WARN, "link_rule_failed", "reason=\"%s\" function=\"%s\"", what,
               text);
}

enum tm_err tm_links_combine(void *host, const struct tm_conflict_rule *rule, struct tm_bytes a,
                             struct tm_bytes b, struct tm_bytes *out)
{
    struct tm_shard *s = host;
    struct tm_links *l = s->link_streams;
    struct tm_bytes other;
    if (l == NULL || s->functions.call == NULL)
        return TM_ERR_CLOSED;
    enum tm_err e = s->functions.call(s->functions.host, rule->function, a, b, out);
    tm_counter_add(s->ctx->counters, TM_COUNTER_link_rule_calls, 1);
    if (e != TM_OK) {
        tm_counter_add(s->ctx->counters, TM_COUNTER_link_rule_failures, 1);
        complain(l, rule,
                 e == TM_ERR_TIMEOUT ? "it takes too long; the later value stands"
                                     : "it gives no value; the later one stands");
        return e;
    }
    if (l->combined++ % SAMPLE_EVERY != 0 ||
        (s->functions.call(s->functions.host, rule->function, b, a, &other) == TM_OK &&
         tm_bytes_equal(*out, other)))
        return TM_OK;
    tm_counter_add(s->ctx->counters, TM_COUNTER_link_rule_uneven, 1);
    complain(l, rule, "it gives another value the other way round: clusters may differ");
    return TM_OK;
}

/* ---- conflicts ---- */

static uint64_t hash_of(struct tm_bytes key, struct tm_bytes name, struct tm_op_version stamp)
{
    const struct tm_bytes pieces[] = {tm_bytes_of(&stamp, sizeof stamp), key, name};
    uint64_t hash = tm_hash64_pieces(pieces, 3, 0);
    return hash != 0 ? hash : 1;
}

void tm_links_take_ways(struct tm_links *l, const struct tm_link_plan *plan)
{
    bool several = false;
    for (unsigned i = 0; i < plan->in_count; i++)
        several |= plan->in[i].options.forward == TM_LINK_FORWARD_TRANSIT;
    l->several = several;
}

void tm_links_came(struct tm_links *l, const struct tm_link_change *change)
{
    if (!l->several)
        return;
    struct tm_bytes name = change->op->name;
    if (change->type == TM_ENTITY_SHADOW && name.len > 0) /* a field's tombstone */
        name = tm_bytes_of(name.data + 1, name.len - 1);
    uint64_t hash = hash_of(change->key, name, change->stamp);
    l->came[hash % TM_LINKS_CAME] = hash;
}

/* Its own stream has brought it already: what comes is sent again, or by another way. */
static bool is_passed(struct tm_links *l, struct tm_bytes key, struct tm_op_version stamp)
{
    const struct tm_link_identity *id = NULL;
    uint8_t name[TM_LINK_POSITION_NAME];
    struct tm_link_position at;
    struct tm_bytes value;
    uint32_t slot = tm_slot_of_key(key);
    for (unsigned i = 0; i < TM_LINK_SITES_MAX && id == NULL; i++)
        if (l->from[i].used && (id = tm_link_way_identity(l->way, i)) != NULL &&
            id->incarnation != stamp.origin)
            id = NULL;
    struct tm_links_slot *here =
        tm_links_slot_of(l, tm_partition_of_slot(slot, l->shard->directory->partitions));
    if (id == NULL || here == NULL || here->p == NULL)
        return false;
    tm_link_position_name(id->uuid, tm_partition_of_slot(slot, id->partitions), name);
    return tm_store_shadow_field(here->p->store, tm_bytes_of(NULL, 0),
                                 tm_bytes_of(name, sizeof name), &value, NULL) &&
           tm_link_position_decode(value, &at) && stamp.hlc <= at.hlc;
}

static bool came_before(struct tm_links *l, const struct tm_conflict_found *found)
{
    uint64_t hash = hash_of(found->key, found->field, found->loser.stamp);
    return (l->several && l->came[hash % TM_LINKS_CAME] == hash) ||
           is_passed(l, found->key, found->loser.stamp);
}

void tm_links_conflict(void *host, const struct tm_conflict_found *found)
{
    struct tm_shard *s = host;
    struct tm_links *l = s->link_streams;
    if (l == NULL || came_before(l, found))
        return;
    tm_counter_add(s->ctx->counters, TM_COUNTER_link_conflicts, 1);
    tm_link_conflicts_add(l->conflicts, tm_ctx_wall_ms(s->ctx), found);
}
