/* A node's part of the fabric, made before its workers: their ends, the words and eventfds of
 * their doorbells, the rings between them, the pool of mbufs, then the ports.  What was made so
 * far is undone by tm_dpdk_destroy when a step fails. */
#include "net/fabric_dpdk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <rte_errno.h>
#include <rte_mbuf.h>

#include "net/dpdk_internal.h"
#include "runtime/hash.h"

#define CACHE_MBUFS 64

TM_STATIC_ASSERT(TM_DPDK_ROOM >= 1500 + TM_DPDK_ETHER_BYTES, "an Ethernet frame fits");

static struct tm_ring *ring_at(struct tm_dpdk *net, unsigned from, unsigned to)
{
    size_t size = tm_ring_footprint(TM_DPDK_RING_BYTES);
    size_t index = (size_t)from * net->config.workers + to;
    return tm_ring_join(net->ring_memory + index * size, size);
}

static enum tm_err rings_create(struct tm_dpdk *net)
{
    unsigned workers = net->config.workers;
    size_t size = tm_ring_footprint(TM_DPDK_RING_BYTES);
    if (workers == 1)
        return TM_OK;
    net->ring_memory = aligned_alloc(TM_CACHE_PAIR, workers * workers * size);
    if (net->ring_memory == NULL)
        return TM_ERR_NOMEM;
    for (unsigned from = 0; from < workers; from++)
        for (unsigned to = 0; to < workers; to++) {
            tm_ring_new(net->ring_memory + (from * workers + to) * size, TM_DPDK_RING_BYTES);
            tm_ring_producer_init(&net->ends[from]->to[to], ring_at(net, from, to));
            tm_ring_consumer_init(&net->ends[to]->from[from], ring_at(net, from, to));
        }
    return TM_OK;
}

static enum tm_err ends_create(struct tm_dpdk *net)
{
    for (unsigned w = 0; w < net->config.workers; w++) {
        struct tm_dpdk_end *end = aligned_alloc(TM_CACHE_PAIR, sizeof *end);
        if (end == NULL)
            return TM_ERR_NOMEM;
        memset(end, 0, sizeof *end);
        net->ends[w] = end;
        end->fabric = tm_dpdk_fabric;
        end->fabric.host = end;
        end->net = net;
        end->worker = w;
        end->timer_fd = -1;
        enum tm_err err = tm_pollset_open(&end->set);
        if (err != TM_OK)
            return err;
        tm_memif_control_init(&end->control, &end->set);
    }
    return TM_OK;
}

