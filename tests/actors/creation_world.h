/* creation_world.h: several nodes in one test, each with a disk in memory that can lose power at
 * any of its operations, and a wire that can lose, double and reorder messages.  A node is
 * restarted from what its disk holds.  For test_creation.c and test_exchange.c. */
#ifndef TM_TESTS_ACTORS_CREATION_WORLD_H
#define TM_TESTS_ACTORS_CREATION_WORLD_H

#include "actors/creation.h"
#include "actors/node.h"
#include "runtime/counters.h"
#include "runtime/rng.h"
#include "tests/sim/sim_disk.h"
#include "tests/test.h"

#include <stdarg.h>

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
    char warned[512];        /* what stands behind the name of the last warning */
    struct tm_directory ran; /* at its last run */
    bool has_run;            /* since it was wiped last */
    bool takes;              /* its worker has turns in which it takes the newest directory */
    unsigned changes;        /* of the directory, in this life of the process */
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
    if (level == TM_LOG_WARN) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(n->warned, sizeof n->warned, fmt, ap);
        va_end(ap);
    }
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

static void gate_submit(struct tm_disk *disk, struct tm_disk_op *op)
{
    struct node *n = disk->host;
    struct tm_disk *real = tm_sim_disk_table(n->sd);
    if (n->budget == 0)
        n->dead = true;
    if (n->dead)
        return; /* never done */
    if (n->budget > 0)
        n->budget--;
    real->submit(real, op);
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

static void node_changed(void *host, const struct tm_directory *directory)
{
    struct node *n = host;
    n->changes++;
    CU_ASSERT(directory == tm_node_directory(&n->node));
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
    n->gate =
        (struct tm_disk){.host = n, .submit = gate_submit, .run = gate_run, .list = gate_list};
    n->ctx = (struct tm_ctx){.host = n,
                             .now_ns = node_now,
                             .wall_ms = node_now,
                             .random = node_random,
                             .log = node_log,
                             .disk = &n->gate};
    enum tm_err e = tm_datadir_read(&n->gate, &n->identity, &error);
    if (e == TM_ERR_NOTFOUND)
        e = tm_datadir_format(&n->ctx, "x", n->names[i], &n->identity, &error);
    n->runs = n->changes = 0;
    n->takes = true;
    n->up = true;
    if (n->dead)
        return;
    CU_ASSERT_EQUAL_FATAL(e, TM_OK);
    struct tm_creation_ops ops = {
        .host = n, .send = node_send, .run = node_run, .changed = node_changed};
    e = tm_creation_start(&n->creation, &n->ctx, &n->node, &n->identity, &ops);
    if (!n->dead)
        CU_ASSERT_EQUAL_FATAL(e, TM_OK);
}

static void power_off(struct world *w, unsigned i, int keep)
{
    tm_sim_disk_crash(w->nodes[i].sd, keep);
    end_process(&w->nodes[i]);
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
        tm_sim_disk_kill(w->nodes[i].sd);
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

/* A turn of the node's worker: what it goes by is the newest; its disk has time. */
static void turn(struct node *n)
{
    if (atomic_load(&n->node.running) && n->takes)
        tm_node_take(&n->node, 0);
    tm_creation_tick(&n->creation);
    tm_sim_disk_drain(n->sd);
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
                turn(&w->nodes[i]);
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

/* One for a test at a time. */
static struct world world;

#endif
