/* workspace.h: one file of shared memory per node, laid out once from a declared list of objects.
 *
 * Rings, counters and client rings live in it, so that another process can watch or attach, also
 * after the node died.  The file lies where the caller says, by custom at tm_workspace_path in
 * /dev/shm.  Its space is reserved when it is created: a full /dev/shm is TM_ERR_NOSPACE at boot,
 * never a bus error later.
 *
 * The owner holds a lock on the file (an open-file-description lock) as long as it lives, which the
 * kernel releases however it dies; that tells a running node's workspace from one left behind.  A
 * file appears under its name complete and locked, or not at all.  A child that was forked and not
 * exec'ed keeps its parent's lock alive: fork before create.
 *
 * All functions are for boot and tools: they block on the file system. */
#ifndef TM_RUNTIME_WORKSPACE_H
#define TM_RUNTIME_WORKSPACE_H

#include "runtime/base.h"

#include <sys/types.h>

#define TM_WORKSPACE_FOLDER      "/dev/shm"
#define TM_WORKSPACE_PREFIX      "tidemill-"
#define TM_WORKSPACE_NAME_MAX    47 /* bytes of an object's name */
#define TM_WORKSPACE_OBJECTS_MAX 8192
#define TM_WORKSPACE_PATH_MAX    511 /* bytes of the file's path and of the data directory's */

/* One object of the list.  name: 1..TM_WORKSPACE_NAME_MAX bytes, unique in the list.  align: a
 * power of two up to 4096; TM_CACHE_PAIR is used where it is less. */
struct tm_workspace_object {
    const char *name;
    size_t footprint;
    size_t align;
};

/* A process's own view of a workspace.  Fields are for reading. */
struct tm_workspace {
    uint8_t *base;
    size_t size;
    int fd; /* holds the owner's lock; -1 for those who joined */
    bool writable;
    char path[TM_WORKSPACE_PATH_MAX + 1];
};

/* Writes the customary path of the workspace of the node in data_dir, which must exist, to path
 * (TM_WORKSPACE_PATH_MAX + 1 bytes); whoever asks, as root does of another user's node.
 * TM_ERR_NOTFOUND, TM_ERR_PERMISSION, TM_ERR_TOOBIG. */
enum tm_err tm_workspace_path(char *path, const char *data_dir);

/* Bytes of the file that holds these objects; 0 if the list breaks a rule above. */
size_t tm_workspace_footprint(const struct tm_workspace_object *objects, unsigned count);

/* Creates the file at path with these objects, all zero, maps it into *ws and locks it.  A file
 * left there by a dead owner is replaced; its readers keep the old one.  data_dir (absolute) is
 * noted in it for tm_workspace_sweep.  Errors: LOCKED (a live node owns it), NOSPACE, EXISTS (a
 * file that is no workspace; it is left alone), PERMISSION, INVALID (list or paths). */
enum tm_err tm_workspace_create(struct tm_workspace *ws, const char *path, const char *data_dir,
                                const struct tm_workspace_object *objects, unsigned count);

/* Maps the workspace at path into *ws: read-only, or also writable (a client's rings).  Checks
 * magic, version, size and the checksum of the layout.  Errors: NOTFOUND, PERMISSION, INVALID (not
 * a workspace), VERSION, CORRUPT. */
enum tm_err tm_workspace_join(struct tm_workspace *ws, const char *path, bool writable);

/* The object of that name and its footprint (may be NULL to not ask); NULL if there is none.  Lives
 * until leave or delete.  Over a read-only join writing to it faults. */
void *tm_workspace_find(const struct tm_workspace *ws, const char *name, size_t *footprint);

/* Calls visit for every object, in the order of the list. */
void tm_workspace_each(const struct tm_workspace *ws,
                       void (*visit)(void *arg, const char *name, void *object, size_t footprint),
                       void *arg);

/* The data directory and the process id that the owner noted when it created the file. */
const char *tm_workspace_data_dir(const struct tm_workspace *ws);
pid_t tm_workspace_owner_pid(const struct tm_workspace *ws);

/* True if the owner of the workspace at path lives. */
bool tm_workspace_owner_lives(const char *path);

/* Unmaps; the file stays, as what is left to look at.  The owner's lock is released. */
void tm_workspace_leave(struct tm_workspace *ws);

/* The owner's orderly end: unmaps and removes the file. */
void tm_workspace_delete(struct tm_workspace *ws);

/* Removes the workspaces in folder (names that begin with TM_WORKSPACE_PREFIX) whose owner is dead
 * and whose data directory is gone: nobody can ask for them any more.  Others are left alone.
 * Returns how many were removed. */
unsigned tm_workspace_sweep(const char *folder);

#endif
