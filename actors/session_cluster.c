/* session_cluster.c: CLUSTER: who leads which slots, as redis's cluster clients ask it.
 *
 * Every worker of every node is a member with an id and a port of its own, and a master of the
 * slots of the partitions it leads (of none, perhaps).  Any member takes any command, so a range
 * whose leader is not known is shown as this member's own: a client that goes by it is served. */
#include "actors/session_internal.h"

#include "runtime/crc16.h"

#include <stdio.h>

#define BUS_PORT_OFFSET 10000 /* shown only: clients parse it, nobody listens there */

static uint32_t owner_of(const struct tm_router *r, uint32_t partition)
{
    uint32_t member = r->leader(r->host, partition);
    return member < r->member_count(r->host) ? member : r->self;
}

bool tm_session_covers(const struct tm_session *s, uint32_t partition)
{
    const struct tm_router *r = s->all->router;
    return !s->peer.own_port || owner_of(r, partition) == r->self;
}

/* The longest run of partitions from `from` on with one owner: its end (not included). */
static uint32_t run_end(const struct tm_router *r, uint32_t from)
{
    uint32_t owner = owner_of(r, from), to = from + 1;
    while (to < r->partitions && owner_of(r, to) == owner)
        to++;
    return to;
}

struct range {
    uint32_t owner, first_slot, last_slot;
};

/* The next range from *partition on; false after the last. */
static bool next_range(const struct tm_router *r, uint32_t *partition, struct range *out)
{
    if (*partition >= r->partitions)
        return false;
    uint32_t end = run_end(r, *partition);
    out->owner = owner_of(r, *partition);
    out->first_slot = tm_partition_first_slot(*partition, r->partitions);
    out->last_slot = tm_partition_first_slot(end, r->partitions) - 1;
    *partition = end;
    return true;
}

static void cluster_slots(struct tm_session *s, struct tm_resp_writer *w,
                          const struct tm_bytes *argv, unsigned argc)
{
    const struct tm_router *r = s->all->router;
    struct range range;
    uint32_t partition = 0;
    uint64_t count = 0;
    size_t at = w->len;
    (void)argv, (void)argc;
    for (; next_range(r, &partition, &range); count++) {
        struct tm_router_member m;
        r->member(r->host, range.owner, &m);
        tm_resp_array(w, 3);
        tm_resp_integer(w, range.first_slot);
        tm_resp_integer(w, range.last_slot);
        tm_resp_array(w, 4);
        tm_resp_bulk_str(w, m.ip);
        tm_resp_integer(w, m.port);
        tm_resp_bulk_str(w, m.id);
        tm_resp_array(w, 0);
    }
    tm_resp_insert_array(w, at, count);
}

static void shard_member(struct tm_resp_writer *w, const struct tm_router_member *m)
{
    tm_resp_bulk_str(w, "nodes");
    tm_resp_array(w, 1);
    tm_resp_map(w, 7);
    tm_resp_bulk_str(w, "id");
    tm_resp_bulk_str(w, m->id);
    tm_resp_bulk_str(w, "port");
    tm_resp_integer(w, m->port);
    tm_resp_bulk_str(w, "ip");
    tm_resp_bulk_str(w, m->ip);
    tm_resp_bulk_str(w, "endpoint");
    tm_resp_bulk_str(w, m->ip);
    tm_resp_bulk_str(w, "role");
    tm_resp_bulk_str(w, "master");
    tm_resp_bulk_str(w, "replication-offset");
    tm_resp_integer(w, 0);
    tm_resp_bulk_str(w, "health");
    tm_resp_bulk_str(w, m->alive ? "online" : "fail");
}

static void cluster_shards(struct tm_session *s, struct tm_resp_writer *w,
                           const struct tm_bytes *argv, unsigned argc)
{
    const struct tm_router *r = s->all->router;
    uint32_t members = r->member_count(r->host);
    (void)argv, (void)argc;
    tm_resp_array(w, members);
    for (uint32_t i = 0; i < members; i++) {
        struct tm_router_member m;
        struct range range;
        uint32_t partition = 0;
        uint64_t bounds = 0;
        r->member(r->host, i, &m);
        tm_resp_map(w, 2);
        tm_resp_bulk_str(w, "slots");
        size_t at = w->len;
        while (next_range(r, &partition, &range))
            if (range.owner == i) {
                tm_resp_integer(w, range.first_slot);
                tm_resp_integer(w, range.last_slot);
                bounds += 2;
            }
        tm_resp_insert_array(w, at, bounds);
        shard_member(w, &m);
    }
}

