/* sim_disk_internal.h: between the files of the simulated disk.
 *
 *   sim_disk.c        the function table, what is under way, when it is done
 *   sim_disk_files.c  names and inodes, as they are seen and as a crash would leave them
 *   sim_disk_ops.c    what each kind of operation does
 *   sim_disk_harm.c   crashes, failures, rot */
#ifndef TM_TESTS_SIM_SIM_DISK_INTERNAL_H
#define TM_TESTS_SIM_SIM_DISK_INTERNAL_H

#include "tests/sim/sim_disk.h"

#define TM_SIM_SECTOR      512u
#define TM_SIM_FILES_MAX   4096u
#define TM_SIM_RECENT      256u
#define TM_SIM_ROTTEN      64u
#define TM_SIM_HANDLES_MAX 4096u
#define TM_SIM_NAME_MAX    160u

struct tm_sim_inode {
    bool used;
    unsigned links; /* names and handles, of both views */
    uint64_t size, cap;
    uint64_t room; /* memory there is for that, cap or more */
    uint8_t *seen;
    uint8_t *stable;
    uint64_t stable_size;
    uint8_t *dirty;                /* one byte a sector: 1 = unsynced, 2 = being synced */
    uint64_t dirty_from, dirty_to; /* no others are */
    bool truncated;                /* seen and stable may differ everywhere */
};

struct tm_sim_name {
    char text[TM_SIM_NAME_MAX];
    int inode; /* -1: removed */
};

struct tm_sim_names {
    struct tm_sim_name *list;
    unsigned count, cap;
};

struct tm_sim_change {
    char text[TM_SIM_NAME_MAX];
    char folder[TM_SIM_NAME_MAX];
    int inode;
};

struct tm_sim_disk {
    struct tm_disk tables[TM_SIM_DISK_USERS]; /* alike */
    uint64_t rng;
    struct tm_sim_inode inodes[TM_SIM_FILES_MAX];
    int handles[TM_SIM_HANDLES_MAX]; /* inode, -1 = free */
    struct tm_sim_names seen, stable;
    struct tm_sim_change *changes;
    unsigned change_count, change_cap;
    struct tm_disk_op *queue; /* under way, oldest first */
    uint64_t now_ns, min_ns, max_ns;
    bool stalled, misdirect, misread, dead, died;
    uint64_t die_after, capacity, used; /* operations, 0: never; bytes */
    const char *die_at_name;            /* NULL: at none */
    const char *hold_name;              /* whose next write is to be held; NULL: nobody's */
    const struct tm_disk_op *held;      /* NULL: none */
    unsigned overtaken;
    struct tm_sim_hash *hash;
    struct tm_sim_disk_tally *tally, no_tally;
    int fail_errno[TM_DISK_SIZE + 1];
    unsigned fail_count[TM_DISK_SIZE + 1];
    uint64_t counts[TM_DISK_SIZE + 1];
    uint64_t served; /* a bit for each user of what was completed in this poll */
    struct {         /* where was written of late */
        int inode;
        uint64_t offset, len;
    } recent[TM_SIM_RECENT];
    uint64_t recent_count;
    struct { /* what rotted of late, and the byte that is there instead */
        int inode;
        uint64_t at;
        uint8_t byte;
    } rotten[TM_SIM_ROTTEN];
    uint64_t rotten_count;
    struct { /* a misdirected write that no sync has followed yet, as it was meant */
        int inode;
        uint64_t offset, len;
        uint8_t *bytes; /* NULL: none */
    } strayed;
    void (*stable_fn)(void *host, const char *name, uint64_t offset, struct tm_bytes bytes);
    void *stable_host;
};

/* Below n, from the disk's seed. */
uint64_t tm_sim_disk_draw(struct tm_sim_disk *sd, uint64_t n);

/* ---- sim_disk_files.c ---- */

/* NULL: there is none. */
struct tm_sim_name *tm_sim_disk_find(struct tm_sim_names *names, const char *text);
void tm_sim_disk_set_name(struct tm_sim_names *names, const char *text, int inode);
void tm_sim_disk_copy_names(struct tm_sim_names *to, const struct tm_sim_names *from);

/* A name as it is seen; a crash may take that back until its folder is synced. */
void tm_sim_disk_change_name(struct tm_sim_disk *sd, const char *text, int inode);
void tm_sim_disk_sync_folder(struct tm_sim_disk *sd, const char *folder);

int tm_sim_disk_new_inode(struct tm_sim_disk *sd);
void tm_sim_disk_drop(struct tm_sim_disk *sd, int inode);
void tm_sim_disk_close(struct tm_sim_disk *sd, int handle);

/* Frees what no name and no handle refers to. */
void tm_sim_disk_collect(struct tm_sim_disk *sd);

/* Asserts that the handle is open. */
struct tm_sim_inode *tm_sim_disk_inode(struct tm_sim_disk *sd, int32_t file);

/* "" if it has none any more. */
const char *tm_sim_disk_name_of(const struct tm_sim_disk *sd, const struct tm_sim_inode *n);

/* So that it has at least that size: 0 or -ENOSPC. */
int tm_sim_disk_grow(struct tm_sim_disk *sd, struct tm_sim_inode *n, uint64_t size);

/* The sectors from `from` to before `to`. */
void tm_sim_disk_stabilise(struct tm_sim_inode *n, uint64_t from, uint64_t to);
void tm_sim_disk_mark_dirty(struct tm_sim_inode *n, uint64_t from, uint64_t to);

/* Of what op writes so many of 100 sectors (drawn); there has to be room. */
void tm_sim_disk_write_sectors(struct tm_sim_disk *sd, struct tm_sim_inode *n,
                               const struct tm_disk_op *op, uint64_t offset, unsigned keep_percent);

/* ---- sim_disk_ops.c ---- */

/* Does what the operation asks for; also counts it, traces it and lets it fail. */
int64_t tm_sim_disk_effect(struct tm_sim_disk *sd, struct tm_disk_op *op);
int64_t tm_sim_disk_perform(struct tm_sim_disk *sd, struct tm_disk_op *op);

void tm_sim_disk_tell_stable(struct tm_sim_disk *sd, const struct tm_sim_inode *n, uint64_t offset,
                             const void *bytes, uint64_t len);

#endif
