/* merge.c: what of an offer survives.
 *
 * First the offered records are walked for their keys and fields, and for the terms that they come
 * from.  Learning then notes, for those only, the version of the latest change of each sort.  An
 * entity that the offer deletes has all its learned fields noted: they are spared.  Writing goes
 * through the offer in order, compares, and hands what survives to the store.
 *
 * A counter's effect is a running total that starts anew with each SET or deletion.  Where that one
 * lost, the total says nothing here: `lost` and `won` are the places in the walk where such an
 * operation on the field, the key or everything lost or won last.  That is why records that the log
 * has already are decided once more, though not written: the outcome is the same. */
#include "actors/merge.h"

#include "runtime/hash.h"
#include "storage/entity.h"
#include "storage/store_link.h"

#include <stdlib.h>

#define SLAB_BYTES TM_KIB(64)

struct version {
    uint64_t term;
    uint64_t index;
};

struct outcome {
    uint64_t lost, won; /* places in the walk, 0: never */
};

struct key {
    struct key *next;
    uint64_t hash;
    struct tm_bytes bytes;
    struct version any, gone, expired, typed[TM_ENTITY_SET + 1]; /* the latest learned */
    struct outcome outcome;
    bool renewed; /* the offer gave the entity another life */
    bool whole;   /* the offer deletes it: all fields learned are noted */
};

struct field {
    struct field *next;
    uint64_t hash;
    const struct key *key;
    struct tm_bytes name;
    struct version set, count;
    struct outcome outcome;
};

/* A record that the offer holds, directly or merged into another. */
struct source {
    struct source *next;
    struct version version;
};

struct slab {
    struct slab *next;
    size_t used, cap;
    _Alignas(16) uint8_t data[];
};

struct tm_merge {
    struct tm_bytes records;
    size_t at;
    struct key **keys;
    struct field **fields;
    struct source **sources;
    size_t mask; /* of all three */
    struct slab *slabs;
    uint64_t bytes;
    struct version cover[TM_MERGE_TERMS]; /* per term of the offer: the log has up to this */
    unsigned terms;
    struct version flushed, changed;
    struct outcome outcome;
    struct version marked;      /* in the record being written */
    struct tm_op_version stamp; /* of the operation looked at */
    bool known;                 /* the log has this one: decided again, not written */
    uint64_t place;
    struct tm_merge_stats stats;
};

static bool later(struct version a, struct version b)
{
    return a.term > b.term || (a.term == b.term && a.index > b.index);
}

static void raise(struct version *v, struct version to)
{
    if (later(to, *v))
        *v = to;
}

/* ---- memory ---- */

static void *take(struct tm_merge *m, size_t size)
{
    size = tm_align_up(size, 16);
    if (m->slabs == NULL || m->slabs->used + size > m->slabs->cap) {
        size_t cap = tm_max_u64(size, SLAB_BYTES);
        struct slab *s = m->bytes + cap <= TM_MERGE_BYTES_MAX ? malloc(sizeof *s + cap) : NULL;
        if (s == NULL)
            return NULL;
        *s = (struct slab){.next = m->slabs, .cap = cap};
        m->slabs = s;
        m->bytes += cap;
    }
    void *p = m->slabs->data + m->slabs->used;
    m->slabs->used += size;
    return p;
}

static struct key *find_key(const struct tm_merge *m, struct tm_bytes bytes, uint64_t hash)
{
    struct key *k = m->keys[hash & m->mask];
    while (k != NULL && (k->hash != hash || !tm_bytes_equal(k->bytes, bytes)))
        k = k->next;
    return k;
}

/* The key, made if it is new; its bytes are borrowed. */
static struct key *make_key(struct tm_merge *m, struct tm_bytes bytes)
{
    uint64_t hash = tm_hash64(bytes.data, bytes.len, 0);
    struct key *k = find_key(m, bytes, hash);
    if (k != NULL || (k = take(m, sizeof *k)) == NULL)
        return k;
    *k = (struct key){.next = m->keys[hash & m->mask], .hash = hash, .bytes = bytes};
    m->keys[hash & m->mask] = k;
    return k;
}

