/* One entry per partition in memory; put marks it, commit writes the marked ones into the WAL, 64
 * to a record, and refresh rewrites the file: version v goes to the pair of copies v mod 2, so
 * first over the older pair, then, under v + 1, over the other.  What is put while the first pair
 * is written goes into the other one at once: then a version is left out, so that the two that may
 * hold the same content always do.  A copy tells up to which WAL sequence it holds everything
 * (`covered`), and a record in the WAL the first version that holds it (its index).
 *
 * Recovery.  The newest valid copy is taken; WAL records that it does not hold come on top.  As
 * nothing is shown before both the WAL and a pair of copies have it, either is the whole truth: the
 * file, if each of its pairs can be read (else the newest may be among what cannot); and the
 * newest copy found with the WAL, if that begins no later than covered + 1 and has no rot behind
 * it; what a rotten block held of a partition is known from the directory of the next one.  Else
 * the entry is marked unproven, which is itself kept in the file, until it is put anew. */
#include "storage/hard_state.h"

#include <errno.h>
#include <stdlib.h>
#include <xxhash.h>

#include "storage/record.h"
#include "storage/wal_format.h"

#define HARD_MAGIC     0x4452414857414d54ull /* "TMAWHARD" */
#define COPIES         4u
#define RECORD_ENTRIES 64u

enum entry_flags { ENTRY_PRESENT = 1, ENTRY_UNPROVEN = 2 };

/* One partition's hard state, in the file and in WAL records.  Frozen. */
struct entry {
    uint32_t partition;
    uint32_t entry_flags;
    uint64_t term;
    uint64_t vote_disk;
    uint32_t vote;
    uint32_t flags;
    uint64_t epoch;
    uint64_t leader_term;
    uint32_t in_sync;
    uint32_t count;
    struct tm_voter voters[TM_VOTERS_MAX];
    uint64_t floor_index;
    uint64_t floor_hash;
};
TM_STATIC_ASSERT(sizeof(struct tm_voter) == 16, "frozen");
TM_STATIC_ASSERT(sizeof(struct entry) == 184, "frozen");

struct copy {
    uint64_t magic;
    uint64_t version;
    uint64_t covered;
    uint8_t cluster[16];
    uint64_t disk_id;
    uint32_t generation;
    uint32_t worker;
    uint32_t count;
    uint32_t zero;
    uint64_t checksum; /* XXH3-64 of header, with this field zero, and entries */
};
TM_STATIC_ASSERT(sizeof(struct copy) == 72, "frozen");

struct state {
    struct entry entry;
    uint64_t sequence; /* of the block that holds the newest, once committed */
    uint64_t round;    /* of the refresh that takes it into the file */
    bool pending;
};

struct tm_hs {
    struct tm_hs_config config;
    char folder[TM_WAL_NAME_MAX];
    char name[TM_WAL_NAME_MAX];
    struct tm_disk *disk;
    struct state *states; /* by partition */
    uint32_t *pending;
    uint32_t pending_count;
    uint64_t copy_bytes;
    uint8_t *image; /* one copy */
    uint8_t *record;
    int32_t file;
    uint64_t version; /* of the pair written last */
    uint64_t content; /* the first version of what was encoded last */
    uint64_t covered;
    uint64_t rounds, rounds_saved; /* refreshes that began; that are in a pair of copies */
    uint64_t floors, floors_encoded, floors_saved; /* set; in the image; in all four copies */
    bool unsaved;
    /* Recovery: the volume that is being replayed. */
    uint32_t volume_workers, volume_worker;
    uint64_t volume_covered, volume_version;
    bool volume_sure; /* its file holds all that was ever shown */
    /* Refresh: step 0..5 = two writes and a sync, twice. */
    bool refreshing, failed;
    unsigned step;
    uint64_t target;
    struct tm_disk_op op;
};

static bool mine(const struct tm_hs *hs, uint32_t partition)
{
    return partition < hs->config.partitions && partition % hs->config.workers == hs->config.worker;
}

