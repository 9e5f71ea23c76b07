/* Between a running cluster and the truth: looks at the partitions of a worker after each of its
 * turns, hands on what disks made durable, remembers whose process is new. */
#include "tests/sim/sim_oracle.h"

#include "actors/partition.h"
#include "actors/router.h"
#include "runtime/crc16.h"
#include "tests/sim/sim_blocks.h"
#include "tests/sim/sim_eventual.h"
#include "tests/sim/sim_rounds.h"
#include "tests/sim/sim_run.h"
#include "tests/sim/sim_truth.h"

#include <stdio.h>
#include <stdlib.h>

#define ANSWERED_MAX 1024u /* 32 clients ask 8 calls ahead at most */

enum looks { NOT_YET, BEFORE, FOR_THE_LAST_TIME };

struct watched {
    struct tm_sim_oracle *oracle;
    unsigned number;
    struct tm_sim_disk *disk; /* that is listened to */
    struct tm_sim_truth_boot boot;
    enum looks *looked; /* by partition: at this process's */
    uint64_t cut;       /* of its logs, so many records as was seen last */
    bool harmed;        /* its disk, and it was not seen whole since then */
};

struct tm_sim_oracle {
    struct tm_sim *sim;
    unsigned node_count;
    uint32_t partitions; /* the system partition included */
    struct tm_sim_truth *truth;
    struct tm_sim_blocks *blocks;
    struct tm_sim_rounds *rounds;
    struct tm_sim_layout layout;               /* of the calls */
    struct tm_sim_call answered[ANSWERED_MAX]; /* reads, in the present turn */
    unsigned answered_count;
    struct tm_sim_eventual *eventual; /* NULL: of a strong cluster, or its history is too free */
    bool memory;
    void (*hear)(void *host, const struct tm_record *record);
    void *hearer;
    uint64_t *dropped; /* by partition: records that nodes said they gave up */
    struct watched nodes[TM_SIM_NODES_MAX];
};

static void wrong(void *host, const char *text)
{
    struct tm_sim_oracle *o = host;
    tm_sim_wrong(o->sim, "%s", text);
}

/* ---- disks ---- */

static void stable(void *host, const char *name, uint64_t offset, struct tm_bytes bytes)
{
    struct watched *w = host;
    tm_sim_blocks_stable(w->oracle->blocks, w->number, name, offset, bytes);
}

static void listen(struct tm_sim_oracle *o, unsigned node)
{
    struct watched *w = &o->nodes[node];
    struct tm_sim_disk *disk = tm_sim_disk_of(o->sim, node);
    if (w->disk != disk)
        w->boot = (struct tm_sim_truth_boot){0};
    w->disk = disk;
    tm_sim_disk_on_stable(disk, stable, w);
}

static void harmed(void *host, unsigned node, enum tm_sim_harm harm)
{
    struct tm_sim_oracle *o = host;
    struct tm_sim_truth_boot *b = &o->nodes[node].boot;
    b->rotten |= harm == TM_SIM_HARM_ROT;
    b->lied |= harm == TM_SIM_HARM_LIE;
    o->nodes[node].harmed = harm != TM_SIM_HARM_OVER;
    if (harm != TM_SIM_HARM_OVER)
        tm_sim_truth_lose(o->truth, node);
}

static void dropped(void *host, unsigned node, uint32_t partition, uint64_t records)
{
    struct tm_sim_oracle *o = host;
    (void)node;
    TM_ASSERT(partition < o->partitions);
    o->dropped[partition] = records < UINT64_MAX ? o->dropped[partition] + records : records;
}

/* ---- looking ---- */

static bool log_at(void *log, uint64_t index, uint64_t *term, uint64_t *hash)
{
    const struct tm_partition *p = log;
    if (p->rootless && index == p->base.index) {
        *term = p->base.term;
        *hash = p->base.hash;
        return true;
    }
    return tm_log_term_at(p->log, index, term) && tm_log_hash_at(p->log, index, hash);
}

static const struct tm_record *log_record(void *log, uint64_t index)
{
    const struct tm_partition *p = log;
    return (const void *)tm_log_get(p->log, index).data;
}

