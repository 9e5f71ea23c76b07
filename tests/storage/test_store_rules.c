/* Each rule against a simple model of it: of all that clusters wrote, a version stands if nobody
 * wrote in knowledge of it; of those that stand the rule makes the value.  And what the format of
 * versions is, and refuses. */
#include "storage/versions.h"
#include "tests/storage/store_clusters.h"

enum { CLUSTERS = 4, FIELDS = 6, EVENTS = 64, LOG_MAX = 1024 };

/* A local write of one field, and which others of that field its cluster knew. */
struct event {
    struct tm_op_version stamp;
    unsigned by;
    bool deleted;
    char value[8];
    uint64_t knew;
};

struct cluster {
    struct tm_store *store;
    uint64_t origin, hlc, knows[FIELDS];
    struct tm_record *log[LOG_MAX];
    unsigned field[LOG_MAX], event[LOG_MAX]; /* of its own records; event 64: of another's */
    uint64_t sent[CLUSTERS];
};

static struct cluster clusters[CLUSTERS];
static unsigned count, event_count[FIELDS];
static struct event events[FIELDS][EVENTS];
static uint64_t buffer[TM_KIB(64) / 8], stood_beside, told;

static const char *const names[FIELDS] = {"lww", "set", "max", "min", "home", "function"};
static const enum tm_conflict rules[FIELDS] = {TM_CONFLICT_FIELD_LWW, TM_CONFLICT_SET,
                                               TM_CONFLICT_MAX,       TM_CONFLICT_MIN,
                                               TM_CONFLICT_HOME,      TM_CONFLICT_FUNCTION};
static const struct tm_bytes key = {(const uint8_t *)"T:1", 3};

static struct tm_conflict_rule rule_of(void *host, struct tm_bytes k, struct tm_bytes name)
{
    struct tm_conflict_rule rule = {.rule = TM_CONFLICT_FIELD_LWW};
    (void)k;
    for (unsigned f = 0; f < FIELDS; f++)
        if (tm_bytes_equal(name, tm_bytes_str(names[f])))
            rule.rule = rules[f];
    rule.home = rule.rule == TM_CONFLICT_HOME && host == &clusters[1];
    return rule;
}

static void conflict(void *host, const struct tm_conflict_found *found)
{
    (void)host;
    told += found->rule.rule != TM_CONFLICT_FIELD_LWW;
}

/* ---- clusters ---- */

static void open_clusters(void)
{
    count = 2 + (unsigned)rnd(CLUSTERS - 1);
    memset(event_count, 0, sizeof event_count);
    for (unsigned i = 0; i < count; i++) {
        struct cluster *c = &clusters[i];
        struct tm_link_policy policy = {.keep = all_is_shared,
                                        .host = c,
                                        .rule = rule_of,
                                        .combine = average,
                                        .conflict = conflict};
        memset(c, 0, sizeof *c);
        c->origin = 100 + rnd(1000) * CLUSTERS + i;
        c->store = tm_store_new(&arena, 1);
        tm_store_set_policy(c->store, &policy);
    }
}

static void close_clusters(void)
{
    for (unsigned i = 0; i < count; i++) {
        tm_store_delete(clusters[i].store);
        for (unsigned n = 0; n < LOG_MAX; n++)
            free(clusters[i].log[n]);
    }
    CU_ASSERT_EQUAL(arena.bytes, 0);
}

static void begin(struct cluster *c)
{
    struct tm_record head = {
        .term = 1, .index = tm_store_applied(c->store) + 1, .hlc = ++c->hlc, .origin = c->origin};
    tm_store_begin(c->store, buffer, sizeof buffer, &head);
}

static bool finish(struct cluster *c, unsigned field, unsigned event)
{
    struct tm_record *r = finish_copy(c->store);
    if (r == NULL)
        return false;
    CU_ASSERT_FATAL(r->index < LOG_MAX);
    c->log[r->index] = r;
    c->field[r->index] = field;
    c->event[r->index] = event;
    return true;
}

