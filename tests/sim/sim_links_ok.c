/* What was heard of is kept in lists, one for each write, each key and each partition of a cluster:
 * where the record lies; whether it is on a quorum's disks is asked when an OK is judged. */
#include "tests/sim/sim_links_ok.h"

#include "actors/link_gate.h"
#include "actors/link_stage_wire.h"
#include "runtime/crc16.h"
#include "storage/store_link.h"
#include "tests/sim/sim_links_load.h"

#include <inttypes.h>
#include <stdlib.h>

#define KEYS       (TM_SIM_LINKS_KEYS + 3 * TM_SIM_CLUSTERS_MAX) /* of each type */
#define PARTITIONS 64
#define AHEAD_MS   5000 /* a target's clock at most */

/* A record in some log. */
struct place {
    struct place *next; /* heard of before */
    uint32_t partition;
    uint64_t index, hash, heard_at;
    struct tm_op_version stamp; /* of the write; of a key: the latest in the record */
    uint64_t deadline_ms;       /* of a key: when it expires, as the record says; 0: it does not */
    bool degraded;              /* of a partition: what it says of the link */
    unsigned target;
};

/* One cluster's logs. */
struct logs {
    struct tm_sim_links_ok *ok;
    unsigned cluster;
    uint64_t lost_at;      /* 0: never */
    struct place **writes; /* by number */
    struct place *keys[TM_SIM_LINKS_TYPES][KEYS];
    struct place *notes[PARTITIONS];
};

/* A write that had its OK. */
struct done {
    uint64_t number, at;
    unsigned cluster;
    char key[TM_SIM_LINKS_KEY_SIZE];
};

struct tm_sim_links_ok {
    const struct tm_sim_links_plan *plan;
    struct tm_sim_world *w;
    struct tm_sim_oracle **oracles;
    uint64_t cap; /* of writes */
    struct done *done;
    uint64_t dones, done_cap;
    struct logs logs[TM_SIM_CLUSTERS_MAX];
    uint64_t judged, exact, later, expired, before, degraded;
};

/* ---- what is heard ---- */

static struct place *put(struct place **list, const struct tm_record *r, uint64_t now)
{
    struct place *p = calloc(1, sizeof *p);
    TM_ASSERT(p != NULL);
    *p = (struct place){.next = *list,
                        .partition = r->partition,
                        .index = r->index,
                        .hash = r->checksum,
                        .heard_at = now};
    *list = p;
    return p;
}

static void give_up(struct place **list)
{
    while (*list != NULL) {
        struct place *next = (*list)->next;
        free(*list);
        *list = next;
    }
}

static void grow(struct tm_sim_links_ok *ok, uint64_t number)
{
    uint64_t cap = tm_max_u64(2 * ok->cap, number + 1024);
    for (unsigned i = 0; number >= ok->cap && i < TM_SIM_CLUSTERS_MAX; i++) {
        ok->logs[i].writes = realloc(ok->logs[i].writes, cap * sizeof(struct place *));
        TM_ASSERT(ok->logs[i].writes != NULL);
        memset(ok->logs[i].writes + ok->cap, 0, (cap - ok->cap) * sizeof(struct place *));
    }
    ok->cap = number >= ok->cap ? cap : ok->cap;
}

/* The number in "<east.4711>" at the beginning of text; 0: it is no such thing. */
static uint64_t number_of(const char *text, const char *end)
{
    char digits[24];
    const char *dot = memchr(text, '.', (size_t)(end - text));
    const char *close = dot == NULL ? NULL : memchr(dot, '>', (size_t)(end - dot));
    if (close == NULL || dot - text > 8 || close - dot > 20)
        return 0;
    snprintf(digits, sizeof digits, "%.*s", (int)(close - dot - 1), dot + 1);
    char *rest;
    uint64_t number = strtoull(digits, &rest, 10);
    return *rest == '\0' && rest > digits ? number : 0;
}

/* Whatever the bytes are about, also where the record only keeps another one. */
static void find_writes(struct logs *l, const struct tm_record *r, struct tm_bytes bytes)
{
    const char *at = (const char *)bytes.data, *end = at + bytes.len;
    while ((at = memchr(at, '<', (size_t)(end - at))) != NULL) {
        uint64_t number = number_of(at++, end);
        if (number == 0 || number > UINT32_MAX)
            continue;
        grow(l->ok, number);
        put(&l->writes[number], r, tm_sim_world_now(l->ok->w));
    }
}

