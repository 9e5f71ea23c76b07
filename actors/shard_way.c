/* The shard's way to linked clusters: made with the shard if the topology file has other clusters,
 * begun when the node runs, told with each version of the directory which of them are linked. */
#include "actors/links.h"
#include "actors/shard_internal.h"
#include "runtime/counters.h"

/* Of links: raised where a target takes its source's place, and fences it by that. */
#define FIRST_EPOCH 1

static void on_message(void *host, unsigned site, const struct tm_message_head *head,
                       struct tm_bytes body)
{
    struct tm_shard *s = host;
    if (s->link_streams != NULL)
        tm_links_message(s->link_streams, site, head, body);
    else
        tm_counter_add(s->ctx->counters, TM_COUNTER_link_messages_dropped, 1);
}

static void on_up(void *host, unsigned site, struct tm_place to)
{
    struct tm_shard *s = host;
    if (s->link_streams != NULL)
        tm_links_up(s->link_streams, site, to);
}

static void on_down(void *host, unsigned site, struct tm_place to)
{
    struct tm_shard *s = host;
    if (s->link_streams != NULL)
        tm_links_down(s->link_streams, site, to);
}

bool tm_shard_way_new(struct tm_shard *s)
{
    const struct tm_node *n = s->node;
    if (n->site_count == 0)
        return true;
    struct tm_link_way_config c = {
        .ctx = s->ctx,
        .cluster = n->spec.cluster,
        .name = n->spec.names[n->self],
        .block = n->block,
        .worker = s->self.worker,
        .workers = n->workers,
        .boot = n->boot,
        .sites = n->sites,
        .site_count = n->site_count,
        .known = n->known,
        .ops = {.host = s, .message = on_message, .up = on_up, .down = on_down}};
    s->way = tm_link_way_new(&c);
    return s->way != NULL;
}

void tm_shard_way_free(struct tm_shard *s)
{
    if (s->way == NULL)
        return;
    if (s->abandoned)
        tm_link_way_abandon(s->way);
    else
        tm_link_way_free(s->way);
    s->way = NULL;
}

/* What the directory says: a link out or in. */
static void take_links(struct tm_shard *s)
{
    s->way_version = s->links->version;
    for (unsigned i = 0; i < tm_link_way_sites(s->way); i++) {
        const char *name = tm_link_way_site(s->way, i)->name;
        int out = tm_link_plan_find_out(s->links, name), in = tm_link_plan_find_in(s->links, name);
        uint64_t adopted = out >= 0 ? s->links->out[out].said.adopted : 0;
        if (adopted == 0 && in >= 0)
            adopted = s->links->in[in].said.adopted;
        tm_link_way_adopt(s->way, i, adopted);
        tm_link_way_link(s->way, i, out >= 0 || in >= 0);
    }
}

/* Begins, or begins anew with another incarnation. */
static void begin(struct tm_shard *s)
{
    char why[256];
    struct tm_link_identity self = {
        .incarnation = s->env.origin, .epoch = FIRST_EPOCH, .partitions = s->directory->partitions};
    memcpy(self.uuid, s->directory->uuid, sizeof self.uuid);
    s->way_origin = s->env.origin;
    take_links(s);
    if (tm_link_way_start(s->way, &self, why, sizeof why) != TM_OK)
        tm_ctx_log(s->ctx, TM_LOG_ERROR, "links_not_begun", "reason=\"%s\" action=\"%s\"", why,
                   "nothing goes to other clusters or comes from them until this node is started "
                   "anew");
}

void tm_shard_way_start(struct tm_shard *s)
{
    bool waits = tm_shard_awaits_incarnation(s);
    if (waits && s->self.worker == 0)
        tm_ctx_log(
            s->ctx, TM_LOG_WARN, "restored",
            "incarnation=%016llx text=\"the data directory was put back from a copy: no link "
            "works until all nodes know that\"",
            (unsigned long long)s->env.origin);
    if (s->way != NULL && !waits)
        begin(s);
}

void tm_shard_way_turn(struct tm_shard *s)
{
    if (s->way == NULL || (s->way_origin == 0 && tm_shard_awaits_incarnation(s)))
        return;
    if (s->way_origin != s->env.origin)
        begin(s);
    if (s->way_version != s->links->version)
        take_links(s);
    tm_link_way_turn(s->way);
}

void tm_shard_set_functions(struct tm_shard *s, const struct tm_link_functions *functions)
{
    s->functions = *functions;
}

struct tm_fabric_sink tm_shard_link_sink(struct tm_shard *s)
{
    return tm_link_way_sink(s->way);
}

void tm_shard_set_link_fabric(struct tm_shard *s, struct tm_fabric *fabric)
{
    tm_link_way_set_fabric(s->way, fabric);
}

const struct tm_link_way *tm_shard_way(const struct tm_shard *s)
{
    return s->way;
}
