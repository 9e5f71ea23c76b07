/* The merge of what a failover cut off, rule by rule; then random histories.
 *
 * Two sides have the same log up to the fork.  `there` led in term 3 and was cut off, `here` leads
 * in term 4 and takes the offer. */
#include "actors/merge.h"
#include "runtime/hash.h"
#include "storage/arena.h"
#include "storage/entity.h"
#include "storage/store_link.h"
#include "test.h"

#define LOG_BYTES TM_MIB(2)
#define LOG_MAX   512

struct side {
    struct tm_store *store;
    uint64_t term, index, hash;
    uint8_t *log;
    size_t used, at[LOG_MAX]; /* of record index */
};

static struct tm_arena arena;
static struct side here, there, next;
static uint64_t buffer[TM_RECORD_MAX / 8], hlc, fork_index;

static struct tm_bytes str(const char *text)
{
    return tm_bytes_str(text);
}

static void side_new(struct side *s, uint64_t term)
{
    if (s->store != NULL)
        tm_store_delete(s->store);
    uint8_t *log = s->log != NULL ? s->log : malloc(LOG_BYTES);
    *s = (struct side){.store = tm_store_new(&arena, 1), .term = term, .log = log};
}

static void side_keep(struct side *s, const struct tm_record *r)
{
    CU_ASSERT_FATAL(s->used + r->length <= LOG_BYTES && r->index < LOG_MAX);
    s->at[r->index] = s->used;
    memcpy(s->log + s->used, r, r->length);
    s->used += r->length;
    s->index = r->index;
    s->hash = r->checksum;
}

static const struct tm_record *side_record(const struct side *s, uint64_t index)
{
    return (const struct tm_record *)(const void *)(s->log + s->at[index]);
}

static void begin(struct side *s)
{
    struct tm_record head = {
        .term = s->term, .index = s->index + 1, .hlc = ++hlc, .origin = 77, .prev_hash = s->hash};
    tm_store_begin(s->store, buffer, sizeof buffer, &head);
}

static const struct tm_record *end(struct side *s)
{
    struct tm_record *r = NULL;
    CU_ASSERT_EQUAL(tm_store_finish(s->store, &r), TM_OK);
    if (r == NULL)
        return NULL;
    CU_ASSERT_EQUAL(tm_record_check(r, r->length), TM_OK);
    tm_store_commit(s->store, r->index);
    side_keep(s, r);
    return r;
}

/* `to` has records first..last of `from` as a follower. */
static void follow(struct side *to, const struct side *from, uint64_t first, uint64_t last)
{
    for (uint64_t i = first; i <= last; i++) {
        const struct tm_record *r = side_record(from, i);
        CU_ASSERT_EQUAL(tm_store_apply(to->store, r, false), TM_OK);
        side_keep(to, r);
    }
}

static void set(struct side *s, const char *key, const char *field, const char *value)
{
    begin(s);
    tm_store_set_field(s->store, str(key), TM_ENTITY_HASH, str(field), str(value));
    end(s);
}

static void set_string(struct side *s, const char *key, const char *value)
{
    begin(s);
    tm_store_set_field(s->store, str(key), TM_ENTITY_STRING, str(""), str(value));
    end(s);
}

static void unset(struct side *s, const char *key, const char *field)
{
    begin(s);
    tm_store_del_field(s->store, str(key), TM_ENTITY_HASH, str(field));
    end(s);
}

static void add(struct side *s, const char *key, const char *field, int64_t delta)
{
    begin(s);
    tm_store_add(s->store, str(key), TM_ENTITY_HASH, str(field), delta);
    end(s);
}

static void del(struct side *s, const char *key)
{
    begin(s);
    tm_store_del(s->store, str(key));
    end(s);
}

static void expire(struct side *s, const char *key)
{
    begin(s);
    tm_store_expire(s->store, str(key));
    end(s);
}

static void set_expiry(struct side *s, const char *key, uint64_t ms)
{
    begin(s);
    tm_store_set_expiry(s->store, str(key), ms);
    end(s);
}

static void flush(struct side *s)
{
    begin(s);
    tm_store_flush(s->store);
    end(s);
}

