/* How clusters come into being, and how nodes join them. */
#include "tests/actors/creation_world.h"

static void a_cluster_of_any_size_comes_into_being(void)
{
    for (unsigned count = 1; count <= NODES_MAX; count++) {
        struct world *w = &world;
        world_begin(w, count, count);
        start_all(w);
        run(w, 1);
        expect_all_run(w);
        for (unsigned i = 0; i < count; i++) {
            CU_ASSERT_EQUAL(w->nodes[0].ran.nodes[i].disk_id, w->nodes[i].identity.disk_id);
            CU_ASSERT_EQUAL(w->nodes[i].identity.partitions, 8);
        }
        CU_ASSERT_EQUAL(w->nodes[0].ran.version, 1);
        world_end(w);
    }
}

static void nothing_is_created_while_a_node_is_missing(void)
{
    for (unsigned missing = 0; missing < 3; missing++) {
        struct world *w = &world;
        world_begin(w, 3, 7 + missing);
        for (unsigned i = 0; i < 3; i++)
            if (i != missing) {
                start(w, i);
                announce(w, i);
            }
        run(w, 45);
        for (unsigned i = 0; i < 3; i++)
            CU_ASSERT_STRING_EQUAL(w->nodes[i].warned, "");
        run(w, 10);
        char unheard[32];
        snprintf(unheard, sizeof unheard, "unheard=\"%s\"", NAMES[missing]);
        for (unsigned i = 0; i < 3; i++) {
            CU_ASSERT_FALSE(w->nodes[i].has_run);
            CU_ASSERT(i == missing || strncmp(w->nodes[i].warned, unheard, strlen(unheard)) == 0);
        }
        start(w, missing);
        run(w, 5); /* STATE by the tick alone */
        expect_all_run(w);
        world_end(w);
    }
}

static void a_created_cluster_starts_without_asking_anybody(void)
{
    struct world *w = &world;
    world_begin(w, 3, 3);
    start_all(w);
    run(w, 1);
    for (unsigned i = 0; i < 3; i++)
        power_off(w, i, 0);
    unsigned sent = w->sent;
    for (unsigned i = 0; i < 3; i++) {
        start(w, i);
        CU_ASSERT_EQUAL(w->nodes[i].runs, 1);
        CU_ASSERT_EQUAL(tm_creation_next_deadline(&w->nodes[i].creation), UINT64_MAX);
    }
    CU_ASSERT_EQUAL(w->sent, sent);
    expect_all_run(w);
    world_end(w);
}

/* How many disk operations creation takes at this node: from the start of the process on. */
static unsigned operations(unsigned node)
{
    struct world *w = &world;
    world_begin(w, 3, 1);
    w->nodes[node].budget = 1000;
    start_all(w);
    run(w, 1);
    unsigned used = (unsigned)(1000 - w->nodes[node].budget);
    world_end(w);
    return used;
}

static void power_may_go_at_any_moment_of_creation(void)
{
    for (unsigned node = 0; node < 3; node++) {
        unsigned last = operations(node);
        CU_ASSERT(last > 10);
        for (unsigned at = 0; at < last; at++)
            for (unsigned luck = 0; luck < 6; luck++) {
                struct world *w = &world;
                world_begin(w, 3, 100 * at + luck);
                w->nodes[node].budget = at;
                start_all(w);
                revive(w);
                run(w, 12);
                expect_all_run(w);
                if (w->nodes[0].runs == 0)
                    printf("  node %u operation %u luck %u\n", node, at, luck);
                world_end(w);
            }
    }
}

static void a_node_wiped_during_creation_changes_the_directory(void)
{
    struct world *w = &world;
    world_begin(w, 3, 5);
    start(w, 0);
    start(w, 1);
    start(w, 2);
    announce(w, 0);
    announce(w, 1);
    while (!w->nodes[1].creation.have_directory) /* 1 stored the first version */
        deliver_one(w);
    wipe(w, 2);
    /* What 1 answers is on its way while 2 comes back as another disk. */
    start(w, 2);
    announce(w, 2);
    run(w, 10);
    expect_all_run(w);
    CU_ASSERT_EQUAL(w->nodes[0].ran.version, 2);
    CU_ASSERT_EQUAL(w->nodes[1].ran.nodes[2].disk_id, w->nodes[2].identity.disk_id);
    world_end(w);
}

