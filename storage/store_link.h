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

#include "storage/store.h"

/* First bytes of the names of shadow fields.  Append only. */
#define TM_SHADOW_POSITION 'p' /* empty key: of a stream; uuid (16), u32 source partition */
#define TM_SHADOW_ORIGIN   'o' /* empty key: whose incarnation; u64 origin */

/* ---- Stamps ---- */

/* < 0, 0, > 0 as a was made before b, is b, was made after b. */
static inline int tm_stamp_compare(struct tm_op_version a, struct tm_op_version b)
{
    if (a.hlc != b.hlc)
        return a.hlc < b.hlc ? -1 : 1;
    return a.origin == b.origin ? 0 : a.origin < b.origin ? -1 : 1;
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

#endif
