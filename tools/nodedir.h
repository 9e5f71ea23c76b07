/* nodedir.h: the data directories of the nodes on this machine, DIR/<cluster>/<node>, and what runs
 * on each.
 *
 * A node says what it is in the file node.json of its data directory (struct tm_nodefile), written
 * by the node itself.  Whether it lives is told by the lock on its data directory and never by the
 * process id, which may belong to another process by now.
 *
 * For subcommands: everything blocks, messages are one line without newline. */
#ifndef TM_TOOLS_NODEDIR_H
#define TM_TOOLS_NODEDIR_H

#include "runtime/base.h"

#include <sys/types.h>

#define TM_NODEDIR_PATH_MAX 511
#define TM_NODEDIR_WHY      1024 /* room for a message */

/* X(field, size): the texts of node.json. */
#define TM_NODEFILE_TEXTS(X)                                                                       \
    X(cluster, 64)                                                                                 \
    X(node, 64)                                                                                    \
    X(listen, 80)  /* ADDRESS:PORT of the shared client port */                                    \
    X(fabric, 16)  /* "dpdk" or "tcp" */                                                           \
    X(state, 16)   /* "starting": listens; "running": the cluster exists; "stopping" */            \
    X(boot, 20)    /* the boot id in hexadecimal */                                                \
    X(version, 32) /* of the program */

/* What node.json says. */
struct tm_nodefile {
    int64_t pid;
    int64_t workers;
#define X(field, size) char field[size];
    TM_NODEFILE_TEXTS(X)
#undef X
};

/* Replaces data_dir/node.json as a whole (a new file, then a rename).  For the node itself, once it
 * holds the lock.  NOSPACE, PERMISSION, NOTFOUND, IO. */
enum tm_err tm_nodefile_write(const char *data_dir, const struct tm_nodefile *file, char *why,
                              size_t why_size);

/* Reads it; fields that are not in the file are empty.  NOTFOUND: no node ever listened there;
 * CORRUPT: not what a node writes. */
enum tm_err tm_nodefile_read(const char *data_dir, struct tm_nodefile *file);

/* One data directory. */
struct tm_nodedir {
    char path[TM_NODEDIR_PATH_MAX + 1];
    char cluster[64], node[64]; /* by the names of the folders */
    struct tm_nodefile file;    /* zero if there is none */
    bool lives;                 /* a process holds the lock */
    pid_t pid;                  /* that process; 0 if none does */
};

/* "running", "starting", "stopping", "dead" (it ended without saying so), "stopped", "new" (never
 * started). */
const char *tm_nodedir_state(const struct tm_nodedir *d);

/* Looks at DIR/<cluster>/<node>, which need not exist.  TOOBIG: the path is too long. */
enum tm_err tm_nodedir_look(const char *dir, const char *cluster, const char *node,
                            struct tm_nodedir *out);

/* All data directories below dir in the order of their names; cluster and node narrow it down
 * unless NULL.  *out is the caller's, to free(), also when *count is 0.  NOTFOUND (no such dir),
 * PERMISSION, NOMEM, TOOBIG; then *out is NULL. */
enum tm_err tm_nodedir_list(const char *dir, const char *cluster, const char *node,
                            struct tm_nodedir **out, unsigned *count);

/* True if a process holds the lock of the data directory. */
bool tm_nodedir_lives(const char *data_dir);

/* Whoever took the lock of the data directory the last time, by the lock's own words, and may have
 * ended since; 0: nobody did. */
pid_t tm_nodedir_holder(const char *data_dir);

/* True if the process was killed and is only giving back its memory, or is gone: its lock and its
 * ports will be free soon. */
bool tm_process_is_ending(pid_t pid);

/* True if the process runs `tidemill serve`, whatever the program's file is called; false for
 * pid <= 0. */
bool tm_process_is_node(pid_t pid);

/* Waits until nobody holds the lock; false if that took longer than timeout_ms. */
bool tm_nodedir_wait_free(const char *data_dir, unsigned timeout_ms);

/* The last line of level error of a logfmt log, else the last line at all, without newline, cut at
 * size; false if the file cannot be read or is empty.  Lines before byte `from` are not regarded.
 */
bool tm_last_error_line(const char *log_path, uint64_t from, char *line, size_t size);

#endif
