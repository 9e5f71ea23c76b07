/* worker.c: the turn, the sleep, and the three placements.
 *
 * The happy path is tm_worker_step: polls by phase with the completions before the last one, then
 * flushes, then one submit.  tm_worker_run repeats it and asks runtime/idle.h what to do after a
 * turn that found nothing.  tm_worker_park is the sleep: announce, look once more, sleep, take the
 * announcement back.
 *
 * What can go wrong: the ring refuses an entry (bell and watches are armed again in a later
 * turn); an actor fails to start (those before it are stopped, the worker closes). */
#include "runtime/worker.h"
#include "runtime/clock.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>

#include "runtime/cpu.h"

#define DEFAULT_SQ   256
#define HOUSEKEEP_NS TM_MS(1)
#define REAP_BUDGET  1024

/* --- what stands behind tm_ctx ---------------------------------------------------------------- */

static uint64_t ctx_now(void *host)
{
    return ((struct tm_worker *)host)->now_ns;
}

static uint64_t ctx_wall_ms(void *host)
{
    struct tm_worker *w = host;
    if (w->wall_of != w->now_ns) {
        w->wall_of = w->now_ns;
        w->wall_ms = tm_clock_wall_us() / 1000;
    }
    return w->wall_ms;
}

static uint64_t ctx_random(void *host)
{
    return tm_rng_next(&((struct tm_worker *)host)->rng);
}

TM_PRINTF(4, 5)
static void ctx_log(void *host, enum tm_log_level level, const char *event, const char *fmt, ...)
{
    struct tm_worker *w = host;
    if (w->config.log == NULL)
        return;
    va_list ap;
    va_start(ap, fmt);
    tm_log_vline(w->config.log, tm_clock_wall_us(), level, event, fmt, ap);
    va_end(ap);
}

/* --- the doorbell and watched descriptors ----------------------------------------------------- */

static void bell_done(struct tm_uring_op *op, int32_t res, uint32_t cqe_flags)
{
    struct tm_worker *w = TM_CONTAINER_OF(op, struct tm_worker, bell_op);
    w->bell_armed = (cqe_flags & IORING_CQE_F_MORE) != 0;
    w->bell_rang |= res > 0;
}

/* A multishot poll reports each write, so that the eventfd never has to be read. */
static bool poll_multishot(struct tm_worker *w, struct tm_uring_op *op, int fd)
{
    struct io_uring_sqe *sqe = tm_uring_sqe(&w->uring, op);
    if (sqe != NULL)
        io_uring_prep_poll_multishot(sqe, fd, POLLIN);
    return sqe != NULL;
}

static void queue_watch(struct tm_watch *watch)
{
    if (watch->queued)
        return;
    watch->queued = true;
    watch->next = watch->worker->watches;
    watch->worker->watches = watch;
}

/* Brings the kernel in line with what is wanted; false if the ring had no room. */
static bool settle_watch(struct tm_watch *watch)
{
    if (watch->wanted && !watch->polled)
        watch->polled = poll_multishot(watch->worker, &watch->op, watch->fd);
    else if (!watch->wanted && watch->polled)
        return tm_uring_cancel(&watch->worker->uring, &watch->op);
    return watch->wanted == watch->polled;
}

static void watch_done(struct tm_uring_op *op, int32_t res, uint32_t cqe_flags)
{
    struct tm_watch *watch = TM_CONTAINER_OF(op, struct tm_watch, op);
    watch->polled = (cqe_flags & IORING_CQE_F_MORE) != 0;
    if (!watch->polled && watch->wanted)
        queue_watch(watch);
    if (res > 0 && watch->wanted)
        watch->ready(watch->arg, (uint32_t)res);
}

static unsigned settle_polls(struct tm_worker *w)
{
    if (TM_UNLIKELY(!w->bell_armed))
        w->bell_armed = poll_multishot(w, &w->bell_op, w->bell.fd);
    struct tm_watch *list = w->watches;
    unsigned done = 0;
    w->watches = NULL;
    while (list != NULL) {
        struct tm_watch *watch = list;
        list = watch->next;
        watch->queued = false;
        if (!settle_watch(watch))
            queue_watch(watch);
        done++;
    }
    return done;
}

