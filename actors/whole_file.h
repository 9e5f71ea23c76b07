/* whole_file.h: replaces a small file as a whole.
 *
 * It is written beside the old one, synced and renamed, so that there is always one whole file
 * under its name.  At boot it is done at once (blocks), while the node runs step by step by the
 * disk's completions.  One thread. */
#ifndef TM_ACTORS_WHOLE_FILE_H
#define TM_ACTORS_WHOLE_FILE_H

#include "runtime/base.h"
#include "runtime/disk.h"

struct tm_whole_write {
    struct tm_disk *disk;
    const char *name, *beside;
    struct tm_disk_op op; /* of the step under way */
    unsigned step;
    uint8_t *bytes; /* NULL: nothing is under way */
    uint32_t len;
    int32_t file;   /* -1: not open */
    int64_t failed; /* the first step's result that was none; 0: none */
    void (*done)(void *host, enum tm_err err);
    void *host;
};

/* Writes it durably.  Boot and creation only.  beside: the name of the new one meanwhile. */
enum tm_err tm_whole_save(struct tm_disk *disk, const char *name, const char *beside,
                          uint8_t *bytes, uint32_t len);

/* Begins to write; bytes (malloc'ed) are taken over, names are static.  `done` tells how it ended,
 * and may begin the next.  Not while one is under way. */
void tm_whole_write(struct tm_whole_write *w, struct tm_disk *disk, const char *name,
                    const char *beside, uint8_t *bytes, uint32_t len,
                    void (*done)(void *host, enum tm_err err), void *host);

static inline bool tm_whole_writing(const struct tm_whole_write *w)
{
    return w->bytes != NULL;
}

/* Reads the file; *bytes is malloc'ed and the caller's.  TM_ERR_NOTFOUND; TM_ERR_CORRUPT: empty, or
 * longer than max; others.  Boot only. */
enum tm_err tm_whole_read(struct tm_disk *disk, const char *name, uint32_t max, uint8_t **bytes,
                          uint32_t *len);

/* The disk has forgotten what was under way, as when the process dies: frees the memory. */
void tm_whole_write_abandon(struct tm_whole_write *w);

#endif