enum tm_err tm_hs_new(const struct tm_hs_config *config, struct tm_hs **out)
{
    struct tm_hs *hs = calloc(1, sizeof *hs);
    if (hs == NULL)
        return TM_ERR_NOMEM;
    hs->config = *config;
    hs->disk = config->ctx->disk;
    hs->file = -1;
    TM_ASSERT(strlen(config->folder) < 64 && config->workers > 0);
    memcpy(hs->folder, config->folder, strlen(config->folder) + 1);
    tm_wal_name_hard(hs->name, hs->folder, config->generation, config->worker);
    hs->copy_bytes =
        tm_align_up(sizeof(struct copy) + config->partitions * sizeof(struct entry), TM_WAL_PAGE);
    hs->states = calloc(config->partitions, sizeof *hs->states);
    hs->pending = calloc(config->partitions, sizeof *hs->pending);
    hs->image = aligned_alloc(TM_WAL_PAGE, hs->copy_bytes);
    hs->record = malloc(sizeof(struct tm_record) + RECORD_ENTRIES * sizeof(struct entry));
    if (hs->states == NULL || hs->pending == NULL || hs->image == NULL || hs->record == NULL) {
        tm_hs_free(hs);
        return TM_ERR_NOMEM;
    }
    for (uint32_t p = 0; p < config->partitions; p++)
        hs->states[p].entry = (struct entry){.partition = p, .vote = TM_VOTE_NONE};
    *out = hs;
    return TM_OK;
}

void tm_hs_free(struct tm_hs *hs)
{
    free(hs->states);
    free(hs->pending);
    free(hs->image);
    free(hs->record);
    free(hs);
}

void tm_hs_close(struct tm_hs *hs)
{
    TM_ASSERT(!hs->refreshing);
    if (hs->file >= 0)
        tm_disk_run_close(hs->disk, hs->file);
    hs->file = -1;
}

/* --- copies --- */

static uint64_t copy_sum(const uint8_t *image)
{
    struct copy header;
    memcpy(&header, image, sizeof header);
    header.checksum = 0;
    uint64_t seed = XXH3_64bits(&header, sizeof header);
    return XXH3_64bits_withSeed(image + sizeof header, header.count * sizeof(struct entry), seed);
}

static void encode_copy(struct tm_hs *hs, uint64_t version, uint64_t covered)
{
    struct copy header = {.magic = HARD_MAGIC,
                          .version = version,
                          .covered = covered,
                          .disk_id = hs->config.disk_id,
                          .generation = hs->config.generation,
                          .worker = hs->config.worker};
    hs->content = version;
    hs->floors_encoded = hs->floors;
    memcpy(header.cluster, hs->config.cluster, 16);
    memset(hs->image, 0, hs->copy_bytes);
    struct entry *to = (void *)(hs->image + sizeof header);
    for (uint32_t p = hs->config.worker; p < hs->config.partitions; p += hs->config.workers) {
        const struct entry *e = &hs->states[p].entry;
        if (e->entry_flags != 0 || e->floor_index != 0)
            to[header.count++] = *e;
    }
    memcpy(hs->image, &header, sizeof header);
    header.checksum = copy_sum(hs->image);
    memcpy(hs->image, &header, sizeof header);
}

static void stamp_version(struct tm_hs *hs, uint64_t version)
{
    struct copy header;
    memcpy(&header, hs->image, sizeof header);
    header.version = version;
    memcpy(hs->image, &header, sizeof header);
    header.checksum = copy_sum(hs->image);
    memcpy(hs->image, &header, sizeof header);
}

static bool copy_valid(const struct tm_hs *hs, uint32_t generation, uint32_t worker,
                       struct copy *out)
{
    memcpy(out, hs->image, sizeof *out);
    return out->magic == HARD_MAGIC && out->count <= hs->config.partitions &&
           out->generation == generation && out->worker == worker &&
           out->disk_id == hs->config.disk_id &&
           memcmp(out->cluster, hs->config.cluster, 16) == 0 &&
           copy_sum(hs->image) == out->checksum;
}

static bool load_copy(struct tm_hs *hs, int32_t file, unsigned copy)
{
    int64_t n = tm_disk_run_read(hs->disk, file, hs->image, (uint32_t)hs->copy_bytes,
                                 copy * hs->copy_bytes);
    return n == (int64_t)hs->copy_bytes;
}

/* --- recovery --- */

static void take_entry(struct tm_hs *hs, const struct entry *e, uint64_t sequence)
{
    if (!mine(hs, e->partition) || e->count > TM_VOTERS_MAX)
        return;
    struct state *s = &hs->states[e->partition];
    uint64_t floor = tm_max_u64(s->entry.floor_index, e->floor_index);
    uint64_t hash = e->floor_index >= s->entry.floor_index ? e->floor_hash : s->entry.floor_hash;
    s->entry = *e;
    s->entry.floor_index = floor;
    s->entry.floor_hash = hash;
    s->sequence = sequence;
}

static void doubt(struct tm_hs *hs, uint32_t partition)
{
    struct state *s = &hs->states[partition];
    if (mine(hs, partition))
        s->entry.entry_flags |= ENTRY_UNPROVEN;
}

