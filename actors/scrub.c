/* A pass is a walk of the log (storage/wal_scrub.c) and then of the snapshots, partition by
 * partition, the newest first.  Time gives credit, reading takes it: a read may overdraw, and then
 * the next one waits.
 *
 * A snapshot's chunk that does not verify is read once more by a fresh reader, as a segment's piece
 * is: the device may have erred. */
#include "actors/scrub.h"

#include "actors/keeper.h"
#include "actors/shard_internal.h"

#include <stdlib.h>

enum stage { RESTING, IN_LOG, IN_SNAPSHOTS };

struct tm_scrub {
    struct tm_shard *shard;
    enum stage stage;
    uint64_t began, ticked;
    int64_t credit; /* bytes */
    bool stopped, reading;
    struct tm_log_scrub log;
    /* The snapshot that is being read. */
    struct tm_snapshot_reader *reader; /* NULL: the next one is looked for */
    struct tm_snapshot_closed closed;
    struct tm_snapshot_info info;
    uint32_t partition;
    bool older, again;
    uint64_t chunk;
};

static void count(const struct tm_scrub *x, enum tm_counter which, uint64_t n)
{
    tm_counter_add(x->shard->ctx->counters, which, n);
}

static void read_so_much(struct tm_scrub *x, uint64_t bytes)
{
    x->reading = false;
    x->credit -= (int64_t)bytes;
    count(x, TM_COUNTER_scrub_bytes, bytes);
}

static void tell(const struct tm_scrub *x, uint32_t partition, uint64_t first, uint64_t last,
                 const char *action)
{
    count(x, TM_COUNTER_scrub_damaged, 1);
    tm_ctx_log(x->shard->ctx, TM_LOG_ERROR, "scrub_damage",
               "partition=%u first=%llu last=%llu action=\"%s\"", partition,
               (unsigned long long)first, (unsigned long long)last, action);
}

/* ---- the log ---- */

/* The others can elect one of them, and it has all that was acknowledged. */
static bool replaceable(const struct tm_partition *p, uint64_t now)
{
    unsigned copies = 0, others = tm_replica_in_sync(&p->replica, now);
    const struct tm_members *m = &p->replica.members;
    for (unsigned i = 0; i < m->count; i++)
        copies += m->at[i].role == TM_MEMBER_VOTER;
    others = others == 0 || p->eventual ? 0 : others - 1;
    return copies == 2 ? others == 1 && m->count > 2 : others > copies / 2;
}

static void on_lost(struct tm_log_scrub *log, uint32_t partition, uint64_t first, uint64_t last)
{
    struct tm_scrub *x = log->owner;
    struct tm_shard *s = x->shard;
    struct tm_partition *p = tm_shard_find(s, partition);
    if (p == NULL || p->stopping)
        return;
    if (tm_keeper_give_up(s->keeper, p, last)) {
        tell(x, partition, first, last, "a snapshot holds it");
    } else if (tm_replica_leads(&p->replica) && p->store != NULL &&
               tm_store_committed(p->store) >= last && !replaceable(p, tm_ctx_now(s->ctx))) {
        tell(x, partition, first, last, "a snapshot is taken");
        tm_keeper_renew(s->keeper, p);
    } else {
        tell(x, partition, first, last, "repair from the leader");
        tm_log_lose(p->log, first, last);
    }
}

static void on_log_read(struct tm_log_scrub *log, uint64_t bytes)
{
    read_so_much(log->owner, bytes);
}

static void read_log(struct tm_scrub *x)
{
    enum tm_err e = tm_log_set_scrub(x->shard->logs, &x->log, (uint64_t)x->credit);
    x->reading = e == TM_OK;
    if (e == TM_OK)
        return;
    x->stage = e == TM_ERR_NOTFOUND ? IN_SNAPSHOTS : RESTING;
    x->partition = x->shard->self.worker;
    x->older = x->again = false;
}

/* ---- snapshots ---- */

static void close_reader(struct tm_scrub *x)
{
    if (x->reader != NULL)
        tm_snapshot_reader_close(x->reader, &x->closed);
    x->reader = NULL;
}

static void next_snapshot(struct tm_scrub *x)
{
    close_reader(x);
    x->again = false;
    if (x->older)
        x->partition += x->shard->node->workers;
    x->older = !x->older;
}

static void pass_ends(struct tm_scrub *x)
{
    x->stage = RESTING;
    count(x, TM_COUNTER_scrub_passes, 1);
    tm_ctx_log(x->shard->ctx, TM_LOG_DEBUG, "scrub_pass", "ms=%llu",
               (unsigned long long)((tm_ctx_now(x->shard->ctx) - x->began) / TM_MS(1)));
}

