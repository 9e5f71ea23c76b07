#include "net/dpdk_frame.h"
#include "net/fabric.h"
#include "tests/test.h"

static struct tm_dpdk_wire wire_of(uint8_t node)
{
    struct tm_dpdk_wire wire = {
        .self = {.ip = 0x0a000001u + node, .mac = {2, 0, 0, 0, 0, node}, .node = node},
        .udp_base = 29696,
        .boot = 0xbee0,
        .domain = 0xfeedbeef,
    };
    return wire;
}

/* A frame from node 3, worker 5, to node 7, worker 63; returns its length on the wire. */
static size_t make_frame(uint8_t *frame, size_t payload)
{
    struct tm_dpdk_wire from = wire_of(3);
    struct tm_dpdk_wire to = wire_of(7);
    uint8_t head[TM_DPDK_HEAD_BYTES];
    tm_dpdk_head_init(head, &from, &to.self);
    tm_dpdk_head_write(frame, head, TM_DPDK_DATA, 5, 63, payload);
    tm_dpdk_head_stamp(frame, to.self.mac, 0x01020304);
    memset(frame + TM_DPDK_HEAD_BYTES, 0xab, payload);
    return TM_DPDK_HEAD_BYTES + payload;
}

static void layout_is_frozen(void)
{
    static const uint8_t expected[TM_DPDK_HEAD_BYTES] = {
        2,    0, 0,  0,  0,    7,    2,    0,    0,    0,    0,    3,    0x08, 0x00,
        0x45, 0, 0,  52, 0,    0,    0x40, 0,    64,   17,   0x26, 0xae, 10,   0,
        0,    4, 10, 0,  0,    8,    0x74, 0x05, 0x74, 0x3f, 0,    32,   0,    0,
        1,    1, 3,  7,  0xe0, 0xbe, 0xef, 0xbe, 0xed, 0xfe, 4,    3,    2,    1};
    uint8_t frame[128];
    make_frame(frame, 10);
    CU_ASSERT(memcmp(frame, expected, sizeof expected) == 0);
}

static void ip_checksum_sums_to_ones(void)
{
    uint8_t frame[2000];
    for (size_t payload = 1; payload < 1500; payload += 7) {
        uint32_t sum = 0;
        make_frame(frame, payload);
        for (int i = 14; i < 34; i += 2)
            sum += (uint32_t)frame[i] << 8 | frame[i + 1];
        sum = (sum & 0xffff) + (sum >> 16);
        CU_ASSERT_EQUAL((sum & 0xffff) + (sum >> 16), 0xffff);
    }
}

static void what_was_written_is_read(void)
{
    uint8_t data[2000];
    struct tm_dpdk_wire to = wire_of(7);
    struct tm_dpdk_frame frame;
    for (size_t payload = 0; payload < 1500; payload += 13) {
        size_t len = make_frame(data, payload);
        CU_ASSERT_FATAL(tm_dpdk_frame_parse(data, len, &to, &frame));
        CU_ASSERT_EQUAL(frame.kind, TM_DPDK_DATA);
        CU_ASSERT_EQUAL(frame.src_node, 3);
        CU_ASSERT_EQUAL(frame.src_worker, 5);
        CU_ASSERT_EQUAL(frame.dst_worker, 63);
        CU_ASSERT_EQUAL(frame.boot, 0xbee0);
        CU_ASSERT_EQUAL(frame.sequence, 0x01020304);
        CU_ASSERT_EQUAL(frame.len, payload);
        CU_ASSERT_PTR_EQUAL(frame.payload, data + TM_DPDK_HEAD_BYTES);
        CU_ASSERT_EQUAL(tm_dpdk_head_dst_node(data), 7);
    }
}

static void padding_is_not_payload(void)
{
    uint8_t data[128] = {0};
    struct tm_dpdk_wire to = wire_of(7);
    struct tm_dpdk_frame frame;
    make_frame(data, 1);
    CU_ASSERT_FATAL(tm_dpdk_frame_parse(data, TM_DPDK_FRAME_MIN, &to, &frame));
    CU_ASSERT_EQUAL(frame.len, 1);
}

