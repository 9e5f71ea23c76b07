/* table.c: a directory of small dense leaves in hash order (extendible hashing).
 *
 * The happy path of find: directory entry by the hash's top bits, a guess of the place in the
 * leaf by the next twelve (the leaf is in their order and they are uniform), a few steps to the
 * first slot of that tag, and a comparison of names, nearly always one.
 *
 * Insert moves the slots behind up by one; delete moves them down.  A full leaf is split by its
 * next hash bit, which means reading the names of its blobs again: at most TM_LEAF_MAX of them,
 * prefetched.  Keys crafted to collide cannot blow up the directory: it doubles only while it is
 * small beside the number of entries, else the leaf just grows and gets slower. */
#include "storage/table.h"
#include "runtime/hash.h"
#include "storage/entity.h"

#define LEAF_MAX  145u /* slots: fills a size class of jemalloc */
#define TAG_BITS  12u
#define DEPTH_MAX 36u /* depth + TAG_BITS hash bits make a cursor of 48 bits */

#define PREFETCH_BLOB 320 /* bytes of a blob that are fetched ahead */

struct tm_leaf {
    uint32_t count;
    uint32_t cap : 26;
    uint32_t depth : 6;
    uint32_t low[]; /* then uint16_t mid[cap], uint8_t top[cap]: 56 bits a slot */
};

static uint16_t *leaf_mid(const struct tm_leaf *l)
{
    return (uint16_t *)(uintptr_t)(l->low + l->cap);
}

static uint8_t *leaf_top(const struct tm_leaf *l)
{
    return (uint8_t *)(leaf_mid(l) + l->cap);
}

/* A slot is pointer >> 4 in 44 bits, below the tag's 12. */
static unsigned slot_tag(const struct tm_leaf *l, uint32_t i)
{
    return (unsigned)leaf_top(l)[i] << 4 | leaf_mid(l)[i] >> 12;
}

static struct tm_entity *slot_entity(const struct tm_leaf *l, uint32_t i)
{
    uint64_t p = (uint64_t)(leaf_mid(l)[i] & 0xfff) << 32 | l->low[i];
    return (struct tm_entity *)(uintptr_t)(p << 4); /* NOLINT */
}

static void slot_set(struct tm_leaf *l, uint32_t i, unsigned tag, const struct tm_entity *e)
{
    uint64_t p = (uint64_t)(uintptr_t)e;
    TM_ASSERT((p & 15) == 0 && p >> 48 == 0);
    l->low[i] = (uint32_t)(p >> 4);
    leaf_mid(l)[i] = (uint16_t)(p >> 36 | (tag & 15) << 12);
    leaf_top(l)[i] = (uint8_t)(tag >> 4);
}

static unsigned hash_tag(uint64_t hash, uint32_t depth)
{
    return (unsigned)(hash << depth >> (64 - TAG_BITS));
}

static size_t leaf_size(uint32_t cap)
{
    return sizeof(struct tm_leaf) + (size_t)cap * 7;
}

static struct tm_leaf *leaf_new(struct tm_pool *pool, uint32_t slots, uint32_t depth)
{
    uint32_t cap = (uint32_t)((tm_arena_usable(leaf_size(slots)) - sizeof(struct tm_leaf)) / 7);
    struct tm_leaf *l = tm_pool_alloc(pool, leaf_size(cap));
    *l = (struct tm_leaf){.cap = cap & 0x3ffffff, .depth = depth & 63};
    return l;
}

static void leaf_free(struct tm_pool *pool, struct tm_leaf *l)
{
    tm_pool_free(pool, l, leaf_size(l->cap));
}

/* Where about that tag is: the tags are uniform. */
static uint32_t leaf_guess(const struct tm_leaf *l, unsigned tag)
{
    return (uint32_t)((uint64_t)l->count * tag >> TAG_BITS);
}

/* The first slot whose tag is not below `tag`. */
static uint32_t leaf_seek(const struct tm_leaf *l, unsigned tag)
{
    uint32_t i = leaf_guess(l, tag);
    while (i > 0 && slot_tag(l, i - 1) >= tag)
        i--;
    while (i < l->count && slot_tag(l, i) < tag)
        i++;
    return i;
}

