/* The faults' driver may take away only what the atlas spares: also after the end of the faults,
 * when some nodes stay dead and others still have to be restarted.  What waits for its moment meets
 * it. */
#include "tests/sim/sim_faults_internal.h"
#include "tests/sim/settle.h"

#include <errno.h>

static struct tm_sim *started(const struct tm_sim_config *c)
{
    struct tm_sim *sim = tm_sim_new(c);
    start_all(sim);
    CU_ASSERT_TRUE_FATAL(tm_sim_run_until(sim, whole, sim, TM_SECONDS(30)));
    return sim;
}

/* Three nodes, which is the default. */
static void draw_config(struct tm_sim_config *c, unsigned copies)
{
    uint64_t seed = tm_test_seed();
    fflush(stdout); /* an assertion of the product ends the process */
    tm_sim_config_default(c, seed);
    c->partitions = 2;
    c->copies = copies;
}

/* Of three copies in memory one stays dead: what another has in memory is needed now. */
static void a_dead_node_counts_as_one_that_forgot(void)
{
    struct tm_sim_config c;
    draw_config(&c, 3);
    c.options.durability = TM_DURABILITY_MEMORY;
    struct tm_sim *sim = started(&c);
    struct tm_sim_faults_config config = {.memory = true, .haste = 1};
    struct tm_sim_faults *f = NULL;
    uint32_t up = 7;
    for (config.seed = 1; up == 7; config.seed++) { /* it may leave all alive */
        if (f != NULL)
            tm_sim_faults_free(f);
        f = tm_sim_faults_new(sim, &config);
        tm_sim_faults_review(f);
        for (unsigned i = 0; i < f->nodes; i++)
            CU_ASSERT_TRUE(tm_sim_atlas_may(&f->atlas, 1u << i));
        tm_sim_faults_heal(f);
        up = 0;
        for (unsigned i = 0; i < f->nodes; i++)
            up |= (uint32_t)tm_sim_is_up(sim, i) << i;
    }
    CU_ASSERT_EQUAL(__builtin_popcount(up), 2);
    tm_sim_faults_run(f, TM_SECONDS(2));
    for (unsigned i = 0; i < f->nodes; i++)
        if ((up >> i & 1) != 0) {
            CU_ASSERT_FALSE(tm_sim_atlas_may(&f->atlas, 1u << i));
            f->absence[i].scrub_at = tm_sim_now(sim); /* to be restarted as soon as that may be */
        }
    tm_sim_faults_run(f, TM_MS(1));
    for (unsigned i = 0; i < f->nodes; i++)
        CU_ASSERT_EQUAL(tm_sim_is_up(sim, i), (up >> i & 1) != 0);
    tm_sim_faults_free(f);
    tm_sim_free(sim);
}

/* Who goes on alone dies in the moment in which it has committed, and comes back; so does the copy
 * that it was without. */
static void an_ambush_takes_a_leader_that_has_just_committed_alone(void)
{
    static const struct tm_sim_load_config writes = {
        .clients = 4, .registers = 4, .counters = 2, .pause_ns = TM_MS(2), .value_bytes = 20};
    struct tm_sim_config c;
    draw_config(&c, 2);
    c.disk_max_ns = TM_MS(20);
    struct tm_sim *sim = started(&c);
    struct tm_sim_faults_config config = {.seed = 1, .haste = 1};
    config.rate[TM_SIM_FAULT_AMBUSH] =
        (struct tm_sim_fault_rate){.mean_ns = TM_MS(1), .most_ns = TM_SECONDS(10)};
    struct tm_sim_faults *f = tm_sim_faults_new(sim, &config);
    struct tm_sim_load *load = tm_sim_load_new(sim, &writes);
    tm_sim_faults_begin(f);
    for (unsigned i = 0; i < 30 && tm_sim_faults_fired(f)[TM_SIM_FAULT_AMBUSH] == 0; i++) {
        struct tm_sim_active away = {.until = tm_sim_now(sim) + TM_SECONDS(2)};
        CU_ASSERT_TRUE(tm_sim_end_nodes(f, 1u << i % c.nodes, TM_SIM_KILL, &away));
        tm_sim_faults_run(f, TM_SECONDS(4));
    }
    CU_ASSERT(tm_sim_faults_fired(f)[TM_SIM_FAULT_AMBUSH] > 0);
    tm_sim_faults_heal(f);
    tm_sim_faults_run(f, TM_SECONDS(10));
    CU_ASSERT_EQUAL(tm_sim_wrongs(sim), 0);
    CU_ASSERT_EQUAL(tm_sim_load_wrongs(load), 0);
    tm_sim_faults_free(f);
    tm_sim_load_free(load);
    tm_sim_free(sim);
}

