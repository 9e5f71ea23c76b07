/* What sessions ask of their worker: struct tm_router over the dispatch, the node and the options.
 */
#include "actors/keeper.h"
#include "actors/links.h"
#include "actors/shard_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

static struct tm_shard *shard(void *host)
{
    return host;
}

/* In eventual mode any replica answers reads: one that is here does. */
static bool read_here(struct tm_shard *s, uint64_t session, const struct tm_request *rq);

static enum tm_err r_submit(void *host, uint64_t session, const struct tm_request *rq)
{
    struct tm_shard *s = shard(host);
    if (!s->running || s->stopping) {
        struct tm_answer a = {.id = rq->id, .status = TM_ANSWER_REFUSED, .err = TM_ERR_NOTLEADER};
        if (rq->kind != TM_REQUEST_UNWATCH)
            tm_sessions_answer(s->sessions, session, &a);
        return TM_OK;
    }
    if (s->env.eventual && read_here(s, session, rq))
        return TM_OK;
    return tm_dispatch_submit(s->dispatch, session, rq);
}

/* The partition answers through ops.answer, which knows places, not sessions: for the length of the
 * call the answer is caught here. */
static bool read_here(struct tm_shard *s, uint64_t session, const struct tm_request *rq)
{
    struct tm_partition *p = tm_shard_find(s, rq->partition);
    if (p == NULL || !p->eventual || p->leading)
        return false;
    s->read_session = session;
    bool answered = tm_partition_read_here(p, TM_PLACE_SESSION, rq);
    s->read_session = 0;
    return answered;
}

/* First the partitions, then their stores, then step by step what the keys lead to there. */
static void r_coming(void *host, const struct tm_bytes *keys, unsigned count)
{
    struct tm_shard *s = shard(host);
    struct tm_partition *partitions[TM_SESSIONS_COMING];
    struct tm_store_ahead ahead[TM_SESSIONS_COMING];
    unsigned n = 0;
    if (!s->running)
        return;
    for (unsigned i = 0; i < count; i++) {
        uint32_t id = tm_partition_of_slot(tm_slot_of_key(keys[i]), s->router.partitions);
        partitions[i] = tm_shard_find(s, id);
        if (partitions[i] == NULL)
            continue;
        tm_partition_prefetch(partitions[i]);
        tm_log_set_prefetch(s->logs, id);
    }
    for (unsigned i = 0; i < count; i++)
        if (partitions[i] != NULL && partitions[i]->leading)
            tm_store_prefetch(partitions[i]->store);
    for (unsigned i = 0; i < count; i++)
        if (partitions[i] != NULL && partitions[i]->leading)
            tm_store_ahead(&ahead[n++], partitions[i]->store, keys[i]);
    for (unsigned step = 0; step < TM_STORE_AHEAD_STEPS; step++)
        for (unsigned i = 0; i < n; i++)
            tm_store_ahead_step(&ahead[i]);
}

static unsigned workers_of(const struct tm_shard *s, unsigned node)
{
    unsigned known = node == s->self.node
                         ? s->node->workers
                         : atomic_load_explicit(&s->node->peer_workers[node], memory_order_relaxed);
    return known > 0 ? known : 1;
}

static uint32_t r_member_count(void *host)
{
    struct tm_shard *s = shard(host);
    uint32_t count = 0;
    for (unsigned i = 0; i < s->node->spec.count; i++)
        count += workers_of(s, i);
    return count;
}

static uint32_t index_of(const struct tm_shard *s, struct tm_place place)
{
    uint32_t index = place.worker;
    for (unsigned i = 0; i < place.node; i++)
        index += workers_of(s, i);
    return index;
}

