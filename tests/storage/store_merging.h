/* store_merging.h: one store that a cluster's links fill: records of its own, and changes of one
 * other cluster that are merged by hand, stamp by stamp. */
#ifndef TM_TESTS_STORAGE_STORE_MERGING_H
#define TM_TESTS_STORAGE_STORE_MERGING_H

#include "storage/store_link.h"
#include "tests/storage/store_main.h"

static uint64_t buffer[TM_KIB(64) / 8], hlc, now_ms;

enum { OWN = 5, OTHER = 70, NOW = 1000 };

/* Keys "m…" are written by many clusters, "o…" by one, others by this one alone. */
static inline enum tm_link_sharing sharing(void *host, struct tm_bytes key, uint64_t origin)
{
    (void)host;
    (void)origin;
    return key.data[0] == 'm' ? TM_LINK_MANY : key.data[0] == 'o' ? TM_LINK_ONE : TM_LINK_NONE;
}

/* A store of that policy; it is NOW. */
static inline void fresh_store(const struct tm_link_policy *policy)
{
    delete_store();
    s = tm_store_new(&arena, 1);
    tm_store_set_policy(s, policy);
    hlc = (uint64_t)NOW << 16;
    now_ms = NOW;
}

static inline void begin(void)
{
    struct tm_record head = {
        .term = 1, .index = tm_store_applied(s) + 1, .hlc = ++hlc, .origin = OWN};
    tm_store_begin(s, buffer, sizeof buffer, &head);
}

/* The record, or NULL if nothing changed. */
static inline const struct tm_record *finish(void)
{
    struct tm_record *r = NULL;
    CU_ASSERT_EQUAL(tm_store_finish(s, &r), TM_OK);
    if (r != NULL)
        CU_ASSERT_EQUAL(tm_record_check(r, r->length), TM_OK);
    return r;
}

/* The other cluster's stamp so many ticks after the start of the test, which local changes are
 * after. */
static inline struct tm_op_version at(int64_t ticks)
{
    return (struct tm_op_version){((uint64_t)NOW << 16) + (uint64_t)ticks, OTHER};
}

static inline enum tm_link_outcome merge(const char *key, enum tm_entity_type type,
                                         enum tm_op_code code, const char *name,
                                         struct tm_bytes value, struct tm_op_version v)
{
    struct tm_op op = {code, str(name), value};
    struct tm_link_change in = {str(key), type, &op, v};
    begin();
    enum tm_link_outcome outcome = tm_link_merge(s, &in, now_ms, NULL);
    (void)finish();
    return outcome;
}

static inline enum tm_link_outcome merge_set(const char *key, const char *field, const char *value,
                                             struct tm_op_version v)
{
    return merge(key, TM_ENTITY_HASH, TM_OP_SET_FIELD, field, str(value), v);
}

static inline void set(const char *key, const char *field, const char *value)
{
    begin();
    tm_store_set_field(s, str(key), TM_ENTITY_HASH, str(field), str(value));
    (void)finish();
}

#endif
