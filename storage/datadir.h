/* datadir.h: whose data directory this is.
 *
 * The file "identity" says it: format version, cluster, node, disk id, creation token, the WAL
 * generations, and whether the last run ended cleanly.  It holds two copies, each with a checksum,
 * that are rewritten in place one after the other: one of them is always whole, and a full disk
 * does not hinder it.
 * The file "lock" is held with flock(2) by the process that runs on the directory.
 *
 * Boot and shutdown only; the calls block. */
#ifndef TM_STORAGE_DATADIR_H
#define TM_STORAGE_DATADIR_H

#include "runtime/ctx.h"
#include "runtime/disk.h"
#include "storage/wal.h"

#define TM_DATADIR_VERSION  1
#define TM_DATADIR_WAL      "wal" /* the folder of the logs */
#define TM_DATADIR_NAME_MAX 63    /* bytes of a cluster's or node's name */

struct tm_datadir_identity {
    uint32_t version;
    uint8_t cluster_uuid[16]; /* zero until the cluster was created */
    uint8_t creation_token[16];
    uint64_t disk_id;     /* random, never zero, made when the directory was formatted */
    uint64_t incarnation; /* starts of a node on this directory, counted */
    char cluster[TM_DATADIR_NAME_MAX + 1];
    char node[TM_DATADIR_NAME_MAX + 1];
    bool created;        /* the cluster was created: cluster_uuid is final */
    bool clean;          /* the last run ended with everything durable and said so */
    uint32_t partitions; /* of the cluster, 0 until created */
    uint32_t generation_count;
    struct tm_wal_generation generations[TM_WAL_GENERATIONS]; /* ascending; the last is current */
    bool opened; /* every worker's log of the current generation was made: none may be missing */
};

/* An error as a person should read it: one line, no newline. */
struct tm_datadir_error {
    char text[512];
};

/* Takes the lock of the directory `path` (created if absent, with parents).  Returns a descriptor
 * to keep open as long as the node runs.  TM_ERR_LOCKED (says the holder's pid), TM_ERR_PERMISSION,
 * TM_ERR_NOSPACE, TM_ERR_IO. */
enum tm_err tm_datadir_lock(const char *path, int *fd, struct tm_datadir_error *error);
void tm_datadir_unlock(int fd);

/* Takes back what a start that was refused has made of an empty directory: identity and lock.  Held
 * by this process, which found neither there.  False, and all stays: a cluster was created or was
 * about to be, or there is a log. */
bool tm_datadir_discard(const char *path, const struct tm_datadir_identity *id);

/* Reads the identity.  TM_ERR_NOTFOUND: unformatted (no identity and nothing that looks like
 * data); TM_ERR_VERSION: newer format; TM_ERR_CORRUPT: unreadable, or data without an identity;
 * TM_ERR_IO. */
enum tm_err tm_datadir_read(struct tm_disk *disk, struct tm_datadir_identity *out,
                            struct tm_datadir_error *error);

/* Formats: a new disk id, no generations; refuses (TM_ERR_EXISTS) where there is an identity. */
enum tm_err tm_datadir_format(const struct tm_ctx *ctx, const char *cluster, const char *node,
                              struct tm_datadir_identity *out, struct tm_datadir_error *error);

/* TM_ERR_IDENTITY with a text that names both, if the directory is not of this cluster and node. */
enum tm_err tm_datadir_check(const struct tm_datadir_identity *id, const char *cluster,
                             const char *node, struct tm_datadir_error *error);

/* A start: counts the incarnation, takes the clean mark away (*was_clean says whether it was
 * there), adds a generation if `workers` differs from the current one's, in whose place it comes if
 * no start got as far as tm_datadir_opened with that; written durably. */
enum tm_err tm_datadir_begin(struct tm_disk *disk, struct tm_datadir_identity *id, uint32_t workers,
                             bool *was_clean, struct tm_datadir_error *error);

/* Every worker's log is open.  Before this is durable nothing may be acknowledged. */
enum tm_err tm_datadir_opened(struct tm_disk *disk, struct tm_datadir_identity *id,
                              struct tm_datadir_error *error);

/* Removes the logs of all generations that the identity does not list (any more).  Boot only,
 * before the logs are opened. */
enum tm_err tm_datadir_sweep(struct tm_disk *disk, const struct tm_datadir_identity *id,
                             struct tm_datadir_error *error);

/* The older generations are not needed any more: keeps the current one only. */
enum tm_err tm_datadir_forget_older(struct tm_disk *disk, struct tm_datadir_identity *id,
                                    struct tm_datadir_error *error);

/* Writes the identity durably: after the caller set cluster_uuid, creation_token, created,
 * partitions. */
enum tm_err tm_datadir_write(struct tm_disk *disk, const struct tm_datadir_identity *id,
                             struct tm_datadir_error *error);

/* A clean end: everything acknowledged is durable, all files are closed. */
enum tm_err tm_datadir_end(struct tm_disk *disk, struct tm_datadir_identity *id,
                           struct tm_datadir_error *error);

#endif
