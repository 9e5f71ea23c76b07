/* One turn: events were fed (frames, completions, client bytes); tm_shard_turn lets partitions give
 * the answers that became due, which may bring new requests, until nothing is due; tm_shard_flush
 * ships records, beats, writes the log's block and sends the frames.
 *
 * Before the cluster exists a shard only says hello; worker 0 runs the creation. */
#include "actors/keeper.h"
#include "actors/links.h"
#include "actors/offer.h"
#include "actors/scrub.h"
#include "actors/shard_internal.h"

#include <stdio.h>
#include <stdlib.h>

#define TICK_NS        TM_MS(10)
#define SLOW_NS        TM_MS(100)
#define BEHIND_NS      TM_MS(1)
#define DUE_ROUNDS_MAX 1024
#define CALLS_MAX      (1u << 17)
#define CALL_BYTES_MAX TM_MIB(64)
#define HANDOVER_MS    100  /* how long a former leader may still answer */
#define HAND_OVER_MS   1000 /* how long a leaving node tries to hand over */

/* ---- running ---- */

/* The cluster exists: what this worker needs for it is made. */
static enum tm_err begin_running(struct tm_shard *s, char *why, size_t why_size)
{
    tm_shard_take_directory(s);
    struct tm_dispatch_config c = {.ctx = s->ctx,
                                   .partitions = s->directory->partitions + 1,
                                   .self = s->self,
                                   .calls = CALLS_MAX,
                                   .bytes = CALL_BYTES_MAX,
                                   .patience_ms = TM_REQUEST_PATIENCE_MS,
                                   .handover_ms = HANDOVER_MS,
                                   .ops = tm_shard_dispatch_ops(s)};
    s->dispatch = tm_dispatch_new(&c);
    if (s->dispatch == NULL) {
        snprintf(why, why_size, "not enough memory for requests");
        return TM_ERR_NOMEM;
    }
    s->router.partitions = s->directory->partitions;
    s->ask_owed = ~(1ULL << s->self.node);
    return tm_shard_open_storage(s, why, why_size);
}

/* Whether the data directory says that every worker's log of this generation is there.  Until then
 * nothing is acknowledged, so that a start which failed half-way left nothing that counts.  Worker
 * 0 writes it. */
static enum tm_err logs_noted(struct tm_shard *s, bool *noted, char *why, size_t why_size)
{
    struct tm_node *n = s->node;
    *noted = atomic_load(&n->logs_noted);
    if (*noted || s->self.worker != 0 || atomic_load(&n->logs_open) < n->workers)
        return TM_OK;
    struct tm_datadir_error err;
    enum tm_err e = tm_datadir_opened(s->ctx->disk, s->config.identity, &err);
    if (e != TM_OK)
        snprintf(why, why_size, "%s", err.text);
    *noted = e == TM_OK;
    atomic_store(&n->logs_noted, *noted);
    return e;
}

static void check_running(struct tm_shard *s)
{
    char why[512];
    bool noted = false;
    if (s->running || s->failed || s->stopping || !atomic_load(&s->node->running))
        return;
    enum tm_err e = s->logs == NULL ? begin_running(s, why, sizeof why) : TM_OK;
    if (e == TM_OK)
        e = logs_noted(s, &noted, why, sizeof why);
    if (e == TM_OK && noted)
        e = tm_shard_open_partitions(s, why, sizeof why);
    if (e == TM_OK && s->running)
        tm_shard_way_start(s);
    if (e != TM_OK) {
        s->failed = true;
        s->config.fatal(s->config.host, e, why);
    }
}

/* Once no worker's log needs an older generation, that is noted, and the next start removes its
 * files. */
