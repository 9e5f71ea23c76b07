/* How the nodes of a running cluster come to go by the newest version of the directory. */
#include "tests/actors/creation_world.h"

/* The bytes of the next version after `d`; what is committed in the system partition. */
struct version {
    uint64_t number;
    uint8_t bytes[1 << 16];
    size_t len;
};

static struct version newest;

static void make_next(const struct tm_directory *d, struct version *v)
{
    struct tm_directory *next = malloc(sizeof *next);
    TM_ASSERT(next != NULL);
    *next = *d;
    next->version++;
    next->facts_len = (uint32_t)snprintf(next->facts, sizeof next->facts, "count=%llu\n",
                                         (unsigned long long)next->version);
    CU_ASSERT_PTR_NULL(tm_directory_refuses(d, next));
    v->number = next->version;
    v->len = tm_directory_size(next);
    TM_ASSERT(v->len <= sizeof v->bytes);
    tm_directory_encode(next, v->bytes);
    free(next);
}

/* The node finds it committed in its copy of the system partition. */
static void commit_at(struct world *w, unsigned i, const struct version *v)
{
    struct node *n = &w->nodes[i];
    struct tm_message_head head = {.type = TM_MESSAGE_DIRECTORY, .node = (uint8_t)i};
    if (n->up && !n->dead)
        tm_creation_message(&n->creation, &head, tm_bytes_of(v->bytes, v->len));
}

static void change_at(struct world *w, unsigned i)
{
    make_next(tm_node_directory(&w->nodes[i].node), &newest);
    commit_at(w, i, &newest);
}

static uint64_t version_of(const struct world *w, unsigned i)
{
    return tm_node_directory(&w->nodes[i].node)->version;
}

static uint64_t stored_version(const struct world *w, unsigned i)
{
    uint64_t size = 0;
    const uint8_t *bytes = tm_sim_disk_data(w->nodes[i].sd, TM_DIRECTORY_FILE, &size);
    return bytes != NULL ? tm_directory_version(tm_bytes_of(bytes, size)) : 0;
}

static void expect_version(struct world *w, uint64_t version)
{
    for (unsigned i = 0; i < w->count; i++) {
        CU_ASSERT_EQUAL(version_of(w, i), version);
        CU_ASSERT_EQUAL(stored_version(w, i), version);
    }
}

static struct world *running(unsigned count, uint64_t seed)
{
    world_begin(&world, count, seed);
    start_all(&world);
    run(&world, 2);
    expect_all_run(&world);
    return &world;
}

static void restart(struct world *w, unsigned i)
{
    start(w, i);
    announce(w, i);
}

/* ---- tests ---- */

static void a_new_version_reaches_every_node_and_its_disk(void)
{
    for (unsigned count = 1; count <= NODES_MAX; count++)
        for (unsigned at = 0; at < count; at++) {
            struct world *w = running(count, 20 + count);
            for (uint64_t version = 2; version < 5; version++) {
                change_at(w, at);
                run(w, 3);
                expect_version(w, version);
                for (unsigned i = 0; i < count; i++)
                    CU_ASSERT_EQUAL(w->nodes[i].changes, version - 1);
            }
            world_end(w);
        }
}

static void a_node_starts_with_the_version_it_had(void)
{
    struct world *w = running(3, 30);
    change_at(w, 2);
    run(w, 3);
    for (unsigned i = 0; i < 3; i++)
        power_off(w, i, 0);
    start(w, 1); /* nobody to ask */
    CU_ASSERT_EQUAL(version_of(w, 1), 2);
    world_end(w);
}

static void a_node_that_was_down_gets_what_it_missed(void)
{
    for (unsigned away = 0; away < 3; away++) {
        struct world *w = running(3, 40 + away);
        power_off(w, away, 0);
        change_at(w, (away + 1) % 3);
        run(w, 3);
        change_at(w, (away + 2) % 3);
        run(w, 3);
        restart(w, away);
        CU_ASSERT_EQUAL(version_of(w, away), 1); /* that much it knows by itself */
        run(w, 3);
        expect_version(w, 3);
        CU_ASSERT_EQUAL(w->nodes[away].changes, 1);
        world_end(w);
    }
}

/* The other way round: who was away knows more than those it meets. */
static void a_node_that_comes_back_brings_what_the_others_missed(void)
{
    struct world *w = running(3, 50);
    power_off(w, 0, 0);
    power_off(w, 1, 0);
    change_at(w, 2);
    run(w, 3);
    power_off(w, 2, 0);
    restart(w, 0);
    restart(w, 1);
    run(w, 3);
    CU_ASSERT(version_of(w, 0) == 1 && version_of(w, 1) == 1);
    restart(w, 2);
    run(w, 3);
    expect_version(w, 2);
    world_end(w);
}

