/* Spares.  A segment that was given up is kept for the next one that is needed, under a name that
 * no start reads: removing a file, and zeroing another in its place, costs the device what it has
 * for the blocks.  All the WAL's files together stay within max_bytes, and a disk that has little
 * room left gets them back one after the other.
 *
 * A spare's name need not be durable: what returns under its old one was given up, too. */
#include "storage/wal_internal.h"

#include <stdlib.h>

#define LOOK_NS TM_MS(100)

/* The disk needs the room more than we do. */
static bool room_is_short(const struct tm_wal *wal)
{
    uint64_t room = wal->disk->free_bytes(wal->disk);
    return room != 0 && room < 2 * wal->config.segment_bytes;
}

static bool too_many(const struct tm_wal *wal, uint64_t more_bytes)
{
    uint64_t all = tm_wal_disk_bytes(wal) + more_bytes;
    return (wal->config.max_bytes != 0 && all > wal->config.max_bytes) || room_is_short(wal);
}

bool tm_wal_spare_keeps(const struct tm_wal *wal, const struct tm_wal_segment *segment)
{
    return !segment->bad && segment->bytes == wal->config.segment_bytes &&
           wal->spare_count < TM_WAL_SPARES_MAX && !too_many(wal, segment->bytes);
}

enum tm_err tm_wal_spare_push(struct tm_wal *wal, struct tm_wal_segment segment)
{
    return tm_wal_segment_push(&wal->spares, &wal->spare_count, &wal->spare_cap, segment);
}

bool tm_wal_spare_take(struct tm_wal *wal, struct tm_wal_segment *out, char *name)
{
    if (wal->spare_count == 0)
        return false;
    *out = wal->spares[--wal->spare_count];
    tm_wal_name_spare(name, wal->folder, wal->config.generation, wal->config.worker, out->id);
    return true;
}

bool tm_wal_spare_due(struct tm_wal *wal)
{
    uint64_t now = tm_ctx_now(wal->ctx);
    if (wal->spare_count == 0 || now < wal->spare_look_ns)
        return false;
    wal->spare_look_ns = now + LOOK_NS;
    return too_many(wal, 0);
}

/* ---- at a start ---- */

struct found {
    struct tm_wal *wal;
    uint64_t numbers[TM_WAL_SPARES_MAX];
    unsigned count;
};

static void note_spare(void *arg, const char *name)
{
    struct found *f = arg;
    uint32_t worker;
    uint64_t number;
    if (!tm_wal_name_parse_spare(name, &worker, &number) || worker != f->wal->config.worker)
        return;
    f->wal->next_spare = tm_max_u64(f->wal->next_spare, number + 1);
    if (f->count < TM_WAL_SPARES_MAX)
        f->numbers[f->count++] = number;
}

/* One of another size is removed. */
static enum tm_err open_spare(struct tm_wal *wal, uint64_t number)
{
    char name[TM_WAL_NAME_MAX];
    tm_wal_name_spare(name, wal->folder, wal->config.generation, wal->config.worker, number);
    int64_t n = tm_disk_run_open(wal->disk, name, TM_DISK_DIRECT | TM_DISK_ALONE);
    if (n < 0)
        return tm_err_from_errno((int)-n);
    struct tm_wal_segment spare = {.id = number, .file = (int32_t)n};
    n = tm_disk_run_size(wal->disk, spare.file);
    if (n == (int64_t)wal->config.segment_bytes) {
        spare.bytes = (uint64_t)n;
        return tm_wal_spare_push(wal, spare);
    }
    tm_disk_run_close(wal->disk, spare.file);
    if (n >= 0)
        n = tm_disk_run_unlink(wal->disk, name);
    return n < 0 ? tm_err_from_errno((int)-n) : TM_OK;
}

enum tm_err tm_wal_spare_open(struct tm_wal *wal)
{
    struct found f = {.wal = wal};
    int64_t n = wal->disk->list(wal->disk, wal->dir_name, note_spare, &f);
    enum tm_err err = n < 0 ? tm_err_from_errno((int)-n) : TM_OK;
    for (unsigned i = 0; i < f.count && err == TM_OK; i++)
        err = open_spare(wal, f.numbers[i]);
    return err;
}
