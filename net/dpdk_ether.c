/* All peers behind one ethdev, owned by worker 0.
 *
 * Nothing but frames tells of a peer: each node says hello every 250 ms to those whose MAC it
 * knows, and asks for the others by ARP; who was heard is up, who was not for a second is down,
 * and a changed boot id is another process.
 *
 * Sleep: af_packet and most ports raise no interrupt, so the owner announces to all peers that it
 * parks, with the last sequence received from each.  Who has sent beyond it, or sends later, rings
 * once by a datagram to the peer's kernel socket.  A lost announcement costs a delay until the
 * sleeper's next timer, nothing else. */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include "net/dpdk_internal.h"

#define IP_UDP_BYTES 28
#define OWN_BYTES    (TM_DPDK_HEAD_BYTES - TM_DPDK_ETHER_BYTES - IP_UDP_BYTES)
#define MTU_DEFAULT  1500

TM_STATIC_ASSERT(MTU_DEFAULT - IP_UDP_BYTES - OWN_BYTES >= 1400, "what fabric.h promises");

static struct tm_dpdk_port *the_port(struct tm_dpdk *net)
{
    return &net->ports[0];
}

/* ---- small frames of our own ---- */

static void push_or_drop(struct tm_dpdk *net, struct rte_mbuf *mbuf, size_t len)
{
    mbuf->data_len = (uint16_t)len;
    mbuf->pkt_len = (uint32_t)len;
    if (tm_dpdk_port_push(the_port(net), mbuf) != TM_OK)
        rte_pktmbuf_free(mbuf);
}

static void control_send(struct tm_dpdk *net, struct tm_dpdk_peer *peer, enum tm_dpdk_kind kind)
{
    struct rte_mbuf *mbuf = rte_pktmbuf_alloc(net->pool);
    if (mbuf == NULL)
        return;
    uint8_t *frame = rte_pktmbuf_mtod(mbuf, uint8_t *);
    size_t len = kind == TM_DPDK_PARKED ? sizeof peer->received : 0;
    tm_dpdk_head_write(frame, peer->head, kind, 0, 0, len);
    tm_dpdk_head_stamp(frame, peer->station.mac, peer->sequence);
    tm_store32(frame + TM_DPDK_HEAD_BYTES, len > 0 ? peer->received : 0);
    TM_STATIC_ASSERT(TM_DPDK_HEAD_BYTES + 4 == TM_DPDK_FRAME_MIN, "no padding is needed");
    push_or_drop(net, mbuf, TM_DPDK_FRAME_MIN);
}

static void arp_send(struct tm_dpdk *net, enum tm_dpdk_arp_op op,
                     const struct tm_dpdk_station *target)
{
    struct rte_mbuf *mbuf = rte_pktmbuf_alloc(net->pool);
    if (mbuf == NULL)
        return;
    tm_dpdk_arp_write(rte_pktmbuf_mtod(mbuf, uint8_t *), op, &net->wire.self, target);
    push_or_drop(net, mbuf, TM_DPDK_ARP_BYTES);
}

/* ---- hearing of peers ---- */

static void mac_learn(struct tm_dpdk_peer *peer, const uint8_t *mac)
{
    if (peer->resolved)
        return;
    memcpy(peer->station.mac, mac, 6);
    peer->resolved = true;
}

static void peer_lost(struct tm_dpdk_end *end, struct tm_dpdk_peer *peer)
{
    static const uint8_t none[6];
    peer->heard = false;
    peer->parked = false;
    peer->received = 0;
    /* It may come back with another card. */
    peer->resolved =
        memcmp(end->net->config.address[peer->station.node].mac, none, sizeof none) != 0;
    tm_dpdk_peer_set(end, peer, false);
}

/* The peer sleeps; what it had not received when it said so must wake it. */
static void peer_parked(struct tm_dpdk_end *end, struct tm_dpdk_peer *peer,
                        const struct tm_dpdk_frame *frame)
{
    if (frame->len < sizeof peer->received)
        return;
    peer->parked = true;
    if (tm_load32(frame->payload) != peer->sequence)
        tm_dpdk_ether_ring(end, UINT64_C(1) << peer->station.node);
}

void tm_dpdk_ether_heard(struct tm_dpdk_end *end, const struct tm_dpdk_frame *frame)
{
    struct tm_dpdk_peer *peer = &end->net->peers[frame->src_node];
    if (peer->heard && peer->boot != frame->boot)
        peer_lost(end, peer);
    peer->heard_ns = end->now_ns;
    if (!peer->heard) {
        peer->heard = true;
        peer->boot = frame->boot;
        mac_learn(peer, frame->payload - TM_DPDK_HEAD_BYTES + 6);
        control_send(end->net, peer, TM_DPDK_HELLO);
        tm_dpdk_port_flush(the_port(end->net));
        tm_dpdk_peer_set(end, peer, true);
    }
    if (frame->kind == TM_DPDK_DATA && (int32_t)(frame->sequence - peer->received) > 0)
        peer->received = frame->sequence;
    if (frame->kind == TM_DPDK_PARKED)
        peer_parked(end, peer, frame);
}

