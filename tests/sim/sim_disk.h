/* sim_disk.h: a struct tm_disk whose files live in memory and whose faults are the test's.
 *
 * Operations are queued by submit and complete when the test says so: tm_sim_disk_step completes
 * one of those under way, drawn at random; tm_sim_disk_poll completes those whose simulated latency
 * is over.  `run` completes at once.  Everything random comes from the seed.
 *
 * A write is unsynced until a SYNC of its file that began after it completed (or it was DSYNC).
 * tm_sim_disk_crash keeps of every 512-byte sector written since either the old or a new content,
 * and of the changes to names a prefix; operations under way may have happened in part, and their
 * `done` is never called.  Handles are void after a crash.
 *
 * One thread. */
#ifndef TM_TESTS_SIM_SIM_DISK_H
#define TM_TESTS_SIM_SIM_DISK_H

#include "runtime/disk.h"
#include "tests/sim/sim_hash.h"

struct tm_sim_disk;

struct tm_sim_disk *tm_sim_disk_new(uint64_t seed);
void tm_sim_disk_free(struct tm_sim_disk *sd);

struct tm_sim_disk_tally;

/* Adds every operation from now on, as it completes, to the hash of the run and to the tally of
 * what went wrong; NULL: not. */
void tm_sim_disk_trace(struct tm_sim_disk *sd, struct tm_sim_hash *hash,
                       struct tm_sim_disk_tally *tally);

/* The function table to hand to what is tested.  tm_sim_disk_poll tells apart what was submitted
 * through the tables of different users (0 to TM_SIM_DISK_USERS - 1); tm_sim_disk_table is user
 * 0's. */
#define TM_SIM_DISK_USERS 64
struct tm_disk *tm_sim_disk_table(struct tm_sim_disk *sd);
struct tm_disk *tm_sim_disk_table_of(struct tm_sim_disk *sd, unsigned user);

/* Completes one operation, drawn at random among those under way; false: there is none, or the
 * disk is stalled. */
bool tm_sim_disk_step(struct tm_sim_disk *sd);

/* Completes all, also what completions submit. */
void tm_sim_disk_drain(struct tm_sim_disk *sd);

/* Virtual time: operations submitted after tm_sim_disk_set_latency take min..max ns; poll completes
 * those due at `now`, in order, and returns a bit for each user of whom it completed something;
 * next_due is when the next one is (UINT64_MAX: none). */
void tm_sim_disk_set_latency(struct tm_sim_disk *sd, uint64_t min_ns, uint64_t max_ns);
uint64_t tm_sim_disk_poll(struct tm_sim_disk *sd, uint64_t now_ns);
uint64_t tm_sim_disk_next_due(const struct tm_sim_disk *sd);
unsigned tm_sim_disk_under_way(const struct tm_sim_disk *sd);

/* Power loss.  tear: probability, in percent, that an unsynced sector is kept (drawn per crash
 * when negative). */
void tm_sim_disk_crash(struct tm_sim_disk *sd, int keep_percent);

/* The process dies, the machine lives on: operations under way happen or not, whole; nothing
 * unsynced is lost. */
void tm_sim_disk_kill(struct tm_sim_disk *sd);

/* No operation completes while stalled. */
void tm_sim_disk_stall(struct tm_sim_disk *sd, bool stalled);
bool tm_sim_disk_is_stalled(const struct tm_sim_disk *sd);

/* The next WRITE of a file that has `part` in its name (kept as a pointer) stays under way until a
 * crash or kill, while the others go on: with tm_sim_disk_poll.  overtaken: how many writes behind
 * it in the same file have been done since. */
void tm_sim_disk_hold(struct tm_sim_disk *sd, const char *part);
unsigned tm_sim_disk_overtaken(const struct tm_sim_disk *sd);

/* The next `count` operations of kind fail with this errno, their effect undone or half done; of
 * those of names undone, or with EIO done. */
void tm_sim_disk_fail(struct tm_sim_disk *sd, enum tm_disk_kind kind, int errnum, unsigned count);

