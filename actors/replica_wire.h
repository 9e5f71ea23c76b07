/* replica_wire.h: what replicas of one partition say to each other, and what they keep as bytes.
 *
 * Two frozen little-endian encodings:
 *   - a message: 64 bytes, then 56 bytes of in-sync set if TM_MSG_WITH_SET is among the flags, then
 *     for APPEND the records, one after the other (storage/record.h);
 *   - the members: 8 + 16 bytes a member, the body of a CONFIG record and part of a snapshot.
 * And what a replica promises by its hard state, with the way to and from storage/hard_state.h.
 * Decoders take bytes from outside: every field is checked, nothing is asserted.  Pure; any
 * thread. */
#ifndef TM_ACTORS_REPLICA_WIRE_H
#define TM_ACTORS_REPLICA_WIRE_H

#include "runtime/base.h"
#include "storage/hard_state.h"
#include "storage/record.h"

#define TM_MEMBERS_MAX  9 /* voters (TM_VOTERS_MAX, the witness included) and learners */
#define TM_NODE_UNKNOWN 0xffu

/* Who: a node and the disk its replica lives on.  A wiped node returns with another disk id and is
 * somebody else.  node 0..63 or TM_NODE_UNKNOWN; disk 0: not known. */
struct tm_id {
    uint64_t disk;
    uint8_t node;
};

static inline bool tm_id_equal(struct tm_id a, struct tm_id b)
{
    return a.node == b.node && a.disk == b.disk;
}

enum tm_member_role {
    TM_MEMBER_VOTER,     /* data, votes, counts for commit */
    TM_MEMBER_WITNESS,   /* votes; keeps term, vote and in-sync set, never data */
    TM_MEMBER_LEARNER,   /* data; neither votes nor counts.  disk 0: whatever disk it has */
    TM_MEMBER_RETURNING, /* as a learner; its node was wiped, and is a voter again when caught up */
    TM_MEMBER_WITNESS_RETURNING /* a wiped witness; counts again once it has the in-sync set */
};

struct tm_member {
    struct tm_id id;
    enum tm_member_role role;
};

/* The members of a partition, the preferred leader first.  One per node.  With a witness there are
 * exactly two voters beside it, or one while the other is replaced. */
struct tm_members {
    uint64_t index; /* of the CONFIG record that says so; 0 for the first ones, made at creation */
    unsigned count;
    struct tm_member at[TM_MEMBERS_MAX];
};

/* The in-sync set of a partition with a witness: which of its data replicas have all that is
 * committed.  Ordered by (term, epoch).  count 0: there is no witness, or nothing is known yet. */
struct tm_insync {
    uint64_t term;  /* of the leader that made it */
    uint64_t epoch; /* counted by that leader */
    unsigned count;
    struct tm_id at[2];
    bool confirmed; /* count 1, and the witness has it: that one replica is a quorum by itself */
};

/* How much a replica can prove of what it once acknowledged. */
enum tm_health {
    TM_HEALTH_WHOLE,   /* all of it */
    TM_HEALTH_SUSPECT, /* its tail is gone or damaged past the durable point, or it kept its log in
                          memory: votes only as docs/PROTOCOL.md says for denials, never as a denial
                        */
    TM_HEALTH_HOLED,   /* acknowledged records are damaged, but known by their hashes, and so is the
                          end of the log: it votes, and does not lead until it is repaired, by a
                          leader or by whoever has them.  Not written down: a start finds the same
                          damage again */
    TM_HEALTH_FAULTY /* acknowledged records are damaged: no vote until a leader has repaired it */
};

/* Term, vote, health and in-sync set: always written as one.  A replica shows nothing of a term or
 * a vote before the state that holds it is durable. */
struct tm_promise {
    uint64_t term;
    struct tm_id vote; /* node TM_NODE_UNKNOWN: none in this term */
    enum tm_health health;
    struct tm_insync insync;
};

/* X(name, number, text).  Append only. */
#define TM_MSG_LIST(X)                                                                             \
    X(PREVOTE, 1, "would you vote for me?  term is the one I would campaign for")                  \
    X(VOTE, 2, "vote for me")                                                                      \
    X(VOTE_REPLY, 3, "the answer to either; granted or not")                                       \
    X(APPEND, 4, "records after a given one; none: a probe or a new commit index")                 \
    X(APPEND_REPLY, 5, "what is durable here, what was received, or where to go back to")          \
    X(INSYNC, 6, "leader to witness or data replica: keep this in-sync set")                       \
    X(INSYNC_REPLY, 7, "kept, durably")                                                            \
    X(TIMEOUT_NOW, 8, "leader to its successor: campaign at once")

