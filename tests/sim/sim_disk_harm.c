/* What befalls a disk: power goes or the process dies with operations under way, operations stall,
 * fail or go astray, bytes rot. */
#include "tests/sim/sim_disk_internal.h"

#include <stdio.h>

/* What an operation under way left behind. */
static void leave_fragment(struct tm_sim_disk *sd, struct tm_disk_op *op, unsigned keep)
{
    if (op->kind == TM_DISK_WRITE) {
        struct tm_sim_inode *n = tm_sim_disk_inode(sd, op->file);
        if (tm_sim_disk_grow(sd, n, op->offset + op->len) == 0)
            tm_sim_disk_write_sectors(sd, n, op, op->offset, keep);
        sd->tally->torn += keep > 0 && keep < 100;
    } else if (op->kind == TM_DISK_RENAME || op->kind == TM_DISK_UNLINK) {
        if (tm_sim_disk_draw(sd, 100) < keep)
            tm_sim_disk_effect(sd, op);
    }
}

static void forget_process(struct tm_sim_disk *sd, unsigned keep, bool whole)
{
    for (struct tm_disk_op *op = sd->queue; op != NULL; op = op->next) {
        unsigned percent = !whole ? keep : tm_sim_disk_draw(sd, 2) == 0 ? 0 : 100;
        leave_fragment(sd, op, percent);
    }
    sd->queue = NULL;
    sd->stalled = sd->dead = false;
    sd->die_after = 0;
    sd->die_at_name = NULL;
    sd->hold_name = NULL;
    sd->held = NULL;
    for (unsigned i = 0; i < TM_SIM_HANDLES_MAX; i++)
        sd->handles[i] = -1;
}

/* Of what was not stable, whatever stands there now is. */
static void tell_left(struct tm_sim_disk *sd, const struct tm_sim_inode *n)
{
    uint64_t from = n->dirty_from;
    for (uint64_t s = from; from < n->dirty_to && s <= n->dirty_to; s++) {
        if (s < n->dirty_to && n->dirty[s] != 0)
            continue;
        tm_sim_disk_tell_stable(sd, n, from * TM_SIM_SECTOR, n->stable + from * TM_SIM_SECTOR,
                                (s - from) * TM_SIM_SECTOR);
        from = s + 1;
    }
}

/* True if something was lost. */
static bool crash_inode(struct tm_sim_disk *sd, struct tm_sim_inode *n, unsigned keep)
{
    bool lost = false;
    uint64_t from = n->truncated ? 0 : n->dirty_from,
             to = n->truncated ? n->cap / TM_SIM_SECTOR : n->dirty_to;
    for (uint64_t s = n->dirty_from; s < n->dirty_to; s++) {
        if (n->dirty[s] == 0)
            continue;
        bool stays = tm_sim_disk_draw(sd, 100) < keep;
        if (stays)
            tm_sim_disk_stabilise(n, s, s + 1);
        n->dirty[s] = 1; /* until it has been told */
        lost |= !stays;
    }
    tell_left(sd, n);
    if (from < to) {
        memcpy(n->seen + from * TM_SIM_SECTOR, n->stable + from * TM_SIM_SECTOR,
               (to - from) * TM_SIM_SECTOR);
        memset(n->dirty + from, 0, to - from);
    }
    n->truncated = false;
    n->dirty_from = n->dirty_to = 0;
    n->size = n->stable_size;
    return lost;
}