void tm_dpdk_ether_other(struct tm_dpdk_end *end, const uint8_t *data, size_t len)
{
    struct tm_dpdk *net = end->net;
    struct tm_dpdk_arp arp;
    if (!tm_dpdk_arp_parse(data, len, &arp))
        return;
    for (unsigned n = 0; n < TM_NODES_MAX; n++)
        if (net->peers[n].present && net->peers[n].station.ip == arp.sender.ip)
            mac_learn(&net->peers[n], arp.sender.mac);
    if (arp.op == TM_DPDK_ARP_REQUEST && arp.target_ip == net->wire.self.ip) {
        arp_send(net, TM_DPDK_ARP_REPLY, &arp.sender);
        tm_dpdk_port_flush(the_port(net));
    }
}

void tm_dpdk_ether_tick(struct tm_dpdk_end *end, uint64_t now)
{
    struct tm_dpdk *net = end->net;
    if (the_port(net)->owner != end->worker || now < end->next_hello)
        return;
    end->next_hello = now + TM_DPDK_HELLO_NS;
    for (unsigned n = 0; n < TM_NODES_MAX; n++) {
        struct tm_dpdk_peer *peer = &net->peers[n];
        if (!peer->present)
            continue;
        if (peer->heard && now - peer->heard_ns > TM_DPDK_SILENCE_NS)
            peer_lost(end, peer);
        if (peer->resolved)
            control_send(net, peer, TM_DPDK_HELLO);
        else
            arp_send(net, TM_DPDK_ARP_REQUEST, &peer->station);
    }
    tm_dpdk_port_flush(the_port(net));
}

/* ---- sleeping ---- */

void tm_dpdk_ether_announce(struct tm_dpdk_end *end)
{
    struct tm_dpdk *net = end->net;
    for (unsigned n = 0; n < TM_NODES_MAX; n++)
        if (net->peers[n].present && net->peers[n].heard)
            control_send(net, &net->peers[n], TM_DPDK_PARKED);
    tm_dpdk_port_flush(the_port(net));
}

void tm_dpdk_ether_ring(struct tm_dpdk_end *end, uint64_t nodes)
{
    struct tm_dpdk *net = end->net;
    for (uint64_t left = nodes; left != 0; left &= left - 1) {
        unsigned n = (unsigned)__builtin_ctzll(left);
        const struct sockaddr_in *to = &net->config.address[n].bell;
        if (!net->peers[n].parked || net->bell_fd < 0 || to->sin_port == 0)
            continue;
        net->peers[n].parked = false;
        sendto(net->bell_fd, "tidemill", 8, MSG_DONTWAIT, (const struct sockaddr *)to, sizeof *to);
        tm_dpdk_count(end, TM_COUNTER_doorbells_rung, 1);
    }
}

/* Datagrams say nothing but "look": whatever comes is thrown away. */
static void bell_datagram(void *arg)
{
    struct tm_dpdk *net = arg;
    char sink[64];
    while (recv(net->bell_fd, sink, sizeof sink, MSG_DONTWAIT) >= 0)
        ;
}

/* ---- making and unmaking ---- */

static enum tm_err bell_open(struct tm_dpdk *net, char *why, size_t size)
{
    const struct sockaddr_in *at = &net->config.address[net->config.node].bell;
    if (at->sin_port == 0)
        return TM_OK;
    net->bell_fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (net->bell_fd >= 0 && bind(net->bell_fd, (const struct sockaddr *)at, sizeof *at) == 0 &&
        tm_pollset_add(&net->ends[0]->set, net->bell_fd, bell_datagram, net) >= 0)
        return TM_OK;
    int err = errno;
    snprintf(why, size, "dpdk: cannot listen for doorbells on UDP port %u: %s", ntohs(at->sin_port),
             strerror(err));
    return err == EADDRINUSE ? TM_ERR_LOCKED : tm_err_from_errno(err);
}

/* What DPDK calls a port that is given as af_packet:IFACE or af_xdp:IFACE, and *iface, within port.
 * Other texts are its own: "name,args" of a virtual device, or a PCI address that EAL was told to
 * take; *iface is NULL then.  False: an interface whose name would be taken for more arguments, or
 * too long. */
