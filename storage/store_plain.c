/* store_plain.c: the change that links carry most: a string is set that is a string here too, or
 * not here yet, of a key of which nothing was deleted, flushed, expires or keeps versions, and it
 * is later than what is here.  Such a one is looked up once and written at once.
 *
 * All that might be otherwise is asked for before anything is done, and goes the long way
 * (store_merge.c), which leads to the same. */
#include "storage/store_internal.h"

/* Whether *e, NULL: nothing, is a string that is earlier, and nothing else is known of the key. */
static bool is_plain(const struct tm_store *s, const struct tm_link_change *c, uint64_t hash,
                     struct tm_entity **e)
{
    bool is_set = c->type == TM_ENTITY_STRING && c->op->code == TM_OP_SET_FIELD;
    bool is_foreign = c->stamp.hlc != 0 && c->stamp.origin != s->own.origin;
    if (!is_set || !is_foreign || s->floors != NULL ||
        (s->shadow.count > 0 && tm_table_find(&s->shadow, c->key, hash) != NULL))
        return false;
    *e = tm_table_find(&s->table, c->key, hash);
    return *e == NULL || (tm_entity_flags(*e) == TM_ENTITY_STRING &&
                          tm_stamp_compare(tm_store_stamp_of(s, *e), c->stamp) < 0);
}

static void put(struct tm_store *s, const struct tm_link_change *c, struct tm_target *t)
{
    struct tm_op at;
    if (s->open_err == TM_OK)
        s->open_err = tm_record_stamped(&s->builder, c->key, c->type, c->stamp, c->op, &at);
    if (s->open_err == TM_OK)
        tm_target_put(s, t, &s->stamp, at.name, at.value, 0);
    s->last_type = c->type;
}

bool tm_merge_plain(struct tm_store *s, const struct tm_link_change *c, uint64_t hash)
{
    struct tm_target t = {.key = c->key, .hash = hash, .type = TM_ENTITY_STRING};
    if (!is_plain(s, c, hash, &t.e) || tm_store_sharing(s, c->key, c->stamp.origin) != TM_LINK_MANY)
        return false;
    struct tm_conflict_rule rule = tm_store_rule(s, c->key, c->op->name);
    if (tm_conflict_keeps_versions(&rule))
        return false;
    struct tm_stamp was = s->stamp;
    tm_store_stamp(s, c->stamp.hlc, c->stamp.origin);
    put(s, c, &t);
    s->stamp_due = was.hlc != c->stamp.hlc || was.origin != c->stamp.origin;
    s->stamp = was;
    return true;
}