static void log_fault(void *log, unsigned i, uint64_t *first, uint64_t *last)
{
    tm_log_fault_at(((const struct tm_partition *)log)->log, i, first, last);
}

static void look(struct tm_sim_oracle *o, unsigned node, const struct tm_partition *p)
{
    struct tm_sim_view v = {.replica = &p->replica,
                            .witness = p->witness,
                            .clock_ns = tm_ctx_now(p->env->ctx),
                            .first = p->rootless ? p->base.index + 1 : tm_log_first(p->log),
                            .last = p->rootless ? p->base.index : tm_log_last(p->log),
                            .log = (void *)(uintptr_t)p,
                            .at = log_at,
                            .record = log_record,
                            .fault = log_fault};
    if (p->replica.hs.health >= TM_HEALTH_HOLED && !p->rootless && !p->witness)
        v.faults = tm_log_fault_count(p->log);
    if (p->store != NULL) {
        v.applied = tm_store_committed(p->store);
        v.has_state = tm_store_load_until(p->store) <= v.applied;
        v.state_hash = tm_store_state_hash(p->store);
    }
    enum looks *looked = &o->nodes[node].looked[p->id];
    if (*looked != NOT_YET)
        tm_sim_truth_look(o->truth, &v);
    else
        tm_sim_truth_booted(o->truth, &v, &o->nodes[node].boot);
    *looked = p->stopping ? FOR_THE_LAST_TIME : BEFORE;
    tm_sim_rounds_look(o->rounds, &p->replica, tm_sim_now(o->sim));
    if (p->witness && v.last > 0)
        wrong(o, "a witness has records");
}

/* Eventual mode: what a failover cuts off is counted, never silent. */
static void check_counted(struct tm_sim_oracle *o, unsigned node)
{
    uint64_t cut = tm_sim_truth_cut_off(o->truth, node), counted = 0;
    if (cut <= o->nodes[node].cut)
        return;
    o->nodes[node].cut = cut;
    for (unsigned k = 0; k < TM_SIM_WORKERS_MAX; k++) {
        const struct tm_counters *c = tm_sim_counters(o->sim, node, k);
        counted +=
            tm_counter_get(c, TM_COUNTER_async_cut) + tm_counter_get(c, TM_COUNTER_async_dropped);
    }
    if (cut > counted)
        tm_sim_wrong(o->sim, "%llu records were cut off logs of node %u, it has counted %llu",
                     (unsigned long long)cut, node, (unsigned long long)counted);
}

/* Strong reads are confirmed by a round that began after they were asked for (invariant 10). */
static void check_read(struct tm_sim_oracle *o, const struct tm_sim_call *call)
{
    for (unsigned i = 0; i < call->count; i++) {
        struct tm_sim_register r = tm_sim_register(call->step[i].reg, &o->layout);
        struct tm_bytes key = tm_bytes_of((const uint8_t *)r.key, strlen(r.key));
        uint32_t p = tm_partition_of_slot(tm_slot_of_key(key), o->partitions - 1);
        if (!tm_sim_rounds_cover(o->rounds, p, call->called_ns))
            tm_sim_wrong(o->sim,
                         "partition %u: a read of %s was answered after %llu us, and no round that "
                         "began meanwhile was confirmed (invariant 10)",
                         p, r.key,
                         (unsigned long long)(call->returned_ns - call->called_ns) / 1000);
    }
}

static void turned(void *host, unsigned node, unsigned worker)
{
    struct tm_sim_oracle *o = host;
    const struct tm_shard *shard = tm_sim_shard(o->sim, node, worker);
    for (uint32_t id = worker; id < o->partitions; id += tm_sim_workers(o->sim, node)) {
        const struct tm_partition *p = tm_shard_partition(shard, id);
        /* In the turn in which it stopped it may have committed, too. */
        if (p != NULL && (!p->stopping || o->nodes[node].looked[id] == BEFORE))
            look(o, node, p);
        else if (p != NULL)
            tm_sim_rounds_left(o->rounds, id, tm_sim_now(o->sim));
    }
    if (tm_sim_config_of(o->sim)->eventual)
        check_counted(o, node);
    while (o->answered_count > 0)
        check_read(o, &o->answered[--o->answered_count]);
}

