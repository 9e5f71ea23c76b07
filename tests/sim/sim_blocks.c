/* A volume is the log of one worker of a node in one generation.  Its blocks that are durable
 * before the one that they follow wait in a short list. */
#include "tests/sim/sim_blocks.h"

#include "storage/wal_format.h"
#include "tests/sim/sim_cluster.h"

#include <stdlib.h>

#define WAITING_MAX 16

struct block {
    struct tm_wal_block header;
    uint8_t *stream;
};

struct volume {
    unsigned node;
    uint64_t disk;
    uint32_t generation, worker;
    uint64_t sequence; /* of the last one that counts */
    struct block waiting[WAITING_MAX];
    unsigned count;
};

struct tm_sim_blocks {
    struct tm_sim_truth *truth;
    uint32_t partitions;
    struct volume *volumes; /* one for each worker of each generation of each disk */
    unsigned volume_count, volume_cap;
};

struct tm_sim_blocks *tm_sim_blocks_new(struct tm_sim_truth *truth, uint32_t partitions)
{
    struct tm_sim_blocks *b = calloc(1, sizeof *b);
    TM_ASSERT(b != NULL);
    b->truth = truth;
    b->partitions = partitions;
    return b;
}

static void forget(struct volume *v)
{
    for (unsigned i = 0; i < v->count; i++)
        free(v->waiting[i].stream);
    v->count = 0;
}

void tm_sim_blocks_free(struct tm_sim_blocks *b)
{
    for (unsigned i = 0; i < b->volume_count; i++)
        forget(&b->volumes[i]);
    free(b->volumes);
    free(b);
}

/* The volume that the block is of. */
static struct volume *volume_of(struct tm_sim_blocks *b, unsigned node,
                                const struct tm_wal_block *h)
{
    for (unsigned i = b->volume_count; i-- > 0;) {
        struct volume *v = &b->volumes[i];
        if (v->node == node && v->disk == h->disk_id && v->generation == h->generation &&
            v->worker == h->worker)
            return v;
    }
    if (b->volume_count == b->volume_cap) {
        b->volume_cap = b->volume_cap == 0 ? 16 : 2 * b->volume_cap;
        b->volumes = realloc(b->volumes, b->volume_cap * sizeof *b->volumes);
        TM_ASSERT(b->volumes != NULL);
    }
    struct volume *v = &b->volumes[b->volume_count++];
    *v = (struct volume){
        .node = node, .disk = h->disk_id, .generation = h->generation, .worker = h->worker};
    return v;
}

/* ---- what is in a block ---- */

static void tell_promises(struct tm_sim_blocks *b, struct tm_id id, const struct tm_record *r)
{
    struct tm_bytes rest = tm_record_body(r);
    struct tm_hard_state hs;
    uint32_t partition;
    while (tm_hs_record_next(&rest, &partition, &hs)) {
        struct tm_promise promise;
        if (partition < b->partitions && tm_promise_from_hard_state(&hs, &promise) == TM_OK)
            tm_sim_truth_promise(b->truth, id, partition, &promise);
    }
}

static void tell(struct tm_sim_blocks *b, struct tm_id id, const struct tm_record *r)
{
    if (r->kind == TM_RECORD_HARD_STATE)
        tell_promises(b, id, r);
    if (r->partition >= b->partitions)
        return;
    if (r->kind < TM_RECORD_LOCAL_FIRST)
        tm_sim_truth_durable(b->truth, id, r);
    else if (r->kind == TM_RECORD_REPAIR)
        tm_sim_truth_durable(b->truth, id, (const void *)tm_record_body(r).data);
    else if (r->kind == TM_RECORD_CUT)
        tm_sim_truth_cut(b->truth, id, r->partition, r->index);
    else if (r->kind == TM_RECORD_RESET || r->kind == TM_RECORD_FORGET)
        tm_sim_truth_reset(b->truth, id, r->partition, r->index, r->prev_hash);
}

static void count(struct tm_sim_blocks *b, struct volume *v, const struct block *block)
{
    struct tm_id id = {.disk = v->disk, .node = (uint8_t)v->node};
    struct tm_bytes rest = tm_wal_block_records(block->stream), record;
    while (tm_wal_record_next(&rest, &record))
        tell(b, id, (const void *)record.data);
    v->sequence = block->header.sequence;
}

/* Those that wait for nothing any more. */
static void advance(struct tm_sim_blocks *b, struct volume *v)
{
    for (unsigned i = 0; i < v->count; i++) {
        if (v->waiting[i].header.prev_sequence > v->sequence)
            continue;
        struct block block = v->waiting[i];
        v->waiting[i] = v->waiting[--v->count];
        if (block.header.sequence > v->sequence)
            count(b, v, &block);
        free(block.stream);
        advance(b, v);
        return;
    }
}

static void take(struct tm_sim_blocks *b, unsigned node, const struct tm_wal_block *h,
                 const uint8_t *image)
{
    struct block block = {.header = *h, .stream = aligned_alloc(8, tm_align_up(h->length, 8))};
    TM_ASSERT(block.stream != NULL);
    if (tm_wal_block_decode(image, h, block.stream) != TM_OK) {
        free(block.stream);
        return;
    }
    struct volume *v = volume_of(b, node, h);
    if ((h->flags & TM_WAL_BLOCK_OPENING) != 0) {
        forget(v);
        v->sequence = h->prev_sequence;
    }
    TM_ASSERT(v->count < WAITING_MAX);
    v->waiting[v->count++] = block;
    advance(b, v);
}

void tm_sim_blocks_stable(struct tm_sim_blocks *b, unsigned node, const char *name, uint64_t offset,
                          struct tm_bytes bytes)
{
    const char *slash = strrchr(name, '/');
    uint32_t worker;
    uint64_t segment;
    if (slash == NULL || strncmp(name, "wal/", 4) != 0 ||
        !tm_wal_name_parse(slash + 1, &worker, &segment))
        return;
    uint64_t at = tm_align_up(offset, TM_WAL_PAGE);
    while (at + TM_WAL_PAGE <= offset + bytes.len) {
        const uint8_t *image = bytes.data + (at - offset);
        struct tm_wal_block h;
        if (tm_wal_block_header(image, segment, at, offset + bytes.len - at, &h) != TM_OK) {
            at += TM_WAL_PAGE;
            continue;
        }
        take(b, node, &h, image);
        at += h.disk_bytes;
    }
}
