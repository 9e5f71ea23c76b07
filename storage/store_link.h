/* store_link.h: what links between clusters need of a partition's store.
 *
 * Beside its entities a store holds *shadows*: a shadow is what links keep of a key, whether an
 * entity of that key is there or not.  It is a hash of named fields like any other, in the same
 * records, undone, committed, hashed and snapshotted with them, but no command sees it: it is not
 * found, counted, scanned, expired, and FLUSH spares it.  The first byte of a field's name says
 * what it is (TM_SHADOW_…).  The shadow of the empty key holds what concerns the partition.
 *
 * Every entity and field carries a stamp: the HLC and the origin (the cluster's incarnation) of
 * the change that made it, compared in this order.  By default a record's changes carry the
 * record's own stamp; what came over a link keeps the stamp that it was made with.
 *
 * As in store.h: one thread, pointers live until the next change, writers only between begin and
 * finish. */
#ifndef TM_STORAGE_STORE_LINK_H
#define TM_STORAGE_STORE_LINK_H

#include "storage/conflict.h"
#include "storage/store.h"

/* First bytes of the names of shadow fields.  Append only. */
#define TM_SHADOW_POSITION 'p' /* empty key: of a stream; uuid (16), u32 source partition */
#define TM_SHADOW_ORIGIN   'o' /* empty key: whose incarnation; u64 origin */
#define TM_SHADOW_GATE     'g' /* empty key: of a synchronous link; name of its target */
#define TM_SHADOW_FLOOR    'd' /* what has a smaller stamp is dead */
#define TM_SHADOW_FIELD    'f' /* and a name: the field was deleted; u8 type it was of */
#define TM_SHADOW_EXPIRY   'x' /* the register of expiry; u64 ms since 1970, 0 = does not expire */
#define TM_SHADOW_FLUSH    'F' /* empty key: a floor for all keys that the name's rest covers */
#define TM_SHADOW_NARROWED 'N' /* empty key: uuid, u32 source partition; u64 filter purged by */
#define TM_SHADOW_FRONTIER 'K' /* empty key: u64 settled, u64 collected (HLCs) */
#define TM_SHADOW_AWAY     'a' /* empty key: uuid of a cluster that was away (link_absence.h) */
#define TM_SHADOW_LACKS    'l' /* empty key: uuid, u32 source partition, u64 order of a key: ask! */
#define TM_SHADOW_VERSIONS 'v' /* and a name: of the field (storage/versions.h) */
#define TM_SHADOW_STAGED   's' /* empty key: uuid, u32 source partition, u64 BE index: a batch */

/* The origin of no cluster: of what concerns this cluster alone, or follows from other operations.
 * Such operations are never sent to another cluster. */
#define TM_ORIGIN_NONE 0

/* ---- Stamps ---- */

/* < 0, 0, > 0 as a was made before b, is b, was made after b. */
static inline int tm_stamp_compare(struct tm_op_version a, struct tm_op_version b)
{
    if (a.hlc != b.hlc)
        return a.hlc < b.hlc ? -1 : 1;
    return a.origin == b.origin ? 0 : a.origin < b.origin ? -1 : 1;
}

/* What a STAMPED operation of that record says. */
static inline struct tm_op_version tm_stamp_said(const struct tm_record *r, const struct tm_op *op)
{
    struct tm_op_version v;
    memcpy(&v, op->value.data, sizeof v);
    return v.hlc != 0 || v.origin != 0 ? v : (struct tm_op_version){r->hlc, r->origin};
}

/* The operations that writers add from now on carry this stamp; (0, 0): the record's own again, as
 * after begin.  Makes the record TM_ERR_TOOBIG if it brings more than 64 origins that are new, or
 * the 257th to this store.  Counters (tm_store_add) count for the record's own origin always. */
void tm_store_stamp(struct tm_store *s, uint64_t hlc, uint64_t origin);

/* The stamp of an entity: of the latest record that changed it, which need not be the greatest of
 * its fields'. */
struct tm_op_version tm_store_stamp_of(const struct tm_store *s, const struct tm_entity *e);

/* The stamp of a field of a hash, set or shadow, or of a string, whatever the name; false if it is
 * not there. */