static struct field *find_field(const struct tm_merge *m, const struct key *k, struct tm_bytes name)
{
    uint64_t hash = tm_hash64(name.data, name.len, k->hash);
    struct field *f = m->fields[hash & m->mask];
    while (f != NULL && (f->hash != hash || f->key != k || !tm_bytes_equal(f->name, name)))
        f = f->next;
    return f;
}

static struct field *make_field(struct tm_merge *m, const struct key *k, struct tm_bytes name,
                                bool copy)
{
    struct field *f = find_field(m, k, name);
    if (f != NULL || (f = take(m, sizeof *f + (copy ? name.len : 0))) == NULL)
        return f;
    uint64_t hash = tm_hash64(name.data, name.len, k->hash);
    *f = (struct field){.next = m->fields[hash & m->mask], .hash = hash, .key = k, .name = name};
    if (copy && name.len > 0) {
        memcpy(f + 1, name.data, name.len);
        f->name.data = (const uint8_t *)(f + 1);
    }
    m->fields[hash & m->mask] = f;
    return f;
}

/* ---- the offer ---- */

static const struct tm_record *record_at(const struct tm_merge *m, size_t at)
{
    return (const struct tm_record *)(const void *)(m->records.data + at);
}

static bool has_changes(const struct tm_record *r)
{
    return r->kind == TM_RECORD_EFFECT || r->kind == TM_RECORD_FLUSH;
}

static struct version source_of(const struct tm_op *op)
{
    struct tm_op_source source;
    memcpy(&source, op->value.data, sizeof source);
    return (struct version){source.term, source.index};
}

static struct version *cover_of(struct tm_merge *m, uint64_t term)
{
    for (unsigned i = 0; i < m->terms; i++)
        if (m->cover[i].term == term)
            return &m->cover[i];
    return NULL;
}

static bool add_term(struct tm_merge *m, uint64_t term)
{
    if (cover_of(m, term) != NULL)
        return true;
    if (m->terms == TM_MERGE_TERMS)
        return false;
    m->cover[m->terms++] = (struct version){.term = term};
    return true;
}

static struct source **source_bucket(const struct tm_merge *m, struct version v)
{
    return &m->sources[(v.index * 31 + v.term) & m->mask];
}

static bool is_offered(const struct tm_merge *m, struct version v)
{
    const struct source *s = *source_bucket(m, v);
    while (s != NULL && (s->version.index != v.index || s->version.term != v.term))
        s = s->next;
    return s != NULL;
}

static bool add_source(struct tm_merge *m, struct version v)
{
    struct source *s = take(m, sizeof *s), **bucket = source_bucket(m, v);
    if (s == NULL || !add_term(m, v.term))
        return false;
    *s = (struct source){*bucket, v};
    *bucket = s;
    return true;
}

static bool survey_op(struct tm_merge *m, struct key *k, const struct tm_op *op)
{
    switch (op->code) {
    case TM_OP_SET_FIELD:
    case TM_OP_FOLDED:
    case TM_OP_DEL_FIELD:
    case TM_OP_COUNTER:
    case TM_OP_COUNTER_AT:
        return make_field(m, k, op->name, false) != NULL;
    case TM_OP_DEL_ENTITY:
    case TM_OP_EXPIRE_ENTITY:
        k->whole = k->renewed = true;
        return true;
    case TM_OP_SET_EXPIRY:
    case TM_OP_PERSIST:
    case TM_OP_EXPIRY:
        k->renewed = true;
        return true;
    case TM_OP_MERGED:
        return add_source(m, source_of(op));
    case TM_OP_STAMPED:
        return true;
    }
    return true;
}

/* The effects of a link's stream, and how far it came. */
static bool has_position(const struct tm_record *r)
{
    struct tm_bytes body = tm_record_body(r);
    struct tm_change change;
    struct tm_op op;
    while (tm_change_next(&body, &change))
        while (change.key.len == 0 && change.type == TM_ENTITY_SHADOW &&
               tm_op_next(&change.ops, &op))
            if (op.name.len > 0 && op.name.data[0] == TM_SHADOW_POSITION)
                return true;
    return false;
}