static void a_wiped_node_joins_with_the_newest(void)
{
    for (unsigned wiped = 0; wiped < 3; wiped++) {
        struct world *w = running(3, 60 + wiped);
        change_at(w, (wiped + 1) % 3);
        run(w, 3);
        come_back_wiped(w, wiped);
        run(w, 5);
        expect_version(w, 2);
        CU_ASSERT_EQUAL(w->nodes[wiped].runs, 1);
        world_end(w);
    }
}

/* It meets one with an older copy first. */
static void a_wiped_node_that_was_given_an_older_one_gets_the_newest(void)
{
    struct world *w = running(3, 70);
    power_off(w, 1, 0);
    change_at(w, 2);
    run(w, 3);
    wipe(w, 0);
    restart(w, 1);
    while (w->letters > 0) /* 1 hears nothing of 2 */
        free(w->wire[--w->letters].body);
    restart(w, 0);
    pass(w, 0, 1);
    pass(w, 1, 0);
    CU_ASSERT_FATAL(w->nodes[0].has_run);
    CU_ASSERT_EQUAL(version_of(w, 0), 1);
    run(w, 5);
    announce(w, 1);
    run(w, 5);
    expect_version(w, 2);
    world_end(w);
}

static void only_a_newer_one_of_the_same_cluster_is_taken(void)
{
    struct world *w = running(2, 80);
    static struct version first, other;
    change_at(w, 0);
    first = newest;
    run(w, 3);
    change_at(w, 0);
    run(w, 3);
    expect_version(w, 3);
    commit_at(w, 0, &first); /* late */
    commit_at(w, 0, &newest);
    struct tm_directory *d = malloc(sizeof *d);
    TM_ASSERT(d != NULL);
    *d = *tm_node_directory(&w->nodes[0].node);
    d->uuid[3] ^= 1;
    make_next(d, &other);
    commit_at(w, 0, &other); /* another cluster's */
    *d = *tm_node_directory(&w->nodes[0].node);
    snprintf(d->nodes[0].name, sizeof d->nodes[0].name, "z");
    make_next(d, &other);
    commit_at(w, 0, &other); /* one in which this node is another */
    free(d);
    make_next(tm_node_directory(&w->nodes[0].node), &other);
    for (size_t cut = 0; cut < other.len; cut += 7) {
        struct version broken = other;
        broken.len = cut;
        commit_at(w, 0, &broken);
    }
    run(w, 3);
    expect_version(w, 3);
    CU_ASSERT_EQUAL(w->nodes[0].changes, 2);
    world_end(w);
}

/* What a worker goes by must not go away under it. */
static void a_version_waits_for_workers_that_have_not_taken_the_last(void)
{
    struct world *w = running(2, 90);
    w->nodes[1].takes = false;
    change_at(w, 0);
    run(w, 3);
    const struct tm_directory *second = tm_node_directory(&w->nodes[1].node);
    CU_ASSERT_EQUAL(second->version, 2);
    change_at(w, 0);
    run(w, 3);
    change_at(w, 0);
    run(w, 3);
    CU_ASSERT_EQUAL(version_of(w, 0), 4);
    CU_ASSERT_EQUAL(version_of(w, 1), 2);
    w->nodes[1].takes = true;
    run(w, 3);
    expect_version(w, 4);
    world_end(w);
}

static void a_copy_that_could_not_be_stored_is_stored_later(void)
{
    static const enum tm_disk_kind kinds[] = {TM_DISK_OPEN,  TM_DISK_WRITE,  TM_DISK_SYNC,
                                              TM_DISK_CLOSE, TM_DISK_RENAME, TM_DISK_SYNC_DIR};
    for (size_t k = 0; k < TM_ARRAY_LEN(kinds); k++) {
        struct world *w = running(1, 100 + k);
        tm_sim_disk_fail(w->nodes[0].sd, kinds[k], 28, 1);
        change_at(w, 0);
        run(w, 3);
        CU_ASSERT_EQUAL(version_of(w, 0), 2); /* it goes by it all the same */
        CU_ASSERT_EQUAL(w->nodes[0].errors, 1);
        CU_ASSERT_STRING_EQUAL(w->nodes[0].said, "directory_not_stored");
        run(w, 150);
        expect_version(w, 2);
        CU_ASSERT_TRUE(tm_creation_quiet(&w->nodes[0].creation));
        world_end(w);
    }
}