static void created_counts_for_its_version_only(void)
{
    struct world *w = &world;
    world_begin(w, 3, 6);
    start_all(w);
    struct letter held = {0};
    while (held.body == NULL) { /* node 1's CREATED of version 1 is late */
        CU_ASSERT_FATAL(w->letters > 0);
        if (w->wire[0].head.type == TM_MESSAGE_CREATED && w->wire[0].from == 1) {
            held = w->wire[0];
            memmove(&w->wire[0], &w->wire[1], --w->letters * sizeof held);
        } else {
            deliver_one(w);
        }
    }
    wipe(w, 2);
    start(w, 2);
    announce(w, 2);
    for (unsigned n = 0; n < 100 && w->letters > 0; n++) {
        if (w->wire[0].from == 0 && w->wire[0].to == 1) { /* 1 never hears of version 2 */
            free(w->wire[0].body);
            memmove(&w->wire[0], &w->wire[1], --w->letters * sizeof held);
        } else {
            deliver_one(w);
        }
    }
    CU_ASSERT_EQUAL(w->nodes[0].creation.directory->version, 2);
    tm_creation_message(&w->nodes[0].creation, &held.head, tm_bytes_of(held.body, held.len));
    free(held.body);
    CU_ASSERT_FALSE(w->nodes[0].has_run);
    run(w, 10);
    expect_all_run(w);
    world_end(w);
}

static void a_wiped_node_joins_with_its_new_disk(void)
{
    for (unsigned node = 0; node < 3; node++) { /* also the founder */
        for (unsigned others = 0; others < 3; others++) {
            struct world *w = &world;
            world_begin(w, 3, 10 + node);
            start_all(w);
            run(w, 1);
            struct tm_directory before = w->nodes[0].ran;
            uint64_t disk = w->nodes[node].identity.disk_id;
            wipe(w, node);
            if (others == 1) /* all others are down when it comes, and come then */
                for (unsigned i = 0; i < 3; i++)
                    if (i != node)
                        power_off(w, i, 100);
            start(w, node);
            if (others == 1)
                start_all(w);
            if (others == 2) /* only ticks tell */
                run(w, 5);
            announce(w, node);
            run(w, 5);
            expect_all_run(w);
            CU_ASSERT(same_bytes(&before, &w->nodes[node].ran));
            CU_ASSERT_NOT_EQUAL(w->nodes[node].identity.disk_id, disk);
            power_off(w, node, 0);
            start(w, node);
            expect_all_run(w);
            world_end(w);
        }
    }
}

static void a_founder_wiped_during_creation_is_reported_and_nothing_runs(void)
{
    struct world *w = &world;
    world_begin(w, 3, 8);
    start_all(w);
    while (!w->nodes[1].creation.have_directory)
        deliver_one(w);
    wipe(w, 0);
    start(w, 0);
    announce(w, 0);
    run(w, 20);
    for (unsigned i = 0; i < 3; i++)
        CU_ASSERT_FALSE(w->nodes[i].has_run);
    CU_ASSERT_EQUAL(w->nodes[0].errors, 1); /* said once */
    CU_ASSERT_STRING_EQUAL(w->nodes[0].said, "creation_interrupted");
    /* The operator does as told, without touching the founder's process. */
    for (unsigned i = 1; i < 3; i++) {
        wipe(w, i);
        start(w, i);
        announce(w, i);
    }
    run(w, 5);
    expect_all_run(w);
    world_end(w);
}

/* The founder hears of each of the others at a time when that one is wiped, and so begins another
 * creation while the cluster exists.  It is not completed, and gives way. */
