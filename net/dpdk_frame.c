/* Sending: the shared head is made once a peer; per frame two ports, three lengths and the IPv4
 * checksum change.  Receiving: each field is compared with what it has to be, front to back, and
 * the first that differs makes it somebody else's frame. */
#include "net/dpdk_frame.h"

#include "net/fabric.h"

enum {
    AT_TYPE = 12,
    AT_IP = 14,
    AT_IP_LEN = 16,
    AT_IP_FLAGS = 20,
    AT_IP_TTL = 22,
    AT_IP_PROTO = 23,
    AT_IP_SUM = 24,
    AT_IP_SRC = 26,
    AT_IP_DST = 30,
    AT_UDP_SRC = 34,
    AT_UDP_DST = 36,
    AT_UDP_LEN = 38,
    AT_KIND = 42,
    AT_VERSION = 43,
    AT_SRC_NODE = 44,
    AT_DST_NODE = 45,
    AT_BOOT = 46,
    AT_DOMAIN = 48,
    AT_SEQUENCE = 52,
    AT_ARP = 14,
};

#define TYPE_IPV4     0x0800
#define TYPE_ARP      0x0806
#define IP_BYTES      20
#define UDP_BYTES     8
#define OWN_BYTES     14
#define PROTO_UDP     17
#define DONT_FRAGMENT 0x4000

TM_STATIC_ASSERT(AT_SEQUENCE + 4 == TM_DPDK_HEAD_BYTES, "the head ends with the sequence");
TM_STATIC_ASSERT(TM_DPDK_HEAD_BYTES % 8 == 0, "payloads stay aligned");

static void put16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
    put16(p, v >> 16);
    put16(p + 2, v & 0xffff);
}

static unsigned get16(const uint8_t *p)
{
    return (unsigned)p[0] << 8 | p[1];
}

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static unsigned ip_checksum(const uint8_t *ip)
{
    uint32_t sum = 0;
    for (int i = 0; i < IP_BYTES; i += 2)
        sum += get16(ip + i);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return ~sum & 0xffff;
}

void tm_dpdk_head_init(uint8_t *head, const struct tm_dpdk_wire *wire,
                       const struct tm_dpdk_station *peer)
{
    memset(head, 0, TM_DPDK_HEAD_BYTES);
    memcpy(head, peer->mac, 6);
    memcpy(head + 6, wire->self.mac, 6);
    put16(head + AT_TYPE, TYPE_IPV4);
    head[AT_IP] = 0x45;
    put16(head + AT_IP_FLAGS, DONT_FRAGMENT);
    head[AT_IP_TTL] = 64;
    head[AT_IP_PROTO] = PROTO_UDP;
    put32(head + AT_IP_SRC, wire->self.ip);
    put32(head + AT_IP_DST, peer->ip);
    put16(head + AT_UDP_SRC, wire->udp_base);
    put16(head + AT_UDP_DST, wire->udp_base);
    head[AT_VERSION] = TM_DPDK_FRAME_VERSION;
    head[AT_SRC_NODE] = wire->self.node;
    head[AT_DST_NODE] = peer->node;
    tm_store16(head + AT_BOOT, wire->boot);
    tm_store32(head + AT_DOMAIN, wire->domain);
}

void tm_dpdk_head_write(uint8_t *frame, const uint8_t *head, enum tm_dpdk_kind kind,
                        unsigned src_worker, unsigned dst_worker, size_t len)
{
    unsigned udp_len = (unsigned)len + UDP_BYTES + OWN_BYTES;
    memcpy(frame, head, TM_DPDK_HEAD_BYTES);
    put16(frame + AT_IP_LEN, udp_len + IP_BYTES);
    put16(frame + AT_IP_SUM, ip_checksum(frame + AT_IP));
    put16(frame + AT_UDP_SRC, get16(head + AT_UDP_SRC) + src_worker);
    put16(frame + AT_UDP_DST, get16(head + AT_UDP_DST) + dst_worker);
    put16(frame + AT_UDP_LEN, udp_len);
    frame[AT_KIND] = (uint8_t)kind;
}

void tm_dpdk_head_stamp(uint8_t *frame, const uint8_t dst_mac[6], uint32_t sequence)
{
    memcpy(frame, dst_mac, 6);
    tm_store32(frame + AT_SEQUENCE, sequence);
}