void tm_worker_watch_fd(struct tm_worker *w, struct tm_watch *watch, int fd,
                        void (*ready)(void *arg, uint32_t events), void *arg)
{
    *watch = (struct tm_watch){
        .op.done = watch_done, .worker = w, .ready = ready, .arg = arg, .fd = fd, .wanted = true};
    if (!settle_watch(watch))
        queue_watch(watch);
}

void tm_worker_unwatch_fd(struct tm_watch *watch)
{
    watch->wanted = false;
    if (watch->polled && !settle_watch(watch))
        queue_watch(watch);
}

bool tm_watch_idle(const struct tm_watch *watch)
{
    return !watch->polled && !watch->queued;
}

/* --- the turn --------------------------------------------------------------------------------- */

static unsigned poll_phase(struct tm_worker *w, enum tm_worker_phase phase)
{
    unsigned found = 0;
    unsigned from = phase == 0 ? 0 : w->phase_end[phase - 1];
    for (unsigned i = from; i < w->phase_end[phase]; i++) {
        struct tm_worker_actor *a = &w->actors[w->order[i]];
        found += a->ops->poll(a->self);
    }
    return found;
}

static void flush_all(struct tm_worker *w)
{
    for (unsigned i = w->actor_count; i-- > 0;) {
        struct tm_worker_actor *a = &w->actors[w->order[i]];
        if (a->ops->flush != NULL)
            a->ops->flush(a->self);
    }
    tm_uring_submit(&w->uring);
}

static void housekeep(struct tm_worker *w)
{
    for (unsigned i = 0; i < w->actor_count; i++) {
        struct tm_worker_actor *a = &w->actors[w->order[i]];
        if (a->ops->housekeep != NULL)
            a->ops->housekeep(a->self);
    }
    w->next_housekeep = w->now_ns + HOUSEKEEP_NS;
}

static void count_turn(struct tm_worker *w, bool busy)
{
    struct tm_counters *c = w->ctx.counters;
    tm_counter_add(c, busy ? TM_COUNTER_turns : TM_COUNTER_idle_turns, 1);
    if (w->woken)
        tm_counter_add(c, w->bell_rang ? TM_COUNTER_wakes_ring : TM_COUNTER_wakes_io, 1);
    w->woken = false;
    w->bell_rang = false;
}

unsigned tm_worker_step(struct tm_worker *w)
{
    w->now_ns = tm_clock_ns();
    unsigned found = poll_phase(w, TM_PHASE_FABRIC);
    found += poll_phase(w, TM_PHASE_RINGS);
    found += tm_uring_reap(&w->uring, REAP_BUDGET);
    found += tm_disk_uring_poll(&w->disk);
    found += settle_polls(w);
    found += poll_phase(w, TM_PHASE_TIMERS);
    flush_all(w);
    count_turn(w, found > 0);
    if (found > 0 && w->now_ns >= w->next_housekeep)
        housekeep(w);
    return found;
}

/* --- the sleep -------------------------------------------------------------------------------- */

static uint64_t earliest_deadline(struct tm_worker *w)
{
    uint64_t least = TM_WORKER_NO_DEADLINE;
    for (unsigned i = 0; i < w->actor_count; i++) {
        struct tm_worker_actor *a = &w->actors[i];
        if (a->ops->next_deadline != NULL)
            least = tm_min_u64(least, a->ops->next_deadline(a->self));
    }
    return least;
}

/* The second look.  *asked is the number of actors asked, in their order. */
static bool nothing_there(struct tm_worker *w, unsigned *asked)
{
    for (*asked = 0; *asked < w->actor_count;) {
        struct tm_worker_actor *a = &w->actors[(*asked)++];
        if (a->ops->before_park != NULL && !a->ops->before_park(a->self))
            return false;
    }
    return !atomic_load_explicit(&w->stopping, memory_order_relaxed) && w->bell_armed &&
           w->watches == NULL && w->disk.waiting_head == NULL &&
           io_uring_cq_ready(&w->uring.ring) == 0;
}

