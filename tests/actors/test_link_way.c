/* Ways of three clusters over a simulated wire: "east" has nodes a (two workers) and b, "west" c
 * (two workers) and d, "far" e.  East and west are linked. */
#include "actors/link_way.h"
#include "runtime/counters.h"
#include "runtime/rng.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_wire.h"
#include "tests/test.h"

#define NODES 5
#define LOG   512

enum { A, B, C, D, E };

struct end {
    struct node *node;
    unsigned worker;
    struct tm_link_way *way;
    struct tm_ctx ctx;
    struct tm_counters *counters;
    unsigned ups, downs, got, wrong_site;
    uint64_t args[LOG];
    bool up[NODES][2]; /* as told */
};

struct node {
    struct world *world;
    unsigned block, workers;
    const char *cluster, *name;
    const struct tm_link_site *sites;
    unsigned site_count;
    struct tm_link_identity self;
    struct tm_link_known known;
    struct tm_sim_disk *disk;
    uint64_t boot;
    bool up;
    struct end ends[2];
};

struct world {
    struct tm_rng rng;
    uint64_t now;
    struct tm_sim_wire *wire;
    struct node nodes[NODES];
    char last_log[256];
    unsigned refusals_logged;
};

static const struct tm_link_site east = {"east", 2, {{"a", A}, {"b", B}}};
static const struct tm_link_site west = {"west", 2, {{"c", C}, {"d", D}}};
static const struct tm_link_site far = {"far", 1, {{"e", E}}};

static uint64_t end_now(void *host)
{
    return ((struct end *)host)->node->world->now;
}

static uint64_t end_random(void *host)
{
    return tm_rng_next(&((struct end *)host)->node->world->rng);
}

static void end_log(void *host, enum tm_log_level level, const char *event, const char *fmt, ...)
    TM_PRINTF(4, 5);

static void end_log(void *host, enum tm_log_level level, const char *event, const char *fmt, ...)
{
    struct world *w = ((struct end *)host)->node->world;
    (void)level, (void)fmt;
    w->refusals_logged += strcmp(event, "link_refused") == 0;
}

static int site_number(const struct end *e, unsigned block)
{
    for (unsigned i = 0; i < e->node->site_count; i++)
        for (unsigned k = 0; k < e->node->sites[i].count; k++)
            if (e->node->sites[i].nodes[k].block == block)
                return (int)i;
    return -1;
}

static void on_message(void *host, unsigned site, const struct tm_message_head *head,
                       struct tm_bytes body)
{
    struct end *e = host;
    CU_ASSERT_EQUAL((uintptr_t)body.data & 7, 0);
    CU_ASSERT_TRUE(head->type > TM_MESSAGE_LINK_READY);
    CU_ASSERT_TRUE(e->up[head->node][head->worker]);
    e->wrong_site += site_number(e, head->node) != (int)site;
    CU_ASSERT_FATAL(e->got < LOG);
    e->args[e->got++] = head->arg;
}

static void on_up(void *host, unsigned site, struct tm_place to)
{
    struct end *e = host;
    CU_ASSERT_FALSE(e->up[to.node][to.worker]);
    CU_ASSERT_TRUE(tm_link_way_is_up(e->way, to));
    e->wrong_site += site_number(e, to.node) != (int)site;
    e->up[to.node][to.worker] = true;
    e->ups++;
}

static void on_down(void *host, unsigned site, struct tm_place to)
{
    struct end *e = host;
    CU_ASSERT_TRUE(e->up[to.node][to.worker]);
    e->wrong_site += site_number(e, to.node) != (int)site;
    e->up[to.node][to.worker] = false;
    e->downs++;
}

static void woke(void *host, unsigned node, unsigned worker)
{
    (void)host, (void)node, (void)worker;
}