static bool device_text(const char *port, char *text, size_t size, const char **iface)
{
    static const char *const drivers[] = {"af_packet", "af_xdp"};
    for (size_t i = 0; i < TM_ARRAY_LEN(drivers); i++) {
        size_t len = strlen(drivers[i]);
        if (strncmp(port, drivers[i], len) != 0 || port[len] != ':')
            continue;
        *iface = port + len + 1;
        int n = snprintf(text, size, "net_%s0,iface=%s", drivers[i], *iface);
        return **iface != '\0' && strpbrk(*iface, ",= ") == NULL && n > 0 && (size_t)n < size;
    }
    *iface = NULL;
    int n = snprintf(text, size, "%s", port);
    return n > 0 && (size_t)n < size;
}

static enum tm_err device_create(struct tm_dpdk *net, char *why, size_t size)
{
    char text[256];
    const char *iface;
    if (!device_text(net->port_text, text, sizeof text, &iface)) {
        snprintf(why, size,
                 "dpdk: --fabric-port %s: an interface's name is needed, as in af_packet:eth1",
                 net->port_text);
        return TM_ERR_INVALID;
    }
    if (iface != NULL && if_nametoindex(iface) == 0) {
        snprintf(why, size, "dpdk: --fabric-port %s: there is no such interface here",
                 net->port_text);
        return TM_ERR_NOTFOUND;
    }
    bool pci = tm_eal_port_is_pci(text);
    char *comma = strchr(text, ',');
    if (comma != NULL)
        *comma = '\0';
    enum tm_err err =
        tm_dpdk_port_create(the_port(net), text, pci ? NULL : (comma != NULL ? comma + 1 : ""));
    if (err != TM_OK)
        snprintf(why, size, "dpdk: --fabric-port %s: %s", net->port_text,
                 pci ? "EAL found no such device: is it bound to vfio-pci?"
                     : "no such driver or interface, or no right to it (af_packet: CAP_NET_RAW "
                       "and CAP_NET_ADMIN)");
    return err;
}

static enum tm_err device_configure(struct tm_dpdk *net, char *why, size_t size)
{
    struct tm_dpdk_port *port = the_port(net);
    unsigned mtu = net->config.mtu != 0 ? net->config.mtu : MTU_DEFAULT;
    struct rte_ether_addr mac;
    net->max_frame = mtu - IP_UDP_BYTES - OWN_BYTES;
    if (rte_eth_macaddr_get(port->id, &mac) != 0 || tm_dpdk_port_configure(net, port) != TM_OK) {
        snprintf(why, size, "dpdk: --fabric-port %s: cannot be configured", net->port_text);
        return TM_ERR_IO;
    }
    memcpy(net->wire.self.mac, mac.addr_bytes, 6);
    if (mtu == MTU_DEFAULT || rte_eth_dev_set_mtu(port->id, (uint16_t)mtu) == 0)
        return TM_OK;
    snprintf(why, size, "dpdk: --fabric-port %s: takes no MTU of %u", net->port_text, mtu);
    return TM_ERR_INVALID;
}

static void peer_init(struct tm_dpdk *net, unsigned node)
{
    static const uint8_t none[6];
    const struct tm_dpdk_address *address = &net->config.address[node];
    struct tm_dpdk_peer *peer = &net->peers[node];
    peer->end = net->ends[0];
    peer->port = the_port(net);
    peer->station = (struct tm_dpdk_station){.ip = address->ip, .node = (uint8_t)node};
    memcpy(peer->station.mac, address->mac, 6);
    peer->resolved = memcmp(address->mac, none, 6) != 0;
    tm_dpdk_head_init(peer->head, &net->wire, &peer->station);
    peer->present = true;
}

enum tm_err tm_dpdk_ether_create(struct tm_dpdk *net, char *why, size_t size)
{
    net->port_count = 1;
    net->wire.self.ip = net->config.address[net->config.node].ip;
    enum tm_err err = device_create(net, why, size);
    if (err == TM_OK)
        err = device_configure(net, why, size);
    if (err == TM_OK)
        err = bell_open(net, why, size);
    for (unsigned n = 0; err == TM_OK && n < TM_NODES_MAX; n++)
        if ((net->config.peers >> n & 1) != 0)
            peer_init(net, n);
    return err;
}

void tm_dpdk_ether_destroy(struct tm_dpdk *net)
{
    tm_dpdk_port_destroy(the_port(net));
    if (net->bell_fd >= 0)
        close(net->bell_fd);
}

enum tm_err tm_dpdk_ether_open(struct tm_dpdk_end *end)
{
    struct tm_dpdk_port *port = the_port(end->net);
    if (port->owner != end->worker)
        return TM_OK;
    if (tm_dpdk_port_start(port) != TM_OK)
        return TM_ERR_IO;
    tm_dpdk_timer_set(end, TM_DPDK_HELLO_NS);
    return TM_OK;
}
