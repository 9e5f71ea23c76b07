/* hash.h: XXH3, for tables and for checksums at rest and in flight.  The values are part of the
 * formats and never change.  Not for secrets.  Pure; any thread. */
#ifndef TM_RUNTIME_HASH_H
#define TM_RUNTIME_HASH_H

#include "runtime/base.h"

struct tm_hash128 {
    uint64_t lo;
    uint64_t hi;
};

/* xxh3-64 of len bytes with that seed; data may be NULL if len is 0. */
uint64_t tm_hash64(const void *data, size_t len, uint64_t seed);

/* xxh3-128 of len bytes with that seed; data may be NULL if len is 0. */
struct tm_hash128 tm_hash128(const void *data, size_t len, uint64_t seed);

/* xxh3-64 of the pieces one after the other: equal to tm_hash64 of their concatenation. */
uint64_t tm_hash64_pieces(const struct tm_bytes *pieces, unsigned count, uint64_t seed);

static inline bool tm_hash128_equal(struct tm_hash128 a, struct tm_hash128 b)
{
    return a.lo == b.lo && a.hi == b.hi;
}

#endif
