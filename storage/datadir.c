/* The identity is one checksummed struct in a file of its own, twice: at 0 and at 4096.  It is made
 * beside under another name, synced, renamed, and the folder synced; from then on it is rewritten
 * in place, so that a full disk is no hindrance: the first copy, sync, the second copy, sync.  So
 * the first is never older than the second, one of them is whole at any time, and what a caller
 * relies on is in both.  A newer format is recognised by magic and version, which stay where they
 * are in all formats to come.
 *
 * The lock is taken before anything is read; the file holds the process id for the message that
 * the second comer prints. */
#include "storage/datadir.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define IDENTITY_MAGIC 0x59544449454c4954ull /* "TILEIDTY" */
#define FLAG_CREATED   1u
#define FLAG_CLEAN     2u
#define FLAG_OPENING   4u /* not opened yet */
#define HOLDER_BYTES   16
#define COPY_AT        4096u
#define FILE_BYTES     (2 * COPY_AT)

struct stored {
    uint64_t magic;
    uint32_t version;
    uint32_t flags;
    uint8_t cluster_uuid[16];
    uint8_t creation_token[16];
    uint64_t disk_id;
    uint64_t incarnation;
    char cluster[TM_DATADIR_NAME_MAX + 1];
    char node[TM_DATADIR_NAME_MAX + 1];
    uint32_t partitions;
    uint32_t generation_count;
    struct tm_wal_generation generations[TM_WAL_GENERATIONS];
    uint64_t checksum; /* XXH3-64 of all before */
};
TM_STATIC_ASSERT(sizeof(struct stored) == 336, "frozen");
TM_STATIC_ASSERT(offsetof(struct stored, version) == 8, "where every format has it");
TM_STATIC_ASSERT(offsetof(struct stored, checksum) == 328, "frozen");

TM_PRINTF(3, 4)
static enum tm_err say(struct tm_datadir_error *error, enum tm_err err, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(error->text, sizeof error->text, fmt, args);
    va_end(args);
    return err;
}

static enum tm_err say_errno(struct tm_datadir_error *error, int64_t result, const char *what)
{
    enum tm_err err = tm_err_from_errno((int)-result);
    return say(error, err, "%s: %s (%s)", what, strerror((int)-result), tm_err_text(err));
}

/* --- lock --- */

static int make_path(const char *path)
{
    char part[4096];
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof part)
        return ENAMETOOLONG;
    memcpy(part, path, len + 1);
    for (size_t i = 1; i <= len; i++) {
        if (part[i] != '/' && part[i] != '\0')
            continue;
        part[i] = '\0';
        if (mkdir(part, 0700) < 0 && errno != EEXIST)
            return errno;
        part[i] = path[i];
    }
    return 0;
}

static void read_holder(int fd, char *out, size_t cap)
{
    ssize_t n = pread(fd, out, cap - 1, 0);
    out[n > 0 ? n : 0] = '\0';
    out[strcspn(out, " \n")] = '\0';
}

/* By a holder that took back what it had made: who opened it before locks nothing. */
static bool was_removed(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && st.st_nlink == 0;
}

/* Always as long, so that it can be written over on a full disk.  Only for people to read; a
 * failure takes nothing from the lock. */
static void write_holder(int fd)
{
    char text[HOLDER_BYTES + 1];
    snprintf(text, sizeof text, "%-*d\n", HOLDER_BYTES - 1, (int)getpid());
    if (pwrite(fd, text, HOLDER_BYTES, 0) == HOLDER_BYTES && ftruncate(fd, HOLDER_BYTES) != 0)
        return;
}

static enum tm_err cannot_open(const char *name, int errnum, struct tm_datadir_error *error)
{
    const char *advice = "";
    if (errnum == EACCES || errnum == EPERM)
        advice = "; run as the user that owns it, or give the folder to this user (chown -R)";
    else if (errnum == ENOTDIR)
        advice = "; --data-dir has to be a folder";
    return say(error, tm_err_from_errno(errnum), "cannot open %s: %s%s", name, strerror(errnum),
               advice);
}

enum tm_err tm_datadir_lock(const char *path, int *fd, struct tm_datadir_error *error)
{
    char name[4200], holder[32];
    int failed = make_path(path);
    if (failed != 0)
        return say(error, tm_err_from_errno(failed), "cannot make data directory %s: %s", path,
                   strerror(failed));
    snprintf(name, sizeof name, "%s/lock", path);
    int opened = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (opened < 0)
        return cannot_open(name, errno, error);
    if (flock(opened, LOCK_EX | LOCK_NB) == 0) {
        if (was_removed(opened)) {
            close(opened);
            return tm_datadir_lock(path, fd, error);
        }
        write_holder(opened);
        *fd = opened;
        return TM_OK;
    }
    failed = errno;
    read_holder(opened, holder, sizeof holder);
    close(opened);
    if (failed != EWOULDBLOCK)
        return say(error, tm_err_from_errno(failed), "cannot lock %s: %s", name, strerror(failed));
    return say(error, TM_ERR_LOCKED,
               "data directory %s is in use by process %s: stop that one first, or use another "
               "--data-dir",
               path, holder[0] != '\0' ? holder : "?");
}

