#include "actors/exchange.h"

#include <stdlib.h>

#define WRITE_AGAIN_NS TM_SECONDS(10)

static const struct tm_directory *held(const struct tm_exchange *x)
{
    return tm_node_directory(x->node);
}

static uint64_t everybody_else(const struct tm_exchange *x)
{
    unsigned members = held(x)->members;
    return ((members == 64 ? 0 : 1ULL << members) - 1) & ~(1ULL << x->node->self);
}

/* ---- telling ---- */

static void tell_owed(struct tm_exchange *x)
{
    uint64_t owed = x->owed;
    for (; owed != 0; owed &= owed - 1) {
        unsigned node = (unsigned)__builtin_ctzll(owed);
        if (x->ops.tell(x->ops.host, node, held(x)->version))
            x->owed &= ~(1ULL << node);
    }
}

void tm_exchange_peer_up(struct tm_exchange *x, unsigned node)
{
    x->owed |= 1ULL << node;
    tell_owed(x);
}

void tm_exchange_heard(struct tm_exchange *x, unsigned node, uint64_t version)
{
    const struct tm_directory *d = held(x);
    bool settled = version == d->version;
    if (version < d->version)
        settled = x->ops.give(x->ops.host, node, d);
    if (!settled) { /* it gives us its own; or the way was full, and it answers once more */
        x->owed |= 1ULL << node;
        tell_owed(x);
    }
}

/* ---- the copy in the data directory ---- */

static void written(void *host, uint64_t version, enum tm_err err)
{
    struct tm_exchange *x = host;
    if (err == TM_OK) {
        x->stored = version;
        return;
    }
    x->write_at = tm_ctx_now(x->ctx) + WRITE_AGAIN_NS;
    tm_ctx_log(
        x->ctx, TM_LOG_ERROR, "directory_not_stored",
        "version=%llu error=\"%s\" action=\"tried again; a restart begins with version %llu\"",
        (unsigned long long)version, tm_err_text(err), (unsigned long long)x->stored);
}

static void store(struct tm_exchange *x)
{
    const struct tm_directory *d = held(x);
    if (x->stored != d->version && !tm_directory_writing(&x->write) &&
        tm_ctx_now(x->ctx) >= x->write_at)
        (void)tm_directory_write(&x->write, x->ctx->disk, d, written, x); /* else the next tick */
}

/* ---- taking ---- */

static void take_next(struct tm_exchange *x)
{
    if (x->next == NULL || tm_node_publish(x->node, x->next) != TM_OK)
        return;
    x->next = NULL;
    tm_ctx_log(x->ctx, TM_LOG_INFO, "directory_changed", "version=%llu",
               (unsigned long long)held(x)->version);
    x->ops.changed(x->ops.host, held(x));
    x->owed = everybody_else(x);
    tell_owed(x);
    store(x);
}

static bool is_newer(const struct tm_exchange *x, const struct tm_directory *d)
{
    const struct tm_directory *now = x->next != NULL ? x->next : held(x);
    return memcmp(d->uuid, now->uuid, 16) == 0 && d->partitions == now->partitions &&
           d->version > now->version && x->node->self < d->members &&
           strcmp(d->nodes[x->node->self].name, now->nodes[x->node->self].name) == 0;
}

void tm_exchange_offer(struct tm_exchange *x, struct tm_bytes bytes)
{
    struct tm_directory *d = malloc(sizeof *d);
    if (d == NULL)
        return; /* it is offered again */
    if (tm_directory_decode(bytes, d) != TM_OK || !is_newer(x, d)) {
        free(d);
        return;
    }
    free(x->next);
    x->next = d;
    take_next(x);
}

void tm_exchange_tick(struct tm_exchange *x)
{
    take_next(x);
    tell_owed(x);
    store(x);
}

/* ---- life ---- */

void tm_exchange_begin(struct tm_exchange *x, const struct tm_ctx *ctx, struct tm_node *node,
                       const struct tm_exchange_ops *ops)
{
    *x = (struct tm_exchange){.ctx = ctx, .node = node, .ops = *ops};
    x->stored = held(x)->version;
}

void tm_exchange_end(struct tm_exchange *x)
{
    free(x->next);
    x->next = NULL;
    tm_directory_write_abandon(&x->write);
}

bool tm_exchange_quiet(const struct tm_exchange *x)
{
    return !tm_directory_writing(&x->write);
}