/* The words that say "parked", in memory that is passed to peers: it cannot shrink under them. */
static enum tm_err words_create(struct tm_dpdk *net)
{
    net->words_fd = memfd_create("tidemill-doorbells", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (net->words_fd < 0 || ftruncate(net->words_fd, TM_DPDK_WORDS_BYTES) != 0 ||
        fcntl(net->words_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
        return tm_err_from_errno(errno);
    void *words =
        mmap(NULL, TM_DPDK_WORDS_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, net->words_fd, 0);
    if (words == MAP_FAILED)
        return tm_err_from_errno(errno);
    net->words = words;
    for (unsigned w = 0; w < net->config.workers; w++) {
        enum tm_err err = tm_doorbell_open(&net->bells[w], &net->words[w]);
        if (err != TM_OK)
            return err;
    }
    return TM_OK;
}

static bool text_too_long(const char *text, size_t size)
{
    return text != NULL && strlen(text) >= size;
}

static enum tm_err config_check(const struct tm_dpdk_config *c, char *why, size_t size)
{
    uint64_t peers = c->peers & ~(UINT64_C(1) << c->node);
    unsigned base = c->udp_base != 0 ? c->udp_base : TM_DPDK_UDP_DEFAULT;
    bool memif = c->port == NULL || c->port[0] == '\0';
    TM_ASSERT(c->domain != NULL && c->node < TM_NODES_MAX && (!memif || c->secret_path != NULL));
    TM_ASSERT(c->instance < 8 && c->workers >= 1 && c->workers <= TM_WORKERS_MAX &&
              c->mbufs >= TM_DPDK_MBUFS_MIN);
    if (text_too_long(c->domain, TM_DPDK_TEXT_MAX) || text_too_long(c->port, TM_DPDK_TEXT_MAX) ||
        text_too_long(c->secret_path, TM_DPDK_PATH_MAX - 16))
        snprintf(why, size, "dpdk: a name, --fabric-port or path is too long");
    else if (memif && __builtin_popcountll(peers) > TM_DPDK_PEERS_MAX)
        snprintf(why, size, "dpdk: memif reaches at most %d peers: use --fabric-port or tcp",
                 TM_DPDK_PEERS_MAX);
    else if (base + TM_WORKERS_MAX > 65536)
        snprintf(why, size, "dpdk: UDP ports %u.. go beyond 65535: choose a lower base", base);
    else if (c->mtu != 0 && (c->mtu < 1500 || c->mtu + TM_DPDK_ETHER_BYTES > TM_DPDK_ROOM))
        snprintf(why, size, "dpdk: an MTU of %u is outside 1500..%d", c->mtu,
                 TM_DPDK_ROOM - TM_DPDK_ETHER_BYTES);
    else
        return TM_OK;
    return TM_ERR_INVALID;
}

static void config_take(struct tm_dpdk *net, const struct tm_dpdk_config *config)
{
    net->config = *config;
    snprintf(net->domain, sizeof net->domain, "%s", config->domain);
    net->config.domain = net->domain;
    if (config->port != NULL) {
        snprintf(net->port_text, sizeof net->port_text, "%s", config->port);
        net->config.port = net->port_text;
    }
    if (config->secret_path != NULL) {
        snprintf(net->secret_path, sizeof net->secret_path, "%s", config->secret_path);
        net->config.secret_path = net->secret_path;
    }
    net->config.peers &= ~(UINT64_C(1) << config->node);
    net->domain_hash = tm_hash64(net->domain, strlen(net->domain), 0);
    net->wire.self.node = (uint8_t)config->node;
    net->wire.udp_base = config->udp_base != 0 ? config->udp_base : TM_DPDK_UDP_DEFAULT;
    net->wire.boot = (uint16_t)config->boot;
    net->wire.domain = (uint32_t)net->domain_hash;
}

static enum tm_err pool_create(struct tm_dpdk *net, char *why, size_t size)
{
    char name[24];
    snprintf(name, sizeof name, "tidemill%u", net->config.instance);
    net->pool = rte_pktmbuf_pool_create(name, net->config.mbufs, CACHE_MBUFS, 0,
                                        RTE_PKTMBUF_HEADROOM + TM_DPDK_ROOM, SOCKET_ID_ANY);
    if (net->pool != NULL)
        return TM_OK;
    snprintf(why, size, "dpdk: no room for %u mbufs (%s): give EAL %u MiB of memory",
             net->config.mbufs, rte_strerror(rte_errno), TM_DPDK_MEMORY_MIB(net->config.mbufs));
    return TM_ERR_NOMEM;
}

static enum tm_err net_create(struct tm_dpdk *net, const struct tm_dpdk_config *config, char *why,
                              size_t size)
{
    config_take(net, config);
    enum tm_err err = ends_create(net);
    if (err == TM_OK)
        err = words_create(net);
    if (err == TM_OK)
        err = rings_create(net);
    if (err != TM_OK) {
        snprintf(why, size, "dpdk: %s", tm_err_text(err));
        return err;
    }
    err = pool_create(net, why, size);
    if (err == TM_OK)
        err = tm_dpdk_is_memif(net) ? tm_dpdk_memif_create(net, why, size)
                                    : tm_dpdk_ether_create(net, why, size);
    for (unsigned w = 0; w < net->config.workers; w++)
        net->ends[w]->fabric.max_frame = net->max_frame;
    return err;
}

enum tm_err tm_dpdk_create(const struct tm_dpdk_config *config, struct tm_dpdk **out, char *why,
                           size_t why_size)
{
    enum tm_err err = config_check(config, why, why_size);
    if (err != TM_OK)
        return err;
    struct tm_dpdk *net = aligned_alloc(TM_CACHE_PAIR, sizeof *net);
    if (net == NULL)
        return TM_ERR_NOMEM;
    memset(net, 0, sizeof *net);
    net->lock_fd = net->keeper_fd = net->words_fd = net->bell_fd = -1;
    for (unsigned w = 0; w < TM_WORKERS_MAX; w++)
        net->bells[w].fd = -1;
    for (unsigned n = 0; n < TM_NODES_MAX; n++)
        net->peers[n].side = (struct tm_dpdk_side){
            .listen_fd = -1, .listen_slot = -1, .fd = -1, .slot = -1, .bell.fd = -1};
    err = net_create(net, config, why, why_size);
    if (err != TM_OK) {
        tm_dpdk_destroy(net);
        return err;
    }
    *out = net;
    return TM_OK;
}

static void ends_destroy(struct tm_dpdk *net)
{
    for (unsigned w = 0; w < TM_WORKERS_MAX && net->ends[w] != NULL; w++) {
        TM_ASSERT(!net->ends[w]->open);
        tm_pollset_close(&net->ends[w]->set);
        free(net->ends[w]);
    }
}

void tm_dpdk_destroy(struct tm_dpdk *net)
{
    if (net == NULL)
        return;
    if (tm_dpdk_is_memif(net))
        tm_dpdk_memif_destroy(net);
    else
        tm_dpdk_ether_destroy(net);
    ends_destroy(net);
    for (unsigned w = 0; w < TM_WORKERS_MAX; w++)
        if (net->bells[w].fd >= 0)
            tm_doorbell_close(&net->bells[w]);
    if (net->words != NULL)
        munmap(net->words, TM_DPDK_WORDS_BYTES);
    if (net->words_fd >= 0)
        close(net->words_fd);
    if (net->keeper_fd >= 0)
        close(net->keeper_fd);
    rte_mempool_free(net->pool);
    free(net->ring_memory);
    free(net);
}
