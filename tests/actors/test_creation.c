/* Several nodes in one test, each with a disk in memory that can lose power at any of its
 * operations, and a wire that can lose, double and reorder messages.  A node is restarted from what
 * its disk holds. */
#include "actors/creation.h"
#include "actors/node.h"
#include "runtime/counters.h"
#include "runtime/rng.h"
#include "tests/sim/sim_disk.h"
#include "tests/test.h"

#define NODES_MAX 5
#define WIRE_MAX  4096

struct world;

struct node {
    struct world *world;
    unsigned number;
    struct tm_sim_disk *sd;
    struct tm_disk gate; /* passes operations on to sd until the budget is over */
    int64_t budget;      /* disk operations until the power goes; negative: it stays */
    bool up, dead;       /* dead: the power went, within a call */
    const char *names[NODES_MAX];
    struct tm_ctx ctx;
    struct tm_node node;
    struct tm_datadir_identity identity;
    struct tm_creation creation;
    unsigned runs, errors;
    char said[128];
    struct tm_directory ran; /* at its last run */
    bool has_run;            /* since it was wiped last */
};

struct letter {
    unsigned from, to;
    struct tm_message_head head;
    uint8_t *body;
    size_t len;
};

struct world {
    struct node nodes[NODES_MAX];
    unsigned count;
    struct letter wire[WIRE_MAX];
    unsigned letters;
    uint64_t now, seed;
    struct tm_rng rng;
    unsigned lose, twice, overtake; /* percent */
    unsigned sent;
};

static const char *const NAMES[NODES_MAX] = {"a", "b", "c", "d", "e"};

static bool chance(struct world *w, unsigned percent)
{
    return percent > 0 && tm_rng_below(&w->rng, 100) < percent;
}

/* ---- a node's world ---- */

static uint64_t node_now(void *host)
{
    return ((struct node *)host)->world->now;
}

static uint64_t node_random(void *host)
{
    return tm_rng_next(&((struct node *)host)->world->rng);
}

static void node_log(void *host, enum tm_log_level level, const char *event, const char *fmt, ...)
    TM_PRINTF(4, 5);

static void node_log(void *host, enum tm_log_level level, const char *event, const char *fmt, ...)
{
    struct node *n = host;
    (void)fmt;
    if (level != TM_LOG_ERROR)
        return;
    n->errors++;
    snprintf(n->said, sizeof n->said, "%s", event);
}

/* The last operation may have happened or not. */
static int64_t gate_run(struct tm_disk *disk, struct tm_disk_op *op)
{
    struct node *n = disk->host;
    struct tm_disk *real = tm_sim_disk_table(n->sd);
    if (n->dead)
        return -5;
    if (n->budget == 0) {
        n->dead = true;
        if (chance(n->world, 50))
            real->run(real, op);
        return -5;
    }
    if (n->budget > 0)
        n->budget--;
    return real->run(real, op);
}

static int64_t gate_list(struct tm_disk *disk, const char *folder,
                         void (*visit)(void *arg, const char *name), void *arg)
{
    struct tm_disk *real = tm_sim_disk_table(((struct node *)disk->host)->sd);
    return real->list(real, folder, visit, arg);
}

static bool node_send(void *host, unsigned to, struct tm_message_head head, struct tm_bytes body)
{
    struct node *n = host;
    struct world *w = n->world;
    if (n->dead || to >= w->count || chance(w, w->lose))
        return !n->dead;
    for (unsigned copies = chance(w, w->twice) ? 2 : 1; copies > 0; copies--) {
        TM_ASSERT(w->letters < WIRE_MAX);
        struct letter *l = &w->wire[w->letters++];
        *l = (struct letter){.from = n->number, .to = to, .head = head, .len = body.len};
        l->head.node = (uint8_t)n->number;
        l->body = malloc(body.len + 1);
        TM_ASSERT(l->body != NULL);
        memcpy(l->body, body.data, body.len);
        w->sent++;
    }
    return true;
}

