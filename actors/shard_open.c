/* Opening: snapshots are loaded, the log is replayed into them; then, when all workers have come
 * that far, a replica starts for each partition that this node has a part in and this worker owns.
 */
#include "actors/keeper.h"
#include "actors/links.h"
#include "actors/offer.h"
#include "actors/scrub.h"
#include "actors/shard_internal.h"

#include <stdio.h>
#include <stdlib.h>

#define GATHER_NS TM_US(1500) /* of the log, under load: several times what a flush takes */

static void on_durable(void *host, uint32_t partition, uint64_t index)
{
    struct tm_partition *p = tm_shard_find(host, partition);
    if (p != NULL && !p->stopping)
        tm_partition_durable(p, index);
}

static void on_coming(void *host, uint32_t partition)
{
    const struct tm_partition *p = tm_shard_find(host, partition);
    if (p != NULL)
        tm_partition_prefetch(p);
}

static void on_hard(void *host, uint32_t partition)
{
    struct tm_partition *p = tm_shard_find(host, partition);
    if (p != NULL && !p->stopping)
        tm_partition_hard_durable(p);
}

static void on_fault(void *host, uint32_t partition)
{
    struct tm_partition *p = tm_shard_find(host, partition);
    if (p != NULL && !p->stopping)
        tm_partition_fault(p);
}

static void on_failed(void *host, enum tm_err err)
{
    struct tm_shard *s = host;
    s->failed = true;
    for (uint32_t i = 0; i < s->slots; i++)
        if (s->partitions[i] != NULL)
            tm_replica_resign(&s->partitions[i]->replica);
    s->config.fatal(s->config.host, err,
                    "the write-ahead log failed: nothing more is acknowledged; see the kernel log, "
                    "replace the device, and start the node with an empty data directory");
}

void tm_shard_tend_room(struct tm_shard *s)
{
    const struct tm_wal *wal = tm_log_set_wal(s->logs);
    bool full = tm_wal_short(wal) &&
                s->ctx->disk->free_bytes(s->ctx->disk) < 2 * s->options.wal_segment_bytes;
    if (full != s->disk_full)
        tm_ctx_log(s->ctx, full ? TM_LOG_ERROR : TM_LOG_INFO, full ? "disk_full" : "disk_has_room",
                   "text=\"%s\"",
                   full ? "writes are refused until space is free, large ones first"
                        : "writes are taken again");
    s->disk_full = full;
    full = full && tm_wal_state(wal) == TM_WAL_FULL; /* as to what is small */
    for (uint32_t i = 0; i < s->slots; i++)
        if (s->partitions[i] != NULL && !s->partitions[i]->stopping)
            tm_replica_room(&s->partitions[i]->replica, !full);
}

static void on_space(void *host, bool available)
{
    struct tm_shard *s = host;
    (void)available;
    if (s->running)
        tm_shard_tend_room(s);
}

static bool base_of(void *host, uint32_t partition, struct tm_log_base *out)
{
    struct tm_shard *s = host;
    return tm_keeper_base(s->keeper, partition, out);
}

static void note_record(void *host, uint32_t partition, struct tm_bytes bytes)
{
    struct tm_shard *s = host;
    const struct tm_record *r = (const struct tm_record *)(const void *)bytes.data;
    tm_hlc_observe(&s->hlc, r->hlc);
    tm_seen_members_found(&s->seen[partition / s->node->workers], r);
}

static void note_restored(void *host, uint32_t partition, struct tm_bytes bytes)
{
    struct tm_shard *s = host;
    const struct tm_record *r = (const struct tm_record *)(const void *)bytes.data;
    tm_hlc_observe(&s->hlc, r->hlc);
    tm_seen_members_restored(&s->seen[partition / s->node->workers], r);
}

/* Applied as it is found, while it is in memory: afterwards each would have to be read again, from
 * blocks that hold records of all partitions. */
static void apply_record(void *host, uint32_t partition, struct tm_bytes bytes)
{
    struct tm_shard *s = host;
    const struct tm_holders *h = &s->node->directory->placement[partition];
    if (!tm_holders_include(h, s->node->self) || h->witness == s->node->self)
        return;
    const struct tm_record *r = (const struct tm_record *)(const void *)bytes.data;
    enum tm_err e = tm_store_apply(tm_keeper_store(s->keeper, partition), r, false);
    TM_ASSERT(e == TM_OK);
    tm_counter_add(s->ctx->counters, TM_COUNTER_applied, 1);
}

