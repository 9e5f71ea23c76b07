/* offer_image.h: a suffix of a partition's log that a failover cut off, as bytes: in its file in
 * the folder "offers" of the data directory, and on its way to the leader.
 *
 * A 96-byte head, little-endian, layout frozen; then the records, whole, one after the other.  The
 * *fork* is a record that the suffix follows, directly or over records that were cut off too; the
 * *id*, the hash of its last record, stands for all of it.
 *
 * Pure; any thread. */
#ifndef TM_ACTORS_OFFER_IMAGE_H
#define TM_ACTORS_OFFER_IMAGE_H

#include "storage/record.h"

#define TM_OFFER_FOLDER    "offers"
#define TM_OFFER_MAGIC     UINT64_C(0x315246464f4d54) /* "TMOFFR1" */
#define TM_OFFER_BYTES_MAX TM_MIB(64)                 /* of one image */
#define TM_OFFER_NAME_MAX  128

struct tm_offer_head {
    uint64_t magic;
    uint64_t checksum; /* XXH3-64 over all `length` bytes with this field zero */
    uint64_t length;   /* of head and records */
    uint64_t fork_index, fork_hash;
    uint64_t first, last; /* indexes */
    uint64_t term;        /* of the first record */
    uint64_t id;
    uint32_t partition;
    uint32_t count;
    uint8_t cluster[16];
};
TM_STATIC_ASSERT(sizeof(struct tm_offer_head) == 96, "frozen");
TM_STATIC_ASSERT(offsetof(struct tm_offer_head, fork_index) == 24, "frozen");
TM_STATIC_ASSERT(offsetof(struct tm_offer_head, id) == 64, "frozen");
TM_STATIC_ASSERT(offsetof(struct tm_offer_head, cluster) == 80, "frozen");

/* Completes the head of an image of `length` bytes whose records are in place: partition, cluster
 * and fork are given, the rest follows from them and the records. */
void tm_offer_seal(uint8_t *image, size_t length);

/* Whether the head could be that of an image of this cluster.  TM_ERR_CORRUPT, TM_ERR_IDENTITY,
 * TM_ERR_TOOBIG. */
enum tm_err tm_offer_head_check(const struct tm_offer_head *head, const uint8_t cluster[16]);

/* Whether the bytes, 8-aligned and from outside, are a whole image of this cluster: every record is
 * valid and follows the one before it.  As tm_offer_head_check. */
enum tm_err tm_offer_check(struct tm_bytes image, const uint8_t cluster[16]);

/* The records of a checked image. */
struct tm_bytes tm_offer_records(struct tm_bytes image);

/* The name of its file: "offers/<partition>-<term>-<first>-<id>". */
void tm_offer_name(const struct tm_offer_head *head, char name[TM_OFFER_NAME_MAX]);

#endif