static void a_creation_begun_beside_a_cluster_gives_way_to_it(void)
{
    struct world *w = &world;
    world_begin(w, 3, 11);
    start_all(w);
    run(w, 1);
    struct tm_directory before = w->nodes[0].ran;
    come_back_wiped(w, 0);
    come_back_wiped(w, 2);
    pass(w, 2, 0);
    pass(w, 2, 1);
    pass(w, 1, 2); /* the directory: 2 runs again */
    CU_ASSERT_TRUE_FATAL(w->nodes[2].has_run);
    come_back_wiped(w, 1);
    pass(w, 1, 0);
    CU_ASSERT_TRUE_FATAL(w->nodes[0].creation.have_directory);
    CU_ASSERT_EQUAL(w->nodes[0].creation.heard, 6);
    pass(w, 0, 1); /* CREATE: 1 is bound */
    CU_ASSERT_TRUE_FATAL(w->nodes[1].creation.have_directory);
    power_off(w, 0, 100);
    run(w, 5);
    CU_ASSERT_FALSE(w->nodes[1].has_run); /* the founder might complete it, for all that 1 knows */
    CU_ASSERT_STRING_EQUAL(w->nodes[1].said, "waits_for_first_node");
    start_all(w);
    run(w, 10);
    expect_all_run(w);
    CU_ASSERT(same_bytes(&before, &w->nodes[0].ran));
    world_end(w);
}

/* 1 stored the proposal, went down, and might come back as another. */
static void what_a_node_said_counts_while_it_is_there(void)
{
    struct world *w = &world;
    world_begin(w, 3, 12);
    start_all(w);
    pass(w, 1, 0);
    pass(w, 2, 0);
    pass(w, 0, 1);
    pass(w, 1, 0);
    CU_ASSERT_EQUAL(w->nodes[0].creation.created, 3);
    tm_creation_peer_down(&w->nodes[0].creation, 1);
    pass(w, 0, 2);
    pass(w, 2, 0);
    CU_ASSERT_EQUAL(w->nodes[0].creation.created, 5);
    CU_ASSERT_FALSE(w->nodes[0].has_run);
    tm_creation_peer_up(&w->nodes[0].creation, 1);
    tm_creation_peer_up(&w->nodes[1].creation, 0);
    run(w, 5);
    expect_all_run(w);
    world_end(w);
}

/* What it would be told to do is wrong while somebody runs. */
static void a_founder_wiped_beside_a_running_node_asks_for_no_operator(void)
{
    struct world *w = &world;
    world_begin(w, 3, 13);
    start_all(w);
    while (!w->nodes[0].has_run)
        deliver_one(w);
    pass(w, 0, 1); /* START; 2 never gets it */
    CU_ASSERT_TRUE_FATAL(w->nodes[1].has_run && !w->nodes[2].has_run);
    come_back_wiped(w, 0);
    pass(w, 2, 0);
    CU_ASSERT_EQUAL(w->nodes[0].creation.broken, 4);
    run(w, 10);
    expect_all_run(w);
    CU_ASSERT_EQUAL(w->nodes[0].errors, 0);
    world_end(w);
}

/* Power goes between the two files that joining writes. */
static void a_node_that_dies_while_it_joins_joins_later(void)
{
    for (unsigned node = 0; node < 2; node++)
        for (unsigned at = 0; at < 40; at++) {
            struct world *w = &world;
            world_begin(w, 3, 300 + at);
            start_all(w);
            run(w, 1);
            wipe(w, node);
            w->nodes[node].budget = at;
            start(w, node);
            announce(w, node);
            run(w, 10);
            expect_all_run(w);
            world_end(w);
        }
}

/* Makes a cluster of its own, then lends its disks. */
static void make_other(struct world *w, unsigned count, uint64_t seed)
{
    world_begin(w, count, seed);
    start_all(w);
    run(w, 1);
    expect_all_run(w);
    for (unsigned i = 0; i < count; i++)
        power_off(w, i, 0);
}

static void swap_disks(struct node *a, struct node *b)
{
    struct tm_sim_disk *sd = a->sd;
    a->sd = b->sd;
    b->sd = sd;
}

