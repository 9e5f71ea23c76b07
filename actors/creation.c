#include "actors/creation.h"

#include <stdio.h>
#include <stdlib.h>

#define REPEAT_NS    TM_MS(200)
#define SAY_FIRST_NS TM_SECONDS(5)
#define SAY_AGAIN_NS TM_SECONDS(60)

/* The body of STATE. */
struct state {
    uint8_t uuid[16]; /* zero: holds no directory yet */
    uint64_t disk_id;
    uint64_t version; /* of the directory that it goes by; 0: it does not run */
    uint8_t created;
    uint8_t reserved[7];
};
TM_STATIC_ASSERT(sizeof(struct state) == 40, "frozen on the wire");

static bool is_zero(const uint8_t uuid[16])
{
    static const uint8_t zero[16];
    return memcmp(uuid, zero, 16) == 0;
}

static bool is_founder(const struct tm_creation *c)
{
    return c->node->self == 0;
}

static uint64_t bit(unsigned node)
{
    return 1ULL << node;
}

/* All nodes of the topology file. */
static uint64_t everybody(const struct tm_creation *c)
{
    unsigned count = c->node->spec.count;
    return (count == 64 ? 0 : 1ULL << count) - 1;
}

static void say_once(struct tm_creation *c, const char *event, const char *text, unsigned node)
{
    if ((c->said & bit(node)) == 0)
        tm_ctx_log(c->ctx, TM_LOG_ERROR, event, "node=%s text=\"%s\"", c->node->spec.names[node],
                   text);
    c->said |= bit(node);
}

/* ---- what is stored ---- */

/* A crash between the two files of adopt left the directory of a cluster that was being joined:
 * what was proposed here before is gone. */
static enum tm_err load_what_is_stored(struct tm_creation *c)
{
    enum tm_err e = tm_directory_load(c->ctx->disk, c->directory);
    if (e != TM_OK)
        return e == TM_ERR_NOTFOUND ? TM_ERR_CORRUPT : e;
    c->have_directory = memcmp(c->directory->uuid, c->identity->creation_token, 16) == 0;
    if (!c->have_directory && c->identity->created)
        return TM_ERR_CORRUPT;
    if (!c->have_directory)
        memset(c->identity->creation_token, 0, 16);
    return TM_OK;
}

static bool write_identity(struct tm_creation *c, const struct tm_datadir_identity *id)
{
    struct tm_datadir_error err;
    if (tm_datadir_write(c->ctx->disk, id, &err) != TM_OK) {
        say_once(c, "creation_failed", err.text, c->node->self);
        return false;
    }
    *c->identity = *id;
    return true;
}

/* Stores d as this node's, durably; if its cluster `exists`, that is written in the same step. What
 * could not be stored is not taken, and tried again when it comes again. */
static bool adopt(struct tm_creation *c, const struct tm_directory *d, bool exists)
{
    enum tm_err e = tm_directory_save(c->ctx->disk, d);
    if (e != TM_OK) {
        say_once(c, "creation_failed", tm_err_text(e), c->node->self);
        return false;
    }
    struct tm_datadir_identity id = *c->identity;
    memcpy(id.creation_token, d->uuid, 16);
    id.partitions = d->partitions;
    id.created = exists;
    if (exists)
        memcpy(id.cluster_uuid, d->uuid, 16);
    if (!write_identity(c, &id))
        return false;
    *c->directory = *d;
    c->have_directory = true;
    return true;
}

/* ---- sending ---- */

static bool send_state(struct tm_creation *c, unsigned node, uint64_t version)
{
    struct state s = {
        .disk_id = c->identity->disk_id, .version = version, .created = c->identity->created};
    if (c->have_directory || c->running)
        memcpy(s.uuid, c->identity->creation_token, 16);
    struct tm_message_head head = {.type = TM_MESSAGE_STATE};
    return c->ops.send(c->ops.host, node, head, tm_bytes_of(&s, sizeof s));
}

static bool send_directory(struct tm_creation *c, unsigned node, enum tm_message_type type,
                           const struct tm_directory *d)
{
    size_t len = tm_directory_size(d);
    uint8_t *bytes = malloc(len);
    if (bytes == NULL)
        return false; /* sent again by the next tick */
    tm_directory_encode(d, bytes);
    struct tm_message_head head = {.type = (uint16_t)type};
    bool sent = c->ops.send(c->ops.host, node, head, tm_bytes_of(bytes, len));
    free(bytes);
    return sent;
}

