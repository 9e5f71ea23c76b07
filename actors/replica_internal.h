/* replica_internal.h: what the files of the replica share.  Nobody else includes it, except
 * heartbeat.c for the few functions marked so.
 *
 *   replica.c           life, roles, hard state, dispatch, ticks
 *   replica_election.c  pre-vote, vote, transfer
 *   replica_append.c    leader: shipping; follower: taking in
 *   replica_commit.c    what is durable where, commit, the window
 *   replica_members.c   members, peers, wiped nodes on their way back
 *   replica_insync.c    two copies and a witness
 *   replica_read.c      reads and their rounds
 *   replica_snapshot.c  the log is not enough
 *
 * Thread, ownership and reentrancy as in replica.h. */
#ifndef TM_ACTORS_REPLICA_INTERNAL_H
#define TM_ACTORS_REPLICA_INTERNAL_H

#include "actors/heartbeat.h"
#include "actors/replica.h"

/* An offered snapshot or message lists at most so many records past the last commit that a peer
 * may lag and still count as caught up. */
#define TM_REPLICA_NEAR 1024

static inline uint64_t tm_replica_now(const struct tm_replica *r)
{
    return tm_ctx_now(r->ctx);
}
static inline bool tm_replica_votes(enum tm_member_role role)
{
    return role == TM_MEMBER_VOTER || role == TM_MEMBER_WITNESS;
}
/* The next point of the grid at or after `at`: replicas that have nothing urgent tick together, so
 * that a worker at rest is woken for all of them at once. */
static inline uint64_t tm_replica_grid(uint64_t at, uint64_t grain)
{
    return (at + grain - 1) / grain * grain;
}
/* A witness, in office or on its way back: it gets no records. */
static inline bool tm_replica_witnesses(enum tm_member_role role)
{
    return role == TM_MEMBER_WITNESS || role == TM_MEMBER_WITNESS_RETURNING;
}
/* Place i of the members is this node (with whatever disk). */
static inline bool tm_replica_is_self(const struct tm_replica *r, unsigned i)
{
    return r->members.at[i].id.node == r->self.node;
}
/* The hard state as it is now is durable; its term and vote are. */
static inline bool tm_replica_settled(const struct tm_replica *r)
{
    return r->hs_done == r->hs_wanted;
}
static inline bool tm_replica_term_settled(const struct tm_replica *r)
{
    return r->hs_done >= r->term_seq;
}
/* Peer i speaks with the disk that the members name: only then does it count. */
static inline bool tm_replica_genuine(const struct tm_peer *p)
{
    return p->disk != 0 && p->disk == p->id.disk;
}

/* --- replica.c --- */

/* Writes the hard state.  Every change of r->hs is followed by it. */
void tm_replica_persist(struct tm_replica *r);
/* The one way to change roles; asserts the legal edges. */
void tm_replica_become(struct tm_replica *r, enum tm_replica_role role);
/* Tells host and heartbeats of role, term and leader as they are now. */
void tm_replica_announce(struct tm_replica *r);
/* Follows node `leader` (or TM_NODE_UNKNOWN) in `term`, which is not below the present one. */
void tm_replica_follow(struct tm_replica *r, uint64_t term, unsigned leader);
void tm_replica_set_deadline(struct tm_replica *r, uint64_t at);
void tm_replica_note(struct tm_replica *r, enum tm_replica_note note, uint64_t a, uint64_t b);
/* A message to node with the sender's identity and term filled in. */
struct tm_replica_msg tm_replica_msg_make(const struct tm_replica *r, enum tm_msg_kind kind);
void tm_replica_post(struct tm_replica *r, unsigned node, struct tm_replica_msg *msg);
void tm_replica_set_health(struct tm_replica *r, enum tm_health health);
/* Sends what waited for the hard state. */
void tm_replica_send_owed(struct tm_replica *r);

/* --- replica_election.c --- */
bool tm_replica_eligible(const struct tm_replica *r);
void tm_replica_arm_election(struct tm_replica *r);
void tm_replica_new_timeout(struct tm_replica *r);
void tm_replica_prevote(struct tm_replica *r);
void tm_replica_campaign(struct tm_replica *r, bool forced);
void tm_replica_ask(struct tm_replica *r);
void tm_replica_on_prevote(struct tm_replica *r, const struct tm_replica_msg *msg);
void tm_replica_on_vote(struct tm_replica *r, const struct tm_replica_msg *msg);
void tm_replica_on_vote_reply(struct tm_replica *r, const struct tm_replica_msg *msg);
void tm_replica_on_timeout_now(struct tm_replica *r, const struct tm_replica_msg *msg);
void tm_replica_send_votes(struct tm_replica *r);
void tm_replica_tick_election(struct tm_replica *r, uint64_t now);
void tm_replica_transfer_drive(struct tm_replica *r, uint64_t now);

/* --- replica_append.c --- */
void tm_replica_append_own(struct tm_replica *r, const struct tm_record *record);
enum tm_err tm_replica_append_control(struct tm_replica *r, enum tm_record_kind kind,
                                      struct tm_bytes body);
