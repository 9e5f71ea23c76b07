/* replica.h: one partition's consensus on one node.  Pure: no thread, clock, disk or wire.
 *
 * A tm_replica is stepped by its host (the partition's worker, or a test) through the functions
 * below, and acts through struct tm_replica_io.  docs/PROTOCOL.md has the rules;
 * what it adds to Raft: a hash chain in the log, acknowledgement of durable contiguous prefixes
 * only, voters that are (node, disk), two copies and a witness, replicas that cannot prove what
 * they had.
 *
 * A write: tm_replica_next gives index, term and previous hash; the host seals the record, appends
 * it to its log, calls tm_replica_appended; once a turn tm_replica_ship sends what is new.  When
 * the log tells what is durable, tm_replica_durable; io.committed says what is committed.
 *
 * A read that needs no record: tm_replica_read; io.read_done says when the reply may leave.
 *
 * Calls.  One thread.  No function of this header may be called for r from inside an io function of
 * r, except those marked "any time".  What the host learns there (a flush that is done at once)
 * it reports afterwards.  Every call that may need sending, asks io for it before it returns.
 * Messages may be lost, doubled and reordered, but none is delivered that was sent by or to an
 * earlier process of a node: channels see to that, and healing of a replica that forgot relies on
 * it.
 *
 * A struct tm_replica is the host's memory; it lives from init until it was removed from its
 * tm_beat (tm_replica_stop).  Nothing is allocated.
 *
 * Modes.  "strong": what is committed may be acknowledged.  "eventual": the host acknowledges what
 * its own log has (as its durability says), ships in batches, and the commit index says what
 * survives any failover; what a failover cuts off is told by io.lost.  With --durability memory the
 * host calls tm_replica_durable as soon as a record is in memory. */
#ifndef TM_ACTORS_REPLICA_H
#define TM_ACTORS_REPLICA_H

#include "actors/replica_wire.h"
#include "runtime/ctx.h"
#include "storage/record.h"

struct tm_replica;
struct tm_beat; /* actors/heartbeat.h */

enum tm_replica_role {
    TM_ROLE_FOLLOWER,     /* follows a leader, or waits for one; learners and witnesses stay here */
    TM_ROLE_PRECANDIDATE, /* asks whether an election would succeed; term unchanged */
    TM_ROLE_CANDIDATE,    /* asks for votes; its own is durable before it asks */
    TM_ROLE_LEADER
};

/* What others may want to know of a replica. */
struct tm_replica_status {
    enum tm_replica_role role;
    uint64_t term;
    unsigned leader; /* node, or TM_NODE_UNKNOWN */
    uint64_t commit;
    uint64_t last;
    /* Leader only: all copies answered its election and the longest log stands, though some could
     * not prove what they had; records after it may be lost. */
    bool longest_stands;
};

/* X(name, level, text): what is worth a line in the log.  A note comes with two numbers a and b; in
 * its text {a} and {b} stand for them, {ms} for a given in nanoseconds, {node} for the name of the
 * node numbered a. */
#define TM_REPLICA_NOTE_LIST(X)                                                                    \
    X(MISMATCH, WARN,                                                                              \
      "record {a} differs from the leader's though both are of term {b}: repair is due")           \
    X(HEALED, INFO, "caught up to record {a}: the replica is whole again")                         \
    X(NARROWED, WARN, "one copy is left: the partition goes on with that of {node} alone")         \
    X(WIDENED, INFO, "two copies again: that of {node} is back")                                   \
    X(QUORUM_LOST, WARN, "gave up leadership of term {a}: no quorum heard")                        \
    X(STALLED, WARN, "own disk does not acknowledge for {ms} ms: leadership moves away")           \
    X(READMITTED, INFO, "{node} counts as a voter again, with a new disk")                         \
    X(PREVOTE, DEBUG, "a pre-vote for term {a} began")                                             \
    X(ELECTION, DEBUG, "an election for term {a} began")

enum tm_replica_note {
#define X(name, level, text) TM_NOTE_##name,
    TM_REPLICA_NOTE_LIST(X)
#undef X
        TM_NOTE_COUNT
};

/* A read that waits for its turn.  The host's memory, untouched from tm_replica_read until
 * io.read_done or tm_replica_read's answer. */