static void send_token(struct tm_creation *c, unsigned node, enum tm_message_type type,
                       const struct tm_directory *d)
{
    struct tm_message_head head = {.type = (uint16_t)type, .arg = d->version};
    c->ops.send(c->ops.host, node, head, tm_bytes_of(d->uuid, 16));
}

/* ---- what the exchange asks ---- */

static bool tell_version(void *host, unsigned node, uint64_t version)
{
    return send_state(host, node, version);
}

static bool give_directory(void *host, unsigned node, const struct tm_directory *d)
{
    return send_directory(host, node, TM_MESSAGE_DIRECTORY, d);
}

static void directory_changed(void *host, const struct tm_directory *d)
{
    struct tm_creation *c = host;
    c->ops.changed(c->ops.host, d);
}

/* ---- running ---- */

static void run(struct tm_creation *c)
{
    struct tm_directory *d = c->directory;
    c->directory = NULL;
    tm_ctx_log(c->ctx, TM_LOG_INFO, "cluster_runs", "cluster=%s nodes=%u partitions=%u copies=%u",
               d->cluster, d->members, d->partitions, d->copies);
    c->ops.run(c->ops.host, d);
    c->running = tm_node_directory(c->node) != NULL;
    c->over = !c->running;
    if (c->over)
        return;
    struct tm_exchange_ops ops = {
        .host = c, .tell = tell_version, .give = give_directory, .changed = directory_changed};
    tm_exchange_begin(&c->exchange, c->ctx, c->node, &ops);
}

static void become_created(struct tm_creation *c)
{
    struct tm_datadir_identity id = *c->identity;
    memcpy(id.cluster_uuid, c->directory->uuid, 16);
    id.created = true;
    if (write_identity(c, &id))
        run(c);
}

/* ---- the founder ---- */

/* The directory that the file and the disks that everybody reported ask for; with the token of the
 * one stored before, if a creation was under way.  NULL if memory is short. */
static struct tm_directory *wanted(struct tm_creation *c)
{
    struct tm_directory *d = malloc(sizeof *d);
    if (d == NULL)
        return NULL;
    tm_directory_propose(d, &c->node->spec);
    d->version = c->have_directory ? c->directory->version : 0;
    for (unsigned i = 0; i < 16; i += 8)
        tm_store64(d->uuid + i,
                   c->have_directory ? tm_load64(c->directory->uuid + i) : tm_ctx_random(c->ctx));
    d->token = tm_load64(d->uuid);
    c->disk[c->node->self] = c->identity->disk_id;
    for (unsigned i = 0; i < d->members; i++)
        d->nodes[i].disk_id = c->disk[i];
    return d;
}

static bool same_directory(const struct tm_directory *a, const struct tm_directory *b)
{
    return a->members == b->members && a->partitions == b->partitions && a->copies == b->copies &&
           a->eventual == b->eventual && strcmp(a->cluster, b->cluster) == 0 &&
           strcmp(a->facts, b->facts) == 0 && memcmp(a->nodes, b->nodes, sizeof a->nodes) == 0 &&
           memcmp(a->placement, b->placement, sizeof a->placement) == 0;
}

/* Stores the directory wanted, as a new version if it differs from the one stored. */
static bool propose(struct tm_creation *c)
{
    struct tm_directory *d = wanted(c);
    if (d == NULL)
        return false; /* again at the next tick */
    bool stored = c->have_directory && same_directory(d, c->directory);
    if (!stored) {
        d->version++;
        c->created = 0;
        stored = adopt(c, d, false);
    }
    free(d);
    return stored;
}

/* Whoever holds what another creation began keeps us from founding.  That is for an operator only
 * if nobody runs: a cluster that exists takes all of us in. */
static bool may_found(struct tm_creation *c)
{
    uint64_t all = everybody(c);
    if (!is_founder(c) || c->running)
        return false;
    if (c->broken == 0)
        return (c->heard | 1) == all;
    if ((c->heard | c->broken | 1) == all)
        say_once(c, "creation_interrupted",
                 "it holds what a creation began of which this first node knows nothing (was it "
                 "wiped?): empty the data directories of all nodes and start again; nothing was "
                 "ever acknowledged",
                 (unsigned)__builtin_ctzll(c->broken));
    return false;
}

