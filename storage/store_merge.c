/* store_merge.c: changes that came over links, merged by field-lww; and by the rules that keep
 * several versions of a field (storage/versions.h), which come in below.
 *
 * The happy path: the key is looked up with its shadow; the change is compared with what is there
 * of its field, the tombstone included; if it is later, it is written under its own stamp, and the
 * tombstone goes.
 *
 * What a key holds is a join of registers: per field the greatest stamp, one for expiry, and the
 * floor below which all is dead.  Types are a rule on top: the floor is at least the greatest stamp
 * of each type but the one with the greatest of all.  All of that only rises, so the order of
 * arrival does not matter.  What a rule kills besides is derived: every cluster does it by itself,
 * so it is stamped TM_ORIGIN_NONE and not sent on. */
#include "storage/store_link.h"
#include "storage/store_internal.h"

#include <inttypes.h>
#include <stdio.h>

static const struct tm_bytes FLOOR = {(const uint8_t *)"d", 1}, EXPIRY = {(const uint8_t *)"x", 1},
                             NOTHING = {NULL, 0};

struct merge {
    struct tm_store *s;
    const struct tm_link_change *in;
    struct tm_bytes name; /* of the field, without the tombstone's prefix */
    struct tm_kept k;
    uint64_t now_ms;
    bool many;
    bool over;              /* it lost to the expiry of its life */
    struct tm_op_version v; /* what is compared: the change's stamp, of a counter the base's */
    struct tm_op_version winner;
    struct tm_conflict_rule rule; /* of a field that keeps versions */
};

static bool before(struct tm_op_version a, struct tm_op_version b)
{
    return tm_stamp_compare(a, b) < 0;
}

static enum tm_link_outcome lose(struct merge *m, struct tm_op_version winner)
{
    m->winner = winner;
    return TM_LINK_LOST;
}

static void look(struct merge *m)
{
    tm_kept_look_at(m->s, m->in->key, m->in->hash, &m->k);
}

static void stamp(struct merge *m)
{
    tm_store_stamp(m->s, m->in->stamp.hlc, m->in->stamp.origin);
}

static bool is_due(const struct merge *m, uint64_t now_ms)
{
    return m->k.has_expiry && m->k.expiry_ms != 0 && m->k.expiry_ms <= now_ms;
}

/* Whether the entity is of the life that the register ends. */
static bool lives_on(const struct merge *m)
{
    return m->k.e != NULL && tm_entity_expiry(m->k.e) == m->k.expiry_ms;
}

/* The clock may be behind that of the leader under which it was due: then what is gone is over by
 * the stamps, which are past its end since the record that said so. */
static bool has_expired(const struct merge *m)
{
    return is_due(m, lives_on(m) ? m->now_ms : tm_max_u64(m->now_ms, m->s->own.hlc >> 16));
}

/* Something of it may have been taken for dead here, also by a leader before. */
static bool may_have_expired(const struct merge *m)
{
    return is_due(m, tm_max_u64(m->now_ms, m->s->own.hlc >> 16));
}

/* What came is dead because that life is over, so it ends here: a later leader, by whose clock it
 * still lasted, could not make up for what it does not know. */
static void end_life(struct merge *m)
{
    if (!lives_on(m))
        return;
    tm_store_stamp(m->s, 0, 0);
    tm_store_expire(m->s, m->in->key);
    look(m);
}

/* It was made in a life that is over, or counts from something of it.  What the record of that
 * expiry itself made is not told from what it made after: that expires by itself. */
static bool is_over(struct merge *m)
{
    m->over = has_expired(m) && m->v.hlc < tm_kept_over(&m->k) &&
              tm_stamp_compare(m->in->stamp, m->k.expiry) != 0;
    if (m->over)
        end_life(m);
    return m->over;
}

/* Below the floor, or of a life that is over. */
static bool is_dead(struct merge *m, struct tm_op_version *by)
{
    *by = m->k.floor;
    if (before(m->v, m->k.floor))
        return true;
    *by = m->k.expiry;
    return is_over(m);
}