static void tend_generations(struct tm_shard *s)
{
    struct tm_node *n = s->node;
    struct tm_datadir_error err;
    uint32_t partition;
    const struct tm_hs *hs = tm_log_set_hs(s->logs);
    if (tm_log_set_needs_older(s->logs, &partition))
        s->moving = 0;
    else if (s->moving == 0)
        s->moving = tm_hs_floors(hs) + 1;
    if (!s->moved && s->moving != 0 && tm_hs_floors_saved(hs) + 1 >= s->moving) {
        s->moved = true;
        atomic_fetch_add(&n->logs_moved, 1);
    }
    if (s->self.worker == 0 && atomic_load(&n->logs_moved) == n->workers &&
        s->config.identity->generation_count > 1 &&
        tm_datadir_forget_older(s->ctx->disk, s->config.identity, &err) != TM_OK)
        tm_ctx_log(s->ctx, TM_LOG_ERROR, "older_logs_kept", "text=\"%s\"", err.text);
}

/* ---- life ---- */

struct tm_shard *tm_shard_new(const struct tm_shard_config *config)
{
    struct tm_shard *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->config = *config;
    s->memory_limit = config->memory_limit;
    s->ctx = config->ctx;
    s->node = config->node;
    s->options = *config->options;
    s->self =
        (struct tm_place){.node = (uint8_t)config->node->self, .worker = (uint8_t)config->worker};
    s->backlog_end = &s->backlog;
    s->put_off_end = &s->put_off;
    s->post = tm_shard_post_new(s);
    bool way = tm_shard_way_new(s);
    tm_shard_router_init(s);
    s->sessions = tm_sessions_new(s->ctx, &s->router, &config->limits, config->worker);
    if (s->post == NULL || s->sessions == NULL || !way) {
        tm_shard_free(s);
        return NULL;
    }
    return s;
}

struct tm_fabric_sink tm_shard_sink(struct tm_shard *s)
{
    return tm_post_sink(s->post);
}

void tm_shard_set_fabric(struct tm_shard *s, struct tm_fabric *fabric)
{
    tm_post_set_fabric(s->post, fabric);
}

struct tm_sessions *tm_shard_sessions(struct tm_shard *s)
{
    return s->sessions;
}

enum tm_err tm_shard_start(struct tm_shard *s, char *why, size_t why_size)
{
    for (unsigned i = 0; i < s->node->spec.count; i++)
        if (i != s->self.node)
            tm_post_know(s->post, (struct tm_place){.node = (uint8_t)i});
    if (s->self.worker == 0) {
        enum tm_err r = s->node->site_count == 0
                            ? TM_OK /* nobody else has anything of this cluster */
                            : tm_restored_load(s->ctx->disk, &s->node->restored);
        if (r != TM_OK) {
            snprintf(why, why_size,
                     "the file \"" TM_RESTORED_FILE "\" of the data directory cannot be read: %s; "
                     "`tidemill restored` writes it anew",
                     tm_err_text(r));
            return r;
        }
        struct tm_creation_ops ops = tm_shard_creation_ops(s);
        enum tm_err e = tm_creation_start(&s->creation, s->ctx, s->node, s->config.identity, &ops);
        if (e != TM_OK) {
            snprintf(why, why_size,
                     "the file \"directory\" of the data directory cannot be read: %s%s",
                     tm_err_text(e),
                     e != TM_ERR_CORRUPT ? ""
                                         : "; if the other nodes are well, empty this node's data "
                                           "directory and start it again");
            return e;
        }
    }
    return atomic_load(&s->node->running) ? begin_running(s, why, why_size) : TM_OK;
}

void tm_shard_local(struct tm_shard *s, unsigned worker, struct tm_bytes message)
{
    tm_post_local(s->post, worker, message);
}

/* ---- turns ---- */

static void leave(struct tm_shard *s);

static void give_due(struct tm_shard *s)
{
    for (unsigned rounds = 0; s->env.due != NULL && rounds < DUE_ROUNDS_MAX; rounds++) {
        struct tm_partition *list = s->env.due;
        s->env.due = NULL;
        while (list != NULL) {
            struct tm_partition *p = list;
            list = p->due_next;
            tm_partition_turn(p);
        }
    }
}

