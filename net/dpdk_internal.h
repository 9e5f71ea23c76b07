/* dpdk_internal.h: what the files of the dpdk fabric share (fabric_dpdk.c, dpdk_port.c,
 * dpdk_memif.c, dpdk_ether.c,
 * dpdk_node.c, dpdk_secret.c).  Nobody else includes it.
 *
 * A tm_dpdk is shared by the node's workers.  After tm_dpdk_create it is read-only but for what is
 * atomic; a port, and a peer's fields marked "owner", are touched by the port's owner alone. */
#ifndef TM_NET_DPDK_INTERNAL_H
#define TM_NET_DPDK_INTERNAL_H

#include <stdatomic.h>

#include "net/dpdk_frame.h"
#include "net/fabric_dpdk.h"
#include "net/memif_control.h"
#include "net/pollset.h"
#include "runtime/counters.h"
#include "runtime/doorbell.h"
#include "runtime/ring.h"

/* 9,216 bytes hold what jumbo frames of 9,000 need.  Equal to memif's buffer size, so that both
 * of the driver's loops take their fast path (rx: room ≥ buffer; tx: buffer ≥ room). */
#define TM_DPDK_ROOM        9216
#define TM_DPDK_BURST       32
#define TM_DPDK_TX_MAX      64
#define TM_DPDK_SECRET_MAX  24 /* with the final 0, as in memif's protocol */
#define TM_DPDK_RING_BYTES  16384
#define TM_DPDK_TEXT_MAX    256
#define TM_DPDK_PATH_MAX    4096
#define TM_DPDK_CHECK_NS    TM_US(100)
#define TM_DPDK_TIMER_NS    TM_MS(10)
#define TM_DPDK_SLOW_NS     TM_MS(50)
#define TM_DPDK_SLOW_AFTER  TM_SECONDS(2)
#define TM_DPDK_HELLO_NS    TM_MS(250)
#define TM_DPDK_SILENCE_NS  TM_SECONDS(1)
#define TM_DPDK_WORDS_BYTES (TM_WORKERS_MAX * sizeof(struct tm_doorbell_word))

struct rte_mbuf;
struct rte_mempool;
struct tm_dpdk_end;
struct tm_dpdk_peer;

/* Records on the rings between workers: a pointer to an mbuf, which changes hands. */
enum { TM_DPDK_RING_SEND = 1, TM_DPDK_RING_DELIVER = 2 };

struct tm_dpdk_port {
    uint16_t id; /* ethdev */
    unsigned owner;
    char name[32];
    bool present; /* the ethdev exists */
    bool virtual; /* and was made by this process */
    /* owner: */
    bool started;  /* bursts are allowed only then */
    unsigned live; /* memif's control sockets that are open for it */
    unsigned tx_count;
    struct rte_mbuf *tx[TM_DPDK_TX_MAX];
};

/* The unix connection of a node pair: carries the doorbell over, and its end is the peer's. */
struct tm_dpdk_side {
    int listen_fd, listen_slot;     /* lower node */
    int fd, slot;                   /* the connection; -1: none */
    bool linked;                    /* the peer's hello came and fits */
    bool ready;                     /* both ends of the link are up: sent (client), told (server) */
    struct tm_doorbell_word *words; /* the peer's, mapped while linked */
    struct tm_doorbell bell;        /* of the worker that owns the peer's port; fd -1: none */
};

struct tm_dpdk_peer {
    struct tm_dpdk_end *end; /* the owner's; callbacks come with the peer only */
    struct tm_dpdk_port *port;
    bool present;
    struct tm_dpdk_station station;
    uint8_t head[TM_DPDK_HEAD_BYTES];
    _Atomic uint32_t epoch; /* odd: up; +1 at each change */
    /* owner: */
    uint32_t sequence; /* of the last data frame sent */
    uint64_t down_since;
    struct tm_dpdk_side side; /* memif */
    uint64_t next_try;
    bool refused_logged;
    /* owner, ethdev: */
    bool resolved; /* station.mac is known */
    bool parked;   /* announced; ring it after sending */
    bool heard;    /* boot and received are the present process's */
    uint16_t boot;
    uint32_t received;
    uint64_t heard_ns;
};