/* Where a key is in the table; false: it is none of the clients'. */
static bool find_key(struct tm_bytes key, unsigned *type, unsigned *number)
{
    char name[TM_SIM_LINKS_KEY_SIZE];
    *type = *number = 0;
    if (key.len < 3 || key.data[0] < 'A' || key.data[0] >= 'A' + TM_SIM_LINKS_TYPES)
        return false;
    *type = key.data[0] - (unsigned)'A';
    for (*number = 0; *number < KEYS; ++*number) {
        tm_sim_links_key(*type, *number, name);
        if (tm_bytes_equal(key, tm_bytes_str(name)))
            return true;
    }
    return false;
}

/* What a partition writes down of a synchronous link ("g" and its target). */
static void find_note(struct logs *l, const struct tm_record *r, const struct tm_op *op)
{
    struct tm_link_gate_note note;
    if (op->code != TM_OP_SET_FIELD || op->name.len < 2 || op->name.data[0] != TM_SHADOW_GATE ||
        op->value.len != sizeof note || r->partition >= PARTITIONS)
        return;
    memcpy(&note, op->value.data, sizeof note);
    for (unsigned j = 0; j < l->ok->plan->world.clusters; j++)
        if (tm_bytes_equal(tm_bytes_of(op->name.data + 1, op->name.len - 1),
                           tm_bytes_str(tm_sim_world_name(j)))) {
            struct place *p = put(&l->notes[r->partition], r, tm_sim_world_now(l->ok->w));
            p->degraded = note.degraded != 0;
            p->target = j;
        }
}

/* A batch that the target has aside, where it is packed. */
static void find_staged(struct logs *l, const struct tm_record *r, const struct tm_op *op)
{
    static uint64_t space[TM_LINK_RAW_MAX / 8];
    struct tm_link_staged_name name;
    struct tm_link_batch batch;
    struct tm_bytes packed, raw;
    if (op->code == TM_OP_SET_FIELD && tm_link_staged_name_read(op->name, &name) &&
        tm_link_staged_decode(op->value, &batch, &packed) && batch.packed_len < batch.raw_len &&
        tm_link_unpack(&batch, packed, (uint8_t *)space, &raw) == TM_OK)
        find_writes(l, r, raw);
}

static void find_aside(struct logs *l, const struct tm_record *r, const struct tm_op *op)
{
    find_note(l, r, op);
    find_staged(l, r, op);
}

static void hear_change(struct logs *l, const struct tm_record *r, struct tm_change change,
                        struct tm_op_version *stamp)
{
    unsigned type, number;
    struct tm_op op;
    struct tm_op_version latest = {0};
    uint64_t deadline = 0;
    bool known = find_key(change.key, &type, &number);
    while (tm_op_next(&change.ops, &op)) {
        if (op.code == TM_OP_STAMPED)
            *stamp = tm_stamp_said(r, &op);
        else if (change.key.len == 0 && change.type == TM_ENTITY_SHADOW)
            find_aside(l, r, &op);
        else if (op.code == TM_OP_EXPIRY || op.code == TM_OP_SET_EXPIRY)
            deadline = tm_load64(op.value.data);
        else if (op.code != TM_OP_EXPIRE_ENTITY && op.code != TM_OP_FOLDED &&
                 stamp->origin != TM_ORIGIN_NONE && tm_stamp_compare(latest, *stamp) < 0)
            latest = *stamp;
    }
    if (!known || (latest.hlc == 0 && deadline == 0))
        return;
    struct place *p = put(&l->keys[type][number], r, tm_sim_world_now(l->ok->w));
    p->stamp = latest;
    p->deadline_ms = deadline;
}

static void hear(void *host, const struct tm_record *r)
{
    struct logs *l = host;
    struct tm_op_version stamp = {r->hlc, r->origin};
    struct tm_change change;
    if (r->kind >= TM_RECORD_LOCAL_FIRST)
        return;
    find_writes(l, r, tm_record_body(r));
    struct tm_bytes rest = tm_record_body(r);
    while ((r->kind == TM_RECORD_EFFECT || r->kind == TM_RECORD_FLUSH) &&
           tm_change_next(&rest, &change))
        hear_change(l, r, change, &stamp);
}

/* ---- judging ---- */

static bool is_durable(const struct tm_sim_links_ok *ok, unsigned cluster, const struct place *p)
{
    unsigned quorum = ok->plan->world.cluster[cluster].copies / 2 + 1;
    return tm_sim_oracle_copies(ok->oracles[cluster], p->partition, p->index, p->hash) >= quorum;
}