/* 40 hex digits from names that never change: the same for everyone, also after a restart. */
static void make_id(const struct tm_shard *s, struct tm_place place, char id[41])
{
    char text[192];
    int n = snprintf(text, sizeof text, "%s/%s/%u", s->node->spec.cluster,
                     s->node->spec.names[place.node], place.worker);
    XXH128_hash_t a = XXH3_128bits(text, (size_t)n);
    uint32_t b = (uint32_t)XXH3_64bits_withSeed(text, (size_t)n, 1);
    snprintf(id, 41, "%016llx%016llx%08x", (unsigned long long)a.high64,
             (unsigned long long)a.low64, b);
}

static void r_member(void *host, uint32_t index, struct tm_router_member *m)
{
    struct tm_shard *s = shard(host);
    struct tm_place place = {0};
    while (place.node + 1u < s->node->spec.count && index >= workers_of(s, place.node))
        index -= workers_of(s, place.node++);
    place.worker = (uint8_t)index;
    const struct tm_node_address *at = &s->node->address[place.node];
    make_id(s, place, m->id);
    snprintf(m->ip, sizeof m->ip, "%s", at->ip);
    m->port = (uint16_t)(at->worker_port0 + place.worker);
    m->node = s->node->spec.names[place.node];
    m->worker = place.worker;
    m->alive = place.node == s->self.node || atomic_load(&s->node->peer_alive[place.node]);
}

static uint32_t r_leader(void *host, uint32_t partition)
{
    struct tm_shard *s = shard(host);
    if (!s->running)
        return TM_MEMBER_NONE;
    struct tm_place place = tm_node_leader(s->node, partition);
    return place.node < TM_NODES_MAX ? index_of(s, place) : TM_MEMBER_NONE;
}

static uint64_t r_epoch(void *host)
{
    return atomic_load(&shard(host)->node->epoch);
}

static bool r_option(void *host, unsigned i, struct tm_router_option *out)
{
    struct tm_shard *s = shard(host);
    if (i >= TM_OPTION_COUNT)
        return false;
    out->name = tm_option_name((enum tm_option)i);
    tm_option_format(&s->options, (enum tm_option)i, out->value, sizeof out->value);
    return true;
}

static enum tm_err r_option_set(void *host, const struct tm_bytes *pairs, unsigned count,
                                unsigned *bad, char *why, size_t cap)
{
    struct tm_shard *s = shard(host);
    return s->config.option_set(s->config.host, pairs, count, bad, why, cap);
}

static const char *r_password(void *host)
{
    return shard(host)->options.requirepass;
}

/* ---- how the node is: its workers' counters together ---- */

struct census {
    uint64_t entities, entities_led, expiring;
    uint64_t held, led, solo, faulty; /* partitions */
};

static void add_partition(struct tm_shard *s, const struct tm_partition *p, struct census *c)
{
    bool of_clients = p->id < s->directory->partitions; /* not the system partition */
    uint64_t entities = p->store != NULL ? tm_store_count(p->store) : 0;
    c->entities += entities;
    c->faulty += p->replica.hs.health != TM_HEALTH_WHOLE;
    c->held += p->store != NULL && of_clients;
    if (!p->leading)
        return;
    c->solo +=
        p->replica.members.count > 1 && tm_replica_in_sync(&p->replica, tm_ctx_now(s->ctx)) == 1;
    if (!of_clients)
        return;
    c->led++;
    c->entities_led += entities;
    c->expiring += tm_store_expiring(p->store);
}

void tm_shard_publish(struct tm_shard *s)
{
    struct tm_counters *out = s->ctx->counters;
    const struct tm_wal *wal = tm_log_set_wal(s->logs);
    struct census c = {.faulty = s->refused};
    for (uint32_t i = 0; i < s->slots; i++)
        if (s->partitions[i] != NULL)
            add_partition(s, s->partitions[i], &c);
    tm_counter_set(out, TM_COUNTER_entities, c.entities);
    tm_counter_set(out, TM_COUNTER_entities_led, c.entities_led);
    tm_counter_set(out, TM_COUNTER_entities_expiring, c.expiring);
    tm_counter_set(out, TM_COUNTER_partitions_held, c.held);
    tm_counter_set(out, TM_COUNTER_partitions_led, c.led);
    tm_counter_set(out, TM_COUNTER_partitions_solo, c.solo);
    tm_counter_set(out, TM_COUNTER_partitions_faulty, c.faulty);
    tm_counter_set(out, TM_COUNTER_memory_bytes, s->arena.bytes);
    tm_counter_set(out, TM_COUNTER_wal_segments, tm_wal_segments(wal));
    tm_counter_set(out, TM_COUNTER_wals_full, tm_wal_short(wal));
}

