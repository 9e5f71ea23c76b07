/* A frame's way: send() copies it into an mbuf behind its head.  If this worker owns the peer's
 * port, it waits in the port's tx buffer for flush(); else a pointer to it goes by ring to the
 * owner.  At the other side the owner's poll() takes it from the port, and calls the sink, or
 * passes it by ring to the worker that the UDP port names.
 *
 * Whoever publishes something rings the doorbell of the worker that has to look: of this node's
 * workers after a ring, of the peer's owner after a burst (a load when it is awake).
 *
 * A peer's epoch (odd: up) is moved by the port's owner; the workers see that the node's
 * generation changed, and tell their sinks in their next poll. */
#include "net/fabric_dpdk.h"
#include "runtime/clock.h"

#include <errno.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include "net/dpdk_internal.h"

TM_STATIC_ASSERT(TM_NODES_MAX <= 64, "touched is a mask of nodes");

static struct tm_dpdk_end *end_of(const struct tm_fabric *f)
{
    return f->host;
}

static bool owns(const struct tm_dpdk_end *end, const struct tm_dpdk_port *port)
{
    return port->owner == end->worker;
}

/* ---- peers ---- */

void tm_dpdk_peer_set(struct tm_dpdk_end *end, struct tm_dpdk_peer *peer, bool up)
{
    struct tm_dpdk *net = end->net;
    if (tm_dpdk_peer_is_up(peer) == up)
        return;
    if (!up)
        peer->down_since = tm_clock_ns();
    if (!up && tm_dpdk_is_memif(net))
        tm_dpdk_count(end, TM_COUNTER_dpdk_frames_dropped, tm_dpdk_port_drop(peer->port));
    atomic_fetch_add_explicit(&peer->epoch, 1, memory_order_release);
    atomic_fetch_add_explicit(&net->generation, 1, memory_order_release);
    for (unsigned w = 0; w < net->config.workers; w++)
        if (w != end->worker)
            tm_doorbell_ring(&net->bells[w]);
}

static void event_tell(struct tm_dpdk_end *end, unsigned node, enum tm_fabric_event event)
{
    tm_dpdk_count(end, event == TM_FABRIC_PEER_UP ? TM_COUNTER_peer_ups : TM_COUNTER_peer_downs, 1);
    end->sink.event(end->sink.host, node, event);
}

/* Tells the sink what changed since this worker last looked; up again between two looks is first
 * down, then up. */
static unsigned events_poll(struct tm_dpdk_end *end)
{
    struct tm_dpdk *net = end->net;
    uint32_t generation = atomic_load_explicit(&net->generation, memory_order_acquire);
    unsigned told = 0;
    if (TM_LIKELY(generation == end->seen_generation))
        return 0;
    end->seen_generation = generation;
    for (unsigned n = 0; n < TM_NODES_MAX; n++) {
        uint32_t epoch = atomic_load_explicit(&net->peers[n].epoch, memory_order_acquire);
        uint32_t seen = end->seen_epoch[n];
        end->seen_epoch[n] = epoch;
        if (epoch == seen)
            continue;
        if ((seen & 1) != 0)
            event_tell(end, n, TM_FABRIC_PEER_DOWN);
        if ((epoch & 1) != 0)
            event_tell(end, n, TM_FABRIC_PEER_UP);
        told++;
    }
    return told;
}

/* ---- timer and control ---- */

void tm_dpdk_timer_set(struct tm_dpdk_end *end, uint64_t period_ns)
{
    if (period_ns == end->timer_ns)
        return;
    struct timespec ts = {.tv_sec = (time_t)(period_ns / 1000000000),
                          .tv_nsec = (long)(period_ns % 1000000000)};
    struct itimerspec spec = {.it_interval = ts, .it_value = ts};
    timerfd_settime(end->timer_fd, 0, &spec, NULL);
    end->timer_ns = period_ns;
}

