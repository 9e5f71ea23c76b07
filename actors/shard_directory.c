/* The directory at a worker.
 *
 * Worker 0 runs the creation and the exchange.  The worker that holds this node's copy of the
 * system partition looks at what is committed there, and offers a newer version to worker 0.  Its
 * leader writes the directory if the partition has none: after creation, and after a forced
 * recovery that lost a version which nodes go by already. */
#include "actors/shard_internal.h"
#include "storage/entity.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- what the creation asks ---- */

static bool c_send(void *host, unsigned node, struct tm_message_head head, struct tm_bytes body)
{
    struct tm_shard *s = host;
    struct tm_place to = {.node = (uint8_t)node};
    return tm_post_send(s->post, to, head, &body, 1) == TM_OK;
}

static void say_difference(void *arg, const char *text, bool file_holds)
{
    struct tm_shard *s = arg;
    tm_ctx_log(s->ctx, TM_LOG_WARN, "topology_differs", "text=\"%s\" action=\"%s\"", text,
               file_holds ? "this node goes by the file until it starts again"
                          : "the node runs on with what the cluster has");
}

static void c_changed(void *host, const struct tm_directory *directory)
{
    struct tm_shard *s = host;
    const struct tm_link_plan *links = tm_node_links(s->node);
    if (links->refused[0] != '\0')
        tm_ctx_log(s->ctx, TM_LOG_ERROR, "links_refused", "reason=\"%s\" action=\"%s\"",
                   links->refused,
                   "no link works at this node: it may be an older build than the others");
    tm_directory_differences(directory, &s->node->file, say_difference, s);
}

static void c_run(void *host, struct tm_directory *directory)
{
    struct tm_shard *s = host;
    enum tm_err e = tm_node_run(s->node, directory);
    if (e == TM_OK) {
        c_changed(s, directory);
        return;
    }
    free(directory);
    s->config.fatal(s->config.host, e, "not enough memory for the directory");
}

struct tm_creation_ops tm_shard_creation_ops(struct tm_shard *s)
{
    return (struct tm_creation_ops){.host = s, .send = c_send, .run = c_run, .changed = c_changed};
}

void tm_shard_take_directory(struct tm_shard *s)
{
    s->directory = tm_node_take(s->node, s->self.worker);
    s->links = tm_node_links(s->node);
    s->env.origin = tm_shard_origin(s);
}

/* ---- whose history it is ---- */

bool tm_shard_awaits_incarnation(const struct tm_shard *s)
{
    const struct tm_restored *r = &s->node->restored;
    return r->to != 0 && s->links->incarnation == r->from &&
           tm_incarnation_is_of(r->to, s->directory->uuid);
}

uint64_t tm_shard_origin(const struct tm_shard *s)
{
    if (tm_shard_awaits_incarnation(s))
        return s->node->restored.to;
    return s->links->incarnation != 0 ? s->links->incarnation
                                      : tm_incarnation_first(s->directory->uuid);
}

/* ---- the system partition ---- */

#define LINE_MAX_BYTES 64 /* of op:incarnation, with what its length rounds up to */

/* A version of the directory, and its bytes behind it. */
struct put {
    struct tm_directory directory;
    size_t len;
    uint8_t bytes[];
};

static void put_directory(struct tm_partition *p, void *arg)
{
    const struct put *put = arg;
    tm_store_set_field(p->store, tm_bytes_str(TM_DIRECTORY_KEY), TM_ENTITY_STRING,
                       tm_bytes_of(NULL, 0), tm_bytes_of(put->bytes, put->len));
}

/* Makes it the next version, which says the incarnation that this node's data directory was given
 * when it was put back.  False: there is no room in it. */
static bool say_incarnation(struct tm_directory *d, uint64_t incarnation)
{
    char value[17];
    snprintf(value, sizeof value, "%016llx", (unsigned long long)incarnation);
    if (tm_link_facts_put(d->facts, sizeof d->facts,
                          TM_LINK_OPERATOR_PREFIX TM_LINK_OPERATOR_INCARNATION, value) != TM_OK)
        return false;
    d->facts_len = (uint32_t)strlen(d->facts);
    d->version++;
    return true;
}

/* The present version, or the next one, with another incarnation (0: as it is). */
static void write_directory(struct tm_shard *s, struct tm_partition *p, uint64_t incarnation)
{
    uint64_t index, term;
    size_t most = tm_directory_size(s->directory) + LINE_MAX_BYTES;
    struct put *put = malloc(sizeof *put + most);
    if (put == NULL)
        return; /* tried again when the partition is looked at next */
    put->directory = *s->directory;
    bool said = incarnation == 0 || say_incarnation(&put->directory, incarnation);
    put->len = tm_directory_size(&put->directory);
    TM_ASSERT(put->len <= most);
    tm_directory_encode(&put->directory, put->bytes);
    if (said && tm_partition_write(p, put_directory, put, &index, &term) == TM_OK && index != 0)
        tm_ctx_log(s->ctx, TM_LOG_INFO, "directory_stored", "version=%llu index=%llu",
                   (unsigned long long)put->directory.version, (unsigned long long)index);
    free(put);
}

static void offer(struct tm_shard *s, struct tm_bytes bytes)
{
    struct tm_message_head head = {.type = TM_MESSAGE_DIRECTORY};
    struct tm_place to = {.node = s->self.node};
    if (s->self.worker == 0)
        tm_exchange_offer(&s->creation.exchange, bytes);
    else
        (void)tm_post_send(s->post, to, head, &bytes, 1); /* else at the next look */
}

/* What is committed under the key; empty if nothing is, or something is on its way. */
static struct tm_bytes committed(const struct tm_partition *p)
{
    struct tm_value v = {0};
    struct tm_bytes key = tm_bytes_str(TM_DIRECTORY_KEY);
    const struct tm_entity *e = tm_store_find(p->store, key);
    if (e == NULL || tm_store_seen(p->store, key) != 0 || tm_entity_type(e) != TM_ENTITY_STRING)
        return tm_bytes_of(NULL, 0);
    tm_entity_string(e, &v);
    return v.text;
}

void tm_shard_tend_directory(struct tm_shard *s)
{
    struct tm_partition *p = tm_shard_find(s, s->directory->partitions);
    if (p == NULL || p->store == NULL || p->stopping ||
        tm_store_applied(p->store) < tm_store_load_until(p->store))
        return;
    struct tm_bytes bytes = committed(p);
    uint64_t version = tm_directory_version(bytes);
    if (version > s->directory->version)
        offer(s, bytes);
    else if (p->announced && tm_store_seen(p->store, tm_bytes_str(TM_DIRECTORY_KEY)) == 0) {
        if (version < s->directory->version)
            write_directory(s, p, 0);
        else if (tm_shard_awaits_incarnation(s) && s->links->version == version &&
                 s->links->refused[0] == '\0')
            write_directory(s, p, s->node->restored.to);
    }
}