static void leaf_move(struct tm_leaf *l, uint32_t to, uint32_t from)
{
    size_t n = l->count - from;
    memmove(l->low + to, l->low + from, n * sizeof l->low[0]);
    memmove(leaf_mid(l) + to, leaf_mid(l) + from, n * 2);
    memmove(leaf_top(l) + to, leaf_top(l) + from, n);
}

uint64_t tm_table_hash(struct tm_bytes name)
{
    return tm_hash64(name.data, name.len, 0);
}

static uint64_t entity_hash(const struct tm_entity *e)
{
    return tm_table_hash(tm_entity_name(e));
}

/* Slots of one tag stand in the order of their whole hashes, so that the order of a walk does not
 * depend on what happened before. */
static void leaf_add(struct tm_leaf *l, struct tm_entity *e, uint64_t hash)
{
    TM_ASSERT(l->count < l->cap);
    unsigned tag = hash_tag(hash, l->depth);
    uint32_t i = l->count;
    if (i > 0 && slot_tag(l, i - 1) >= tag) {
        i = leaf_seek(l, tag);
        while (i < l->count && slot_tag(l, i) == tag && entity_hash(slot_entity(l, i)) < hash)
            i++;
        leaf_move(l, i + 1, i);
    }
    slot_set(l, i, tag, e);
    l->count++;
}

/* The same slots in a leaf with room for `slots`. */
static struct tm_leaf *leaf_resized(struct tm_pool *pool, struct tm_leaf *l, uint32_t slots)
{
    struct tm_leaf *n = leaf_new(pool, slots, l->depth);
    n->count = l->count;
    memcpy(n->low, l->low, l->count * sizeof l->low[0]);
    memcpy(leaf_mid(n), leaf_mid(l), (size_t)l->count * 2);
    memcpy(leaf_top(n), leaf_top(l), l->count);
    leaf_free(pool, l);
    return n;
}

/* Places in the directory: which one a hash has, and how many a leaf takes. */
static uint64_t dir_size(const struct tm_table *t)
{
    return t->dir == NULL ? 0 : UINT64_C(1) << t->depth;
}

static uint64_t dir_place(const struct tm_table *t, uint64_t hash)
{
    return t->depth == 0 ? 0 : hash >> (64 - t->depth);
}

static uint64_t dir_span(const struct tm_table *t, const struct tm_leaf *l)
{
    return UINT64_C(1) << (t->depth - l->depth);
}

/* Puts a leaf at all places of the directory that the hash's leaf of that depth has. */
static void dir_put(struct tm_table *t, uint64_t hash, struct tm_leaf *l)
{
    uint64_t span = dir_span(t, l), first = dir_place(t, hash) & ~(span - 1);
    for (uint64_t i = 0; i < span; i++)
        t->dir[first + i] = l;
}

static void dir_double(struct tm_table *t, struct tm_pool *pool)
{
    uint64_t n = dir_size(t);
    struct tm_leaf **dir = tm_pool_alloc(pool, 2 * n * sizeof *dir);
    for (uint64_t i = 0; i < n; i++)
        dir[2 * i] = dir[2 * i + 1] = t->dir[i];
    tm_pool_free(pool, t->dir, n * sizeof *dir);
    t->dir = dir;
    t->depth++;
}

void tm_table_init(struct tm_table *t)
{
    *t = (struct tm_table){0};
}

void tm_table_free(struct tm_table *t, struct tm_pool *pool, bool free_entities)
{
    uint64_t span, n = dir_size(t);
    for (uint64_t i = 0; i < n; i += span) {
        struct tm_leaf *l = t->dir[i];
        span = dir_span(t, l);
        for (uint32_t k = 0; free_entities && k < l->count; k++) {
            struct tm_entity *e = slot_entity(l, k);
            tm_pool_free(pool, e, tm_entity_size(e));
        }
        leaf_free(pool, l);
    }
    if (n > 0)
        tm_pool_free(pool, t->dir, n * sizeof *t->dir);
    tm_table_init(t);
}

