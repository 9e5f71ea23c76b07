/* Operators: what a cluster's directory is to say is asked for until all of its nodes that are up
 * go by it, as `tidemill apply` and `tidemill link` do: what the file says of links, and the lines
 * that operators put beside it, which outlive it. */
#include "tests/sim/sim_links_internal.h"

#include "actors/link_operator.h"
#include "actors/shard_internal.h"

#include <stdlib.h>

#define AGAIN_NS TM_MS(300)

/* For one cluster. */
struct desk {
    char said[2048];    /* operators' lines */
    char wanted[18432]; /* all of them */
    uint64_t version;   /* of the directory that its last change was made by */
    bool under_way;
    bool used;
    struct tm_sim_conn *conn;
    uint64_t next_at;
};

struct tm_sim_links_desks {
    struct desk desk[TM_SIM_CLUSTERS_MAX];
};

/* All nodes of the cluster that are up go by it, and there are some.  A node that has not heard of
 * the change before may say the same as this one, and will not for long.  Raises d->version. */
static bool goes_by_it(struct tm_sim *sim, struct desk *d)
{
    bool any = false;
    uint64_t least = d->version, version = least;
    for (unsigned i = 0; i < tm_sim_config_of(sim)->nodes; i++)
        for (unsigned k = 0; tm_sim_is_up(sim, i) && k < tm_sim_workers(sim, i); k++) {
            const struct tm_shard *s = tm_sim_shard(sim, i, k);
            if (s->directory == NULL || s->directory->version < least ||
                strcmp(s->directory->facts, d->wanted) != 0)
                return false;
            version = tm_max_u64(version, s->directory->version);
            any = true;
        }
    d->version = version;
    return any;
}

const struct tm_directory *tm_sim_links_directory(struct tm_sim_links_run *r, unsigned cluster)
{
    struct tm_sim *sim = tm_sim_world_cluster(r->w, cluster);
    for (unsigned i = 0; i < tm_sim_config_of(sim)->nodes; i++)
        if (tm_sim_is_up(sim, i) && tm_sim_shard(sim, i, 0)->directory != NULL)
            return tm_sim_shard(sim, i, 0)->directory;
    return NULL;
}

struct tm_links_figures tm_sim_links_figures(struct tm_sim_links_run *r, unsigned from, unsigned to)
{
    struct tm_links_figures sum = {0};
    struct tm_sim *sim = tm_sim_world_cluster(r->w, from);
    for (unsigned i = 0; i < tm_sim_config_of(sim)->nodes; i++) {
        const struct tm_shard *s = tm_sim_is_up(sim, i) ? tm_sim_shard(sim, i, 0) : NULL;
        int out = s != NULL && s->directory != NULL
                      ? tm_link_plan_find_out(s->links, tm_sim_world_name(to))
                      : -1;
        if (out < 0)
            continue;
        struct tm_links_figures f = tm_links_figures(s->node, (unsigned)out);
        sum.streams += f.streams;
        sum.streaming += f.streaming;
        sum.lag_records += f.lag_records;
    }
    return sum;
}

static void on_reply(void *host, struct tm_sim_conn *conn, struct tm_bytes reply)
{
    (void)host; /* whether it was made shows at the nodes */
    (void)conn;
    (void)reply;
}

static void on_closed(void *host, struct tm_sim_conn *conn)
{
    struct desk *d = host;
    (void)conn;
    d->conn = NULL;
}

static void send(struct desk *d, const struct tm_directory *next)
{
    char head[64];
    size_t len = tm_directory_size(next);
    uint8_t *bytes = malloc(len);
    TM_ASSERT(bytes != NULL);
    tm_directory_encode(next, bytes);
    int n = snprintf(head, sizeof head, "*2\r\n$15\r\nTIDEMILL.CHANGE\r\n$%zu\r\n", len);
    tm_sim_send(d->conn, tm_bytes_of(head, (size_t)n));
    tm_sim_send(d->conn, tm_bytes_of(bytes, len));
    tm_sim_send(d->conn, tm_bytes_str("\r\n"));
    free(bytes);
}