static void a_cut_frame_is_refused(void)
{
    uint8_t data[300];
    struct tm_dpdk_wire to = wire_of(7);
    struct tm_dpdk_frame frame;
    size_t len = make_frame(data, 200);
    for (size_t cut = 0; cut < len; cut++)
        CU_ASSERT_FALSE(tm_dpdk_frame_parse(data, cut, &to, &frame));
}

static void frames_of_others_are_refused(void)
{
    uint8_t data[300];
    struct tm_dpdk_frame frame;
    struct tm_dpdk_wire to = wire_of(7);
    size_t len = make_frame(data, 200);
    struct tm_dpdk_wire other = wire_of(8);
    CU_ASSERT_FALSE(tm_dpdk_frame_parse(data, len, &other, &frame));
    other = to;
    other.domain++;
    CU_ASSERT_FALSE(tm_dpdk_frame_parse(data, len, &other, &frame));
    other = to;
    other.udp_base = 40000;
    CU_ASSERT_FALSE(tm_dpdk_frame_parse(data, len, &other, &frame));
    other = to;
    other.self.ip++;
    CU_ASSERT_FALSE(tm_dpdk_frame_parse(data, len, &other, &frame));
    CU_ASSERT(tm_dpdk_frame_parse(data, len, &to, &frame));
}

/* Whatever bytes come, what is taken lies inside them and names workers and nodes that exist. */
static void random_damage_never_leads_outside(void)
{
    struct tm_dpdk_wire to = wire_of(7);
    srand48((long)tm_test_seed());
    for (int round = 0; round < 200000; round++) {
        uint8_t data[160];
        struct tm_dpdk_frame frame;
        size_t len = make_frame(data, (size_t)(lrand48() % 100));
        for (int flips = 1 + (int)(lrand48() % 4); flips > 0; flips--)
            data[lrand48() % (long)len] = (uint8_t)lrand48();
        size_t seen = (size_t)lrand48() % (len + 1);
        if (!tm_dpdk_frame_parse(data, seen, &to, &frame))
            continue;
        CU_ASSERT_FATAL(frame.payload + frame.len <= data + seen);
        CU_ASSERT_FATAL(frame.src_node < TM_NODES_MAX);
        CU_ASSERT_FATAL(frame.src_worker < TM_WORKERS_MAX && frame.dst_worker < TM_WORKERS_MAX);
    }
}

static void arp_asks_all_and_answers_one(void)
{
    uint8_t data[TM_DPDK_ARP_BYTES];
    struct tm_dpdk_arp arp;
    struct tm_dpdk_wire a = wire_of(1);
    struct tm_dpdk_wire b = wire_of(2);
    tm_dpdk_arp_write(data, TM_DPDK_ARP_REQUEST, &a.self, &b.self);
    CU_ASSERT_EQUAL(data[0], 0xff);
    CU_ASSERT_FATAL(tm_dpdk_arp_parse(data, sizeof data, &arp));
    CU_ASSERT_EQUAL(arp.op, TM_DPDK_ARP_REQUEST);
    CU_ASSERT_EQUAL(arp.target_ip, b.self.ip);
    CU_ASSERT_EQUAL(arp.sender.ip, a.self.ip);
    tm_dpdk_arp_write(data, TM_DPDK_ARP_REPLY, &b.self, &arp.sender);
    CU_ASSERT(memcmp(data, a.self.mac, 6) == 0);
    CU_ASSERT_FATAL(tm_dpdk_arp_parse(data, sizeof data, &arp));
    CU_ASSERT_EQUAL(arp.op, TM_DPDK_ARP_REPLY);
    CU_ASSERT(memcmp(arp.sender.mac, b.self.mac, 6) == 0);
    for (size_t cut = 0; cut < 42; cut++)
        CU_ASSERT_FALSE(tm_dpdk_arp_parse(data, cut, &arp));
}

static const struct tm_test tests[] = {
    TM_TEST(layout_is_frozen),
    TM_TEST(ip_checksum_sums_to_ones),
    TM_TEST(what_was_written_is_read),
    TM_TEST(padding_is_not_payload),
    TM_TEST(a_cut_frame_is_refused),
    TM_TEST(frames_of_others_are_refused),
    TM_TEST(random_damage_never_leads_outside),
    TM_TEST(arp_asks_all_and_answers_one),
};
TM_TEST_MAIN("net/dpdk_frame", tests)
