/* The function table of a simulated disk.  What is submitted waits in a list until its simulated
 * latency is over, or until the test lets one of them happen, drawn at random.
 *
 * Numbers come from a xorshift generator, so that a seed means the same run everywhere. */
#include "tests/sim/sim_disk_internal.h"

#include <errno.h>
#include <stdlib.h>

static uint64_t draw(struct tm_sim_disk *sd)
{
    sd->rng ^= sd->rng << 13;
    sd->rng ^= sd->rng >> 7;
    sd->rng ^= sd->rng << 17;
    return sd->rng * 0x2545f4914f6cdd1dull;
}

uint64_t tm_sim_disk_draw(struct tm_sim_disk *sd, uint64_t n)
{
    return (draw(sd) >> 11) % n;
}

static void hold_if_told(struct tm_sim_disk *sd, struct tm_disk_op *op)
{
    if (sd->hold_name == NULL || op->kind != TM_DISK_WRITE ||
        strstr(tm_sim_disk_name_of(sd, tm_sim_disk_inode(sd, op->file)), sd->hold_name) == NULL)
        return;
    op->scratch[0] = UINT64_MAX;
    sd->held = op;
    sd->hold_name = NULL;
}

static void submit(struct tm_disk *disk, struct tm_disk_op *op)
{
    struct tm_sim_disk *sd = disk->host;
    struct tm_disk_op **at = &sd->queue;
    while (*at != NULL)
        at = &(*at)->next;
    *at = op;
    op->next = NULL;
    op->scratch[2] = (uint64_t)(disk - sd->tables);
    op->scratch[0] = sd->now_ns + sd->min_ns;
    if (sd->max_ns > sd->min_ns)
        op->scratch[0] += tm_sim_disk_draw(sd, sd->max_ns - sd->min_ns);
    op->scratch[1] = op->kind == TM_DISK_SYNC;
    hold_if_told(sd, op);
    if (op->kind == TM_DISK_SYNC) {
        struct tm_sim_inode *n = tm_sim_disk_inode(sd, op->file);
        for (uint64_t s = n->dirty_from; s < n->dirty_to; s++)
            if (n->dirty[s] == 1)
                n->dirty[s] = 2;
    }
}