static void node_run(void *host, struct tm_directory *directory)
{
    struct node *n = host;
    if (n->dead) { /* the power went before it could be told */
        free(directory);
        return;
    }
    n->runs++;
    n->ran = *directory;
    n->has_run = true;
    CU_ASSERT_EQUAL(tm_node_run(&n->node, directory), TM_OK);
}

/* ---- life of a node ---- */

static void end_process(struct node *n)
{
    if (!n->up)
        return;
    tm_creation_end(&n->creation);
    tm_node_free(&n->node);
    n->up = false;
    n->dead = false;
}

static void announce(struct world *w, unsigned of)
{
    for (unsigned i = 0; i < w->count; i++) {
        if (i == of || !w->nodes[i].up || w->nodes[i].dead || w->nodes[of].dead)
            continue;
        tm_creation_peer_up(&w->nodes[of].creation, i);
        tm_creation_peer_up(&w->nodes[i].creation, of);
    }
}

static void start(struct world *w, unsigned i)
{
    struct node *n = &w->nodes[i];
    struct tm_datadir_error error;
    TM_ASSERT(!n->up);
    n->node = (struct tm_node){.self = i, .workers = 1};
    n->node.spec = (struct tm_directory_spec){
        .cluster = "x", .names = n->names, .count = w->count, .partitions = 8, .copies = 1};
    n->node.spec.copies = w->count >= 3 ? 3 : 1;
    n->gate = (struct tm_disk){.host = n, .run = gate_run, .list = gate_list};
    n->ctx = (struct tm_ctx){.host = n,
                             .now_ns = node_now,
                             .wall_ms = node_now,
                             .random = node_random,
                             .log = node_log,
                             .disk = &n->gate};
    enum tm_err e = tm_datadir_read(&n->gate, &n->identity, &error);
    if (e == TM_ERR_NOTFOUND)
        e = tm_datadir_format(&n->ctx, "x", n->names[i], &n->identity, &error);
    n->runs = 0;
    n->up = true;
    if (n->dead)
        return;
    CU_ASSERT_EQUAL_FATAL(e, TM_OK);
    struct tm_creation_ops ops = {.host = n, .send = node_send, .run = node_run};
    e = tm_creation_start(&n->creation, &n->ctx, &n->node, &n->identity, &ops);
    if (!n->dead)
        CU_ASSERT_EQUAL_FATAL(e, TM_OK);
}

static void power_off(struct world *w, unsigned i, int keep)
{
    end_process(&w->nodes[i]);
    tm_sim_disk_crash(w->nodes[i].sd, keep);
    w->nodes[i].budget = -1;
    for (unsigned k = 0; k < w->letters;)
        if (w->wire[k].from == i || w->wire[k].to == i) {
            free(w->wire[k].body);
            w->wire[k] = w->wire[--w->letters];
        } else {
            k++;
        }
}

static void wipe(struct world *w, unsigned i)
{
    power_off(w, i, 0);
    tm_sim_disk_free(w->nodes[i].sd);
    w->nodes[i].sd = tm_sim_disk_new(++w->seed);
    w->nodes[i].has_run = false;
}

static void world_begin(struct world *w, unsigned count, uint64_t seed)
{
    memset(w, 0, sizeof *w);
    w->count = count;
    w->now = TM_SECONDS(1);
    w->seed = seed;
    tm_rng_seed(&w->rng, seed);
    for (unsigned i = 0; i < count; i++) {
        w->nodes[i].world = w;
        w->nodes[i].number = i;
        w->nodes[i].budget = -1;
        w->nodes[i].sd = tm_sim_disk_new(++w->seed);
        memcpy(w->nodes[i].names, NAMES, sizeof NAMES);
    }
}

static void world_end(struct world *w)
{
    for (unsigned i = 0; i < w->letters; i++)
        free(w->wire[i].body);
    for (unsigned i = 0; i < w->count; i++) {
        end_process(&w->nodes[i]);
        tm_sim_disk_free(w->nodes[i].sd);
    }
}

