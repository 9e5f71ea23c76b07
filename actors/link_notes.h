/* link_notes.h: which clusters this node has met, by name and uuid: the file "linked" of its data
 * directory.
 *
 * A cluster that takes the name of another one shall not get that one's streams.  So the uuid is
 * noted at the first meeting and compared ever after.  The file holds the list twice, each with a
 * checksum, and is replaced as a whole.  Plain data; worker 0's thread. */
#ifndef TM_ACTORS_LINK_NOTES_H
#define TM_ACTORS_LINK_NOTES_H

#include "actors/directory.h"
#include "runtime/disk.h"

#define TM_LINK_NOTES_FILE "linked"
#define TM_LINK_NOTES_MAX  255

struct tm_link_note {
    char name[TM_DIRECTORY_NAME_MAX + 1];
    uint8_t uuid[16];
};

struct tm_link_notes {
    unsigned count;
    struct tm_link_note at[TM_LINK_NOTES_MAX];
};

/* Boot only (blocks).  No file is an empty list; of two copies one has to be good.
 * TM_ERR_CORRUPT, TM_ERR_VERSION, TM_ERR_IO, TM_ERR_PERMISSION, TM_ERR_NOMEM. */
enum tm_err tm_link_notes_load(struct tm_disk *disk, struct tm_link_notes *out);

/* The note of that name, or NULL. */
const struct tm_link_note *tm_link_notes_find(const struct tm_link_notes *n, const char *name);

/* Adds a note, or has the name's say that from now on.  TM_ERR_FULL. */
enum tm_err tm_link_notes_put(struct tm_link_notes *n, const char *name, const uint8_t uuid[16]);

/* The file's bytes: malloc'ed, the caller's; NULL if memory is short. */
uint8_t *tm_link_notes_encode(const struct tm_link_notes *n, uint32_t *len);

#endif
