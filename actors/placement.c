#include "actors/placement.h"

#include <xxhash.h>

static uint64_t score(uint32_t partition, const char *name)
{
    return XXH3_64bits_withSeed(name, strlen(name), 0x7469646d696c6cULL + partition);
}

void tm_holders_compute(uint32_t partition, const char *const *names, unsigned count,
                        unsigned copies, struct tm_holders *out)
{
    TM_ASSERT(count >= 1 && count <= TM_NODES_MAX && copies >= 1 && copies <= TM_COPIES_MAX &&
              copies <= count);
    uint8_t order[TM_NODES_MAX];
    uint64_t scores[TM_NODES_MAX];
    for (unsigned i = 0; i < count; i++) {
        uint64_t s = score(partition, names[i]);
        unsigned at = i;
        for (; at > 0 && scores[at - 1] < s; at--) {
            scores[at] = scores[at - 1];
            order[at] = order[at - 1];
        }
        scores[at] = s;
        order[at] = (uint8_t)i;
    }
    *out = (struct tm_holders){.copies = (uint8_t)copies, .witness = TM_NO_NODE};
    memcpy(out->data, order, copies);
    if (copies == 2 && count > 2)
        out->witness = order[2];
}

bool tm_holders_include(const struct tm_holders *p, unsigned node)
{
    for (unsigned i = 0; i < p->copies; i++)
        if (p->data[i] == node)
            return true;
    return p->witness != TM_NO_NODE && p->witness == node;
}
