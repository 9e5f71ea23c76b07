/* load.c: the turn of a load run.
 *
 * A turn: hand out the operations that are due to connections with room, start the sends, sleep in
 * the kernel until a reply is there or the next operation is due, take the replies.  Samples of the
 * machine are taken when the window's edges pass.  After the last operation was handed out, replies
 * are awaited for at most 10 s. */
#include "bench/load_internal.h"
#include "runtime/clock.h"

#include <stdlib.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define SQ_ENTRIES   1024
#define BUFFERS      512
#define BUFFER_BYTES TM_KIB(16)
#define DRAIN_NS     TM_SECONDS(10)
#define REAP_BUDGET  4096
#define SENDS_BATCH  16 /* then enter the kernel, so that times taken are times sent */

void tm_load_errors_add(struct tm_load_errors *e, const char *text, size_t len, uint64_t times)
{
    size_t keep = tm_min_u64(len, TM_LOAD_ERROR_TEXT - 1);
    unsigned i = 0;
    if (times == 0)
        return;
    while (i < e->kinds &&
           (strlen(e->kind[i].text) != keep || memcmp(e->kind[i].text, text, keep) != 0))
        i++;
    if (i == TM_LOAD_ERRORS_MAX) {
        e->others += times;
        return;
    }
    if (i == e->kinds) {
        memcpy(e->kind[i].text, text, keep);
        e->kind[i].text[keep] = 0;
        e->kinds++;
    }
    e->kind[i].count += times;
}

static void flush(struct tm_load *l)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < l->dirty_count; i++)
        if (!tm_load_conn_flush(l->dirty[i]))
            l->dirty[kept++] = l->dirty[i];
    l->dirty_count = kept;
}

static struct tm_load_conn *pop_ready(struct tm_load *l)
{
    struct tm_load_conn *c = l->ready[l->ready_head];
    l->ready_head = (l->ready_head + 1) % l->spec->connections;
    l->ready_count--;
    c->ready = false;
    return c;
}

/* Hands out what is due, as long as there are connections with room. */
static void hand_out(struct tm_load *l)
{
    struct tm_schedule *s = &l->result->schedule;
    uint64_t now = tm_clock_ns();
    while (l->ready_count > 0) {
        struct tm_load_conn *c = l->ready[l->ready_head];
        struct tm_due due;
        if (c->fd >= 0 && !tm_schedule_take(s, now, &due))
            break;
        pop_ready(l);
        if (c->fd < 0)
            continue;
        tm_load_conn_put(c, due, now);
        tm_load_conn_offer(c);
        if (l->dirty_count < SENDS_BATCH)
            continue;
        flush(l);
        tm_uring_submit(&l->uring);
        now = tm_clock_ns();
    }
    flush(l);
}

struct edges {
    bool began, ended;
    struct tm_cost before;
};

/* Takes the samples; the last one when the run stops, at the latest. */
static void watch_window(struct tm_load *l, struct edges *e, uint64_t now, bool stops)
{
    struct tm_load_result *r = l->result;
    if (!e->began && now >= r->schedule.from_ns) {
        tm_cost_sample(&e->before, l->spec->pids, l->spec->pid_count);
        e->began = true;
    }
    bool end = stops || now >= r->schedule.until_ns ||
               (r->schedule.until_ns == UINT64_MAX && r->schedule.over && l->under_way == 0);
    if (e->began && !e->ended && end) {
        tm_cost_sample(&r->spent, l->spec->pids, l->spec->pid_count);
        tm_cost_since(&r->spent, &e->before);
        e->ended = true;
    }
}

/* How long to sleep: until the next operation if there is a connection for it, or an edge. */
static uint64_t sleep_ns(const struct tm_load *l, uint64_t now, uint64_t drain_until)
{
    const struct tm_schedule *s = &l->result->schedule;
    uint64_t wait = tm_schedule_wait(s, now);
    if (wait == 0 && l->ready_count == 0)
        wait = s->until_ns > now && s->until_ns != UINT64_MAX ? s->until_ns - now : TM_MS(100);
    if (drain_until != 0)
        wait = tm_min_u64(wait, drain_until > now ? drain_until - now : 0);
    return tm_min_u64(wait, TM_SECONDS(1));
}

static void run(struct tm_load *l)
{
    struct tm_schedule *s = &l->result->schedule;
    struct edges edges = {0};
    uint64_t drain_until = 0;
    for (;;) {
        uint64_t now = tm_clock_ns();
        watch_window(l, &edges, now, false);
        tm_schedule_tick(s, now);
        hand_out(l);
        if (l->open == 0)
            break;
        if (s->over && drain_until == 0)
            drain_until = tm_clock_ns() + DRAIN_NS;
        if (s->over && (now >= drain_until || (edges.ended && l->under_way == 0)))
            break;
        tm_uring_wait(&l->uring, sleep_ns(l, tm_clock_ns(), drain_until));
        tm_uring_reap(&l->uring, REAP_BUDGET);
    }
    watch_window(l, &edges, tm_clock_ns(), true);
    l->stopping = true;
    l->result->unanswered = l->under_way;
    l->result->tally.failed += l->under_way;
}

/* WAIT n ... is answered with the copies there are: fewer than n is a failure. */
static int64_t least_of_then(const char *then)
{
    if (strncasecmp(then, "WAIT ", 5) != 0)
        return INT64_MIN;
    return strtoll(then + 5, NULL, 10);
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static enum tm_err prepare(struct tm_load *l, char *why)
{
    raise_descriptor_limit();
    prctl(PR_SET_TIMERSLACK, 1UL); /* else operations that are due wait 50 us more */
    l->work = tm_workload_new(&l->spec->work);
    if (l->work == NULL) {
        snprintf(why, TM_LOAD_WHY_MAX, "no memory for values of --size");
        return TM_ERR_NOMEM;
    }
    l->command_max = tm_workload_command_max(l->work);
    if (l->spec->then[0] != 0)
        l->then_len = tm_load_encode_words(l->spec->then, l->then, sizeof l->then);
    l->then_needs = least_of_then(l->spec->then);
    enum tm_err err = tm_uring_bufs_open(&l->bufs, &l->uring, 0, BUFFERS, (uint32_t)BUFFER_BYTES,
                                         why, TM_LOAD_WHY_MAX);
    return err != TM_OK ? err : tm_load_connect(l, why);
}

enum tm_err tm_load_run(struct tm_load_result *result, const struct tm_load_spec *spec, double rate,
                        char *why)
{
    struct tm_load l = {.spec = spec, .result = result};
    memset(result, 0, sizeof *result);
    enum tm_err err = tm_uring_open(&l.uring, SQ_ENTRIES, why, TM_LOAD_WHY_MAX);
    if (err != TM_OK)
        return err;
    err = prepare(&l, why);
    if (err == TM_OK) {
        struct tm_schedule_spec schedule = spec->schedule;
        schedule.rate = rate;
        tm_schedule_init(&result->schedule, &schedule, tm_clock_ns());
        run(&l);
    }
    if (tm_uring_close(&l.uring)) {
        tm_uring_bufs_close(&l.bufs);
        tm_load_disconnect(&l);
    }
    tm_workload_free(l.work);
    return err;
}