static void timer_ready(void *arg)
{
    struct tm_dpdk_end *end = arg;
    uint64_t ticks;
    ssize_t got = read(end->timer_fd, &ticks, sizeof ticks);
    (void)got;
}

static void bell_ready(void *arg)
{
    struct tm_dpdk_end *end = arg;
    uint64_t rings;
    ssize_t got = read(end->net->bells[end->worker].fd, &rings, sizeof rings);
    (void)got;
}

/* Off the hot path, each 100 µs and after each sleep: descriptors, retries, states of links.
 * Returns how many descriptors were ready; others may be, and those again. */
static unsigned control_check(struct tm_dpdk_end *end)
{
    end->now_ns = tm_clock_ns();
    unsigned ready = tm_pollset_poll(&end->set);
    if (tm_dpdk_is_memif(end->net))
        tm_dpdk_memif_tick(end, end->now_ns);
    else
        tm_dpdk_ether_tick(end, end->now_ns);
    end->next_check = rte_rdtsc() + end->check_cycles;
    return ready;
}

/* ---- receiving ---- */

/* Hands the mbuf to another worker of this node; false (and the mbuf stays) when its ring is full.
 */
static bool ring_pass(struct tm_dpdk_end *end, unsigned worker, uint32_t kind,
                      struct rte_mbuf *mbuf)
{
    void *record = tm_ring_claim(&end->to[worker], kind, sizeof mbuf);
    if (record == NULL) {
        tm_dpdk_count(end, TM_COUNTER_ring_full, 1);
        return false;
    }
    memcpy(record, &mbuf, sizeof mbuf);
    end->claimed |= UINT64_C(1) << worker;
    return true;
}

static void frame_tell(struct tm_dpdk_end *end, const struct tm_dpdk_frame *frame)
{
    tm_dpdk_count(end, TM_COUNTER_dpdk_frames_received, 1);
    tm_dpdk_count(end, TM_COUNTER_dpdk_bytes_received, frame->len);
    end->sink.frame(end->sink.host, frame->src_node, frame->src_worker, frame->payload, frame->len);
}

static bool frame_parse(struct tm_dpdk_end *end, struct rte_mbuf *mbuf, struct tm_dpdk_frame *frame)
{
    uint8_t *data = rte_pktmbuf_mtod(mbuf, uint8_t *);
    if (!tm_dpdk_frame_parse(data, mbuf->data_len, &end->net->wire, frame))
        return false;
    return mbuf->nb_segs == 1 && end->net->peers[frame->src_node].present;
}

/* A frame from a port that this worker owns. */
static void frame_take(struct tm_dpdk_end *end, struct rte_mbuf *mbuf)
{
    struct tm_dpdk *net = end->net;
    struct tm_dpdk_frame frame;
    if (!frame_parse(end, mbuf, &frame)) {
        if (!tm_dpdk_is_memif(net))
            tm_dpdk_ether_other(end, rte_pktmbuf_mtod(mbuf, uint8_t *), mbuf->data_len);
        rte_pktmbuf_free(mbuf);
        return;
    }
    if (!tm_dpdk_is_memif(net))
        tm_dpdk_ether_heard(end, &frame);
    bool data = frame.kind == TM_DPDK_DATA && frame.len > 0;
    if (data && frame.dst_worker == end->worker)
        frame_tell(end, &frame);
    else if (data && frame.dst_worker < net->config.workers &&
             ring_pass(end, frame.dst_worker, TM_DPDK_RING_DELIVER, mbuf))
        return;
    rte_pktmbuf_free(mbuf);
}

/* Puts a frame into its port's buffer with what only the owner knows; false: no room. */
static bool frame_push(struct tm_dpdk_end *end, struct tm_dpdk_peer *peer, struct rte_mbuf *mbuf)
{
    if (!tm_dpdk_peer_is_up(peer) || tm_dpdk_port_push(peer->port, mbuf) != TM_OK)
        return false;
    tm_dpdk_head_stamp(rte_pktmbuf_mtod(mbuf, uint8_t *), peer->station.mac, ++peer->sequence);
    end->touched |= UINT64_C(1) << peer->station.node;
    return true;
}

