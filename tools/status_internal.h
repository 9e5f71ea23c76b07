/* status_internal.h: what `tidemill status` gathers, and how it is merged.  The parts that need no
 * network are functions of their own, for tests. */
#ifndef TM_TOOLS_STATUS_INTERNAL_H
#define TM_TOOLS_STATUS_INTERNAL_H

#include "runtime/base.h"

/* A worker of a node. */
struct tm_status_member {
    char address[80];
    char node[64];   /* its name */
    enum tm_err err; /* why it did not answer */
    bool connected;  /* somebody listened there */
    unsigned leads, holds;
};

/* One copy of a partition, as the member that has it says. */
struct tm_status_replica {
    unsigned member;
    unsigned partition;
    char role[16];
    uint64_t term, commit, last, applied, entities, state_hash;
    uint64_t copies, in_sync;
    uint64_t last_term, node;
    uint64_t set_nodes, set_term, set_epoch; /* newest in-sync set it knows: bit per node */
    bool ready, faulty;
};

/* A partition, merged. */
struct tm_status_partition {
    int leader; /* member, -1: none is known */
    uint64_t leader_term;
    uint64_t term, commit; /* the highest known */
    uint64_t applied;      /* by the leader */
    uint64_t lag;          /* records that the slowest copy has not applied */
    unsigned copies, in_sync, faulty;
};

struct tm_status_totals {
    unsigned led, one_copy, faulty, unreachable;
    uint64_t max_lag;
};

struct tm_status {
    char cluster[64];
    struct tm_status_member *members;
    unsigned member_count;
    struct tm_status_replica *replicas;
    unsigned replica_count, replica_room;
    struct tm_status_partition *partitions;
    unsigned partition_count;
    struct tm_status_totals totals;
};

/* Asks the member at address who the others are, and each of them; fills s wholly.  Prints why and
 * returns TM_EXIT_FAILED if that one does not answer; others may be silent (their err). */
int tm_status_gather(struct tm_status *s, const char *address, const char *password);

/* Takes the members out of a reply to TIDEMILL MEMBERS: an array as that of tm_status_take.
 * UNSUPPORTED: an error reply; CORRUPT: another shape; NOMEM. */
enum tm_err tm_status_members(struct tm_status *s, struct tm_bytes reply);

/* Why a member did not answer. */
const char *tm_status_reason(enum tm_err err, bool connected);

/* Takes the replicas out of a member's reply to TIDEMILL PARTITIONS: an array of arrays of
 * alternating names and values; unknown names are skipped.  UNSUPPORTED: an error reply; CORRUPT:
 * another shape; NOMEM. */
enum tm_err tm_status_take(struct tm_status *s, struct tm_status_member *m, struct tm_bytes reply);

/* Fills partitions, totals and the members' counts. */
void tm_status_merge(struct tm_status *s);

void tm_status_free(struct tm_status *s);

#endif