static void expect(const struct side *s, const char *key, const char *field, const char *value)
{
    const struct tm_entity *e = tm_store_find(s->store, str(key));
    struct tm_value v;
    bool is =
        e != NULL && tm_entity_type(e) == TM_ENTITY_HASH && tm_entity_field(e, str(field), &v);
    CU_ASSERT_EQUAL(is, value != NULL);
    if (is && value != NULL)
        CU_ASSERT(tm_bytes_equal(v.text, str(value)));
}

static void expect_string(const struct side *s, const char *key, const char *value)
{
    const struct tm_entity *e = tm_store_find(s->store, str(key));
    struct tm_value v;
    bool is = e != NULL && tm_entity_type(e) == TM_ENTITY_STRING;
    CU_ASSERT_EQUAL(is, value != NULL);
    if (!is || value == NULL)
        return;
    tm_entity_string(e, &v);
    CU_ASSERT(tm_bytes_equal(v.text, str(value)));
}

static uint64_t expiry(const struct side *s, const char *key)
{
    const struct tm_entity *e = tm_store_find(s->store, str(key));
    return e != NULL ? tm_entity_expiry(e) : 0;
}

/* The history before the fork, on both sides. */
static void common(void (*history)(struct side *s))
{
    side_new(&there, 3);
    side_new(&here, 4);
    side_new(&next, 5);
    history(&there);
    follow(&here, &there, 1, there.index);
    fork_index = there.index;
}

static void nothing(struct side *s)
{
    set(s, "base", "x", "0");
}

/* `to` takes the offer of records first..last, learned from its own log after `fork`. */
static struct tm_merge_stats offer(struct side *to, const struct side *from, uint64_t fork,
                                   uint64_t last, size_t max_bytes)
{
    struct tm_merge *m;
    size_t start = from->at[fork + 1];
    size_t stop = from->at[last] + side_record(from, last)->length;
    CU_ASSERT_EQUAL_FATAL(tm_merge_new(tm_bytes_of(from->log + start, stop - start), &m), TM_OK);
    bool more = true;
    for (uint64_t learned = fork; more;) {
        while (learned < to->index)
            CU_ASSERT_EQUAL(tm_merge_learn(m, side_record(to, ++learned)), TM_OK);
        begin(to);
        more = tm_merge_write(m, to->store, max_bytes);
        end(to);
    }
    struct tm_merge_stats stats = tm_merge_stats(m);
    tm_merge_free(m);
    return stats;
}

static struct tm_merge_stats offer_all(void)
{
    return offer(&here, &there, fork_index, there.index, TM_MIB(1));
}

/* ---- fields ---- */

static void what_nobody_touched_comes_back(void)
{
    common(nothing);
    set(&there, "a", "x", "1");
    unset(&there, "base", "x");
    set_string(&there, "s", "text");
    set(&here, "b", "x", "2");
    struct tm_merge_stats stats = offer_all();
    expect(&here, "a", "x", "1");
    expect(&here, "base", "x", NULL);
    expect(&here, "b", "x", "2");
    expect_string(&here, "s", "text");
    CU_ASSERT_EQUAL(stats.kept, 3);
    CU_ASSERT_EQUAL(stats.superseded, 0);
}

static void a_field_loses_to_a_later_change_of_that_field_only(void)
{
    common(nothing);
    set(&there, "a", "x", "old");
    set(&there, "a", "y", "old");
    set_string(&there, "s", "old");
    unset(&there, "base", "x");
    set(&here, "a", "x", "new");
    set_string(&here, "s", "new");
    set(&here, "base", "x", "new");
    struct tm_merge_stats stats = offer_all();
    expect(&here, "a", "x", "new");
    expect(&here, "a", "y", "old");
    expect(&here, "base", "x", "new");
    expect_string(&here, "s", "new");
    CU_ASSERT_EQUAL(stats.kept, 1);
    CU_ASSERT_EQUAL(stats.superseded, 3);
}

static void a_field_deleted_later_stays_deleted(void)
{
    common(nothing);
    set(&there, "base", "x", "1");
    set(&there, "base", "y", "1");
    unset(&here, "base", "x");
    offer_all();
    expect(&here, "base", "x", NULL);
    expect(&here, "base", "y", "1");
}