/* A snapshot that counts no more by now may be bad or gone. */
static bool still_counts(const struct tm_scrub *x)
{
    struct tm_snapshot_info now;
    return tm_keeper_snapshot(x->shard->keeper, x->partition, x->older, &now) &&
           now.walked_from == x->info.walked_from && now.walked_to == x->info.walked_to;
}

static void on_bad_chunk(struct tm_scrub *x, enum tm_err err)
{
    struct tm_partition *p = tm_shard_find(x->shard, x->partition);
    if (!still_counts(x) || p == NULL || (err != TM_ERR_CORRUPT && err != TM_ERR_IO)) {
        next_snapshot(x);
    } else if (!x->again) {
        close_reader(x);
        x->again = true;
    } else {
        tell(x, x->partition, x->info.walked_from, x->info.walked_to, "another snapshot is taken");
        tm_keeper_spoilt(x->shard->keeper, p, x->older);
        next_snapshot(x);
    }
}

static void on_chunk(void *host, enum tm_err err, uint64_t chunk, struct tm_bytes bytes)
{
    struct tm_scrub *x = host;
    read_so_much(x, tm_max_u64(bytes.len, TM_KIB(4)));
    if (err != TM_OK) {
        on_bad_chunk(x, err);
        return;
    }
    x->again = false;
    x->chunk = chunk + 1;
}

static void read_snapshot(struct tm_scrub *x)
{
    struct tm_shard *s = x->shard;
    while (x->reader == NULL) {
        if (x->partition > s->directory->partitions) {
            pass_ends(x);
            return;
        }
        struct tm_snapshot_info info;
        if (!tm_keeper_snapshot(s->keeper, x->partition, x->older, &info)) {
            next_snapshot(x);
            continue;
        }
        if (!x->again)
            x->chunk = 0;
        x->info = info;
        if (tm_snapshot_reader_new(s->ctx, &x->info, &x->reader) != TM_OK)
            return;
    }
    enum tm_err e = tm_snapshot_read(x->reader, x->chunk, on_chunk, x);
    x->reading = e == TM_OK;
    if (e == TM_ERR_NOTFOUND)
        next_snapshot(x);
    else if (e != TM_OK)
        on_bad_chunk(x, e);
}

/* ---- time ---- */

void tm_scrub_tick(struct tm_scrub *x)
{
    const struct tm_options *o = &x->shard->options;
    uint64_t now = tm_ctx_now(x->shard->ctx), passed = now - x->ticked;
    x->ticked = now;
    int64_t rate = (int64_t)o->scrub_rate;
    x->credit += rate * (int64_t)tm_min_u64(passed / TM_MS(1), 1000) / 1000;
    if (x->credit > rate)
        x->credit = rate; /* of a second */
    if (x->stage == RESTING && o->scrub_rate != 0 &&
        now - x->began >= TM_MS(o->scrub_interval_ms)) {
        x->began = now;
        x->stage = IN_LOG;
    }
}

void tm_scrub_turn(struct tm_scrub *x)
{
    if (x->reading || x->stopped || x->credit <= 0)
        return;
    if (x->stage == IN_LOG)
        read_log(x);
    else if (x->stage == IN_SNAPSHOTS)
        read_snapshot(x);
}

enum tm_err tm_scrub_new(struct tm_shard *shard, struct tm_scrub **out)
{
    struct tm_scrub *x = calloc(1, sizeof *x);
    if (x == NULL)
        return TM_ERR_NOMEM;
    x->shard = shard;
    x->began = x->ticked = tm_ctx_now(shard->ctx);
    x->log = (struct tm_log_scrub){.lost = on_lost, .done = on_log_read, .owner = x};
    *out = x;
    return TM_OK;
}

void tm_scrub_stop(struct tm_scrub *x)
{
    x->stopped = true;
}

bool tm_scrub_quiet(const struct tm_scrub *x)
{
    return !x->reading;
}

void tm_scrub_free(struct tm_scrub *x)
{
    if (x == NULL)
        return;
    if (x->reader != NULL && x->shard->abandoned)
        tm_snapshot_reader_abandon(x->reader);
    else if (x->reader != NULL)
        tm_snapshot_reader_close(x->reader, &x->closed);
    tm_snapshot_closed_free(&x->closed, x->shard->abandoned);
    tm_log_scrub_free(&x->log);
    free(x);
}
