/* message.h: what workers say to each other, over channels between nodes and over rings within one.
 *
 * A message is a 24-byte head and a body, little-endian.  Bodies that are not spelled out here have
 * an encoding of their own in the header named beside the type.  Numbers are append-only (6, 7, 10,
 * 11, 18, 19 and 26 to 31 are free); from 32 on they go between linked clusters
 * (actors/link_way.h): nodes of neighbouring versions talk to each other.  Everything received is
 * checked before it is used. */
#ifndef TM_ACTORS_MESSAGE_H
#define TM_ACTORS_MESSAGE_H

#include "runtime/base.h"

/* X(number, name, text) */
#define TM_MESSAGE_LIST(X)                                                                         \
    X(1, STATE, "who this node is and what it knows (actors/creation.h)")                          \
    X(2, CREATE, "the directory of a cluster to be created")                                       \
    X(3, CREATED, "the directory of that token (body) and version (arg) is stored")                \
    X(4, START, "all nodes stored it: the cluster of that token and version exists")               \
    X(5, DIRECTORY, "the present directory (actors/directory.h)")                                  \
    X(8, RAFT, "one message of a partition's replicas (actors/replica_wire.h)")                    \
    X(9, HEARTBEAT, "joined heartbeat of a worker pair (actors/heartbeat.h)")                      \
    X(12, REQUEST, "a client's request to a leader (actors/request_wire.h)")                       \
    X(13, ANSWER, "the leader's answer (actors/request_wire.h)")                                   \
    X(14, LEADER, "arg = term: the sending node leads this partition")                             \
    X(15, LEADERS, "please say LEADER of each partition you lead: the sender has just begun")      \
    X(16, SNAPSHOT, "a piece of a snapshot for a follower (actors/transfer.h)")                    \
    X(17, SNAPSHOT_ACK, "how far the follower has it")                                             \
    X(20, OFFER, "a piece, from byte arg2 on, of what a failover cut off; arg = its id")           \
    X(21, OFFERED, "arg = id: merged and committed, or (arg2 = 1) refused")                        \
    X(22, ASK, "a client's local command for a sibling worker too; arg = its session")             \
    X(23, TOLD, "the sibling's answer to that session (actors/request_wire.h)")                    \
    X(24, WANT, "records arg..arg2 are missing here; body: the hash of the last one")              \
    X(25, GIVE, "one of them, arg = its index")                                                    \
    X(32, LINK_READY,                                                                              \
      "between clusters: the sender takes messages of this worker now; arg 1: an answer")          \
    X(33, LINK_OPEN, "between clusters: where does the stream stand? (actors/link_wire.h)")        \
    X(34, LINK_POSITION, "there: what has to follow")                                              \
    X(35, LINK_BATCH, "changes of a stream")                                                       \
    X(36, LINK_ACK, "they are committed at the target")                                            \
    X(37, LINK_MOVED, "the target partition is led elsewhere")                                     \
    X(38, LINK_REFUSED, "the stream is not taken, and why")                                        \
    X(39, LINK_RANGES, "sums of what the source has (actors/link_sync_wire.h)")                    \
    X(40, LINK_DIFFERS, "what the target has where they differ")                                   \
    X(41, LINK_STATE, "the state of what differs")                                                 \
    X(42, LINK_STATED, "it was taken")                                                             \
    X(48, LINK_LACKS, "keys whose state the target asks for (actors/link_sync_wire.h)")            \
    X(49, LINK_TOLD, "up to which stamps the source has sent, and applied, all there is")          \
    X(50, LINK_HEARD, "up to which stamps the target has applied all there is")                    \
    X(51, LINK_STAGE, "changes that are not committed yet (actors/link_stage_wire.h)")             \
    X(52, LINK_COMMIT, "of these, what is committed by now")                                       \
    X(53, LINK_UNSTAGE, "and what never will be")

enum tm_message_type {
#define X(number, name, text) TM_MESSAGE_##name = number,
    TM_MESSAGE_LIST(X)
#undef X
};

struct tm_message_head {
    uint16_t type;
    uint8_t node;   /* of the sender; the receiver checks it against the channel */
    uint8_t worker; /* of the sender */
    uint32_t partition;
    uint64_t arg;
    uint64_t arg2;
};
TM_STATIC_ASSERT(sizeof(struct tm_message_head) == 24, "frozen on the wire");

/* The longest message: a record of the largest entity, with room for its envelope. */
#define TM_MESSAGE_BODY_MAX (15u << 20)

/* Name of a type, "UNKNOWN" for a number that is none.  Static storage. */
const char *tm_message_name(unsigned type);

#endif