void tm_sim_disk_crash(struct tm_sim_disk *sd, int keep_percent)
{
    static const unsigned choices[] = {0, 10, 50, 90, 100};
    unsigned keep = keep_percent >= 0 ? (unsigned)keep_percent
                                      : choices[tm_sim_disk_draw(sd, TM_ARRAY_LEN(choices))];
    forget_process(sd, keep, false);
    uint64_t prefix = tm_sim_disk_draw(sd, sd->change_count + 1ull);
    for (unsigned i = 0; i < prefix; i++) {
        tm_sim_disk_set_name(&sd->stable, sd->changes[i].text, sd->changes[i].inode);
        /* The second half of a rename is no change of its own. */
        if (i + 1 == prefix && prefix < sd->change_count && sd->changes[i].inode >= 0 &&
            sd->changes[prefix].inode < 0)
            prefix++;
    }
    sd->change_count = 0;
    tm_sim_disk_copy_names(&sd->seen, &sd->stable);
    bool lost = false;
    for (unsigned i = 0; i < TM_SIM_FILES_MAX; i++)
        if (sd->inodes[i].used)
            lost |= crash_inode(sd, &sd->inodes[i], keep);
    sd->tally->lost += lost;
    tm_sim_disk_collect(sd);
}

void tm_sim_disk_kill(struct tm_sim_disk *sd)
{
    forget_process(sd, 100, true);
    tm_sim_disk_collect(sd);
}

void tm_sim_disk_stall(struct tm_sim_disk *sd, bool stalled)
{
    sd->stalled = stalled;
}

bool tm_sim_disk_is_stalled(const struct tm_sim_disk *sd)
{
    return sd->stalled;
}

void tm_sim_disk_hold(struct tm_sim_disk *sd, const char *part)
{
    sd->hold_name = part;
    sd->overtaken = 0;
}

unsigned tm_sim_disk_overtaken(const struct tm_sim_disk *sd)
{
    return sd->overtaken;
}

void tm_sim_disk_fail(struct tm_sim_disk *sd, enum tm_disk_kind kind, int errnum, unsigned count)
{
    sd->fail_errno[kind] = errnum;
    sd->fail_count[kind] = count;
}

void tm_sim_disk_set_capacity(struct tm_sim_disk *sd, uint64_t bytes)
{
    sd->capacity = bytes;
}

uint64_t tm_sim_disk_used(const struct tm_sim_disk *sd)
{
    return sd->used;
}

void tm_sim_disk_misdirect(struct tm_sim_disk *sd, bool wanted)
{
    sd->misdirect = wanted;
}

void tm_sim_disk_misread(struct tm_sim_disk *sd, bool wanted)
{
    sd->misread = wanted;
}

void tm_sim_disk_die_after(struct tm_sim_disk *sd, uint64_t operations, const char *part)
{
    sd->die_after = operations;
    sd->die_at_name = part;
    sd->died = false;
}

bool tm_sim_disk_has_died(const struct tm_sim_disk *sd)
{
    return sd->died;
}

bool tm_sim_disk_is_dead(const struct tm_sim_disk *sd)
{
    return sd->dead;
}

bool tm_sim_disk_will_die(const struct tm_sim_disk *sd)
{
    return sd->die_after > 0 || sd->die_at_name != NULL;
}

/* A byte that is not zero, if one is found quickly. */
static uint64_t used_byte(struct tm_sim_disk *sd, const struct tm_sim_inode *n, uint64_t from,
                          uint64_t to)
{
    uint64_t at = from;
    for (unsigned tries = 0; tries < 64; tries++) {
        at = from + tm_sim_disk_draw(sd, to - from);
        if (n->seen[at] != 0)
            break;
    }
    return at;
}

/* A byte somewhere in some file, or where was written of late. */
static struct tm_sim_inode *draw_place(struct tm_sim_disk *sd, uint64_t *at)
{
    if (tm_sim_disk_draw(sd, 2) == 0 && sd->recent_count > 0) {
        uint64_t r = tm_sim_disk_draw(sd, tm_min_u64(sd->recent_count, TM_SIM_RECENT));
        struct tm_sim_inode *n = &sd->inodes[sd->recent[r].inode];
        uint64_t end = tm_min_u64(sd->recent[r].offset + sd->recent[r].len, n->size);
        if (!n->used || sd->recent[r].offset >= end)
            return NULL;
        *at = used_byte(sd, n, sd->recent[r].offset, end);
        return n;
    }
    if (sd->seen.count == 0)
        return NULL;
    const struct tm_sim_name *name = &sd->seen.list[tm_sim_disk_draw(sd, sd->seen.count)];
    if (name->inode < 0 || sd->inodes[name->inode].size == 0)
        return NULL;
    *at = used_byte(sd, &sd->inodes[name->inode], 0, sd->inodes[name->inode].size);
    return &sd->inodes[name->inode];
}

