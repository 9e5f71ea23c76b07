/* What is shown of links, out and in: each worker's part in the node's board some ten times a
 * second, and from there the figures of INFO, which any worker answers. */
#include "actors/links_internal.h"

#include <inttypes.h>
#include <stdio.h>

static void add_stream(struct tm_links_figures *f, const struct tm_link_out *out)
{
    struct tm_link_lag lag = tm_link_out_lag(out);
    enum tm_link_out_state state = tm_link_out_shown(out);
    f->streams++;
    f->asking += state == TM_LINK_OUT_ASK || state == TM_LINK_OUT_ASKED;
    f->streaming += state == TM_LINK_OUT_STREAM;
    f->refused += state == TM_LINK_OUT_REFUSED;
    f->behind += state == TM_LINK_OUT_BEHIND || state == TM_LINK_OUT_RESYNC;
    f->diverged += state == TM_LINK_OUT_DIVERGED;
    f->snapshot += state == TM_LINK_OUT_SNAPSHOT;
    f->lag_records += lag.records;
    f->lag_bytes += lag.bytes;
    f->lag_age_ms = tm_max_u64(f->lag_age_ms, lag.age_ms);
    f->delay_ms = tm_max_u64(f->delay_ms, lag.delay_ms);
    if (state == TM_LINK_OUT_REFUSED)
        f->why = (uint64_t)out->refusal;
    if (state == TM_LINK_OUT_SNAPSHOT)
        f->why = TM_LINK_REFUSAL_SNAPSHOT;
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

static void show_in(struct tm_links *l)
{
    struct tm_link_in_counts counts[TM_LINK_SITES_MAX], in[TM_LINKS_MAX] = {{0}};
    tm_link_in_count(l->in, counts, TM_LINK_SITES_MAX);
    for (unsigned i = 0; i < TM_LINK_SITES_MAX; i++)
        if (l->from[i].used)
            in[l->from[i].link] = counts[i];
    for (unsigned i = 0; i < TM_LINKS_MAX; i++) {
        const uint64_t *from = (const uint64_t *)(const void *)&in[i];
        for (unsigned k = 0; k < TM_LINK_IN_FIGURES; k++)
            atomic_store_explicit(&l->shard->node->link_in_figures[i][l->shard->self.worker][k],
                                  from[k], memory_order_relaxed);
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
    show_in(l);
    tm_counter_set(c, TM_COUNTER_link_gates_open, sum.degraded);
    tm_counter_set(c, TM_COUNTER_link_gate_waiting, sum.waiting);
    tm_counter_set(c, TM_COUNTER_link_lag_records, sum.lag_records);
    tm_counter_set(c, TM_COUNTER_link_lag_bytes, sum.lag_bytes);
    tm_counter_set(c, TM_COUNTER_link_streams_out, sum.streams);
    tm_counter_set(c, TM_COUNTER_link_streams_standing,
                   sum.refused + sum.behind + sum.diverged + sum.snapshot);
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
        sum.snapshot += f.snapshot;
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

/* Of link `in` of the node's plan, over all workers. */
static struct tm_link_in_counts figures_in(const struct tm_node *n, unsigned in)
{
    struct tm_link_in_counts sum = {0}, f;
    uint64_t *into = (uint64_t *)(void *)&f;
    for (unsigned w = 0; w < n->workers; w++) {
        for (unsigned k = 0; k < TM_LINK_IN_FIGURES; k++)
            into[k] = atomic_load_explicit(&n->link_in_figures[in][w][k], memory_order_relaxed);
        sum.streams += f.streams;
        sum.refused += f.refused;
        sum.why = tm_max_u64(sum.why, f.why);
        sum.held += f.held;
        sum.dead += f.dead;
    }
    return sum;
}

/* What the two clusters have against each other as a whole; NULL: nothing. */
static const char *way_refusal(const struct tm_shard *s, const char *peer)
{
    int site = s->way != NULL ? tm_link_way_find(s->way, peer) : -1;
    return site >= 0 ? tm_link_way_refusal(s->way, (unsigned)site) : NULL;
}

/* What the target, or this end, has against the link; "": nothing. */
static const char *why(const struct tm_shard *s, const char *target,
                       const struct tm_links_figures *f)
{
    const char *refusal = way_refusal(s, target);
    if (refusal != NULL)
        return refusal;
    for (unsigned i = 0; s->link_streams != NULL && i < TM_LINKS_MAX; i++)
        if (s->link_streams->out[i].used && s->link_streams->out[i].full &&
            strcmp(s->link_streams->out[i].target, target) == 0)
            return "BACKLOGFULL";
    if (f->why == 0 && f->diverged > 0)
        return tm_link_out_state_name(TM_LINK_OUT_DIVERGED);
    return f->why == 0 ? "" : tm_link_refusal_name((unsigned)f->why);
}

static void text_out(const struct tm_shard *s, unsigned out, char *text, size_t cap)
{
    const struct tm_link_plan *plan = s->links;
    const char *target = plan->peers[plan->out[out].peer].name;
    struct tm_links_figures f = tm_links_figures(s->node, out);
    char sync[96] = "";
    if (plan->out[out].options.mode == TM_LINK_SYNC)
        snprintf(sync, sizeof sync, "mode=sync,state=%s,degraded=%" PRIu64 ",waiting=%" PRIu64 ",",
                 f.degraded == 0 ? "SYNC" : "DEGRADED", f.degraded, f.waiting);
    snprintf(text, cap,
             "target=%s,streams=%" PRIu64 ",streaming=%" PRIu64 ",asking=%" PRIu64
             ",refused=%" PRIu64 ",behind=%" PRIu64 ",diverged=%" PRIu64
             ",snapshot_required=%" PRIu64 ",lag_records=%" PRIu64 ",lag_bytes=%" PRIu64
             ",lag_ms=%" PRIu64 ",delay_ms=%" PRIu64 ",%swhy=%s",
             target, f.streams, f.streaming, f.asking, f.refused, f.behind, f.diverged, f.snapshot,
             f.lag_records, f.lag_bytes, f.lag_age_ms, f.delay_ms, sync, why(s, target, &f));
}

static void text_in(const struct tm_shard *s, unsigned in, char *text, size_t cap)
{
    const struct tm_link *link = &s->links->in[in];
    const char *source = s->links->peers[link->peer].name, *reason = way_refusal(s, source);
    struct tm_link_in_counts f = figures_in(s->node, in);
    if (reason == NULL)
        reason = f.why == 0 ? "" : tm_link_refusal_name((unsigned)f.why);
    snprintf(text, cap,
             "source=%s,streams=%" PRIu64 ",refused=%" PRIu64 ",held=%" PRIu64 ",dead=%" PRIu64
             ",paused=%s,why=%s",
             source, f.streams, f.refused, f.held, f.dead, link->said.paused != 0 ? "yes" : "no",
             reason);
}

bool tm_links_text(void *host, unsigned i, char *text, size_t cap)
{
    const struct tm_shard *s = host;
    if (s->links == NULL || i >= s->links->out_count + s->links->in_count)
        return false;
    if (i < s->links->out_count)
        text_out(s, i, text, cap);
    else
        text_in(s, i - s->links->out_count, text, cap);
    return true;
}