/* The entity expires then (0: never); under its own stamp if the register has the other. */
static void write_expiry(struct merge *m, const struct tm_entity *e, uint64_t ms)
{
    enum tm_op_code code = m->many ? TM_OP_EXPIRY : ms != 0 ? TM_OP_SET_EXPIRY : TM_OP_PERSIST;
    size_t len = code == TM_OP_PERSIST ? 0 : sizeof ms;
    tm_store_op(m->s, m->in->key, tm_entity_type(e), code, NOTHING, tm_bytes_of(&ms, len));
}

/* A register of expiry that the floor has killed goes, and the entity's expiry with it. */
static void drop_expiry(struct merge *m)
{
    struct tm_store *s = m->s;
    const struct tm_entity *e = tm_store_find(s, m->in->key);
    tm_store_stamp_derived(s);
    tm_store_del_shadow(s, m->in->key, EXPIRY);
    if (e != NULL && tm_entity_expiry(e) != 0)
        write_expiry(m, e, 0);
}

/* The floor rises to v; what is below it dies, or also what is at it (too).  A deletion that came
 * as such is written as such; if derived, `too` is all that there is: it was of another type. */
static void raise_floor(struct merge *m, struct tm_op_version v, bool too, bool derived)
{
    struct tm_store *s = m->s;
    struct tm_bytes key = m->in->key;
    if (m->many && v.hlc != 0 && before(m->k.floor, v))
        tm_keep_shadow(s, key, FLOOR, NOTHING, v);
    stamp(m);
    if (derived)
        tm_store_stamp_derived(s);
    if (m->k.e != NULL && too && derived)
        tm_store_op(s, key, tm_entity_type(m->k.e), TM_OP_DEL_ENTITY, NOTHING, NOTHING);
    else if (m->k.e != NULL)
        tm_kept_cut(s, key, tm_entity_type(m->k.e), v, too);
    tm_store_stamp_derived(s);
    tm_kept_cut(s, key, TM_ENTITY_SHADOW, v, true);
    if (m->k.dead_expiry ||
        (m->k.has_expiry &&
         (before(m->k.expiry, v) || (too && !derived && tm_stamp_compare(m->k.expiry, v) == 0))))
        drop_expiry(m);
    look(m);
}

/* Whether the field counts from a base of the same stamp: then it was counted from in records since
 * (tm_store_add). */
static bool is_counted(const struct merge *m, const struct tm_entity *field)
{
    return tm_is_based(field) && tm_stamp_compare(tm_kept_stamp(m->s, field), m->v) == 0;
}

/* Another type is there: the one with the later change stays, and the floor rises to the other's.
 * False if that is not this one.  What counts from nothing is below all: it is lost to any other
 * type without a floor, which would take along what counts from nothing of the type that stays, and
 * which no stamp says how long to keep; of two types that do so the greater stays. */
static bool wins_type(struct merge *m)
{
    enum tm_entity_type type;
    struct tm_op_version newest, v = m->v;
    if (m->k.e != NULL && tm_entity_type(m->k.e) == m->in->type)
        return true;
    if (!m->many || !tm_kept_life(m->s, &m->k, &type, &newest) || type == m->in->type)
        return true;
    bool counts = m->in->op->code == TM_OP_COUNTER_AT;
    if (counts)
        v = tm_stamp_after(v);
    int order = tm_stamp_compare(v, newest);
    if (order == 0 && counts)
        order = v.hlc != 0 ? 0 : m->in->type > type ? 1 : -1;
    m->winner = newest;
    if (order >= 0)
        raise_floor(m, newest, true, true);
    else if (v.hlc != 0)
        raise_floor(m, v, false, true);
    return order > 0 || (order == 0 && !counts);
}

static const struct tm_entity *living(const struct merge *m)
{
    if (m->k.e == NULL || tm_entity_type(m->k.e) != m->in->type)
        return NULL;
    return tm_field_find(m->k.e, m->name);
}

/* Whether something later is known of the field. */
static bool is_later(struct merge *m, const struct tm_entity *field)
{
    if (field != NULL && before(m->v, m->winner = tm_kept_stamp(m->s, field)))
        return true;
    return m->k.shadow != NULL &&
           tm_store_shadow_field(m->s, m->in->key, tm_tomb_name(m->s, m->name), NULL, &m->winner) &&
           before(m->v, m->winner);
}