static int64_t run(struct tm_disk *disk, struct tm_disk_op *op)
{
    struct tm_sim_disk *sd = disk->host;
    op->scratch[1] = 0;
    op->result = sd->dead ? -EIO : tm_sim_disk_perform(sd, op);
    return op->result;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

static int64_t list(struct tm_disk *disk, const char *folder,
                    void (*visit)(void *arg, const char *name), void *arg)
{
    struct tm_sim_disk *sd = disk->host;
    size_t n = strlen(folder);
    char(*found)[TM_SIM_NAME_MAX] = calloc(sd->seen.count + 1, sizeof *found);
    TM_ASSERT(found != NULL);
    unsigned count = 0;
    for (unsigned i = 0; i < sd->seen.count; i++) {
        const char *text = sd->seen.list[i].text;
        if (sd->seen.list[i].inode < 0 ||
            (n > 0 && (strncmp(text, folder, n) != 0 || text[n] != '/')))
            continue;
        const char *rest = text + (n > 0 ? n + 1 : 0);
        size_t len = strcspn(rest, "/");
        bool twice = false;
        for (unsigned k = 0; k < count; k++)
            twice |= strlen(found[k]) == len && strncmp(found[k], rest, len) == 0;
        if (!twice)
            memcpy(found[count++], rest, len);
    }
    qsort(found, count, sizeof *found, by_text);
    for (unsigned i = 0; i < count; i++)
        visit(arg, found[i]);
    free(found);
    return count;
}

static uint64_t free_bytes(struct tm_disk *disk)
{
    const struct tm_sim_disk *sd = disk->host;
    if (sd->capacity == 0)
        return 0;
    return sd->capacity > sd->used ? sd->capacity - sd->used : 1;
}

/* --- the test's side --- */

struct tm_sim_disk *tm_sim_disk_new(uint64_t seed)
{
    struct tm_sim_disk *sd = calloc(1, sizeof *sd);
    TM_ASSERT(sd != NULL);
    sd->rng = seed * 2 + 1;
    sd->tally = &sd->no_tally;
    for (unsigned i = 0; i < 8; i++)
        draw(sd);
    for (unsigned i = 0; i < TM_SIM_HANDLES_MAX; i++)
        sd->handles[i] = -1;
    for (unsigned i = 0; i < TM_SIM_DISK_USERS; i++)
        sd->tables[i] = (struct tm_disk){
            .host = sd, .submit = submit, .run = run, .list = list, .free_bytes = free_bytes};
    return sd;
}

void tm_sim_disk_free(struct tm_sim_disk *sd)
{
    for (int i = 0; i < (int)TM_SIM_FILES_MAX; i++)
        if (sd->inodes[i].used)
            tm_sim_disk_drop(sd, i);
    free(sd->strayed.bytes);
    free(sd->seen.list);
    free(sd->stable.list);
    free(sd->changes);
    free(sd);
}

void tm_sim_disk_trace(struct tm_sim_disk *sd, struct tm_sim_hash *hash,
                       struct tm_sim_disk_tally *tally)
{
    sd->hash = hash;
    sd->tally = tally != NULL ? tally : &sd->no_tally;
}

struct tm_disk *tm_sim_disk_table(struct tm_sim_disk *sd)
{
    return &sd->tables[0];
}

struct tm_disk *tm_sim_disk_table_of(struct tm_sim_disk *sd, unsigned user)
{
    TM_ASSERT(user < TM_SIM_DISK_USERS);
    return &sd->tables[user];
}

static void complete(struct tm_sim_disk *sd, struct tm_disk_op **at)
{
    struct tm_disk_op *op = *at;
    TM_ASSERT(op != sd->held);
    *at = op->next;
    op->result = tm_sim_disk_perform(sd, op);
    sd->served |= UINT64_C(1) << op->scratch[2];
    op->done(op);
}

bool tm_sim_disk_step(struct tm_sim_disk *sd)
{
    unsigned count = tm_sim_disk_under_way(sd);
    if (count == 0 || sd->stalled || sd->dead)
        return false;
    struct tm_disk_op **at = &sd->queue;
    for (uint64_t skip = tm_sim_disk_draw(sd, count); skip > 0; skip--)
        at = &(*at)->next;
    complete(sd, at);
    return true;
}

void tm_sim_disk_drain(struct tm_sim_disk *sd)
{
    while (tm_sim_disk_step(sd))
        continue;
}

void tm_sim_disk_set_latency(struct tm_sim_disk *sd, uint64_t min_ns, uint64_t max_ns)
{
    sd->min_ns = min_ns;
    sd->max_ns = max_ns;
}

static struct tm_disk_op **earliest(struct tm_sim_disk *sd)
{
    struct tm_disk_op **best = &sd->queue;
    for (struct tm_disk_op **at = &sd->queue; *at != NULL; at = &(*at)->next)
        if ((*at)->scratch[0] < (*best)->scratch[0])
            best = at;
    return best;
}

uint64_t tm_sim_disk_poll(struct tm_sim_disk *sd, uint64_t now_ns)
{
    sd->now_ns = now_ns;
    sd->served = 0;
    while (!sd->stalled && !sd->dead && sd->queue != NULL) {
        struct tm_disk_op **at = earliest(sd);
        if ((*at)->scratch[0] > now_ns)
            break;
        complete(sd, at);
    }
    return sd->served;
}

uint64_t tm_sim_disk_next_due(const struct tm_sim_disk *sd)
{
    uint64_t due = UINT64_MAX;
    for (const struct tm_disk_op *op = sd->queue; op != NULL && !sd->stalled && !sd->dead;
         op = op->next)
        due = tm_min_u64(due, op->scratch[0]);
    return due;
}

unsigned tm_sim_disk_under_way(const struct tm_sim_disk *sd)
{
    unsigned n = 0;
    for (const struct tm_disk_op *op = sd->queue; op != NULL; op = op->next)
        n++;
    return n;
}

const uint8_t *tm_sim_disk_data(struct tm_sim_disk *sd, const char *name, uint64_t *size)
{
    struct tm_sim_name *found = tm_sim_disk_find(&sd->seen, name);
    if (found == NULL)
        return NULL;
    *size = sd->inodes[found->inode].size;
    return sd->inodes[found->inode].seen;
}

void tm_sim_disk_on_stable(struct tm_sim_disk *sd,
                           void (*stable)(void *host, const char *name, uint64_t offset,
                                          struct tm_bytes bytes),
                           void *host)
{
    sd->stable_fn = stable;
    sd->stable_host = host;
}

bool tm_sim_disk_exists(struct tm_sim_disk *sd, const char *name)
{
    return tm_sim_disk_find(&sd->seen, name) != NULL;
}

uint64_t tm_sim_disk_count(const struct tm_sim_disk *sd, enum tm_disk_kind kind)
{
    return sd->counts[kind];
}