static void prefetch_slot(const struct tm_leaf *l, uint32_t i)
{
    __builtin_prefetch(&l->low[i]);
    __builtin_prefetch(&leaf_mid(l)[i]);
    __builtin_prefetch(&leaf_top(l)[i]);
}

static void prefetch_blob(const struct tm_entity *e)
{
    for (unsigned at = 0; at < PREFETCH_BLOB; at += 64)
        __builtin_prefetch((const uint8_t *)e + at);
}

void tm_table_prefetch(const struct tm_table *t, uint64_t hash, unsigned step)
{
    if (t->dir == NULL)
        return;
    struct tm_leaf **place = &t->dir[dir_place(t, hash)];
    if (step == 0) {
        __builtin_prefetch(place);
        return;
    }
    const struct tm_leaf *l = *place;
    if (step == 1) {
        __builtin_prefetch(l);
        return;
    }
    unsigned tag = hash_tag(hash, l->depth);
    if (step == 2) {
        prefetch_slot(l, leaf_guess(l, tag));
        return;
    }
    uint32_t i = leaf_seek(l, tag);
    if (i < l->count && slot_tag(l, i) == tag)
        prefetch_blob(slot_entity(l, i));
}

struct tm_entity *tm_table_find(const struct tm_table *t, struct tm_bytes name, uint64_t hash)
{
    if (t->dir == NULL)
        return NULL;
    const struct tm_leaf *l = t->dir[dir_place(t, hash)];
    unsigned tag = hash_tag(hash, l->depth);
    for (uint32_t i = leaf_seek(l, tag); i < l->count && slot_tag(l, i) == tag; i++) {
        struct tm_entity *e = slot_entity(l, i);
        if (tm_bytes_equal(tm_entity_name(e), name))
            return e;
    }
    return NULL;
}

static void leaf_split(struct tm_table *t, struct tm_pool *pool, struct tm_leaf *l, uint64_t hash)
{
    for (uint32_t i = 0; i < l->count; i++)
        __builtin_prefetch(slot_entity(l, i));
    struct tm_leaf *half[2];
    uint32_t ones = l->count - leaf_seek(l, 1u << (TAG_BITS - 1));
    half[0] = leaf_new(pool, l->count - ones + 1, l->depth + 1);
    half[1] = leaf_new(pool, ones + 1, l->depth + 1);
    for (uint32_t i = 0; i < l->count; i++) {
        struct tm_entity *e = slot_entity(l, i);
        leaf_add(half[slot_tag(l, i) >> (TAG_BITS - 1)], e, entity_hash(e));
    }
    uint64_t bit = UINT64_C(1) << (63 - l->depth);
    dir_put(t, hash & ~bit, half[0]);
    dir_put(t, hash | bit, half[1]);
    leaf_free(pool, l);
}

/* Makes room in the leaf of that hash. */
static void leaf_grow(struct tm_table *t, struct tm_pool *pool, struct tm_leaf *l, uint64_t hash)
{
    bool may_double = t->depth < DEPTH_MAX && 8 * dir_size(t) <= t->count;
    if (l->count < LEAF_MAX || (l->depth == t->depth && !may_double)) {
        dir_put(t, hash, leaf_resized(pool, l, l->count + 1 + l->count / 1024));
        return;
    }
    if (l->depth == t->depth)
        dir_double(t, pool);
    leaf_split(t, pool, l, hash);
}

void tm_table_insert(struct tm_table *t, struct tm_pool *pool, struct tm_entity *e, uint64_t hash)
{
    if (t->dir == NULL) {
        t->dir = tm_pool_alloc(pool, sizeof *t->dir);
        t->dir[0] = leaf_new(pool, 1, 0);
    }
    struct tm_leaf *l = t->dir[dir_place(t, hash)];
    while (l->count == l->cap) {
        leaf_grow(t, pool, l, hash);
        l = t->dir[dir_place(t, hash)];
    }
    leaf_add(l, e, hash);
    t->count++;
}

static uint32_t leaf_place(const struct tm_leaf *l, const struct tm_entity *e, unsigned tag)
{
    uint32_t i = leaf_seek(l, tag);
    while (i < l->count && slot_tag(l, i) == tag && slot_entity(l, i) != e)
        i++;
    TM_ASSERT(i < l->count && slot_tag(l, i) == tag);
    return i;
}

