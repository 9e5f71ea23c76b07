/* sim_hash.h: the hash of a simulated run: of every event in its order.  Two runs of one seed have
 * the same, or something in them depends on more than the seed.  One thread. */
#ifndef TM_TESTS_SIM_SIM_HASH_H
#define TM_TESTS_SIM_SIM_HASH_H

#include "runtime/hash.h"

struct tm_sim_hash {
    uint64_t value;
};

static inline void tm_sim_hash_add(struct tm_sim_hash *h, uint64_t x)
{
    uint64_t v = (h->value ^ x) * 0x9e3779b97f4a7c15ULL;
    h->value = v ^ v >> 29;
}

static inline void tm_sim_hash_bytes(struct tm_sim_hash *h, const void *data, size_t len)
{
    h->value = tm_hash64(data, len, h->value);
}

#endif