static bool is_offerable(const struct tm_record *r)
{
    return has_changes(r) && !has_position(r);
}

static bool survey_record(struct tm_merge *m, const struct tm_record *r)
{
    struct tm_bytes body = tm_record_body(r);
    struct tm_change change;
    struct tm_op op;
    if (!is_offerable(r))
        return true;
    if (!add_source(m, (struct version){r->term, r->index}))
        return false;
    while (tm_change_next(&body, &change)) {
        struct key *k = make_key(m, change.key);
        if (k == NULL)
            return false;
        while (tm_op_next(&change.ops, &op))
            if (!survey_op(m, k, &op))
                return false;
    }
    return true;
}

enum tm_err tm_merge_new(struct tm_bytes records, struct tm_merge **out)
{
    size_t buckets = 64;
    while (buckets < records.len / 64 && buckets < 1u << 18)
        buckets *= 2;
    struct tm_merge *m = *out = calloc(1, sizeof *m);
    if (m == NULL)
        return TM_ERR_NOMEM;
    m->records = records;
    m->mask = buckets - 1;
    m->keys = calloc(buckets, sizeof(struct key *));
    m->fields = calloc(buckets, sizeof(struct field *));
    m->sources = calloc(buckets, sizeof(struct source *));
    bool ok = m->keys != NULL && m->fields != NULL && m->sources != NULL;
    enum tm_err e = ok ? TM_ERR_TOOBIG : TM_ERR_NOMEM;
    for (size_t at = 0; ok && at < records.len; at += record_at(m, at)->length)
        ok = survey_record(m, record_at(m, at));
    if (ok)
        return TM_OK;
    tm_merge_free(m);
    *out = NULL;
    return e;
}

void tm_merge_free(struct tm_merge *m)
{
    if (m == NULL)
        return;
    while (m->slabs != NULL) {
        struct slab *s = m->slabs;
        m->slabs = s->next;
        free(s);
    }
    free(m->keys);
    free(m->fields);
    free(m->sources);
    free(m);
}

struct tm_merge_stats tm_merge_stats(const struct tm_merge *m)
{
    return m->stats;
}

/* ---- learning ---- */

static bool learn_field(struct tm_merge *m, const struct key *k, const struct tm_op *op,
                        struct version v)
{
    struct field *f = k->whole ? make_field(m, k, op->name, true) : find_field(m, k, op->name);
    if (f == NULL)
        return !k->whole;
    raise(op->code == TM_OP_COUNTER || op->code == TM_OP_COUNTER_AT ? &f->count : &f->set, v);
    return true;
}

static bool learn_op(struct tm_merge *m, struct key *k, enum tm_entity_type type,
                     const struct tm_op *op, struct version v)
{
    if (op->code == TM_OP_EXPIRE_ENTITY) {
        if (k != NULL)
            raise(&k->expired, v);
        return true;
    }
    raise(&m->changed, v);
    if (k == NULL)
        return true;
    raise(&k->any, v);
    switch (op->code) {
    case TM_OP_SET_FIELD:
    case TM_OP_FOLDED:
    case TM_OP_COUNTER:
    case TM_OP_COUNTER_AT:
        raise(&k->typed[type], v);
        return learn_field(m, k, op, v);
    case TM_OP_DEL_FIELD:
        return learn_field(m, k, op, v);
    case TM_OP_DEL_ENTITY:
        raise(&k->gone, v);
        return true;
    default:
        return true;
    }
}

static void cover(struct tm_merge *m, struct version v)
{
    struct version *c = cover_of(m, v.term);
    if (c != NULL)
        raise(c, v);
}

