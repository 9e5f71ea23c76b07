/* log.h: logfmt lines that never block the thread that logs.
 *
 * A worker formats its line in place in a ring (tm_log_writer), and the logger's thread writes what
 * it finds in all rings to one file descriptor.  If the descriptor blocks, rings fill, and lines
 * that do not fit are dropped and counted; the logger then says how many.  Before there are
 * threads, and in tools, tm_log_plain writes at once.
 *
 *     time=2024-05-01T12:00:00.123456Z level=info node=node-1 worker=0 event=election_won term=3
 *
 * fmt is a printf format of further key=value pairs.  A string given by %s becomes a logfmt value
 * by itself: quoted and escaped where it holds a space, a quote, '=' or a control byte, so that no
 * input can forge a field or a line.  Inside quotes written in fmt it is only escaped.  %n and wide
 * characters are not supported; width counts for numbers only. */
#ifndef TM_RUNTIME_LOG_H
#define TM_RUNTIME_LOG_H

#include "runtime/base.h"
#include "runtime/counters.h"
#include "runtime/ctx.h"
#include "runtime/ring.h"

#include <pthread.h>
#include <stdarg.h>

#define TM_LOG_LINE_MAX 1024 /* bytes of a line with its newline; longer ones end in "..." */
#define TM_LOGS_MAX     72   /* rings a logger drains: 64 workers and some helpers */

/* "debug", "info", "warn", "error". */
const char *tm_log_level_name(enum tm_log_level level);

/* Formats one line, ending in a newline, into buf (cap in 64..); returns its length.  node may be
 * NULL and worker negative: such a field is left out.  wall_us: microseconds since 1970.  Pure. */
size_t tm_log_format(char *buf, size_t cap, uint64_t wall_us, enum tm_log_level level,
                     const char *node, int worker, const char *event, const char *fmt, va_list args)
    TM_PRINTF(8, 0);

/* What all logging of a process shares. */
struct tm_log_target {
    char node[64];     /* "" before it is known */
    _Atomic int level; /* lines below it are not formatted; may change at any time */
    int fd;            /* where lines go: 2, or a file opened by tm_log_target_open */
    bool owns_fd;
    char path[512]; /* of that file; "" for stderr */
};

/* Lines to stderr, of this level and above.  node may be NULL. */
void tm_log_target_init(struct tm_log_target *target, const char *node, enum tm_log_level level);

/* Lines to the end of the file at path, created with mode 0600.  The target is unchanged if it
 * fails: NOTFOUND (no such folder), PERMISSION, NOSPACE, IO, TOOBIG (the path). */
enum tm_err tm_log_target_open(struct tm_log_target *target, const char *path);

/* Closes that file, if there is one; lines go to stderr again.  The logger has stopped. */
void tm_log_target_close(struct tm_log_target *target);

/* Opens the target's file again by its name, if the name now leads elsewhere: it was moved away or
 * removed (log rotation).  The logger's thread does this about once a second. */
void tm_log_target_follow(struct tm_log_target *target);

/* One line, written at once with write(2); waits up to a second for a descriptor that takes
 * nothing, and then drops it.  Boot, tools, and the thread of the logger. */
void tm_log_plain(const struct tm_log_target *target, enum tm_log_level level, const char *event,
                  const char *fmt, ...) TM_PRINTF(4, 5);
void tm_log_vplain(const struct tm_log_target *target, enum tm_log_level level, const char *event,
                   const char *fmt, va_list args) TM_PRINTF(4, 0);

/* One worker's end. */
struct tm_log_writer {
    struct tm_log_target *target;
    struct tm_ring_producer ring;
    struct tm_counters *counters;
    int worker;
    int wake_fd; /* the logger's eventfd */
};

/* Formats a line into the worker's ring and publishes it.  Never blocks; a line that does not fit
 * is dropped and counted (log_dropped).  On the thread that owns log.  wall_us as above.  A
 * worker's tm_ctx.log passes its arguments here. */
void tm_log_vline(struct tm_log_writer *log, uint64_t wall_us, enum tm_log_level level,
                  const char *event, const char *fmt, va_list args) TM_PRINTF(5, 0);
void tm_log_line(struct tm_log_writer *log, uint64_t wall_us, enum tm_log_level level,
                 const char *event, const char *fmt, ...) TM_PRINTF(5, 6);

/* The thread that drains the rings.  Fields are its own. */
struct tm_logger {
    struct tm_log_target *target;
    unsigned count;
    struct tm_ring_consumer rings[TM_LOGS_MAX];
    int workers[TM_LOGS_MAX];
    uint64_t reported[TM_LOGS_MAX]; /* drops already told of */
    int wake_fd;
    _Atomic bool stop;
    bool stuck; /* at the end, and the descriptor takes nothing */
    bool running;
    pthread_t thread;
};

/* Makes a logger with no rings and no thread.  target outlives it.  TM_ERR_NOMEM and the like from
 * the kernel when it has no eventfd left. */
enum tm_err tm_logger_init(struct tm_logger *logger, struct tm_log_target *target);

/* Makes *log the end of worker `worker` (negative: no worker field) with this ring, which lies in
 * the workspace or anywhere that outlives the logger.  counters are that worker's; may be NULL.
 * Before start.  TM_ERR_FULL after TM_LOGS_MAX. */
enum tm_err tm_logger_attach(struct tm_logger *logger, struct tm_log_writer *log,
                             struct tm_ring *ring, int worker, struct tm_counters *counters);

/* Starts the thread, with all signals blocked. */
enum tm_err tm_logger_start(struct tm_logger *logger);

/* Writes all that the rings hold now; returns the number of lines.  For tests and placements
 * without a logger thread; never beside a running one. */
unsigned tm_logger_drain(struct tm_logger *logger);

/* Stops the thread after it wrote everything published before the call, or after a second in which
 * the descriptor took nothing, and frees the eventfd.  The attached writers must not be used
 * afterwards. */
void tm_logger_stop(struct tm_logger *logger);

#endif
