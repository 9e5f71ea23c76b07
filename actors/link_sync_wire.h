/* link_sync_wire.h: what the two ends of a stream say to each other where the source's log does not
 * reach back to where the target stands.
 *
 * All keys have an *order*, 48 bits of their hash, the same at every cluster.  The source says what
 * it has in neighbouring ranges of orders as one sum each (RANGES); the target names its keys in
 * those whose sum differs (DIFFERS), by order and hash; the source sends the state of what differs,
 * and the orders of what it does not have (STATE); the last one carries the position from which the
 * stream goes on.  One round at a time: each message is answered before the next is sent.
 *
 * Beside that the target may ask for the state of single keys at any time (LACKS): of entities that
 * expired there before it was known that they live on.  The answer is STATE of round 0, which
 * belongs to no position and names as `drops` the orders that it answers.
 *
 * Little-endian; everything received is checked.  Pure; any thread. */
#ifndef TM_ACTORS_LINK_SYNC_WIRE_H
#define TM_ACTORS_LINK_SYNC_WIRE_H

#include "actors/link_wire.h"

#define TM_LINK_ORDERS     (UINT64_C(1) << 48)
#define TM_LINK_RANGES     128  /* in one message */
#define TM_LINK_RANGE_KEYS 8    /* keys of the source in one */
#define TM_LINK_KEYS       4096 /* of the target in one answer */

/* LINK_RANGES: then `count` struct tm_link_range; the first begins at `from`, each where the one
 * before ends. */
struct tm_link_ranges {
    struct tm_link_stream stream;
    uint64_t from; /* below TM_LINK_ORDERS */
    uint64_t past; /* what is collected up to there at either end is left out */
    uint32_t round, count;
};
TM_STATIC_ASSERT(sizeof(struct tm_link_ranges) == 64, "frozen on the wire");
struct tm_link_range {
    uint64_t end; /* up to TM_LINK_ORDERS, not included */
    uint64_t sum; /* of the keys' hashes (tm_link_hash) */
};
TM_STATIC_ASSERT(sizeof(struct tm_link_range) == 16, "frozen on the wire");

/* LINK_DIFFERS: then `keys` struct tm_link_key, ascending by order: the target's in ranges that
 * differ, up to `end`, which is where the last range ends unless there were too many.  Bit i % 64
 * of map[i / 64] says that range i differs. */
struct tm_link_differs {
    struct tm_link_stream stream;
    uint64_t end;
    uint32_t round, keys;
    uint64_t map[TM_LINK_RANGES / 64];
};
TM_STATIC_ASSERT(sizeof(struct tm_link_differs) == 72, "frozen on the wire");
struct tm_link_key {
    uint64_t order, hash;
};
TM_STATIC_ASSERT(sizeof(struct tm_link_key) == 16, "frozen on the wire");

/* LINK_STATE: then `drops` u64 orders, ascending, and packed_len bytes of changes as in a batch.
 * Round 0: the answer to LACKS, of which hlc, stands, to and last say nothing. */
struct tm_link_state_head {
    struct tm_link_stream stream;
    uint64_t hlc;               /* what is dropped was made before, or at it */
    struct tm_link_mark stands; /* where the target stood when it was asked */
    struct tm_link_position to; /* `last`: where the stream goes on */
    uint64_t raw_hash;
    uint32_t raw_len, packed_len;
    uint32_t round, drops;
    uint32_t last;
    uint32_t replaces; /* 1: of what is dropped all goes that was made up to hlc, wherever; then the
                          changes come, of some of these keys, too */
};
TM_STATIC_ASSERT(sizeof(struct tm_link_state_head) == 160, "frozen on the wire");
#define TM_LINK_DROPS 1024 /* orders in one STATE */

/* LINK_LACKS, to the source: then `count` u64 orders, ascending.  The session may be an old one. */
struct tm_link_lacks {
    struct tm_link_stream stream;
    uint32_t count, reserved;
};
TM_STATIC_ASSERT(sizeof(struct tm_link_lacks) == 48, "frozen on the wire");
#define TM_LINK_LACKS_KEYS 256 /* in one message */

/* LINK_STATED: it was taken. */
struct tm_link_stated {
    struct tm_link_stream stream;
    uint32_t round, reserved;
};
TM_STATIC_ASSERT(sizeof(struct tm_link_stated) == 48, "frozen on the wire");

/* The order of a key. */
uint64_t tm_link_order(struct tm_bytes key);

/* Read a body.  TM_ERR_CORRUPT: it is none.  What follows the head is copied into the arrays, of
 * TM_LINK_RANGES, TM_LINK_KEYS and TM_LINK_DROPS entries; *packed points into the body. */
enum tm_err tm_link_ranges_decode(struct tm_bytes body, struct tm_link_ranges *out,
                                  struct tm_link_range *ranges);
enum tm_err tm_link_differs_decode(struct tm_bytes body, struct tm_link_differs *out,
                                   struct tm_link_key *keys);
enum tm_err tm_link_state_decode(struct tm_bytes body, struct tm_link_state_head *out,
                                 uint64_t *drops, struct tm_bytes *packed);
enum tm_err tm_link_stated_decode(struct tm_bytes body, struct tm_link_stated *out);
enum tm_err tm_link_lacks_decode(struct tm_bytes body, struct tm_link_lacks *out,
                                 uint64_t orders[TM_LINK_LACKS_KEYS]);

#endif
