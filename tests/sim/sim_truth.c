/* Tables: per partition the records by index, usually one each; who led, who voted for whom, which
 * in-sync sets there were; per disk and partition where the durable log ends, what is promised,
 * and what its replica showed last. */
#include "tests/sim/sim_truth_internal.h"

#include "actors/keeper.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define CHUNK 1024u

struct chunk {
    struct chunk *next;
    struct tm_sim_entry entries[CHUNK];
};

void tm_sim_truth_wrong(struct tm_sim_truth *t, uint32_t partition, const char *fmt, ...)
{
    char text[512];
    int n = snprintf(text, sizeof text, "partition %u: ", partition);
    va_list args;
    va_start(args, fmt);
    vsnprintf(text + n, sizeof text - (size_t)n, fmt, args);
    va_end(args);
    t->config.wrong(t->config.host, text);
}

struct tm_sim_truth *tm_sim_truth_new(const struct tm_sim_truth_config *config)
{
    struct tm_sim_truth *t = calloc(1, sizeof *t);
    TM_ASSERT(t != NULL && config->partitions > 0);
    t->config = *config;
    t->chunk_used = CHUNK;
    t->parts = calloc(config->partitions, sizeof *t->parts);
    TM_ASSERT(t->parts != NULL);
    return t;
}

void tm_sim_truth_free(struct tm_sim_truth *t)
{
    for (uint32_t p = 0; p < t->config.partitions; p++) {
        free(t->parts[p].at);
        free(t->parts[p].leaders);
        free(t->parts[p].votes);
        free(t->parts[p].sets);
    }
    for (unsigned i = 0; i < t->disk_count; i++)
        free(t->disks[i].copies);
    for (struct chunk *c = t->chunks, *next; c != NULL; c = next) {
        next = c->next;
        free(c);
    }
    free(t->parts);
    free(t);
}

/* ---- disks ---- */

unsigned tm_sim_truth_disk(struct tm_sim_truth *t, struct tm_id id)
{
    if (t->disk_last < t->disk_count && tm_id_equal(t->disks[t->disk_last].id, id))
        return t->disk_last;
    for (unsigned i = 0; i < t->disk_count; i++)
        if (tm_id_equal(t->disks[i].id, id))
            return t->disk_last = i;
    TM_ASSERT(t->disk_count < TM_SIM_DISKS_MAX);
    struct tm_sim_disk_copies *d = &t->disks[t->disk_count];
    d->id = id;
    d->copies = calloc(t->config.partitions, sizeof *d->copies);
    TM_ASSERT(d->copies != NULL);
    for (uint32_t p = 0; p < t->config.partitions; p++)
        d->copies[p].promise.vote.node = TM_NODE_UNKNOWN;
    return t->disk_count++;
}

struct tm_sim_copy *tm_sim_truth_copy(struct tm_sim_truth *t, struct tm_id id, uint32_t partition)
{
    TM_ASSERT(partition < t->config.partitions);
    return &t->disks[tm_sim_truth_disk(t, id)].copies[partition];
}

bool tm_sim_truth_is_replaced(struct tm_sim_truth *t, struct tm_id id)
{
    for (unsigned i = tm_sim_truth_disk(t, id) + 1; i < t->disk_count; i++)
        if (t->disks[i].id.node == id.node)
            return true;
    return false;
}

/* ---- records ---- */

static struct tm_sim_entry *entry_new(struct tm_sim_truth *t)
{
    if (t->chunk_used == CHUNK) {
        struct chunk *c = calloc(1, sizeof *c);
        TM_ASSERT(c != NULL);
        c->next = t->chunks;
        t->chunks = c;
        t->chunk_used = 0;
    }
    return &((struct chunk *)t->chunks)->entries[t->chunk_used++];
}

static void reach(struct tm_sim_part *p, uint64_t index)
{
    uint64_t cap = p->cap == 0 ? 256 : p->cap;
    while (cap <= index)
        cap *= 2;
    if (cap == p->cap)
        return;
    p->at = realloc(p->at, cap * sizeof(struct tm_sim_entry *));
    TM_ASSERT(p->at != NULL);
    memset(p->at + p->cap, 0, (cap - p->cap) * sizeof(struct tm_sim_entry *));
    p->cap = cap;
}

/* Indexes of a history that began with a forced recovery lie far behind those of the one before. */
static uint64_t slot(uint64_t index)
{
    return index & (TM_KEEPER_FAR - 1);
}

struct tm_sim_entry *tm_sim_truth_first(const struct tm_sim_part *p, uint64_t index)
{
    return slot(index) < p->cap ? p->at[slot(index)] : NULL;
}

