/* An operator who gives all links another filter, as `tidemill apply` does: cluster after cluster,
 * each by one version of its directory, asked again until all nodes that are up go by it.  What the
 * filter has narrowed away may leave until the source goes by it, and not after. */
#include "tests/sim/sim_links_internal.h"

#include "actors/shard_internal.h"

#include <stdlib.h>

struct tm_sim_links_changes {
    struct tm_sim_links_run *run;
    struct tm_sim_links_load *load;
    uint64_t begun_at;
    unsigned at;                           /* which change */
    unsigned order[TM_SIM_CLUSTERS_MAX];   /* of the clusters */
    unsigned cluster;                      /* in that order; all: the change is made */
    uint64_t version[TM_SIM_CLUSTERS_MAX]; /* of its directory, that its last change was made by */
    bool under_way;
    struct tm_sim_conn *conn;
    uint64_t next_at;
};

/* All nodes of the cluster that are up do, and there are some.  A node that has not heard of the
 * change before may say the same as this one, and will not for long.  Raises *version. */
static bool goes_by_it(struct tm_sim_links_run *r, unsigned cluster, uint64_t *version)
{
    bool any = false;
    uint64_t least = *version;
    struct tm_sim *sim = tm_sim_world_cluster(r->w, cluster);
    for (unsigned i = 0; i < tm_sim_config_of(sim)->nodes; i++)
        for (unsigned k = 0; tm_sim_is_up(sim, i) && k < tm_sim_workers(sim, i); k++) {
            const struct tm_shard *s = tm_sim_shard(sim, i, k);
            if (s->directory == NULL || s->directory->version < least ||
                strcmp(s->directory->facts, tm_sim_world_facts(r->w, cluster)) != 0)
                return false;
            *version = tm_max_u64(*version, s->directory->version);
            any = true;
        }
    return any;
}

/* The directory of some node that is up; NULL: none has one. */
static const struct tm_directory *directory_of(struct tm_sim *sim)
{
    for (unsigned i = 0; i < tm_sim_config_of(sim)->nodes; i++)
        if (tm_sim_is_up(sim, i) && tm_sim_shard(sim, i, 0)->directory != NULL)
            return tm_sim_shard(sim, i, 0)->directory;
    return NULL;
}

static void on_reply(void *host, struct tm_sim_conn *conn, struct tm_bytes reply)
{
    (void)host; /* whether it was made shows at the nodes */
    (void)conn;
    (void)reply;
}

static void on_closed(void *host, struct tm_sim_conn *conn)
{
    struct tm_sim_links_changes *c = host;
    (void)conn;
    c->conn = NULL;
}

static void send(struct tm_sim_links_changes *c, const struct tm_directory *next)
{
    char head[64];
    size_t len = tm_directory_size(next);
    uint8_t *bytes = malloc(len);
    TM_ASSERT(bytes != NULL);
    tm_directory_encode(next, bytes);
    int n = snprintf(head, sizeof head, "*2\r\n$15\r\nTIDEMILL.CHANGE\r\n$%zu\r\n", len);
    tm_sim_send(c->conn, tm_bytes_of(head, (size_t)n));
    tm_sim_send(c->conn, tm_bytes_of(bytes, len));
    tm_sim_send(c->conn, tm_bytes_str("\r\n"));
    free(bytes);
}

/* Asks some node of the cluster for the version after the one that another goes by. */
static void ask(struct tm_sim_links_changes *c, unsigned cluster)
{
    static struct tm_directory next;
    struct tm_sim *sim = tm_sim_world_cluster(c->run->w, cluster);
    const struct tm_sim_client callbacks = {.host = c, .reply = on_reply, .closed = on_closed};
    const struct tm_directory *now = directory_of(sim);
    unsigned node, worker;
    c->next_at = tm_sim_world_now(c->run->w) + TM_MS(300);
    if (c->conn != NULL)
        tm_sim_disconnect(c->conn);
    c->conn =
        now == NULL ? NULL : tm_sim_connect_any(sim, &c->run->rng, &callbacks, &node, &worker);
    if (c->conn == NULL)
        return;
    next = *now;
    next.version++;
    next.facts_len = (uint32_t)snprintf(next.facts, sizeof next.facts, "%s",
                                        tm_sim_world_facts(c->run->w, cluster));
    send(c, &next);
}

static void begin_change(struct tm_sim_links_changes *c)
{
    struct tm_sim_links_run *r = c->run;
    const struct tm_sim_links_change *change = &r->plan->change[c->at];
    unsigned n = r->plan->world.clusters, first = (unsigned)tm_rng_below(&r->rng, n);
    c->under_way = true;
    c->cluster = 0;
    for (unsigned i = 0; i < n; i++)
        c->order[i] = (first + i) % n;
    for (unsigned i = 0; i < n; i++)
        for (unsigned j = 0; j < n; j++)
            if ((r->plan->world.to[i] >> j & 1) != 0) {
                tm_sim_links_filter(r->plan, i, j, change->line);
                tm_sim_links_load_widens(c->load, i, j, change->ships);
            }
    tm_sim_world_renew(r->w);
    tm_sim_say(tm_sim_world_cluster(r->w, 0), "all links take types %x from now on", change->ships);
}

/* The cluster goes by the change. */
static void done_with(struct tm_sim_links_changes *c, unsigned cluster)
{
    struct tm_sim_links_run *r = c->run;
    for (unsigned j = 0; j < r->plan->world.clusters; j++)
        if ((r->plan->world.to[cluster] >> j & 1) != 0)
            tm_sim_links_load_narrows(c->load, cluster, j, r->plan->change[c->at].ships);
    if (c->conn != NULL)
        tm_sim_disconnect(c->conn);
    c->conn = NULL;
    c->next_at = 0;
    if (++c->cluster < r->plan->world.clusters)
        return;
    c->under_way = false;
    c->at++;
    r->out->changed++;
}

bool tm_sim_links_changes_act(struct tm_sim_links_run *r)
{
    struct tm_sim_links_changes *c = r->changes;
    if (c == NULL || c->at == r->plan->changes)
        return true;
    uint64_t now = tm_sim_world_now(r->w);
    if (!c->under_way && now < c->begun_at + r->plan->change[c->at].at_ns)
        return false;
    if (!c->under_way)
        begin_change(c);
    unsigned cluster = c->order[c->cluster];
    uint64_t version = c->version[cluster];
    if (goes_by_it(r, cluster, &version)) {
        c->version[cluster] = version;
        done_with(c, cluster);
    } else if (now >= c->next_at) {
        ask(c, cluster);
    }
    return c->at == r->plan->changes;
}

void tm_sim_links_changes_begin(struct tm_sim_links_run *r, struct tm_sim_links_load *l)
{
    if (r->plan->changes == 0)
        return;
    r->changes = calloc(1, sizeof *r->changes);
    TM_ASSERT(r->changes != NULL);
    r->changes->run = r;
    r->changes->load = l;
    r->changes->begun_at = tm_sim_world_now(r->w);
}

void tm_sim_links_changes_free(struct tm_sim_links_run *r)
{
    if (r->changes != NULL && r->changes->conn != NULL)
        tm_sim_disconnect(r->changes->conn);
    free(r->changes);
}