static uint64_t of_node(const struct tm_shard *s, enum tm_counter which)
{
    return s->config.counter != NULL ? s->config.counter(s->config.host, which)
                                     : tm_counter_get(s->ctx->counters, which);
}

/* The same, where this worker's own part is known better than its counter, which lags a little. */
static uint64_t with_own(const struct tm_shard *s, enum tm_counter which, uint64_t own)
{
    return of_node(s, which) - tm_counter_get(s->ctx->counters, which) + own;
}

static uint64_t r_clients(void *host)
{
    const struct tm_shard *s = shard(host);
    return with_own(s, TM_COUNTER_clients, tm_sessions_stats(s->sessions)->clients);
}

/* What CONFIG RESETSTAT sets to zero.  Counters are read by others too, who take differences, so
 * they never go back: the reset only notes where INFO counts from. */
#define RESETTABLE(X)                                                                              \
    X(connections_received, clients_accepted)                                                      \
    X(connections_rejected, clients_rejected)                                                      \
    X(commands, commands)                                                                          \
    X(net_input_bytes, client_bytes_received)                                                      \
    X(net_output_bytes, client_bytes_sent)                                                         \
    X(expired_keys, entities_expired)                                                              \
    X(keyspace_hits, keyspace_hits)                                                                \
    X(keyspace_misses, keyspace_misses)

static uint64_t counted(const struct tm_shard *s, enum tm_counter which)
{
    if (which == TM_COUNTER_commands)
        return with_own(s, which, tm_sessions_stats(s->sessions)->commands);
    return of_node(s, which);
}