/* docs/PROTOCOL.md, Eventual mode: [deleted comes back through a re-offer] */
static void deleted_does_not_come_back_through_a_re_offer(void)
{
    common(nothing);
    set(&there, "base", "x", "1");
    set(&there, "base", "new", "1");
    del(&here, "base");
    CU_ASSERT_EQUAL(offer_all().kept, 0);
    CU_ASSERT_PTR_NULL(tm_store_find(here.store, str("base")));
    set(&here, "base", "other", "2"); /* made anew: what was offered is still older */
    CU_ASSERT_EQUAL(offer_all().kept, 0);
    expect(&here, "base", "x", NULL);
    expect(&here, "base", "other", "2");
}

static void a_later_flush_takes_everything_offered(void)
{
    common(nothing);
    set(&there, "a", "x", "1");
    add(&there, "n", "n", 5);
    flush(&here);
    CU_ASSERT_EQUAL(offer_all().kept, 0);
    CU_ASSERT_EQUAL(tm_store_count(here.store), 0);
}

static void a_later_change_of_type_wins(void)
{
    common(nothing);
    set(&there, "a", "x", "1");
    add(&there, "a", "n", 1);
    set_string(&there, "b", "1");
    set_string(&here, "a", "text");
    set(&here, "b", "y", "2");
    CU_ASSERT_EQUAL(offer_all().kept, 0);
    expect_string(&here, "a", "text");
    expect(&here, "b", "y", "2");
}

/* The present log may hold changes of a lower term than the offer's after the fork. */
static void an_older_change_of_the_present_log_loses(void)
{
    side_new(&there, 5);
    side_new(&here, 2);
    set(&here, "base", "x", "0");
    follow(&there, &here, 1, 1);
    fork_index = 1;
    set(&here, "a", "x", "term 2");
    set(&here, "a", "y", "term 2");
    here.term = 6;
    set(&here, "a", "y", "term 6");
    set(&there, "a", "x", "term 5");
    set(&there, "a", "y", "term 5");
    offer_all();
    expect(&here, "a", "x", "term 5");
    expect(&here, "a", "y", "term 6");
}

/* ---- deletions ---- */

static void lasting(struct side *s)
{
    set(s, "k", "x", "0");
    set(s, "k", "y", "0");
    set(s, "gone", "x", "0");
    add(s, "k", "n", 7);
}

static void an_offered_deletion_spares_what_was_changed_later(void)
{
    common(lasting);
    del(&there, "k");
    del(&there, "gone");
    set(&here, "k", "x", "new");
    set(&here, "k", "z", "new");
    offer_all();
    expect(&here, "k", "x", "new");
    expect(&here, "k", "z", "new");
    expect(&here, "k", "y", NULL);
    expect(&here, "k", "n", NULL);
    CU_ASSERT_PTR_NULL(tm_store_find(here.store, str("gone")));
}

static void an_offered_flush_loses_to_any_later_change(void)
{
    common(lasting);
    flush(&there);
    set(&there, "after", "x", "1");
    set(&here, "else", "x", "1");
    CU_ASSERT_EQUAL(offer_all().superseded, 1);
    expect(&here, "k", "x", "0");
    expect(&here, "else", "x", "1");
    expect(&here, "after", "x", "1");
}

static void an_offered_flush_holds_where_nothing_happened(void)
{
    common(lasting);
    set(&there, "before", "x", "1");
    flush(&there);
    set(&there, "after", "x", "1");
    offer_all();
    expect(&here, "k", "x", NULL);
    expect(&here, "before", "x", NULL);
    expect(&here, "after", "x", "1");
    CU_ASSERT_EQUAL(tm_store_count(here.store), 1);
    uint64_t index = here.index;
    CU_ASSERT_EQUAL(offer_all().kept, 0);
    CU_ASSERT_EQUAL(here.index, index);
    expect(&here, "after", "x", "1");
}

/* ---- expiry ---- */

static void mortal(struct side *s)
{
    set(s, "k", "x", "0");
    set_expiry(s, "k", 1000);
    set(s, "l", "x", "0");
    set_expiry(s, "l", 1000);
}

static void expiry_operations_lose_to_any_later_change_of_the_key(void)
{
    common(mortal);
    set_expiry(&there, "k", 5000);
    set_expiry(&there, "l", 5000);
    set(&here, "k", "other", "1");
    offer_all();
    CU_ASSERT_EQUAL(expiry(&here, "k"), 1000);
    CU_ASSERT_EQUAL(expiry(&here, "l"), 5000);
}