bool tm_store_field_stamp(const struct tm_store *s, const struct tm_entity *e, struct tm_bytes name,
                          struct tm_op_version *out);

/* ---- Shadows ---- */

/* The key's shadow, or NULL: read by tm_entity_field, tm_field_first and so on, as a hash is. */
const struct tm_entity *tm_store_shadow(const struct tm_store *s, struct tm_bytes key);

/* A field of the key's shadow; value and stamp may be NULL.  False if it is not there. */
bool tm_store_shadow_field(const struct tm_store *s, struct tm_bytes key, struct tm_bytes name,
                           struct tm_bytes *value, struct tm_op_version *stamp);

/* Writers: the field holds value, or is gone (nothing is written if it was not there). */
void tm_store_set_shadow(struct tm_store *s, struct tm_bytes key, struct tm_bytes name,
                         struct tm_bytes value);
void tm_store_del_shadow(struct tm_store *s, struct tm_bytes key, struct tm_bytes name);

/* How many keys have one. */
uint64_t tm_store_shadows(const struct tm_store *s);

/* Writer: what was made before v, of all keys that a floor of that name covers (the policy says;
 * the empty name: of all), is dead, whether it is here or still to come.  Nothing is removed.  At
 * most 78 bytes; of two floors of one name the later stays. */
void tm_store_set_floor(struct tm_store *s, struct tm_bytes name, struct tm_op_version v);

/* Writer: the record's tm_store_flush is a floor for all keys, if the store has a policy (then
 * `keeps` is true: also the FLUSH of an empty one says something). */
void tm_store_keep_flush(struct tm_store *s);
bool tm_store_keeps_flush(const struct tm_store *s);

/* ---- Which keys are shared ---- */

enum tm_link_sharing {
    TM_LINK_NONE, /* no link carries the key */
    TM_LINK_ONE,  /* one cluster writes it, others only read it */
    TM_LINK_MANY  /* several may write it: what is deleted is kept as tombstones */
};

/* One of two changes that conflict.  The value of a whole entity is an object: per field u32 length
 * of its name, u32 length of its value, name, value. */
struct tm_conflict_side {
    struct tm_op_version stamp;
    bool deleted;
    struct tm_bytes value; /* if not deleted */
};

/* A conflict that was resolved.  What bytes point to lives until the callback returns. */
struct tm_conflict_found {
    struct tm_bytes key, field; /* field is empty for a string and for a whole entity */
    enum tm_entity_type type;
    bool whole; /* the sides are of the entity, not of one field */
    struct tm_conflict_rule rule;
    struct tm_conflict_side winner; /* of MAX and MIN the one whose value stands; of a FUNCTION,
                                       which may give something else, the later one */
    struct tm_conflict_side loser;
    struct tm_conflict_side result; /* what stands now, under the stamp that it has */
};

/* What a store asks of who opened it.  Called by writers and merges; none may touch the store.  The
 * empty key is never asked for: it is not shared.
 *
 *   keep      how the key is shared, as far as changes of that origin go (TM_ORIGIN_NONE: this
 *             cluster's own)
 *   rule      that of a field (an empty name: of a string) of a key that several clusters write;
 *             NULL: field-lww
 *   combine   what the function of a rule makes of two values (of `whole`: of two objects), a the
 *             earlier; *out lives until the call after the next, so it may come back as a.
 *             Anything but TM_OK: it gave no value, and the later one stands.  NULL: never does
 *   conflict  a merge found two changes that conflict, of keys that several clusters write.  Told
 *             where the record is made; if that is not committed, it may be told again.  By
 *             field-lww and entity-lww it is told at the cluster that wrote the winner, for there
 *             alone it is certain that neither knew of the other, and once for each time that the
 *             loser comes here; by the other rules at every cluster that both come to.  May be
 *             NULL. */
struct tm_link_policy {
    enum tm_link_sharing (*keep)(void *host, struct tm_bytes key, uint64_t origin);
    void *host;
    void (*conflict)(void *host, const struct tm_conflict_found *found);
    bool (*covers)(void *host, struct tm_bytes key, struct tm_bytes floor);
    struct tm_conflict_rule (*rule)(void *host, struct tm_bytes key, struct tm_bytes name);
    enum tm_err (*combine)(void *host, const struct tm_conflict_rule *rule, struct tm_bytes a,
                           struct tm_bytes b, struct tm_bytes *out);
};