/* The version of a FLUSH: its source's, if it was merged: then the first operation says so. */
static struct version flush_version(const struct tm_record *r)
{
    struct tm_bytes body = tm_record_body(r);
    struct tm_change change;
    struct tm_op op;
    if (tm_change_next(&body, &change) && tm_op_next(&change.ops, &op) && op.code == TM_OP_MERGED)
        return source_of(&op);
    return (struct version){r->term, r->index};
}

/* What came from the offer itself does not compete with it. */
enum tm_err tm_merge_learn(struct tm_merge *m, const struct tm_record *r)
{
    struct version v = {r->term, r->index};
    struct tm_bytes body = tm_record_body(r);
    struct tm_change change;
    struct tm_op op;
    cover(m, v);
    if (!has_changes(r) || is_offered(m, v))
        return TM_OK;
    if (r->kind == TM_RECORD_FLUSH && !is_offered(m, flush_version(r)))
        raise(&m->flushed, flush_version(r));
    while (tm_change_next(&body, &change)) {
        struct key *k = find_key(m, change.key, tm_hash64(change.key.data, change.key.len, 0));
        while (tm_op_next(&change.ops, &op)) {
            if (op.code == TM_OP_MERGED)
                cover(m, v = source_of(&op));
            else if (change.type != TM_ENTITY_SHADOW && op.code != TM_OP_STAMPED &&
                     !is_offered(m, v) && !learn_op(m, k, change.type, &op, v))
                return TM_ERR_TOOBIG;
        }
    }
    return TM_OK;
}

/* ---- deciding and writing ---- */

static void supersede(struct tm_merge *m, bool lost)
{
    m->stats.superseded += lost && !m->known;
}

static void decide(struct tm_merge *m, struct outcome *o, bool lost)
{
    if (lost)
        o->lost = ++m->place;
    else
        o->won = ++m->place;
    supersede(m, lost);
}

static void mark(struct tm_merge *m, struct tm_store *s, struct tm_bytes key,
                 enum tm_entity_type type, struct version v)
{
    if (m->marked.term == v.term && m->marked.index == v.index)
        return;
    struct tm_op_source source = {v.term, v.index};
    struct tm_op op = {.code = TM_OP_MERGED, .value = tm_bytes_of(&source, sizeof source)};
    tm_store_write(s, key, type, &op);
    m->marked = v;
}

static void emit(struct tm_merge *m, struct tm_store *s, struct tm_bytes key,
                 enum tm_entity_type type, const struct tm_op *op, struct version v)
{
    if (m->known)
        return;
    mark(m, s, key, type, v);
    tm_store_write(s, key, type, op);
    m->stats.kept++;
}

/* The entity as it was when the offered operation met it is gone here. */
static bool is_gone(const struct tm_merge *m, const struct key *k, struct version v)
{
    return later(m->flushed, v) || later(k->gone, v) || (later(k->expired, v) && !k->renewed);
}

static bool is_of_another_type(const struct key *k, enum tm_entity_type type, struct version v)
{
    for (unsigned t = 0; t < TM_ARRAY_LEN(k->typed); t++)
        if (t != (unsigned)type && later(k->typed[t], v))
            return true;
    return false;
}

static bool is_changed(const struct field *f, struct version v)
{
    return f != NULL && (later(f->set, v) || later(f->count, v));
}

/* What the counter's total counts from lost. */
static bool base_lost(const struct tm_merge *m, const struct key *k, const struct field *f)
{
    uint64_t lost = tm_max_u64(m->outcome.lost, tm_max_u64(k->outcome.lost, f->outcome.lost));
    uint64_t won = tm_max_u64(m->outcome.won, tm_max_u64(k->outcome.won, f->outcome.won));
    return lost > won;
}

static void merge_field(struct tm_merge *m, struct tm_store *s, const struct key *k,
                        const struct tm_change *change, const struct tm_op *op, struct version v)
{
    struct field *f = find_field(m, k, op->name);
    TM_ASSERT(f != NULL); /* surveyed */
    bool lost = is_gone(m, k, v) || is_of_another_type(k, change->type, v) || later(f->set, v);
    if (op->code == TM_OP_COUNTER || op->code == TM_OP_COUNTER_AT) {
        lost = lost || base_lost(m, k, f);
        supersede(m, lost);
    } else {
        lost = lost || later(f->count, v);
        decide(m, &f->outcome, lost);
    }
    if (!lost)
        emit(m, s, change->key, change->type, op, v);
}