void tm_table_replace(struct tm_table *t, struct tm_entity *from, struct tm_entity *to,
                      uint64_t hash)
{
    TM_ASSERT(t->dir != NULL);
    struct tm_leaf *l = t->dir[dir_place(t, hash)];
    unsigned tag = hash_tag(hash, l->depth);
    slot_set(l, leaf_place(l, from, tag), tag, to);
}

void tm_table_remove(struct tm_table *t, struct tm_pool *pool, struct tm_entity *e, uint64_t hash)
{
    TM_ASSERT(t->dir != NULL);
    struct tm_leaf *l = t->dir[dir_place(t, hash)];
    uint32_t i = leaf_place(l, e, hash_tag(hash, l->depth));
    leaf_move(l, i, i + 1);
    l->count--;
    if (--t->count == 0)
        tm_table_free(t, pool, false);
    else if (l->count * 2 < l->cap && l->cap > 8)
        dir_put(t, hash, leaf_resized(pool, l, l->count + l->count / 4 + 1));
}

void tm_table_first(struct tm_table_iter *it, const struct tm_table *t)
{
    *it = (struct tm_table_iter){.table = t};
}

struct tm_entity *tm_table_next(struct tm_table_iter *it)
{
    const struct tm_table *t = it->table;
    while (it->leaf < dir_size(t)) {
        const struct tm_leaf *l = t->dir[it->leaf];
        if (it->at < l->count)
            return slot_entity(l, it->at++);
        it->leaf += dir_span(t, l);
        it->at = 0;
    }
    return NULL;
}

struct tm_entity *tm_table_at(const struct tm_table *t, uint64_t place)
{
    TM_ASSERT(place < t->count);
    uint64_t i = 0;
    const struct tm_leaf *l = t->dir[0];
    while (place >= l->count) {
        place -= l->count;
        i += dir_span(t, l);
        l = t->dir[i];
    }
    return slot_entity(l, (uint32_t)place);
}

/* The lowest hash with that tag in the leaf at that place of the directory. */
static uint64_t tag_start(const struct tm_table *t, uint64_t place, const struct tm_leaf *l,
                          unsigned tag)
{
    uint64_t prefix = t->depth == 0 ? 0 : (place & ~(dir_span(t, l) - 1)) << (64 - t->depth);
    return prefix | (uint64_t)tag << (64 - TAG_BITS - l->depth);
}

uint64_t tm_table_slice(const struct tm_table *t, uint64_t cursor, unsigned want,
                        tm_table_visit_fn *visit, void *host)
{
    TM_ASSERT(want > 0);
    unsigned seen = 0;
    uint64_t span;
    for (uint64_t place = dir_place(t, cursor); place < dir_size(t); place += span) {
        const struct tm_leaf *l = t->dir[place];
        uint64_t span_left = dir_span(t, l);
        span = span_left - (place & (span_left - 1));
        uint64_t start = tag_start(t, place, l, 0);
        bool inside = cursor > start;
        unsigned first = inside ? hash_tag(cursor, l->depth) : 0, last = UINT32_MAX;
        for (uint32_t i = leaf_seek(l, first); i < l->count; i++) {
            unsigned tag = slot_tag(l, i);
            if (tag != last && seen >= want)
                return tag_start(t, place, l, tag);
            last = tag;
            struct tm_entity *e = slot_entity(l, i);
            if (inside && tag == first && entity_hash(e) < cursor)
                continue; /* the table was emptied and grew anew: a coarser leaf */
            visit(host, e);
            seen++;
        }
    }
    return 0;
}

static void visit_first(void *host, struct tm_entity *e)
{
    struct tm_entity **found = host;
    if (*found == NULL)
        *found = e;
}

struct tm_entity *tm_table_near(const struct tm_table *t, uint64_t hash)
{
    struct tm_entity *found = NULL;
    (void)tm_table_slice(t, hash, 1, visit_first, &found);
    if (found == NULL)
        (void)tm_table_slice(t, 0, 1, visit_first, &found);
    return found;
}
