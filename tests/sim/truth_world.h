/* truth_world.h: worlds made by hand for the tests of the oracle (sim_truth.h): three nodes with a
 * log each, what befalls them, and what the oracle says of it.
 *
 * A world is begun (begin, begin_with), told what happens by the verbs below, each of which keeps
 * what the node shows and what the oracle is told of its disk together, and ended by expect, which
 * frees it.  One thread. */
#ifndef TM_TESTS_SIM_TRUTH_WORLD_H
#define TM_TESTS_SIM_TRUTH_WORLD_H

#include "tests/sim/sim_truth.h"
#include "tests/test.h"

#define NODES 3
#define LOG   64

struct node {
    struct tm_id id;
    struct tm_replica r;
    struct tm_record log[LOG]; /* by index; 0: nothing */
    bool witness;
    uint64_t first, flushed;
    uint64_t hole_first, hole_last; /* 0: none */
    uint64_t end;                   /* of the log, behind a hole */
    uint64_t applied, state;
};

struct world {
    struct tm_sim_truth *truth;
    struct node node[NODES];
    uint64_t now;
    unsigned wrongs, appeared;
    char text[512];
};

static inline void wrong(void *host, const char *text)
{
    struct world *w = host;
    if (w->wrongs++ == 0)
        snprintf(w->text, sizeof w->text, "%s", text);
}

static inline bool log_at(void *log, uint64_t index, uint64_t *term, uint64_t *hash)
{
    const struct node *n = log;
    if (index + 1 < n->first || index == 0 || index >= LOG || n->log[index].index != index)
        return false;
    *term = n->log[index].term;
    *hash = n->log[index].checksum;
    return true;
}

static inline const struct tm_record *log_record(void *log, uint64_t index)
{
    const struct node *n = log;
    return &n->log[index];
}

static inline void log_fault(void *log, unsigned i, uint64_t *first, uint64_t *last)
{
    const struct node *n = log;
    CU_ASSERT_EQUAL(i, 0);
    *first = n->hole_first;
    *last = n->hole_last;
}

static inline struct tm_sim_view view_of(const struct world *w, struct node *n)
{
    return (struct tm_sim_view){.replica = &n->r,
                                .witness = n->witness,
                                .clock_ns = w->now,
                                .first = n->first,
                                .last = tm_max_u64(n->r.last.index, n->end),
                                .log = n,
                                .at = log_at,
                                .record = log_record,
                                .faults = n->hole_first != 0,
                                .fault = log_fault,
                                .has_state = n->applied > 0,
                                .applied = n->applied,
                                .state_hash = n->state};
}

static inline void look(struct world *w, unsigned node)
{
    struct tm_sim_view v = view_of(w, &w->node[node]);
    tm_sim_truth_look(w->truth, &v);
}

static inline void boot(struct world *w, unsigned node, struct tm_sim_truth_boot boot)
{
    struct tm_sim_view v = view_of(w, &w->node[node]);
    tm_sim_truth_booted(w->truth, &v, &boot);
}

static inline void begin_with(struct world *w, const struct tm_sim_truth_config *config,
                              bool witness)
{
    *w = (struct world){.now = TM_SECONDS(1)};
    struct tm_sim_truth_config c = *config;
    c.partitions = 2; /* the last one is the system partition */
    c.host = w;
    c.wrong = wrong;
    w->truth = tm_sim_truth_new(&c);
    for (unsigned i = 0; i < NODES; i++) {
        struct node *n = &w->node[i];
        n->id = (struct tm_id){.disk = 100 + i, .node = (uint8_t)i};
        n->first = 1;
        n->witness = witness && i == NODES - 1;
        n->r.self = n->id;
        n->r.hs.vote.node = TM_NODE_UNKNOWN;
        n->r.members.count = NODES;
        for (unsigned k = 0; k < NODES; k++) {
            struct tm_id id = {.disk = 100 + k, .node = (uint8_t)k};
            bool is_witness = witness && k == NODES - 1;
            n->r.members.at[k] = (struct tm_member){
                .id = id, .role = is_witness ? TM_MEMBER_WITNESS : TM_MEMBER_VOTER};
            n->r.peer[k].id = id;
            n->r.peer[k].disk = id.disk;
        }
        boot(w, i, (struct tm_sim_truth_boot){0});
    }
}

static inline void begin(struct world *w)
{
    begin_with(w, &(struct tm_sim_truth_config){0}, false);
}

static inline void expect(struct world *w, const char *text)
{
    bool right = text == NULL ? w->wrongs == 0 : strstr(w->text, text) != NULL;
    if (!right)
        printf("  expected \"%s\", heard \"%s\"\n", text == NULL ? "" : text, w->text);
    CU_ASSERT_TRUE(right);
    tm_sim_truth_free(w->truth);
}

/* ---- what may happen to nodes ---- */

static inline void promise(struct world *w, unsigned node, uint64_t term, unsigned vote)
{
    struct node *n = &w->node[node];
    n->r.hs.term = term;
    n->r.hs.vote =
        vote == TM_NODE_UNKNOWN ? (struct tm_id){.node = TM_NODE_UNKNOWN} : w->node[vote].id;
    tm_sim_truth_promise(w->truth, n->id, 0, &n->r.hs);
}