struct tm_replica_read {
    uint64_t index; /* in: the highest index that the reply depends on; 0: none */
    uint64_t until; /* in: nobody waits for it beyond (ctx time); 0: no limit */
    void *owner;    /* the host's */
    uint64_t round; /* the replica's */
    struct tm_replica_read *next;
};

struct tm_tail {
    uint64_t index;
    uint64_t term;
    uint64_t hash;
};

/* The world.  host is the one given to tm_replica_init.  Bytes lent to a function here live until
 * it returns. */
struct tm_replica_io {
    /* --- the log of this partition.  It holds the records first..last without a hole; a record is
     * in it from append on, durable or not. --- */

    /* The smallest index that is there; last + 1 when it is empty. */
    uint64_t (*first)(void *host);

    /* Term and hash of record `index`, first - 1 <= index <= last (first - 1 is the record that
     * the snapshot ends with; index 0 is not asked).  Other than TM_OK: it is damaged here. */
    enum tm_err (*meta)(void *host, uint64_t index, uint64_t *term, uint64_t *hash);

    /* The last record of the log, behind holes, too (r is HOLED).  False: it is among what is
     * missing, and only its index is told. */
    bool (*end)(void *host, struct tm_tail *end);

    /* Whether the log goes on behind that very record, which may be missing itself (HOLED). */
    bool (*keeps)(void *host, const struct tm_tail *tail);

    /* The record `index`, valid until the next call of the replica returns.  TM_ERR_AGAIN: only on
     * disk; reading of it and what follows begins, and tm_replica_log_available is called then, or
     * too much is being read already: the next tick asks again.  Else: it is damaged, and
     * tm_replica_damaged is called soon. */
    enum tm_err (*record)(void *host, uint64_t index, const struct tm_record **out);

    /* Appends a record that was checked and whose index is last + 1.  Copies it.  TM_ERR_NOSPACE,
     * TM_ERR_FULL, TM_ERR_IO: not appended.  NOOP and CONFIG use reserved room. */
    enum tm_err (*append)(void *host, const struct tm_record *record);

    /* Removes records from `from` on, and undoes what they did, newest first.  What was on its way
     * to the disk of them is not reported durable any more.  False: the log has no room to say so
     * now, and nothing changed; asked again when the leader sends anew. */
    bool (*cut)(void *host, uint64_t from);

    /* Makes hs durable; tm_replica_persisted(r, seq) when it is.  seq grows by one.  Several in
     * flight are allowed, a later one replaces earlier ones. */
    void (*persist)(void *host, const struct tm_promise *hs, uint64_t seq);

    /* HLC and origin for a record that the replica makes itself (NOOP, CONFIG). */
    void (*stamp)(void *host, uint64_t *hlc, uint64_t *origin);

    /* --- the wire --- */

    /* Sends msg, its head encoded by tm_replica_msg_encode, and the records in pieces to the same
     * partition on node.  May be lost. */
    void (*send)(void *host, unsigned node, const struct tm_replica_msg *msg,
                 const struct tm_bytes *pieces, unsigned count);

    /* Node needs a snapshot: the log does not go back far enough.  The host sends one, then calls
     * tm_replica_snapshot_sent, in any case: nothing else goes there until then, or until the node
     * goes down, comes up or shows a new disk.  Told again if it is still needed; a transfer that
     * is under way then is of no use any more. */
    void (*snapshot_needed)(void *host, unsigned node);

    /* --- outcomes --- */

    /* The commit index is now `index`: follower: apply up to it; leader: answer. */
    void (*committed)(void *host, uint64_t index);

    /* Role, term or leader changed.  A host that becomes leader applies commit + 1..last
     * speculatively before it takes requests (the NOOP of its term comes after this call); one that
     * ceases to be leader undoes its uncommitted effects, newest first. */
    void (*role)(void *host, const struct tm_replica_status *status);

    /* The reply of this read may leave; ok false: leadership was lost, ask the new leader. */
    void (*read_done)(void *host, struct tm_replica_read *read, bool ok);

    /* Eventual mode, before cut: records from..to, possibly acknowledged, are about to go.  False:
     * not yet, they are being put aside; asked again when the leader sends anew. */
    bool (*lost)(void *host, uint64_t from, uint64_t to);

