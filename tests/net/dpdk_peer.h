/* dpdk_peer.h: a node of a test, in a process of its own: sends frames with checkable contents to
 * all its peers, checks what it gets, and writes what happened into memory that it shares with the
 * test.  Used by test_fabric_dpdk.c (memif) and by dpdk_wire.c (af_packet). */
#ifndef TM_TESTS_NET_DPDK_PEER_H
#define TM_TESTS_NET_DPDK_PEER_H

#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "net/fabric_dpdk.h"

#define PEER_NODES 4

/* What a node has seen; in shared memory, read by the test. */
struct peer_seen {
    _Atomic uint64_t received[PEER_NODES]; /* good frames from each node */
    _Atomic uint64_t bad;                  /* frames whose contents are not what was sent */
    _Atomic uint64_t misrouted;            /* frames for another worker or node */
    _Atomic uint32_t up[PEER_NODES];       /* times each node came up */
    _Atomic uint32_t down[PEER_NODES];
    _Atomic uint32_t late;  /* sleeps that only the timeout ended */
    _Atomic uint32_t ready; /* the end is open */
    char why[256];          /* if the node did not start */
};

/* What a node is to do. */
struct peer_job {
    struct tm_dpdk_config config;
    struct peer_seen *seen;
    unsigned peer_workers; /* of the other nodes */
    unsigned pace_us;      /* pause between rounds of sending; 0: none */
    uid_t user;            /* become this user first; 0: stay */
};

/* One worker of a node. */
struct peer_worker {
    const struct peer_job *job;
    struct tm_dpdk *net;
    struct tm_fabric *fabric;
    unsigned worker;
    uint64_t random;
    uint64_t up; /* mask */
};

/* Whose turn it is in ping-pong. */
struct peer_doze {
    uint64_t answered; /* frames of the other that were answered */
    bool served;       /* the first one was sent */
};

static inline uint64_t peer_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static inline uint64_t peer_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* Contents: source node and worker, destination node and worker, a seed, and bytes from the seed;
 * a frame shorter than that is all one byte, its length. */
static inline void peer_fill(uint8_t *data, size_t len, const uint8_t way[4], uint64_t seed)
{
    if (len < 12) {
        memset(data, (int)len, len);
        return;
    }
    memcpy(data, way, 4);
    tm_store64(data + 4, seed);
    for (size_t i = 12; i < len; i++)
        data[i] = (uint8_t)(peer_random(&seed) >> 24);
}

static inline bool peer_check(const uint8_t *data, size_t len, uint8_t way[4])
{
    uint64_t seed = 0;
    if (len < 12) {
        for (size_t i = 0; i < len; i++)
            if (data[i] != len)
                return false;
        return true;
    }
    memcpy(way, data, 4);
    seed = tm_load64(data + 4);
    for (size_t i = 12; i < len; i++)
        if (data[i] != (uint8_t)(peer_random(&seed) >> 24))
            return false;
    return true;
}

static inline void peer_frame(void *host, unsigned node, unsigned worker, uint8_t *data, size_t len)
{
    struct peer_worker *me = host;
    struct peer_seen *seen = me->job->seen;
    uint8_t way[4] = {(uint8_t)node, (uint8_t)worker, (uint8_t)me->job->config.node,
                      (uint8_t)me->worker};
    uint8_t expected[4];
    memcpy(expected, way, 4);
    if (!peer_check(data, len, way))
        atomic_fetch_add(&seen->bad, 1);
    else if (memcmp(way, expected, 4) != 0)
        atomic_fetch_add(&seen->misrouted, 1);
    else
        atomic_fetch_add(&seen->received[node], 1);
}

static inline void peer_event(void *host, unsigned node, enum tm_fabric_event event)
{
    struct peer_worker *me = host;
    struct peer_seen *seen = me->job->seen;
    bool up = event == TM_FABRIC_PEER_UP;
    me->up = up ? me->up | UINT64_C(1) << node : me->up & ~(UINT64_C(1) << node);
    if (me->worker == 0)
        atomic_fetch_add(up ? &seen->up[node] : &seen->down[node], 1);
}

static inline enum tm_err peer_send_one(struct peer_worker *me, unsigned node, size_t len)
{
    static _Thread_local uint8_t data[65536];
    unsigned worker = (unsigned)(peer_random(&me->random) % me->job->peer_workers);
    const uint8_t way[4] = {(uint8_t)me->job->config.node, (uint8_t)me->worker, (uint8_t)node,
                            (uint8_t)worker};
    peer_fill(data, len, way, peer_random(&me->random) | 1);
    size_t cut = len > 20 ? 20 : 0;
    const struct tm_bytes pieces[2] = {tm_bytes_of(data, cut), tm_bytes_of(data + cut, len - cut)};
    return me->fabric->send(me->fabric, node, worker, pieces, 2);
}

static inline void peer_send_round(struct peer_worker *me)
{
    for (uint64_t left = me->up; left != 0; left &= left - 1) {
        uint64_t r = peer_random(&me->random);
        size_t max = me->fabric->max_frame;
        size_t len = r % 8 == 0 ? max : 1 + (r >> 8) % (r % 8 < 6 ? 300 : max);
        peer_send_one(me, (unsigned)__builtin_ctzll(left), len);
    }
}