static void node_line(const struct tm_router *r, uint32_t i, struct tm_resp_writer *text)
{
    struct tm_router_member m;
    struct range range;
    uint32_t partition = 0;
    char buf[256];
    r->member(r->host, i, &m);
    int n =
        snprintf(buf, sizeof buf, "%s %s:%u@%u %smaster%s - 0 0 %llu %s", m.id, m.ip, m.port,
                 m.port + BUS_PORT_OFFSET, i == r->self ? "myself," : "", m.alive ? "" : ",fail",
                 (unsigned long long)r->epoch(r->host), m.alive ? "connected" : "disconnected");
    tm_resp_raw(text, tm_bytes_of(buf, (size_t)n));
    while (next_range(r, &partition, &range)) {
        if (range.owner != i)
            continue;
        n = range.first_slot == range.last_slot
                ? snprintf(buf, sizeof buf, " %u", range.first_slot)
                : snprintf(buf, sizeof buf, " %u-%u", range.first_slot, range.last_slot);
        tm_resp_raw(text, tm_bytes_of(buf, (size_t)n));
    }
    tm_resp_raw(text, tm_bytes_str("\n"));
}

static void cluster_nodes(struct tm_session *s, struct tm_resp_writer *w,
                          const struct tm_bytes *argv, unsigned argc)
{
    const struct tm_router *r = s->all->router;
    struct tm_resp_writer *text = tm_session_text(s);
    uint32_t members = r->member_count(r->host);
    (void)argv, (void)argc;
    for (uint32_t i = 0; i < members; i++)
        node_line(r, i, text);
    w->overflow |= text->overflow;
    tm_resp_verbatim(w, tm_resp_writer_bytes(text));
}

static void cluster_info(struct tm_session *s, struct tm_resp_writer *w,
                         const struct tm_bytes *argv, unsigned argc)
{
    const struct tm_router *r = s->all->router;
    uint32_t members = r->member_count(r->host), leading = 0, slots_ok = 0;
    char text[512];
    (void)argv, (void)argc;
    for (uint32_t p = 0; p < r->partitions; p++)
        if (r->leader(r->host, p) != TM_MEMBER_NONE)
            slots_ok += tm_partition_first_slot(p + 1, r->partitions) -
                        tm_partition_first_slot(p, r->partitions);
    for (uint32_t i = 0; i < members; i++) {
        bool leads = false;
        for (uint32_t p = 0; p < r->partitions && !leads; p++)
            leads = r->leader(r->host, p) == i;
        leading += leads;
    }
    int n = snprintf(text, sizeof text,
                     "cluster_state:%s\r\ncluster_slots_assigned:%d\r\ncluster_slots_ok:%u\r\n"
                     "cluster_slots_pfail:0\r\ncluster_slots_fail:%u\r\ncluster_known_nodes:%u\r\n"
                     "cluster_size:%u\r\ncluster_current_epoch:%llu\r\ncluster_my_epoch:%llu\r\n",
                     slots_ok == TM_SLOTS ? "ok" : "fail", TM_SLOTS, slots_ok, TM_SLOTS - slots_ok,
                     members, leading, (unsigned long long)r->epoch(r->host),
                     (unsigned long long)r->epoch(r->host));
    tm_resp_verbatim(w, tm_bytes_of(text, (size_t)n));
}

static void cluster_keyslot(struct tm_session *s, struct tm_resp_writer *w,
                            const struct tm_bytes *argv, unsigned argc)
{
    (void)s, (void)argc;
    tm_resp_integer(w, tm_slot_of_key(argv[2]));
}

static void cluster_myid(struct tm_session *s, struct tm_resp_writer *w,
                         const struct tm_bytes *argv, unsigned argc)
{
    const struct tm_router *r = s->all->router;
    struct tm_router_member m;
    (void)argv, (void)argc;
    r->member(r->host, r->self, &m);
    tm_resp_bulk_str(w, m.id);
}

