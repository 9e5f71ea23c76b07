/* frame.h: the layout of a channel's frame on the wire.
 *
 *     head (88 bytes) | SACK bitmap (8 bytes x sack_words) | payload
 *
 * All numbers are little-endian; the layout is frozen by static asserts and changes only with
 * TM_FRAME_VERSION.  The payload of HELLO and WELCOME is the application's blob, that of REFUSE a
 * reason in UTF-8, that of DATA a run of the message stream: each message is its length (4 bytes,
 * 1..TM_FRAME_MESSAGE_MAX) followed by its bytes, and a message may go on in the next frame.
 *
 * The checksum is XXH3-64 of the payload, seeded with XXH3-64 of head and bitmap in which the
 * checksum field is zero: so it covers the whole frame.
 *
 * The functions are pure and may be called from any thread. */
#ifndef TM_NET_FRAME_H
#define TM_NET_FRAME_H

#include "runtime/base.h"

#define TM_FRAME_MAGIC       0x314d4654u /* "TFM1" */
#define TM_FRAME_VERSION     1
#define TM_FRAME_BLOB_MAX    256
#define TM_FRAME_MESSAGE_MAX ((uint32_t)16 << 20)
#define TM_FRAME_PREFIX      4 /* bytes of a message's length in the stream */

/* Frames that may be unacknowledged at once, and bits that a SACK bitmap may have.  Both ends
 * size their rings by it, so it belongs to the protocol. */
#define TM_FRAME_WINDOW     1024
#define TM_FRAME_SACK_WORDS (TM_FRAME_WINDOW / 64)

/* Append only.  DATA without payload is an acknowledgement and has seq 0. */
enum tm_frame_kind {
    TM_FRAME_HELLO = 1,   /* "I am src_boot": seq = nonce of the sender */
    TM_FRAME_WELCOME = 2, /* answers HELLO: offset = its nonce, seq = a nonce of its own */
    TM_FRAME_CONFIRM = 3, /* answers WELCOME: offset = its nonce */
    TM_FRAME_REFUSE = 4,  /* answers HELLO or WELCOME; the payload says why */
    TM_FRAME_DATA = 5
};

enum tm_frame_flags {
    TM_FRAME_ACK_NOW = 1 << 0, /* the sender waits: do not delay the acknowledgement */
    TM_FRAME_ECHO = 1 << 1     /* echo_us is valid */
};

struct tm_frame_head {
    uint32_t magic;
    uint8_t version;
    uint8_t kind;
    uint8_t flags;
    uint8_t sack_words; /* 0..TM_FRAME_SACK_WORDS */
    uint64_t checksum;
    uint64_t cluster;  /* hash of the cluster's identity: other clusters' frames are dropped */
    uint64_t src_boot; /* the sending process */
    uint64_t dst_boot; /* the receiving process as the sender knows it; 0 in HELLO */
    uint8_t src_node;
    uint8_t src_worker;
    uint8_t dst_node;
    uint8_t dst_worker;
    uint32_t sent_us; /* the sender's clock in microseconds, wrapping */
    uint32_t echo_us; /* sent_us of the newest frame received, plus the time it was held here */
    uint32_t payload; /* bytes after the bitmap */
    uint64_t seq;     /* number of this frame among those with payload, from 1 */
    uint64_t offset;  /* of the payload's first byte in the stream, from 0 */
    uint64_t ack;     /* the lowest seq not received; bit i of SACK word w says that
                         ack + 1 + 64 w + i was received */
    uint64_t credit;  /* the stream may be sent up to this offset; in every kind of frame */
};
#define TM_FRAME_HEAD     88
#define TM_FRAME_HEAD_MAX (TM_FRAME_HEAD + 8 * TM_FRAME_SACK_WORDS)

#define TM_FRAME_AT(field, at)                                                                     \
    TM_STATIC_ASSERT(offsetof(struct tm_frame_head, field) == (at), "on the wire")
TM_FRAME_AT(magic, 0);
TM_FRAME_AT(version, 4);
TM_FRAME_AT(kind, 5);
TM_FRAME_AT(flags, 6);
TM_FRAME_AT(sack_words, 7);
TM_FRAME_AT(checksum, 8);
TM_FRAME_AT(cluster, 16);
TM_FRAME_AT(src_boot, 24);
TM_FRAME_AT(dst_boot, 32);
TM_FRAME_AT(src_node, 40);
TM_FRAME_AT(src_worker, 41);
TM_FRAME_AT(dst_node, 42);
TM_FRAME_AT(dst_worker, 43);
TM_FRAME_AT(sent_us, 44);
TM_FRAME_AT(echo_us, 48);
TM_FRAME_AT(payload, 52);
TM_FRAME_AT(seq, 56);
TM_FRAME_AT(offset, 64);
TM_FRAME_AT(ack, 72);
TM_FRAME_AT(credit, 80);
TM_STATIC_ASSERT(sizeof(struct tm_frame_head) == TM_FRAME_HEAD, "on the wire");
#undef TM_FRAME_AT

/* Fills in magic, version, payload and checksum of the head at `head`, which sack_words words of
 * bitmap follow: after it head, bitmap and payload are a frame. */
void tm_frame_seal(struct tm_frame_head *head, struct tm_bytes payload);

/* Judges len bytes from outside, at any alignment, and copies the head to *out.
 * TM_ERR_INVALID: no frame (too short, other magic, lengths that disagree, a kind or a field out of
 * its range); TM_ERR_VERSION: another layout; TM_ERR_IDENTITY: of another cluster;
 * TM_ERR_CORRUPT: the checksum disagrees.  *out is meaningful only after TM_OK. */
enum tm_err tm_frame_check(const uint8_t *frame, size_t len, uint64_t cluster,
                           struct tm_frame_head *out);

#endif
