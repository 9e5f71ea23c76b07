/* store_clusters.h: stores of several clusters that write the same keys and send each other what
 * they did: chance, a policy's answers, records kept, and what of them is sent. */
#ifndef TM_TESTS_STORAGE_STORE_CLUSTERS_H
#define TM_TESTS_STORAGE_STORE_CLUSTERS_H

#include "runtime/hash.h"
#include "storage/entity.h"
#include "storage/store_link.h"
#include "tests/storage/arena_main.h"

static uint64_t seed;

static inline uint64_t rnd(uint64_t n)
{
    seed = tm_hash64(&seed, 8, 78);
    return seed % n;
}

static inline enum tm_link_sharing all_is_shared(void *host, struct tm_bytes key, uint64_t origin)
{
    (void)host;
    (void)key;
    (void)origin;
    return TM_LINK_MANY;
}

/* The average: commutative and not associative, so it says whether values were combined in the
 * order of their stamps. */
static inline enum tm_err average(void *host, const struct tm_conflict_rule *rule,
                                  struct tm_bytes a, struct tm_bytes b, struct tm_bytes *out)
{
    static char text[2][24];
    static unsigned turn;
    int64_t x = 0, y = 0;
    (void)host;
    (void)rule;
    (void)tm_value_int(a, &x);
    (void)tm_value_int(b, &y);
    turn ^= 1;
    *out = tm_bytes_of(text[turn], (size_t)snprintf(text[turn], 24, "%" PRId64, (x + y) / 2));
    return TM_OK;
}

/* Ends the open record; a copy of it that is the caller's, or NULL if nothing changed. */
static inline struct tm_record *finish_copy(struct tm_store *store)
{
    struct tm_record *r;
    CU_ASSERT_EQUAL_FATAL(tm_store_finish(store, &r), TM_OK);
    if (r == NULL)
        return NULL;
    CU_ASSERT_EQUAL_FATAL(tm_record_check(r, r->length), TM_OK);
    struct tm_record *copy = malloc(r->length);
    CU_ASSERT_FATAL(copy != NULL);
    return memcpy(copy, r, r->length);
}

static inline bool is_sent(const struct tm_change *ch, const struct tm_op *op)
{
    if (ch->type != TM_ENTITY_SHADOW)
        return op->code != TM_OP_EXPIRE_ENTITY && op->code != TM_OP_EXPIRY &&
               op->code != TM_OP_FOLDED;
    return op->code == TM_OP_SET_FIELD && strchr("dfxv", op->name.data[0]) != NULL;
}

/* What the record has that was made at its cluster, for that one's links. */
static inline void each_sent(const struct tm_record *r,
                             void (*merge)(void *to, const struct tm_link_change *in), void *to)
{
    struct tm_bytes body = tm_record_body(r);
    struct tm_op_version v = {r->hlc, r->origin};
    struct tm_change ch;
    struct tm_op op;
    while (tm_change_next(&body, &ch))
        while (tm_op_next(&ch.ops, &op)) {
            struct tm_link_change in = {ch.key, ch.type, &op, v};
            if (op.code == TM_OP_STAMPED)
                v = tm_stamp_said(r, &op);
            else if (ch.key.len > 0 && v.origin == r->origin && is_sent(&ch, &op))
                merge(to, &in);
        }
}

#endif