static void a_death_by_expiry_loses_to_any_later_change(void)
{
    common(mortal);
    expire(&there, "k");
    expire(&there, "l");
    begin(&here);
    tm_store_persist(here.store, str("k"));
    end(&here);
    offer_all();
    expect(&here, "k", "x", "0");
    CU_ASSERT_PTR_NULL(tm_store_find(here.store, str("l")));
}

static void an_expiry_here_takes_what_was_offered_unless_it_lived_on_there(void)
{
    common(mortal);
    set(&there, "k", "y", "1");
    set_expiry(&there, "l", 9000);
    set(&there, "l", "y", "1");
    expire(&here, "k");
    expire(&here, "l");
    offer_all();
    CU_ASSERT_PTR_NULL(tm_store_find(here.store, str("k")));
    expect(&here, "l", "y", "1");
}

/* ---- counters ---- */

static void counter_components_add_up(void)
{
    common(lasting);
    add(&there, "k", "n", 10);
    add(&there, "k", "n", 20);
    add(&here, "k", "n", 100);
    offer_all();
    expect(&here, "k", "n", "137");
    add(&here, "k", "n", 1);
    expect(&here, "k", "n", "138");
}

static void a_counter_loses_to_a_later_set_or_deletion(void)
{
    common(lasting);
    add(&there, "k", "n", 10);
    add(&there, "gone", "n", 10);
    set(&here, "k", "n", "1000");
    del(&here, "gone");
    CU_ASSERT_EQUAL(offer_all().kept, 0);
    expect(&here, "k", "n", "1000");
    CU_ASSERT_PTR_NULL(tm_store_find(here.store, str("gone")));
}

static void a_set_loses_to_a_later_count(void)
{
    common(lasting);
    set(&there, "k", "n", "1000");
    add(&here, "k", "n", 1);
    CU_ASSERT_EQUAL(offer_all().kept, 0);
    expect(&here, "k", "n", "8");
}

/* The total after a SET counts from it: where the SET lost, the total would take back what the
 * component had before. */
static void a_count_goes_with_the_set_it_counts_from(void)
{
    common(lasting);
    set(&there, "k", "n", "1000");
    add(&there, "k", "n", 2);
    add(&here, "k", "n", 100);
    CU_ASSERT_EQUAL(offer_all().superseded, 2);
    expect(&here, "k", "n", "107");
}

static void a_count_goes_with_the_deletion_it_counts_from(void)
{
    common(lasting);
    del(&there, "k");
    add(&there, "k", "n", 2);
    add(&there, "k", "m", 3);
    add(&here, "k", "n", 100);
    offer_all();
    expect(&here, "k", "n", "107");
    expect(&here, "k", "m", "3");
    expect(&here, "k", "x", NULL);
}

/* ---- again and again ---- */

static void fill_there(void)
{
    set(&there, "a", "x", "1");
    add(&there, "k", "n", 10);
    set(&there, "a", "y", "1");
    add(&there, "k", "n", 20);
    del(&there, "gone");
    set(&there, "a", "x", "2");
}

static void an_offer_that_comes_again_changes_nothing(void)
{
    common(lasting);
    fill_there();
    add(&here, "k", "n", 100);
    CU_ASSERT(offer_all().kept > 0);
    uint64_t index = here.index, hash = tm_store_state_hash(here.store);
    struct tm_merge_stats stats = offer_all();
    CU_ASSERT_EQUAL(stats.kept, 0);
    CU_ASSERT_EQUAL(stats.known, there.index - fork_index);
    CU_ASSERT_EQUAL(here.index, index);
    CU_ASSERT_EQUAL(tm_store_state_hash(here.store), hash);
}

static void a_shorter_copy_of_the_same_suffix_takes_nothing_back(void)
{
    common(lasting);
    fill_there();
    offer_all();
    CU_ASSERT_EQUAL(offer(&here, &there, fork_index, fork_index + 2, TM_MIB(1)).kept, 0);
    expect(&here, "k", "n", "37");
    expect(&here, "a", "x", "2");
}

