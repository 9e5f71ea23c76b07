#include "actors/node.h"

#include <stdio.h>
#include <stdlib.h>

/* What lives as long as the node, or a version of its directory. */
static void *make(size_t size)
{
    return calloc(1, size);
}

/* What the directory says of links; lines that cannot be read make a plan without any. */
static struct tm_link_plan *read_links(const struct tm_node *n, const struct tm_directory *d)
{
    struct tm_link_base base = n->link_base;
    struct tm_link_plan *plan = make(sizeof *plan);
    char why[sizeof plan->refused];
    if (plan == NULL)
        return NULL;
    if (base.address == NULL)
        base = (struct tm_link_base){.address = "127.0.0.1", .base_port = TM_LINK_BLOCK_PORTS};
    if (tm_link_plan_parse(plan, d->cluster, d->facts, &base, why, sizeof why) != TM_OK)
        snprintf(plan->refused, sizeof plan->refused, "%s", why);
    plan->version = d->version;
    return plan;
}

enum tm_err tm_node_run(struct tm_node *n, struct tm_directory *directory)
{
    TM_ASSERT(!atomic_load(&n->running));
    n->leader = make((directory->partitions + 1) * sizeof *n->leader);
    struct tm_link_plan *links = read_links(n, directory);
    if (n->leader == NULL || links == NULL) {
        free((void *)n->leader);
        n->leader = NULL;
        free(links);
        return TM_ERR_NOMEM;
    }
    atomic_store(&n->links, links);
    atomic_store(&n->directory, directory);
    atomic_store(&n->running, true);
    return TM_OK;
}

void tm_node_free(struct tm_node *n)
{
    free((void *)n->leader);
    free(atomic_load(&n->directory));
    free(n->retired);
    free(atomic_load(&n->links));
    free(n->retired_links);
    n->leader = NULL;
    n->retired = NULL;
    n->retired_links = NULL;
    atomic_store(&n->links, NULL);
    atomic_store(&n->directory, NULL);
}

const struct tm_directory *tm_node_take(struct tm_node *n, unsigned worker)
{
    const struct tm_directory *d = atomic_load_explicit(&n->directory, memory_order_acquire);
    if (atomic_load_explicit(&n->taken[worker], memory_order_relaxed) != d->version)
        atomic_store_explicit(&n->taken[worker], d->version, memory_order_release);
    return d;
}

enum tm_err tm_node_publish(struct tm_node *n, struct tm_directory *d)
{
    struct tm_directory *now = atomic_load_explicit(&n->directory, memory_order_relaxed);
    for (unsigned w = 0; w < n->workers; w++)
        if (atomic_load_explicit(&n->taken[w], memory_order_acquire) != now->version)
            return TM_ERR_AGAIN;
    struct tm_link_plan *links = read_links(n, d);
    if (links == NULL)
        return TM_ERR_AGAIN;
    free(n->retired); /* nobody goes by it */
    n->retired = now;
    /* First the links: who finds the directory finds them at least as new. */
    free(n->retired_links);
    n->retired_links = atomic_load_explicit(&n->links, memory_order_relaxed);
    atomic_store_explicit(&n->links, links, memory_order_release);
    atomic_store_explicit(&n->directory, d, memory_order_release);
    return TM_OK;
}

bool tm_node_set_leader(struct tm_node *n, uint32_t partition, unsigned node, uint64_t term)
{
    uint64_t fresh = term << 8 | (node + 1);
    uint64_t known = atomic_load_explicit(&n->leader[partition], memory_order_relaxed);
    if (known >> 8 > term || known == fresh)
        return false;
    atomic_store_explicit(&n->leader[partition], fresh, memory_order_relaxed);
    atomic_fetch_add(&n->epoch, 1);
    return true;
}

struct tm_place tm_node_leader(const struct tm_node *n, uint32_t partition)
{
    uint64_t known = atomic_load_explicit(&n->leader[partition], memory_order_relaxed);
    if (known == 0)
        return (struct tm_place){.node = TM_NODES_MAX};
    unsigned node = (unsigned)(known & 0xff) - 1;
    return (struct tm_place){.node = (uint8_t)node,
                             .worker = (uint8_t)tm_node_worker_of(n, node, partition)};
}

void tm_node_set_peer(struct tm_node *n, unsigned node, unsigned workers, bool alive)
{
    if (workers != 0)
        atomic_store(&n->peer_workers[node], (uint8_t)workers);
    atomic_store(&n->peer_alive[node], alive);
    atomic_fetch_add(&n->epoch, 1);
}