/* Whether the field holds just that, or more. */
static bool is_known(const struct merge *m, const struct tm_entity *field)
{
    const struct tm_op *op = m->in->op;
    struct tm_counter_part part;
    if (field == NULL || tm_stamp_compare(tm_kept_stamp(m->s, field), m->v) != 0)
        return false;
    if (op->code == TM_OP_SET_FIELD)
        return is_counted(m, field) ||
               (!tm_is_based(field) && tm_bytes_equal(tm_entity_raw(field), op->value));
    return op->code == TM_OP_COUNTER_AT && tm_is_based(field) &&
           tm_counter_part_of(field, tm_load64(op->value.data), tm_load64(op->value.data + 8),
                              &part) &&
           part.hlc > m->in->stamp.hlc;
}

/* The register of expiry, if it holds for the entity that was just made; expired: before that. */
static void make_expire(struct merge *m, bool expired)
{
    uint64_t ms = m->k.expiry_ms;
    bool same = tm_stamp_compare(m->in->stamp, m->k.expiry) == 0;
    if (!m->k.has_expiry || ms == 0 || (expired && !same))
        return;
    write_expiry(m, tm_store_find(m->s, m->in->key), ms);
}

static enum tm_link_outcome merge_put(struct merge *m)
{
    struct tm_op_version by;
    const struct tm_op *op = m->in->op;
    if (is_dead(m, &by))
        return lose(m, by);
    bool expired = has_expired(m);
    if (!wins_type(m))
        return TM_LINK_LOST;
    const struct tm_entity *field = living(m);
    if (is_later(m, field))
        return TM_LINK_LOST;
    if (is_known(m, field))
        return TM_LINK_KNOWN;
    bool makes = m->k.e == NULL;
    stamp(m);
    if (m->k.shadow != NULL)
        tm_store_del_shadow(m->s, m->in->key, tm_tomb_name(m->s, m->name));
    tm_store_op_on(m->s, &m->k, m->in->type, op);
    if (makes)
        make_expire(m, expired);
    return TM_LINK_APPLIED;
}

/* ---- Fields that keep versions ---- */

static bool keeps_versions(struct merge *m)
{
    m->rule = tm_store_rule(m->s, m->in->key, m->name);
    return m->many && tm_has_versions(m->s, &m->k, m->name, &m->rule);
}

/* What came is dead as far as it is below the floor, or of a life that is over. */
static bool is_all_dead(struct merge *m, struct tm_versions *in)
{
    struct tm_op_version over = {tm_kept_over(&m->k), 0};
    m->winner = m->k.floor;
    (void)tm_versions_cut(in, m->k.floor, false);
    if (in->count > 0 && has_expired(m) && tm_stamp_compare(m->in->stamp, m->k.expiry) != 0) {
        (void)tm_versions_cut(in, over, false);
        m->over = in->count == 0;
        if (m->over)
            end_life(m);
    }
    return in->count == 0;
}

static struct tm_conflict_side side_of(const struct tm_version *x)
{
    return (struct tm_conflict_side){x->stamp, x->flags & TM_VERSION_DELETED, x->value};
}

/* Each new version conflicts with each that it did not know of, and that did not know of it. */
static void report_versions(const struct merge *m, const struct tm_versions *was,
                            const struct tm_versions *now, const struct tm_conflict_side *shown)
{
    const struct tm_store *s = m->s;
    for (unsigned i = 0; s->policy.conflict != NULL && i < now->count; i++)
        for (unsigned k = 0; k < now->count; k++) {
            const struct tm_version *x = &now->version[i], *y = &now->version[k];
            bool equal = x->flags == y->flags && tm_bytes_equal(x->value, y->value);
            if (tm_versions_know(was, x->stamp) || tm_versions_find(was, y->stamp) == NULL || equal)
                continue;
            if (tm_stamp_compare(x->stamp, y->stamp) > 0) {
                const struct tm_version *later = x;
                x = y;
                y = later;
            }
            bool later = tm_conflict_later_wins(&m->rule, x, y);
            struct tm_conflict_found found = {.key = m->in->key,
                                              .field = m->name,
                                              .type = now->type,
                                              .rule = m->rule,
                                              .winner = side_of(later ? y : x),
                                              .loser = side_of(later ? x : y),
                                              .result = *shown};
            s->policy.conflict(s->policy.host, &found);
        }
}

