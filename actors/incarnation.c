/* The file holds what is below twice: a copy that is damaged is no loss. */
#include "actors/incarnation.h"

#include "actors/whole_file.h"
#include "runtime/hash.h"

#include <stdlib.h>

#define MAGIC  UINT64_C(0x6f74736572006d74) /* "tm\0resto" */
#define BESIDE TM_RESTORED_FILE ".tmp"

struct copy {
    uint64_t magic;
    uint64_t from, to;
    uint64_t hash; /* of what stands before it */
};
TM_STATIC_ASSERT(sizeof(struct copy) == 32, "frozen on disk");

static uint64_t hash_of(const struct copy *c)
{
    return tm_hash64(c, offsetof(struct copy, hash), 0);
}

bool tm_incarnation_draw(uint64_t random, const uint8_t uuid[16], uint64_t from, uint64_t *out)
{
    uint64_t first = tm_incarnation_first(uuid);
    *out = (first & TM_INCARNATION_SAME) | (random & ~TM_INCARNATION_SAME);
    return *out != 0 && *out != first && *out != from;
}

enum tm_err tm_restored_load(struct tm_disk *disk, struct tm_restored *out)
{
    struct copy c;
    uint8_t *bytes;
    uint32_t len;
    *out = (struct tm_restored){0};
    enum tm_err e = tm_whole_read(disk, TM_RESTORED_FILE, 2 * sizeof c, &bytes, &len);
    if (e == TM_ERR_NOTFOUND)
        return TM_OK;
    if (e != TM_OK)
        return e;
    e = TM_ERR_CORRUPT;
    for (uint32_t at = 0; at + sizeof c <= len && e != TM_OK; at += sizeof c) {
        memcpy(&c, bytes + at, sizeof c);
        if (c.magic == MAGIC && c.hash == hash_of(&c) && c.to != 0)
            e = TM_OK;
    }
    free(bytes);
    if (e == TM_OK)
        *out = (struct tm_restored){c.from, c.to};
    return e;
}

enum tm_err tm_restored_save(struct tm_disk *disk, const struct tm_restored *r)
{
    struct copy c = {.magic = MAGIC, .from = r->from, .to = r->to};
    uint8_t bytes[2 * sizeof c];
    c.hash = hash_of(&c);
    memcpy(bytes, &c, sizeof c);
    memcpy(bytes + sizeof c, &c, sizeof c);
    return tm_whole_save(disk, TM_RESTORED_FILE, BESIDE, bytes, sizeof bytes);
}