static void write_one(struct cluster *c)
{
    unsigned f = (unsigned)rnd(FIELDS), n = event_count[f];
    struct event *e = &events[f][n];
    if (n == EVENTS)
        return;
    *e = (struct event){.by = (unsigned)(c - clusters), .deleted = rnd(4) == 0};
    snprintf(e->value, sizeof e->value, "%d", (int)rnd(200) - 100);
    begin(c);
    e->stamp = (struct tm_op_version){c->hlc, c->origin};
    e->knew = c->knows[f];
    if (e->deleted)
        tm_store_del_field(c->store, key, TM_ENTITY_HASH, tm_bytes_str(names[f]));
    else
        tm_store_set_field(c->store, key, TM_ENTITY_HASH, tm_bytes_str(names[f]),
                           tm_bytes_str(e->value));
    if (!finish(c, f, n))
        return;
    c->knows[f] |= UINT64_C(1) << n;
    event_count[f]++;
}

static void merge(void *host, const struct tm_link_change *in)
{
    struct cluster *to = host;
    (void)tm_link_merge(to->store, in, 1, NULL);
}

/* The next record of `from`; who gets it knows what its writer knew. */
static bool deliver(unsigned f, unsigned t)
{
    struct cluster *from = &clusters[f], *to = &clusters[t];
    if (f == t || to->sent[f] == tm_store_applied(from->store))
        return false;
    uint64_t at = ++to->sent[f];
    unsigned field = from->field[at], n = from->event[at];
    to->hlc = tm_max_u64(to->hlc, from->hlc);
    begin(to);
    each_sent(from->log[at], merge, to);
    (void)finish(to, 0, EVENTS);
    if (n < EVENTS)
        to->knows[field] |= UINT64_C(1) << n | events[field][n].knew;
    return true;
}

static void run(unsigned steps)
{
    bool more = true;
    for (unsigned step = 0; step < steps; step++)
        if (rnd(2))
            write_one(&clusters[rnd(count)]);
        else
            (void)deliver((unsigned)rnd(count), (unsigned)rnd(count));
    while (more) {
        more = false;
        for (unsigned f = 0; f < count; f++)
            for (unsigned t = 0; t < count; t++)
                more |= deliver(f, t);
    }
}

/* ---- the model ---- */

/* Those that nobody wrote over, by stamp. */
static unsigned standing(unsigned f, const struct event *out[EVENTS])
{
    unsigned n = 0;
    for (unsigned i = 0; i < event_count[f]; i++) {
        bool over = false;
        for (unsigned k = 0; k < event_count[f]; k++)
            over |= events[f][k].knew >> i & 1;
        if (over)
            continue;
        unsigned at = n++;
        for (; at > 0 && tm_stamp_compare(out[at - 1]->stamp, events[f][i].stamp) > 0; at--)
            out[at] = out[at - 1];
        out[at] = &events[f][i];
    }
    return n;
}

static const struct event *latest(const struct event **e, unsigned n, bool living, int home)
{
    const struct event *best = NULL;
    for (unsigned i = 0; i < n; i++)
        if ((!living || !e[i]->deleted) && (home < 0 || e[i]->by == (unsigned)home))
            best = e[i];
    return best;
}

/* What the field has to read; false: it is gone. */
static bool expected(unsigned f, char out[24])
{
    const struct event *e[EVENTS], *best;
    unsigned n = standing(f, e);
    stood_beside += n > 1;
    best = latest(e, n, rules[f] != TM_CONFLICT_FIELD_LWW, -1);
    if (rules[f] == TM_CONFLICT_HOME && latest(e, n, false, 1) != NULL)
        best = latest(e, n, false, 1);
    if (best == NULL || best->deleted)
        return false;
    int value = atoi(best->value), made = 0;
    for (unsigned i = 0; i < n; i++) {
        int v = atoi(e[i]->value);
        if (e[i]->deleted)
            continue;
        if (rules[f] == TM_CONFLICT_MAX)
            value = v > value ? v : value;
        if (rules[f] == TM_CONFLICT_MIN)
            value = v < value ? v : value;
        if (rules[f] == TM_CONFLICT_FUNCTION)
            value = made++ == 0 ? v : (value + v) / 2;
    }
    snprintf(out, 24, "%d", value);
    return true;
}