unsigned tm_dpdk_head_dst_node(const uint8_t *frame)
{
    return frame[AT_DST_NODE];
}

/* True if the Ethernet, IPv4 and UDP headers are those of a whole datagram for this station. */
static bool is_datagram_for(const uint8_t *data, size_t len, const struct tm_dpdk_station *self)
{
    if (len < TM_DPDK_HEAD_BYTES || get16(data + AT_TYPE) != TYPE_IPV4)
        return false;
    if (data[AT_IP] != 0x45 || data[AT_IP_PROTO] != PROTO_UDP)
        return false;
    if ((get16(data + AT_IP_FLAGS) & ~(unsigned)DONT_FRAGMENT) != 0)
        return false;
    unsigned ip_len = get16(data + AT_IP_LEN);
    if (ip_len < IP_BYTES + UDP_BYTES + OWN_BYTES || ip_len + TM_DPDK_ETHER_BYTES > len)
        return false;
    return get32(data + AT_IP_DST) == self->ip && get16(data + AT_UDP_LEN) + IP_BYTES == ip_len;
}

bool tm_dpdk_frame_parse(uint8_t *data, size_t len, const struct tm_dpdk_wire *wire,
                         struct tm_dpdk_frame *frame)
{
    if (!is_datagram_for(data, len, &wire->self))
        return false;
    if (data[AT_VERSION] != TM_DPDK_FRAME_VERSION || tm_load32(data + AT_DOMAIN) != wire->domain)
        return false;
    if (data[AT_DST_NODE] != wire->self.node || data[AT_SRC_NODE] >= TM_NODES_MAX)
        return false;
    unsigned src_worker = get16(data + AT_UDP_SRC) - wire->udp_base;
    unsigned dst_worker = get16(data + AT_UDP_DST) - wire->udp_base;
    if (src_worker >= TM_WORKERS_MAX || dst_worker >= TM_WORKERS_MAX)
        return false;
    *frame = (struct tm_dpdk_frame){
        .kind = (enum tm_dpdk_kind)data[AT_KIND],
        .src_node = data[AT_SRC_NODE],
        .src_worker = src_worker,
        .dst_worker = dst_worker,
        .boot = tm_load16(data + AT_BOOT),
        .sequence = tm_load32(data + AT_SEQUENCE),
        .payload = data + TM_DPDK_HEAD_BYTES,
        .len = get16(data + AT_UDP_LEN) - UDP_BYTES - OWN_BYTES,
    };
    return true;
}

/* hardware Ethernet, protocol IPv4, lengths 6 and 4 */
static const uint8_t arp_fixed[6] = {0, 1, 8, 0, 6, 4};

bool tm_dpdk_arp_parse(const uint8_t *data, size_t len, struct tm_dpdk_arp *arp)
{
    if (len < AT_ARP + 28 || get16(data + AT_TYPE) != TYPE_ARP)
        return false;
    const uint8_t *p = data + AT_ARP;
    if (memcmp(p, arp_fixed, sizeof arp_fixed) != 0)
        return false;
    unsigned op = get16(p + 6);
    if (op != TM_DPDK_ARP_REQUEST && op != TM_DPDK_ARP_REPLY)
        return false;
    arp->op = (enum tm_dpdk_arp_op)op;
    memcpy(arp->sender.mac, p + 8, 6);
    arp->sender.ip = get32(p + 14);
    arp->target_ip = get32(p + 24);
    return true;
}

void tm_dpdk_arp_write(uint8_t *data, enum tm_dpdk_arp_op op, const struct tm_dpdk_station *self,
                       const struct tm_dpdk_station *target)
{
    uint8_t *p = data + AT_ARP;
    memset(data, 0, TM_DPDK_ARP_BYTES);
    if (op == TM_DPDK_ARP_REQUEST)
        memset(data, 0xff, 6);
    else
        memcpy(data, target->mac, 6);
    memcpy(data + 6, self->mac, 6);
    put16(data + AT_TYPE, TYPE_ARP);
    memcpy(p, arp_fixed, sizeof arp_fixed);
    put16(p + 6, op);
    memcpy(p + 8, self->mac, 6);
    put32(p + 14, self->ip);
    if (op == TM_DPDK_ARP_REPLY)
        memcpy(p + 18, target->mac, 6);
    put32(p + 24, target->ip);
}
