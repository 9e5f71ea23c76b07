#include "actors/node.h"

#include <stdlib.h>

enum tm_err tm_node_run(struct tm_node *n, struct tm_directory *directory)
{
    TM_ASSERT(!atomic_load(&n->running));
    n->leader = calloc(directory->partitions + 1, sizeof *n->leader);
    if (n->leader == NULL)
        return TM_ERR_NOMEM;
    n->directory = directory;
    atomic_store(&n->running, true);
    return TM_OK;
}

void tm_node_free(struct tm_node *n)
{
    free((void *)n->leader);
    free(n->directory);
    n->leader = NULL;
    n->directory = NULL;
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