static enum tm_err open_logs(struct tm_shard *s)
{
    const struct tm_options *o = &s->options;
    const struct tm_datadir_identity *id = s->config.datadir;
    const struct tm_directory *d = s->directory;
    const struct tm_wal_generation *now = &id->generations[id->generation_count - 1];
    struct tm_log_set_config c = {
        .wal = {.ctx = s->ctx,
                .folder = TM_DATADIR_WAL,
                .worker = s->self.worker,
                .generation = now->generation,
                .partitions = d->partitions + 1,
                .disk_id = id->disk_id,
                .incarnation = id->incarnation,
                .segment_bytes = o->wal_segment_bytes,
                .max_record_bytes = (uint32_t)tm_min_u64(TM_RECORD_MAX, o->wal_segment_bytes / 2),
                .max_bytes = o->wal_bytes,
                .gather_ns = GATHER_NS,
                .marker_ns = TM_MS(o->wal_idle_marker_ms),
                .stall_ns = TM_MS(o->disk_stall_ms),
                .sync = s->config.sync,
                .older = id->generations,
                .older_count = id->generation_count - 1},
        .workers = s->node->workers,
        .opened = id->opened,
        .callbacks = {.host = s,
                      .durable = on_durable,
                      .coming = on_coming,
                      .hard = on_hard,
                      .fault = on_fault,
                      .failed = on_failed,
                      .space = on_space},
        .base = base_of,
        .found = note_record,
        .restored = note_restored,
        .committed = apply_record,
    };
    memcpy(c.wal.cluster, d->uuid, 16);
    return tm_log_set_open(&c, &s->logs);
}

/* The members as made at creation.  On a disk that was not there then: nothing, a leader tells. */
static struct tm_members first_members(const struct tm_shard *s, const struct tm_holders *h)
{
    const struct tm_directory *d = s->directory;
    struct tm_members m = {0};
    if (d->nodes[s->node->self].disk_id != s->node->disk_id)
        return m;
    for (unsigned i = 0; i < h->copies; i++)
        m.at[m.count++] =
            (struct tm_member){.id = {.disk = d->nodes[h->data[i]].disk_id, .node = h->data[i]},
                               .role = TM_MEMBER_VOTER};
    if (h->witness != TM_NO_NODE)
        m.at[m.count++] =
            (struct tm_member){.id = {.disk = d->nodes[h->witness].disk_id, .node = h->witness},
                               .role = TM_MEMBER_WITNESS};
    return m;
}

/* The members before those of the newest CONFIG record in the log, should that be cut: of the
 * record before it, of the snapshot, or as the cluster was created. */
static struct tm_members members_before(const struct tm_seen_members *seen,
                                        const struct tm_members *snapshot,
                                        const struct tm_members *first)
{
    struct tm_members m = seen->before.count > 0 ? seen->before : *first;
    if (snapshot->count > 0 && snapshot->index >= m.index &&
        (seen->last.count == 0 || snapshot->index < seen->last.index))
        m = *snapshot;
    return m;
}

/* A disk that cannot prove which votes it gave might give another in the same term.  Catching up
 * does not help that: only a new disk id does, and the partition stays closed until then. */
static bool promises_proven(const struct tm_shard *s, uint32_t id)
{
    struct tm_hard_state hs;
    if (tm_hs_get(tm_log_set_hs(s->logs), id, &hs) != TM_ERR_CORRUPT)
        return true;
    tm_ctx_log(
        s->ctx, TM_LOG_ERROR, "votes_not_proven",
        "partition=%u text=\"the votes that this disk gave are damaged; the partition is not "
        "started: stop the node, %s\"",
        id,
        s->directory->placement[id].copies > 1
            ? "empty its data directory and start it as a new copy"
            : "restore its data directory from a backup: there is no other copy (emptied, it "
              "starts without the data)");
    return false;
}