/* What another worker of this node passed on. */
static void ring_record_take(struct tm_dpdk_end *end, const struct tm_ring_record *record)
{
    struct rte_mbuf *mbuf;
    struct tm_dpdk_frame frame;
    memcpy(&mbuf, record->data, sizeof mbuf);
    if (record->kind == TM_DPDK_RING_SEND) {
        unsigned node = tm_dpdk_head_dst_node(rte_pktmbuf_mtod(mbuf, uint8_t *));
        if (frame_push(end, &end->net->peers[node], mbuf))
            return;
        tm_dpdk_count(end, TM_COUNTER_dpdk_frames_dropped, 1);
    } else if (frame_parse(end, mbuf, &frame)) {
        frame_tell(end, &frame);
    }
    rte_pktmbuf_free(mbuf);
}

static unsigned rings_poll(struct tm_dpdk_end *end, unsigned budget)
{
    unsigned got = 0;
    for (unsigned w = 0; w < end->net->config.workers && got < budget; w++) {
        struct tm_ring_record record;
        if (w == end->worker)
            continue;
        while (got < budget && tm_ring_next(&end->from[w], &record)) {
            ring_record_take(end, &record);
            got++;
        }
        tm_ring_release(&end->from[w]);
    }
    return got;
}

static bool port_readable(const struct tm_dpdk_end *end, const struct tm_dpdk_port *port)
{
    return owns(end, port) && port->present && port->started;
}

static unsigned ports_poll(struct tm_dpdk_end *end, unsigned budget)
{
    struct tm_dpdk *net = end->net;
    unsigned got = 0;
    for (unsigned p = 0; p < net->port_count && got < budget; p++) {
        struct rte_mbuf *burst[TM_DPDK_BURST];
        if (!port_readable(end, &net->ports[p]))
            continue;
        unsigned want = budget - got < TM_DPDK_BURST ? budget - got : TM_DPDK_BURST;
        unsigned count = rte_eth_rx_burst(net->ports[p].id, 0, burst, (uint16_t)want);
        for (unsigned i = 0; i < count; i++)
            frame_take(end, burst[i]);
        got += count;
    }
    return got;
}

static unsigned stash_poll(struct tm_dpdk_end *end)
{
    unsigned count = end->stash_count;
    end->stash_count = 0;
    for (unsigned i = 0; i < count; i++)
        frame_take(end, end->stash[i]);
    return count;
}

static unsigned fabric_poll(struct tm_fabric *f, unsigned budget)
{
    struct tm_dpdk_end *end = end_of(f);
    if (rte_rdtsc() >= end->next_check)
        control_check(end);
    unsigned got = events_poll(end) + stash_poll(end);
    got += rings_poll(end, budget);
    return got + ports_poll(end, budget);
}

/* ---- sending ---- */

static size_t pieces_len(const struct tm_bytes *pieces, unsigned count)
{
    size_t len = 0;
    for (unsigned i = 0; i < count; i++)
        len += pieces[i].len;
    return len;
}

static void frame_write(struct tm_dpdk_end *end, struct rte_mbuf *mbuf, const uint8_t *head,
                        unsigned worker, const struct tm_bytes *pieces, unsigned count, size_t len)
{
    uint8_t *frame = rte_pktmbuf_mtod(mbuf, uint8_t *);
    uint8_t *to = frame + TM_DPDK_HEAD_BYTES;
    tm_dpdk_head_write(frame, head, TM_DPDK_DATA, end->worker, worker, len);
    for (unsigned i = 0; i < count; i++) {
        memcpy(to, pieces[i].data, pieces[i].len);
        to += pieces[i].len;
    }
    size_t total = TM_DPDK_HEAD_BYTES + len;
    if (total < TM_DPDK_FRAME_MIN) {
        memset(to, 0, TM_DPDK_FRAME_MIN - total);
        total = TM_DPDK_FRAME_MIN;
    }
    mbuf->data_len = (uint16_t)total;
    mbuf->pkt_len = (uint32_t)total;
}