/* From now on writers leave tombstones for what is shared.  Copied; NULL: nothing is shared, as in
 * a new store.  Not between begin and finish.  A policy decides what is written, never how records
 * are applied: it may differ between replicas and change at any time. */
void tm_store_set_policy(struct tm_store *s, const struct tm_link_policy *policy);

/* What the policy says of the key; NONE without a policy. */
enum tm_link_sharing tm_store_sharing(const struct tm_store *s, struct tm_bytes key,
                                      uint64_t origin);

/* Whether adding the member is worth a record though it is there: by the rule `set` it then stays,
 * even if another cluster removes it without knowing of that. */
bool tm_store_adds_again(const struct tm_store *s, struct tm_bytes key, struct tm_bytes member);

/* ---- Changes that came over a link ---- */

enum tm_link_outcome {
    TM_LINK_APPLIED,
    TM_LINK_KNOWN, /* it is here already */
    TM_LINK_LOST,  /* something later is here */
    TM_LINK_LACKS /* applied; but the entity's time was over here before it was known that it should
                     live longer: its fields, also those taken for dead, have to be asked for */
};

/* What came: an operation of another cluster's record, and the stamp that it was made with (of
 * that record, or of the STAMPED before it).  The bytes must not lie in the store. */
struct tm_link_change {
    struct tm_bytes key; /* not empty */
    enum tm_entity_type type;
    const struct tm_op *op;
    struct tm_op_version stamp;
    uint64_t hash; /* the key's, as struct tm_store_ahead has it; 0: not known */
};

/* Writes into the open record what the change leads to here, by the field's rule; field-lww:
 *
 *   - of two changes of a field the one with the later stamp stays, deletions (tombstones)
 *     included; of equal stamps, which are of one record, the one that comes later here;
 *   - of two types of one key the one stays that has the later change; its fields made before the
 *     newest of the other type are gone too; what counts from nothing is earlier than all else, and
 *     of two types that do so a hash stays;
 *   - DEL_ENTITY kills what was made before it, SET_EXPIRY and PERSIST are one register;
 *   - EXPIRE_ENTITY is nothing: each cluster expires by itself; nor is EXPIRY, for the register
 *     that it follows from ('x') comes with it;
 *   - where the rule keeps versions, or the key's shadow has some, they are joined (versions.h),
 * and the field becomes what the rule makes of them.
 *
 * All clusters that got the same changes, in any order that keeps each cluster's own, hold the same
 * (tm_link_hash).  Of a key that only one cluster writes no tombstones are kept: its changes have
 * to come in order.
 *
 * To be sent are all operations of a record, with their stamps, in their order, but those of
 * TM_ORIGIN_NONE, of EXPIRE_ENTITY, EXPIRY and FOLDED, and on shadows those that are not SET_FIELD
 * of 'd', 'f', 'x', 'v': such a one is the same as a DEL_ENTITY, DEL_FIELD, SET_EXPIRY at another
 * cluster, or the versions of a field, and comes here as it is.  What has no origin, which only
 * bytes from outside tell, counts as KNOWN: it changes nothing.
 *
 * now_ms: the wall clock, ms since 1970; 0: the time of the open record.  winner (may be NULL): if
 * LOST, the stamp it lost to.  The clock of this cluster has observed the stamp before the record
 * was begun: local changes are later than all that is here. */
enum tm_link_outcome tm_link_merge(struct tm_store *s, const struct tm_link_change *change,
                                   uint64_t now_ms, struct tm_op_version *winner);

/* ---- What is shared of a key ---- */

/* A hash of what clusters that share the key have to agree on at last: type, fields with values and
 * stamps, tombstones, floor, expiry; not the entity's own stamp.  0: nothing is known of it.  What
 * has expired by now_ms, ms since 1970, counts as gone.  Of the newest version.  past: what is
 * collected up to that HLC at either of two clusters counts as gone at both (0: nothing is). */