void tm_hs_doubt(struct tm_hs *hs)
{
    if (hs->volume_sure)
        return;
    for (uint32_t p = hs->volume_worker; p < hs->config.partitions; p += hs->volume_workers)
        doubt(hs, p);
}

/* Reads the newest valid copy of a volume's file into image.  *sure: each pair has a valid one, so
 * this is the newest there ever was. */
static bool newest_copy(struct tm_hs *hs, uint32_t generation, uint32_t worker, struct copy *out,
                        bool *sure)
{
    bool pair[2] = {false, false};
    char name[TM_WAL_NAME_MAX];
    tm_wal_name_hard(name, hs->folder, generation, worker);
    int64_t file = tm_disk_run_open(hs->disk, name, TM_DISK_RDONLY | TM_DISK_DIRECT);
    if (file < 0)
        return false;
    int best = -1;
    struct copy header;
    out->version = 0;
    for (unsigned i = 0; i < COPIES; i++)
        if (load_copy(hs, (int32_t)file, i) && copy_valid(hs, generation, worker, &header)) {
            pair[i / 2] = true;
            if (header.version <= out->version)
                continue;
            *out = header;
            best = (int)i;
        }
    bool found = best >= 0 && load_copy(hs, (int32_t)file, (unsigned)best) &&
                 copy_valid(hs, generation, worker, out);
    tm_disk_run_close(hs->disk, (int32_t)file);
    *sure = found && pair[0] && pair[1];
    return found;
}

bool tm_hs_volume(struct tm_hs *hs, uint32_t generation, uint32_t worker, uint32_t workers,
                  uint64_t first_sequence)
{
    struct copy header = {0};
    hs->volume_sure = false;
    bool found = newest_copy(hs, generation, worker, &header, &hs->volume_sure);
    hs->volume_worker = worker;
    hs->volume_workers = workers;
    hs->volume_covered = found ? header.covered : 0;
    hs->volume_version = found ? header.version : 0;
    if (found) {
        const struct entry *e = (const void *)(hs->image + sizeof header);
        for (uint32_t i = 0; i < header.count; i++)
            take_entry(hs, &e[i], 0);
    }
    bool whole =
        first_sequence == 0 ? hs->volume_covered == 0 : first_sequence <= hs->volume_covered + 1;
    if (!whole && !hs->volume_sure) {
        tm_ctx_log(hs->config.ctx, TM_LOG_ERROR, "hard_state_unproven",
                   "generation=%u worker=%u copies=%s", generation, worker,
                   found ? "found" : "unreadable");
        tm_hs_doubt(hs);
    }
    if (generation == hs->config.generation)
        hs->version = header.version;
    return whole;
}

void tm_hs_record(struct tm_hs *hs, const struct tm_wal_found *found)
{
    const struct tm_record *r = (const void *)found->record.data;
    if (found->sequence <= hs->volume_covered || (r->index != 0 && r->index <= hs->volume_version))
        return;
    struct tm_bytes body = tm_record_body(r);
    for (size_t at = 0; at + sizeof(struct entry) <= body.len; at += sizeof(struct entry)) {
        struct entry e;
        memcpy(&e, body.data + at, sizeof e);
        take_entry(hs, &e, 0);
    }
}

void tm_hs_fault(struct tm_hs *hs, const struct tm_wal_fault *fault)
{
    if (hs->volume_sure || (fault->noted && fault->sequence <= hs->volume_covered))
        return; /* what an earlier start found it has sealed, too */
    if (fault->span.partition == TM_WAL_ALL)
        tm_hs_doubt(hs);
    else if ((fault->span.flags & TM_WAL_SPAN_HARD) != 0 && fault->sequence > hs->volume_covered)
        doubt(hs, fault->span.partition);
}

static int64_t write_pair(struct tm_hs *hs, uint64_t version)
{
    int64_t n = 0;
    stamp_version(hs, version);
    for (unsigned i = 0; i < 2 && n >= 0; i++)
        n = tm_disk_run_write(hs->disk, hs->file, hs->image, (uint32_t)hs->copy_bytes,
                              (2 * (version % 2) + i) * hs->copy_bytes, 0);
    return n < 0 ? n : tm_disk_run_sync(hs->disk, hs->file);
}

enum tm_err tm_hs_seal(struct tm_hs *hs, const struct tm_wal *wal)
{
    char folder[TM_WAL_NAME_MAX];
    tm_wal_name_generation(folder, hs->folder, hs->config.generation);
    int64_t n = tm_disk_run_open(hs->disk, hs->name, TM_DISK_CREATE | TM_DISK_DIRECT);
    if (n < 0)
        return tm_err_from_errno((int)-n);
    hs->file = (int32_t)n;
    uint64_t covered = tm_wal_durable(wal);
    encode_copy(hs, hs->version + 1, covered);
    n = write_pair(hs, hs->version + 1);
    if (n >= 0)
        n = write_pair(hs, hs->version + 2);
    if (n >= 0)
        n = tm_disk_run_sync_dir(hs->disk, folder);
    if (n < 0)
        return tm_err_from_errno((int)-n);
    hs->version += 2;
    hs->covered = covered;
    return TM_OK;
}