static void check_field(const struct cluster *c, unsigned f)
{
    const struct tm_entity *e = tm_store_find(c->store, key);
    struct tm_value value;
    char want[24];
    bool there = e != NULL && tm_entity_field(e, tm_bytes_str(names[f]), &value);
    bool wanted = expected(f, want);
    CU_ASSERT_EQUAL(there, wanted);
    if (there && wanted)
        CU_ASSERT(tm_bytes_equal(value.text, tm_bytes_str(want)));
    if (there != wanted || (there && !tm_bytes_equal(value.text, tm_bytes_str(want))))
        printf("    %s at cluster %d: %.*s, not %s\n", names[f], (int)(c - clusters),
               there ? (int)value.text.len : 6, there ? (const char *)value.text.data : "(none)",
               wanted ? want : "(none)");
}

static void each_rule_gives_what_its_model_gives(void)
{
    seed = tm_test_seed();
    stood_beside = told = 0;
    for (unsigned round = 0; round < 500 && CU_get_number_of_failures() == 0; round++) {
        open_clusters();
        run(20 + (unsigned)rnd(150));
        for (unsigned i = 0; i < count; i++) {
            for (unsigned f = 0; f < FIELDS; f++)
                check_field(&clusters[i], f);
            CU_ASSERT_EQUAL(tm_link_hash(clusters[i].store, key, 1, 0),
                            tm_link_hash(clusters[0].store, key, 1, 0));
        }
        close_clusters();
    }
    CU_ASSERT(stood_beside > 1000);
    CU_ASSERT(told > 1000);
}

/* ---- the format ---- */

static struct tm_versions some(void)
{
    struct tm_versions v;
    tm_versions_none(&v, TM_ENTITY_HASH);
    v.count = v.past_count = 2;
    v.version[0] = (struct tm_version){{0x1122, 7}, TM_VERSION_HOME, tm_bytes_str("ab")};
    v.version[1] = (struct tm_version){{0x3344, 5}, TM_VERSION_DELETED, {NULL, 0}};
    v.past[0] = (struct tm_op_version){9, 3};
    v.past[1] = (struct tm_op_version){8, 7};
    return v;
}

static void the_format_is_frozen(void)
{
    static const uint8_t frozen[] = {
        1,    2,    2, 0, 0, 0, 0, 0,                                                 /* head */
        9,    0,    0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0,                         /* past */
        8,    0,    0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0,                         /* past */
        0x22, 0x11, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, /* version */
        0x44, 0x33, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, /* version */
        'a',  'b'};
    uint8_t bytes[256];
    struct tm_versions v = some(), back;
    CU_ASSERT_EQUAL_FATAL(tm_versions_size(&v), sizeof frozen);
    tm_versions_encode(&v, bytes);
    CU_ASSERT_EQUAL(memcmp(bytes, frozen, sizeof frozen), 0);
    CU_ASSERT_FATAL(tm_versions_decode(tm_bytes_of(frozen, sizeof frozen), &back));
    CU_ASSERT_EQUAL(back.version[1].stamp.hlc, 0x3344);
    CU_ASSERT(tm_bytes_equal(back.version[0].value, tm_bytes_str("ab")));
}

static bool is_taken(const struct tm_versions *v)
{
    uint8_t bytes[256];
    struct tm_versions back;
    tm_versions_encode(v, bytes);
    return tm_versions_decode(tm_bytes_of(bytes, tm_versions_size(v)), &back);
}

