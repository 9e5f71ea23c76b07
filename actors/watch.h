/* watch.h: the keys that clients of one partition watch, and whether they were touched since.
 *
 * A token stands for one client's set of keys.  It is clean until an effect or an undo touches one
 * of its keys, or the partition's leadership moves; a token that is not known any more counts as
 * touched.  Tokens are bounded: the oldest gives way.  Keys are told apart by their 64-bit hash: a
 * collision makes an EXEC fail that might have succeeded, never the reverse.  Pure; one thread. */
#ifndef TM_ACTORS_WATCH_H
#define TM_ACTORS_WATCH_H

#include "runtime/base.h"

#define TM_WATCH_KEYS_MAX 4096 /* keys watched in one partition, all clients together */

struct tm_watches {
    struct tm_watch_key *keys; /* in order of adding; allocated at the first use */
    unsigned count, cap;
    uint64_t next_token; /* the owner begins each leadership at term << 32: unique for good */
};

/* Adds keys to a token (0: a new one) and returns it; 0 if memory is short, and then the token is
 * gone.  A token unknown or touched stays so: the new one returned is touched from the start.  So
 * is one whose own first keys had to give way. */
uint64_t tm_watch_add(struct tm_watches *w, uint64_t token, const struct tm_bytes *keys,
                      unsigned count);

/* True if no key of the token was touched since it was watched. */
bool tm_watch_clean(const struct tm_watches *w, uint64_t token);

/* Forgets the token. */
void tm_watch_drop(struct tm_watches *w, uint64_t token);

/* A record's effects were applied or undone: its keys are touched.  record: one that
 * tm_record_check passed. */
struct tm_record;
void tm_watch_touch(struct tm_watches *w, const struct tm_record *record);

/* Leadership moved, or state was undone: all tokens are forgotten. */
void tm_watch_clear(struct tm_watches *w);

/* Frees what the first use allocated; all tokens are forgotten. */
void tm_watch_free(struct tm_watches *w);

static inline bool tm_watch_any(const struct tm_watches *w)
{
    return w->count != 0;
}

#endif