static bool try_start(struct world *w, unsigned block, char *why, size_t size)
{
    struct node *n = &w->nodes[block];
    bool good = true;
    memset(&n->known, 0, sizeof n->known);
    n->boot = tm_rng_next(&w->rng) | 1;
    n->up = true;
    for (unsigned k = n->workers; k-- > 0;) { /* worker 0, which reads, comes last */
        struct end *e = &n->ends[k];
        struct tm_link_way_config c = {
            .ctx = &e->ctx,
            .cluster = n->cluster,
            .name = n->name,
            .block = block,
            .worker = k,
            .workers = n->workers,
            .boot = n->boot,
            .sites = n->sites,
            .site_count = n->site_count,
            .known = &n->known,
            .ops = {.host = e, .message = on_message, .up = on_up, .down = on_down}};
        memset(e->up, 0, sizeof e->up);
        e->ctx.disk = tm_sim_disk_table_of(n->disk, k);
        e->way = tm_link_way_new(&c);
        CU_ASSERT_FATAL(e->way != NULL);
        struct tm_fabric_sink sink = tm_link_way_sink(e->way);
        tm_link_way_set_fabric(e->way, tm_sim_wire_join(w->wire, block, k, &sink));
        good &= tm_link_way_start(e->way, &n->self, why, size) == TM_OK;
    }
    return good;
}

static void start(struct world *w, unsigned block)
{
    char why[256] = "";
    CU_ASSERT_TRUE(try_start(w, block, why, sizeof why));
    for (unsigned k = 0; k < w->nodes[block].workers; k++) {
        struct tm_link_way *way = w->nodes[block].ends[k].way;
        for (unsigned i = 0; i < w->nodes[block].site_count; i++)
            tm_link_way_link(way, i, strcmp(tm_link_way_site(way, i)->name, "far") != 0);
    }
}

static void kill_node(struct world *w, unsigned block)
{
    struct node *n = &w->nodes[block];
    tm_sim_disk_kill(n->disk);
    tm_sim_wire_leave(w->wire, block);
    for (unsigned k = 0; k < n->workers; k++)
        tm_link_way_abandon(n->ends[k].way);
    n->up = false;
}

static void run_ms(struct world *w, unsigned ms)
{
    for (uint64_t end = w->now + TM_MS(ms); w->now < end; w->now += TM_US(100)) {
        tm_sim_wire_poll(w->wire, w->now);
        for (unsigned i = 0; i < NODES; i++) {
            struct node *n = &w->nodes[i];
            tm_sim_disk_poll(n->disk, w->now);
            for (unsigned k = 0; n->up && k < n->workers; k++) {
                tm_link_way_turn(n->ends[k].way);
                tm_link_way_flush(n->ends[k].way);
            }
        }
    }
}

static void set_node(struct world *w, unsigned block, unsigned workers, const char *cluster,
                     const char *name, const struct tm_link_site *sites, unsigned count,
                     uint8_t uuid)
{
    struct node *n = &w->nodes[block];
    *n = (struct node){.world = w,
                       .block = block,
                       .workers = workers,
                       .cluster = cluster,
                       .name = name,
                       .sites = sites,
                       .site_count = count,
                       .self = {.incarnation = uuid, .epoch = 1, .partitions = 10u + uuid}};
    memset(n->self.uuid, uuid, 16);
    n->disk = tm_sim_disk_new(block);
    tm_sim_disk_set_latency(n->disk, TM_US(50), TM_US(300));
    for (unsigned k = 0; k < 2; k++) {
        struct end *e = &n->ends[k];
        e->node = n;
        e->worker = k;
        e->counters = calloc(1, sizeof *e->counters);
        CU_ASSERT_FATAL(e->counters != NULL);
        e->ctx = (struct tm_ctx){.host = e,
                                 .now_ns = end_now,
                                 .random = end_random,
                                 .log = end_log,
                                 .counters = e->counters};
    }
}

static struct world *begin(uint64_t seed)
{
    static struct tm_link_site of_east[2], of_west[2], of_far[2];
    struct world *w = calloc(1, sizeof *w);
    CU_ASSERT_FATAL(w != NULL);
    w->now = TM_SECONDS(1);
    tm_rng_seed(&w->rng, seed);
    struct tm_sim_wire_config c = {.seed = seed,
                                   .min_ns = TM_US(10),
                                   .max_ns = TM_US(300),
                                   .max_frame = 1500,
                                   .notice_ns = TM_MS(1),
                                   .woke = woke};
    w->wire = tm_sim_wire_new(&c);
    of_east[0] = of_far[0] = west;
    of_west[0] = of_far[1] = east;
    of_east[1] = of_west[1] = far;
    set_node(w, A, 2, "east", "a", of_east, 2, 1);
    set_node(w, B, 1, "east", "b", of_east, 2, 1);
    set_node(w, C, 2, "west", "c", of_west, 2, 2);
    set_node(w, D, 1, "west", "d", of_west, 2, 2);
    set_node(w, E, 1, "far", "e", of_far, 2, 3);
    return w;
}