static enum tm_link_outcome merge_versions(struct merge *m, struct tm_versions *in)
{
    struct tm_versions was, now;
    struct tm_conflict_side shown;
    if (is_all_dead(m, in))
        return TM_LINK_LOST;
    m->v = in->version[in->count - 1].stamp;
    if (!wins_type(m))
        return TM_LINK_LOST;
    (void)tm_versions_cut(in, m->k.floor, false);
    tm_versions_load(m->s, &m->k, m->in->type, m->name, &was);
    now = was;
    bool changed = tm_versions_join(&now, in);
    bool foreign = m->in->stamp.origin != m->s->own.origin;
    stamp(m);
    if (changed && foreign && now.count > 1) {
        shown = tm_versions_fold(&now, &m->rule, &m->s->policy);
        report_versions(m, &was, &now, &shown);
    }
    changed |= tm_versions_write(m->s, m->in->key, m->name, &now, &m->rule, &shown);
    return changed ? TM_LINK_APPLIED : TM_LINK_KNOWN;
}

/* What came without versions is one. */
static enum tm_link_outcome merge_version(struct merge *m, uint32_t flags, struct tm_bytes value)
{
    struct tm_versions in = {.type = m->in->type, .count = 1};
    in.version[0] = (struct tm_version){m->in->stamp, flags, value};
    return merge_versions(m, &in);
}

/* Something lives there that is later than what counts from nothing. */
static bool is_outlived(const struct merge *m)
{
    const struct tm_entity *field = living(m);
    return m->k.e != NULL && (tm_entity_type(m->k.e) != m->in->type ||
                              (field != NULL && tm_kept_stamp(m->s, field).hlc != 0));
}

static enum tm_link_outcome merge_counter(struct merge *m)
{
    struct tm_counter_at at;
    memcpy(&at, m->in->op->value.data, sizeof at);
    if (keeps_versions(m)) { /* its source does not know of the rule yet */
        char text[24];
        int64_t sum = (int64_t)((uint64_t)at.base_value + (uint64_t)at.component.total);
        int len = snprintf(text, sizeof text, "%" PRId64, sum);
        return merge_version(m, 0, tm_bytes_of(text, (size_t)len));
    }
    m->v = (struct tm_op_version){at.base_hlc, at.base_origin};
    if (at.base_hlc == 0 && at.base_origin == 0 && m->many && !is_outlived(m)) {
        uint64_t settled = tm_collect_for_counter(m->s, m->in->key, m->in->type, m->name);
        look(m);
        if (m->k.flushed && m->k.floor.hlc <= settled)
            m->k.floor = (struct tm_op_version){0};
    }
    return merge_put(m);
}

/* A deletion as such kills what has its own stamp: that was written before it in one record.  A
 * tombstone is what came of a whole record. */
static enum tm_link_outcome merge_del_field(struct merge *m, bool tombstone)
{
    struct tm_op_version by;
    struct tm_bytes was;
    uint8_t type = (uint8_t)m->in->type;
    if (is_dead(m, &by))
        return lose(m, by);
    if (!wins_type(m))
        return TM_LINK_LOST;
    const struct tm_entity *field = living(m);
    if (is_later(m, field))
        return TM_LINK_LOST;
    if (tombstone && field != NULL &&
        tm_stamp_compare(m->in->stamp, tm_kept_stamp(m->s, field)) == 0)
        return lose(m, m->in->stamp);
    if (m->many && field == NULL &&
        tm_store_shadow_field(m->s, m->in->key, tm_tomb_name(m->s, m->name), &was, &by) &&
        tm_stamp_compare(by, m->in->stamp) == 0 && tm_bytes_equal(was, tm_bytes_of(&type, 1)))
        return TM_LINK_KNOWN;
    if (m->many)
        tm_keep_shadow(m->s, m->in->key, tm_tomb_name(m->s, m->name), tm_bytes_of(&type, 1),
                       m->in->stamp);
    stamp(m);
    if (field != NULL)
        tm_store_op(m->s, m->in->key, m->in->type, TM_OP_DEL_FIELD, m->name, NOTHING);
    return TM_LINK_APPLIED;
}

