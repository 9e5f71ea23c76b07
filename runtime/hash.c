#include "runtime/hash.h"

/* Inlined into this file: a hash of a short key costs less than the call into the library. */
#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t tm_hash64(const void *data, size_t len, uint64_t seed)
{
    return XXH3_64bits_withSeed(data, len, seed);
}

struct tm_hash128 tm_hash128(const void *data, size_t len, uint64_t seed)
{
    XXH128_hash_t h = XXH3_128bits_withSeed(data, len, seed);
    return (struct tm_hash128){.lo = h.low64, .hi = h.high64};
}

uint64_t tm_hash64_pieces(const struct tm_bytes *pieces, unsigned count, uint64_t seed)
{
    XXH3_state_t state;
    XXH3_INITSTATE(&state);
    XXH3_64bits_reset_withSeed(&state, seed);
    for (unsigned i = 0; i < count; i++)
        if (pieces[i].len != 0)
            XXH3_64bits_update(&state, pieces[i].data, pieces[i].len);
    return XXH3_64bits_digest(&state);
}
