/* The file holds the directory twice, one after the other: without it a node does not start, and of
 * a cluster with one node nobody else has it. */
#include "actors/directory_file.h"

#include <stdlib.h>

#define BESIDE    TM_DIRECTORY_FILE ".tmp"
#define BYTES_MAX ((uint32_t)TM_MIB(1) - 1)

/* Takes the first good one of the two copies; a file of an earlier build has one.  *mend: the other
 * one is damaged. */
static enum tm_err decode_either(struct tm_bytes file, struct tm_directory *d, bool *mend)
{
    size_t half = file.len / 2;
    enum tm_err e = tm_directory_decode(tm_bytes_of(file.data, half), d);
    if (e == TM_OK) {
        *mend = memcmp(file.data, file.data + half, half) != 0;
        return TM_OK;
    }
    if (tm_directory_decode(file, d) == TM_OK)
        return TM_OK;
    *mend = tm_directory_decode(tm_bytes_of(file.data + half, file.len - half), d) == TM_OK;
    return *mend ? TM_OK : e;
}

enum tm_err tm_directory_load(struct tm_disk *disk, struct tm_directory *d)
{
    uint8_t *bytes;
    uint32_t len;
    bool mend = false;
    enum tm_err e = tm_whole_read(disk, TM_DIRECTORY_FILE, BYTES_MAX, &bytes, &len);
    if (e != TM_OK)
        return e;
    e = decode_either(tm_bytes_of(bytes, len), d, &mend);
    free(bytes);
    if (mend)
        (void)tm_directory_save(disk, d); /* if not now, then at the next start */
    return e;
}

/* malloc'ed; NULL: no memory. */
static uint8_t *twice(const struct tm_directory *d, uint32_t *len)
{
    size_t one = tm_directory_size(d);
    uint8_t *bytes = malloc(2 * one);
    if (bytes == NULL)
        return NULL;
    tm_directory_encode(d, bytes);
    memcpy(bytes + one, bytes, one);
    *len = (uint32_t)(2 * one);
    return bytes;
}

enum tm_err tm_directory_save(struct tm_disk *disk, const struct tm_directory *d)
{
    uint32_t len;
    uint8_t *bytes = twice(d, &len);
    if (bytes == NULL)
        return TM_ERR_NOMEM;
    enum tm_err e = tm_whole_save(disk, TM_DIRECTORY_FILE, BESIDE, bytes, len);
    free(bytes);
    return e;
}

static void written(void *host, enum tm_err err)
{
    struct tm_directory_write *w = host;
    w->done(w->host, w->version, err);
}

enum tm_err tm_directory_write(struct tm_directory_write *w, struct tm_disk *disk,
                               const struct tm_directory *d,
                               void (*done)(void *host, uint64_t version, enum tm_err err),
                               void *host)
{
    uint32_t len;
    if (tm_directory_writing(w))
        return TM_ERR_FULL;
    uint8_t *bytes = twice(d, &len);
    if (bytes == NULL)
        return TM_ERR_NOMEM;
    w->version = d->version;
    w->done = done;
    w->host = host;
    tm_whole_write(&w->whole, disk, TM_DIRECTORY_FILE, BESIDE, bytes, len, written, w);
    return TM_OK;
}

void tm_directory_write_abandon(struct tm_directory_write *w)
{
    tm_whole_write_abandon(&w->whole);
}