static void leave(struct desk *d)
{
    if (d->conn != NULL)
        tm_sim_disconnect(d->conn);
    d->conn = NULL;
}

/* Asks some node of the cluster for the version after the one that another goes by. */
static void ask(struct tm_sim_links_run *r, unsigned cluster, struct desk *d)
{
    static struct tm_directory next;
    struct tm_sim *sim = tm_sim_world_cluster(r->w, cluster);
    const struct tm_sim_client callbacks = {.host = d, .reply = on_reply, .closed = on_closed};
    const struct tm_directory *now = tm_sim_links_directory(r, cluster);
    unsigned node, worker;
    d->next_at = tm_sim_world_now(r->w) + AGAIN_NS;
    leave(d);
    d->conn = now == NULL ? NULL : tm_sim_connect_any(sim, &r->rng, &callbacks, &node, &worker);
    if (d->conn == NULL)
        return;
    next = *now;
    next.version++;
    next.facts_len = (uint32_t)snprintf(next.facts, sizeof next.facts, "%s", d->wanted);
    send(d, &next);
}

/* The file's lines as they are now, and the operators'. */
static void want(struct tm_sim_links_run *r, unsigned cluster)
{
    struct desk *d = &r->desks->desk[cluster];
    snprintf(d->wanted, sizeof d->wanted, "%s", tm_sim_world_facts(r->w, cluster));
    TM_ASSERT(tm_link_facts_keep(d->said, d->wanted, sizeof d->wanted) == TM_OK);
    d->under_way = d->used = true;
    d->next_at = 0;
}

/* What was asked for before may have been carried out since, though it was taken back. */
static void look_again(struct tm_sim_links_run *r, unsigned cluster, struct desk *d)
{
    uint64_t now = tm_sim_world_now(r->w);
    if (!d->used || d->under_way || now < d->next_at || (r->gone >> cluster & 1) != 0)
        return;
    d->next_at = now + AGAIN_NS;
    d->under_way = tm_sim_links_directory(r, cluster) != NULL &&
                   !goes_by_it(tm_sim_world_cluster(r->w, cluster), d);
}

void tm_sim_links_say(struct tm_sim_links_run *r, unsigned cluster, const char *name,
                      const char *value)
{
    struct desk *d = &r->desks->desk[cluster];
    tm_sim_say(tm_sim_world_cluster(r->w, cluster), "operator at %s: %s=%s",
               tm_sim_world_name(cluster), name, value != NULL ? value : "");
    TM_ASSERT(tm_link_facts_put(d->said, sizeof d->said, name, value) == TM_OK);
    want(r, cluster);
}

void tm_sim_links_apply(struct tm_sim_links_run *r, unsigned cluster)
{
    want(r, cluster);
}

void tm_sim_links_made_anew(struct tm_sim_links_run *r, unsigned cluster)
{
    struct desk *d = &r->desks->desk[cluster];
    leave(d);
    d->version = 0;
    want(r, cluster);
}

bool tm_sim_links_applied(const struct tm_sim_links_run *r, unsigned cluster)
{
    return !r->desks->desk[cluster].under_way || (r->gone >> cluster & 1) != 0;
}

bool tm_sim_links_operator_act(struct tm_sim_links_run *r)
{
    bool all = true;
    for (unsigned i = 0; i < r->plan->world.clusters; i++) {
        struct desk *d = &r->desks->desk[i];
        look_again(r, i, d);
        if (tm_sim_links_applied(r, i))
            continue;
        if (goes_by_it(tm_sim_world_cluster(r->w, i), d)) {
            d->under_way = false;
            leave(d);
            continue;
        }
        all = false;
        if (tm_sim_world_now(r->w) >= d->next_at)
            ask(r, i, d);
    }
    return all;
}

void tm_sim_links_operator_begin(struct tm_sim_links_run *r)
{
    r->desks = calloc(1, sizeof *r->desks);
    TM_ASSERT(r->desks != NULL);
}

void tm_sim_links_operator_free(struct tm_sim_links_run *r)
{
    for (unsigned i = 0; i < r->plan->world.clusters; i++)
        leave(&r->desks->desk[i]);
    free(r->desks);
}
