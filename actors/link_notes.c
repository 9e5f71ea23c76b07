/* The file: a head, the notes, a checksum; and all of that once more.  A copy that is damaged is no
 * loss as long as the other one is whole; the next note that is written mends it. */
#include "actors/link_notes.h"

#include "actors/whole_file.h"
#include "runtime/hash.h"

#include <stdlib.h>

#define MAGIC   UINT64_C(0x0064656b6e696c74) /* "tlinked" */
#define VERSION 1

struct head {
    uint64_t magic;
    uint32_t version;
    uint32_t count;
};
TM_STATIC_ASSERT(sizeof(struct head) == 16 && sizeof(struct tm_link_note) == 80, "frozen on disk");

static size_t size_of(unsigned count)
{
    return sizeof(struct head) + count * sizeof(struct tm_link_note) + 8;
}

static bool note_good(const struct tm_link_note *n)
{
    return n->name[0] != '\0' && memchr(n->name, '\0', sizeof n->name) != NULL;
}

/* One copy, of all the bytes given. */
static enum tm_err decode(struct tm_bytes bytes, struct tm_link_notes *out)
{
    struct head h;
    if (bytes.len < size_of(0))
        return TM_ERR_CORRUPT;
    memcpy(&h, bytes.data, sizeof h);
    if (h.magic != MAGIC ||
        tm_load64(bytes.data + bytes.len - 8) != tm_hash64(bytes.data, bytes.len - 8, 0))
        return TM_ERR_CORRUPT;
    if (h.version != VERSION)
        return TM_ERR_VERSION;
    if (h.count > TM_LINK_NOTES_MAX || bytes.len != size_of(h.count))
        return TM_ERR_CORRUPT;
    out->count = h.count;
    memcpy(out->at, bytes.data + sizeof h, h.count * sizeof out->at[0]);
    for (unsigned i = 0; i < out->count; i++)
        if (!note_good(&out->at[i]))
            return TM_ERR_CORRUPT;
    return TM_OK;
}

enum tm_err tm_link_notes_load(struct tm_disk *disk, struct tm_link_notes *out)
{
    uint8_t *bytes;
    uint32_t len;
    enum tm_err e = tm_whole_read(disk, TM_LINK_NOTES_FILE,
                                  (uint32_t)(2 * size_of(TM_LINK_NOTES_MAX)), &bytes, &len);
    *out = (struct tm_link_notes){0};
    if (e == TM_ERR_NOTFOUND)
        return TM_OK;
    if (e != TM_OK)
        return e;
    e = decode(tm_bytes_of(bytes, len / 2), out);
    if (e == TM_ERR_CORRUPT)
        e = decode(tm_bytes_of(bytes + len / 2, len - len / 2), out);
    free(bytes);
    return e;
}

const struct tm_link_note *tm_link_notes_find(const struct tm_link_notes *n, const char *name)
{
    for (unsigned i = 0; i < n->count; i++)
        if (strcmp(n->at[i].name, name) == 0)
            return &n->at[i];
    return NULL;
}

enum tm_err tm_link_notes_put(struct tm_link_notes *n, const char *name, const uint8_t uuid[16])
{
    TM_ASSERT(name[0] != '\0' && strlen(name) <= TM_DIRECTORY_NAME_MAX);
    unsigned i = 0;
    while (i < n->count && strcmp(n->at[i].name, name) != 0)
        i++;
    if (i == TM_LINK_NOTES_MAX)
        return TM_ERR_FULL;
    struct tm_link_note *note = &n->at[i];
    if (i == n->count) {
        n->count++;
        *note = (struct tm_link_note){0};
        memcpy(note->name, name, strlen(name));
    }
    memcpy(note->uuid, uuid, sizeof note->uuid);
    return TM_OK;
}

uint8_t *tm_link_notes_encode(const struct tm_link_notes *n, uint32_t *len)
{
    struct head h = {.magic = MAGIC, .version = VERSION, .count = n->count};
    size_t one = size_of(n->count);
    uint8_t *bytes = malloc(2 * one);
    if (bytes == NULL)
        return NULL;
    memcpy(bytes, &h, sizeof h);
    memcpy(bytes + sizeof h, n->at, n->count * sizeof n->at[0]);
    tm_store64(bytes + one - 8, tm_hash64(bytes, one - 8, 0));
    memcpy(bytes + one, bytes, one);
    *len = (uint32_t)(2 * one);
    return bytes;
}
