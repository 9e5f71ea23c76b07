#include "actors/node.h"

#include <stdlib.h>

enum tm_err tm_node_run(struct tm_node *n, struct tm_directory *directory)
{
    TM_ASSERT(!atomic_load(&n->running));
    n->leader = calloc(directory->partitions + 1, sizeof *n->leader);
    if (n->leader == NULL)
        return TM_ERR_NOMEM;
    atomic_store(&n->directory, directory);
    atomic_store(&n->running, true);
    return TM_OK;
}

void tm_node_free(struct tm_node *n)
{
    free((void *)n->leader);
    free(atomic_load(&n->directory));
    free(n->retired);
    n->leader = NULL;
    n->retired = NULL;
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
    free(n->retired); /* nobody goes by it */
    n->retired = now;
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