static inline void insync(struct world *w, unsigned node, uint64_t term, uint64_t epoch,
                          unsigned nodes)
{
    struct tm_insync s = {.term = term, .epoch = epoch};
    for (unsigned i = 0; i < NODES; i++)
        if ((nodes >> i & 1) != 0)
            s.at[s.count++] = w->node[i].id;
    w->node[node].r.hs.insync = s;
    tm_sim_truth_promise(w->truth, w->node[node].id, 0, &w->node[node].r.hs);
}

static inline const struct tm_record *append_kind(struct world *w, unsigned node, uint64_t term,
                                                  uint64_t salt, enum tm_record_kind kind)
{
    struct node *n = &w->node[node];
    uint64_t index = n->r.last.index + 1;
    n->log[index] = (struct tm_record){.kind = (uint16_t)kind,
                                       .index = index,
                                       .term = term,
                                       .hlc = salt,
                                       .prev_hash = n->r.last.hash};
    tm_record_seal(&n->log[index]);
    n->r.last = (struct tm_tail){index, term, n->log[index].checksum};
    return &n->log[index];
}

static inline const struct tm_record *append(struct world *w, unsigned node, uint64_t term,
                                             uint64_t salt)
{
    return append_kind(w, node, term, salt, TM_RECORD_EFFECT);
}

static inline void flush(struct world *w, unsigned node)
{
    struct node *n = &w->node[node];
    while (n->flushed < n->r.last.index)
        tm_sim_truth_durable(w->truth, n->id, &n->log[++n->flushed]);
    n->r.durable = n->r.last.index;
}

static inline void copy_record(struct world *w, unsigned to, const struct tm_record *r)
{
    struct node *n = &w->node[to];
    n->log[r->index] = *r;
    n->r.last = (struct tm_tail){r->index, r->term, r->checksum};
}

static inline void cut(struct world *w, unsigned node, uint64_t from)
{
    struct node *n = &w->node[node];
    n->log[from].index = 0;
    const struct tm_record *end = &n->log[from - 1];
    n->r.last = (struct tm_tail){end->index, end->term, end->checksum};
    n->r.durable = n->flushed = tm_min_u64(n->flushed, from - 1);
    tm_sim_truth_cut(w->truth, n->id, 0, from);
}

/* Node leads term by the votes of `voters` (bits). */
static inline void elect(struct world *w, unsigned node, uint64_t term, unsigned voters)
{
    struct tm_replica *r = &w->node[node].r;
    for (unsigned i = 0; i < NODES; i++)
        if ((voters >> i & 1) != 0)
            promise(w, i, term, node);
    r->granted = voters;
    r->asked = true;
    r->role = TM_ROLE_LEADER;
    r->term_start = r->last.index + 1;
    for (unsigned i = 0; i < NODES; i++)
        r->peer[i].match = 0;
}

static inline void follow(struct world *w, unsigned node, uint64_t term)
{
    struct tm_replica *r = &w->node[node].r;
    r->role = TM_ROLE_FOLLOWER;
    if (r->hs.term < term)
        promise(w, node, term, TM_NODE_UNKNOWN);
}

/* The newest record of `from` is durable at `to` and acknowledged. */
static inline void replicate(struct world *w, unsigned from, unsigned to)
{
    const struct node *l = &w->node[from];
    follow(w, to, l->r.hs.term);
    copy_record(w, to, &l->log[l->r.last.index]);
    look(w, to);
    flush(w, to);
    look(w, to);
    w->node[from].r.peer[to].match = l->r.last.index;
}

static inline void commit(struct world *w, unsigned node, uint64_t index)
{
    w->node[node].r.commit = w->node[node].applied = index;
    w->node[node].state = 1000 + index;
}

/* Node, which leads, has one more record durably. */
static inline void lead_on(struct world *w, unsigned node, uint64_t term)
{
    append(w, node, term, 0);
    flush(w, node);
    look(w, node);
}

/* Node 0 leads term 1 and has committed record 1, which all have. */
static inline void one_record(struct world *w)
{
    elect(w, 0, 1, 3);
    look(w, 0);
    lead_on(w, 0, 1);
    replicate(w, 0, 1);
    replicate(w, 0, 2);
    commit(w, 0, 1);
    look(w, 0);
    for (unsigned i = 1; i < NODES; i++) {
        commit(w, i, 1);
        look(w, i);
    }
}

static inline void with_record(struct world *w)
{
    begin(w);
    one_record(w);
}

/* Two copies and a witness: node 0 leads term 1 and alone has record 1, which is not committed. */
static inline void with_witness_by(struct world *w, const struct tm_sim_truth_config *config)
{
    begin_with(w, config, true);
    elect(w, 0, 1, 3);
    insync(w, 0, 1, 1, 3);
    look(w, 0);
    lead_on(w, 0, 1);
}

static inline void with_witness(struct world *w)
{
    with_witness_by(w, &(struct tm_sim_truth_config){0});
}

#endif