static void finish(struct world *w)
{
    for (unsigned i = 0; i < NODES; i++) {
        if (w->nodes[i].up)
            kill_node(w, i);
        for (unsigned k = 0; k < 2; k++) {
            CU_ASSERT_EQUAL(w->nodes[i].ends[k].wrong_site, 0);
            free(w->nodes[i].ends[k].counters);
        }
        tm_sim_disk_free(w->nodes[i].disk);
    }
    tm_sim_wire_free(w->wire);
    free(w);
}

static enum tm_err send_to(struct end *e, struct tm_place to, uint64_t arg)
{
    struct tm_message_head head = {.type = 40, .arg = arg};
    struct tm_bytes body = tm_bytes_str("body");
    return tm_link_way_send(e->way, to, head, &body, 1);
}

static struct end *end_of(struct world *w, unsigned block, unsigned worker)
{
    return &w->nodes[block].ends[worker];
}

static void nodes_of_linked_clusters_meet_and_speak(void)
{
    struct world *w = begin(1);
    for (unsigned i = 0; i < 4; i++)
        start(w, i);
    run_ms(w, 50);
    struct end *a = end_of(w, A, 1);
    int site = tm_link_way_find(a->way, "west");
    CU_ASSERT_EQUAL_FATAL(site, 0);
    CU_ASSERT_EQUAL(tm_link_way_find(a->way, "east"), -1);
    CU_ASSERT_EQUAL(tm_link_way_site_of_uuid(a->way, w->nodes[C].self.uuid), 0);
    CU_ASSERT_EQUAL(tm_link_way_site_of_uuid(a->way, w->nodes[A].self.uuid), -1);
    const struct tm_link_identity *id = tm_link_way_identity(a->way, 0);
    CU_ASSERT_FATAL(id != NULL);
    CU_ASSERT_EQUAL(id->partitions, 12);
    CU_ASSERT_EQUAL(id->incarnation, 2);
    /* c has two workers: partition 7 lives on its second, which nobody has met yet. */
    struct tm_place to = tm_link_way_place(a->way, C, 7);
    CU_ASSERT_EQUAL(to.worker, 1);
    CU_ASSERT_EQUAL(send_to(a, to, 1), TM_ERR_CLOSED);
    run_ms(w, 300);
    CU_ASSERT_TRUE(a->up[C][1]);
    CU_ASSERT_TRUE(end_of(w, C, 1)->up[A][1]);
    for (uint64_t i = 1; i <= 5; i++)
        CU_ASSERT_EQUAL(send_to(a, to, i), TM_OK);
    run_ms(w, 20);
    CU_ASSERT_EQUAL(end_of(w, C, 1)->got, 5);
    for (unsigned i = 0; i < 5; i++)
        CU_ASSERT_EQUAL(end_of(w, C, 1)->args[i], i + 1);
    CU_ASSERT_EQUAL(w->refusals_logged, 0);
    finish(w);
}

static void who_is_told_up_may_send_at_once(void)
{
    /* West's disks are slow: it meets east long before it has noted it. */
    struct world *w = begin(2);
    tm_sim_disk_set_latency(w->nodes[C].disk, TM_MS(20), TM_MS(20));
    start(w, A);
    start(w, C);
    for (unsigned i = 0; i < 40 && !end_of(w, A, 0)->up[C][0]; i++) {
        CU_ASSERT_EQUAL(send_to(end_of(w, A, 0), (struct tm_place){C, 0}, 1), TM_ERR_CLOSED);
        run_ms(w, 5);
    }
    CU_ASSERT_TRUE(end_of(w, A, 0)->up[C][0]);
    CU_ASSERT_TRUE(tm_sim_disk_exists(w->nodes[C].disk, TM_LINK_NOTES_FILE));
    CU_ASSERT_EQUAL(send_to(end_of(w, A, 0), (struct tm_place){C, 0}, 9), TM_OK);
    run_ms(w, 20);
    CU_ASSERT_EQUAL(end_of(w, C, 0)->got, 1);
    CU_ASSERT_EQUAL(end_of(w, C, 0)->args[0], 9);
    finish(w);
}

