/* Messages between the workers of one node: a ring for each ordered pair, in the workspace.  A
 * message that does not fit a ring's record goes as a pointer to memory: both ends are threads of
 * one process. */
#include "tools/host_internal.h"

#include <stdio.h>
#include <stdlib.h>

enum { KIND_INLINE, KIND_POINTER };

struct pointer {
    uint8_t *data;
    uint64_t len;
};

/* Half of the workspace for rings, at most 1 MiB each. */
size_t tm_host_ring_bytes(const struct tm_host *h)
{
    size_t pairs = (size_t)h->count * (h->count - 1), bytes = TM_MIB(1);
    while (pairs > 0 && bytes > TM_KIB(16) && bytes * pairs > h->options.workspace_bytes / 2)
        bytes /= 2;
    return bytes;
}

void tm_host_rings_join(struct tm_host *h)
{
    for (unsigned from = 0; from < h->count; from++)
        for (unsigned to = 0; to < h->count; to++) {
            char name[TM_WORKSPACE_NAME_MAX + 1];
            size_t bytes;
            if (from == to)
                continue;
            snprintf(name, sizeof name, "ring-%u-%u", from, to);
            void *mem = tm_workspace_find(&h->workspace, name, &bytes);
            TM_ASSERT(mem != NULL && tm_ring_new(mem, tm_host_ring_bytes(h)) != NULL);
            struct tm_ring *ring = tm_ring_join(mem, bytes);
            TM_ASSERT(ring != NULL);
            tm_ring_producer_init(&h->workers[from].to[to], ring);
            tm_ring_consumer_init(&h->workers[to].from[from], ring);
        }
}

static void gather(uint8_t *out, const struct tm_bytes *pieces, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        memcpy(out, pieces[i].data, pieces[i].len);
        out += pieces[i].len;
    }
}

enum tm_err tm_host_local(void *host_worker, unsigned worker, const struct tm_bytes *pieces,
                          unsigned count)
{
    struct tm_host_worker *w = host_worker;
    struct tm_ring_producer *ring = &w->to[worker];
    size_t len = 0;
    for (unsigned i = 0; i < count; i++)
        len += pieces[i].len;
    bool fits = len <= tm_ring_record_max(ring->capacity) / 4;
    uint32_t size = fits ? (uint32_t)len : (uint32_t)sizeof(struct pointer);
    void *at = tm_ring_claim(ring, fits ? KIND_INLINE : KIND_POINTER, size);
    if (at == NULL) {
        tm_counter_add(w->counters, TM_COUNTER_ring_full, 1);
        return TM_ERR_FULL;
    }
    if (fits) {
        gather(at, pieces, count);
    } else {
        struct pointer p = {.data = malloc(len), .len = len};
        if (p.data != NULL)
            gather(p.data, pieces, count);
        else
            p.len = 0;
        memcpy(at, &p, sizeof p);
    }
    tm_counter_add(w->counters, TM_COUNTER_ring_records, 1);
    w->pushed |= 1ULL << worker;
    return TM_OK;
}

static void take_record(struct tm_host_worker *w, unsigned from, const struct tm_ring_record *r)
{
    if (r->kind == KIND_INLINE) {
        tm_shard_local(w->shard, from, tm_bytes_of(r->data, r->len));
        return;
    }
    struct pointer p;
    memcpy(&p, r->data, sizeof p);
    if (p.data != NULL)
        tm_shard_local(w->shard, from, tm_bytes_of(p.data, p.len));
    free(p.data);
}

static unsigned rings_poll(void *self)
{
    struct tm_host_worker *w = self;
    unsigned work = 0;
    for (unsigned from = 0; from < w->host->count; from++) {
        struct tm_ring_record r;
        if (from == w->index)
            continue;
        unsigned batch = 0;
        while (batch < 256 && tm_ring_next(&w->from[from], &r)) {
            take_record(w, from, &r);
            batch++;
        }
        tm_ring_release(&w->from[from]);
        work += batch;
    }
    return work;
}

static void rings_flush(void *self)
{
    struct tm_host_worker *w = self;
    for (unsigned to = 0; w->pushed != 0; to++, w->pushed >>= 1) {
        if ((w->pushed & 1) == 0 || !tm_ring_publish(&w->to[to]))
            continue;
        tm_counter_add(w->counters, TM_COUNTER_wakes_sent, 1);
        tm_doorbell_force(&w->host->workers[to].worker->bell);
    }
}

static bool rings_before_park(void *self)
{
    struct tm_host_worker *w = self;
    bool empty = true;
    for (unsigned from = 0; from < w->host->count; from++)
        if (from != w->index)
            empty &= tm_ring_park(&w->from[from]);
    return empty;
}

static void rings_after_park(void *self)
{
    struct tm_host_worker *w = self;
    for (unsigned from = 0; from < w->host->count; from++)
        if (from != w->index)
            tm_ring_unpark(&w->from[from]);
}

const struct tm_actor_ops tm_host_rings_ops = {.name = "rings",
                                               .phase = TM_PHASE_RINGS,
                                               .poll = rings_poll,
                                               .flush = rings_flush,
                                               .before_park = rings_before_park,
                                               .after_park = rings_after_park};