/* A record with the write that is on a quorum's disks. */
static const struct place *durable_write(const struct tm_sim_links_ok *ok, unsigned cluster,
                                         uint64_t number)
{
    const struct place *p = number < ok->cap ? ok->logs[cluster].writes[number] : NULL;
    while (p != NULL && !is_durable(ok, cluster, p))
        p = p->next;
    return p;
}

/* The stamp of the write, by its record where it was made. */
static struct tm_op_version stamp_of(const struct place *of_key, const struct place *write)
{
    struct tm_op_version stamp = {0};
    for (const struct place *p = of_key; p != NULL; p = p->next)
        if (p->index == write->index && p->hash == write->hash)
            stamp = p->stamp;
    return stamp;
}

/* Whether the target has a later change of the key, or knows that the life that it was of was about
 * to end (*expired): by its clock it may have. */
static bool is_overtaken(const struct tm_sim_links_ok *ok, unsigned cluster, const char *key,
                         const struct place *write, unsigned target, bool *expired)
{
    unsigned type, number;
    *expired = false;
    if (!find_key(tm_bytes_str(key), &type, &number))
        return false;
    struct tm_op_version mine = stamp_of(ok->logs[cluster].keys[type][number], write);
    for (const struct place *p = ok->logs[target].keys[type][number]; p != NULL; p = p->next) {
        bool later = mine.hlc != 0 && tm_stamp_compare(p->stamp, mine) > 0;
        bool over = p->deadline_ms != 0 && p->deadline_ms <= (mine.hlc >> 16) + AHEAD_MS;
        if ((later || over) && is_durable(ok, target, p)) {
            *expired = !later;
            return true;
        }
    }
    return false;
}

/* Whether a third cluster's later change has come over the write where it was made: a
 * resynchronisation then does not ship the write any more, and that change is the third one's. */
static bool is_a_thirds(const struct tm_sim_links_ok *ok, unsigned cluster, const char *key,
                        const struct place *write, unsigned target)
{
    bool expired, third = false;
    for (unsigned k = 0; k < ok->plan->world.clusters && !third; k++)
        third = k != cluster && k != target && is_overtaken(ok, cluster, key, write, k, &expired);
    return third && is_overtaken(ok, cluster, key, write, cluster, &expired);
}

/* What the partition has said last of its link to the target. */
static bool is_degraded(const struct tm_sim_links_ok *ok, unsigned cluster, uint32_t partition,
                        unsigned target)
{
    const struct place *last = NULL;
    for (const struct place *p = ok->logs[cluster].notes[partition]; p != NULL; p = p->next)
        if (p->target == target && (last == NULL || p->index > last->index) &&
            is_durable(ok, cluster, p))
            last = p;
    return last != NULL && last->degraded;
}

static void judge(struct tm_sim_links_ok *ok, unsigned cluster, const char *key, uint64_t number,
                  const struct place *write, unsigned target)
{
    bool expired;
    ok->judged++;
    if (write->heard_at < ok->logs[target].lost_at)
        ok->before++;
    else if (durable_write(ok, target, number) != NULL)
        ok->exact++;
    else if (is_overtaken(ok, cluster, key, write, target, &expired))
        ++*(expired ? &ok->expired : &ok->later);
    else if (is_a_thirds(ok, cluster, key, write, target))
        ok->later++;
    else if (is_degraded(ok, cluster, write->partition, target))
        ok->degraded++;
    else
        tm_sim_wrong(tm_sim_world_cluster(ok->w, cluster),
                     "write %" PRIu64 " to %s at %s had its OK, and is not on a quorum's disks at "
                     "%s, which is not said to be degraded",
                     number, key, tm_sim_world_name(cluster), tm_sim_world_name(target));
}

static void note_done(struct tm_sim_links_ok *ok, unsigned cluster, const char *key,
                      uint64_t number)
{
    if (ok->dones == ok->done_cap) {
        ok->done_cap = 2 * ok->done_cap + 1024;
        ok->done = realloc(ok->done, ok->done_cap * sizeof *ok->done);
        TM_ASSERT(ok->done != NULL);
    }
    struct done *d = &ok->done[ok->dones++];
    *d = (struct done){.number = number, .at = tm_sim_world_now(ok->w), .cluster = cluster};
    snprintf(d->key, sizeof d->key, "%s", key);
}