/* Sleeps up to max_ns; false if a deadline has passed already. */
static bool sleep_in_ring(struct tm_worker *w, uint64_t max_ns)
{
    uint64_t deadline = earliest_deadline(w);
    uint64_t before = tm_clock_ns();
    if (deadline <= before)
        return false;
    if (deadline != TM_WORKER_NO_DEADLINE)
        max_ns = tm_min_u64(max_ns, deadline - before);
    tm_counter_add(w->ctx.counters, TM_COUNTER_parks, 1);
    tm_uring_wait(&w->uring, max_ns);
    w->woken = io_uring_cq_ready(&w->uring.ring) > 0;
    if (w->woken)
        tm_idler_woken(&w->idler, tm_clock_ns() - before);
    else
        tm_counter_add(w->ctx.counters, TM_COUNTER_wakes_timer, 1);
    return true;
}

bool tm_worker_park(struct tm_worker *w, uint64_t max_ns)
{
    unsigned asked = 0;
    housekeep(w);
    flush_all(w);
    tm_doorbell_park(&w->bell);
    bool slept = nothing_there(w, &asked) && sleep_in_ring(w, max_ns);
    tm_doorbell_unpark(&w->bell);
    while (asked-- > 0) {
        struct tm_worker_actor *a = &w->actors[asked];
        if (a->ops->after_park != NULL)
            a->ops->after_park(a->self);
    }
    return slept;
}

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

void tm_worker_run(struct tm_worker *w)
{
    unsigned found = 0;
    while (!atomic_load_explicit(&w->stopping, memory_order_relaxed)) {
        uint64_t began = w->now_ns;
        bool measure = found > 0;
        found = tm_worker_step(w);
        if (measure)
            tm_counter_peak(w->ctx.counters, TM_COUNTER_turn_max_us, (w->now_ns - began) / 1000);
        switch (tm_idler_next(&w->idler, found > 0, w->now_ns)) {
        case TM_IDLE_DO_SPIN:
            if (found == 0)
                relax();
            break;
        case TM_IDLE_DO_YIELD:
            sched_yield();
            break;
        case TM_IDLE_DO_PARK:
            tm_worker_park(w, UINT64_MAX);
            break;
        }
    }
}

void tm_worker_set_idle(struct tm_worker *w, const struct tm_idle_config *idle)
{
    w->config.idle = *idle;
    tm_idler_init(&w->idler, idle, w->now_ns);
}

/* --- life ------------------------------------------------------------------------------------- */

enum tm_err tm_worker_init(struct tm_worker *w, const struct tm_worker_config *config)
{
    memset(w, 0, sizeof *w);
    w->config = *config;
    if (w->config.sq_entries == 0)
        w->config.sq_entries = DEFAULT_SQ;
    tm_rng_seed_from_os(&w->rng);
    w->now_ns = tm_clock_ns();
    tm_disk_uring_init(&w->disk, NULL, config->dir_fd);
    w->ctx =
        (struct tm_ctx){.host = w,
                        .now_ns = ctx_now,
                        .wall_ms = ctx_wall_ms,
                        .random = ctx_random,
                        .log = ctx_log,
                        .disk = config->dir_fd < 0 ? NULL : &w->disk.disk,
                        .counters = config->counters != NULL ? config->counters : &w->own_counters};
    return tm_doorbell_open(&w->bell, config->bell_word != NULL ? config->bell_word : &w->own_word);
}

void tm_worker_fini(struct tm_worker *w)
{
    tm_doorbell_close(&w->bell);
}