static enum tm_err make_partition(struct tm_shard *s, uint32_t id)
{
    const struct tm_holders *h = &s->directory->placement[id];
    struct tm_seen_members *seen = &s->seen[id / s->node->workers];
    tm_seen_members_end(seen, tm_log_last(tm_log_set_log(s->logs, id)));
    if (!tm_holders_include(h, s->node->self)) {
        tm_log_disown(tm_log_set_log(s->logs, id));
        return TM_OK;
    }
    struct tm_partition_boot boot = {.id = id,
                                     .witness = h->witness == s->node->self,
                                     .strong = id == s->directory->partitions,
                                     .unclean = s->options.durability == TM_DURABILITY_MEMORY &&
                                                !s->config.was_clean};
    struct tm_members snapshot = {0};
    if (!boot.witness) {
        enum tm_err e = tm_keeper_load(s->keeper, id, &boot.store, &snapshot);
        if (e != TM_OK)
            return e;
        struct tm_log_base base;
        if (tm_keeper_base(s->keeper, id, &base))
            boot.base = (struct tm_tail){.index = base.index, .term = base.term, .hash = base.hash};
    }
    struct tm_members first = first_members(s, h);
    boot.members = seen->last.count > 0 ? seen->last : snapshot.count > 0 ? snapshot : first;
    boot.previous = members_before(seen, &snapshot, &first);
    if (!promises_proven(s, id)) {
        if (boot.store != NULL)
            tm_store_delete(boot.store);
        s->refused++;
        return TM_OK;
    }
    struct tm_partition *p = tm_partition_new(&s->env, &boot);
    s->partitions[id / s->node->workers] = p;
    return p != NULL ? TM_OK : TM_ERR_NOMEM;
}

static void set_options(struct tm_shard *s)
{
    const struct tm_options *o = &s->options;
    struct tm_replica_options *r = &s->replica_options;
    tm_replica_options_default(r);
    r->solo_stop = o->solo == TM_SOLO_STOP;
    r->election_min_ns = TM_MS(o->election_timeout_ms);
    r->election_max_ns = TM_MS(o->election_timeout_ms) * 2;
    r->clock_skew_ms_max = o->max_clock_skew_ms;
    r->disk_stall_ns = TM_MS(o->disk_stall_ms);
    s->strong_options = *r;
    r->eventual = s->directory->eventual;
    if (r->eventual) {
        r->window_bytes_max = o->async_window_bytes;
        r->window_ns_max = TM_MS(o->async_window_ms);
    }
    tm_beat_options_default(&s->beat_options);
    s->beat_options.interval_ns = TM_MS(o->heartbeat_ms);
    s->beat_options.rest_interval_ns = TM_MS(o->heartbeat_rest_ms);
}

/* Words of a command are fixed when the sessions are made; their table of clients has room for
 * twice what was asked for then. */
static void set_client_limits(struct tm_shard *s)
{
    struct tm_session_limits *now = tm_sessions_limits(s->sessions);
    struct tm_session_limits wanted = tm_session_limits_of(&s->options);
    wanted.args = now->args;
    *now = wanted;
}

void tm_shard_options(struct tm_shard *s, const struct tm_options *options)
{
    s->options = *options;
    set_client_limits(s);
    s->env.reply.limit = options->client_output_buffer_bytes;
    s->memory_limit = options->memory_limit != 0
                          ? tm_max_u64(options->memory_limit / s->node->workers, 1)
                          : s->config.memory_limit;
    if (s->running)
        set_options(s);
    if (s->logs != NULL)
        tm_wal_set_limits(tm_log_set_wal(s->logs), options->wal_bytes,
                          TM_MS(options->wal_idle_marker_ms), TM_MS(options->disk_stall_ms));
}

static void beat_send(void *host, unsigned node, unsigned worker, struct tm_bytes message)
{
    struct tm_shard *s = host;
    struct tm_place to = {.node = (uint8_t)node, .worker = (uint8_t)worker};
    tm_post_send(s->post, to, (struct tm_message_head){.type = TM_MESSAGE_HEARTBEAT}, &message, 1);
}

static uint64_t flush_age(void *host)
{
    struct tm_shard *s = host;
    return tm_wal_stalled_ns(tm_log_set_wal(s->logs));
}

static const struct tm_beat_io beat_io = {.send = beat_send, .flush_age_ns = flush_age};

