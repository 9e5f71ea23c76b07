/* versions.h: the versions of a field of which none was made in knowledge of another.
 *
 * By the rules set, max, min, home and by functions a field is the set of its *versions*, each told
 * by its stamp, and the *past*: for each origin up to where its versions are known and superseded.
 * Who writes makes one version of its own and puts all it knew into the past.  Two such states are
 * joined: a version stays if both have it, or if the other one does not know it.  That is
 * commutative, associative and idempotent, so the order of arrival does not matter.  What the field
 * reads as is made of its versions by the rule; it is never itself a version.
 *
 * A *plain* field has one version and no past: it is kept, logged and sent as under field-lww.  Any
 * other has its versions in a field of the key's shadow, 'v' and its name (frozen, little-endian):
 *
 *   u8 type of the entity, u8 versions, u16 past, u32 0
 *   past × {u64 hlc, u64 origin}, ascending by origin
 *   versions × {u64 hlc, u64 origin, u32 flags, u32 length}, ascending by stamp
 *   the values
 *
 * An origin has at most one version, later than its past.  Plain data; values point to bytes of who
 * made it; nothing here allocates. */
#ifndef TM_STORAGE_VERSIONS_H
#define TM_STORAGE_VERSIONS_H

#include "storage/store_link.h"

#define TM_VERSIONS_MAX 32 /* beyond, the earliest counts as superseded */
#define TM_PAST_MAX     64 /* beyond, the earliest is forgotten */

enum {
    TM_VERSION_DELETED = 1, /* the field was deleted; no value */
    TM_VERSION_HOME = 2     /* made where the rule says that wins */
};

struct tm_version {
    struct tm_op_version stamp;
    uint32_t flags;
    struct tm_bytes value;
};

struct tm_versions {
    enum tm_entity_type type;
    unsigned count, past_count;
    struct tm_version version[TM_VERSIONS_MAX];
    struct tm_op_version past[TM_PAST_MAX];
    char digits[24]; /* of a counter's value */
};

static inline void tm_versions_none(struct tm_versions *v, enum tm_entity_type type)
{
    v->type = type;
    v->count = v->past_count = 0;
}

/* One version and no past that is worth a shadow. */
static inline bool tm_versions_plain(const struct tm_versions *v)
{
    return v->count == 1 && v->past_count == 0 && !(v->version[0].flags & TM_VERSION_HOME);
}

/* False: the bytes, from wherever, are not versions.  The values point into them. */
bool tm_versions_decode(struct tm_bytes bytes, struct tm_versions *v);
size_t tm_versions_size(const struct tm_versions *v);
void tm_versions_encode(const struct tm_versions *v, uint8_t *out);

/* Of encoded ones: the latest stamp, which is a version's; 0, 0: there is none. */
struct tm_op_version tm_versions_newest(struct tm_bytes bytes);

/* Whether the version is known: there or superseded. */
bool tm_versions_know(const struct tm_versions *v, struct tm_op_version stamp);
const struct tm_version *tm_versions_find(const struct tm_versions *v, struct tm_op_version stamp);

/* What there is becomes the past of that version, which is later. */
void tm_versions_put(struct tm_versions *v, const struct tm_version *own);

/* a with b; of two versions of one stamp, which are of one record, b's stays.  True if a changed.
 */
bool tm_versions_join(struct tm_versions *a, const struct tm_versions *b);

/* What has a stamp below that one is gone, or also a version that has it (too); true if anything
 * was.  A past that has it stays: the record of that floor may come again, and what it made after.
 */
bool tm_versions_cut(struct tm_versions *v, struct tm_op_version floor, bool too);

/* What every cluster that writes the key has applied, up to that stamp, needs no past: forgets it,
 * if the versions are such, too.  True if it did. */
bool tm_versions_retire(struct tm_versions *v, struct tm_op_version through);

/* ---- Rules ---- */

/* Whether fields of that rule keep versions. */
static inline bool tm_conflict_keeps_versions(const struct tm_conflict_rule *rule)
{
    return rule->rule == TM_CONFLICT_SET || rule->rule == TM_CONFLICT_MAX ||
           rule->rule == TM_CONFLICT_MIN || rule->rule == TM_CONFLICT_HOME ||
           rule->rule == TM_CONFLICT_FUNCTION;
}

/* < 0, 0, > 0: how the values compare by max and min: numbers as such and before all others, these
 * byte by byte. */
int tm_conflict_compare(struct tm_bytes a, struct tm_bytes b);

/* Whether b, made later than a, stands when the two meet; of a function, as if it had failed. */
bool tm_conflict_later_wins(const struct tm_conflict_rule *rule, const struct tm_version *a,
                            const struct tm_version *b);

/* What the field reads as, under the latest stamp of a version that is not a deletion; there is at
 * least one version.  Functions are asked through the policy. */
struct tm_conflict_side tm_versions_fold(const struct tm_versions *v,
                                         const struct tm_conflict_rule *rule,
                                         const struct tm_link_policy *policy);

#endif