static void found(struct tm_creation *c)
{
    if (!may_found(c) || !propose(c))
        return;
    c->created |= 1;
    if (c->created == everybody(c)) {
        become_created(c);
        return;
    }
    for (unsigned i = 1; i < c->node->spec.count; i++)
        if ((c->created & bit(i)) == 0)
            send_directory(c, i, TM_MESSAGE_CREATE, c->directory);
}

/* ---- receiving ---- */

/* A node says who it is while we run: it may lack the directory, or go by another version. */
static void running_state(struct tm_creation *c, unsigned node, const struct state *s)
{
    if (!s->created)
        send_directory(c, node, TM_MESSAGE_DIRECTORY, tm_node_directory(c->node));
    else if (memcmp(s->uuid, c->identity->creation_token, 16) == 0)
        tm_exchange_heard(&c->exchange, node, s->version);
    else
        tm_ctx_log(
            c->ctx, TM_LOG_ERROR, "foreign_node",
            "node=%s text=\"its data directory belongs to another cluster of this name: empty "
            "it, or point --data-dir to the right one\"",
            c->node->spec.names[node]);
}

static void on_state(struct tm_creation *c, unsigned node, struct tm_bytes body)
{
    struct state s;
    if (body.len != sizeof s || node == c->node->self)
        return;
    memcpy(&s, body.data, sizeof s);
    if (c->running) {
        running_state(c, node, &s);
        return;
    }
    c->seen |= bit(node);
    c->heard &= ~bit(node);
    c->broken &= ~bit(node);
    if (s.created)
        return; /* its cluster exists: it answers our STATE with the directory */
    if (!is_zero(s.uuid) && memcmp(s.uuid, c->identity->creation_token, 16) != 0)
        c->broken |= bit(node);
    else
        c->heard |= bit(node);
    c->disk[node] = s.disk_id;
    found(c);
}

/* Reads a directory that was sent to this node; NULL if it makes no sense for it. */
static struct tm_directory *read_directory(const struct tm_creation *c, struct tm_bytes body)
{
    struct tm_directory *d = malloc(sizeof *d);
    if (d != NULL && tm_directory_decode(body, d) == TM_OK &&
        strcmp(d->cluster, c->node->spec.cluster) == 0 && c->node->self < d->members &&
        strcmp(d->nodes[c->node->self].name, c->node->spec.names[c->node->self]) == 0)
        return d;
    free(d);
    return NULL;
}

/* Is it of the creation that this node has a part in, if any? */
static bool same_creation(const struct tm_creation *c, const struct tm_directory *d)
{
    return is_zero(c->identity->creation_token) ||
           memcmp(d->uuid, c->identity->creation_token, 16) == 0;
}

/* The founder proposes.  Saying CREATED binds this node to that proposal: it takes part in no other
 * cluster until the founder has given it up. */
static void on_create(struct tm_creation *c, unsigned node, struct tm_bytes body)
{
    if (c->running) {
        send_directory(c, node, TM_MESSAGE_DIRECTORY, tm_node_directory(c->node));
        return;
    }
    if (node != 0 || is_founder(c))
        return;
    struct tm_directory *d = read_directory(c, body);
    if (d != NULL && same_creation(c, d) &&
        d->nodes[c->node->self].disk_id == c->identity->disk_id &&
        (!c->have_directory || d->version >= c->directory->version) && adopt(c, d, false))
        send_token(c, node, TM_MESSAGE_CREATED, d);
    free(d);
}

/* Does the message speak of the very directory that we stored? */
static bool is_ours(const struct tm_creation *c, uint64_t version, struct tm_bytes token)
{
    return c->have_directory && token.len == 16 && version == c->directory->version &&
           memcmp(token.data, c->directory->uuid, 16) == 0;
}

static void on_created(struct tm_creation *c, unsigned node, uint64_t version,
                       struct tm_bytes token)
{
    if (!is_founder(c) || c->running || !is_ours(c, version, token))
        return;
    c->created |= bit(node);
    found(c);
    for (unsigned i = 1; c->running && i < c->node->spec.count; i++)
        send_token(c, i, TM_MESSAGE_START, tm_node_directory(c->node));
}

static void on_start(struct tm_creation *c, unsigned node, uint64_t version, struct tm_bytes token)
{
    if (node == 0 && !c->running && is_ours(c, version, token))
        become_created(c);
}

/* The cluster exists.  What was proposed here before gives way to it: at the founder at once, at
 * another node when the founder says so, because until then the founder might complete it. */