enum tm_msg_kind {
#define X(name, number, text) TM_MSG_##name = number,
    TM_MSG_LIST(X)
#undef X
        TM_MSG_END
};

enum tm_msg_flags {
    TM_MSG_GRANTED = 1 << 0,  /* VOTE_REPLY */
    TM_MSG_PRE = 1 << 1,      /* VOTE_REPLY: to a PREVOTE */
    TM_MSG_FORCED = 1 << 2,   /* VOTE: by a transfer, whether or not a leader was heard */
    TM_MSG_SUSPECT = 1 << 3,  /* replies and votes: the sender's health is not WHOLE (of votes: and
                                 not HOLED) */
    TM_MSG_REJECT = 1 << 4,   /* APPEND_REPLY: does not fit; index/index_term say where to go on */
    TM_MSG_FIRM = 1 << 5,     /* APPEND: the leader has committed a record of its term */
    TM_MSG_WITH_SET = 1 << 6, /* an in-sync set follows the head */
    TM_MSG_NO_ROOM = 1 << 7   /* APPEND_REPLY: the sender's disk is full */
};

/* One message.  Fields that a kind does not name are 0. */
struct tm_replica_msg {
    enum tm_msg_kind kind;
    uint8_t flags;
    uint32_t partition;
    struct tm_id from;
    uint64_t term;
    /* PREVOTE, VOTE, VOTE_REPLY: the sender's last index and its term.
     * APPEND: index, term and hash of the record before the first one carried.
     * APPEND_REPLY: index is durable and equal to the leader's log; with REJECT, index is where the
     * logs may still agree and index_term the term there; hash is the commit index known there. */
    uint64_t index;
    uint64_t index_term;
    uint64_t hash;
    /* APPEND: the leader's commit index.  APPEND_REPLY: received and equal, durable or not.
     * PREVOTE, VOTE: how far the candidate knows its log to be committed.  VOTE_REPLY: the term
     * that was asked for. */
    uint64_t commit;
    uint32_t count; /* APPEND: records that follow */
    struct tm_insync insync;
    struct tm_bytes body; /* APPEND, when decoded: the records, inside the decoded bytes */
};

#define TM_MSG_HEAD_SIZE       64
#define TM_MSG_SET_SIZE        56
#define TM_MSG_HEAD_MAX        (TM_MSG_HEAD_SIZE + TM_MSG_SET_SIZE)
#define TM_MEMBERS_SIZE(count) (8 + 16 * (size_t)(count))
#define TM_MEMBERS_SIZE_MAX    TM_MEMBERS_SIZE(TM_MEMBERS_MAX)

/* Writes the head of msg (and its in-sync set) to out, TM_MSG_HEAD_MAX bytes of room; returns the
 * bytes written, a multiple of 8.  body_len bytes of records are to follow. */
size_t tm_replica_msg_encode(const struct tm_replica_msg *msg, size_t body_len, uint8_t *out);

/* Reads a whole message; msg->body points into bytes.  TM_ERR_CORRUPT: not a message. */
enum tm_err tm_replica_msg_decode(struct tm_bytes bytes, struct tm_replica_msg *msg);

/* The kind's name ("APPEND") or "UNKNOWN".  Static storage. */
const char *tm_replica_msg_name(unsigned kind);

/* To what storage keeps, and back.  TM_ERR_CORRUPT: a state that no replica made. */
void tm_promise_to_hard_state(const struct tm_promise *p, struct tm_hard_state *out);
enum tm_err tm_promise_from_hard_state(const struct tm_hard_state *hs, struct tm_promise *out);

/* Writes TM_MEMBERS_SIZE(m->count) bytes; m->index is not among them (it is the record's own) and
 * decode sets it to 0. */
void tm_members_encode(const struct tm_members *m, uint8_t *out);
enum tm_err tm_members_decode(struct tm_bytes bytes, struct tm_members *m);

/* Whether m is one that may be: counts, one member a node, disks known, the witness's rules. */
bool tm_members_valid(const struct tm_members *m);

#endif