/* --- running --- */

static struct tm_hard_state state_of(const struct entry *e)
{
    struct tm_hard_state out = {.term = e->term,
                                .vote_disk = e->vote_disk,
                                .vote = e->vote,
                                .flags = e->flags,
                                .config = {.epoch = e->epoch,
                                           .leader_term = e->leader_term,
                                           .in_sync = e->in_sync,
                                           .count = e->count}};
    memcpy(out.config.voters, e->voters, sizeof e->voters);
    return out;
}

enum tm_err tm_hs_get(const struct tm_hs *hs, uint32_t partition, struct tm_hard_state *out)
{
    TM_ASSERT(mine(hs, partition));
    const struct entry *e = &hs->states[partition].entry;
    *out = state_of(e);
    if ((e->entry_flags & ENTRY_UNPROVEN) != 0)
        return TM_ERR_CORRUPT;
    return (e->entry_flags & ENTRY_PRESENT) != 0 ? TM_OK : TM_ERR_NOTFOUND;
}

bool tm_hs_record_next(struct tm_bytes *rest, uint32_t *partition, struct tm_hard_state *out)
{
    struct entry e;
    if (rest->len < sizeof e)
        return false;
    memcpy(&e, rest->data, sizeof e);
    *rest = tm_bytes_of(rest->data + sizeof e, rest->len - sizeof e);
    *partition = e.partition;
    *out = state_of(&e);
    return true;
}

void tm_hs_put(struct tm_hs *hs, uint32_t partition, const struct tm_hard_state *state)
{
    TM_ASSERT(mine(hs, partition) && state->config.count <= TM_VOTERS_MAX);
    struct state *s = &hs->states[partition];
    TM_ASSERT(state->term >= s->entry.term);
    s->entry = (struct entry){.partition = partition,
                              .entry_flags = ENTRY_PRESENT,
                              .term = state->term,
                              .vote_disk = state->vote_disk,
                              .vote = state->vote,
                              .flags = state->flags,
                              .epoch = state->config.epoch,
                              .leader_term = state->config.leader_term,
                              .in_sync = state->config.in_sync,
                              .count = state->config.count,
                              .floor_index = s->entry.floor_index,
                              .floor_hash = s->entry.floor_hash};
    memcpy(s->entry.voters, state->config.voters, sizeof s->entry.voters);
    hs->unsaved = true;
    s->round = hs->rounds + 1;
    if (!s->pending)
        hs->pending[hs->pending_count++] = partition;
    s->pending = true;
}

/* Appends one record with the pending entries from..from+n-1. */
static enum tm_err commit_some(struct tm_hs *hs, struct tm_wal *wal, uint32_t from, uint32_t n)
{
    struct tm_wal_span spans[RECORD_ENTRIES];
    struct tm_record *r = (void *)hs->record;
    struct entry *e = (void *)(r + 1);
    *r = (struct tm_record){.kind = TM_RECORD_HARD_STATE,
                            .partition = TM_WAL_ALL,
                            .body_len = n * (uint32_t)sizeof *e,
                            .index = hs->content + 2};
    for (uint32_t i = 0; i < n; i++) {
        uint32_t p = hs->pending[from + i];
        e[i] = hs->states[p].entry;
        spans[i] =
            (struct tm_wal_span){.partition = p, .flags = TM_WAL_SPAN_HARD, .first = 1, .last = 0};
    }
    tm_record_seal(r);
    struct tm_wal_pos pos;
    enum tm_err err =
        tm_wal_append(wal, tm_bytes_of(r, r->length), TM_WAL_RESERVED, spans, n, &pos);
    for (uint32_t i = 0; err == TM_OK && i < n; i++) {
        hs->states[e[i].partition].pending = false;
        hs->states[e[i].partition].sequence = pos.sequence;
    }
    return err;
}

enum tm_err tm_hs_commit(struct tm_hs *hs, struct tm_wal *wal)
{
    enum tm_err err = TM_OK;
    uint32_t done = 0;
    while (done < hs->pending_count && err == TM_OK) {
        uint32_t n = (uint32_t)tm_min_u64(hs->pending_count - done, RECORD_ENTRIES);
        err = commit_some(hs, wal, done, n);
        if (err == TM_OK)
            done += n;
    }
    hs->pending_count -= done;
    memmove(hs->pending, hs->pending + done, hs->pending_count * sizeof *hs->pending);
    return err;
}

