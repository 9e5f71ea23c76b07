/* placement.h: which nodes hold which partition, computed once when a cluster is created.
 *
 * Rendezvous hashing on names: each (partition, node) pair has a score, the R highest hold the
 * data, the highest of them is the preferred leader; with R = 2 and more than two nodes the third
 * is the witness.  The result is the same on every machine and in every version: the hash and its
 * input are frozen (the golden test in tests/actors/test_placement.c).  Pure. */
#ifndef TM_ACTORS_PLACEMENT_H
#define TM_ACTORS_PLACEMENT_H

#include "runtime/base.h"
#include "net/fabric.h"

#define TM_COPIES_MAX 5
#define TM_NO_NODE    0xff

struct tm_holders {
    uint8_t copies;              /* data nodes, 1..TM_COPIES_MAX */
    uint8_t data[TM_COPIES_MAX]; /* node numbers, the preferred leader first */
    uint8_t witness;             /* node number, or TM_NO_NODE */
};

/* Places `partition` among count nodes (1..64) of the given names; copies is 1..5 and at most
 * count. */
void tm_holders_compute(uint32_t partition, const char *const *names, unsigned count,
                        unsigned copies, struct tm_holders *out);

/* True if node holds data or is the witness. */
bool tm_holders_include(const struct tm_holders *p, unsigned node);

#endif