static void r_stats_reset(void *host)
{
    struct tm_shard *s = shard(host);
#define X(field, counter)                                                                          \
    atomic_store(&s->node->counted_from[TM_COUNTER_##counter], counted(s, TM_COUNTER_##counter));
    RESETTABLE(X)
#undef X
}

static uint64_t since_reset(const struct tm_shard *s, enum tm_counter which)
{
    uint64_t now = counted(s, which), from = atomic_load(&s->node->counted_from[which]);
    return now > from ? now - from : 0;
}

static void r_stats(void *host, struct tm_router_stats *out)
{
    struct tm_shard *s = shard(host);
    const struct tm_sessions_stats *st = tm_sessions_stats(s->sessions);
    if (s->running)
        tm_shard_publish(s);
    *out = (struct tm_router_stats){
        .workers = s->node->workers,
        .clients = with_own(s, TM_COUNTER_clients, st->clients),
        .clients_max = (uint64_t)s->options.max_clients,
        .clients_memory = with_own(s, TM_COUNTER_client_memory_bytes, st->memory),
        .memory_used = of_node(s, TM_COUNTER_memory_bytes),
        .memory_limit = s->options.memory_limit != 0 ? s->options.memory_limit
                                                     : s->memory_limit * s->node->workers,
        .port = s->node->address[s->self.node].port,
        .replication_factor = s->running ? s->directory->copies : 0,
        .keys = of_node(s, TM_COUNTER_entities_led),
        .keys_expiring = of_node(s, TM_COUNTER_entities_expiring),
        .partitions_led = of_node(s, TM_COUNTER_partitions_led),
        .partitions_held = of_node(s, TM_COUNTER_partitions_held),
        .partitions_degraded = of_node(s, TM_COUNTER_partitions_solo),
        .wal_flushes = of_node(s, TM_COUNTER_wal_flushes),
        .wal_bytes = of_node(s, TM_COUNTER_wal_bytes),
        .disk_full = of_node(s, TM_COUNTER_wals_full)};
#define X(field, counter) out->field = since_reset(s, TM_COUNTER_##counter);
    RESETTABLE(X)
#undef X
    if (s->config.stats != NULL)
        s->config.stats(s->config.host, out);
}

static bool r_counter(void *host, unsigned i, const char **name, uint64_t *value)
{
    if (i >= TM_COUNTER_COUNT)
        return false;
    *name = tm_counter_name((enum tm_counter)i);
    *value = of_node(shard(host), (enum tm_counter)i);
    return true;
}

/* ---- what concerns all workers of the node ---- */

static enum tm_err r_ask(void *host, unsigned worker, uint64_t session, struct tm_bytes request)
{
    struct tm_shard *s = shard(host);
    struct tm_place to = {.node = s->self.node, .worker = (uint8_t)worker};
    struct tm_message_head head = {.type = TM_MESSAGE_ASK, .arg = session};
    return tm_shard_post(s, to, &head, &request, 1) ? TM_OK : TM_ERR_NOMEM;
}

void tm_shard_on_ask(struct tm_shard *s, const struct tm_message_head *head, struct tm_bytes body)
{
    struct tm_request rq;
    uint8_t head_bytes[TM_ANSWER_HEAD];
    if (head->node != s->self.node || tm_request_decode(body, &s->words, &rq) != TM_OK)
        return;
    struct tm_answer a = {.id = rq.id, .status = TM_ANSWER_DONE};
    a.reply = tm_sessions_serve(s->sessions, &rq);
    tm_answer_encode(&a, head_bytes);
    struct tm_bytes pieces[2] = {tm_bytes_of(head_bytes, sizeof head_bytes), a.reply};
    struct tm_place to = {.node = head->node, .worker = head->worker};
    struct tm_message_head told = {.type = TM_MESSAGE_TOLD, .arg = head->arg};
    if (tm_shard_post(s, to, &told, pieces, 2))
        return;
    a = (struct tm_answer){.id = rq.id, .status = TM_ANSWER_REFUSED, .err = TM_ERR_NOMEM};
    tm_answer_encode(&a, head_bytes);
    (void)tm_shard_post(s, to, &told, pieces, 1);
}

void tm_shard_on_told(struct tm_shard *s, const struct tm_message_head *head, struct tm_bytes body)
{
    struct tm_answer a;
    if (head->node == s->self.node && tm_answer_decode(body, &a) == TM_OK)
        tm_sessions_answer(s->sessions, head->arg, &a);
}

struct partition_list {
    struct tm_resp_writer *w;
    uint64_t count;
};

static void write_partition(void *arg, const struct tm_shard_partition *p)
{
    struct partition_list *l = arg;
    const struct {
        const char *name;
        uint64_t value;
    } fields[] = {
        {"partition", p->partition}, {"leader", p->leader},       {"term", p->term},
        {"commit", p->commit},       {"last", p->last},           {"applied", p->applied},
        {"copies", p->copies},       {"in_sync", p->in_sync},     {"ready", p->ready},
        {"faulty", p->faulty},       {"entities", p->entities},   {"state_hash", p->state_hash},
        {"node", p->node},           {"last_term", p->last_term}, {"set_nodes", p->set_nodes},
        {"set_term", p->set_term},   {"set_epoch", p->set_epoch}};
    l->count++;
    tm_resp_array(l->w, 2 * TM_ARRAY_LEN(fields) + 2);
    tm_resp_bulk_str(l->w, "role");
    tm_resp_bulk_str(l->w, p->role);
    for (size_t i = 0; i < TM_ARRAY_LEN(fields); i++) {
        tm_resp_bulk_str(l->w, fields[i].name);
        tm_resp_bulk_u64(l->w, fields[i].value);
    }
}

static void r_partitions_of(void *host, struct tm_resp_writer *w)
{
    struct partition_list l = {.w = w};
    size_t at = w->len;
    tm_shard_partitions(shard(host), write_partition, &l);
    tm_resp_insert_array(w, at, l.count);
}

static void r_directory(void *host, struct tm_resp_writer *w)
{
    struct tm_shard *s = shard(host);
    const struct tm_directory *d = s->directory;
    uint8_t *bytes = d != NULL ? malloc(tm_directory_size(d)) : NULL;
    if (bytes == NULL) {
        tm_resp_error(w, d == NULL ? "ERR this node is not part of a cluster yet"
                                   : "ERR not enough memory");
        return;
    }
    tm_directory_encode(d, bytes);
    tm_resp_array(w, 6);
    tm_resp_bulk_str(w, "version");
    tm_resp_bulk_u64(w, d->version);
    tm_resp_bulk_str(w, "facts");
    tm_resp_bulk_str(w, d->facts);
    tm_resp_bulk_str(w, "bytes");
    tm_resp_bulk(w, tm_bytes_of(bytes, tm_directory_size(d)));
    free(bytes);
}

static void r_recover(void *host, uint32_t partition, struct tm_resp_writer *w)
{
    struct tm_shard *s = shard(host);
    struct tm_partition *p = tm_shard_find(s, partition);
    if (p == NULL || p->stopping) {
        tm_resp_error(w, "ERR this worker has no copy of that partition");
        return;
    }
    unsigned leader = p->replica.leader;
    bool led = leader < s->directory->members &&
               (leader == s->self.node || atomic_load(&s->node->peer_alive[leader])) &&
               tm_node_leader(s->node, partition).node == leader;
    enum tm_err e = TM_ERR_EXISTS;
    if (!led)
        e = tm_partition_needs_rescue(p) ? tm_keeper_rescue(s->keeper, p)
                                         : tm_replica_recover(&p->replica);
    if (e == TM_ERR_EXISTS) {
        tm_resp_error(w, "ERR that partition has a leader: there is nothing to recover");
    } else if (e != TM_OK) {
        tm_resp_error(w, "ERR a witness or a learner has nothing to go on with");
    } else {
        tm_ctx_log(s->ctx, TM_LOG_WARN, "forced_recovery", "partition=%u last=%llu term=%llu",
                   partition, (unsigned long long)p->replica.last.index,
                   (unsigned long long)p->replica.last.term);
        tm_resp_simple(w, "OK");
    }
}

static void r_shutdown(void *host)
{
    struct tm_shard *s = shard(host);
    s->config.shutdown(s->config.host);
}

void tm_shard_renumber(struct tm_shard *s)
{
    s->router.self = index_of(s, s->self);
}

void tm_shard_router_init(struct tm_shard *s)
{
    s->router = (struct tm_router){.host = s,
                                   .partitions = s->node->spec.partitions,
                                   .cluster = s->node->spec.cluster,
                                   .node = s->node->spec.names[s->self.node],
                                   .version = s->config.version,
                                   .workers = s->node->workers,
                                   .worker = s->self.worker,
                                   .submit = r_submit,
                                   .coming = r_coming,
                                   .ask = r_ask,
                                   .member_count = r_member_count,
                                   .member = r_member,
                                   .leader = r_leader,
                                   .epoch = r_epoch,
                                   .option = r_option,
                                   .option_set = r_option_set,
                                   .password = r_password,
                                   .stats = r_stats,
                                   .stats_reset = r_stats_reset,
                                   .counter = r_counter,
                                   .link = tm_links_text,
                                   .links = tm_links_tell,
                                   .link_order = tm_links_order,
                                   .partitions_of = r_partitions_of,
                                   .directory = r_directory,
                                   .recover = r_recover,
                                   .clients = r_clients,
                                   .shutdown = r_shutdown};
    tm_shard_renumber(s);
}