static void slow_work(struct tm_shard *s)
{
    for (uint32_t i = 0; i < s->slots; i++)
        if (s->partitions[i] != NULL)
            tm_partition_tick(s->partitions[i]);
    tm_shard_tend_room(s);
    s->env.out_of_memory = s->memory_limit != 0 && s->arena.bytes > s->memory_limit;
    tm_shard_publish(s);
    tm_shard_tend_directory(s);
    tend_generations(s);
    tm_shard_settle_leaders(s);
    tm_keeper_tick(s->keeper);
    tm_scrub_tick(s->scrub);
    tm_post_housekeep(s->post);
    if (s->way != NULL)
        tm_link_way_housekeep(s->way);
    tm_offers_tick(s->offers);
    if (s->link_streams != NULL)
        tm_links_tick(s->link_streams);
}

static void timed_work(struct tm_shard *s)
{
    uint64_t now = tm_ctx_now(s->ctx);
    if (s->epoch_seen != atomic_load_explicit(&s->node->epoch, memory_order_relaxed)) {
        s->epoch_seen = atomic_load(&s->node->epoch);
        tm_shard_renumber(s);
        tm_dispatch_leaders_changed(s->dispatch);
    }
    if (tm_dispatch_next_deadline(s->dispatch) <= now && tm_dispatch_tick(s->dispatch))
        tm_sessions_resume(s->sessions);
    if (now >= s->next_slow) {
        s->next_slow = now + SLOW_NS;
        slow_work(s);
    }
    if (!s->stopped && tm_log_set_next_deadline(s->logs) <= now)
        tm_log_set_tick(s->logs);
}

void tm_shard_turn(struct tm_shard *s)
{
    if (s->self.worker == 0)
        tm_creation_tick(&s->creation);
    if (s->directory != NULL)
        tm_shard_take_directory(s);
    check_running(s);
    tm_shard_go_on(s);
    if (s->running) {
        tm_shard_way_turn(s);
        tm_partition_apply_behind(&s->env);
        give_due(s);
        timed_work(s);
        s->keeper_busy = tm_keeper_turn(s->keeper);
        s->keeper_busy = tm_offers_turn(s->offers) || s->keeper_busy;
        tm_scrub_turn(s->scrub);
        if (s->link_streams != NULL)
            (void)tm_links_turn(s->link_streams);
    }
    leave(s);
    if (tm_ctx_now(s->ctx) >= s->next_tick) {
        s->next_tick = tm_ctx_now(s->ctx) + SLOW_NS;
        tm_sessions_tick(s->sessions);
    }
}

/* Eventual mode gathers for --async-batch-us or until --async-batch-bytes, and never more nor
 * longer than a failover may lose. */
static bool gathering(struct tm_shard *s)
{
    if (!s->env.eventual || s->env.dirty == NULL || s->env.window_full ||
        s->env.unshipped_bytes >= s->options.async_batch_bytes)
        return false;
    uint64_t now = tm_ctx_now(s->ctx);
    if (s->ship_at == 0)
        s->ship_at =
            now + tm_min_u64(TM_US(s->options.async_batch_us), TM_MS(s->options.async_window_ms));
    return now < s->ship_at;
}

static void ship_dirty(struct tm_shard *s)
{
    if (gathering(s))
        return;
    s->ship_at = 0;
    s->env.unshipped_bytes = 0;
    s->env.window_full = false;
    while (s->env.dirty != NULL) {
        struct tm_partition *p = s->env.dirty;
        s->env.dirty = p->dirty_next;
        tm_partition_ship(p);
    }
}

/* The log's block of this turn.  With --durability memory nobody waits for records, and they are
 * flushed behind, BEHIND_NS later; hard state never waits. */
static void flush_log(struct tm_shard *s)
{
    uint64_t now = tm_ctx_now(s->ctx);
    bool behind = s->options.durability == TM_DURABILITY_MEMORY && !s->stopping;
    if (behind && !s->env.flush_now && now < s->flush_at)
        return;
    s->env.flush_now = false;
    s->flush_at = now + BEHIND_NS;
    tm_log_set_flush(s->logs);
}

