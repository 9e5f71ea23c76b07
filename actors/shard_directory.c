/* The directory at a worker.
 *
 * Worker 0 runs the creation and the exchange.  The worker that holds this node's copy of the
 * system partition looks at what is committed there, and offers a newer version to worker 0.  Its
 * leader writes the directory if the partition has none: after creation, and after a forced
 * recovery that lost a version which nodes go by already. */
#include "actors/shard_internal.h"
#include "storage/entity.h"

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
}

/* ---- the system partition ---- */

static void put_directory(struct tm_partition *p, void *arg)
{
    const struct tm_directory *d = ((const struct tm_shard *)arg)->directory;
    size_t len = tm_directory_size(d);
    uint8_t *bytes = malloc(len);
    if (bytes == NULL)
        return; /* tried again when the partition is looked at next */
    tm_directory_encode(d, bytes);
    tm_store_set_field(p->store, tm_bytes_str(TM_DIRECTORY_KEY), TM_ENTITY_STRING,
                       tm_bytes_of(NULL, 0), tm_bytes_of(bytes, len));
    free(bytes);
}

static void write_directory(struct tm_shard *s, struct tm_partition *p)
{
    uint64_t index, term;
    if (tm_partition_write(p, put_directory, s, &index, &term) == TM_OK && index != 0)
        tm_ctx_log(s->ctx, TM_LOG_INFO, "directory_stored", "version=%llu index=%llu",
                   (unsigned long long)s->directory->version, (unsigned long long)index);
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
    else if (version < s->directory->version && p->announced &&
             tm_store_seen(p->store, tm_bytes_str(TM_DIRECTORY_KEY)) == 0)
        write_directory(s, p);
}