static void a_longer_copy_adds_what_the_shorter_had_not(void)
{
    common(lasting);
    fill_there();
    offer(&here, &there, fork_index, fork_index + 2, TM_MIB(1));
    expect(&here, "k", "n", "17");
    expect(&here, "a", "x", "1");
    offer_all();
    expect(&here, "k", "n", "37");
    expect(&here, "a", "x", "2");
    CU_ASSERT_PTR_NULL(tm_store_find(here.store, str("gone")));
}

static void the_next_leader_knows_what_was_merged(void)
{
    common(lasting);
    fill_there();
    offer_all();
    follow(&next, &here, 1, here.index);
    set(&next, "a", "x", "3");
    struct tm_merge_stats stats = offer(&next, &there, fork_index, there.index, TM_MIB(1));
    CU_ASSERT_EQUAL(stats.kept, 0);
    expect(&next, "a", "x", "3");
    expect(&next, "k", "n", "37");
}

/* `here` merged and was cut off itself; the leader after it gets both offers, in either order. */
static void a_merge_that_was_cut_off_is_offered_like_anything_else(void)
{
    for (unsigned order = 0; order < 2; order++) {
        common(lasting);
        fill_there();
        add(&here, "k", "n", 100);
        set(&here, "a", "y", "newer");
        offer_all();
        follow(&next, &here, 1, fork_index);
        add(&next, "k", "n", 1000);
        for (unsigned i = 0; i < 2; i++) {
            const struct side *from = i == order ? &here : &there;
            offer(&next, from, fork_index, from->index, TM_MIB(1));
        }
        expect(&next, "k", "n", "1137");
        expect(&next, "a", "x", "2");
        expect(&next, "a", "y", "newer");
        CU_ASSERT_PTR_NULL(tm_store_find(next.store, str("gone")));
    }
}

/* A suffix that the present log has after all (its holder was elected) is no news. */
static void what_the_log_has_itself_is_not_written_again(void)
{
    common(lasting);
    fill_there();
    follow(&here, &there, fork_index + 1, fork_index + 3);
    set(&here, "b", "x", "1");
    struct tm_merge_stats stats = offer_all();
    CU_ASSERT_EQUAL(stats.known, 3);
    expect(&here, "k", "n", "37");
    expect(&here, "a", "x", "2");
}

static void too_many_terms_are_refused(void)
{
    struct tm_merge *m;
    common(nothing);
    for (unsigned i = 0; i <= TM_MERGE_TERMS; i++) {
        there.term++;
        set(&there, "a", "x", "1");
    }
    size_t start = there.at[fork_index + 1];
    struct tm_bytes all = tm_bytes_of(there.log + start, there.used - start);
    CU_ASSERT_EQUAL(tm_merge_new(all, &m), TM_ERR_TOOBIG);
    CU_ASSERT_PTR_NULL(m);
    all.len -= side_record(&there, there.index)->length;
    CU_ASSERT_EQUAL(tm_merge_new(all, &m), TM_OK);
    tm_merge_free(m);
}

/* ---- random histories ---- */

static uint64_t rng;

static unsigned below(unsigned n)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (unsigned)((rng >> 11) % n);
}

static void random_op(struct side *s)
{
    char key[2] = {(char)('a' + below(3))}, field[2] = {(char)('p' + below(3))}, value[16];
    (void)snprintf(value, sizeof value, "%u", below(1000));
    const struct tm_entity *e = tm_store_find(s->store, str(key));
    switch (below(12)) {
    case 0:
        del(s, key);
        return;
    case 1:
        if (e != NULL)
            set_expiry(s, key, 100000 + below(1000));
        return;
    case 2:
        unset(s, key, field);
        return;
    case 3:
        set_string(s, key, value);
        return;
    case 4:
    case 5:
    case 6:
    case 7:
        set(s, key, field, value);
        return;
    case 8:
        if (below(20) == 0)
            flush(s);
        return;
    default:
        add(s, key, "n", (int64_t)below(100) - 30);
        return;
    }
}

static void random_history(struct side *s)
{
    for (unsigned i = 0; i < 1 + below(8); i++)
        random_op(s);
    if (s->index == 0)
        nothing(s);
}

static uint64_t text_hash(struct tm_bytes text, uint64_t seed)
{
    return tm_hash64(text.data, text.len, seed);
}

