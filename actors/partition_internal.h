/* partition_internal.h: between the files of the partition.
 *
 *   partition.c         life, changes of role
 *   partition_apply.c   records become the state
 *   partition_io.c      the replica's log, hard state and messages (struct tm_replica_io)
 *   partition_exec.c    evaluating requests
 *   partition_clock.c   clocks that are wrong
 *   partition_repair.c  records that are missing, from whoever has them
 *   partition_answer.c  replies that wait: for commit, for a round, for copies */
#ifndef TM_ACTORS_PARTITION_INTERNAL_H
#define TM_ACTORS_PARTITION_INTERNAL_H

#include "actors/partition.h"

extern const struct tm_replica_io tm_partition_io;

/* Applies what is committed, and at a leader what was inherited, as far as records are in memory;
 * fetches the rest. */
void tm_partition_apply(struct tm_partition *p);

/* The same, later in this turn: puts the partition on env->behind. */
void tm_partition_apply_later(struct tm_partition *p);

void tm_partition_set_role(struct tm_partition *p, const struct tm_replica_status *status);

/* Marks the partition for tm_partition_ship at the end of the turn. */
void tm_partition_mark(struct tm_partition *p);

/* Makes room for one reply more to wait for its record; false: there is no memory. */
bool tm_partition_may_pend(struct tm_partition *p);

/* The reply in env->reply waits for record `index` of `term`; there is room for it. */
void tm_partition_pend(struct tm_partition *p, struct tm_place to, uint64_t id, uint64_t index,
                       uint64_t term);

/* Puts the partition on env->due. */
void tm_partition_due(struct tm_partition *p);

/* Everything up to `index` is good: the replies that waited for it are due. */
void tm_partition_settle(struct tm_partition *p, uint64_t index);

/* Records from `from` on are gone here.  Another copy may have them still, so whether their
 * requests happened shows only when something is committed in their place. */
void tm_partition_unsettle(struct tm_partition *p, uint64_t from);

/* The log is committed up to `commit`: what was cut there happened if it is there all the same, and
 * did not if what is committed has passed it by. */
void tm_partition_decide(struct tm_partition *p, uint64_t commit);

/* Sends what is due. */
void tm_partition_give_answers(struct tm_partition *p);

/* The reply in env->reply leaves when `seen` is committed and leadership confirmed. */
void tm_partition_pend_read(struct tm_partition *p, struct tm_place to,
                            const struct tm_answer *answer, uint64_t seen);
void tm_partition_read_done(struct tm_partition *p, struct tm_replica_read *read, bool ok);

void tm_partition_pend_wait(struct tm_partition *p, struct tm_place to,
                            const struct tm_request *rq);

void tm_partition_answer(struct tm_partition *p, struct tm_place to, const struct tm_answer *a);
void tm_partition_refuse(struct tm_partition *p, struct tm_place to, uint64_t id, enum tm_err err);

/* Frees everything that waits, unanswered. */
void tm_partition_drop_answers(struct tm_partition *p);

/* Leader: stops writing and hands over if its clock is too far ahead.  Some ten times a second. */
void tm_partition_watch_clock(struct tm_partition *p);

/* Whether all that is damaged is known by its hash, so that anybody who has it can bring it back.
 */
bool tm_partition_holes_known(const struct tm_partition *p);

/* Gives back a record that was damaged here, as tm_log_repair does. */
enum tm_err tm_partition_repair(struct tm_partition *p, const struct tm_record *record);

/* A replica that is HOLED asks for what is missing; once it has all it is whole.  Some ten times a
 * second. */
void tm_partition_seek(struct tm_partition *p);

/* Logs it if damage keeps the partition without a leader.  Some ten times a second. */
void tm_partition_tell_shut(struct tm_partition *p);

/* Takes note of a record's stamp, as far as it may be true. */
void tm_partition_observe(struct tm_partition *p, uint64_t stamp);

/* Expires what is due, some at a time, in records of their own. */
void tm_partition_expire_due(struct tm_partition *p);

#endif