void tm_datadir_unlock(int fd)
{
    close(fd);
}

static bool has_logs(const char *path)
{
    char name[4200];
    snprintf(name, sizeof name, "%s/" TM_DATADIR_WAL, path);
    return access(name, F_OK) == 0;
}

bool tm_datadir_discard(const char *path, const struct tm_datadir_identity *id)
{
    static const uint8_t no_token[sizeof id->creation_token];
    static const char *const names[] = {"identity.tmp", "identity", "lock"};
    char name[4200];
    if (id->created || memcmp(id->creation_token, no_token, sizeof no_token) != 0 || has_logs(path))
        return false;
    for (size_t i = 0; i < TM_ARRAY_LEN(names); i++) {
        snprintf(name, sizeof name, "%s/%s", path, names[i]);
        if (unlink(name) != 0 && errno != ENOENT)
            return false;
    }
    return true;
}

/* --- identity --- */

static uint64_t stored_sum(const struct stored *s)
{
    return XXH3_64bits(s, offsetof(struct stored, checksum));
}

static void to_stored(const struct tm_datadir_identity *id, struct stored *s)
{
    memset(s, 0, sizeof *s);
    s->magic = IDENTITY_MAGIC;
    s->version = TM_DATADIR_VERSION;
    s->flags = (id->created ? FLAG_CREATED : 0) | (id->clean ? FLAG_CLEAN : 0) |
               (id->opened ? 0 : FLAG_OPENING);
    memcpy(s->cluster_uuid, id->cluster_uuid, 16);
    memcpy(s->creation_token, id->creation_token, 16);
    s->disk_id = id->disk_id;
    s->incarnation = id->incarnation;
    memcpy(s->cluster, id->cluster, sizeof s->cluster);
    memcpy(s->node, id->node, sizeof s->node);
    s->partitions = id->partitions;
    s->generation_count = id->generation_count;
    memcpy(s->generations, id->generations, sizeof s->generations);
    s->checksum = stored_sum(s);
}

static void from_stored(const struct stored *s, struct tm_datadir_identity *id)
{
    *id = (struct tm_datadir_identity){.version = s->version,
                                       .disk_id = s->disk_id,
                                       .incarnation = s->incarnation,
                                       .created = (s->flags & FLAG_CREATED) != 0,
                                       .clean = (s->flags & FLAG_CLEAN) != 0,
                                       .opened = (s->flags & FLAG_OPENING) == 0,
                                       .partitions = s->partitions,
                                       .generation_count = s->generation_count};
    memcpy(id->cluster_uuid, s->cluster_uuid, 16);
    memcpy(id->creation_token, s->creation_token, 16);
    memcpy(id->cluster, s->cluster, TM_DATADIR_NAME_MAX);
    memcpy(id->node, s->node, TM_DATADIR_NAME_MAX);
    memcpy(id->generations, s->generations, sizeof id->generations);
}

static void note_data(void *arg, const char *name)
{
    if (strcmp(name, TM_DATADIR_WAL) == 0 || strcmp(name, "snapshots") == 0)
        *(bool *)arg = true;
}

static enum tm_err no_identity(struct tm_disk *disk, struct tm_datadir_error *error)
{
    bool data = false;
    int64_t n = disk->list(disk, "", note_data, &data);
    if (n < 0)
        return say_errno(error, n, "cannot list the data directory");
    if (data)
        return say(error, TM_ERR_CORRUPT,
                   "the data directory holds data but no file \"identity\": restore that file, or "
                   "start with an empty directory and let the cluster seed it");
    return say(error, TM_ERR_NOTFOUND, "the data directory is not formatted yet");
}

static bool copy_valid(const struct stored *s)
{
    return s->magic == IDENTITY_MAGIC && s->version == TM_DATADIR_VERSION &&
           s->checksum == stored_sum(s) && s->generation_count <= TM_WAL_GENERATIONS;
}