static void on_directory(struct tm_creation *c, unsigned node, struct tm_bytes body)
{
    if (c->running) {
        tm_exchange_offer(&c->exchange, body);
        return;
    }
    struct tm_directory *d = read_directory(c, body);
    if (d == NULL)
        return;
    if (!same_creation(c, d) && !is_founder(c) && node != 0)
        say_once(c, "waits_for_first_node",
                 "its cluster exists, but another was proposed here, which only the first node can "
                 "take back: start that, or empty this node's data directory",
                 node);
    else if (adopt(c, d, true))
        run(c);
    free(d);
}

void tm_creation_message(struct tm_creation *c, const struct tm_message_head *head,
                         struct tm_bytes body)
{
    if (c->over || head->node >= c->node->spec.count)
        return;
    switch (head->type) {
    case TM_MESSAGE_STATE:
        on_state(c, head->node, body);
        break;
    case TM_MESSAGE_CREATE:
        on_create(c, head->node, body);
        break;
    case TM_MESSAGE_CREATED:
        on_created(c, head->node, head->arg, body);
        break;
    case TM_MESSAGE_START:
        on_start(c, head->node, head->arg, body);
        break;
    case TM_MESSAGE_DIRECTORY:
        on_directory(c, head->node, body);
        break;
    default:
        break;
    }
}

/* ---- life ---- */

enum tm_err tm_creation_start(struct tm_creation *c, const struct tm_ctx *ctx, struct tm_node *node,
                              struct tm_datadir_identity *identity,
                              const struct tm_creation_ops *ops)
{
    *c = (struct tm_creation){.ctx = ctx, .node = node, .identity = identity, .ops = *ops};
    c->directory = calloc(1, sizeof *c->directory);
    if (c->directory == NULL)
        return TM_ERR_NOMEM;
    if (!is_zero(identity->creation_token)) {
        enum tm_err e = load_what_is_stored(c);
        if (e != TM_OK)
            return e;
    }
    if (identity->created)
        run(c);
    else
        found(c); /* a cluster of one node */
    return TM_OK;
}

void tm_creation_end(struct tm_creation *c)
{
    free(c->directory);
    c->directory = NULL;
    tm_exchange_end(&c->exchange);
}

bool tm_creation_quiet(const struct tm_creation *c)
{
    return tm_exchange_quiet(&c->exchange);
}

void tm_creation_peer_up(struct tm_creation *c, unsigned node)
{
    if (c->over)
        return;
    tm_creation_peer_down(c, node); /* it may have been wiped since it spoke last */
    if (c->running)
        tm_exchange_peer_up(&c->exchange, node);
    else
        send_state(c, node, 0);
}

void tm_creation_peer_down(struct tm_creation *c, unsigned node)
{
    c->seen &= ~bit(node);
    c->heard &= ~bit(node);
    c->created &= ~bit(node);
    c->broken &= ~bit(node);
}

/* Now and then: for whom. */
static void say_that_we_wait(struct tm_creation *c, uint64_t now)
{
    char names[512] = "";
    size_t at = 0;
    if (c->say_at == 0)
        c->say_at = now + SAY_FIRST_NS;
    if (now < c->say_at)
        return;
    c->say_at = now + SAY_AGAIN_NS;
    for (unsigned i = 0; i < c->node->spec.count && at < sizeof names; i++)
        if (i != c->node->self && (c->seen & bit(i)) == 0)
            at += (size_t)snprintf(names + at, sizeof names - at, "%s%s", at > 0 ? ", " : "",
                                   c->node->spec.names[i]);
    tm_ctx_log(c->ctx, TM_LOG_WARN, "creation_waits",
               "unheard=\"%s\" text=\"not part of a cluster yet: one is created once all its nodes "
               "have been heard, and one that exists is joined through any of them\"",
               names);
}

void tm_creation_tick(struct tm_creation *c)
{
    uint64_t now = tm_ctx_now(c->ctx);
    if (c->over || now < c->next_send)
        return;
    c->next_send = now + REPEAT_NS;
    if (c->running) {
        tm_exchange_tick(&c->exchange);
        return;
    }
    for (unsigned i = 0; i < c->node->spec.count; i++)
        if (i != c->node->self)
            send_state(c, i, 0);
    say_that_we_wait(c, now);
    found(c);
}

uint64_t tm_creation_next_deadline(const struct tm_creation *c)
{
    return c->running ? UINT64_MAX : c->next_send;
}