/* Nodes that never run: who is cut off from whom is all that is asked. */
static struct tm_sim_faults *faults_of(unsigned nodes, struct tm_sim **sim)
{
    struct tm_sim_faults_config config = {.seed = nodes, .haste = 1};
    struct tm_sim_config c;
    draw_config(&c, nodes < 3 ? nodes : 3);
    c.nodes = nodes;
    *sim = tm_sim_new(&c);
    return tm_sim_faults_new(*sim, &config);
}

static void check_ring(const struct tm_sim_faults *f, const struct tm_sim_active *ring)
{
    uint32_t seen[TM_SIM_NODES_MAX] = {0};
    for (unsigned i = 0; i < f->nodes; i++) {
        for (unsigned k = 0; k < f->nodes; k++) {
            bool cut = tm_sim_fault_cuts(f, ring, i, k);
            CU_ASSERT_EQUAL(cut, tm_sim_fault_cuts(f, ring, k, i));
            seen[i] |= (uint32_t)!cut << k;
        }
        CU_ASSERT((unsigned)__builtin_popcount(seen[i]) > f->nodes / 2);
        CU_ASSERT(seen[i] != tm_sim_all_nodes(f));
        for (unsigned k = 0; k < i; k++)
            CU_ASSERT_NOT_EQUAL(seen[i], seen[k]);
    }
}

static void in_a_ring_each_sees_a_majority_of_its_own(void)
{
    for (unsigned nodes = 4; nodes <= TM_SIM_NODES_MAX; nodes++) {
        struct tm_sim *sim;
        struct tm_sim_faults *f = faults_of(nodes, &sim);
        struct tm_sim_active ring = {.kind = TM_SIM_FAULT_RING};
        CU_ASSERT_TRUE(tm_sim_cut_acts.begin(f, &ring));
        check_ring(f, &ring);
        tm_sim_faults_free(f);
        tm_sim_free(sim);
    }
}

/* A bridge with nobody on one of its sides does not count. */
static void a_cut_that_happened_cuts_something(void)
{
    unsigned refused = 0;
    for (unsigned nodes = 1; nodes <= TM_SIM_NODES_MAX; nodes++) {
        struct tm_sim *sim;
        struct tm_sim_faults *f = faults_of(nodes, &sim);
        for (unsigned i = 0; i < 100; i++)
            for (enum tm_sim_fault kind = TM_SIM_FAULT_CUT_ONE_WAY; kind <= TM_SIM_FAULT_FLAP;
                 kind++) {
                struct tm_sim_active a = {.kind = kind};
                bool did = tm_sim_cut_acts.begin(f, &a);
                unsigned cut = 0;
                for (unsigned k = 0; k < nodes * nodes; k++)
                    cut += tm_sim_fault_cuts(f, &a, k / nodes, k % nodes);
                CU_ASSERT(!did || cut > 0);
                refused += nodes >= 3 && kind == TM_SIM_FAULT_BRIDGE && !did;
            }
        tm_sim_faults_free(f);
        tm_sim_free(sim);
    }
    CU_ASSERT(refused > 0);
}