static void nothing_goes_to_a_cluster_that_cannot_be_noted(void)
{
    struct world *w = begin(3);
    tm_sim_disk_fail(w->nodes[C].disk, TM_DISK_RENAME, 28, 1);
    start(w, A);
    start(w, C);
    run_ms(w, 500);
    CU_ASSERT_EQUAL(end_of(w, A, 0)->ups, 0);
    CU_ASSERT_EQUAL(end_of(w, C, 0)->ups, 0);
    run_ms(w, 11000); /* it is tried again */
    CU_ASSERT_TRUE(end_of(w, A, 0)->up[C][0]);
    finish(w);
}

static void a_cluster_without_a_link_is_refused_until_it_has_one(void)
{
    struct world *w = begin(4);
    start(w, A);
    start(w, E);
    tm_link_way_link(end_of(w, E, 0)->way, 1, true); /* far has a link with east, not east */
    run_ms(w, 1500);
    int far_site = tm_link_way_find(end_of(w, A, 0)->way, "far");
    CU_ASSERT_EQUAL(end_of(w, E, 0)->ups + end_of(w, A, 0)->ups, 0);
    CU_ASSERT_STRING_EQUAL(tm_link_way_refusal(end_of(w, E, 0)->way, 1),
                           "there is no link between the two clusters here");
    CU_ASSERT_FALSE(tm_sim_disk_exists(w->nodes[A].disk, TM_LINK_NOTES_FILE));
    unsigned said = w->refusals_logged;
    CU_ASSERT_EQUAL(said, 2); /* each side once, though it is tried every second */
    for (unsigned k = 0; k < 2; k++)
        tm_link_way_link(end_of(w, A, k)->way, (unsigned)far_site, true);
    run_ms(w, 3000);
    CU_ASSERT_TRUE(end_of(w, A, 0)->up[E][0]);
    CU_ASSERT_TRUE(end_of(w, E, 0)->up[A][0]);
    CU_ASSERT_PTR_NULL(tm_link_way_refusal(end_of(w, E, 0)->way, 1));
    CU_ASSERT_PTR_NULL(tm_link_way_refusal(end_of(w, A, 0)->way, (unsigned)far_site));
    finish(w);
}

static void a_link_that_is_taken_away_and_given_again_begins_anew_on_both_sides(void)
{
    struct world *w = begin(5);
    start(w, A);
    start(w, C);
    run_ms(w, 50);
    struct end *a = end_of(w, A, 0), *c = end_of(w, C, 0);
    struct tm_place to_c = {C, 0}, to_a = {A, 0};
    CU_ASSERT_TRUE(a->up[C][0] && c->up[A][0]);
    tm_link_way_link(a->way, 0, false);
    run_ms(w, 5);
    CU_ASSERT_FALSE(a->up[C][0]);
    CU_ASSERT_EQUAL(send_to(a, to_c, 1), TM_ERR_CLOSED);
    CU_ASSERT_EQUAL(send_to(c, to_a, 2), TM_OK); /* it does not know */
    run_ms(w, 20);
    CU_ASSERT_EQUAL(a->got, 0);
    CU_ASSERT_EQUAL(tm_counter_get(a->counters, TM_COUNTER_link_messages_dropped), 1);
    unsigned ups = c->ups;
    tm_link_way_link(a->way, 0, true);
    run_ms(w, 20);
    CU_ASSERT_TRUE(a->up[C][0]);
    CU_ASSERT_EQUAL(c->ups, ups + 1); /* so that it sends again what was dropped */
    CU_ASSERT_EQUAL(send_to(c, to_a, 3), TM_OK);
    run_ms(w, 20);
    CU_ASSERT_EQUAL(a->got, 1);
    finish(w);
}

