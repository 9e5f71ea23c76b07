/* directory_file.h: the copy of the directory in a node's data directory.
 *
 * It is a cache: it says which version this node went by last, so that it can start without asking
 * anybody; a newer version replaces it.  The file is replaced as a whole
 * (actors/whole_file.h); it holds two copies.
 *
 * At boot and at creation it is written and read at once (blocks); while the node runs, step by
 * step by the disk's completions.  One thread: worker 0's. */
#ifndef TM_ACTORS_DIRECTORY_FILE_H
#define TM_ACTORS_DIRECTORY_FILE_H

#include "actors/directory.h"
#include "actors/whole_file.h"

#define TM_DIRECTORY_FILE "directory"

/* A copy that is damaged is no loss, and is mended.  TM_ERR_NOTFOUND, TM_ERR_CORRUPT (both are),
 * TM_ERR_PERMISSION, TM_ERR_VERSION, TM_ERR_NOMEM, TM_ERR_IO.  Boot only. */
enum tm_err tm_directory_load(struct tm_disk *disk, struct tm_directory *d);

/* Writes it durably.  Boot and creation only. */
enum tm_err tm_directory_save(struct tm_disk *disk, const struct tm_directory *d);

struct tm_directory_write {
    struct tm_whole_write whole;
    uint64_t version;
    void (*done)(void *host, uint64_t version, enum tm_err err);
    void *host;
};

/* Begins to write d, which may go when the call returns; `done` tells how it ended.  One at a time:
 * TM_ERR_FULL.  TM_ERR_NOMEM. */
enum tm_err tm_directory_write(struct tm_directory_write *w, struct tm_disk *disk,
                               const struct tm_directory *d,
                               void (*done)(void *host, uint64_t version, enum tm_err err),
                               void *host);

static inline bool tm_directory_writing(const struct tm_directory_write *w)
{
    return tm_whole_writing(&w->whole);
}

/* The disk has forgotten what was under way, as when the process dies: frees the memory. */
void tm_directory_write_abandon(struct tm_directory_write *w);

#endif