static void befell(void *host, unsigned node, enum tm_sim_event event)
{
    struct tm_sim_oracle *o = host;
    struct watched *w = &o->nodes[node];
    bool dies = event == TM_SIM_KILLED || event == TM_SIM_POWERED_OFF;
    /* A start of one that was harmed tells what of it is there. */
    if (event == TM_SIM_WIPED || (o->memory && dies) || (w->harmed && event == TM_SIM_STARTED))
        tm_sim_truth_lose(o->truth, node);
    if (event == TM_SIM_WIPED)
        listen(o, node);
    else if (event == TM_SIM_STARTED)
        memset(w->looked, 0, o->partitions * sizeof(enum looks));
    else
        w->boot.unclean = event != TM_SIM_STOPPED;
    w->harmed = w->harmed && event != TM_SIM_WIPED;
}

static void appeared(void *host, const struct tm_record *record)
{
    struct tm_sim_oracle *o = host;
    if (o->eventual != NULL)
        tm_sim_eventual_record(o->eventual, record, tm_sim_now(o->sim));
    if (o->hear != NULL)
        o->hear(o->hearer, record);
}

void tm_sim_oracle_hear(struct tm_sim_oracle *o,
                        void (*fn)(void *host, const struct tm_record *record), void *host)
{
    o->hear = fn;
    o->hearer = host;
}

unsigned tm_sim_oracle_copies(const struct tm_sim_oracle *o, uint32_t partition, uint64_t index,
                              uint64_t hash)
{
    return tm_sim_truth_copies(o->truth, partition, index, hash);
}

/* ---- life ---- */

struct tm_sim_oracle *tm_sim_oracle_new(struct tm_sim *sim)
{
    const struct tm_sim_config *config = tm_sim_config_of(sim);
    const struct tm_options *opt = &config->options;
    struct tm_sim_oracle *o = calloc(1, sizeof *o);
    TM_ASSERT(o != NULL);
    o->sim = sim;
    o->node_count = config->nodes;
    o->partitions = config->partitions + 1;
    o->memory = opt->durability == TM_DURABILITY_MEMORY;
    struct tm_sim_truth_config c = {.partitions = o->partitions,
                                    .memory = o->memory,
                                    .eventual = config->eventual,
                                    .solo_stop = opt->solo == TM_SOLO_STOP,
                                    .window_bytes = opt->async_window_bytes,
                                    .window_ns = TM_MS(opt->async_window_ms),
                                    .host = o,
                                    .wrong = wrong,
                                    .appeared = appeared};
    o->truth = tm_sim_truth_new(&c);
    o->blocks = tm_sim_blocks_new(o->truth, o->partitions);
    o->rounds =
        tm_sim_rounds_new(&(struct tm_sim_rounds_config){.partitions = o->partitions,
                                                         .patience = TM_MS(TM_REQUEST_PATIENCE_MS),
                                                         .host = o,
                                                         .wrong = wrong});
    for (unsigned i = 0; i < o->node_count; i++) {
        struct watched *w = &o->nodes[i];
        *w = (struct watched){.oracle = o, .number = i};
        w->looked = calloc(o->partitions, sizeof *w->looked);
        TM_ASSERT(w->looked != NULL);
        listen(o, i);
    }
    o->dropped = calloc(o->partitions, sizeof *o->dropped);
    TM_ASSERT(o->dropped != NULL);
    tm_sim_watch(
        sim,
        &(struct tm_sim_watcher){
            .host = o, .turned = turned, .node = befell, .harmed = harmed, .dropped = dropped});
    return o;
}

void tm_sim_oracle_free(struct tm_sim_oracle *o)
{
    tm_sim_unwatch(o->sim, o);
    for (unsigned i = 0; i < o->node_count; i++) {
        tm_sim_disk_on_stable(tm_sim_disk_of(o->sim, i), NULL, NULL);
        free(o->nodes[i].looked);
    }
    if (o->eventual != NULL)
        tm_sim_eventual_free(o->eventual);
    free(o->dropped);
    tm_sim_rounds_free(o->rounds);
    tm_sim_blocks_free(o->blocks);
    tm_sim_truth_free(o->truth);
    free(o);
}