unsigned tm_sim_links_ok_bound(const struct tm_sim_links_ok *ok, unsigned cluster, const char *key)
{
    unsigned type = (unsigned)(key[0] - 'A'), bound = 0;
    uint32_t partition = tm_partition_of_slot(tm_slot_of_key(tm_bytes_str(key)),
                                              ok->plan->world.cluster[cluster].partitions);
    for (unsigned j = 0; j < ok->plan->world.clusters; j++)
        if (ok->plan->waits[cluster][j] && (ok->plan->ships[cluster][j] >> type & 1) != 0 &&
            !is_degraded(ok, cluster, partition, j))
            bound |= 1u << j;
    return bound;
}

static bool is_lacking(const struct tm_sim_links_ok *ok, const struct done *d, unsigned target)
{
    bool expired;
    const struct place *write = durable_write(ok, d->cluster, d->number);
    return write != NULL && ok->logs[target].writes[d->number] == NULL &&
           !is_overtaken(ok, d->cluster, d->key, write, d->cluster, &expired) &&
           !is_overtaken(ok, d->cluster, d->key, write, target, &expired);
}

uint64_t tm_sim_links_ok_lacks(const struct tm_sim_links_ok *ok, unsigned cluster, unsigned target,
                               uint64_t by)
{
    uint64_t n = 0;
    for (uint64_t i = 0; i < ok->dones; i++) {
        const struct done *d = &ok->done[i];
        if (d->cluster == cluster && d->at <= by &&
            (ok->plan->ships[cluster][target] >> (d->key[0] - 'A') & 1) != 0)
            n += is_lacking(ok, d, target);
    }
    return n;
}

void tm_sim_links_ok_said(struct tm_sim_links_ok *ok, unsigned cluster, const char *key,
                          uint64_t number)
{
    const struct place *write = durable_write(ok, cluster, number);
    unsigned type = (unsigned)(key[0] - 'A');
    if (write == NULL) {
        tm_sim_wrong(tm_sim_world_cluster(ok->w, cluster),
                     "write %" PRIu64 " to %s had its OK, and is not on a quorum's disks at %s",
                     number, key, tm_sim_world_name(cluster));
        return;
    }
    note_done(ok, cluster, key, number);
    for (unsigned j = 0; j < ok->plan->world.clusters; j++)
        if (ok->plan->waits[cluster][j] && (ok->plan->ships[cluster][j] >> type & 1) != 0)
            judge(ok, cluster, key, number, write, j);
}

/* ---- life ---- */

struct tm_sim_links_ok *tm_sim_links_ok_new(const struct tm_sim_links_plan *plan,
                                            struct tm_sim_world *w, struct tm_sim_oracle **oracles)
{
    struct tm_sim_links_ok *ok = calloc(1, sizeof *ok);
    TM_ASSERT(ok != NULL);
    ok->plan = plan;
    ok->w = w;
    ok->oracles = oracles;
    for (unsigned i = 0; i < plan->world.clusters; i++) {
        TM_ASSERT(plan->world.cluster[i].partitions < PARTITIONS && oracles[i] != NULL);
        ok->logs[i].ok = ok;
        ok->logs[i].cluster = i;
        tm_sim_oracle_hear(oracles[i], hear, &ok->logs[i]);
    }
    return ok;
}

void tm_sim_links_ok_forget(struct tm_sim_links_ok *ok, unsigned cluster)
{
    struct logs *l = &ok->logs[cluster];
    l->lost_at = tm_sim_world_now(ok->w);
    for (uint64_t i = 0; i < ok->cap; i++)
        give_up(&l->writes[i]);
    for (unsigned i = 0; i < PARTITIONS; i++)
        give_up(&l->notes[i]);
    for (unsigned t = 0; t < TM_SIM_LINKS_TYPES; t++)
        for (unsigned k = 0; k < KEYS; k++)
            give_up(&l->keys[t][k]);
    tm_sim_oracle_hear(ok->oracles[cluster], hear, l);
}

void tm_sim_links_ok_free(struct tm_sim_links_ok *ok)
{
    for (unsigned i = 0; i < ok->plan->world.clusters; i++) {
        tm_sim_links_ok_forget(ok, i);
        tm_sim_oracle_hear(ok->oracles[i], NULL, NULL);
    }
    for (unsigned i = 0; i < TM_SIM_CLUSTERS_MAX; i++)
        free(ok->logs[i].writes);
    free(ok->done);
    free(ok);
}

void tm_sim_links_ok_count(const struct tm_sim_links_ok *ok, struct tm_sim_links_result *out)
{
    out->oks.judged = ok->judged;
    out->oks.on_both = ok->exact;
    out->oks.overtaken = ok->later;
    out->oks.expired = ok->expired;
    out->oks.before_loss = ok->before;
    out->oks.degraded = ok->degraded;
}
