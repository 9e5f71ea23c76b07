/* merge.h: how records that a failover cut off come into the log of the leader that follows.
 *
 * An *offer* is the suffix of a former leader's log: records one after the other, after a *fork*, a
 * record that both logs have.  The merge learns what the present log changed after the fork, then
 * writes what of the offered changes survives, as operations of ordinary records:
 *
 *   - versions are (term, index) of the record that made a change; the later one wins;
 *   - a field (SET, DEL) loses to any later change of that field, to a later deletion, flush or
 *     change of type of its entity, and to a later expiry, unless the offer itself gave the entity
 *     another life (an expiry of its own, or a deletion);
 *   - a counter's component counts beside later changes of other components, and loses to a later
 *     SET or deletion as above; and where a SET or deletion that it counts from has lost;
 *   - the deletion of an entity spares fields changed later; an expiry set or taken away, and a
 *     death by expiry, lose to any later change of the key; FLUSH to any later change at all;
 *   - CONFIG, NOOP and SYSTEM are nobody's data and left out;
 *   - so is a record that moved the position of a link's stream, as a whole: the stream is sent
 *     again from the position that the present log has;
 *   - keys that several clusters write (tm_store_sharing) have rules of their own, by stamps:
 *     whatever else was made here goes through tm_link_merge under the stamp it was made with.
 *
 * The records written name their sources (MERGED of storage/record.h), so that an offer may come
 * again, from this node or from another that has part of it, to this leader or the next: what the
 * log has already is passed over, and merged changes keep the version of their source.
 *
 * Pure; heap memory bounded by TM_MERGE_BYTES_MAX; one thread. */
#ifndef TM_ACTORS_MERGE_H
#define TM_ACTORS_MERGE_H

#include "storage/store.h"

#define TM_MERGE_BYTES_MAX TM_MIB(64)
#define TM_MERGE_TERMS     64 /* terms in one offer */

struct tm_merge;

/* Operations of an offer by what became of them. */
struct tm_merge_stats {
    uint64_t kept;       /* written */
    uint64_t superseded; /* lost to something later */
    uint64_t known;      /* records that the log had already, directly or merged */
};

/* A merge of these records, 8-aligned, one after the other; each passed tm_record_check and fits
 * the one before it.  They are borrowed until the merge is freed.  TM_ERR_NOMEM; TM_ERR_TOOBIG: too
 * many terms or keys. */
enum tm_err tm_merge_new(struct tm_bytes records, struct tm_merge **out);
void tm_merge_free(struct tm_merge *m);

/* The next record of the present log, from the one after the fork on, in order.  TM_ERR_NOMEM,
 * TM_ERR_TOOBIG: the merge cannot be done. */
enum tm_err tm_merge_learn(struct tm_merge *m, const struct tm_record *record);

/* Writes what survives of the next offered records, as many as fit into about max_bytes but at
 * least one, into the store's open record.  True if there is more to write: into the next record,
 * after what the log got meanwhile was learned. */
bool tm_merge_write(struct tm_merge *m, struct tm_store *s, size_t max_bytes);

/* What was decided so far. */
struct tm_merge_stats tm_merge_stats(const struct tm_merge *m);

#endif