/* Deletes the fields of the entity that were not changed later.  Their names are copied first: the
 * entity changes under the walk. */
static void delete_others(struct tm_merge *m, struct tm_store *s, const struct key *k,
                          const struct tm_entity *e, struct version v)
{
    uint64_t count = tm_entity_fields(e), kept = m->stats.kept;
    enum tm_entity_type type = tm_entity_type(e);
    struct tm_bytes *names = take(m, count * sizeof *names), name;
    struct tm_field_iter it;
    uint64_t n = 0;
    tm_field_first(&it, e);
    while (names != NULL && tm_field_next(&it, &name, NULL)) {
        struct field *f = find_field(m, k, name);
        if (is_changed(f, v)) {
            f->outcome.lost = ++m->place;
            continue;
        }
        uint8_t *copy = take(m, name.len);
        if (copy == NULL)
            break;
        memcpy(copy, name.data, name.len);
        names[n++] = tm_bytes_of(copy, name.len);
    }
    for (uint64_t i = 0; i < n; i++) {
        struct tm_op del = {.code = TM_OP_DEL_FIELD, .name = names[i]};
        emit(m, s, k->bytes, type, &del, v);
    }
    m->stats.kept = kept + !m->known;
}

static bool any_changed(const struct tm_merge *m, const struct key *k, const struct tm_entity *e,
                        struct version v)
{
    struct tm_field_iter it;
    struct tm_bytes name;
    tm_field_first(&it, e);
    while (tm_field_next(&it, &name, NULL))
        if (is_changed(find_field(m, k, name), v))
            return true;
    return false;
}

static void merge_delete(struct tm_merge *m, struct tm_store *s, struct key *k, struct version v)
{
    const struct tm_entity *e = tm_store_find(s, k->bytes);
    bool lost = later(m->flushed, v) || later(k->gone, v);
    if (!lost && e != NULL && tm_entity_type(e) == TM_ENTITY_STRING)
        lost = is_changed(find_field(m, k, tm_bytes_of(NULL, 0)), v);
    decide(m, &k->outcome, lost);
    if (lost || e == NULL)
        return;
    struct tm_op del = {.code = TM_OP_DEL_ENTITY};
    if (tm_entity_type(e) != TM_ENTITY_STRING && any_changed(m, k, e, v))
        delete_others(m, s, k, e, v);
    else
        emit(m, s, k->bytes, tm_entity_type(e), &del, v);
}

/* Dead by expiry there: dead here, if nothing happened to it since. */
static void merge_expire(struct tm_merge *m, struct tm_store *s, struct key *k, struct version v)
{
    const struct tm_entity *e = tm_store_find(s, k->bytes);
    struct tm_op del = {.code = TM_OP_DEL_ENTITY};
    decide(m, &k->outcome, later(m->flushed, v) || later(k->any, v));
    if (k->outcome.won > k->outcome.lost && e != NULL)
        emit(m, s, k->bytes, tm_entity_type(e), &del, v);
}

static void merge_expiry(struct tm_merge *m, struct tm_store *s, const struct key *k,
                         const struct tm_op *op, struct version v)
{
    const struct tm_entity *e = tm_store_find(s, k->bytes);
    bool lost = later(m->flushed, v) || later(k->any, v);
    supersede(m, lost);
    if (!lost && e != NULL)
        emit(m, s, k->bytes, tm_entity_type(e), op, v);
}