    /* The replica is about to be whole again, with records up to `last`.  What the log holds behind
     * that, and the replica was not shown because of the damage before it, is no leader's: it goes.
     * False: not yet; asked again by tm_replica_heal. */
    bool (*end_at)(void *host, uint64_t last);

    void (*note)(void *host, enum tm_replica_note note, uint64_t a, uint64_t b);
};

/* Shared by all replicas of a worker; may change between calls. */
struct tm_replica_options {
    bool eventual;
    bool solo_stop;           /* --solo stop: rather no writes than writes on one copy */
    uint64_t election_min_ns; /* timeouts are drawn from min..max */
    uint64_t election_max_ns;
    uint64_t stagger_ns;         /* between candidates of the same dead leader, by rank */
    uint64_t retry_ns;           /* a pre-vote, a probe or an in-sync set is sent again after */
    uint64_t disk_stall_ns;      /* no acknowledgement for so long: counts as lost */
    uint64_t clock_skew_ms_max;  /* a preferred leader whose clock is ahead by more does not */
    uint64_t prefer_after_ns;    /* a preferred leader that was in sync so long takes over; 0: no */
    uint32_t append_bytes_max;   /* records of one message, unless one alone is larger */
    uint32_t inflight_bytes_max; /* to one peer, not acknowledged */
    uint64_t window_bytes_max;   /* appended here, not committed */
    uint64_t window_ns_max;      /* age of the oldest of them; 0: no limit (strong mode) */
};

/* The defaults: 150-300 ms, 1 s stall, 256 KiB messages, ... */
void tm_replica_options_default(struct tm_replica_options *opt);

/* --- private parts, laid open so that the host can embed them --- */

#define TM_FLIGHTS    32 /* appends on their way to one peer */
#define TM_WIN_MARKS  64
#define TM_PIECES_MAX 64 /* of one message */

enum tm_peer_state {
    TM_PEER_PROBE,     /* where the logs meet is not known: one message at a time */
    TM_PEER_REPLICATE, /* pipelined */
    TM_PEER_FETCH,     /* what it needs is being read from disk */
    TM_PEER_SNAPSHOT   /* a snapshot is on its way */
};

struct tm_flight {
    uint64_t last;
    uint32_t bytes;
};

struct tm_peer {
    struct tm_id id; /* as the members say */
    enum tm_member_role role;
    uint64_t disk; /* that it spoke with last; 0: not heard.  Another than id's: counts nowhere */
    enum tm_peer_state state;
    uint64_t next;
    uint64_t match;       /* durable there */
    uint64_t received;    /* there, durable or not */
    uint64_t commit_sent; /* highest commit index it was sent, and that it knows */
    uint64_t commit;
    uint64_t heard_at;
    uint64_t progress_at; /* when match moved last, or there was nothing to wait for */
    uint64_t sent_at;
    uint64_t synced_at; /* since when it is caught up without a break; 0: it is not */
    uint64_t confirmed; /* round, item by item (heartbeat.h) */
    bool down;          /* the fabric said so */
    bool no_room;       /* its disk is full, as it said last */
    bool bare;          /* PROBE: ask first, without records */
    unsigned flights, flight_head;
    uint64_t flight_bytes;
    struct tm_flight flight[TM_FLIGHTS];
};

/* A point of the leader's log: `bytes` had been appended up to index; what follows the point before
 * was appended from `at` on. */
struct tm_win_mark {
    uint64_t index;
    uint64_t bytes;
    uint64_t at;
};

/* Where a change of the in-sync set stands, at the leader. */
enum tm_insync_step {
    TM_STEP_NONE,
    TM_STEP_NARROW_SELF,    /* being made durable here */
    TM_STEP_NARROW_WITNESS, /* sent to the witness until it has it */
    TM_STEP_WIDEN_WAIT,     /* lone commits stopped; the other catches up */
    TM_STEP_WIDEN_SELF,     /* both, being made durable here */
    TM_STEP_WIDEN_OTHER,    /* sent to the other data replica until it has it */
    TM_STEP_WIDEN_WITNESS   /* and to the witness */
};

/* What each message and each record looks at stands first, in some ten lines of the cache; what is
 * large or rare, last. */
struct tm_replica {
    const struct tm_ctx *ctx;
    const struct tm_replica_io *io;
    const struct tm_replica_options *opt;
    struct tm_beat *beat;
    void *host;
    struct tm_id self;
    uint32_t partition;
    int own; /* own place in members, or -1 */