/* What the file does not have of a copy is zeros. */
static int64_t read_copies(struct tm_disk *disk, struct stored copies[2])
{
    static const uint64_t at[2] = {0, COPY_AT};
    int64_t file = tm_disk_run_open(disk, "identity", TM_DISK_RDONLY), n = file;
    memset(copies, 0, 2 * sizeof *copies);
    for (unsigned i = 0; i < 2 && n >= 0; i++)
        n = tm_disk_run_read(disk, (int32_t)file, &copies[i], sizeof *copies, at[i]);
    if (file >= 0)
        tm_disk_run_close(disk, (int32_t)file);
    return n;
}

enum tm_err tm_datadir_read(struct tm_disk *disk, struct tm_datadir_identity *out,
                            struct tm_datadir_error *error)
{
    struct stored copies[2];
    int64_t n = read_copies(disk, copies);
    if (n == -ENOENT)
        return no_identity(disk, error);
    if (n < 0)
        return say_errno(error, n, "cannot read \"identity\" of the data directory");
    if (copies[0].magic == IDENTITY_MAGIC && copies[0].version > TM_DATADIR_VERSION)
        return say(error, TM_ERR_VERSION,
                   "the data directory has format %" PRIu32 ", this tidemill knows %d: use the "
                   "newer version",
                   copies[0].version, TM_DATADIR_VERSION);
    for (unsigned i = 0; i < 2; i++)
        if (copy_valid(&copies[i])) {
            from_stored(&copies[i], out);
            return TM_OK;
        }
    return say(error, TM_ERR_CORRUPT,
               "the file \"identity\" of the data directory is damaged: restore it, or start "
               "with an empty directory and let the cluster seed it");
}

static int64_t write_copy(struct tm_disk *disk, int32_t file, const struct stored *s, uint64_t at)
{
    struct stored copy = *s;
    int64_t n = tm_disk_run_write(disk, file, &copy, sizeof copy, at, 0);
    return n < 0 ? n : tm_disk_run_sync(disk, file);
}

/* The result of what was done with the file, or of closing it. */
static int64_t close_after(struct tm_disk *disk, int64_t file, int64_t n)
{
    int64_t closed = tm_disk_run_close(disk, (int32_t)file);
    return n < 0 ? n : closed;
}

/* Over what is there.  A write that was cut short may have left the second copy bad, and then the
 * first is the only one: it is doubled before it is touched. */
static int64_t write_over(struct tm_disk *disk, int32_t file, const struct stored *s)
{
    struct stored have[2];
    int64_t n = read_copies(disk, have);
    if (n >= 0 && copy_valid(&have[0]) && memcmp(&have[0], &have[1], sizeof have[0]) != 0)
        n = write_copy(disk, file, &have[0], COPY_AT);
    if (n >= 0)
        n = write_copy(disk, file, s, 0);
    return n < 0 ? n : write_copy(disk, file, s, COPY_AT);
}

/* A new file, in which both copies have their blocks. */
static int64_t write_new(struct tm_disk *disk, const struct stored *s)
{
    uint8_t image[FILE_BYTES] = {0};
    memcpy(image, s, sizeof *s);
    memcpy(image + COPY_AT, s, sizeof *s);
    int64_t file = tm_disk_run_open(disk, "identity.tmp", TM_DISK_CREATE), n = file;
    if (file >= 0) {
        n = tm_disk_run_write(disk, (int32_t)file, image, sizeof image, 0, 0);
        if (n >= 0)
            n = tm_disk_run_sync(disk, (int32_t)file);
        n = close_after(disk, file, n);
    }
    if (n >= 0)
        n = tm_disk_run_rename(disk, "identity.tmp", "identity");
    return n < 0 ? n : tm_disk_run_sync_dir(disk, "");
}

enum tm_err tm_datadir_write(struct tm_disk *disk, const struct tm_datadir_identity *id,
                             struct tm_datadir_error *error)
{
    struct stored s;
    to_stored(id, &s);
    int64_t file = tm_disk_run_open(disk, "identity", 0), n = file;
    bool whole = file >= 0 && tm_disk_run_size(disk, (int32_t)file) >= FILE_BYTES;
    if (whole)
        n = write_over(disk, (int32_t)file, &s);
    if (file >= 0)
        n = close_after(disk, file, n);
    if (!whole && (file >= 0 || file == -ENOENT))
        n = write_new(disk, &s);
    return n < 0 ? say_errno(error, n, "cannot write \"identity\" of the data directory") : TM_OK;
}

static bool name_fits(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && len <= TM_DATADIR_NAME_MAX;
}