struct tm_sim_entry *tm_sim_truth_find(const struct tm_sim_truth *t, uint32_t partition,
                                       uint64_t index, uint64_t hash)
{
    const struct tm_sim_part *p = &t->parts[partition];
    struct tm_sim_entry *e = tm_sim_truth_first(p, index);
    while (e != NULL && (e->hash != hash || e->index != index))
        e = e->other;
    return e;
}

struct tm_sim_entry *tm_sim_truth_entry(struct tm_sim_truth *t, uint32_t partition, uint64_t index,
                                        uint64_t term, uint64_t hash)
{
    struct tm_sim_part *p = &t->parts[partition];
    struct tm_sim_entry *e = tm_sim_truth_find(t, partition, index, hash);
    if (e != NULL)
        return e;
    reach(p, slot(index));
    for (e = tm_sim_truth_first(p, index); e != NULL; e = e->other)
        if (e->term == term && e->index == index)
            tm_sim_truth_wrong(t, partition,
                               "log matching: two records have index %llu and term %llu, hashes "
                               "%016llx and %016llx (invariant 1)",
                               (unsigned long long)index, (unsigned long long)term,
                               (unsigned long long)e->hash, (unsigned long long)hash);
    e = entry_new(t);
    *e = (struct tm_sim_entry){
        .other = p->at[slot(index)], .index = index, .term = term, .hash = hash};
    p->at[slot(index)] = e;
    t->stats.records++;
    return e;
}

void tm_sim_truth_link(struct tm_sim_truth *t, uint32_t partition, struct tm_sim_entry *e,
                       uint64_t prev, unsigned node)
{
    if (e->prev_known && e->prev != prev)
        tm_sim_truth_wrong(t, partition,
                           "chain: on node %u record %llu of term %llu follows %016llx, not "
                           "%016llx (invariant 5)",
                           node, (unsigned long long)e->index, (unsigned long long)e->term,
                           (unsigned long long)prev, (unsigned long long)e->prev);
    e->prev = prev;
    e->prev_known = true;
}

struct tm_sim_entry *tm_sim_truth_committed_at(const struct tm_sim_truth *t, uint32_t partition,
                                               uint64_t index)
{
    const struct tm_sim_part *p = &t->parts[partition];
    struct tm_sim_entry *e = tm_sim_truth_first(p, index);
    while (e != NULL && (!e->committed || e->index != index))
        e = e->other;
    return e;
}

void tm_sim_truth_give_up(struct tm_sim_truth *t, uint32_t partition)
{
    struct tm_sim_part *p = &t->parts[partition];
    for (uint64_t i = 0; i < p->cap; i++)
        for (struct tm_sim_entry *e = p->at[i]; e != NULL; e = e->other)
            e->committed = false;
    p->origin += TM_KEEPER_FAR;
    p->committed = p->origin;
    for (unsigned i = 0; i < t->disk_count; i++)
        t->disks[i].copies[partition].owed = NULL;
}

/* ---- what is durable ---- */

void tm_sim_truth_durable(struct tm_sim_truth *t, struct tm_id id, const struct tm_record *record)
{
    struct tm_sim_copy *c = tm_sim_truth_copy(t, id, record->partition);
    struct tm_sim_entry *e =
        tm_sim_truth_entry(t, record->partition, record->index, record->term, record->checksum);
    tm_sim_truth_link(t, record->partition, e, record->prev_hash, id.node);
    e->durable |= tm_sim_truth_bit(t, id);
    e->missing &= ~tm_sim_truth_bit(t, id);
    t->stats.durable++;
    if (record->index == c->index + 1) {
        c->index = record->index;
        c->hash = record->checksum;
    } else if (record->index > c->index) {
        tm_sim_truth_wrong(t, record->partition,
                           "the log on the disk of node %u goes on with record %llu after %llu "
                           "(invariant 2)",
                           id.node, (unsigned long long)record->index,
                           (unsigned long long)c->index);
    } /* else a repair */
}

/* A replica that has proven what it has: on its disk, too, not only since in memory. */
static bool is_whole(const struct tm_sim_copy *c)
{
    return c->seen.process != NULL && c->seen.hs.health == TM_HEALTH_WHOLE &&
           c->promise.health == TM_HEALTH_WHOLE;
}

/* Or what it had, for it knows what it lacks. */
static bool is_sure(const struct tm_sim_copy *c)
{
    return is_whole(c) || (c->seen.process != NULL && c->seen.hs.health == TM_HEALTH_HOLED &&
                           c->promise.health == TM_HEALTH_WHOLE);
}

static void note_cut(struct tm_sim_truth *t, struct tm_id id, uint32_t partition,
                     struct tm_sim_entry *e)
{
    if (e->committed && is_whole(tm_sim_truth_copy(t, id, partition)))
        tm_sim_truth_wrong(
            t, partition,
            "node %u was whole and cuts record %llu of term %llu, which is committed "
            "(invariant 6)",
            id.node, (unsigned long long)e->index, (unsigned long long)e->term);
    uint64_t bit = tm_sim_truth_bit(t, id);
    if ((e->cut & bit) == 0 && partition + 1 < t->config.partitions)
        t->disks[tm_sim_truth_disk(t, id)].cut++;
    e->cut |= bit;
}

