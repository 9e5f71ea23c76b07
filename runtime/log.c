/* A line is formatted once, on the thread that logs, into the ring; the logger only copies bytes to
 * the file.  What can go wrong: the ring is full (dropped, counted, reported by the logger when it
 * next comes by), the file cannot take the bytes (a full disk: those bytes are lost, the node goes
 * on; a log never stops a node).
 *
 * The logger sleeps in poll on an eventfd, which a worker writes only if its ring says the logger
 * sleeps; so a busy log costs no system call, and a silent one no wake-ups but one a second. */
#include "runtime/log.h"
#include "runtime/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define HOUSEKEEPING_MS 1000
#define GRACE_MS        1000 /* for a descriptor that takes nothing, at the end */

/* Waits until the descriptor takes bytes.  False: it took none for GRACE_MS, and nobody has the
 * time to wait longer (ending is NULL, or true by now). */
static bool takes(int fd, const _Atomic bool *ending)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    for (unsigned waited = 0; waited < GRACE_MS;) {
        if (poll(&p, 1, GRACE_MS / 10) != 0)
            return true;
        if (ending == NULL || atomic_load_explicit(ending, memory_order_acquire))
            waited += GRACE_MS / 10;
    }
    return false;
}

/* Writes all bytes of a line; gives up on errors.  False: see takes().  A pipe that can be written
 * to takes a whole line. */
static bool write_all(int fd, const uint8_t *data, size_t len, const _Atomic bool *ending)
{
    while (len > 0) {
        if (!takes(fd, ending))
            return false;
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return true;
        if (n > 0) {
            data += n;
            len -= (size_t)n;
        }
    }
    return true;
}

/* Once the end was asked for, one line that nobody takes is enough. */
static void logger_write(struct tm_logger *logger, const void *data, size_t len)
{
    if (!logger->stuck)
        logger->stuck = !write_all(logger->target->fd, data, len, &logger->stop);
}

void tm_log_target_init(struct tm_log_target *target, const char *node, enum tm_log_level level)
{
    memset(target, 0, sizeof *target);
    snprintf(target->node, sizeof target->node, "%s", node == NULL ? "" : node);
    atomic_store_explicit(&target->level, (int)level, memory_order_relaxed);
    target->fd = STDERR_FILENO;
}