enum tm_err tm_worker_add(struct tm_worker *w, const struct tm_actor_ops *ops, void *self)
{
    TM_ASSERT(ops->poll != NULL && ops->phase < TM_PHASE_COUNT);
    if (w->actor_count == TM_WORKER_ACTORS_MAX)
        return TM_ERR_FULL;
    unsigned at = w->phase_end[ops->phase];
    memmove(&w->order[at + 1], &w->order[at], w->actor_count - at);
    w->order[at] = (uint8_t)w->actor_count;
    for (unsigned p = ops->phase; p < TM_PHASE_COUNT; p++)
        w->phase_end[p]++;
    w->actors[w->actor_count++] = (struct tm_worker_actor){.ops = ops, .self = self};
    return TM_OK;
}

static void stop_actors(struct tm_worker *w)
{
    while (w->started > 0) {
        struct tm_worker_actor *a = &w->actors[--w->started];
        if (a->ops->stop != NULL)
            a->ops->stop(a->self);
    }
}

static enum tm_err start_actors(struct tm_worker *w)
{
    while (w->started < w->actor_count) {
        struct tm_worker_actor *a = &w->actors[w->started];
        enum tm_err err = TM_OK;
        if (a->ops->start != NULL)
            err = a->ops->start(a->self, w, w->why, sizeof w->why);
        if (err != TM_OK)
            return err;
        w->started++;
    }
    return TM_OK;
}

enum tm_err tm_worker_open(struct tm_worker *w)
{
    enum tm_err err = tm_uring_open(&w->uring, w->config.sq_entries, w->why, sizeof w->why);
    if (err != TM_OK)
        return err;
    tm_disk_uring_attach(&w->disk, &w->uring);
    w->now_ns = tm_clock_ns();
    tm_idler_init(&w->idler, &w->config.idle, w->now_ns);
    w->bell_op.done = bell_done;
    w->bell_armed = poll_multishot(w, &w->bell_op, w->bell.fd);
    err = start_actors(w);
    if (err != TM_OK)
        tm_worker_close(w);
    return err;
}

void tm_worker_close(struct tm_worker *w)
{
    stop_actors(w);
    w->abandoned = !tm_uring_close(&w->uring);
    if (w->abandoned)
        ctx_log(w, TM_LOG_ERROR, "uring_abandoned", "in_flight=%u", w->uring.in_flight);
    tm_disk_uring_attach(&w->disk, NULL);
}

static enum tm_err pin(struct tm_worker *w)
{
    if (w->config.cpu < 0)
        return TM_OK;
    enum tm_err err = tm_cpu_pin(w->config.cpu);
    if (err != TM_OK)
        snprintf(w->why, sizeof w->why, "cannot pin worker %u to CPU %d: it is not this process's",
                 w->config.index, w->config.cpu);
    return err;
}

static void *thread_main(void *arg)
{
    struct tm_worker *w = arg;
    char name[16];
    snprintf(name, sizeof name, "tm-worker-%u", w->config.index % 1000);
    pthread_setname_np(pthread_self(), name);
    enum tm_err err = pin(w);
    if (err == TM_OK)
        err = tm_worker_open(w);
    w->start_err = err;
    sem_post(&w->ready);
    if (err != TM_OK)
        return NULL;
    tm_worker_run(w);
    tm_worker_close(w);
    return NULL;
}

enum tm_err tm_worker_start(struct tm_worker *w)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    sem_init(&w->ready, 0, 0);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&w->thread, NULL, thread_main, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0) {
        snprintf(w->why, sizeof w->why, "cannot start a thread: %s", strerror(rc));
        return tm_err_from_errno(rc);
    }
    while (sem_wait(&w->ready) != 0)
        TM_ASSERT(errno == EINTR);
    sem_destroy(&w->ready);
    if (w->start_err != TM_OK)
        pthread_join(w->thread, NULL);
    return w->start_err;
}

void tm_worker_stop(struct tm_worker *w)
{
    atomic_store_explicit(&w->stopping, true, memory_order_relaxed);
    tm_doorbell_force(&w->bell);
}

void tm_worker_join(struct tm_worker *w)
{
    int rc = pthread_join(w->thread, NULL);
    TM_ASSERT(rc == 0);
}