/* Everything but stamps, which depend on when a merge was made. */
static void add_entity(void *host, const struct tm_entity *e)
{
    struct tm_field_iter it;
    struct tm_bytes name;
    struct tm_value v;
    uint64_t *sum = host, hash = text_hash(tm_entity_key(e), tm_entity_type(e));
    *sum += tm_hash64(&hash, sizeof hash, tm_entity_expiry(e));
    if (tm_entity_type(e) == TM_ENTITY_STRING) {
        tm_entity_string(e, &v);
        *sum += text_hash(v.text, hash);
        return;
    }
    tm_field_first(&it, e);
    while (tm_field_next(&it, &name, &v))
        *sum += text_hash(v.text, text_hash(name, hash));
}

static uint64_t state(const struct side *s)
{
    uint64_t sum = 0;
    CU_ASSERT_EQUAL(tm_store_scan(s->store, 0, 1000, add_entity, &sum), 0);
    return sum;
}

static void random_sides(bool disturbed)
{
    common(random_history);
    random_history(&there);
    if (there.index == fork_index)
        nothing(&there);
    if (disturbed)
        random_history(&here);
    follow(&next, &here, 1, here.index);
    next.term = here.term;
}

static void an_undisturbed_offer_gives_the_state_that_was_cut_off(void)
{
    rng = tm_test_seed() | 1;
    for (unsigned i = 0; i < 3000; i++) {
        random_sides(false);
        offer(&here, &there, fork_index, there.index, below(2) == 0 ? 1 : TM_MIB(1));
        CU_ASSERT_EQUAL_FATAL(state(&here), state(&there));
    }
}

/* Whole; by several holders of different length in any order; again; in pieces: all the same. */
static void the_ways_an_offer_comes_make_no_difference(void)
{
    rng = tm_test_seed() | 1;
    for (unsigned i = 0; i < 3000; i++) {
        random_sides(true);
        offer_all();
        for (unsigned k = 0; k < 4; k++) {
            uint64_t last = fork_index + 1 + below((unsigned)(there.index - fork_index));
            offer(&next, &there, fork_index, k == 3 ? there.index : last,
                  below(2) == 0 ? 1 : TM_MIB(1));
        }
        CU_ASSERT_EQUAL_FATAL(state(&here), state(&next));
    }
}

/* ---- Links ---- */

static enum tm_link_sharing all_is_shared(void *host, struct tm_bytes key, uint64_t origin)
{
    (void)host;
    (void)key;
    (void)origin;
    return TM_LINK_MANY;
}

static void share(struct side *s)
{
    const struct tm_link_policy policy = {all_is_shared, NULL};
    tm_store_set_policy(s->store, &policy);
}

/* What link's stream brought, and how far. */
static void take_batch(struct side *s, const char *key, const char *value, uint64_t position)
{
    begin(s);
    tm_store_set_shadow(s->store, str(""), str("p-of-a-stream"),
                        tm_bytes_of(&position, sizeof position));
    tm_store_stamp(s->store, 1000, 500);
    tm_store_set_field(s->store, str(key), TM_ENTITY_HASH, str("f"), str(value));
    end(s);
}

static uint64_t position_of(const struct side *s)
{
    struct tm_bytes value;
    if (!tm_store_shadow_field(s->store, str(""), str("p-of-a-stream"), &value, NULL))
        return 0;
    return tm_load64(value.data);
}

static void common_batch(struct side *s)
{
    take_batch(s, "k", "first", 1);
}

static void a_batch_of_a_link_is_offered_neither_with_its_position_nor_without(void)
{
    common(common_batch);
    take_batch(&there, "k", "second", 2);
    set(&there, "mine", "f", "1");
    set(&here, "other", "f", "1");
    offer_all();
    expect(&here, "k", "f", "first"); /* the stream brings it again */
    CU_ASSERT_EQUAL(position_of(&here), 1);
    expect(&here, "mine", "f", "1");
}

static struct tm_op_version stamp_of_field(const struct side *s, const char *key)
{
    struct tm_op_version v = {0, 0};
    const struct tm_entity *e = tm_store_find(s->store, str(key));
    if (e != NULL)
        (void)tm_store_field_stamp(s->store, e, str("f"), &v);
    return v;
}