static void what_no_cluster_writes_is_refused(void)
{
    uint8_t bytes[256];
    struct tm_versions v = some(), back;
    size_t size = tm_versions_size(&v);
    CU_ASSERT(is_taken(&v));
    tm_versions_encode(&v, bytes);
    for (size_t len = 0; len < size; len++)
        CU_ASSERT_FALSE(tm_versions_decode(tm_bytes_of(bytes, len), &back));
    CU_ASSERT_FALSE(tm_versions_decode(tm_bytes_of(bytes, size + 1), &back));
    v.version[1].stamp.hlc = 1; /* not in order */
    CU_ASSERT_FALSE(is_taken(&v));
    v = some();
    v.version[1].stamp.origin = 7; /* two of one origin */
    CU_ASSERT_FALSE(is_taken(&v));
    v = some();
    v.past[1].hlc = 0x1122; /* superseded, and there */
    CU_ASSERT_FALSE(is_taken(&v));
    v = some();
    v.past[1].origin = 3;
    CU_ASSERT_FALSE(is_taken(&v));
    v = some();
    v.version[1].value = tm_bytes_str("x"); /* of a deletion */
    CU_ASSERT_FALSE(is_taken(&v));
    v = some();
    v.count = 0;
    CU_ASSERT_FALSE(is_taken(&v));
}

/* From outside: no cluster sends what has no origin. */
static void what_nobody_made_is_not_merged(void)
{
    open_clusters();
    for (unsigned f = 0; f < FIELDS; f++) {
        struct tm_op op = {TM_OP_SET_FIELD, tm_bytes_str(names[f]), tm_bytes_str("1")};
        struct tm_link_change in = {
            .key = key, .type = TM_ENTITY_HASH, .op = &op, .stamp = {5, TM_ORIGIN_NONE}};
        begin(&clusters[0]);
        CU_ASSERT_EQUAL(tm_link_merge(clusters[0].store, &in, 1, NULL), TM_LINK_KNOWN);
        (void)finish(&clusters[0], f, EVENTS);
    }
    CU_ASSERT_PTR_NULL(tm_store_find(clusters[0].store, key));
    close_clusters();
}

static void numbers_compare_as_numbers(void)
{
    static const char *const rising[] = {"-10", "-2.5", "0", "9", "1e1", "11", "", "1x", "a", "b"};
    for (unsigned i = 0; i < TM_ARRAY_LEN(rising); i++)
        for (unsigned k = 0; k < TM_ARRAY_LEN(rising); k++) {
            int order = tm_conflict_compare(tm_bytes_str(rising[i]), tm_bytes_str(rising[k]));
            CU_ASSERT_EQUAL(order < 0, i < k);
            CU_ASSERT_EQUAL(order > 0, i > k);
        }
    CU_ASSERT_EQUAL(tm_conflict_compare(tm_bytes_str("1"), tm_bytes_str("1.0")), 0);
    CU_ASSERT(tm_conflict_compare(tm_bytes_str("9223372036854775806"),
                                  tm_bytes_str("9223372036854775807")) < 0);
}

static void the_past_is_forgotten_when_all_is_known(void)
{
    struct tm_versions v = some();
    CU_ASSERT_FALSE(tm_versions_retire(&v, (struct tm_op_version){0x3343, 5}));
    CU_ASSERT(tm_versions_retire(&v, (struct tm_op_version){0x3344, 5}));
    CU_ASSERT_EQUAL(v.past_count, 0);
    CU_ASSERT_EQUAL(v.count, 2);
}

static const struct tm_test tests[] = {
    TM_TEST(each_rule_gives_what_its_model_gives),    TM_TEST(the_format_is_frozen),
    TM_TEST(what_no_cluster_writes_is_refused),       TM_TEST(numbers_compare_as_numbers),
    TM_TEST(the_past_is_forgotten_when_all_is_known), TM_TEST(what_nobody_made_is_not_merged),
};

int main(void)
{
    return arena_test_main("storage/store_rules", tests, TM_ARRAY_LEN(tests), NULL);
}