static int open_log(const char *path)
{
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

enum tm_err tm_log_target_open(struct tm_log_target *target, const char *path)
{
    if (strlen(path) >= sizeof target->path)
        return TM_ERR_TOOBIG;
    int fd = open_log(path);
    if (fd < 0)
        return tm_err_from_errno(errno);
    tm_log_target_close(target);
    memcpy(target->path, path, strlen(path) + 1);
    target->fd = fd;
    target->owns_fd = true;
    return TM_OK;
}

void tm_log_target_close(struct tm_log_target *target)
{
    if (target->owns_fd)
        close(target->fd);
    target->owns_fd = false;
    target->fd = STDERR_FILENO;
    target->path[0] = '\0';
}

void tm_log_target_follow(struct tm_log_target *target)
{
    struct stat here, there;
    if (!target->owns_fd || fstat(target->fd, &here) != 0)
        return;
    if (stat(target->path, &there) == 0 && here.st_dev == there.st_dev &&
        here.st_ino == there.st_ino)
        return;
    int fd = open_log(target->path);
    if (fd < 0)
        return;
    close(target->fd);
    target->fd = fd;
}

static bool is_wanted(const struct tm_log_target *target, enum tm_log_level level)
{
    return (int)level >= atomic_load_explicit(&target->level, memory_order_relaxed);
}

void tm_log_vplain(const struct tm_log_target *target, enum tm_log_level level, const char *event,
                   const char *fmt, va_list args)
{
    if (!is_wanted(target, level))
        return;
    char line[TM_LOG_LINE_MAX];
    size_t len = tm_log_format(line, sizeof line, tm_clock_wall_us(), level, target->node, -1,
                               event, fmt, args);
    (void)write_all(target->fd, (const uint8_t *)line, len, NULL);
}

void tm_log_plain(const struct tm_log_target *target, enum tm_log_level level, const char *event,
                  const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    tm_log_vplain(target, level, event, fmt, args);
    va_end(args);
}

static void wake(int fd)
{
    /* Not blocking: a counter that cannot take one more wakes its reader as it is. */
    uint64_t one = 1;
    ssize_t n = write(fd, &one, sizeof one);
    (void)n;
}

static void count(struct tm_log_writer *log, enum tm_counter which)
{
    if (log->counters != NULL)
        tm_counter_add(log->counters, which, 1);
}

void tm_log_vline(struct tm_log_writer *log, uint64_t wall_us, enum tm_log_level level,
                  const char *event, const char *fmt, va_list args)
{
    if (!is_wanted(log->target, level))
        return;
    char *line = tm_ring_claim(&log->ring, (uint32_t)level, TM_LOG_LINE_MAX);
    if (line == NULL) {
        count(log, TM_COUNTER_log_dropped);
        return;
    }
    size_t len = tm_log_format(line, TM_LOG_LINE_MAX, wall_us, level, log->target->node,
                               log->worker, event, fmt, args);
    tm_ring_trim(&log->ring, (uint32_t)len);
    count(log, TM_COUNTER_log_lines);
    if (tm_ring_publish(&log->ring))
        wake(log->wake_fd);
}

void tm_log_line(struct tm_log_writer *log, uint64_t wall_us, enum tm_log_level level,
                 const char *event, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    tm_log_vline(log, wall_us, level, event, fmt, args);
    va_end(args);
}

enum tm_err tm_logger_init(struct tm_logger *logger, struct tm_log_target *target)
{
    memset(logger, 0, sizeof *logger);
    logger->target = target;
    logger->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return logger->wake_fd < 0 ? tm_err_from_errno(errno) : TM_OK;
}

enum tm_err tm_logger_attach(struct tm_logger *logger, struct tm_log_writer *log,
                             struct tm_ring *ring, int worker, struct tm_counters *counters)
{
    TM_ASSERT(!logger->running);
    if (logger->count == TM_LOGS_MAX)
        return TM_ERR_FULL;
    if (tm_ring_record_max(ring->capacity) < TM_LOG_LINE_MAX)
        return TM_ERR_INVALID;
    unsigned slot = logger->count++;
    tm_ring_consumer_init(&logger->rings[slot], ring);
    logger->workers[slot] = worker;
    logger->reported[slot] = tm_ring_full_count(ring);
    *log = (struct tm_log_writer){.target = logger->target,
                                  .counters = counters,
                                  .worker = worker,
                                  .wake_fd = logger->wake_fd};
    tm_ring_producer_init(&log->ring, ring);
    return TM_OK;
}

static void write_line(struct tm_logger *logger, int worker, enum tm_log_level level,
                       const char *event, const char *fmt, ...) TM_PRINTF(5, 6);

static void write_line(struct tm_logger *logger, int worker, enum tm_log_level level,
                       const char *event, const char *fmt, ...)
{
    char line[TM_LOG_LINE_MAX];
    va_list args;
    va_start(args, fmt);
    size_t len = tm_log_format(line, sizeof line, tm_clock_wall_us(), level, logger->target->node,
                               worker, event, fmt, args);
    va_end(args);
    logger_write(logger, line, len);
}

static void report_drops(struct tm_logger *logger, unsigned slot)
{
    uint64_t full = tm_ring_full_count(logger->rings[slot].ring);
    if (full == logger->reported[slot])
        return;
    write_line(logger, logger->workers[slot], TM_LOG_WARN, "log_dropped", "lines=%llu",
               (unsigned long long)(full - logger->reported[slot]));
    logger->reported[slot] = full;
}

unsigned tm_logger_drain(struct tm_logger *logger)
{
    enum { BATCH = 64 };
    unsigned lines = 0;
    for (unsigned slot = 0; slot < logger->count; slot++) {
        struct tm_ring_record record;
        for (unsigned n = 0; tm_ring_next(&logger->rings[slot], &record); n++, lines++) {
            logger_write(logger, record.data, record.len);
            if (n % BATCH == BATCH - 1)
                tm_ring_release(&logger->rings[slot]);
        }
        tm_ring_release(&logger->rings[slot]);
        report_drops(logger, slot);
    }
    return lines;
}

/* True if every ring is empty and will ring when something comes. */
static bool park_all(struct tm_logger *logger)
{
    bool parked = true;
    for (unsigned slot = 0; slot < logger->count; slot++)
        parked = tm_ring_park(&logger->rings[slot]) && parked;
    return parked;
}

static void sleep_until_woken(struct tm_logger *logger)
{
    struct pollfd p = {.fd = logger->wake_fd, .events = POLLIN};
    uint64_t value;
    if (poll(&p, 1, HOUSEKEEPING_MS) > 0 && read(logger->wake_fd, &value, sizeof value) < 0)
        TM_ASSERT(errno == EAGAIN || errno == EINTR);
}

static void *logger_main(void *arg)
{
    struct tm_logger *logger = arg;
    uint64_t checked = tm_clock_wall_us();
    while (!atomic_load_explicit(&logger->stop, memory_order_acquire)) {
        if (tm_logger_drain(logger) == 0 && park_all(logger))
            sleep_until_woken(logger);
        uint64_t now = tm_clock_wall_us();
        if (now - checked >= HOUSEKEEPING_MS * 1000) {
            tm_log_target_follow(logger->target);
            checked = now;
        }
    }
    tm_logger_drain(logger);
    return NULL;
}

enum tm_err tm_logger_start(struct tm_logger *logger)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(&logger->thread, NULL, logger_main, logger);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    logger->running = err == 0;
    if (logger->running)
        pthread_setname_np(logger->thread, "tm-log");
    return tm_err_from_errno(err);
}

void tm_logger_stop(struct tm_logger *logger)
{
    if (logger->running) {
        atomic_store_explicit(&logger->stop, true, memory_order_release);
        wake(logger->wake_fd);
        pthread_join(logger->thread, NULL);
        logger->running = false;
    }
    close(logger->wake_fd);
    logger->wake_fd = -1;
}
