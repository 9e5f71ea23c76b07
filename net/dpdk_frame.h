/* dpdk_frame.h: the bytes of a frame on an ethdev: Ethernet, IPv4, UDP, and 14 bytes of our own.
 *
 * Pure functions on bytes; no DPDK.  The UDP ports say the workers (base + worker), so that RSS
 * can steer by them; our own bytes say the nodes.  56 bytes stand before the payload, so that an
 * 8-aligned frame has an 8-aligned payload.  Frames shorter than 60 bytes are padded with zeros;
 * the UDP length says what counts.
 *
 *   0 Ethernet 14 | 14 IPv4 20 | 34 UDP 8 | 42 kind 1 | 43 version 1 | 44 source node 1 |
 *   45 destination node 1 | 46 boot 2 | 48 domain 4 | 52 sequence 4 | 56 payload
 *
 * The last four fields are little-endian, the rest network order. */
#ifndef TM_NET_DPDK_FRAME_H
#define TM_NET_DPDK_FRAME_H

#include "runtime/base.h"

#define TM_DPDK_HEAD_BYTES    56
#define TM_DPDK_FRAME_MIN     60
#define TM_DPDK_ETHER_BYTES   14
#define TM_DPDK_ARP_BYTES     60
#define TM_DPDK_FRAME_VERSION 1

enum tm_dpdk_kind {
    TM_DPDK_DATA = 1,   /* a frame of the fabric's user */
    TM_DPDK_HELLO = 2,  /* "I am here", where no link state says so; no payload */
    TM_DPDK_PARKED = 3, /* the port's owner goes to sleep; payload: last sequence received, u32 */
};

/* One side of the wire. */
struct tm_dpdk_station {
    uint32_t ip; /* host order */
    uint8_t mac[6];
    uint8_t node;
};

/* What all frames of a node have in common. */
struct tm_dpdk_wire {
    struct tm_dpdk_station self;
    uint16_t udp_base;
    uint16_t boot;   /* low bits of the process's boot id */
    uint32_t domain; /* hash of the cluster's text */
};

/* A received frame, taken apart.  payload points into the frame. */
struct tm_dpdk_frame {
    enum tm_dpdk_kind kind;
    unsigned src_node;
    unsigned src_worker;
    unsigned dst_worker;
    uint16_t boot;
    uint32_t sequence;
    uint8_t *payload;
    size_t len;
};

/* Fills head[TM_DPDK_HEAD_BYTES] with all that frames from this node to `peer` share. */
void tm_dpdk_head_init(uint8_t *head, const struct tm_dpdk_wire *wire,
                       const struct tm_dpdk_station *peer);

/* Writes a frame's head: the shared one, workers, kind, and the lengths and the checksum that
 * follow from `len` bytes of payload (65,000 at most). */
void tm_dpdk_head_write(uint8_t *frame, const uint8_t *head, enum tm_dpdk_kind kind,
                        unsigned src_worker, unsigned dst_worker, size_t len);

/* Sets what only the port's owner knows. */
void tm_dpdk_head_stamp(uint8_t *frame, const uint8_t dst_mac[6], uint32_t sequence);

/* The node that a frame written by tm_dpdk_head_write is for. */
unsigned tm_dpdk_head_dst_node(const uint8_t *frame);

/* Takes apart what came from the wire, whatever it is; false unless it is a whole frame of this
 * layout, version and domain for this node's address, and both workers are below 64.  Checksums
 * are not looked at: the channel has a better one. */
bool tm_dpdk_frame_parse(uint8_t *data, size_t len, const struct tm_dpdk_wire *wire,
                         struct tm_dpdk_frame *frame);

enum tm_dpdk_arp_op { TM_DPDK_ARP_REQUEST = 1, TM_DPDK_ARP_REPLY = 2 };

struct tm_dpdk_arp {
    enum tm_dpdk_arp_op op;
    struct tm_dpdk_station sender; /* node unused */
    uint32_t target_ip;
};

/* Takes apart an ARP packet for IPv4 over Ethernet; false for anything else. */
bool tm_dpdk_arp_parse(const uint8_t *data, size_t len, struct tm_dpdk_arp *arp);

/* Writes TM_DPDK_ARP_BYTES: a request for target->ip to all, or a reply to target. */
void tm_dpdk_arp_write(uint8_t *data, enum tm_dpdk_arp_op op, const struct tm_dpdk_station *self,
                       const struct tm_dpdk_station *target);

#endif