static void another_cluster_of_the_same_name_is_refused_also_after_a_restart(void)
{
    struct world *w = begin(6);
    start(w, A);
    start(w, C);
    run_ms(w, 50);
    CU_ASSERT_TRUE(end_of(w, A, 0)->up[C][0]);
    kill_node(w, C);
    kill_node(w, A);
    memset(w->nodes[C].self.uuid, 9, 16); /* made anew */
    start(w, C);
    start(w, A);
    run_ms(w, 1500);
    CU_ASSERT_FALSE(end_of(w, A, 0)->up[C][0]);
    CU_ASSERT_FALSE(end_of(w, C, 0)->up[A][0]);
    CU_ASSERT_PTR_NOT_NULL(tm_link_way_refusal(end_of(w, A, 0)->way, 0));
    CU_ASSERT_EQUAL(send_to(end_of(w, A, 0), (struct tm_place){C, 0}, 1), TM_ERR_CLOSED);
    kill_node(w, C);
    memset(w->nodes[C].self.uuid, 2, 16); /* the right one is back */
    start(w, C);
    run_ms(w, 1500);
    CU_ASSERT_TRUE(end_of(w, A, 0)->up[C][0]);
    finish(w);
}

/* Also by workers that hear of it at different times, and it is noted: the one before is the
 * stranger from then on. */
static void an_adopted_cluster_takes_the_name_for_good(void)
{
    struct world *w = begin(16);
    start(w, A);
    start(w, C);
    run_ms(w, 50);
    kill_node(w, C);
    memset(w->nodes[C].self.uuid, 9, 16);
    w->nodes[C].self.partitions = 77;
    start(w, C);
    run_ms(w, 1500);
    struct end *a = end_of(w, A, 0), *b = end_of(w, A, 1);
    CU_ASSERT_FALSE(a->up[C][0]);
    uint64_t stranger = tm_link_way_stranger(a->way, 0);
    CU_ASSERT_EQUAL(stranger, UINT64_C(0x0909090909090909));
    tm_link_way_adopt(b->way, 0, stranger + 1); /* that is another one */
    run_ms(w, 1500);
    CU_ASSERT_FALSE(a->up[C][0]);
    tm_link_way_adopt(b->way, 0, stranger);
    run_ms(w, 20);
    tm_link_way_adopt(a->way, 0, stranger);
    run_ms(w, 3000);
    CU_ASSERT_TRUE(a->up[C][0]);
    CU_ASSERT_PTR_NULL(tm_link_way_refusal(a->way, 0));
    CU_ASSERT_EQUAL(tm_link_way_stranger(a->way, 0), 0);
    CU_ASSERT_EQUAL(tm_link_way_identity(a->way, 0)->partitions, 77);
    kill_node(w, A);
    kill_node(w, C);
    memset(w->nodes[C].self.uuid, 2, 16);
    start(w, C);
    start(w, A); /* which nobody has told of any adoption */
    run_ms(w, 1500);
    CU_ASSERT_FALSE(a->up[C][0]);
    kill_node(w, C);
    memset(w->nodes[C].self.uuid, 9, 16);
    start(w, C);
    run_ms(w, 1500);
    CU_ASSERT_TRUE(a->up[C][0]);
    finish(w);
}

/* Two clusters call themselves west; b's first worker has met the one, what a peer says later
 * cannot change that. */
static void one_of_two_clusters_of_a_name_is_spoken_to(void)
{
    struct world *w = begin(7);
    memset(w->nodes[D].self.uuid, 9, 16);
    start(w, A);
    start(w, C);
    run_ms(w, 50);
    start(w, D);
    run_ms(w, 1500);
    CU_ASSERT_TRUE(end_of(w, A, 0)->up[C][0]);
    CU_ASSERT_FALSE(end_of(w, A, 0)->up[D][0]);
    CU_ASSERT_FALSE(tm_link_way_is_there(end_of(w, A, 0)->way, D));
    CU_ASSERT_TRUE(tm_link_way_is_there(end_of(w, A, 0)->way, C));
    finish(w);
}