/* Brings back what lost its power. */
static void revive(struct world *w)
{
    for (unsigned i = 0; i < w->count; i++) {
        if (!w->nodes[i].up || !w->nodes[i].dead)
            continue;
        power_off(w, i, (int)tm_rng_below(&w->rng, 101));
        start(w, i);
        announce(w, i);
    }
}

static void deliver_one(struct world *w)
{
    unsigned k = chance(w, w->overtake) ? (unsigned)tm_rng_below(&w->rng, w->letters) : 0;
    struct letter l = w->wire[k];
    memmove(&w->wire[k], &w->wire[k + 1], (--w->letters - k) * sizeof l);
    struct node *to = &w->nodes[l.to];
    if (to->up && !to->dead)
        tm_creation_message(&to->creation, &l.head, tm_bytes_of(l.body, l.len));
    free(l.body);
}

/* Delivers everything, ticks; some rounds of 100 ms. */
static void run(struct world *w, unsigned rounds)
{
    while (rounds-- > 0) {
        for (unsigned n = 0; w->letters > 0 && n < 500; n++) {
            deliver_one(w);
            revive(w);
        }
        w->now += TM_MS(100);
        for (unsigned i = 0; i < w->count; i++)
            if (w->nodes[i].up && !w->nodes[i].dead)
                tm_creation_tick(&w->nodes[i].creation);
        revive(w);
    }
}

static void start_all(struct world *w)
{
    for (unsigned i = 0; i < w->count; i++)
        if (!w->nodes[i].up) {
            start(w, i);
            announce(w, i);
        }
    revive(w);
}

static bool same_bytes(const struct tm_directory *a, const struct tm_directory *b)
{
    static uint8_t x[1 << 16], y[1 << 16];
    size_t len = tm_directory_size(a);
    TM_ASSERT(len <= sizeof x);
    if (tm_directory_size(b) != len)
        return false;
    tm_directory_encode(a, x);
    tm_directory_encode(b, y);
    return memcmp(x, y, len) == 0;
}

/* All that ever ran, ran the same cluster. */
static void expect_one_cluster(const struct world *w)
{
    const struct node *first = NULL;
    for (unsigned i = 0; i < w->count; i++) {
        const struct node *n = &w->nodes[i];
        if (!n->has_run)
            continue;
        if (first == NULL)
            first = n;
        CU_ASSERT(same_bytes(&n->ran, &first->ran));
        CU_ASSERT(n->runs <= 1);
    }
}

static void expect_all_run(const struct world *w)
{
    for (unsigned i = 0; i < w->count; i++) {
        CU_ASSERT_TRUE(w->nodes[i].creation.running);
        CU_ASSERT_EQUAL(w->nodes[i].runs, 1);
        CU_ASSERT_TRUE(w->nodes[i].identity.created);
        CU_ASSERT_EQUAL(memcmp(w->nodes[i].identity.cluster_uuid, w->nodes[0].ran.uuid, 16), 0);
    }
    expect_one_cluster(w);
}

/* ---- tests ---- */

static struct world world;

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
        run(w, 50);
        for (unsigned i = 0; i < 3; i++)
            CU_ASSERT_FALSE(w->nodes[i].has_run);
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

/* Delivers what is on its way from one node to another, and nothing else. */
static void pass(struct world *w, unsigned from, unsigned to)
{
    for (unsigned k = 0; k < w->letters;) {
        struct letter l = w->wire[k];
        if (l.from != from || l.to != to) {
            k++;
            continue;
        }
        memmove(&w->wire[k], &w->wire[k + 1], (--w->letters - k) * sizeof l);
        tm_creation_message(&w->nodes[to].creation, &l.head, tm_bytes_of(l.body, l.len));
        free(l.body);
    }
}

static void come_back_wiped(struct world *w, unsigned i)
{
    wipe(w, i);
    start(w, i);
    announce(w, i);
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
    CU_ASSERT_TRUE(tm_sim_disk_flip(n->sd, TM_DIRECTORY_FILE, 120, 3));
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