struct tm_dpdk {
    struct tm_dpdk_config config; /* its strings lie below */
    char domain[TM_DPDK_TEXT_MAX];
    char port_text[TM_DPDK_TEXT_MAX]; /* "": memif */
    char secret_path[TM_DPDK_PATH_MAX];
    char secret[TM_DPDK_SECRET_MAX];
    uint64_t domain_hash;
    struct tm_dpdk_wire wire;
    struct rte_mempool *pool;
    uint32_t max_frame;
    int lock_fd;   /* holds the node's name */
    int keeper_fd; /* holds the name of who keeps the secret's file; -1: another does */
    int words_fd;
    struct tm_doorbell_word *words; /* one a worker, shared with peers */
    struct tm_doorbell bells[TM_WORKERS_MAX];
    unsigned port_count;
    struct tm_dpdk_port ports[TM_DPDK_PEERS_MAX];
    struct tm_dpdk_peer peers[TM_NODES_MAX];
    struct tm_dpdk_end *ends[TM_WORKERS_MAX];
    uint8_t *ring_memory; /* workers × workers rings; NULL for one worker */
    int bell_fd;          /* ethdev: UDP socket for doorbell datagrams; -1: none */
    _Alignas(TM_CACHE_PAIR) _Atomic uint32_t generation; /* +1 at each change of an epoch */
};

/* One worker's end. */
struct tm_dpdk_end {
    struct tm_fabric fabric;
    struct tm_dpdk *net;
    unsigned worker;
    bool open;
    struct tm_fabric_sink sink;
    struct tm_counters *counters;
    struct tm_counters own_counters; /* when the caller gave none */
    struct tm_pollset set;
    struct tm_memif_control control;
    struct tm_ring_producer to[TM_WORKERS_MAX];
    struct tm_ring_consumer from[TM_WORKERS_MAX];
    uint64_t claimed; /* bit w: something unpublished on the ring to w */
    uint64_t touched; /* bit n: frames for node n are in the port's tx (ethdev) */
    unsigned stash_count;
    struct rte_mbuf *stash[TM_DPDK_BURST * (TM_DPDK_PEERS_MAX + 1)]; /* found by park */
    uint32_t seen_generation;
    uint32_t seen_epoch[TM_NODES_MAX];
    uint64_t next_check; /* cycles */
    uint64_t check_cycles;
    int timer_fd;
    uint64_t timer_ns; /* its period now; 0: stopped */
    uint64_t next_hello;
    uint64_t now_ns; /* of the last check */
};

static inline void tm_dpdk_count(struct tm_dpdk_end *end, enum tm_counter which, uint64_t n)
{
    tm_counter_add(end->counters, which, n);
}

static inline bool tm_dpdk_peer_is_up(const struct tm_dpdk_peer *peer)
{
    return (atomic_load_explicit(&peer->epoch, memory_order_acquire) & 1) != 0;
}

static inline bool tm_dpdk_is_memif(const struct tm_dpdk *net)
{
    return net->port_text[0] == '\0';
}

/* The lower node of a pair serves, the higher one connects. */
static inline bool tm_dpdk_is_server(const struct tm_dpdk *net, const struct tm_dpdk_peer *peer)
{
    return net->wire.self.node < peer->station.node;
}

#define tm_dpdk_log(net, level, event, ...)                                                        \
    do {                                                                                           \
        if ((net)->config.log.write != NULL)                                                       \
            (net)->config.log.write((net)->config.log.host, (level), (event), __VA_ARGS__);        \
    } while (0)

/* fabric_dpdk.c */

/* The calls of an end; host and max_frame are to be set. */
extern const struct tm_fabric tm_dpdk_fabric;