static void what_several_clusters_write_keeps_the_stamp_it_was_made_with(void)
{
    common(nothing);
    share(&here);
    share(&there);
    set(&there, "k", "f", "offered");
    uint64_t made = hlc;
    set(&there, "gone", "f", "1");
    del(&there, "gone");
    offer_all();
    expect(&here, "k", "f", "offered");
    CU_ASSERT_EQUAL(stamp_of_field(&here, "k").hlc, made);
    CU_ASSERT_EQUAL(stamp_of_field(&here, "k").origin, 77);
    CU_ASSERT(tm_store_shadow_field(here.store, str("gone"), str("d"), NULL, NULL));
    uint64_t length = here.index;
    offer_all(); /* again */
    expect(&here, "k", "f", "offered");
    CU_ASSERT_EQUAL(here.index, length);
}

static void of_what_several_clusters_write_the_later_stamp_wins(void)
{
    common(nothing);
    share(&here);
    share(&there);
    hlc = 5000;
    set(&there, "k", "f", "offered");
    begin(&here); /* a batch, later in the log, made earlier */
    tm_store_stamp(here.store, 1000, 500);
    tm_store_set_field(here.store, str("k"), TM_ENTITY_HASH, str("f"), str("older"));
    tm_store_stamp(here.store, 9000, 500);
    tm_store_set_field(here.store, str("l"), TM_ENTITY_HASH, str("f"), str("newer"));
    end(&here);
    hlc = 5001;
    set(&there, "l", "f", "offered");
    hlc = 10000;
    offer_all();
    expect(&here, "k", "f", "offered");
    expect(&here, "l", "f", "newer");
}

static const struct tm_test tests[] = {
    TM_TEST(what_nobody_touched_comes_back),
    TM_TEST(a_field_loses_to_a_later_change_of_that_field_only),
    TM_TEST(a_field_deleted_later_stays_deleted),
    TM_TEST(deleted_does_not_come_back_through_a_re_offer),
    TM_TEST(a_later_flush_takes_everything_offered),
    TM_TEST(a_later_change_of_type_wins),
    TM_TEST(an_older_change_of_the_present_log_loses),
    TM_TEST(an_offered_deletion_spares_what_was_changed_later),
    TM_TEST(an_offered_flush_loses_to_any_later_change),
    TM_TEST(an_offered_flush_holds_where_nothing_happened),
    TM_TEST(expiry_operations_lose_to_any_later_change_of_the_key),
    TM_TEST(a_death_by_expiry_loses_to_any_later_change),
    TM_TEST(an_expiry_here_takes_what_was_offered_unless_it_lived_on_there),
    TM_TEST(counter_components_add_up),
    TM_TEST(a_counter_loses_to_a_later_set_or_deletion),
    TM_TEST(a_set_loses_to_a_later_count),
    TM_TEST(a_count_goes_with_the_set_it_counts_from),
    TM_TEST(a_count_goes_with_the_deletion_it_counts_from),
    TM_TEST(an_offer_that_comes_again_changes_nothing),
    TM_TEST(a_shorter_copy_of_the_same_suffix_takes_nothing_back),
    TM_TEST(a_longer_copy_adds_what_the_shorter_had_not),
    TM_TEST(the_next_leader_knows_what_was_merged),
    TM_TEST(a_merge_that_was_cut_off_is_offered_like_anything_else),
    TM_TEST(what_the_log_has_itself_is_not_written_again),
    TM_TEST(too_many_terms_are_refused),
    TM_TEST(an_undisturbed_offer_gives_the_state_that_was_cut_off),
    TM_TEST(the_ways_an_offer_comes_make_no_difference),
    TM_TEST(a_batch_of_a_link_is_offered_neither_with_its_position_nor_without),
    TM_TEST(what_several_clusters_write_keeps_the_stamp_it_was_made_with),
    TM_TEST(of_what_several_clusters_write_the_later_stamp_wins),
};

int main(void)
{
    struct side *sides[] = {&here, &there, &next};
    if (tm_arena_open(&arena) != TM_OK)
        return 1;
    int rc = tm_test_main("actors/merge", tests, TM_ARRAY_LEN(tests));
    for (size_t i = 0; i < TM_ARRAY_LEN(sides); i++) {
        tm_store_delete(sides[i]->store);
        free(sides[i]->log);
    }
    if (arena.bytes != 0)
        rc = 1;
    tm_arena_close(&arena);
    return rc;
}