/* How often of 100 the new name is there though the rename is said to have failed. */
static unsigned renamed_all_the_same(int errnum)
{
    struct tm_sim_disk *sd = tm_sim_disk_new(tm_test_seed());
    struct tm_disk *disk = tm_sim_disk_table(sd);
    unsigned renamed = 0;
    for (unsigned i = 0; i < 100; i++) {
        struct tm_disk_op open = {.kind = TM_DISK_OPEN, .name = "old", .flags = TM_DISK_CREATE},
                          rename = {.kind = TM_DISK_RENAME, .name = "old", .name2 = "new"};
        int64_t file = disk->run(disk, &open);
        CU_ASSERT_FATAL(file >= 0);
        struct tm_disk_op close = {.kind = TM_DISK_CLOSE, .file = (int32_t)file};
        CU_ASSERT_EQUAL(disk->run(disk, &close), 0);
        tm_sim_disk_fail(sd, TM_DISK_RENAME, errnum, 1);
        CU_ASSERT_EQUAL(disk->run(disk, &rename), -errnum);
        CU_ASSERT_NOT_EQUAL(tm_sim_disk_exists(sd, "old"), tm_sim_disk_exists(sd, "new"));
        renamed += tm_sim_disk_remove(sd, "new");
    }
    tm_sim_disk_free(sd);
    return renamed;
}

static void a_name_that_failed_to_change_may_have_changed(void)
{
    unsigned renamed = renamed_all_the_same(EIO);
    CU_ASSERT(renamed > 0 && renamed < 100);
    CU_ASSERT_EQUAL(renamed_all_the_same(ENOSPC), 0);
}

static void write_file(struct tm_sim_disk *sd, const char *name)
{
    static const uint8_t bytes[512] = {1};
    struct tm_disk *disk = tm_sim_disk_table(sd);
    int64_t file = tm_disk_run_open(disk, name, TM_DISK_CREATE);
    CU_ASSERT_FATAL(file >= 0);
    CU_ASSERT_EQUAL(tm_disk_run_write(disk, (int32_t)file, bytes, sizeof bytes, 0, 0),
                    (int64_t)sizeof bytes);
    tm_disk_run_close(disk, (int32_t)file);
}

/* A start does not read it, so that it says nothing of its being whole. */
static void rot_in_a_spare_leaves_its_node_in_doubt(void)
{
    struct tm_sim_config c;
    draw_config(&c, 3);
    struct tm_sim *sim = started(&c);
    struct tm_sim_disk *sd = tm_sim_disk_of(sim, 0);
    struct tm_sim_atlas atlas;
    tm_sim_atlas_init(&atlas, sim);
    tm_sim_atlas_review(&atlas);
    write_file(sd, "some.spare");
    tm_sim_atlas_damage(&atlas, 1);
    CU_ASSERT_TRUE(tm_sim_disk_flip(sd, "some.spare", 400, 3));
    for (unsigned i = 0; i < 2; i++) {
        tm_sim_atlas_started(&atlas, 0);
        tm_sim_atlas_review(&atlas);
        CU_ASSERT_EQUAL(tm_sim_disk_has_rot(sd, ".spare"), i == 0);
        CU_ASSERT_EQUAL(tm_sim_atlas_may(&atlas, 2), i == 1);
        write_file(sd, "some.spare");
    }
    tm_sim_free(sim);
}

static const struct tm_test tests[] = {
    TM_TEST(rot_in_a_spare_leaves_its_node_in_doubt),
    TM_TEST(a_name_that_failed_to_change_may_have_changed),
    TM_TEST(a_dead_node_counts_as_one_that_forgot),
    TM_TEST(an_ambush_takes_a_leader_that_has_just_committed_alone),
    TM_TEST(in_a_ring_each_sees_a_majority_of_its_own),
    TM_TEST(a_cut_that_happened_cuts_something),
};

TM_TEST_MAIN("sim/faults", tests)