/* Owner: the peer came or went.  Tells all workers; a peer that went leaves no frames behind. */
void tm_dpdk_peer_set(struct tm_dpdk_end *end, struct tm_dpdk_peer *peer, bool up);

/* Owner: lets the timer fire every period_ns; 0 stops it. */
void tm_dpdk_timer_set(struct tm_dpdk_end *end, uint64_t period_ns);

/* dpdk_port.c: an ethdev as a queue of frames; owner, but for create. */

/* Makes the virtual device (args NULL: it exists already) and finds its id. */
enum tm_err tm_dpdk_port_create(struct tm_dpdk_port *port, const char *name, const char *args);

/* Unmakes it; stopped before. */
void tm_dpdk_port_destroy(struct tm_dpdk_port *port);

/* Configures one queue each way, once, before the first start. */
enum tm_err tm_dpdk_port_configure(struct tm_dpdk *net, struct tm_dpdk_port *port);
enum tm_err tm_dpdk_port_start(struct tm_dpdk_port *port);
void tm_dpdk_port_stop(struct tm_dpdk_port *port);
bool tm_dpdk_port_link_up(const struct tm_dpdk_port *port);

/* Gives the other side of a fresh memif link room to send: its client does so when it receives. */
void tm_dpdk_port_prime(struct tm_dpdk_port *port);

/* Takes a frame for the next flush; bursts at once when its buffer is full.  TM_ERR_FULL: no
 * room; the mbuf stays the caller's. */
enum tm_err tm_dpdk_port_push(struct tm_dpdk_port *port, struct rte_mbuf *mbuf);

/* Sends what fits, returns how many frames left; the rest stays for the next flush. */
unsigned tm_dpdk_port_flush(struct tm_dpdk_port *port);

/* Frees what was not sent. */
unsigned tm_dpdk_port_drop(struct tm_dpdk_port *port);

/* dpdk_memif.c: pairs of nodes on one machine. */
enum tm_err tm_dpdk_memif_create(struct tm_dpdk *net, char *why, size_t size);
void tm_dpdk_memif_destroy(struct tm_dpdk *net);
enum tm_err tm_dpdk_memif_open(struct tm_dpdk_end *end);
void tm_dpdk_memif_close(struct tm_dpdk_end *end);

/* Connects what is not connected, and takes over the state of links. */
void tm_dpdk_memif_tick(struct tm_dpdk_end *end, uint64_t now);

/* dpdk_ether.c: all peers behind one ethdev. */
enum tm_err tm_dpdk_ether_create(struct tm_dpdk *net, char *why, size_t size);
void tm_dpdk_ether_destroy(struct tm_dpdk *net);
enum tm_err tm_dpdk_ether_open(struct tm_dpdk_end *end);
void tm_dpdk_ether_tick(struct tm_dpdk_end *end, uint64_t now);

/* A frame of a peer came: it is alive.  A frame that is not data is dealt with. */
void tm_dpdk_ether_heard(struct tm_dpdk_end *end, const struct tm_dpdk_frame *frame);

/* Something that is no frame of ours came: ARP is answered and learnt from. */
void tm_dpdk_ether_other(struct tm_dpdk_end *end, const uint8_t *data, size_t len);

/* The owner goes to sleep: tells the peers, at once. */
void tm_dpdk_ether_announce(struct tm_dpdk_end *end);

/* Rings the doorbells of parked peers among `nodes`, to which frames were sent. */
void tm_dpdk_ether_ring(struct tm_dpdk_end *end, uint64_t nodes);

/* dpdk_secret.c */

/* Reads the secret from the file at path, which only this user may read; makes it when it is
 * missing, unless a node that runs puts it back (which is waited for up to 3 s).
 * secret[TM_DPDK_SECRET_MAX]. */
enum tm_err tm_dpdk_secret_get(const char *path, char *secret, char *why, size_t size);

#endif