static enum tm_err make_shared(struct tm_shard *s)
{
    struct tm_node *n = s->node;
    const struct tm_directory *d = s->directory;
    struct tm_id self = {.disk = n->disk_id, .node = (uint8_t)n->self};
    unsigned links = d->members * TM_WORKERS_MAX;
    s->beat_links = calloc(links, sizeof *s->beat_links);
    s->slots = d->partitions / n->workers + 1;
    s->partitions = calloc(s->slots, sizeof *s->partitions);
    s->seen = calloc(s->slots, sizeof *s->seen);
    uint8_t *record = aligned_alloc(64, TM_RECORD_MAX);
    if (s->beat_links == NULL || s->partitions == NULL || s->seen == NULL || record == NULL) {
        free(record);
        return TM_ERR_NOMEM;
    }
    set_options(s);
    s->policy = (struct tm_link_policy){.keep = tm_links_sharing,
                                        .host = s,
                                        .conflict = tm_links_conflict,
                                        .rule = tm_links_rule,
                                        .combine = tm_links_combine,
                                        .covers = tm_links_covers};
    s->env = (struct tm_partition_env){.ctx = s->ctx,
                                       .options = &s->options,
                                       .replica_options = &s->replica_options,
                                       .strong_options = &s->strong_options,
                                       .ops = &tm_shard_partition_ops,
                                       .host = s,
                                       .arena = &s->arena,
                                       .beat = &s->beat,
                                       .hlc = &s->hlc,
                                       .policy = s->way != NULL ? &s->policy : NULL,
                                       .origin = tm_shard_origin(s),
                                       .self = self,
                                       .node_names = n->spec.names,
                                       .node_count = n->spec.count,
                                       .eventual = d->eventual,
                                       .record = record};
    tm_resp_writer_init(&s->env.reply, s->options.client_output_buffer_bytes);
    tm_beat_init(&s->beat, &s->beat_options, &beat_io, s, s->ctx, self, s->self.worker, n->boot,
                 s->beat_links, links);
    tm_beat_workers(&s->beat, n->self, n->workers);
    return tm_arena_open(&s->arena);
}

static enum tm_err make_logs(struct tm_shard *s, const char **doing)
{
    *doing = "make the worker's tables";
    enum tm_err e = make_shared(s);
    if (e != TM_OK)
        return e;
    *doing = "read the snapshots (folder snapshots of the data directory)";
    e = tm_keeper_new(s, &s->keeper);
    if (e != TM_OK)
        return e;
    *doing = "find what was cut off before (folder offers)";
    e = tm_offers_new(s, &s->offers);
    if (e != TM_OK)
        return e;
    *doing = "open the write-ahead log (folder wal of the data directory)";
    e = open_logs(s);
    s->env.logs = s->logs;
    return e == TM_OK ? tm_scrub_new(s, &s->scrub) : e;
}

static enum tm_err cannot(const struct tm_shard *s, const char *doing, enum tm_err e, char *why,
                          size_t why_size)
{
    snprintf(why, why_size, "worker %u cannot %s: %s", s->self.worker, doing, tm_err_text(e));
    return e;
}

enum tm_err tm_shard_open_storage(struct tm_shard *s, char *why, size_t why_size)
{
    const char *doing;
    enum tm_err e = make_logs(s, &doing);
    if (e != TM_OK)
        return cannot(s, doing, e, why, why_size);
    atomic_fetch_add(&s->node->logs_open, 1);
    return TM_OK;
}

/* Peers that came up before this worker ran: nobody told its heartbeats of them. */
static void know_peers(struct tm_shard *s)
{
    struct tm_node *n = s->node;
    for (unsigned i = 0; i < n->directory->members; i++)
        if (i != n->self && atomic_load(&n->peer_workers[i]) != 0)
            tm_beat_workers(&s->beat, i, atomic_load(&n->peer_workers[i]));
}

enum tm_err tm_shard_open_partitions(struct tm_shard *s, char *why, size_t why_size)
{
    enum tm_err e = TM_OK;
    know_peers(s);
    s->running = true;
    for (uint32_t id = s->self.worker; e == TM_OK && id <= s->directory->partitions;
         id += s->node->workers)
        e = make_partition(s, id);
    free(s->seen);
    s->seen = NULL;
    if (e == TM_OK && (s->way != NULL || s->links->out_count > 0)) {
        s->link_streams = tm_links_new(s, s->way);
        e = s->link_streams != NULL ? TM_OK : TM_ERR_NOMEM;
    }
    return e == TM_OK ? TM_OK : cannot(s, "load the partitions", e, why, why_size);
}

void tm_shard_close_storage(struct tm_shard *s)
{
    tm_links_free(s->link_streams);
    for (uint32_t i = 0; i < s->slots; i++)
        if (s->partitions[i] != NULL)
            tm_partition_free(s->partitions[i]);
    tm_scrub_free(s->scrub);
    tm_keeper_free(s->keeper);
    tm_offers_free(s->offers);
    if (s->logs != NULL && s->abandoned)
        tm_log_set_abandon(s->logs);
    else if (s->logs != NULL)
        tm_log_set_close(s->logs, s->stopped && !s->failed);
    if (s->env.record != NULL) {
        tm_resp_writer_free(&s->env.reply);
        tm_arena_close(&s->arena);
    }
    free(s->env.record);
    free(s->seen);
    free(s->partitions);
    free(s->beat_links);
}