static void power_may_go_at_any_step_of_storing_a_version(void)
{
    for (unsigned at = 0; at < 8; at++)
        for (unsigned luck = 0; luck < 20; luck++) {
            struct world *w = running(2, 200 + 100 * at + luck);
            change_at(w, 1);
            w->nodes[0].budget = at;
            run(w, 2);
            power_off(w, 0, (int)(luck * 5));
            power_off(w, 1, 0);
            start(w, 0); /* alone: whatever it has is whole */
            CU_ASSERT(version_of(w, 0) == 1 || version_of(w, 0) == 2);
            restart(w, 1);
            run(w, 3);
            expect_version(w, 2);
            world_end(w);
        }
}

/* Versions are committed one by one, each is found by some of the nodes, at any time after; nodes
 * crash, restart, are wiped.  Nobody goes back while it runs, and in the end all have the newest.
 */
static void history(uint64_t seed)
{
    static struct version all[64];
    unsigned count = 0;
    struct world *w = running(2 + (unsigned)(seed % 4), seed);
    uint64_t had[NODES_MAX];
    make_next(tm_node_directory(&w->nodes[0].node), &all[count++]);
    w->overtake = (unsigned)tm_rng_below(&w->rng, 60);
    w->twice = (unsigned)tm_rng_below(&w->rng, 30);
    for (unsigned step = 0; step < 80; step++) {
        unsigned i = (unsigned)tm_rng_below(&w->rng, w->count);
        memset(had, 0, sizeof had);
        if (chance(w, 20)) {
            power_off(w, i, (int)tm_rng_below(&w->rng, 101));
            restart(w, i);
        } else if (chance(w, 5) && w->nodes[(i + 1) % w->count].has_run) {
            come_back_wiped(w, i);
        } else if (chance(w, 10)) {
            w->nodes[i].budget = (int64_t)tm_rng_below(&w->rng, 12);
        }
        for (unsigned k = 0; k < w->count; k++)
            if (w->nodes[k].creation.running)
                had[k] = version_of(w, k);
        commit_at(w, i, &all[tm_rng_below(&w->rng, count)]);
        if (w->nodes[i].creation.running && !w->nodes[i].dead && count < 64 &&
            version_of(w, i) == all[count - 1].number)
            make_next(tm_node_directory(&w->nodes[i].node), &all[count++]);
        for (unsigned n = (unsigned)tm_rng_below(&w->rng, 8); n > 0 && w->letters > 0; n--)
            deliver_one(w);
        for (unsigned k = 0; k < w->count; k++)
            if (w->nodes[k].up && !w->nodes[k].dead && had[k] != 0)
                CU_ASSERT(version_of(w, k) >= had[k]);
        revive(w);
        if (chance(w, 30))
            run(w, 1);
    }
    for (unsigned i = 0; i < w->count; i++)
        w->nodes[i].budget = -1;
    w->overtake = w->twice = 0;
    run(w, 5);
    commit_at(w, 0, &all[count - 1]);
    run(w, 120);
    CU_ASSERT(count > 3);
    expect_version(w, all[count - 1].number);
    for (unsigned i = 0; i < w->count; i++)
        CU_ASSERT(
            same_bytes(tm_node_directory(&w->nodes[i].node), tm_node_directory(&w->nodes[0].node)));
    world_end(w);
}

static void random_histories_end_with_the_newest_everywhere(void)
{
    uint64_t seed = tm_test_seed();
    for (uint64_t i = 0; i < 200 && CU_get_number_of_failures() == 0; i++) {
        history(seed + i);
        if (CU_get_number_of_failures() != 0)
            printf("  history %" PRIu64 "\n", i);
    }
}

static const struct tm_test tests[] = {
    TM_TEST(a_new_version_reaches_every_node_and_its_disk),
    TM_TEST(a_node_starts_with_the_version_it_had),
    TM_TEST(a_node_that_was_down_gets_what_it_missed),
    TM_TEST(a_node_that_comes_back_brings_what_the_others_missed),
    TM_TEST(a_wiped_node_joins_with_the_newest),
    TM_TEST(a_wiped_node_that_was_given_an_older_one_gets_the_newest),
    TM_TEST(only_a_newer_one_of_the_same_cluster_is_taken),
    TM_TEST(a_version_waits_for_workers_that_have_not_taken_the_last),
    TM_TEST(a_copy_that_could_not_be_stored_is_stored_later),
    TM_TEST(power_may_go_at_any_step_of_storing_a_version),
    TM_TEST(random_histories_end_with_the_newest_everywhere),
};

TM_TEST_MAIN("actors/exchange", tests)