static void a_node_that_dies_is_told_and_comes_back_as_another_process(void)
{
    struct world *w = begin(8);
    for (unsigned i = 0; i < 4; i++)
        start(w, i);
    run_ms(w, 50);
    struct end *a = end_of(w, A, 0);
    for (unsigned round = 0; round < 20; round++) {
        CU_ASSERT_TRUE(a->up[C][0]);
        CU_ASSERT_EQUAL(send_to(a, (struct tm_place){C, 0}, round), TM_OK);
        kill_node(w, C);
        run_ms(w, (unsigned)tm_rng_below(&w->rng, 2) * 10);
        unsigned ups = a->ups;
        start(w, C);
        end_of(w, C, 0)->got = 0;
        run_ms(w, 300);
        CU_ASSERT_TRUE(a->ups > ups && a->up[C][0]);
        CU_ASSERT_EQUAL(end_of(w, C, 0)->got, 0); /* nothing meant for the one before */
        CU_ASSERT_TRUE(a->up[D][0]);
    }
    kill_node(w, C);
    run_ms(w, 10);
    CU_ASSERT_FALSE(a->up[C][0]);
    CU_ASSERT_FALSE(tm_link_way_is_there(a->way, C));
    CU_ASSERT_EQUAL(send_to(a, (struct tm_place){C, 0}, 1), TM_ERR_CLOSED);
    CU_ASSERT_EQUAL(send_to(a, (struct tm_place){D, 0}, 1), TM_OK);
    finish(w);
}

static void the_order_holds_over_a_bad_wire_and_cuts(void)
{
    uint64_t seed = tm_test_seed();
    struct world *w = begin(seed);
    for (unsigned i = 0; i < 4; i++)
        start(w, i);
    run_ms(w, 50);
    for (unsigned from = 0; from < NODES; from++)
        for (unsigned to = 0; to < NODES; to++)
            *tm_sim_wire_link(w->wire, from, to) =
                (struct tm_sim_link){.lose = 2000, .twice = 1000, .flip = 500, .more_ns = TM_MS(2)};
    uint64_t sent = 0;
    for (unsigned round = 0; round < 100; round++) {
        bool cut = tm_rng_below(&w->rng, 4) == 0;
        tm_sim_wire_cut(w->wire, A, C, cut);
        tm_sim_wire_cut(w->wire, C, A, cut && tm_rng_below(&w->rng, 2) == 0);
        for (unsigned i = 0; i < 4; i++)
            sent += send_to(end_of(w, A, 0), (struct tm_place){C, 0}, sent) == TM_OK;
        run_ms(w, 5);
    }
    tm_sim_wire_cut(w->wire, A, C, false);
    tm_sim_wire_cut(w->wire, C, A, false);
    run_ms(w, 3000);
    struct end *c = end_of(w, C, 0);
    CU_ASSERT_EQUAL(sent, 400);
    CU_ASSERT_EQUAL(c->got, 400);
    for (unsigned i = 0; i < c->got; i++)
        CU_ASSERT_EQUAL(c->args[i], i);
    finish(w);
}

static void a_higher_epoch_is_another_life(void)
{
    struct world *w = begin(9);
    char why[256];
    start(w, A);
    start(w, C);
    run_ms(w, 50);
    CU_ASSERT_EQUAL(send_to(end_of(w, A, 0), (struct tm_place){C, 0}, 1), TM_OK);
    w->nodes[C].self.epoch = 2;
    for (unsigned k = 0; k < 2; k++)
        CU_ASSERT_EQUAL(tm_link_way_start(end_of(w, C, k)->way, &w->nodes[C].self, why, sizeof why),
                        TM_OK);
    CU_ASSERT_FALSE(end_of(w, C, 0)->up[A][0]);
    run_ms(w, 500);
    CU_ASSERT_TRUE(end_of(w, A, 0)->up[C][0] && end_of(w, C, 0)->up[A][0]);
    /* Both workers of c say hello to the first one of a. */
    CU_ASSERT_EQUAL(end_of(w, A, 0)->ups, 4);
    CU_ASSERT_EQUAL(end_of(w, A, 0)->downs, 2);
    CU_ASSERT_EQUAL(end_of(w, C, 0)->got, 0); /* it was said to the life before */
    CU_ASSERT_EQUAL(tm_link_way_identity(end_of(w, A, 0)->way, 0)->epoch, 2);
    finish(w);
}

