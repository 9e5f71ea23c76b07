/* incarnation.h: which history of a cluster its stamps are of.
 *
 * The origin of what a cluster writes names the cluster and its *incarnation*.  The first one is
 * the beginning of the cluster's UUID.  A cluster whose data directories were put back from copies
 * goes on from an earlier state: what it had written since is at other clusters under stamps of the
 * incarnation before, and what it writes from now on must not be taken for that.  So it gets
 * another one, drawn at random.  All incarnations of a cluster have the first five bytes in common.
 *
 * `tidemill restored` writes the file "restored" into every data directory that was put back: from
 * which incarnation to which.  Nodes stamp by it from their start on, no link works, and the
 * leader of the system partition makes it a line of the directory ("op:incarnation=…"), by which
 * all nodes go from then on: the file has done its work as soon as the directory does not say any
 * more what the file begins with.
 *
 * Boot only, one thread; what is computed: any thread. */
#ifndef TM_ACTORS_INCARNATION_H
#define TM_ACTORS_INCARNATION_H

#include "runtime/base.h"
#include "runtime/disk.h"

#define TM_RESTORED_FILE "restored"

/* From one incarnation to the next; `to` 0: nothing was put back. */
struct tm_restored {
    uint64_t from, to;
};

#define TM_INCARNATION_SAME (UINT64_MAX >> 24) /* bits that all of a cluster have in common */

static inline uint64_t tm_incarnation_first(const uint8_t uuid[16])
{
    return tm_load64(uuid);
}

/* Whether the two may be of one cluster. */
static inline bool tm_incarnation_same(uint64_t a, uint64_t b)
{
    return ((a ^ b) & TM_INCARNATION_SAME) == 0;
}

/* Whether it may be one of that cluster's. */
static inline bool tm_incarnation_is_of(uint64_t incarnation, const uint8_t uuid[16])
{
    return incarnation != 0 && tm_incarnation_same(incarnation, tm_load64(uuid));
}

/* One of that cluster's, drawn, other than `from`.  False: the draw makes none, draw again. */
bool tm_incarnation_draw(uint64_t random, const uint8_t uuid[16], uint64_t from, uint64_t *out);

/* Reads the file; there is none: {0, 0}.  TM_ERR_CORRUPT: it is not what is written below; others:
 * it cannot be read. */
enum tm_err tm_restored_load(struct tm_disk *disk, struct tm_restored *out);

/* Writes it durably. */
enum tm_err tm_restored_save(struct tm_disk *disk, const struct tm_restored *r);

#endif