uint64_t tm_link_hash(const struct tm_store *s, struct tm_bytes key, uint64_t now_ms,
                      uint64_t past);

/* Visits the keys that something is known of, but the empty one, from `from` up to, not including,
 * `to` (both below 2^48; to = 0: to the end) in the order of the table, which is that of the keys'
 * hashes and so the same at every cluster under any number of partitions; at least `want` of those
 * there, then it may stop.  Returns where to go on from, `to` if that was all.  Visit sees the
 * committed state (tm_link_hash, tm_link_state, reads) and must not change it.  Costs twice the
 * uncommitted records beside the keys. */
typedef void tm_link_key_fn(void *host, struct tm_bytes key);
uint64_t tm_link_keys(struct tm_store *s, uint64_t from, uint64_t to, unsigned want,
                      tm_link_key_fn *visit, void *host);

/* Called for each operation of a state; the bytes live until it returns. */
typedef void tm_link_state_fn(void *host, enum tm_entity_type type, const struct tm_op *op,
                              struct tm_op_version stamp);

/* Gives the key's state (the newest; within tm_link_keys the committed) as operations that make it
 * so where they are merged, in their order, and may be merged any number of times.  Nothing if
 * nothing is known of the key. */
void tm_link_state(struct tm_store *s, struct tm_bytes key, tm_link_state_fn *give, void *host);

/* The latest stamp that the operation tells of, beside its own: of the versions in it. */
uint64_t tm_link_newest(enum tm_entity_type type, const struct tm_op *op);

/* Whether all that the operation tells of was made at an origin that has these bits as that one
 * has, its own stamp left aside. */
bool tm_link_is_of(enum tm_entity_type type, const struct tm_op *op, uint64_t origin,
                   uint64_t bits);

/* Writer: forgets the past of the field's versions ('v' and its name; storage/versions.h) where all
 * is up to that stamp, which every cluster that writes the key has applied.  False: nothing is due.
 */
bool tm_link_retire(struct tm_store *s, struct tm_bytes key, struct tm_bytes shadow_name,
                    struct tm_op_version through);

/* ---- What is kept no longer ----
 *
 * All clusters that share the keys have applied whatever has a stamp up to `settled` (HLC), so that
 * no change up to there can come any more; up to `collected` they all know so.  Both only rise; who
 * sets them has heard of all the others (actors/links_frontier.c), and has collected before, up to
 * the new `collected`, what every key has. */
void tm_link_frontier(const struct tm_store *s, uint64_t *settled, uint64_t *collected);
void tm_link_set_frontier(struct tm_store *s, uint64_t settled, uint64_t collected); /* writer */

/* The least stamp (HLC) up to which all has to be collected for something of the key's shadow to
 * go; UINT64_MAX: there is nothing that ever goes.  The greatest up to `through` for which that is
 * so; 0: none.  And the least of what FLUSHes left. */
uint64_t tm_link_due(const struct tm_store *s, struct tm_bytes key);
uint64_t tm_link_due_last(const struct tm_store *s, struct tm_bytes key, uint64_t through);
uint64_t tm_link_flush_due(const struct tm_store *s);

/* Writer: what is due up to there goes, here alone, as if it had never been.  True if any was. */
bool tm_link_collect(struct tm_store *s, struct tm_bytes key, uint64_t through);
bool tm_link_collect_flushes(struct tm_store *s, uint64_t through);

/* Visits keys that have a shadow, but the empty one, as tm_link_keys does, of the newest version:
 * at least `want`, if there are, from `from` on; returns where to go on from, 0 after all. */
uint64_t tm_link_shadow_keys(const struct tm_store *s, uint64_t from, unsigned want,
                             tm_link_key_fn *visit, void *host);

/* Writer: what of the key's entity was made up to that HLC goes, at this cluster only, without a
 * tombstone; what is kept of deletions stays. */
void tm_link_cut_old(struct tm_store *s, struct tm_bytes key, uint64_t through);

/* Writer: the key is gone at this cluster only: no tombstone, nothing to send to others. */
void tm_link_evict(struct tm_store *s, struct tm_bytes key);

#endif