void tm_shard_flush(struct tm_shard *s)
{
    if (s->running) {
        tm_partition_apply_behind(&s->env);
        give_due(s);
        ship_dirty(s);
        s->beat_deadline = tm_beat_turn(&s->beat);
        give_due(s);
        ship_dirty(s);
        if (!s->stopped) /* from then on the log is to be closed */
            flush_log(s);
        tm_shard_drain_backlog(s);
    }
    if (s->way != NULL)
        tm_link_way_flush(s->way);
    tm_post_flush(s->post);
    if (s->stopping && !s->stopped && (s->logs == NULL || tm_log_set_idle(s->logs)))
        s->stopped = true;
}

uint64_t tm_shard_next_deadline(const struct tm_shard *s)
{
    uint64_t next = tm_min_u64(tm_post_next_deadline(s->post), s->next_tick);
    if (s->self.worker == 0)
        next = tm_min_u64(next, tm_creation_next_deadline(&s->creation));
    if (s->way != NULL)
        next = tm_min_u64(next, tm_link_way_next_deadline(s->way));
    if (!s->running || s->leave_by != 0)
        return tm_min_u64(next, tm_ctx_now(s->ctx) + TICK_NS);
    next = tm_min_u64(next, tm_min_u64(s->beat_deadline, s->next_slow));
    if (s->ship_at != 0)
        next = tm_min_u64(next, s->ship_at);
    if (s->options.durability == TM_DURABILITY_MEMORY && !tm_log_set_idle(s->logs))
        next = tm_min_u64(next, s->flush_at);
    next = tm_min_u64(next, tm_dispatch_next_deadline(s->dispatch));
    if (s->link_streams != NULL)
        next = tm_min_u64(next, tm_links_next_deadline(s->link_streams));
    return s->stopped ? next : tm_min_u64(next, tm_log_set_next_deadline(s->logs));
}

bool tm_shard_idle(const struct tm_shard *s)
{
    return s->env.due == NULL && s->put_off == NULL && (s->env.dirty == NULL || s->ship_at != 0) &&
           !s->keeper_busy && (s->link_streams == NULL || tm_links_idle(s->link_streams));
}

/* ---- the end ---- */

/* Hands every partition led here to the first member that has all of it; true if none is left. */
static bool hand_over(struct tm_shard *s)
{
    bool none = true;
    for (uint32_t i = 0; s->running && i < s->slots; i++) {
        struct tm_partition *p = s->partitions[i];
        if (p == NULL || !p->leading)
            continue;
        const struct tm_members *m = &p->replica.members;
        for (unsigned k = 0; k < m->count; k++)
            if (m->at[k].role == TM_MEMBER_VOTER && m->at[k].id.node != s->self.node &&
                atomic_load(&s->node->peer_alive[m->at[k].id.node])) {
                none = false;
                if (tm_replica_transfer(&p->replica, m->at[k].id.node) == TM_OK)
                    break;
            }
    }
    return none;
}

static void stop_partitions(struct tm_shard *s)
{
    s->stopping = true;
    if (s->running) {
        tm_keeper_stop(s->keeper);
        tm_scrub_stop(s->scrub);
    }
    if (s->link_streams != NULL)
        tm_links_stop(s->link_streams);
    for (uint32_t i = 0; s->running && i < s->slots; i++) {
        struct tm_partition *p = s->partitions[i];
        if (p == NULL)
            continue;
        tm_replica_resign(&p->replica);
        tm_partition_stop(p);
    }
}

void tm_shard_stop(struct tm_shard *s)
{
    if (s->leave_by != 0)
        return;
    s->leave_by = tm_ctx_now(s->ctx) + TM_MS(HAND_OVER_MS);
    for (uint32_t i = 0; s->running && i < s->slots; i++)
        if (s->partitions[i] != NULL)
            tm_replica_leave(&s->partitions[i]->replica);
}