    enum tm_replica_role role;
    unsigned leader; /* node */
    bool started;
    bool leaving;  /* tm_replica_leave */
    bool no_room;  /* tm_replica_room */
    bool lost;     /* follower: damaged below what it acknowledged, and the leader may not know */
    bool ack_owed; /* replies that wait for the hard state to be durable */
    bool insync_owed;
    bool transfer_sent;
    enum tm_insync_step step;
    unsigned transfer_to; /* node */

    struct tm_tail last;
    uint64_t durable;
    uint64_t commit;
    uint64_t verified; /* up to here the log is the present leader's */
    uint64_t ship_to;
    uint64_t term_start; /* leader: index of its NOOP */
    uint64_t firm;       /* follower: a commit index that covers all that earlier terms committed */

    struct tm_promise hs;
    uint64_t hs_wanted, hs_done; /* sequences of persist */
    uint64_t term_seq;           /* the one that made the present term and vote durable */

    uint64_t deadline; /* of the next tick; UINT64_MAX: none */
    uint64_t heard_at;
    uint64_t own_progress_at;
    uint64_t appended_bytes, committed_bytes;
    unsigned mark_head, marks;
    uint64_t unmarked_at; /* when the first record after the newest mark was appended; 0: there is
                             none */
    struct tm_replica_read *rounds, **rounds_end; /* wait for a round, in order */
    struct tm_replica_read *indexed;              /* wait for a commit, by index */
    struct tm_members members;                    /* the latest in the log, committed or not */
    struct tm_peer peer[TM_MEMBERS_MAX];
    unsigned peers;

    uint64_t vote_owed; /* bit per node */
    uint64_t down;      /* bit per node */

    unsigned granted, whole; /* candidate: bit per place in members */
    bool asked;              /* candidate: requests have left */
    bool forced;
    bool longest_stands;
    unsigned prevote_tries;

    uint64_t timeout_ns;
    uint64_t election_at; /* pre-vote no later than; 0: by the timeout */
    uint64_t lead_since;

    uint64_t transfer_until;
    uint64_t prefer_at;

    uint64_t step_seq;    /* persist sequence that the step waits for */
    uint64_t step_at;     /* last sent */
    uint64_t seeded_disk; /* of a wiped witness that has the present in-sync set */
    bool forced_members;  /* by tm_replica_recover: to be written as a CONFIG */

    struct tm_members previous; /* the one before members */
    struct tm_win_mark mark[TM_WIN_MARKS];

    /* the heartbeat's */
    struct tm_replica *beat_next, *beat_prev, *bucket_next;
    struct tm_replica *wait_next; /* list of replicas with reads that wait for a round */
    bool waiting;
    bool led, followed;  /* in the digests */
    uint64_t lead_round; /* the present one when it came to be led in set_term, at set_nodes */
    uint64_t list_round;
    uint64_t set_term;
    uint64_t set_nodes; /* led: bit per member's node */
    unsigned set_leader;
};

/* --- life --- */

/* Prepares r: a follower of nobody in term 0, not started.  opt, io, ctx and beat outlive it. */
void tm_replica_init(struct tm_replica *r, const struct tm_replica_options *opt,
                     const struct tm_replica_io *io, void *host, const struct tm_ctx *ctx,
                     struct tm_beat *beat, uint32_t partition, struct tm_id self);

/* What recovery found.  All zero and health WHOLE: a new disk. */
struct tm_replica_boot {
    struct tm_promise hs;
    struct tm_tail last; /* last record, durable; or of the snapshot if the log holds none after */
    uint64_t commit;     /* known to be committed: block directories, snapshot */
    struct tm_members members; /* the last CONFIG record's, else the snapshot's, else those made at
                                  creation (index 0), else count 0: a learner that will be told */
    struct tm_members
        previous; /* those before it: needed if members.index > commit, else count 0 */
    /* Worse than hs.health if recovery found something: a damaged tail or an unclean end in memory
     * durability is SUSPECT, rot below the durable point is HOLED or FAULTY.  The log is then
     * presented as ending before the damage; what is damaged is kept until note HEALED.  A hard
     * state that cannot be proven is no case of this: only a new disk id helps. */
    enum tm_health health;
};