static enum tm_link_outcome merge_floor(struct merge *m, bool too)
{
    if (before(m->in->stamp, m->k.floor))
        return lose(m, m->k.floor);
    bool known = m->k.e == NULL && tm_stamp_compare(m->in->stamp, m->k.floor) == 0;
    /* That life had ended before it expired here, and took what came meanwhile along. */
    int order = tm_stamp_compare(m->k.expiry, m->in->stamp);
    bool lacks = may_have_expired(m) && (order < 0 || (order == 0 && too)) &&
                 m->in->stamp.hlc < tm_kept_over(&m->k);
    raise_floor(m, m->in->stamp, too, false);
    return lacks ? TM_LINK_LACKS : known ? TM_LINK_KNOWN : TM_LINK_APPLIED;
}

static enum tm_link_outcome merge_expiry(struct merge *m, uint64_t ms)
{
    if (before(m->in->stamp, m->k.floor))
        return lose(m, m->k.floor);
    if (m->k.has_expiry && before(m->in->stamp, m->k.expiry))
        return lose(m, m->k.expiry);
    if (m->k.has_expiry && tm_stamp_compare(m->in->stamp, m->k.expiry) == 0 && ms == m->k.expiry_ms)
        return TM_LINK_KNOWN;
    /* Fields may be gone, or have come meanwhile and been taken for dead. */
    struct tm_kept to = {.expiry = m->in->stamp, .expiry_ms = ms};
    bool lacks = may_have_expired(m) &&
                 (ms == 0 || ms > m->now_ms || tm_kept_over(&to) < tm_kept_over(&m->k));
    if (m->many)
        tm_keep_shadow(m->s, m->in->key, EXPIRY, tm_bytes_of(&ms, sizeof ms), m->in->stamp);
    stamp(m);
    if (m->k.e != NULL && ms != tm_entity_expiry(m->k.e))
        write_expiry(m, m->k.e, ms);
    return lacks ? TM_LINK_LACKS : TM_LINK_APPLIED;
}

/* Bytes from outside: a record of this cluster's has to be sound. */
static enum tm_link_outcome merge_shadow_versions(struct merge *m, struct tm_link_change *in)
{
    struct tm_versions v;
    if (!tm_versions_decode(in->op->value, &v))
        return TM_LINK_KNOWN;
    m->name = tm_bytes_of(in->op->name.data + 1, in->op->name.len - 1);
    for (unsigned i = 0; i < v.count; i++)
        if ((v.type == TM_ENTITY_SET && v.version[i].value.len > 0) ||
            (v.type == TM_ENTITY_STRING && m->name.len > 0))
            return TM_LINK_KNOWN;
    in->type = v.type;
    m->rule = tm_store_rule(m->s, in->key, m->name);
    return merge_versions(m, &v);
}

/* A field of the key's shadow at another cluster. */
static enum tm_link_outcome merge_shadow(struct merge *m, struct tm_link_change *in)
{
    const struct tm_op *op = in->op;
    if (op->code != TM_OP_SET_FIELD || op->name.len == 0 || !m->many)
        return TM_LINK_KNOWN;
    switch (op->name.data[0]) {
    case TM_SHADOW_FLOOR:
        return op->name.len == 1 ? merge_floor(m, false) : TM_LINK_KNOWN;
    case TM_SHADOW_EXPIRY:
        return op->name.len == 1 && op->value.len == 8 ? merge_expiry(m, tm_load64(op->value.data))
                                                       : TM_LINK_KNOWN;
    case TM_SHADOW_FIELD:
        if (op->value.len != 1 || op->value.data[0] > TM_ENTITY_SET)
            return TM_LINK_KNOWN;
        in->type = (enum tm_entity_type)op->value.data[0];
        m->name = tm_bytes_of(op->name.data + 1, op->name.len - 1);
        return keeps_versions(m) ? merge_version(m, TM_VERSION_DELETED, NOTHING)
                                 : merge_del_field(m, true);
    case TM_SHADOW_VERSIONS:
        return merge_shadow_versions(m, in);
    default:
        return TM_LINK_KNOWN;
    }
}