void tm_sim_truth_cut(struct tm_sim_truth *t, struct tm_id id, uint32_t partition, uint64_t from)
{
    struct tm_sim_copy *c = tm_sim_truth_copy(t, id, partition);
    TM_ASSERT(from > 0);
    if (from > c->index)
        return;
    struct tm_sim_entry *e = tm_sim_truth_find(t, partition, c->index, c->hash);
    for (; e != NULL && e->index >= from;
         e = e->index > 1 && e->prev_known ? tm_sim_truth_find(t, partition, e->index - 1, e->prev)
                                           : NULL)
        note_cut(t, id, partition, e);
    c->index = from - 1;
    c->hash = e != NULL ? e->hash : 0;
}

void tm_sim_truth_reset(struct tm_sim_truth *t, struct tm_id id, uint32_t partition, uint64_t index,
                        uint64_t hash)
{
    struct tm_sim_copy *c = tm_sim_truth_copy(t, id, partition);
    const struct tm_sim_entry *e = tm_sim_truth_find(t, partition, c->index, c->hash);
    while (e != NULL && e->index > index)
        e = e->prev_known ? tm_sim_truth_find(t, partition, e->index - 1, e->prev) : NULL;
    if (c->index > index && e != NULL && e->hash == hash && is_sure(c))
        tm_sim_truth_wrong(t, partition,
                           "node %u was %s and had record %llu, and gives up %llu more behind "
                           "it for a snapshot (invariant 6)",
                           id.node, is_whole(c) ? "whole" : "not faulty", (unsigned long long)index,
                           (unsigned long long)(c->index - index));
    c->index = index;
    c->hash = hash;
}

void tm_sim_truth_promise(struct tm_sim_truth *t, struct tm_id id, uint32_t partition,
                          const struct tm_promise *promise)
{
    struct tm_promise *had = &tm_sim_truth_copy(t, id, partition)->promise;
    if (promise->term < had->term)
        tm_sim_truth_wrong(t, partition, "node %u promised term %llu, now %llu (invariant 1)",
                           id.node, (unsigned long long)had->term,
                           (unsigned long long)promise->term);
    if (promise->term == had->term && had->vote.node != TM_NODE_UNKNOWN &&
        !tm_id_equal(had->vote, promise->vote))
        tm_sim_truth_wrong(
            t, partition, "node %u voted for node %u in term %llu, then for node %u (invariant 1)",
            id.node, had->vote.node, (unsigned long long)had->term, promise->vote.node);
    if (promise->insync.count > 0 && tm_sim_truth_set_order(&promise->insync, &had->insync) < 0)
        tm_sim_truth_wrong(
            t, partition, "node %u went back to in-sync set %llu.%llu from %llu.%llu", id.node,
            (unsigned long long)promise->insync.term, (unsigned long long)promise->insync.epoch,
            (unsigned long long)had->insync.term, (unsigned long long)had->insync.epoch);
    *had = *promise;
}

/* ---- what it knows ---- */

unsigned tm_sim_truth_copies(const struct tm_sim_truth *t, uint32_t partition, uint64_t index,
                             uint64_t hash)
{
    const struct tm_sim_entry *e = tm_sim_truth_find(t, partition, index, hash);
    uint64_t nodes = 0;
    for (unsigned i = 0; i < t->disk_count; i++)
        if ((e != NULL && (e->durable >> i & 1) != 0) ||
            t->disks[i].copies[partition].snapshot >= index)
            nodes |= UINT64_C(1) << t->disks[i].id.node;
    return (unsigned)__builtin_popcountll(nodes);
}

uint64_t tm_sim_truth_cut_off(const struct tm_sim_truth *t, unsigned node)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < t->disk_count; i++)
        if (t->disks[i].id.node == node)
            count += t->disks[i].cut;
    return count;
}

struct tm_sim_truth_stats tm_sim_truth_stats(const struct tm_sim_truth *t)
{
    return t->stats;
}

uint64_t tm_sim_truth_committed(const struct tm_sim_truth *t, uint32_t partition)
{
    return t->parts[partition].committed;
}

bool tm_sim_truth_is_committed(const struct tm_sim_truth *t, uint32_t partition, uint64_t index,
                               uint64_t hash)
{
    const struct tm_sim_entry *e = tm_sim_truth_find(t, partition, index, hash);
    return e != NULL && e->committed;
}

bool tm_sim_truth_forgave(const struct tm_sim_truth *t, uint32_t partition)
{
    return t->parts[partition].forgave;
}