static bool is_member(const struct tm_router *r, struct tm_bytes id)
{
    for (uint32_t i = 0; i < r->member_count(r->host); i++) {
        struct tm_router_member m;
        r->member(r->host, i, &m);
        if (tm_bytes_equal(id, tm_bytes_str(m.id)))
            return true;
    }
    return false;
}

static void cluster_replicas(struct tm_session *s, struct tm_resp_writer *w,
                             const struct tm_bytes *argv, unsigned argc)
{
    (void)argc;
    if (is_member(s->all->router, argv[2]))
        tm_resp_array(w, 0); /* members are masters all; copies are not members */
    else
        tm_resp_errorf(w, "ERR Unknown node %.*s", (int)tm_min_u64(argv[2].len, 64),
                       (const char *)argv[2].data);
}

/* ---- keys of a slot ---- */

const struct tm_command *tm_cluster_rewrite(struct tm_session *s, const struct tm_command *c,
                                            const struct tm_bytes **argv, unsigned *argc)
{
    const struct tm_bytes *words = *argv;
    bool count = *argc == 3 && tm_word_is(words[1], "COUNTKEYSINSLOT");
    bool get = *argc == 4 && tm_word_is(words[1], "GETKEYSINSLOT");
    int64_t slot, limit = 0;
    if ((!count && !get) || !tm_resp_to_i64(words[2], &slot) || slot < 0 || slot >= TM_SLOTS ||
        (get && (!tm_resp_to_i64(words[3], &limit) || limit < 0)))
        return c;
    s->all->inner_argv[0] = tm_bytes_str("CLUSTER|SLOT");
    s->all->inner_argv[1] = words[2];
    s->all->inner_argv[2] = get ? words[3] : tm_bytes_str("-1");
    *argv = s->all->inner_argv;
    *argc = 3;
    return tm_command_find(s->all->inner_argv[0]);
}

/* Only words that tm_cluster_rewrite has not taken come here. */
static void cluster_slot_keys(struct tm_session *s, struct tm_resp_writer *w,
                              const struct tm_bytes *argv, unsigned argc)
{
    int64_t number;
    (void)s;
    if (!tm_resp_to_i64(argv[2], &number) || (argc == 4 && !tm_resp_to_i64(argv[3], &number)))
        tm_resp_error(w, "ERR value is not an integer or out of range");
    else
        tm_resp_error(w, argc == 4 ? "ERR Invalid slot or number of keys" : "ERR Invalid slot");
}

static void cluster_refuse(struct tm_session *s, struct tm_resp_writer *w,
                           const struct tm_bytes *argv, unsigned argc)
{
    (void)s, (void)argv, (void)argc;
    tm_resp_error(w, "ERR the cluster is what its topology file says: it is not changed from here");
}

void tm_session_local_cluster(struct tm_session *s, struct tm_resp_writer *w,
                              const struct tm_bytes *argv, unsigned argc)
{
    static const struct tm_subcommand subs[] = {
        {"SLOTS", 2, cluster_slots, "", "Which member leads which ranges of slots."},
        {"SHARDS", 2, cluster_shards, "", "The same, by member."},
        {"NODES", 2, cluster_nodes, "", "The members, one for each worker of each node."},
        {"INFO", 2, cluster_info, "", "How the cluster is, as this node knows it."},
        {"KEYSLOT", 3, cluster_keyslot, "<key>", "The slot of a key."},
        {"COUNTKEYSINSLOT", 3, cluster_slot_keys, "<slot>", "The number of keys in a slot."},
        {"GETKEYSINSLOT", 4, cluster_slot_keys, "<slot> <count>", "Up to count keys of a slot."},
        {"MYID", 2, cluster_myid, "", "The id of the worker that was asked."},
        {"REPLICAS", 3, cluster_replicas, "<id>", "Always empty: copies are no members."},
        {"SLAVES", 3, cluster_replicas},
        {"RESET", -2, cluster_refuse},
        {"MEET", -2, cluster_refuse},
        {"FORGET", -2, cluster_refuse},
        {"ADDSLOTS", -2, cluster_refuse},
        {"DELSLOTS", -2, cluster_refuse},
        {"SETSLOT", -2, cluster_refuse},
        {"FAILOVER", -2, cluster_refuse},
        {"REPLICATE", -2, cluster_refuse}};
    tm_subcommand_dispatch(s, w, subs, TM_ARRAY_LEN(subs), argv, argc);
}