/* Starts r with what was found, and joins it to its tm_beat.  A single voter campaigns at once. */
void tm_replica_start(struct tm_replica *r, const struct tm_replica_boot *boot);

/* Leaves the tm_beat, answers waiting reads with false.  r may be freed then. */
void tm_replica_stop(struct tm_replica *r);

/* The log was found damaged from `from` on while running, and now ends before it: r gives up
 * leadership and is HOLED (if what is missing is known by its hash) or FAULTY until a leader has
 * brought it back (note HEALED). */
void tm_replica_damaged(struct tm_replica *r, uint64_t from, bool known);

/* Makes a follower WHOLE that has brought back what it lacked.  It asks itself with what the leader
 * sends; the host asks now and then, for io.end_at may have said "not yet". */
void tm_replica_heal(struct tm_replica *r);

/* All that was missing from the log of a HOLED replica has been brought back, durably, by whoever
 * had it: the log ends with `last` and is durable up to `durable`, as before the damage.  r is
 * WHOLE (note HEALED). */
void tm_replica_repaired(struct tm_replica *r, const struct tm_tail *last, uint64_t durable);

/* One of the records brought back is a CONFIG: if no newer one is known it says who the members
 * are. */
void tm_replica_config_back(struct tm_replica *r, const struct tm_record *record);

/* The node is about to end: leadership that another hands over is not taken any more. */
void tm_replica_leave(struct tm_replica *r);

/* Gives up leadership if it holds it (the node shuts down, its log failed).  No-op else. */
void tm_replica_resign(struct tm_replica *r);

/* --- events --- */

/* A message for this partition, decoded (tm_replica_msg_decode) from bytes from outside.  Its body
 * is 8-aligned. */
void tm_replica_receive(struct tm_replica *r, const struct tm_replica_msg *msg);

/* Time has come to r->deadline.  tm_beat_turn calls it; hosts need not. */
void tm_replica_tick(struct tm_replica *r, uint64_t now);

/* All records up to `index`, which has this term, are durable.  Reports of records that were cut
 * meanwhile are recognised by their term and ignored. */
void tm_replica_durable(struct tm_replica *r, uint64_t index, uint64_t term);

/* The hard state number seq, and all before it, is durable. */
void tm_replica_persisted(struct tm_replica *r, uint64_t seq);

/* Records that io.record had answered TM_ERR_AGAIN for are in memory now. */
void tm_replica_log_available(struct tm_replica *r);

/* Hints of the fabric about a node's process.  tm_beat_peer_down passes them on. */
void tm_replica_peer_down(struct tm_replica *r, unsigned node);
void tm_replica_peer_up(struct tm_replica *r, unsigned node);

/* --- writing, at the leader --- */

struct tm_replica_slot {
    uint64_t index;
    uint64_t term;
    uint64_t prev_hash;
};

/* Where the next record goes.  TM_ERR_NOTLEADER; TM_ERR_AGAIN: leadership is being handed over;
 * TM_ERR_FULL: the window of uncommitted records is full; TM_ERR_NOREPLICAS: --solo stop and one
 * copy left; TM_ERR_NOSPACE: so many copies have said that their disks are full that it could not
 * be committed.  Takes nothing: the slot is free until tm_replica_appended. */
enum tm_err tm_replica_next(struct tm_replica *r, struct tm_replica_slot *slot);

/* The host appended this record, made for the last slot, to its log. */
void tm_replica_appended(struct tm_replica *r, const struct tm_record *record);

/* Whether this replica's log takes effects.  A follower tells its leader, in each answer and at
 * once when there is room again. */
void tm_replica_room(struct tm_replica *r, bool room);

/* Sends what was appended since, to everyone it can go to now.  Once a turn, or once a batch. */
void tm_replica_ship(struct tm_replica *r);

/* --- reading, at the leader --- */

/* May the reply of a read that arrived now leave?  TM_OK: at once (read is not kept). TM_ERR_AGAIN:
 * io.read_done will tell.  TM_ERR_NOTLEADER. */
enum tm_err tm_replica_read(struct tm_replica *r, struct tm_replica_read *read);

/* Ends the reads that nobody waits for any more: io.read_done says that they failed.  Now and then,
 * so that a leader whose log does not get on does not gather them. */
void tm_replica_reads_expire(struct tm_replica *r);

/* --- leadership and members --- */

