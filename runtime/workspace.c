/* The file is one page of header, the directory of objects, then the objects.  It is made without a
 * name (O_TMPFILE), reserved, laid out and locked, and only then linked to its path: whoever finds
 * it finds it whole.  A leftover of a dead owner is unlinked first, under its own lock, so that of
 * two starters one wins and the other is told LOCKED.
 *
 * The lock is the only truth about the owner: process ids are reused, and are noted for people. */
#include "runtime/workspace.h"

#include "runtime/hash.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC   UINT64_C(0x3130535750534d54) /* "TMSPWS01" */
#define VERSION 1
#define PAGE    4096

struct entry {
    char name[TM_WORKSPACE_NAME_MAX + 1];
    uint64_t offset;
    uint64_t footprint;
};

struct header {
    uint64_t magic;
    uint32_t version;
    uint32_t count;
    uint64_t size;
    uint64_t checksum; /* of header and directory, this field being zero */
    int64_t owner_pid;
    char data_dir[TM_WORKSPACE_PATH_MAX + 1];
};
TM_STATIC_ASSERT(sizeof(struct entry) == 64 && sizeof(struct header) == 40 + 512,
                 "other processes read the layout");

static struct entry *directory(const uint8_t *base)
{
    return (struct entry *)(uintptr_t)(base + PAGE);
}

static size_t directory_end(unsigned count)
{
    return PAGE + count * sizeof(struct entry);
}

static uint64_t layout_checksum(const uint8_t *base)
{
    struct header copy = *(const struct header *)(const void *)base;
    copy.checksum = 0;
    struct tm_bytes pieces[] = {tm_bytes_of(&copy, sizeof copy),
                                tm_bytes_of(base + PAGE, copy.count * sizeof(struct entry))};
    return tm_hash64_pieces(pieces, TM_ARRAY_LEN(pieces), MAGIC);
}

enum tm_err tm_workspace_path(char *path, const char *data_dir)
{
    char *real = realpath(data_dir, NULL);
    struct stat st;
    if (real == NULL || stat(real, &st) != 0) {
        int err = errno;
        free(real);
        return tm_err_from_errno(err);
    }
    /* The folder's identity besides its name: containers may share /dev/shm and name alike. */
    uint64_t identity[] = {(uint64_t)st.st_dev, (uint64_t)st.st_ino};
    uint64_t hash = tm_hash64(real, strlen(real), tm_hash64(identity, sizeof identity, 0));
    free(real);
    snprintf(path, TM_WORKSPACE_PATH_MAX + 1, "%s/%s%u-%016llx", TM_WORKSPACE_FOLDER,
             TM_WORKSPACE_PREFIX, (unsigned)st.st_uid, (unsigned long long)hash);
    return TM_OK;
}

static uint64_t object_align(const struct tm_workspace_object *object)
{
    return tm_max_u64(object->align, TM_CACHE_PAIR);
}

static bool object_ok(const struct tm_workspace_object *objects, unsigned i)
{
    const struct tm_workspace_object *o = &objects[i];
    size_t len = strlen(o->name);
    if (len == 0 || len > TM_WORKSPACE_NAME_MAX || o->footprint == 0 ||
        o->footprint > (UINT64_C(1) << 40) || !tm_is_pow2(object_align(o)) || o->align > PAGE)
        return false;
    for (unsigned j = 0; j < i; j++)
        if (strcmp(objects[j].name, o->name) == 0)
            return false;
    return true;
}

size_t tm_workspace_footprint(const struct tm_workspace_object *objects, unsigned count)
{
    if (count > TM_WORKSPACE_OBJECTS_MAX)
        return 0;
    uint64_t at = directory_end(count);
    for (unsigned i = 0; i < count; i++) {
        if (!object_ok(objects, i))
            return 0;
        at = tm_align_up(at, object_align(&objects[i])) + objects[i].footprint;
    }
    return tm_align_up(at, PAGE);
}

static void lay_out(uint8_t *base, size_t size, const char *data_dir,
                    const struct tm_workspace_object *objects, unsigned count)
{
    struct header *h = (struct header *)(void *)base;
    *h = (struct header){
        .magic = MAGIC, .version = VERSION, .count = count, .size = size, .owner_pid = getpid()};
    memcpy(h->data_dir, data_dir, strlen(data_dir) + 1);
    uint64_t at = directory_end(count);
    for (unsigned i = 0; i < count; i++) {
        struct entry *e = &directory(base)[i];
        at = tm_align_up(at, object_align(&objects[i]));
        memcpy(e->name, objects[i].name, strlen(objects[i].name) + 1);
        e->offset = at;
        e->footprint = objects[i].footprint;
        at += e->footprint;
    }
    h->checksum = layout_checksum(base);
}