static enum tm_err send_dropped(struct tm_dpdk_end *end, enum tm_err err)
{
    tm_dpdk_count(end, TM_COUNTER_dpdk_frames_dropped, 1);
    return err;
}

static enum tm_err fabric_send(struct tm_fabric *f, unsigned node, unsigned worker,
                               const struct tm_bytes *pieces, unsigned count)
{
    struct tm_dpdk_end *end = end_of(f);
    TM_ASSERT(node < TM_NODES_MAX && worker < TM_WORKERS_MAX);
    struct tm_dpdk_peer *peer = &end->net->peers[node];
    size_t len = pieces_len(pieces, count);
    TM_ASSERT(len > 0 && len <= f->max_frame);
    if (!peer->present || !tm_dpdk_peer_is_up(peer))
        return send_dropped(end, TM_ERR_CLOSED);
    struct rte_mbuf *mbuf = rte_pktmbuf_alloc(end->net->pool);
    if (mbuf == NULL)
        return send_dropped(end, TM_ERR_FULL);
    frame_write(end, mbuf, peer->head, worker, pieces, count, len);
    bool taken = owns(end, peer->port) ? frame_push(end, peer, mbuf)
                                       : ring_pass(end, peer->port->owner, TM_DPDK_RING_SEND, mbuf);
    if (!taken) {
        rte_pktmbuf_free(mbuf);
        return send_dropped(end, TM_ERR_FULL);
    }
    tm_dpdk_count(end, TM_COUNTER_dpdk_frames_sent, 1);
    tm_dpdk_count(end, TM_COUNTER_dpdk_bytes_sent, len);
    return TM_OK;
}

static void rings_flush(struct tm_dpdk_end *end)
{
    for (; end->claimed != 0; end->claimed &= end->claimed - 1) {
        unsigned w = (unsigned)__builtin_ctzll(end->claimed);
        tm_ring_publish(&end->to[w]);
        if (tm_doorbell_ring(&end->net->bells[w]))
            tm_dpdk_count(end, TM_COUNTER_wakes_sent, 1);
    }
}

static void memif_flush(struct tm_dpdk_end *end)
{
    for (uint64_t left = end->touched; left != 0; left &= left - 1) {
        struct tm_dpdk_peer *peer = &end->net->peers[__builtin_ctzll(left)];
        if (peer->port->started && tm_dpdk_port_flush(peer->port) > 0 && peer->side.linked &&
            tm_doorbell_ring(&peer->side.bell))
            tm_dpdk_count(end, TM_COUNTER_doorbells_rung, 1);
        if (peer->port->tx_count == 0)
            end->touched &= ~(left & -left);
    }
}

static void ether_flush(struct tm_dpdk_end *end)
{
    struct tm_dpdk_port *port = &end->net->ports[0];
    if (!owns(end, port) || port->tx_count == 0)
        return;
    if (tm_dpdk_port_flush(port) > 0)
        tm_dpdk_ether_ring(end, end->touched);
    if (port->tx_count == 0)
        end->touched = 0;
}

static void fabric_flush(struct tm_fabric *f)
{
    struct tm_dpdk_end *end = end_of(f);
    rings_flush(end);
    if (end->touched == 0)
        return;
    if (tm_dpdk_is_memif(end->net))
        memif_flush(end);
    else
        ether_flush(end);
}

/* ---- sleeping ---- */

