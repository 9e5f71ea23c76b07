/* sim_blocks.h: reads the blocks of write-ahead logs as they become durable on a simulated disk,
 * and tells the truth what is in them.
 *
 * Blocks complete in any order; they count in the order of their sequence, as for recovery: one
 * counts when the one before it does.  The first block of a start says itself where it follows.
 * What is no whole block of a segment is passed over.
 *
 * One thread. */
#ifndef TM_TESTS_SIM_SIM_BLOCKS_H
#define TM_TESTS_SIM_SIM_BLOCKS_H

#include "tests/sim/sim_truth.h"

struct tm_sim_blocks;

/* The truth outlives it. */
struct tm_sim_blocks *tm_sim_blocks_new(struct tm_sim_truth *truth, uint32_t partitions);
void tm_sim_blocks_free(struct tm_sim_blocks *b);

/* Bytes of this file of a node became stable (tm_sim_disk_on_stable). */
void tm_sim_blocks_stable(struct tm_sim_blocks *b, unsigned node, const char *name, uint64_t offset,
                          struct tm_bytes bytes);

#endif