static void two_clusters_of_one_name_do_not_mix(void)
{
    static struct world other;
    struct world *w = &world;
    make_other(&other, 3, 50);
    make_other(w, 3, 60);
    swap_disks(&w->nodes[2], &other.nodes[2]);
    start_all(w);
    run(w, 10);
    CU_ASSERT(same_bytes(&w->nodes[0].ran, &w->nodes[1].ran));
    CU_ASSERT_FALSE(same_bytes(&w->nodes[0].ran, &w->nodes[2].ran)); /* it stays what it is */
    CU_ASSERT(w->nodes[0].errors > 0);
    CU_ASSERT_STRING_EQUAL(w->nodes[0].said, "foreign_node");
    world_end(w);
    world_end(&other);
}

static void an_unformatted_founder_does_not_found_beside_a_running_cluster(void)
{
    struct world *w = &world;
    make_other(w, 2, 70);
    start(w, 1);
    wipe(w, 0);
    start(w, 0);
    /* The running node's STATE arrives first, before its directory. */
    tm_creation_peer_up(&w->nodes[1].creation, 0);
    run(w, 1);
    CU_ASSERT(!w->nodes[0].has_run || same_bytes(&w->nodes[0].ran, &w->nodes[1].ran));
    run(w, 5);
    expect_all_run(w);
    world_end(w);
}

static void a_node_with_another_order_of_names_is_not_made_part(void)
{
    struct world *w = &world;
    world_begin(w, 3, 80);
    w->nodes[2].names[1] = NAMES[2]; /* it is "b" by its own file: a, c, b */
    w->nodes[2].names[2] = NAMES[1];
    start_all(w);
    run(w, 20);
    CU_ASSERT_FALSE(w->nodes[2].has_run);
    CU_ASSERT_FALSE(w->nodes[0].has_run); /* it lacks the third */
    world_end(w);
}

static void a_file_edited_during_creation_is_what_gets_created(void)
{
    struct world *w = &world;
    world_begin(w, 3, 90);
    start_all(w);
    while (!w->nodes[1].creation.have_directory)
        deliver_one(w);
    uint8_t uuid[16];
    memcpy(uuid, w->nodes[0].creation.directory->uuid, 16);
    for (unsigned i = 0; i < 3; i++)
        power_off(w, i, 0);
    struct tm_sim_disk *left_out = w->nodes[2].sd;
    w->count = 2;
    start_all(w);
    run(w, 5);
    expect_all_run(w);
    CU_ASSERT_EQUAL(w->nodes[1].ran.members, 2);
    CU_ASSERT_EQUAL(memcmp(uuid, w->nodes[0].ran.uuid, 16), 0);
    world_end(w);
    tm_sim_disk_free(left_out);
}

static void a_damaged_directory_is_reported(void)
{
    struct world *w = &world;
    make_other(w, 1, 95);
    struct node *n = &w->nodes[0];
    uint64_t size = 0;
    (void)tm_sim_disk_data(n->sd, TM_DIRECTORY_FILE, &size);
    CU_ASSERT_TRUE(tm_sim_disk_flip(n->sd, TM_DIRECTORY_FILE, 120, 3)); /* both copies */
    CU_ASSERT_TRUE(tm_sim_disk_flip(n->sd, TM_DIRECTORY_FILE, size / 2 + 120, 3));
    struct tm_datadir_error error;
    CU_ASSERT_EQUAL_FATAL(tm_datadir_read(&n->gate, &n->identity, &error), TM_OK);
    struct tm_creation_ops ops = {.host = n, .send = node_send, .run = node_run};
    n->node = (struct tm_node){.workers = 1, .spec = n->node.spec};
    CU_ASSERT_EQUAL(tm_creation_start(&n->creation, &n->ctx, &n->node, &n->identity, &ops),
                    TM_ERR_CORRUPT);
    tm_creation_end(&n->creation);
    world_end(w);
}

static void messages_from_outside_are_checked(void)
{
    struct world *w = &world;
    uint8_t junk[512];
    world_begin(w, 3, 99);
    start_all(w);
    for (unsigned i = 0; i < 20000; i++) {
        size_t len = tm_rng_below(&w->rng, sizeof junk);
        for (size_t k = 0; k < len; k++)
            junk[k] = (uint8_t)tm_rng_next(&w->rng);
        struct tm_message_head head = {.type = (uint16_t)tm_rng_below(&w->rng, 8),
                                       .node = (uint8_t)tm_rng_below(&w->rng, 256),
                                       .arg = tm_rng_below(&w->rng, 4)};
        tm_creation_message(&w->nodes[i % 3].creation, &head,
                            tm_bytes_of(junk, i % 4 == 0 ? 16 : len));
        while (w->letters > WIRE_MAX / 2)
            free(w->wire[--w->letters].body);
    }
    for (unsigned i = 0; i < 3; i++)
        CU_ASSERT_FALSE(w->nodes[i].has_run);
    world_end(w);
}