/* Hands leadership to that node once it has everything.  TM_ERR_NOTLEADER; TM_ERR_INVALID: not a
 * voter with data; TM_ERR_AGAIN: another transfer is under way. */
enum tm_err tm_replica_transfer(struct tm_replica *r, unsigned node);

/* One step of membership, at the leader.  TM_ERR_AGAIN: the last change is not committed yet, or no
 * record of this term is; TM_ERR_INVALID: not one step away from the present members, or breaks
 * tm_members_valid; TM_ERR_NOTLEADER.  A voter of a wiped node is replaced by the replica itself.
 */
enum tm_err tm_replica_change(struct tm_replica *r, const struct tm_members *to);

/* A forced recovery goes up so many terms: to one that nobody has, also not who was lost and goes
 * on somewhere, so that when they meet again one history goes on. */
#define TM_REPLICA_TERM_FAR (UINT64_C(1) << 20)

/* Forced recovery: an operator says that the other copies are gone for good, and takes the loss.
 * r becomes the only voter and campaigns; the others, should they come back, wiped or not, count
 * again once they are caught up.  TM_ERR_EXISTS: it leads; TM_ERR_INVALID: a witness, a learner. */
enum tm_err tm_replica_recover(struct tm_replica *r);

/* The members that it makes; false: INVALID. */
bool tm_replica_members_forced(const struct tm_replica *r, struct tm_members *to);

/* --- snapshots --- */

/* Follower: whether a snapshot that ends with record `tail`, offered by `from`, the leader of
 * `term`, is of use; if not, this log has all of it.  Adopts a higher term, and the leader. */
bool tm_replica_snapshot_wanted(struct tm_replica *r, unsigned from, uint64_t term,
                                const struct tm_tail *tail);

/* The same, asked again right before the log is reset to it; whoever leads now: what a snapshot
 * holds is committed. */
bool tm_replica_snapshot_useful(struct tm_replica *r, const struct tm_tail *tail);

/* Whether one that ends so, from any member, brings back what a log with holes misses, nothing of
 * that log is given up for it, and no leader is heard who would see to that. */
bool tm_replica_snapshot_mends(struct tm_replica *r, const struct tm_tail *tail);

/* Follower: the host has durably loaded a snapshot that ends with record `tail` and made its log
 * begin after it.  members: those in it.  goes_on: of a log with holes it keeps what follows that
 * very record, and says tm_replica_repaired once nothing of it is missing; else the log is empty.
 */
void tm_replica_snapshot_installed(struct tm_replica *r, const struct tm_tail *tail,
                                   const struct tm_members *members, bool goes_on);

/* Leader: the snapshot for node has arrived and ends at index; ok false: it failed. */
void tm_replica_snapshot_sent(struct tm_replica *r, unsigned node, uint64_t index, bool ok);

/* --- looking; any time --- */

/* As it is now; see struct tm_replica_status. */
struct tm_replica_status tm_replica_status(const struct tm_replica *r);
static inline bool tm_replica_leads(const struct tm_replica *r)
{
    return r->role == TM_ROLE_LEADER;
}

/* It leads, or has heard its leader within an election timeout. */
bool tm_replica_leader_alive(const struct tm_replica *r);

/* Data copies, the leader's included, that hold `index` durably.  Leader only, else 0. */
unsigned tm_replica_copies(const struct tm_replica *r, uint64_t index);

/* Data copies that take part now: of the in-sync set, or of voters heard lately.  Leader only. */
unsigned tm_replica_in_sync(const struct tm_replica *r, uint64_t now);

/* Highest index that every data replica that may still come back has: tombstones up to it may go.
 * Leader only, else 0. */
uint64_t tm_replica_everywhere(const struct tm_replica *r);

/* Records and bytes appended here and not committed. */
uint64_t tm_replica_window_bytes(const struct tm_replica *r);

/* The members' names for roles and notes ("LEADER", "NARROWED").  Static storage. */
const char *tm_replica_role_name(enum tm_replica_role role);
const char *tm_replica_note_name(enum tm_replica_note note);

/* How loud a note is, and what it says in words: at most size - 1 bytes of text. */
enum tm_log_level tm_replica_note_level(enum tm_replica_note note);
void tm_replica_note_text(enum tm_replica_note note, uint64_t a, uint64_t b, const char *node,
                          char *text, size_t size);

#endif