/* On the way out: serves on while leadership is handed over, then stops. */
static void leave(struct tm_shard *s)
{
    if (s->leave_by == 0 || s->stopping)
        return;
    if (hand_over(s) || tm_ctx_now(s->ctx) >= s->leave_by)
        stop_partitions(s);
}

bool tm_shard_stopped(const struct tm_shard *s)
{
    for (uint32_t i = 0; s->running && i < s->slots; i++)
        if (s->partitions[i] != NULL && !tm_partition_quiet(s->partitions[i]))
            return false;
    return s->stopped && tm_creation_quiet(&s->creation) &&
           (s->way == NULL || tm_link_way_quiet(s->way)) &&
           (!s->running ||
            (tm_keeper_quiet(s->keeper) && tm_offers_quiet(s->offers) && tm_scrub_quiet(s->scrub) &&
             (s->link_streams == NULL || tm_links_quiet(s->link_streams))));
}

void tm_shard_free(struct tm_shard *s)
{
    if (s == NULL)
        return;
    if (s->sessions != NULL)
        tm_sessions_delete(s->sessions);
    if (s->running || s->slots != 0)
        tm_shard_close_storage(s);
    tm_dispatch_free(s->dispatch);
    tm_shard_way_free(s);
    tm_post_free(s->post);
    tm_creation_end(&s->creation);
    tm_request_words_free(&s->words);
    tm_shard_drop_put_off(s);
    while (s->backlog != NULL) {
        struct tm_backlog *b = s->backlog;
        s->backlog = b->next;
        free(b);
    }
    free(s);
}

void tm_shard_abandon(struct tm_shard *s)
{
    s->abandoned = true;
    tm_shard_free(s);
}

enum tm_err tm_shard_transfer(struct tm_shard *s, uint32_t partition, unsigned node)
{
    struct tm_partition *p = tm_shard_find(s, partition);
    return p == NULL ? TM_ERR_NOTFOUND : tm_replica_transfer(&p->replica, node);
}

bool tm_shard_snapshot(struct tm_shard *s, uint32_t partition)
{
    struct tm_partition *p = tm_shard_find(s, partition);
    if (p == NULL || !tm_keeper_take(s->keeper, p))
        return false;
    s->keeper_busy = true;
    return true;
}

void tm_shard_partitions(struct tm_shard *s,
                         void (*visit)(void *arg, const struct tm_shard_partition *p), void *arg)
{
    for (uint32_t i = 0; s->running && i < s->slots; i++) {
        const struct tm_partition *p = s->partitions[i];
        if (p == NULL)
            continue;
        struct tm_replica_status st = tm_replica_status(&p->replica);
        struct tm_shard_partition out = {.partition = p->id,
                                         .role =
                                             p->witness ? "WITNESS" : tm_replica_role_name(st.role),
                                         .leader = st.leader,
                                         .term = st.term,
                                         .commit = st.commit,
                                         .last = st.last,
                                         .last_term = p->replica.last.term,
                                         .node = s->self.node,
                                         .set_term = p->replica.hs.insync.term,
                                         .set_epoch = p->replica.hs.insync.epoch,
                                         .copies = s->directory->placement[p->id].copies,
                                         .ready = p->announced,
                                         .faulty = p->replica.hs.health != TM_HEALTH_WHOLE};
        for (unsigned k = 0; k < p->replica.hs.insync.count; k++)
            out.set_nodes |= UINT64_C(1) << p->replica.hs.insync.at[k].node;
        if (p->leading)
            out.in_sync = tm_replica_in_sync(&p->replica, tm_ctx_now(s->ctx));
        if (p->store != NULL) {
            out.applied = tm_store_applied(p->store);
            out.entities = tm_store_count(p->store);
            out.state_hash = tm_store_state_hash(p->store);
        }
        visit(arg, &out);
    }
}

const struct tm_partition *tm_shard_partition(const struct tm_shard *s, uint32_t id)
{
    return tm_shard_find(s, id);
}
