/* Frames between nodes.  The first byte chooses: the bytes are one frame from the wire (channel and
 * ethdev layouts, ARP), or a program that drives two channels over a wire in memory.
 *
 * On that wire frames are lost, doubled, reordered, changed, and, since chance does not hit a
 * checksum, sealed again: then what the channel takes them for is its own judgement, and all that
 * is held is that it stays in order.  As long as nothing was sealed again, messages arrive once,
 * whole, in the order they were sent, whatever else happened. */
#include "net/channel.h"
#include "net/dpdk_frame.h"
#include "tests/fuzz/fuzz.h"

#define CLUSTER     0x636c7573746572ull
#define PACKETS_MAX 32
#define STEPS_MAX   400
#define FRAME_MAX   1500

struct packet {
    unsigned to;
    size_t len;
    uint8_t bytes[FRAME_MAX];
};

struct end {
    struct wire *wire;
    unsigned side;
    struct tm_channel *ch;
    uint64_t boot;
    uint64_t sent;     /* messages of this process */
    uint64_t received; /* number of the last message of the present peer process */
    uint64_t peer;
    bool deaf, emit_full;
    const char *refuse;
};

struct wire {
    uint64_t now;
    struct end end[2];
    struct packet packet[PACKETS_MAX];
    unsigned packets;
    bool forged;
};

/* --- the channels' owner --- */

static enum tm_err emit(void *host, struct tm_channel *ch, const struct tm_bytes *pieces,
                        unsigned count)
{
    struct end *e = host;
    struct wire *w = e->wire;
    FUZZ_CHECK(ch == e->ch);
    if (e->emit_full)
        return TM_ERR_FULL;
    if (w->packets == PACKETS_MAX)
        return TM_OK; /* lost */
    struct packet *p = &w->packet[w->packets++];
    p->to = 1 - e->side;
    p->len = 0;
    for (unsigned i = 0; i < count; i++) {
        FUZZ_CHECK(p->len + pieces[i].len <= FRAME_MAX);
        memcpy(p->bytes + p->len, pieces[i].data, pieces[i].len);
        p->len += pieces[i].len;
    }
    struct tm_frame_head head;
    FUZZ_CHECK(tm_frame_check(p->bytes, p->len, CLUSTER, &head) == TM_OK);
    return TM_OK;
}

static bool message(void *host, struct tm_channel *ch, struct tm_bytes m)
{
    struct end *e = host;
    FUZZ_CHECK(ch == e->ch && m.len >= 1 && m.len <= TM_CHANNEL_MESSAGE_MAX);
    if (e->deaf)
        return false;
    uint64_t number = 0;
    for (size_t i = 0; i < m.len; i++)
        number += m.data[i]; /* every byte is read */
    if (e->wire->forged)
        return true;
    FUZZ_CHECK(m.len >= 16 && tm_load64(m.data + 8) == e->peer);
    number = tm_load64(m.data);
    FUZZ_CHECK(number > e->received && (e->received == 0 || number == e->received + 1));
    for (size_t i = 16; i < m.len; i++)
        FUZZ_CHECK(m.data[i] == (uint8_t)(number + i));
    e->received = number;
    return true;
}

static const char *accept_peer(void *host, struct tm_channel *ch, struct tm_bytes hello)
{
    struct end *e = host;
    FUZZ_CHECK(ch == e->ch && hello.len <= TM_CHANNEL_HELLO_MAX);
    return e->refuse;
}

static void up(void *host, struct tm_channel *ch, uint64_t boot, struct tm_bytes hello)
{
    struct end *e = host;
    FUZZ_CHECK(ch == e->ch && hello.len <= TM_CHANNEL_HELLO_MAX);
    e->peer = boot;
    e->received = 0;
}

static void reset(void *host, struct tm_channel *ch, uint64_t dropped)
{
    FUZZ_CHECK(ch == ((struct end *)host)->ch);
    FUZZ_CHECK(dropped <= ((struct end *)host)->sent);
}

static void refused(void *host, struct tm_channel *ch, const char *reason)
{
    FUZZ_CHECK(ch == ((struct end *)host)->ch && strlen(reason) < TM_CHANNEL_REASON_MAX);
}

static void writable(void *host, struct tm_channel *ch)
{
    FUZZ_CHECK(ch == ((struct end *)host)->ch);
}

static void start(struct wire *w, unsigned side)
{
    struct end *e = &w->end[side];
    uint64_t boot = e->boot + 2 + side;
    tm_channel_free(e->ch);
    *e = (struct end){.wire = w, .side = side, .boot = boot};
    struct tm_channel_config cfg = {
        .cluster = CLUSTER,
        .boot = boot,
        .local_node = (uint8_t)side,
        .peer_node = (uint8_t)(1 - side),
        .max_frame = FRAME_MAX,
        .send_window = 64 * 1024,
        .recv_window = 128 * 1024,
        .hello = tm_bytes_str("hello"),
        .sink = {e, emit, message, accept_peer, up, reset, refused, writable},
    };
    FUZZ_CHECK(tm_channel_new(&cfg, &e->ch) == TM_OK);
}

/* --- the program --- */

static void send_message(struct end *e, size_t len)
{
    static uint8_t bytes[70000];
    uint64_t number = e->sent + 1;
    tm_store64(bytes, number);
    tm_store64(bytes + 8, e->boot);
    for (size_t i = 16; i < len; i++)
        bytes[i] = (uint8_t)(number + i);
    struct tm_bytes pieces[2] = {tm_bytes_of(bytes, 9), tm_bytes_of(bytes + 9, len - 9)};
    if (tm_channel_send(e->ch, pieces, 2) == TM_OK)
        e->sent++;
}