/* Bytes the disk has; writes that would allocate more fail with ENOSPC.  0: no bound. */
void tm_sim_disk_set_capacity(struct tm_sim_disk *sd, uint64_t bytes);
uint64_t tm_sim_disk_used(const struct tm_sim_disk *sd);

/* The next write lands some blocks further on in the same file, or in another one that has room
 * for it (drawn), and reports success; the next read of as much likewise gets what stands
 * elsewhere. */
void tm_sim_disk_misdirect(struct tm_sim_disk *sd, bool wanted);
void tm_sim_disk_misread(struct tm_sim_disk *sd, bool wanted);

/* After that many more operations (0: never), or with the next RENAME or UNLINK of a name that has
 * `part` in it (NULL: not; kept as a pointer), which is done, the disk stops as if the machine had:
 * what comes then has no effect and is not completed (`run` gives EIO), until a crash or kill.
 * dead: it has come so far. */
void tm_sim_disk_die_after(struct tm_sim_disk *sd, uint64_t operations, const char *part);
bool tm_sim_disk_is_dead(const struct tm_sim_disk *sd);
bool tm_sim_disk_will_die(const struct tm_sim_disk *sd); /* told to, and has not yet */
bool tm_sim_disk_has_died(const struct tm_sim_disk *sd); /* since it was last told to */

/* Rot: flips a bit, or spoils a sector, of what some file holds (drawn), as it is and as it would
 * be after a crash.  False: there is nothing.  what gets a word on it. */
bool tm_sim_disk_rot(struct tm_sim_disk *sd, char *what, size_t size);

/* Whether bits that rotted (of the latest 64 places) are in a file whose name ends so, and nothing
 * was written over them. */
bool tm_sim_disk_has_rot(const struct tm_sim_disk *sd, const char *ending);

/* What happened to operations because of all that, counted for all disks together. */
struct tm_sim_disk_tally {
    uint64_t torn; /* writes under way at a crash of which a part stayed */
    uint64_t lost; /* crashes that took unsynced sectors away */
    uint64_t failed_reads, failed_writes, failed_syncs, no_space, misdirected, misread;
    uint64_t misdirected_far, misread_far; /* of these, those that concerned another file */
    uint64_t failed_names;                 /* OPEN, RENAME, UNLINK, SYNC_DIR */
};

/* Flips one bit of a file, as it is and as it would be after a crash.  false: no such byte. */
bool tm_sim_disk_flip(struct tm_sim_disk *sd, const char *name, uint64_t offset, unsigned bit);

/* Zeroes bytes of a file likewise: a write that was reported and never happened. */
bool tm_sim_disk_zero(struct tm_sim_disk *sd, const char *name, uint64_t offset, uint64_t len);

/* Tells what a completed operation made stable, as far as the disk says so: a misdirected write is
 * told as if it had gone where it was meant to.  A crash tells of all that was not stable, synced
 * or under way, what stands there from then on.  bytes live during the call; name is as a reader
 * sees it, "" if the file has none any more. */
void tm_sim_disk_on_stable(struct tm_sim_disk *sd,
                           void (*stable)(void *host, const char *name, uint64_t offset,
                                          struct tm_bytes bytes),
                           void *host);

/* Direct access for tests; the pointer lives until the next write. */
const uint8_t *tm_sim_disk_data(struct tm_sim_disk *sd, const char *name, uint64_t *size);
bool tm_sim_disk_exists(struct tm_sim_disk *sd, const char *name);

/* All files are as they are seen on another disk, durably; as if they were copied there while
 * nobody had any open. */
void tm_sim_disk_put_back(struct tm_sim_disk *sd, const struct tm_sim_disk *from);

/* Removes a name at once and durably. */
bool tm_sim_disk_remove(struct tm_sim_disk *sd, const char *name);

/* Counts of completed operations, by kind. */
uint64_t tm_sim_disk_count(const struct tm_sim_disk *sd, enum tm_disk_kind kind);

#endif