enum tm_err tm_datadir_format(const struct tm_ctx *ctx, const char *cluster, const char *node,
                              struct tm_datadir_identity *out, struct tm_datadir_error *error)
{
    struct tm_datadir_identity found;
    enum tm_err err = tm_datadir_read(ctx->disk, &found, error);
    if (err == TM_OK)
        return say(error, TM_ERR_EXISTS, "the data directory belongs to node %s of cluster %s",
                   found.node, found.cluster);
    if (err != TM_ERR_NOTFOUND)
        return err;
    if (!name_fits(cluster) || !name_fits(node))
        return say(error, TM_ERR_INVALID, "names of clusters and nodes have 1 to %d bytes",
                   TM_DATADIR_NAME_MAX);
    *out = (struct tm_datadir_identity){.version = TM_DATADIR_VERSION};
    while (out->disk_id == 0)
        out->disk_id = tm_ctx_random(ctx);
    memcpy(out->cluster, cluster, strlen(cluster));
    memcpy(out->node, node, strlen(node));
    return tm_datadir_write(ctx->disk, out, error);
}

enum tm_err tm_datadir_check(const struct tm_datadir_identity *id, const char *cluster,
                             const char *node, struct tm_datadir_error *error)
{
    if (strcmp(id->cluster, cluster) == 0 && strcmp(id->node, node) == 0)
        return TM_OK;
    return say(error, TM_ERR_IDENTITY,
               "the data directory belongs to node %s of cluster %s, not to node %s of cluster %s: "
               "point --data-dir to the right one",
               id->node, id->cluster, node, cluster);
}

enum tm_err tm_datadir_begin(struct tm_disk *disk, struct tm_datadir_identity *id, uint32_t workers,
                             bool *was_clean, struct tm_datadir_error *error)
{
    uint32_t n = id->generation_count;
    *was_clean = id->clean;
    if (n == 0 || id->generations[n - 1].workers != workers) {
        bool instead = n > 0 && !id->opened;
        if (n == TM_WAL_GENERATIONS && !instead)
            return say(error, TM_ERR_FULL,
                       "the worker count changed %d times without the older logs being given up: "
                       "start with --workers %" PRIu32 " and wait for snapshots",
                       TM_WAL_GENERATIONS, id->generations[n - 1].workers);
        uint32_t generation = n == 0 ? 1 : id->generations[n - 1].generation + 1;
        id->generation_count += instead ? 0 : 1;
        id->generations[id->generation_count - 1] =
            (struct tm_wal_generation){.generation = generation, .workers = workers};
        id->opened = false;
    }
    id->clean = false;
    id->incarnation++;
    return tm_datadir_write(disk, id, error);
}

enum tm_err tm_datadir_opened(struct tm_disk *disk, struct tm_datadir_identity *id,
                              struct tm_datadir_error *error)
{
    if (id->opened)
        return TM_OK;
    id->opened = true;
    return tm_datadir_write(disk, id, error);
}

struct sweep {
    struct tm_disk *disk;
    const struct tm_datadir_identity *id;
    enum tm_err err;
};

static void sweep_generation(void *arg, const char *name)
{
    struct sweep *s = arg;
    uint32_t generation;
    int end = 0;
    if (sscanf(name, "g%" SCNu32 "%n", &generation, &end) != 1 || name[end] != '\0')
        return;
    for (uint32_t i = 0; i < s->id->generation_count; i++)
        if (s->id->generations[i].generation == generation)
            return;
    enum tm_err err = tm_wal_remove_generation(s->disk, TM_DATADIR_WAL, generation);
    if (err != TM_OK)
        s->err = err;
}

enum tm_err tm_datadir_sweep(struct tm_disk *disk, const struct tm_datadir_identity *id,
                             struct tm_datadir_error *error)
{
    struct sweep s = {.disk = disk, .id = id};
    int64_t n = disk->list(disk, TM_DATADIR_WAL, sweep_generation, &s);
    if (n < 0 && n != -ENOENT)
        return say_errno(error, n, "cannot list the folder of the write-ahead log");
    return s.err == TM_OK ? TM_OK
                          : say(error, s.err, "cannot remove old files of the write-ahead log: %s",
                                tm_err_text(s.err));
}

enum tm_err tm_datadir_forget_older(struct tm_disk *disk, struct tm_datadir_identity *id,
                                    struct tm_datadir_error *error)
{
    if (id->generation_count <= 1)
        return TM_OK;
    id->generations[0] = id->generations[id->generation_count - 1];
    memset(&id->generations[1], 0, sizeof id->generations - sizeof id->generations[0]);
    id->generation_count = 1;
    return tm_datadir_write(disk, id, error);
}

enum tm_err tm_datadir_end(struct tm_disk *disk, struct tm_datadir_identity *id,
                           struct tm_datadir_error *error)
{
    id->clean = true;
    return tm_datadir_write(disk, id, error);
}