/* Sleeps as a worker does: announced, and woken by the fabric's descriptor. */
static inline void peer_sleep(struct peer_worker *me, int max_ms)
{
    if (me->fabric->park(me->fabric)) {
        struct pollfd fd = {.fd = tm_fabric_dpdk_fd(me->fabric), .events = POLLIN};
        poll(&fd, 1, max_ms);
    }
    me->fabric->unpark(me->fabric);
}

static inline void *peer_worker_run(void *arg)
{
    struct peer_worker *me = arg;
    struct peer_seen *seen = me->job->seen;
    const struct tm_fabric_sink sink = {.host = me, .frame = peer_frame, .event = peer_event};
    if (tm_fabric_dpdk_open(me->net, me->worker, &sink, NULL, &me->fabric) != TM_OK)
        abort();
    atomic_fetch_add(&seen->ready, 1);
    uint64_t next = 0, keep_at = 0;
    for (;;) {
        unsigned got = me->fabric->poll(me->fabric, 64);
        uint64_t now = peer_now();
        if (now >= next) {
            peer_send_round(me);
            next = now + me->job->pace_us * UINT64_C(1000);
        }
        if (me->worker == 0 && now >= keep_at) {
            tm_dpdk_keep_secret(me->net);
            keep_at = now + TM_MS(50);
        }
        me->fabric->flush(me->fabric);
        if (got == 0)
            peer_sleep(me, me->up != 0 ? 1 : 20);
    }
    return NULL;
}

/* EAL and the node's ports; exits the process with 2 and `why` in shared memory if it cannot. */
static inline struct tm_dpdk *peer_start(const struct peer_job *job)
{
    struct tm_dpdk *net = NULL;
    const struct tm_eal_config eal = {
        .pci = job->config.port != NULL && tm_eal_port_is_pci(job->config.port) ? job->config.port
                                                                                : NULL,
        .memory_mib = TM_DPDK_MEMORY_MIB(job->config.mbufs),
        .log = job->config.log,
    };
    char *why = job->seen->why;
    if (job->user != 0 && job->user != geteuid() &&
        (setgroups(0, NULL) != 0 || setgid(job->user) != 0 || setuid(job->user) != 0))
        _exit(2);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (tm_eal_start(&eal, why, sizeof job->seen->why) != TM_OK ||
        tm_dpdk_create(&job->config, &net, why, sizeof job->seen->why) != TM_OK)
        _exit(2);
    return net;
}

/* The whole life of a node; never returns. */
static inline void peer_run(const struct peer_job *job)
{
    static struct peer_worker workers[TM_WORKERS_MAX];
    struct tm_dpdk *net = peer_start(job);
    for (unsigned w = 0; w < job->config.workers; w++)
        workers[w] = (struct peer_worker){
            .job = job, .net = net, .worker = w, .random = job->config.boot * 2654435761u + w + 1};
    for (unsigned w = 1; w < job->config.workers; w++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, peer_worker_run, &workers[w]) != 0)
            abort();
    }
    peer_worker_run(&workers[0]);
}

/* One turn of all ends of a dozing node: answers each frame with one. */
static inline void peer_doze_turn(struct peer_worker *workers, unsigned count, unsigned other,
                                  struct peer_doze *doze)
{
    struct peer_worker *last = &workers[count - 1];
    for (unsigned w = 0; w < count; w++)
        workers[w].fabric->poll(workers[w].fabric, 64);
    uint64_t received = last->job->seen->received[other];
    if ((last->up >> other & 1) != 0 && (!doze->served || received > doze->answered)) {
        doze->answered = received;
        doze->served = peer_send_one(last, other, 100) == TM_OK;
    }
    for (unsigned w = 0; w < count; w++)
        workers[w].fabric->flush(workers[w].fabric);
}

/* Sleeps with all ends parked, unless one of them has found something. */
static inline void peer_doze_sleep(struct peer_worker *workers, unsigned count)
{
    struct pollfd fds[2];
    bool sleep = true;
    for (unsigned w = 0; w < count; w++) {
        sleep = workers[w].fabric->park(workers[w].fabric) && sleep;
        fds[w] = (struct pollfd){tm_fabric_dpdk_fd(workers[w].fabric), POLLIN, 0};
    }
    if (sleep && poll(fds, count, 30000) == 0)
        atomic_fetch_add(&workers[0].job->seen->late, 1);
    for (unsigned w = 0; w < count; w++)
        workers[w].fabric->unpark(workers[w].fabric);
}

/* Ping-pong between nodes 0 and 1, which sleep after each frame with timers far away: each frame
 * has to ring.  All ends (1 or 2) are on one thread; the last one sends, so that with two each
 * frame crosses workers.  Never returns. */
static inline void peer_doze_run(const struct peer_job *job)
{
    static struct peer_worker workers[2];
    struct tm_dpdk *net = peer_start(job);
    struct peer_doze doze = {.served = job->config.node != 0};
    for (unsigned w = 0; w < job->config.workers; w++) {
        struct peer_worker *me = &workers[w];
        *me = (struct peer_worker){.job = job, .net = net, .worker = w, .random = 77 + w};
        const struct tm_fabric_sink sink = {.host = me, .frame = peer_frame, .event = peer_event};
        if (tm_fabric_dpdk_open(net, w, &sink, NULL, &me->fabric) != TM_OK)
            _exit(3);
    }
    for (;;) {
        peer_doze_turn(workers, job->config.workers, 1 - job->config.node, &doze);
        peer_doze_sleep(workers, job->config.workers);
    }
}

#endif
