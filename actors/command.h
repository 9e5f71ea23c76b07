/* command.h: the commands clients may send, and how one is evaluated.
 *
 * Every command stands once in one of the lists of actors/command_table.h:
 *  - local: answered by the session itself, at once (PING, CONFIG, CLUSTER ...);
 *  - steer: changes or waits for the connection's own state (MULTI, WATCH, WAIT, QUIT ...);
 *  - keyed: evaluated by the leader of the one partition that owns its keys.  Those flagged
 *    scatter or broadcast are split by the session into one such command per partition, and the
 *    replies gathered; those flagged system go to the system partition.
 *
 * A keyed command runs exactly once, at the leader: it reads the store, writes its reply, and
 * where it changes something calls the store's writers (storage/store.h), which apply the change
 * speculatively and encode it as operations of the record under construction.  What is logged and
 * shipped is that effect, never the command.  Evaluation never blocks and never fails half-way:
 * all checks come before the first write.  Keys found expired were deleted by a logged record
 * before the command runs, so that no command looks at expiry itself (except TTL and its kin). */
#ifndef TM_ACTORS_COMMAND_H
#define TM_ACTORS_COMMAND_H

#include "runtime/base.h"

struct tm_store;       /* storage/store.h */
struct tm_resp_writer; /* net/resp.h */
struct tm_session;     /* actors/session.h */

enum tm_command_flags {
    TM_CMD_READONLY = 1 << 0,
    TM_CMD_WRITE = 1 << 1,
    TM_CMD_LOCAL = 1 << 2,     /* answered by the session (local and steer) */
    TM_CMD_SCATTER = 1 << 3,   /* keys may lie in several partitions: split, then gathered */
    TM_CMD_BROADCAST = 1 << 4, /* goes to every partition, replies gathered (DBSIZE, FLUSHALL) */
    TM_CMD_NOAUTH = 1 << 5,    /* allowed before AUTH */
    TM_CMD_FAST = 1 << 6,      /* constant time */
    TM_CMD_DENYOOM = 1 << 7,   /* refused with -OOM above --memory-limit */
    TM_CMD_NOMULTI = 1 << 8,   /* not inside MULTI */
    TM_CMD_ADMIN = 1 << 9,
    TM_CMD_NUMKEYS = 1 << 10,  /* argv[first_key - 1] says how many keys stand from first_key on */
    TM_CMD_INTERNAL = 1 << 11, /* what a session makes of another command; unknown to clients */
    TM_CMD_SYSTEM = 1 << 12    /* evaluated by the leader of the system partition */
};

/* One evaluation.  Lives for the call only; the leader's partition fills it. */
struct tm_exec {
    struct tm_store *store;
    struct tm_resp_writer *reply; /* RESP2 or RESP3 as the client speaks */
    uint64_t now_ms;              /* wall time of this evaluation; expiry times are made from it */
    uint64_t random;              /* drawn once by the leader (SPOP, SRANDMEMBER, RANDOMKEY) */
    uint32_t max_entity_bytes;    /* a write that would exceed it gets an error reply */
    uint64_t cursor;              /* SCAN: in: where to go on; out: 0 = this partition is done;
                                     below 2^48 */
    uint32_t hits, misses;        /* counted up by a reading command: keys it found, and did not */
};

/* What a steering command did. */
enum tm_step {
    TM_STEP_DONE,    /* taken; its reply is written or on its way */
    TM_STEP_BARRIER, /* nothing was done: again when all earlier requests are answered */
    TM_STEP_FULL     /* the router had no room: again when it has */
};

struct tm_command {
    const char *name; /* upper case, without container ("CONFIG", never "CONFIG|GET") */
    int16_t arity;    /* as redis: the number of words, negative = at least that many */
    int16_t first_key, last_key, key_step; /* as redis: positions in argv, 0 = no keys */
    uint32_t flags;
    const char *group;   /* "string", "hash", ... for COMMAND DOCS */
    const char *summary; /* one line for COMMAND DOCS */

    /* Exactly one of the three is set; argv[0] is the name and argc satisfies arity.
     *
     * run: keyed.  Writes one reply to x->reply.  Three commands are finished by the session and
     * write less than the client sees: SCAN writes the array of keys only (its cursor goes through
     * x->cursor; the cursor word in argv is to be ignored); RANDOMKEY one key of this partition or
     * null; DBSIZE the count of this partition. */
    void (*run)(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc);
    /* local: writes one reply to w, or nothing where the client is to see none. */
    void (*local)(struct tm_session *s, struct tm_resp_writer *w, const struct tm_bytes *argv,
                  unsigned argc);
    enum tm_step (*steer)(struct tm_session *s, const struct tm_bytes *argv, unsigned argc);
};

/* Whether the word is that text, in any case of ASCII letters. */
bool tm_word_is(struct tm_bytes word, const char *text);

/* The command of that name in any case, or NULL; internal ones too.  Constant time; static
 * storage. */
const struct tm_command *tm_command_find(struct tm_bytes name);

/* The i-th command that clients may send, NULL past the end. */
const struct tm_command *tm_command_at(unsigned i);

/* Calls visit for the position in argv of every key, in order; false (and no call, or fewer) where
 * the words do not say how many keys there are (SINTERCARD with a bad count).  argc satisfies
 * arity. */
bool tm_command_keys(const struct tm_command *c, const struct tm_bytes *argv, unsigned argc,
                     void (*visit)(void *host, unsigned position), void *host);

static inline bool tm_command_arity_ok(const struct tm_command *c, unsigned argc)
{
    return c->arity >= 0 ? argc == (unsigned)c->arity : argc >= (unsigned)-c->arity;
}

#endif
