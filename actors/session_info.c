/* session_info.c: INFO: how the node is, under the names redis uses, and our own behind them.
 *
 * Only what is true is shown: where redis has a field that means nothing here it is left out, or
 * has the one value that is right (no snapshot is ever in progress in a fork, no key is evicted).
 */
#include "actors/session_internal.h"

#include <stdarg.h>
#include <stdio.h>

struct info {
    struct tm_session *s;
    const struct tm_router *router;
    struct tm_router_stats stats;
    struct tm_resp_writer *text;
};

static void line(struct info *i, const char *fmt, ...) TM_PRINTF(2, 3);
static void line(struct info *i, const char *fmt, ...)
{
    char buf[256];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(buf, sizeof buf, fmt, args);
    va_end(args);
    tm_resp_raw(i->text, tm_bytes_of(buf, tm_min_u64((uint64_t)n, sizeof buf - 1)));
    tm_resp_raw(i->text, tm_bytes_str("\r\n"));
}

static void number(struct info *i, const char *name, uint64_t value)
{
    line(i, "%s:%llu", name, (unsigned long long)value);
}

static void info_server(struct info *i)
{
    struct tm_router_member self;
    i->router->member(i->router->host, i->router->self, &self);
    line(i, "redis_version:%s", TM_REDIS_VERSION);
    line(i, "tidemill_version:%s", i->router->version);
    line(i, "redis_mode:cluster");
    line(i, "os:Linux");
    line(i, "arch_bits:64");
    line(i, "multiplexing_api:io_uring");
    number(i, "process_id", i->stats.pid);
    line(i, "run_id:%s", self.id);
    number(i, "tcp_port", i->stats.port);
    number(i, "server_time_usec", tm_ctx_wall_ms(i->s->all->ctx) * 1000);
    number(i, "uptime_in_seconds", i->stats.uptime_ms / 1000);
    number(i, "uptime_in_days", i->stats.uptime_ms / 86400000);
    number(i, "io_threads_active", i->stats.workers > 1);
}

static void info_clients(struct info *i)
{
    number(i, "connected_clients", i->stats.clients);
    number(i, "maxclients", i->stats.clients_max);
    line(i, "blocked_clients:0");
    line(i, "tracking_clients:0");
}

static void info_memory(struct info *i)
{
    number(i, "used_memory", i->stats.memory_used);
    number(i, "used_memory_rss", i->stats.memory_rss);
    number(i, "maxmemory", i->stats.memory_limit);
    line(i, "maxmemory_policy:noeviction");
    line(i, "mem_allocator:jemalloc");
    number(i, "mem_clients_normal", i->stats.clients_memory);
}

static void info_persistence(struct info *i)
{
    line(i, "loading:0");
    line(i, "rdb_bgsave_in_progress:0");
    line(i, "rdb_last_bgsave_status:ok");
    line(i, "aof_enabled:1");
    line(i, "aof_rewrite_in_progress:0");
    line(i, "aof_last_write_status:%s", i->stats.disk_full != 0 ? "err" : "ok");
    number(i, "wal_flushes", i->stats.wal_flushes);
    number(i, "wal_bytes", i->stats.wal_bytes);
}

static void info_stats(struct info *i)
{
    number(i, "total_connections_received", i->stats.connections_received);
    number(i, "total_commands_processed", i->stats.commands);
    number(i, "total_net_input_bytes", i->stats.net_input_bytes);
    number(i, "total_net_output_bytes", i->stats.net_output_bytes);
    number(i, "rejected_connections", i->stats.connections_rejected);
    number(i, "expired_keys", i->stats.expired_keys);
    line(i, "evicted_keys:0");
    number(i, "keyspace_hits", i->stats.keyspace_hits);
    number(i, "keyspace_misses", i->stats.keyspace_misses);
}

static void info_replication(struct info *i)
{
    line(i, "role:master");
    line(i, "connected_slaves:0");
    number(i, "replication_factor", i->stats.replication_factor);
    number(i, "partitions_led", i->stats.partitions_led);
    number(i, "partitions_held", i->stats.partitions_held);
    number(i, "partitions_with_one_copy", i->stats.partitions_degraded);
}

static void info_cpu(struct info *i)
{
    uint64_t sys = i->stats.cpu_system_us, user = i->stats.cpu_user_us;
    line(i, "used_cpu_sys:%llu.%06llu", (unsigned long long)(sys / 1000000),
         (unsigned long long)(sys % 1000000));
    line(i, "used_cpu_user:%llu.%06llu", (unsigned long long)(user / 1000000),
         (unsigned long long)(user % 1000000));
}

static void info_cluster(struct info *i)
{
    line(i, "cluster_enabled:1");
    line(i, "cluster_name:%s", i->router->cluster);
    line(i, "node_name:%s", i->router->node);
    number(i, "partitions", i->router->partitions);
}

static void info_keyspace(struct info *i)
{
    if (i->stats.keys > 0)
        line(i, "db0:keys=%llu,expires=%llu,avg_ttl=0", (unsigned long long)i->stats.keys,
             (unsigned long long)i->stats.keys_expiring);
}

static void info_links(struct info *i)
{
    char text[512];
    for (unsigned n = 0;
         i->router->link != NULL && i->router->link(i->router->host, n, text, sizeof text); n++)
        line(i, "link%u:%s", n, text);
}

static void info_tidemill(struct info *i)
{
    const char *name;
    uint64_t value;
    for (unsigned n = 0; i->router->counter(i->router->host, n, &name, &value); n++)
        number(i, name, value);
}

static const struct section {
    const char *upper, *title;
    void (*write)(struct info *i);
} sections[] = {{"SERVER", "Server", info_server},
                {"CLIENTS", "Clients", info_clients},
                {"MEMORY", "Memory", info_memory},
                {"PERSISTENCE", "Persistence", info_persistence},
                {"STATS", "Stats", info_stats},
                {"REPLICATION", "Replication", info_replication},
                {"CPU", "CPU", info_cpu},
                {"CLUSTER", "Cluster", info_cluster},
                {"KEYSPACE", "Keyspace", info_keyspace},
                {"LINKS", "Links", info_links},
                {"TIDEMILL", "Tidemill", info_tidemill}};

static bool wanted(const struct section *section, const struct tm_bytes *argv, unsigned argc)
{
    for (unsigned i = 1; i < argc; i++)
        if (tm_word_is(argv[i], section->upper) || tm_word_is(argv[i], "ALL") ||
            tm_word_is(argv[i], "DEFAULT") || tm_word_is(argv[i], "EVERYTHING"))
            return true;
    return argc == 1;
}

void tm_session_local_info(struct tm_session *s, struct tm_resp_writer *w,
                           const struct tm_bytes *argv, unsigned argc)
{
    struct info info = {.s = s, .router = s->all->router, .text = tm_session_text(s)};
    info.router->stats(info.router->host, &info.stats);
    for (size_t i = 0; i < TM_ARRAY_LEN(sections); i++) {
        if (!wanted(&sections[i], argv, argc))
            continue;
        if (info.text->len > 0)
            tm_resp_raw(info.text, tm_bytes_str("\r\n"));
        line(&info, "# %s", sections[i].title);
        sections[i].write(&info);
    }
    w->overflow |= info.text->overflow;
    tm_resp_verbatim(w, tm_resp_writer_bytes(info.text));
}