static void remove_packet(struct wire *w, unsigned i)
{
    w->packets--;
    memmove(&w->packet[i], &w->packet[i + 1], (w->packets - i) * sizeof w->packet[0]);
}

static void deliver(struct wire *w, unsigned i, bool keep)
{
    unsigned to = w->packet[i].to;
    size_t len = w->packet[i].len;
    uint8_t *copy = fuzz_copy(tm_bytes_of(w->packet[i].bytes, len));
    if (!keep)
        remove_packet(w, i);
    tm_channel_input(w->end[to].ch, copy, len, w->now);
    free(copy);
}

/* Changes a field or a byte, and seals the frame again if it still has a head. */
static void forge(struct wire *w, struct packet *p, struct fuzz_input *in)
{
    struct tm_frame_head head;
    uint8_t how = fuzz_byte(in);
    size_t at = (how & 1) != 0 ? fuzz_byte(in) % TM_FRAME_HEAD : fuzz_u16(in) % (p->len + 1);
    struct tm_bytes with = fuzz_take(in, 1 + (how >> 1 & 7));
    if (at + with.len > p->len)
        return;
    if (with.len > 0)
        memcpy(p->bytes + at, with.data, with.len);
    memcpy(&head, p->bytes, sizeof head);
    size_t body = sizeof head + 8 * (size_t)head.sack_words;
    if ((how & 0x80) == 0 || head.sack_words > TM_FRAME_SACK_WORDS || body > p->len)
        return;
    uint64_t aligned[(FRAME_MAX + 7) / 8];
    memcpy(aligned, p->bytes, p->len);
    tm_frame_seal((struct tm_frame_head *)(void *)aligned,
                  tm_bytes_of((uint8_t *)aligned + body, p->len - body));
    memcpy(p->bytes, aligned, p->len);
    w->forged = true;
}

static void raw_input(struct wire *w, struct end *e, struct fuzz_input *in)
{
    struct tm_bytes frame = fuzz_take(in, fuzz_byte(in));
    uint8_t *copy = fuzz_copy(frame);
    tm_channel_input(e->ch, copy, frame.len, w->now);
    free(copy);
}

static void hint(struct wire *w, struct end *e, uint8_t which)
{
    static const char *const refusals[] = {NULL, "no"};
    e->deaf = (which & 1) != 0;
    e->emit_full = (which & 2) != 0;
    e->refuse = refusals[which >> 2 & 1];
    if ((which & 8) != 0)
        tm_channel_peer_down(e->ch, w->now);
    if ((which & 16) != 0)
        tm_channel_peer_up(e->ch, w->now);
    if ((which & 32) != 0)
        tm_channel_trim(e->ch);
    tm_channel_resume(e->ch);
}

static void step(struct wire *w, struct fuzz_input *in)
{
    uint8_t op = fuzz_byte(in);
    struct end *e = &w->end[op >> 7];
    unsigned i = w->packets > 0 ? (unsigned)(op >> 3 & 15) % w->packets : 0;
    switch (op & 7) {
    case 0:
        send_message(e, 16 + fuzz_u16(in) % 60000);
        break;
    case 1:
        tm_channel_flush(e->ch, w->now);
        break;
    case 2:
        if (w->packets > 0)
            deliver(w, i, false);
        break;
    case 3:
        if (w->packets > 0)
            deliver(w, i, true);
        break;
    case 4:
        if (w->packets > 0)
            forge(w, &w->packet[i], in);
        break;
    case 5:
        w->now += (uint64_t)fuzz_u16(in) << (op >> 3 & 15);
        break;
    case 6:
        if ((op & 8) != 0)
            hint(w, e, fuzz_byte(in));
        else
            raw_input(w, e, in);
        break;
    default:
        if ((op & 0x78) == 0x78)
            start(w, op >> 7);
        else if (w->packets > 0)
            remove_packet(w, i);
    }
}

static void drive(struct tm_bytes bytes)
{
    static struct wire wire;
    struct wire *w = &wire;
    struct fuzz_input in = fuzz_input_of(bytes.data, bytes.len);
    memset(w, 0, sizeof *w);
    w->now = TM_SECONDS(1);
    start(w, 0);
    start(w, 1);
    for (unsigned i = 0; i < STEPS_MAX && in.left > 0; i++)
        step(w, &in);
    for (unsigned side = 0; side < 2; side++) {
        (void)tm_channel_next_deadline(w->end[side].ch);
        tm_channel_free(w->end[side].ch);
    }
}

static void one_frame(struct tm_bytes bytes)
{
    struct tm_frame_head head;
    struct tm_dpdk_frame frame;
    struct tm_dpdk_arp arp;
    struct tm_dpdk_wire wire = {
        .self = {.ip = 0x0a000001, .mac = {2, 0, 0, 0, 0, 1}, .node = 1},
        .udp_base = 9000,
        .boot = 7,
        .domain = 0x12345678,
    };
    (void)tm_frame_check(bytes.data, bytes.len, CLUSTER, &head);
    uint8_t *copy = fuzz_copy(bytes);
    if (tm_dpdk_frame_parse(copy, bytes.len, &wire, &frame)) {
        FUZZ_CHECK(frame.src_worker < 64 && frame.dst_worker < 64);
        FUZZ_CHECK(frame.payload + frame.len <= copy + bytes.len);
    }
    if (tm_dpdk_arp_parse(copy, bytes.len, &arp))
        FUZZ_CHECK(arp.op == TM_DPDK_ARP_REQUEST || arp.op == TM_DPDK_ARP_REPLY);
    free(copy);
}

FUZZ_TARGET(data, size)
{
    if (size < 1)
        return 0;
    struct tm_bytes rest = tm_bytes_of(data + 1, size - 1);
    if (data[0] % 8 == 0)
        one_frame(rest);
    else
        drive(rest);
    return 0;
}