/* Takes the owner's lock on the open file: LOCKED if another has it. */
static enum tm_err take_lock(int fd)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
        return TM_OK;
    return errno == EAGAIN || errno == EACCES ? TM_ERR_LOCKED : tm_err_from_errno(errno);
}

/* True if an owner has the lock; only asks, and so never stands in the way of one. */
static bool is_owned(int fd)
{
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
    return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

/* True if the open file begins with our magic. */
static bool is_workspace(int fd)
{
    uint64_t magic = 0;
    return pread(fd, &magic, sizeof magic, 0) == (ssize_t)sizeof magic && magic == MAGIC;
}

static bool same_file(int fd, const char *path)
{
    struct stat a, b;
    return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

/* Makes path free: TM_OK if nothing is there or a dead owner's file was removed, AGAIN if another
 * starter was faster with that. */
static enum tm_err remove_leftover(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? TM_OK : errno == ELOOP ? TM_ERR_EXISTS : tm_err_from_errno(errno);
    enum tm_err err = is_workspace(fd) ? take_lock(fd) : TM_ERR_EXISTS;
    if (err == TM_OK && !same_file(fd, path))
        err = TM_ERR_AGAIN;
    else if (err == TM_OK && unlink(path) != 0)
        err = tm_err_from_errno(errno);
    close(fd);
    return err;
}

/* Gives the nameless file its name; LOCKED if another starter took it. */
static enum tm_err give_name(int fd, const char *path)
{
    for (int tries = 0; tries < 8; tries++) {
        enum tm_err err = remove_leftover(path);
        if (err == TM_ERR_AGAIN)
            continue;
        if (err != TM_OK)
            return err;
        char self[64];
        snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
        if (linkat(AT_FDCWD, self, AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0)
            return TM_OK;
        if (errno != EEXIST)
            return tm_err_from_errno(errno);
    }
    return TM_ERR_LOCKED;
}

/* Opens a nameless, locked file in path's folder with `size` bytes reserved. */
static enum tm_err open_reserved(const char *path, size_t size, int *fd)
{
    char folder[TM_WORKSPACE_PATH_MAX + 1];
    const char *slash = strrchr(path, '/');
    snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path);
    *fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (*fd < 0)
        return tm_err_from_errno(errno);
    enum tm_err err = tm_err_from_errno(posix_fallocate(*fd, 0, (off_t)size));
    if (err == TM_OK)
        err = take_lock(*fd);
    if (err != TM_OK)
        close(*fd);
    return err;
}

enum tm_err tm_workspace_create(struct tm_workspace *ws, const char *path, const char *data_dir,
                                const struct tm_workspace_object *objects, unsigned count)
{
    size_t size = tm_workspace_footprint(objects, count);
    if (size == 0 || path[0] != '/' || strrchr(path, '/') == path ||
        strlen(path) > TM_WORKSPACE_PATH_MAX || data_dir[0] != '/' ||
        strlen(data_dir) > TM_WORKSPACE_PATH_MAX)
        return TM_ERR_INVALID;
    int fd;
    enum tm_err err = open_reserved(path, size, &fd);
    if (err != TM_OK)
        return err;
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED) {
        err = tm_err_from_errno(errno);
    } else {
        lay_out(base, size, data_dir, objects, count);
        err = give_name(fd, path);
        if (err != TM_OK)
            munmap(base, size);
    }
    if (err != TM_OK) {
        close(fd);
        return err;
    }
    *ws = (struct tm_workspace){.base = base, .size = size, .fd = fd, .writable = true};
    memcpy(ws->path, path, strlen(path) + 1);
    return TM_OK;
}

static enum tm_err check_layout(const uint8_t *base, size_t size)
{
    const struct header *h = (const struct header *)(const void *)base;
    if (h->magic != MAGIC)
        return TM_ERR_INVALID;
    if (h->version != VERSION)
        return TM_ERR_VERSION;
    if (h->size != size || h->count > TM_WORKSPACE_OBJECTS_MAX || directory_end(h->count) > size ||
        h->checksum != layout_checksum(base) || h->data_dir[TM_WORKSPACE_PATH_MAX] != '\0')
        return TM_ERR_CORRUPT;
    for (unsigned i = 0; i < h->count; i++) {
        const struct entry *e = &directory(base)[i];
        if (e->name[TM_WORKSPACE_NAME_MAX] != '\0' || e->offset > size ||
            e->footprint > size - e->offset || e->offset % TM_CACHE_PAIR != 0)
            return TM_ERR_CORRUPT;
    }
    return TM_OK;
}

enum tm_err tm_workspace_join(struct tm_workspace *ws, const char *path, bool writable)
{
    if (strlen(path) > TM_WORKSPACE_PATH_MAX)
        return TM_ERR_INVALID;
    int fd = open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
    if (fd < 0)
        return tm_err_from_errno(errno);
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size < PAGE || !is_workspace(fd)) {
        close(fd);
        return TM_ERR_INVALID;
    }
    size_t size = (size_t)st.st_size;
    void *base = mmap(NULL, size, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, fd, 0);
    int map_errno = errno;
    close(fd);
    if (base == MAP_FAILED)
        return tm_err_from_errno(map_errno);
    enum tm_err err = check_layout(base, size);
    if (err != TM_OK) {
        munmap(base, size);
        return err;
    }
    *ws = (struct tm_workspace){.base = base, .size = size, .fd = -1, .writable = writable};
    memcpy(ws->path, path, strlen(path) + 1);
    return TM_OK;
}