/* Hellos that a peer may make up: each is refused, and changes nothing. */
static void a_hello_that_makes_no_sense_is_refused(void)
{
    for (unsigned what = 0; what < 6; what++) {
        struct world *w = begin(10 + what);
        struct node *c = &w->nodes[C];
        start(w, A);
        if (what == 0)
            c->self.partitions = TM_DIRECTORY_PARTITIONS_MAX + 1;
        else if (what == 1)
            memset(c->self.uuid, 0, 16);
        else if (what == 2)
            memset(c->self.uuid, 1, 16); /* our own */
        else if (what == 3)
            c->cluster = "wext";
        else if (what == 4)
            c->name = "d";
        else
            c->cluster = "east";
        start(w, C);
        run_ms(w, 100);
        CU_ASSERT_EQUAL(end_of(w, A, 0)->ups + end_of(w, C, 0)->ups, 0);
        CU_ASSERT_TRUE(tm_counter_get(end_of(w, A, 0)->counters, TM_COUNTER_link_refusals) > 0);
        CU_ASSERT_FALSE(tm_sim_disk_exists(w->nodes[A].disk, TM_LINK_NOTES_FILE));
        finish(w);
    }
}

static void damaged_notes_are_said_and_one_good_copy_is_enough(void)
{
    struct world *w = begin(20);
    char why[256] = "";
    start(w, A);
    start(w, C);
    run_ms(w, 50);
    kill_node(w, A);
    uint64_t size = 0;
    (void)tm_sim_disk_data(w->nodes[A].disk, TM_LINK_NOTES_FILE, &size);
    CU_ASSERT_EQUAL(size, 2 * (16 + 80 + 8));
    CU_ASSERT_TRUE(tm_sim_disk_flip(w->nodes[A].disk, TM_LINK_NOTES_FILE, 30, 1));
    CU_ASSERT_TRUE(try_start(w, A, why, sizeof why));
    CU_ASSERT_EQUAL(tm_link_way_site_of_uuid(end_of(w, A, 0)->way, w->nodes[C].self.uuid), 0);
    kill_node(w, A);
    CU_ASSERT_TRUE(tm_sim_disk_flip(w->nodes[A].disk, TM_LINK_NOTES_FILE, size / 2 + 50, 1));
    CU_ASSERT_FALSE(try_start(w, A, why, sizeof why));
    CU_ASSERT_PTR_NOT_NULL(strstr(why, "\"linked\""));
    finish(w);
}

static const struct tm_test tests[] = {
    {"nodes of linked clusters meet and speak", nodes_of_linked_clusters_meet_and_speak},
    {"who is told up may send at once", who_is_told_up_may_send_at_once},
    {"nothing goes to a cluster that cannot be noted",
     nothing_goes_to_a_cluster_that_cannot_be_noted},
    {"a cluster without a link is refused until it has one",
     a_cluster_without_a_link_is_refused_until_it_has_one},
    {"a link taken away and given again begins anew on both sides",
     a_link_that_is_taken_away_and_given_again_begins_anew_on_both_sides},
    {"another cluster of the same name is refused, also after a restart",
     another_cluster_of_the_same_name_is_refused_also_after_a_restart},
    {"an adopted cluster takes the name for good", an_adopted_cluster_takes_the_name_for_good},
    {"one of two clusters of a name is spoken to", one_of_two_clusters_of_a_name_is_spoken_to},
    {"a node that dies is told, and comes back as another process",
     a_node_that_dies_is_told_and_comes_back_as_another_process},
    {"the order holds over a bad wire and cuts", the_order_holds_over_a_bad_wire_and_cuts},
    {"a higher epoch is another life", a_higher_epoch_is_another_life},
    {"a hello that makes no sense is refused", a_hello_that_makes_no_sense_is_refused},
    {"damaged notes are said, and one good copy is enough",
     damaged_notes_are_said_and_one_good_copy_is_enough},
};

TM_TEST_MAIN("actors/link_way", tests)