static void merge_op(struct tm_merge *m, struct tm_store *s, struct key *k,
                     const struct tm_change *change, const struct tm_op *op, struct version v)
{
    switch (op->code) {
    case TM_OP_SET_FIELD:
    case TM_OP_FOLDED:
    case TM_OP_DEL_FIELD:
    case TM_OP_COUNTER:
    case TM_OP_COUNTER_AT:
        merge_field(m, s, k, change, op, v);
        break;
    case TM_OP_DEL_ENTITY:
        merge_delete(m, s, k, v);
        break;
    case TM_OP_EXPIRE_ENTITY:
        merge_expire(m, s, k, v);
        break;
    case TM_OP_SET_EXPIRY:
    case TM_OP_PERSIST:
    case TM_OP_EXPIRY:
        merge_expiry(m, s, k, op, v);
        break;
    case TM_OP_MERGED:
    case TM_OP_STAMPED:
        break;
    }
}

static bool is_covered(struct tm_merge *m, struct version v)
{
    const struct version *c = cover_of(m, v.term);
    return c != NULL && c->index >= v.index;
}

static void merge_flush(struct tm_merge *m, struct tm_store *s, struct version v)
{
    bool lost = later(m->changed, v) || later(m->flushed, v);
    decide(m, &m->outcome, lost);
    if (lost || m->known)
        return;
    tm_store_flush(s);
    mark(m, s, tm_bytes_of(NULL, 0), TM_ENTITY_STRING, v);
    tm_store_keep_flush(s);
    m->stats.kept++;
}

/* A key that other clusters write too. */
static void merge_shared(struct tm_merge *m, struct tm_store *s, const struct tm_change *change,
                         const struct tm_op *op, struct version v)
{
    struct tm_link_change in = {change->key, change->type, op, m->stamp};
    if (m->known || m->stamp.origin == TM_ORIGIN_NONE)
        return;
    mark(m, s, change->key, change->type, v);
    bool lost = tm_link_merge(s, &in, 0, NULL) == TM_LINK_LOST;
    supersede(m, lost);
    m->stats.kept += !lost;
}

/* One operation of record r.  Of keys that are not shared what another cluster made is left to its
 * stream. */
static void merge_one(struct tm_merge *m, struct tm_store *s, const struct tm_record *r,
                      const struct tm_change *change, const struct tm_op *op, struct version v)
{
    struct key *k = find_key(m, change->key, tm_hash64(change->key.data, change->key.len, 0));
    TM_ASSERT(k != NULL); /* surveyed */
    if (tm_store_sharing(s, change->key, TM_ORIGIN_NONE) == TM_LINK_MANY)
        merge_shared(m, s, change, op, v);
    else if (change->type != TM_ENTITY_SHADOW && m->stamp.origin == r->origin)
        merge_op(m, s, k, change, op, v);
}

static void merge_record(struct tm_merge *m, struct tm_store *s, const struct tm_record *r)
{
    struct version v = {r->term, r->index};
    struct tm_bytes body = tm_record_body(r);
    struct tm_change change;
    struct tm_op op;
    if (!is_offerable(r))
        return;
    m->stamp = (struct tm_op_version){r->hlc, r->origin};
    bool known = is_covered(m, v);
    m->stats.known += known;
    if (r->kind == TM_RECORD_FLUSH) {
        m->known = known || is_covered(m, flush_version(r));
        merge_flush(m, s, flush_version(r));
    }
    while (tm_change_next(&body, &change))
        while (tm_op_next(&change.ops, &op)) {
            if (op.code == TM_OP_MERGED)
                v = source_of(&op);
            m->known = known || is_covered(m, v);
            if (op.code == TM_OP_STAMPED)
                m->stamp = tm_stamp_said(r, &op);
            else if (op.code != TM_OP_MERGED)
                merge_one(m, s, r, &change, &op, v);
        }
}

bool tm_merge_write(struct tm_merge *m, struct tm_store *s, size_t max_bytes)
{
    size_t used = 0;
    m->marked = (struct version){0};
    while (m->at < m->records.len) {
        const struct tm_record *r = record_at(m, m->at);
        if (used > 0 && used + r->length > max_bytes)
            break;
        merge_record(m, s, r);
        used += r->length;
        m->at += r->length;
    }
    return m->at < m->records.len;
}