static void spoil(struct tm_sim_disk *sd, struct tm_sim_inode *n, uint64_t from, uint64_t to,
                  uint8_t mask)
{
    for (uint64_t i = from; i < to; i++) {
        n->seen[i] ^= mask;
        n->stable[i] ^= mask;
    }
    uint64_t slot = sd->rotten_count++ % TM_SIM_ROTTEN;
    sd->rotten[slot].inode = (int)(n - sd->inodes);
    sd->rotten[slot].at = from;
    sd->rotten[slot].byte = n->seen[from];
}

bool tm_sim_disk_has_rot(const struct tm_sim_disk *sd, const char *ending)
{
    for (uint64_t i = 0; i < tm_min_u64(sd->rotten_count, TM_SIM_ROTTEN); i++) {
        const struct tm_sim_inode *n = &sd->inodes[sd->rotten[i].inode];
        const char *name = tm_sim_disk_name_of(sd, n);
        size_t len = strlen(name), most = strlen(ending);
        if (n->used && sd->rotten[i].at < n->size &&
            n->seen[sd->rotten[i].at] == sd->rotten[i].byte && len >= most &&
            strcmp(name + len - most, ending) == 0)
            return true;
    }
    return false;
}

bool tm_sim_disk_rot(struct tm_sim_disk *sd, char *what, size_t size)
{
    uint64_t at = 0;
    struct tm_sim_inode *n = draw_place(sd, &at);
    if (n == NULL)
        return false;
    uint64_t end = at + 1;
    uint8_t mask = (uint8_t)(1u << tm_sim_disk_draw(sd, 8));
    if (tm_sim_disk_draw(sd, 3) == 0) { /* a sector, or a whole block */
        uint64_t unit = tm_sim_disk_draw(sd, 2) == 0 ? TM_SIM_SECTOR : 4096;
        at = at / unit * unit;
        end = tm_min_u64(at + unit, n->size);
        mask = (uint8_t)(1 + tm_sim_disk_draw(sd, 255));
    }
    spoil(sd, n, at, end, mask);
    snprintf(what, size, "%s from %llu to %llu", tm_sim_disk_name_of(sd, n), (unsigned long long)at,
             (unsigned long long)end);
    return true;
}

bool tm_sim_disk_flip(struct tm_sim_disk *sd, const char *name, uint64_t offset, unsigned bit)
{
    struct tm_sim_name *found = tm_sim_disk_find(&sd->seen, name);
    if (found == NULL || offset >= sd->inodes[found->inode].size)
        return false;
    spoil(sd, &sd->inodes[found->inode], offset, offset + 1, (uint8_t)(1u << bit % 8));
    return true;
}

bool tm_sim_disk_zero(struct tm_sim_disk *sd, const char *name, uint64_t offset, uint64_t len)
{
    struct tm_sim_name *found = tm_sim_disk_find(&sd->seen, name);
    if (found == NULL || offset + len > sd->inodes[found->inode].size)
        return false;
    memset(sd->inodes[found->inode].seen + offset, 0, len);
    memset(sd->inodes[found->inode].stable + offset, 0, len);
    return true;
}

bool tm_sim_disk_remove(struct tm_sim_disk *sd, const char *name)
{
    if (tm_sim_disk_find(&sd->seen, name) == NULL)
        return false;
    tm_sim_disk_set_name(&sd->seen, name, -1);
    if (tm_sim_disk_find(&sd->stable, name) != NULL)
        tm_sim_disk_set_name(&sd->stable, name, -1);
    tm_sim_disk_collect(sd);
    return true;
}