/* ---- verdict ---- */

struct tm_sim_oracle_stats tm_sim_oracle_stats(const struct tm_sim_oracle *o)
{
    struct tm_sim_truth_stats t = tm_sim_truth_stats(o->truth);
    return (struct tm_sim_oracle_stats){
#define X(field) .field = t.field,
        TM_SIM_TRUTH_STATS(X)
#undef X
    };
}

void tm_sim_oracle_give_up(struct tm_sim_oracle *o, uint32_t partition)
{
    tm_sim_truth_give_up(o->truth, partition);
}

bool tm_sim_oracle_forgave(const struct tm_sim_oracle *o, uint32_t partition)
{
    return tm_sim_truth_forgave(o->truth, partition);
}

/* ---- as a check of a run ---- */

static void returned(void *host, const struct tm_sim_call *call)
{
    struct tm_sim_oracle *o = host;
    tm_sim_eventual_returned(o->eventual, call);
}

/* Replies leave in the middle of a turn: judged after it. */
static void read_returned(void *host, const struct tm_sim_call *call)
{
    struct tm_sim_oracle *o = host;
    bool reads = call->outcome == TM_SIM_DONE;
    for (unsigned i = 0; i < call->count; i++)
        reads = reads && call->step[i].verb == TM_SIM_READ;
    if (!reads)
        return;
    TM_ASSERT(o->answered_count < ANSWERED_MAX);
    o->answered[o->answered_count++] = *call;
}

static void *check_begin(struct tm_sim *sim, const struct tm_sim_plan *plan,
                         struct tm_sim_calls *calls)
{
    struct tm_sim_oracle *o = tm_sim_oracle_new(sim);
    const struct tm_sim_work_config *w = &plan->work;
    o->layout = (struct tm_sim_layout){.groups = w->groups, .registers = w->registers};
    if (!plan->cluster.eventual)
        *calls = (struct tm_sim_calls){.host = o, .returned = read_returned};
    if (!plan->cluster.eventual || w->share[TM_SIM_REMOVE] != 0 ||
        w->share[TM_SIM_WRITE_NEW] != 0 || w->share[TM_SIM_EXPECT] != 0 ||
        w->share[TM_SIM_EXPIRE] != 0 || w->ttl != 0 || w->flush != 0)
        return o;
    const struct tm_options *opt = &plan->cluster.options;
    struct tm_sim_eventual_config c = {.layout = o->layout,
                                       .window_bytes = opt->async_window_bytes,
                                       .window_ns = TM_MS(opt->async_window_ms),
                                       .host = o,
                                       .wrong = wrong};
    o->eventual = tm_sim_eventual_new(&c);
    *calls = (struct tm_sim_calls){.host = o, .returned = returned};
    return o;
}

/* Nobody has what only disks had that are away, or were harmed and not seen whole since. */
static void judge_eventual(struct tm_sim_oracle *o)
{
    for (unsigned i = 0; i < o->node_count; i++)
        if (!tm_sim_is_up(o->sim, i) || o->nodes[i].harmed)
            tm_sim_truth_lose(o->truth, i);
    tm_sim_eventual_judge(o->eventual, o->truth, o->dropped);
}

struct tm_sim_eventual_stats tm_sim_oracle_eventual(const struct tm_sim_oracle *o)
{
    return o->eventual != NULL ? tm_sim_eventual_stats(o->eventual)
                               : (struct tm_sim_eventual_stats){0};
}

static void check_at_rest(void *host)
{
    struct tm_sim_oracle *o = host;
    if (o->eventual != NULL)
        judge_eventual(o);
    if (tm_sim_truth_stats(o->truth).forgiven > 0)
        wrong(o, "committed records were lost, though enough copies had them");
}

static void check_end(void *host)
{
    tm_sim_oracle_free(host);
}

const struct tm_sim_check tm_sim_oracle_check = {
    .name = "oracle", .begin = check_begin, .at_rest = check_at_rest, .end = check_end};