static const struct header *header_of(const struct tm_workspace *ws)
{
    return (const struct header *)(const void *)ws->base;
}

void *tm_workspace_find(const struct tm_workspace *ws, const char *name, size_t *footprint)
{
    for (unsigned i = 0; i < header_of(ws)->count; i++) {
        const struct entry *e = &directory(ws->base)[i];
        if (strcmp(e->name, name) == 0) {
            if (footprint != NULL)
                *footprint = e->footprint;
            return ws->base + e->offset;
        }
    }
    return NULL;
}

void tm_workspace_each(const struct tm_workspace *ws,
                       void (*visit)(void *arg, const char *name, void *object, size_t footprint),
                       void *arg)
{
    for (unsigned i = 0; i < header_of(ws)->count; i++) {
        const struct entry *e = &directory(ws->base)[i];
        visit(arg, e->name, ws->base + e->offset, e->footprint);
    }
}

const char *tm_workspace_data_dir(const struct tm_workspace *ws)
{
    return header_of(ws)->data_dir;
}

pid_t tm_workspace_owner_pid(const struct tm_workspace *ws)
{
    return (pid_t)header_of(ws)->owner_pid;
}

bool tm_workspace_owner_lives(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool owned = is_owned(fd);
    close(fd);
    return owned;
}

void tm_workspace_leave(struct tm_workspace *ws)
{
    munmap(ws->base, ws->size);
    if (ws->fd >= 0)
        close(ws->fd);
    *ws = (struct tm_workspace){.fd = -1};
}

void tm_workspace_delete(struct tm_workspace *ws)
{
    TM_ASSERT(ws->fd >= 0);
    if (same_file(ws->fd, ws->path))
        unlink(ws->path);
    tm_workspace_leave(ws);
}

/* True if the file's owner is dead and its data directory is gone. */
static bool is_forgotten(const char *path)
{
    struct tm_workspace ws;
    struct stat st;
    if (tm_workspace_owner_lives(path) || tm_workspace_join(&ws, path, false) != TM_OK)
        return false;
    bool gone = stat(tm_workspace_data_dir(&ws), &st) != 0 && errno == ENOENT;
    tm_workspace_leave(&ws);
    return gone;
}

unsigned tm_workspace_sweep(const char *folder)
{
    DIR *dir = opendir(folder);
    if (dir == NULL)
        return 0;
    unsigned removed = 0;
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        char path[PATH_MAX];
        int len = snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        if (strncmp(e->d_name, TM_WORKSPACE_PREFIX, strlen(TM_WORKSPACE_PREFIX)) == 0 &&
            len <= TM_WORKSPACE_PATH_MAX && is_forgotten(path) && remove_leftover(path) == TM_OK)
            removed++;
    }
    closedir(dir);
    return removed;
}
