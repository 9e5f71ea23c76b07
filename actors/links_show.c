/* What is shown of links: each worker's part in the node's board some ten times a second, and from
 * there the figures of INFO, which any worker answers. */
#include "actors/links_internal.h"

#include <inttypes.h>
#include <stdio.h>

static void add_stream(struct tm_links_figures *f, const struct tm_link_out *out)
{
    struct tm_link_lag lag = tm_link_out_lag(out);
    f->streams++;
    f->asking += out->state == TM_LINK_OUT_ASK || out->state == TM_LINK_OUT_ASKED;
    f->streaming += out->state == TM_LINK_OUT_STREAM;
    f->refused += out->state == TM_LINK_OUT_REFUSED;
    f->behind += out->state == TM_LINK_OUT_BEHIND || out->state == TM_LINK_OUT_RESYNC;
    f->diverged += out->state == TM_LINK_OUT_DIVERGED;
    f->lag_records += lag.records;
    f->lag_bytes += lag.bytes;
    f->lag_age_ms = tm_max_u64(f->lag_age_ms, lag.age_ms);
    f->delay_ms = tm_max_u64(f->delay_ms, lag.delay_ms);
    if (out->state == TM_LINK_OUT_REFUSED)
        f->why = (uint64_t)out->refusal;
}

static void add_gate(struct tm_links_figures *f, const struct tm_links_gate *g, uint64_t waiting)
{
    f->degraded += tm_link_gate_open(&g->gate) == UINT64_MAX;
    f->waiting += waiting;
}

static void show(struct tm_links *l, const struct tm_links_figures figures[TM_LINKS_MAX])
{
    _Atomic uint64_t(*board)[TM_WORKERS_MAX][TM_LINK_FIGURES] = l->shard->node->link_figures;
    for (unsigned i = 0; i < TM_LINKS_MAX; i++) {
        const uint64_t *from = (const uint64_t *)(const void *)&figures[i];
        for (unsigned k = 0; k < TM_LINK_FIGURES; k++)
            atomic_store_explicit(&board[i][l->shard->self.worker][k], from[k],
                                  memory_order_relaxed);
    }
}

void tm_links_publish(struct tm_links *l)
{
    struct tm_links_figures figures[TM_LINKS_MAX] = {{0}}, sum = {0};
    struct tm_counters *c = l->ctx->counters;
    for (uint32_t i = 0; i < l->slots; i++)
        for (unsigned k = 0; k < l->slot[i].count; k++) {
            const struct tm_link_out *out = &l->slot[i].out[k];
            const struct tm_links_out *o = TM_CONTAINER_OF(out->link, struct tm_links_out, outlet);
            add_stream(&figures[o->link], out);
            add_stream(&sum, out);
        }
    for (uint32_t i = 0; i < l->slots; i++) {
        uint64_t waiting = l->slot[i].gates > 0 ? tm_partition_gate_count(l->slot[i].p) : 0;
        for (unsigned k = 0; k < l->slot[i].gates; k++) {
            add_gate(&figures[l->slot[i].gate[k].out->link], &l->slot[i].gate[k], waiting);
            add_gate(&sum, &l->slot[i].gate[k], k == 0 ? waiting : 0);
        }
    }
    show(l, figures);
    tm_counter_set(c, TM_COUNTER_link_gates_open, sum.degraded);
    tm_counter_set(c, TM_COUNTER_link_gate_waiting, sum.waiting);
    tm_counter_set(c, TM_COUNTER_link_lag_records, sum.lag_records);
    tm_counter_set(c, TM_COUNTER_link_lag_bytes, sum.lag_bytes);
    tm_counter_set(c, TM_COUNTER_link_streams_out, sum.streams);
    tm_counter_set(c, TM_COUNTER_link_streams_standing, sum.refused + sum.behind + sum.diverged);
    tm_counter_set(c, TM_COUNTER_link_streams_in, tm_link_in_streams(l->in));
}

struct tm_links_figures tm_links_figures(const struct tm_node *n, unsigned out)
{
    struct tm_links_figures sum = {0}, f;
    uint64_t *into = (uint64_t *)(void *)&f;
    TM_ASSERT(out < TM_LINKS_MAX);
    for (unsigned w = 0; w < n->workers; w++) {
        for (unsigned k = 0; k < TM_LINK_FIGURES; k++)
            into[k] = atomic_load_explicit(&n->link_figures[out][w][k], memory_order_relaxed);
        sum.streams += f.streams;
        sum.asking += f.asking;
        sum.streaming += f.streaming;
        sum.refused += f.refused;
        sum.behind += f.behind;
        sum.diverged += f.diverged;
        sum.lag_records += f.lag_records;
        sum.lag_bytes += f.lag_bytes;
        sum.lag_age_ms = tm_max_u64(sum.lag_age_ms, f.lag_age_ms);
        sum.delay_ms = tm_max_u64(sum.delay_ms, f.delay_ms);
        sum.why = tm_max_u64(sum.why, f.why);
        sum.degraded += f.degraded;
        sum.waiting += f.waiting;
    }
    return sum;
}

/* What the target, or this end, has against the link; "": nothing. */
static const char *why(const struct tm_shard *s, const char *target,
                       const struct tm_links_figures *f)
{
    int site = s->way != NULL ? tm_link_way_find(s->way, target) : -1;
    const char *refusal = site >= 0 ? tm_link_way_refusal(s->way, (unsigned)site) : NULL;
    if (refusal != NULL)
        return refusal;
    for (unsigned i = 0; s->link_streams != NULL && i < TM_LINKS_MAX; i++)
        if (s->link_streams->out[i].used && s->link_streams->out[i].full &&
            strcmp(s->link_streams->out[i].target, target) == 0)
            return "BACKLOGFULL";
    return f->why == 0 ? "" : tm_link_refusal_name((unsigned)f->why);
}

bool tm_links_text(void *host, unsigned out, char *text, size_t cap)
{
    const struct tm_shard *s = host;
    const struct tm_link_plan *plan = s->links;
    if (plan == NULL || out >= plan->out_count)
        return false;
    const char *target = plan->peers[plan->out[out].peer].name;
    struct tm_links_figures f = tm_links_figures(s->node, out);
    char sync[96] = "";
    if (plan->out[out].options.mode == TM_LINK_SYNC)
        snprintf(sync, sizeof sync, "mode=sync,state=%s,degraded=%" PRIu64 ",waiting=%" PRIu64 ",",
                 f.degraded == 0 ? "SYNC" : "DEGRADED", f.degraded, f.waiting);
    snprintf(text, cap,
             "target=%s,streams=%" PRIu64 ",streaming=%" PRIu64 ",asking=%" PRIu64
             ",refused=%" PRIu64 ",behind=%" PRIu64 ",diverged=%" PRIu64 ",lag_records=%" PRIu64
             ",lag_bytes=%" PRIu64 ",lag_ms=%" PRIu64 ",delay_ms=%" PRIu64 ",%swhy=%s",
             target, f.streams, f.streaming, f.asking, f.refused, f.behind, f.diverged,
             f.lag_records, f.lag_bytes, f.lag_age_ms, f.delay_ms, sync, why(s, target, &f));
    return true;
}