void tm_replica_pump(struct tm_replica *r, struct tm_peer *p);
void tm_replica_pump_all(struct tm_replica *r);
/* Sends what ship_to allows.  Tells a peer that has everything of a newer commit index. */
void tm_replica_tell_commit(struct tm_replica *r, struct tm_peer *p);
/* Where to begin: after what is known to be there.  A peer that was not heard in this term is asked
 * for its end; to begin with its first record would ask for a snapshot that it may not need. */
static inline uint64_t tm_replica_ask_from(const struct tm_replica *r, const struct tm_peer *p)
{
    return (p->match > 0 ? p->match : r->last.index) + 1;
}

/* Goes back to finding where the logs meet, from next on; bare: asks before it sends records. */
void tm_replica_probe(struct tm_peer *p, uint64_t next, bool bare);
void tm_replica_on_append(struct tm_replica *r, const struct tm_replica_msg *msg);
void tm_replica_on_append_reply(struct tm_replica *r, const struct tm_replica_msg *msg);
void tm_replica_send_ack(struct tm_replica *r);
/* Takes back what the leader knows of this log: one at rest would not look. */
void tm_replica_tell_lost(struct tm_replica *r);

/* --- replica_commit.c --- */
void tm_replica_commit_to(struct tm_replica *r, uint64_t index);
void tm_replica_commit_count(struct tm_replica *r);
void tm_replica_window_reset(struct tm_replica *r);
/* What was appended is shipped: it is marked from here. */
void tm_replica_window_mark(struct tm_replica *r);
/* When the oldest record that is not committed was appended here, or some before it; now: there is
 * none. */
uint64_t tm_replica_window_since(const struct tm_replica *r, uint64_t now);

/* --- replica_members.c --- */
/* The place of node among the members, or -1. */
int tm_replica_place(const struct tm_replica *r, unsigned node);
struct tm_peer *tm_replica_peer(struct tm_replica *r, unsigned node);
/* The witness's peer and the other data voter's, or NULL. */
struct tm_peer *tm_replica_witness(struct tm_replica *r);
struct tm_peer *tm_replica_other(struct tm_replica *r);
bool tm_replica_has_witness(const struct tm_replica *r);
unsigned tm_replica_voting(const struct tm_replica *r);
void tm_replica_members_set(struct tm_replica *r, const struct tm_members *m);
/* Decodes a CONFIG record into *m with its index; false: no valid one. */
bool tm_replica_members_of(const struct tm_record *record, struct tm_members *m);
void tm_replica_members_cut(struct tm_replica *r, uint64_t from);
void tm_replica_peers_reset(struct tm_replica *r);
/* A message of a member came: notes its disk; true if the peer is a new disk. */
bool tm_replica_peer_heard(struct tm_replica *r, struct tm_peer *p, uint64_t disk);
void tm_replica_readmit(struct tm_replica *r);

/* --- replica_insync.c --- */
bool tm_replica_insync_has(const struct tm_insync *s, struct tm_id id);
/* Takes over a newer in-sync set that was shown; persists it. */
bool tm_replica_insync_adopt(struct tm_replica *r, const struct tm_insync *s);
/* This replica is the in-sync set, and the witness knows: a quorum of one. */
bool tm_replica_alone(const struct tm_replica *r);
bool tm_replica_lone_commits(const struct tm_replica *r);
bool tm_replica_lost(const struct tm_replica *r, const struct tm_peer *p, uint64_t now);
void tm_replica_insync_lead(struct tm_replica *r);
/* A witness counts again: the other copy is to have the set of both, too. */
void tm_replica_insync_share(struct tm_replica *r);
void tm_replica_insync_drive(struct tm_replica *r, uint64_t now);
void tm_replica_insync_persisted(struct tm_replica *r);
void tm_replica_on_insync(struct tm_replica *r, const struct tm_replica_msg *msg);
void tm_replica_on_insync_reply(struct tm_replica *r, const struct tm_replica_msg *msg);

/* --- replica_read.c --- */
/* heartbeat.c: a round was answered. */
void tm_replica_confirmed(struct tm_replica *r);
void tm_replica_reads_committed(struct tm_replica *r);
void tm_replica_reads_fail(struct tm_replica *r);
/* The value that at least `need` of the voting members' values reach. */
uint64_t tm_replica_quorum_of(const uint64_t *values, unsigned count, unsigned need);

/* --- for heartbeat.c, in replica.c --- */

/* The peer says it leads in term.  True if r agrees; *term is then r's own. */
bool tm_replica_heard(struct tm_replica *r, struct tm_id from, uint64_t *term);
/* Its leader's list of led partitions does not name r. */
void tm_replica_unheard(struct tm_replica *r);
void tm_replica_term_seen(struct tm_replica *r, uint64_t term);
void tm_replica_item_confirmed(struct tm_replica *r, struct tm_id from, uint64_t round);

#endif