/* One random history; what is done to the nodes stops after a while. */
static void history(uint64_t seed)
{
    /* Of a cluster that runs, somebody who knows it stays whole; before that, the founder. */
    struct world *w = &world;
    world_begin(w, 2 + (unsigned)(seed % 4), seed);
    w->lose = (unsigned)tm_rng_below(&w->rng, 40);
    w->twice = (unsigned)tm_rng_below(&w->rng, 30);
    w->overtake = (unsigned)tm_rng_below(&w->rng, 60);
    unsigned wipes = (unsigned)tm_rng_below(&w->rng, 60);
    start_all(w);
    revive(w);
    for (unsigned step = 0; step < 60; step++) {
        unsigned i = (unsigned)tm_rng_below(&w->rng, w->count);
        bool anybody = false;
        for (unsigned k = 0; k < w->count; k++)
            anybody |= k != i && w->nodes[k].has_run;
        if (chance(w, 15))
            w->nodes[i].budget = (int64_t)tm_rng_below(&w->rng, 12);
        else if (chance(w, wipes) && (anybody || (i != 0 && !w->nodes[i].has_run)))
            come_back_wiped(w, i);
        else if (chance(w, 10)) {
            power_off(w, i, 50);
            start(w, i);
            announce(w, i);
        }
        for (unsigned n = (unsigned)tm_rng_below(&w->rng, 12); n > 0 && w->letters > 0; n--)
            deliver_one(w);
        revive(w);
        if (chance(w, 30))
            run(w, 1);
        expect_one_cluster(w);
    }
    for (unsigned i = 0; i < w->count; i++)
        w->nodes[i].budget = -1;
    w->lose = w->twice = w->overtake = 0;
    run(w, 20);
    expect_all_run(w);
    world_end(w);
}

static void random_histories_end_in_one_cluster(void)
{
    uint64_t seed = tm_test_seed();
    for (uint64_t i = 0; i < 300 && CU_get_number_of_failures() == 0; i++) {
        history(seed + i);
        if (CU_get_number_of_failures() != 0)
            printf("  history %" PRIu64 "\n", i);
    }
}

static const struct tm_test tests[] = {
    TM_TEST(a_cluster_of_any_size_comes_into_being),
    TM_TEST(nothing_is_created_while_a_node_is_missing),
    TM_TEST(a_created_cluster_starts_without_asking_anybody),
    TM_TEST(power_may_go_at_any_moment_of_creation),
    TM_TEST(a_node_wiped_during_creation_changes_the_directory),
    TM_TEST(created_counts_for_its_version_only),
    TM_TEST(a_wiped_node_joins_with_its_new_disk),
    TM_TEST(a_founder_wiped_during_creation_is_reported_and_nothing_runs),
    TM_TEST(a_creation_begun_beside_a_cluster_gives_way_to_it),
    TM_TEST(what_a_node_said_counts_while_it_is_there),
    TM_TEST(a_founder_wiped_beside_a_running_node_asks_for_no_operator),
    TM_TEST(a_node_that_dies_while_it_joins_joins_later),
    TM_TEST(two_clusters_of_one_name_do_not_mix),
    TM_TEST(an_unformatted_founder_does_not_found_beside_a_running_cluster),
    TM_TEST(a_node_with_another_order_of_names_is_not_made_part),
    TM_TEST(a_file_edited_during_creation_is_what_gets_created),
    TM_TEST(a_damaged_directory_is_reported),
    TM_TEST(messages_from_outside_are_checked),
    TM_TEST(random_histories_end_in_one_cluster),
};

TM_TEST_MAIN("actors/creation", tests)