bool tm_hs_durable(const struct tm_hs *hs, uint32_t partition, const struct tm_wal *wal)
{
    const struct state *s = &hs->states[partition];
    return !s->pending && s->sequence <= tm_wal_durable(wal) && s->round <= hs->rounds_saved;
}

void tm_hs_set_floor(struct tm_hs *hs, uint32_t partition, uint64_t index, uint64_t hash)
{
    TM_ASSERT(mine(hs, partition));
    hs->states[partition].entry.floor_index = index;
    hs->states[partition].entry.floor_hash = hash;
    hs->floors++;
}

uint64_t tm_hs_floors(const struct tm_hs *hs)
{
    return hs->floors;
}

uint64_t tm_hs_floors_saved(const struct tm_hs *hs)
{
    return hs->floors_saved;
}

void tm_hs_floor(const struct tm_hs *hs, uint32_t partition, uint64_t *index, uint64_t *hash)
{
    *index = hs->states[partition].entry.floor_index;
    *hash = hs->states[partition].entry.floor_hash;
}

uint64_t tm_hs_covered(const struct tm_hs *hs)
{
    return hs->covered;
}

bool tm_hs_refreshing(const struct tm_hs *hs)
{
    return hs->refreshing;
}

bool tm_hs_unsaved(const struct tm_hs *hs)
{
    return hs->unsaved;
}

static void next_step(struct tm_hs *hs);

static void begin_round(struct tm_hs *hs)
{
    hs->rounds++;
    hs->unsaved = false;
    hs->step = 0;
    encode_copy(hs, hs->version + 1, hs->target);
    next_step(hs);
}

static void tell_saved(struct tm_hs *hs)
{
    uint64_t before = hs->rounds_saved;
    hs->rounds_saved = hs->rounds;
    for (uint32_t p = hs->config.worker; p < hs->config.partitions; p += hs->config.workers)
        if (hs->states[p].round > before && hs->states[p].round <= hs->rounds)
            hs->config.saved(hs->config.host, p);
}

/* A pair is written. */
static void pair_done(struct tm_hs *hs)
{
    hs->version++;
    if (hs->rounds_saved < hs->rounds)
        tell_saved(hs);
    if (hs->unsaved) {
        /* This content's other version is left out; the next one goes into the other pair. */
        hs->version = hs->content + 2;
        begin_round(hs);
    } else if (hs->version == hs->content) {
        next_step(hs);
    } else {
        hs->covered = hs->target;
        hs->floors_saved = hs->floors_encoded;
        hs->refreshing = false;
    }
}

/* After an error nobody knows what is in the file. */
static void refresh_failed(struct tm_hs *hs, int64_t result)
{
    tm_ctx_log(hs->config.ctx, TM_LOG_ERROR, "hard_state_write_failed", "worker=%u errno=%d",
               hs->config.worker, (int)-result);
    hs->refreshing = false;
    hs->failed = true;
    hs->config.failed(hs->config.host, result < 0 ? tm_err_from_errno((int)-result) : TM_ERR_IO);
}

static void step_done(struct tm_disk_op *op)
{
    struct tm_hs *hs = op->owner;
    bool good = op->kind == TM_DISK_WRITE ? op->result == (int64_t)hs->copy_bytes : op->result == 0;
    hs->step++;
    if (!good)
        refresh_failed(hs, op->result);
    else if (op->kind == TM_DISK_SYNC)
        pair_done(hs);
    else
        next_step(hs);
}

static void next_step(struct tm_hs *hs)
{
    unsigned part = hs->step % 3;
    uint64_t version = hs->version + 1;
    hs->op = (struct tm_disk_op){.kind = part == 2 ? TM_DISK_SYNC : TM_DISK_WRITE,
                                 .file = hs->file,
                                 .done = step_done,
                                 .owner = hs};
    if (part == 0)
        stamp_version(hs, version);
    if (part < 2) {
        hs->op.buf = hs->image;
        hs->op.len = (uint32_t)hs->copy_bytes;
        hs->op.offset = (2 * (version % 2) + part) * hs->copy_bytes;
    }
    hs->disk->submit(hs->disk, &hs->op);
}

void tm_hs_refresh(struct tm_hs *hs, const struct tm_wal *wal)
{
    if (hs->refreshing || hs->failed)
        return;
    hs->refreshing = true;
    hs->target = tm_wal_durable(wal);
    begin_round(hs);
}