/* Looks at everything once; frames found in ports wait in the stash for the next poll. */
static bool anything_there(struct tm_dpdk_end *end)
{
    struct tm_dpdk *net = end->net;
    for (unsigned p = 0; p < net->port_count; p++) {
        if (!port_readable(end, &net->ports[p]))
            continue;
        if (end->stash_count + TM_DPDK_BURST > TM_ARRAY_LEN(end->stash))
            return true;
        end->stash_count +=
            rte_eth_rx_burst(net->ports[p].id, 0, end->stash + end->stash_count, TM_DPDK_BURST);
    }
    for (unsigned w = 0; w < net->config.workers; w++)
        if (w != end->worker && tm_ring_pending(&end->from[w]))
            return true;
    return end->stash_count > 0 || end->claimed != 0 ||
           atomic_load_explicit(&net->generation, memory_order_acquire) != end->seen_generation;
}

static bool fabric_park(struct tm_fabric *f)
{
    struct tm_dpdk_end *end = end_of(f);
    if (!tm_dpdk_is_memif(end->net) && owns(end, &end->net->ports[0]))
        tm_dpdk_ether_announce(end);
    tm_doorbell_park(&end->net->bells[end->worker]);
    /* Who watches the set may be told of new readiness only: nothing ready may be left behind. */
    bool ready = control_check(end) > 0;
    return !anything_there(end) && !ready;
}

static void fabric_unpark(struct tm_fabric *f)
{
    struct tm_dpdk_end *end = end_of(f);
    tm_doorbell_unpark(&end->net->bells[end->worker]);
    end->next_check = 0;
}

/* ---- opening and closing an end ---- */

static enum tm_err end_watch_own(struct tm_dpdk_end *end)
{
    end->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (end->timer_fd < 0)
        return tm_err_from_errno(errno);
    if (tm_pollset_add(&end->set, end->timer_fd, timer_ready, end) < 0)
        return TM_ERR_NOMEM;
    if (tm_pollset_add(&end->set, end->net->bells[end->worker].fd, bell_ready, end) < 0)
        return TM_ERR_NOMEM;
    return TM_OK;
}

static void fabric_close(struct tm_fabric *f)
{
    struct tm_dpdk_end *end = end_of(f);
    struct tm_dpdk *net = end->net;
    if (tm_dpdk_is_memif(net))
        tm_dpdk_memif_close(end);
    else if (owns(end, &net->ports[0]) && net->ports[0].started)
        tm_dpdk_port_stop(&net->ports[0]);
    rte_pktmbuf_free_bulk(end->stash, end->stash_count);
    end->stash_count = 0;
    if (end->timer_fd >= 0)
        close(end->timer_fd);
    end->timer_fd = -1;
    end->open = false;
    tm_eal_thread_leave();
}

enum tm_err tm_fabric_dpdk_open(struct tm_dpdk *net, unsigned worker,
                                const struct tm_fabric_sink *sink, struct tm_counters *counters,
                                struct tm_fabric **out)
{
    TM_ASSERT(worker < net->config.workers && !net->ends[worker]->open);
    struct tm_dpdk_end *end = net->ends[worker];
    enum tm_err err = tm_eal_thread_enter();
    if (err != TM_OK)
        return err;
    end->open = true;
    end->sink = *sink;
    end->counters = counters != NULL ? counters : &end->own_counters;
    end->check_cycles = rte_get_tsc_hz() / (1000000000 / TM_DPDK_CHECK_NS);
    err = end_watch_own(end);
    if (err == TM_OK)
        err = tm_dpdk_is_memif(net) ? tm_dpdk_memif_open(end) : tm_dpdk_ether_open(end);
    if (err != TM_OK) {
        fabric_close(&end->fabric);
        return err;
    }
    *out = &end->fabric;
    return TM_OK;
}

int tm_fabric_dpdk_fd(const struct tm_fabric *f)
{
    return end_of(f)->set.epoll_fd;
}

const struct tm_fabric tm_dpdk_fabric = {
    .name = "dpdk",
    .send = fabric_send,
    .poll = fabric_poll,
    .flush = fabric_flush,
    .park = fabric_park,
    .unpark = fabric_unpark,
    .close = fabric_close,
};