static enum tm_link_outcome merge_op(struct merge *m, struct tm_link_change *in)
{
    if (in->type == TM_ENTITY_SHADOW)
        return merge_shadow(m, in);
    switch (in->op->code) {
    case TM_OP_SET_FIELD:
        return keeps_versions(m) ? merge_version(m, 0, in->op->value) : merge_put(m);
    case TM_OP_COUNTER:
        return merge_put(m);
    case TM_OP_COUNTER_AT:
        return merge_counter(m);
    case TM_OP_DEL_FIELD:
        return keeps_versions(m) ? merge_version(m, TM_VERSION_DELETED, NOTHING)
                                 : merge_del_field(m, false);
    case TM_OP_DEL_ENTITY:
        return merge_floor(m, true);
    case TM_OP_SET_EXPIRY:
        return merge_expiry(m, tm_load64(in->op->value.data));
    case TM_OP_PERSIST:
        return merge_expiry(m, 0);
    case TM_OP_EXPIRE_ENTITY:
    case TM_OP_EXPIRY:
    case TM_OP_FOLDED:
    case TM_OP_MERGED:
    case TM_OP_STAMPED:
        break;
    }
    return TM_LINK_KNOWN;
}

/* ---- What conflicts ---- */

/* Of fields: a deletion comes as its tombstone, and as such for those who keep none. */
static bool is_reported(const struct merge *m)
{
    const struct tm_op *op = m->in->op;
    uint64_t origin = m->in->stamp.origin, own = m->s->own.origin;
    return m->s->policy.conflict != NULL && m->many && !m->over && m->winner.origin == own &&
           origin != own && origin != TM_ORIGIN_NONE && m->in->type != TM_ENTITY_SHADOW &&
           (op->code == TM_OP_SET_FIELD || op->code == TM_OP_COUNTER_AT);
}

/* What came lost to what this cluster wrote: being earlier it was made without knowing of that, and
 * that was written before it came. */
static void report(const struct merge *m)
{
    const struct tm_op *op = m->in->op;
    const struct tm_entity *field = living(m);
    struct tm_value value;
    struct tm_conflict_found found = {.key = m->in->key,
                                      .field = m->name,
                                      .type = m->in->type,
                                      .rule = tm_store_rule(m->s, m->in->key, m->name),
                                      .winner = {.stamp = m->winner, .deleted = true},
                                      .loser = {.stamp = m->in->stamp, .deleted = true}};
    if (!is_reported(m))
        return;
    if (field != NULL && tm_stamp_compare(tm_kept_stamp(m->s, field), m->winner) == 0) {
        tm_value_of(field, &value);
        found.winner.deleted = false;
        found.winner.value = value.text;
    }
    found.result = found.winner;
    if (op->code == TM_OP_SET_FIELD && op->name.data == m->name.data) {
        found.loser.deleted = false;
        found.loser.value = op->value;
    }
    m->s->policy.conflict(m->s->policy.host, &found);
}

enum tm_link_outcome tm_link_merge(struct tm_store *s, const struct tm_link_change *change,
                                   uint64_t now_ms, struct tm_op_version *winner)
{
    TM_ASSERT(s->open && s->held == 0 && change->key.len > 0);
    if (change->stamp.origin == TM_ORIGIN_NONE)
        return TM_LINK_KNOWN;
    uint64_t hash = change->hash != 0 ? change->hash : tm_table_hash(change->key);
    if (tm_merge_plain(s, change, hash))
        return TM_LINK_APPLIED;
    struct tm_link_change in = *change;
    in.hash = hash;
    struct merge m = {.s = s, .in = &in, .name = change->op->name, .now_ms = now_ms, .v = in.stamp};
    struct tm_stamp was = s->stamp;
    m.many = tm_store_sharing(s, in.key, in.stamp.origin) == TM_LINK_MANY;
    if (now_ms == 0)
        m.now_ms = s->own.hlc >> 16;
    s->merging = true;
    look(&m);
    enum tm_link_outcome outcome = merge_op(&m, &in);
    if (outcome == TM_LINK_LOST)
        report(&m);
    s->merging = false;
    s->stamp_due |= s->stamp.hlc != was.hlc || s->stamp.origin != was.origin;
    s->stamp = was;
    if (winner != NULL)
        *winner = m.winner;
    return outcome;
}
