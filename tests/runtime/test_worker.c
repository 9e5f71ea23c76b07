#include "runtime/worker.h"
#include "runtime/ring.h"
#include "tests/scratch.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define WATCHDOG_MS 5000

static char trace[256];

static void tell(const char *what)
{
    if (strlen(trace) + strlen(what) + 2 < sizeof trace) {
        strcat(trace, what);
        strcat(trace, " ");
    }
}

static void sleep_ms(unsigned ms)
{
    struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&ts, NULL);
}

static uint64_t parks_of(struct tm_worker *w)
{
    return tm_counter_get(w->ctx.counters, TM_COUNTER_parks);
}

/* Waits until *flag reaches want; false after the watchdog. */
static bool reaches(_Atomic unsigned *flag, unsigned want)
{
    for (unsigned i = 0; i < WATCHDOG_MS && atomic_load(flag) < want; i++)
        sleep_ms(1);
    return atomic_load(flag) >= want;
}

static bool parks_again(struct tm_worker *w, uint64_t before)
{
    for (unsigned i = 0; i < WATCHDOG_MS && parks_of(w) <= before; i++)
        sleep_ms(1);
    return parks_of(w) > before;
}

static struct tm_worker_config config_of(enum tm_idle strategy)
{
    return (struct tm_worker_config){
        .cpu = -1,
        .dir_fd = -1,
        .sq_entries = 32,
        .idle = {
            .strategy = strategy, .spin_ns = 50000, .yield_ns = 200000, .cores = 1, .workers = 2}};
}

/* --- an actor that tells what is called ------------------------------------------------------- */

struct teller {
    const char *name;
    char text[6][24];
    bool refuse_start;
    bool refuse_park;
    unsigned work;
    uint64_t deadline;
};

static const char *say(struct teller *t, int slot, const char *what)
{
    snprintf(t->text[slot], sizeof t->text[slot], "%s.%s", t->name, what);
    return t->text[slot];
}

static enum tm_err teller_start(void *self, struct tm_worker *w, char *why, size_t why_len)
{
    struct teller *t = self;
    (void)w;
    if (t->refuse_start) {
        snprintf(why, why_len, "%s has no room", t->name);
        return TM_ERR_NOSPACE;
    }
    tell(say(t, 0, "start"));
    return TM_OK;
}
static void teller_stop(void *self)
{
    tell(say(self, 1, "stop"));
}
static unsigned teller_poll(void *self)
{
    struct teller *t = self;
    tell(say(t, 2, "poll"));
    return t->work;
}
static void teller_flush(void *self)
{
    tell(say(self, 3, "flush"));
}
static bool teller_before_park(void *self)
{
    struct teller *t = self;
    tell(say(t, 4, "park"));
    return !t->refuse_park;
}
static void teller_after_park(void *self)
{
    tell(say(self, 5, "unpark"));
}
static uint64_t teller_deadline(void *self)
{
    struct teller *t = self;
    return t->deadline == 0 ? TM_WORKER_NO_DEADLINE : t->deadline;
}

#define TELLER_OPS(phase_)                                                                         \
    {                                                                                              \
        .name = "teller", .phase = (phase_), .start = teller_start, .stop = teller_stop,           \
        .poll = teller_poll, .flush = teller_flush, .before_park = teller_before_park,             \
        .after_park = teller_after_park, .next_deadline = teller_deadline                          \
    }
static const struct tm_actor_ops fabric_ops = TELLER_OPS(TM_PHASE_FABRIC);
static const struct tm_actor_ops ring_ops = TELLER_OPS(TM_PHASE_RINGS);
static const struct tm_actor_ops timer_ops = TELLER_OPS(TM_PHASE_TIMERS);

static void nop_done(struct tm_uring_op *op, int32_t res, uint32_t flags)
{
    (void)op;
    (void)res;
    (void)flags;
    tell("completion");
}

static void a_turn_polls_by_phase_and_flushes_the_other_way(void)
{
    struct tm_worker w;
    struct tm_worker_config config = config_of(TM_IDLE_PARK);
    struct teller t1 = {.name = "t1"};
    struct teller t2 = {.name = "t2"};
    struct teller r = {.name = "r"};
    struct teller f = {.name = "f"};
    struct tm_uring_op nop = {.done = nop_done};
    CU_ASSERT_EQUAL_FATAL(tm_worker_init(&w, &config), TM_OK);
    tm_worker_add(&w, &timer_ops, &t1);
    tm_worker_add(&w, &fabric_ops, &f);
    tm_worker_add(&w, &timer_ops, &t2);
    tm_worker_add(&w, &ring_ops, &r);
    trace[0] = '\0';
    CU_ASSERT_EQUAL_FATAL(tm_worker_open(&w), TM_OK);
    CU_ASSERT_STRING_EQUAL(trace, "t1.start f.start t2.start r.start ");
    io_uring_prep_nop(tm_uring_sqe(&w.uring, &nop));
    tm_uring_submit(&w.uring);
    trace[0] = '\0';
    CU_ASSERT_EQUAL(tm_worker_step(&w), 1);
    CU_ASSERT_STRING_EQUAL(trace, "f.poll r.poll completion t1.poll t2.poll "
                                  "t2.flush t1.flush r.flush f.flush ");
    trace[0] = '\0';
    tm_worker_close(&w);
    CU_ASSERT_STRING_EQUAL(trace, "r.stop t2.stop f.stop t1.stop ");
    tm_worker_fini(&w);
}

static void a_refused_start_stops_those_before_and_says_why(void)
{
    struct tm_worker w;
    struct tm_worker_config config = config_of(TM_IDLE_PARK);
    struct teller a = {.name = "a"};
    struct teller b = {.name = "b", .refuse_start = true};
    struct teller c = {.name = "c"};
    CU_ASSERT_EQUAL_FATAL(tm_worker_init(&w, &config), TM_OK);
    tm_worker_add(&w, &timer_ops, &a);
    tm_worker_add(&w, &timer_ops, &b);
    tm_worker_add(&w, &timer_ops, &c);
    trace[0] = '\0';
    CU_ASSERT_EQUAL(tm_worker_start(&w), TM_ERR_NOSPACE);
    CU_ASSERT_STRING_EQUAL(trace, "a.start a.stop ");
    CU_ASSERT_STRING_EQUAL(w.why, "b has no room");
    tm_worker_fini(&w);
}

static void a_cpu_that_is_not_ours_is_refused(void)
{
    struct tm_worker w;
    struct tm_worker_config config = config_of(TM_IDLE_PARK);
    config.cpu = 1023;
    CU_ASSERT_EQUAL_FATAL(tm_worker_init(&w, &config), TM_OK);
    CU_ASSERT_EQUAL(tm_worker_start(&w), TM_ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(w.why, "CPU 1023"));
    tm_worker_fini(&w);
}

static void work_found_at_the_second_look_calls_the_sleep_off(void)
{
    struct tm_worker w;
    struct tm_worker_config config = config_of(TM_IDLE_PARK);
    struct teller a = {.name = "a"};
    struct teller b = {.name = "b", .refuse_park = true};
    struct teller c = {.name = "c"};
    CU_ASSERT_EQUAL_FATAL(tm_worker_init(&w, &config), TM_OK);
    tm_worker_add(&w, &timer_ops, &a);
    tm_worker_add(&w, &timer_ops, &b);
    tm_worker_add(&w, &timer_ops, &c);
    CU_ASSERT_EQUAL_FATAL(tm_worker_open(&w), TM_OK);
    tm_worker_step(&w);
    trace[0] = '\0';
    CU_ASSERT_FALSE(tm_worker_park(&w, UINT64_MAX));
    CU_ASSERT_STRING_EQUAL(trace, "c.flush b.flush a.flush a.park b.park b.unpark a.unpark ");
    CU_ASSERT_EQUAL(atomic_load(&w.own_word.parked), 0);
    CU_ASSERT_EQUAL(parks_of(&w), 0);
    tm_worker_close(&w);
    tm_worker_fini(&w);
}

static void a_deadline_that_has_passed_calls_the_sleep_off(void)
{
    struct tm_worker w;
    struct tm_worker_config config = config_of(TM_IDLE_PARK);
    struct teller a = {.name = "a"};
    CU_ASSERT_EQUAL_FATAL(tm_worker_init(&w, &config), TM_OK);
    tm_worker_add(&w, &timer_ops, &a);
    CU_ASSERT_EQUAL_FATAL(tm_worker_open(&w), TM_OK);
    tm_worker_step(&w);
    a.deadline = tm_ctx_now(&w.ctx);
    CU_ASSERT_FALSE(tm_worker_park(&w, UINT64_MAX));
    a.deadline = tm_ctx_now(&w.ctx) + TM_MS(2);
    for (int i = 0; i < 10 && tm_ctx_now(&w.ctx) < a.deadline; i++) {
        tm_worker_park(&w, UINT64_MAX);
        tm_worker_step(&w);
    }
    CU_ASSERT(tm_ctx_now(&w.ctx) >= a.deadline);
    CU_ASSERT(tm_counter_get(w.ctx.counters, TM_COUNTER_wakes_timer) >= 1);
    tm_worker_close(&w);
    tm_worker_fini(&w);
}

static void time_stands_still_within_a_turn_and_never_goes_back(void)
{
    struct tm_worker w;
    struct tm_worker_config config = config_of(TM_IDLE_PARK);
    CU_ASSERT_EQUAL_FATAL(tm_worker_init(&w, &config), TM_OK);
    CU_ASSERT_EQUAL_FATAL(tm_worker_open(&w), TM_OK);
    uint64_t last = 0;
    for (int i = 0; i < 100; i++) {
        tm_worker_step(&w);
        uint64_t now = tm_ctx_now(&w.ctx);
        CU_ASSERT(now >= last);
        CU_ASSERT_EQUAL(tm_ctx_now(&w.ctx), now);
        last = now;
    }
    CU_ASSERT(tm_ctx_wall_ms(&w.ctx) > UINT64_C(1600000000000));
    tm_worker_close(&w);
    tm_worker_fini(&w);
}

static void random_bits_are_evenly_set_and_differ_between_workers(void)
{
    struct tm_worker w[2];
    struct tm_worker_config config = config_of(TM_IDLE_PARK);
    unsigned set[64] = {0};
    for (int i = 0; i < 2; i++)
        CU_ASSERT_EQUAL_FATAL(tm_worker_init(&w[i], &config), TM_OK);
    CU_ASSERT_NOT_EQUAL(tm_ctx_random(&w[0].ctx), tm_ctx_random(&w[1].ctx));
    for (int i = 0; i < 10000; i++) {
        uint64_t r = tm_ctx_random(&w[0].ctx);
        for (int b = 0; b < 64; b++)
            set[b] += (r >> b) & 1;
    }
    for (int b = 0; b < 64; b++)
        CU_ASSERT(set[b] > 4500 && set[b] < 5500); /* ten standard deviations */
    tm_worker_fini(&w[0]);
    tm_worker_fini(&w[1]);
}

/* --- waking a parked worker, from each source ------------------------------------------------- */

static _Atomic unsigned woken;

struct sleeper {
    struct tm_worker *worker;
    struct tm_watch watch;
    int watch_fd;
    struct tm_ring_consumer ring;
    struct tm_disk_op op;
    bool disk_work;
    uint64_t deadline;
};

static void on_ready(void *arg, uint32_t events)
{
    (void)arg;
    (void)events;
    atomic_fetch_add(&woken, 1);
}

static void on_written(struct tm_disk_op *op)
{
    CU_ASSERT_EQUAL(op->result, 8);
    atomic_fetch_add(&woken, 1);
}

static enum tm_err sleeper_start(void *self, struct tm_worker *w, char *why, size_t why_len)
{
    struct sleeper *s = self;
    (void)why;
    (void)why_len;
    s->worker = w;
    if (s->watch_fd >= 0)
        tm_worker_watch_fd(w, &s->watch, s->watch_fd, on_ready, s);
    return TM_OK;
}

static unsigned sleeper_poll(void *self)
{
    struct sleeper *s = self;
    unsigned n = 0;
    struct tm_ring_record record;
    while (s->ring.ring != NULL && tm_ring_next(&s->ring, &record)) {
        atomic_fetch_add(&woken, 1);
        n++;
    }
    if (n > 0)
        tm_ring_release(&s->ring);
    if (s->deadline != 0 && tm_ctx_now(&s->worker->ctx) >= s->deadline) {
        s->deadline = 0;
        atomic_fetch_add(&woken, 1);
        n++;
    }
    return n;
}

static bool sleeper_before_park(void *self)
{
    struct sleeper *s = self;
    return s->ring.ring == NULL || tm_ring_park(&s->ring);
}

static void sleeper_after_park(void *self)
{
    struct sleeper *s = self;
    if (s->ring.ring != NULL)
        tm_ring_unpark(&s->ring);
}

/* The last thing before the sleep: a write whose completion has to end it. */
static void sleeper_housekeep(void *self)
{
    static uint64_t value;
    struct sleeper *s = self;
    if (!s->disk_work || parks_of(s->worker) < 1)
        return;
    s->disk_work = false;
    struct tm_disk *disk = s->worker->ctx.disk;
    s->op.kind = TM_DISK_WRITE;
    s->op.buf = &value;
    s->op.len = 8;
    s->op.flags = TM_DISK_DSYNC;
    s->op.done = on_written;
    disk->submit(disk, &s->op);
}

static uint64_t sleeper_deadline(void *self)
{
    struct sleeper *s = self;
    return s->deadline == 0 ? TM_WORKER_NO_DEADLINE : s->deadline;
}

static const struct tm_actor_ops sleeper_ops = {.name = "sleeper",
                                                .phase = TM_PHASE_RINGS,
                                                .start = sleeper_start,
                                                .poll = sleeper_poll,
                                                .before_park = sleeper_before_park,
                                                .after_park = sleeper_after_park,
                                                .housekeep = sleeper_housekeep,
                                                .next_deadline = sleeper_deadline};

static struct tm_worker sleepy;

static void start_sleeper(struct sleeper *s, int dir_fd)
{
    struct tm_worker_config config = config_of(TM_IDLE_PARK);
    config.dir_fd = dir_fd;
    atomic_store(&woken, 0);
    CU_ASSERT_EQUAL_FATAL(tm_worker_init(&sleepy, &config), TM_OK);
    CU_ASSERT_EQUAL(tm_worker_add(&sleepy, &sleeper_ops, s), TM_OK);
    CU_ASSERT_EQUAL_FATAL(tm_worker_start(&sleepy), TM_OK);
    CU_ASSERT(parks_again(&sleepy, 0));
}

static void stop_sleeper(void)
{
    tm_worker_stop(&sleepy);
    tm_worker_join(&sleepy);
    tm_worker_fini(&sleepy);
}

static void a_worker_at_rest_takes_no_turns(void)
{
    struct sleeper s = {.watch_fd = -1};
    start_sleeper(&s, -1);
    sleep_ms(5);
    uint64_t before = tm_counter_get(sleepy.ctx.counters, TM_COUNTER_idle_turns);
    sleep_ms(50);
    CU_ASSERT_EQUAL(tm_counter_get(sleepy.ctx.counters, TM_COUNTER_idle_turns), before);
    stop_sleeper();
}

static void a_ring_wakes_it(void)
{
    static _Alignas(TM_CACHE_PAIR) uint8_t mem[4 * TM_CACHE_PAIR + 4096];
    struct sleeper s = {.watch_fd = -1};
    struct tm_ring_producer p;
    struct tm_ring *ring = tm_ring_join(tm_ring_new(mem, 4096), sizeof mem);
    CU_ASSERT_PTR_NOT_NULL_FATAL(ring);
    tm_ring_producer_init(&p, ring);
    tm_ring_consumer_init(&s.ring, ring);
    start_sleeper(&s, -1);
    for (unsigned i = 1; i <= 20; i++) {
        CU_ASSERT_PTR_NOT_NULL(tm_ring_claim(&p, 1, 8));
        if (tm_ring_publish(&p))
            tm_doorbell_force(&sleepy.bell);
        CU_ASSERT(reaches(&woken, i));
    }
    stop_sleeper();
    CU_ASSERT(tm_counter_get(sleepy.ctx.counters, TM_COUNTER_wakes_ring) >= 1);
}

static void a_watched_eventfd_wakes_it_again_and_again(void)
{
    struct sleeper s = {.watch_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    start_sleeper(&s, -1);
    for (unsigned i = 1; i <= 20; i++) {
        uint64_t one = 1;
        CU_ASSERT_EQUAL(write(s.watch_fd, &one, sizeof one), sizeof one);
        CU_ASSERT(reaches(&woken, i));
    }
    stop_sleeper();
    CU_ASSERT(tm_counter_get(sleepy.ctx.counters, TM_COUNTER_wakes_io) >= 1);
    close(s.watch_fd);
}

static void the_death_of_a_watched_peer_wakes_it(void)
{
    int pair[2];
    CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    struct sleeper s = {.watch_fd = pair[0]};
    start_sleeper(&s, -1);
    close(pair[1]);
    CU_ASSERT(reaches(&woken, 1));
    stop_sleeper();
    close(pair[0]);
}

static void a_timer_wakes_it(void)
{
    struct sleeper s = {.watch_fd = -1};
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    s.deadline = (uint64_t)ts.tv_sec * TM_SECONDS(1) + (uint64_t)ts.tv_nsec + TM_MS(20);
    start_sleeper(&s, -1);
    CU_ASSERT(reaches(&woken, 1));
    stop_sleeper();
}

static void a_disk_completion_wakes_it(void)
{
    int dir_fd = open(tm_scratch(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct sleeper s = {.watch_fd = -1, .disk_work = true};
    s.op.file = openat(dir_fd, "f", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CU_ASSERT_FATAL(s.op.file >= 0);
    start_sleeper(&s, dir_fd);
    tm_doorbell_force(&sleepy.bell); /* from its second sleep on it has a write under way */
    CU_ASSERT(reaches(&woken, 1));
    stop_sleeper();
    close(s.op.file);
    close(dir_fd);
}

static void an_unwatched_descriptor_wakes_nobody(void)
{
    struct tm_worker w;
    struct tm_watch watch;
    struct tm_worker_config config = config_of(TM_IDLE_PARK);
    int fd = eventfd(0, EFD_CLOEXEC);
    uint64_t one = 1;
    atomic_store(&woken, 0);
    CU_ASSERT_EQUAL_FATAL(tm_worker_init(&w, &config), TM_OK);
    CU_ASSERT_EQUAL_FATAL(tm_worker_open(&w), TM_OK);
    tm_worker_watch_fd(&w, &watch, fd, on_ready, NULL);
    tm_worker_step(&w);
    tm_worker_unwatch_fd(&watch);
    CU_ASSERT_EQUAL(write(fd, &one, sizeof one), sizeof one);
    for (int i = 0; i < 1000 && !tm_watch_idle(&watch); i++) {
        tm_worker_step(&w);
        tm_worker_park(&w, TM_MS(1));
    }
    CU_ASSERT(tm_watch_idle(&watch));
    CU_ASSERT_EQUAL(atomic_load(&woken), 0);
    close(fd);
    tm_worker_close(&w);
    tm_worker_fini(&w);
}

/* --- lost wake-ups ---------------------------------------------------------------------------- */

#define ROUNDS 3000

struct player {
    struct tm_worker worker;
    struct tm_ring_consumer in;
    struct tm_ring_producer out;
    struct player *other;
    bool publish;
    uint64_t value;
};

static struct player players[2];
static _Atomic unsigned rounds;

static void serve(struct player *p, uint64_t value)
{
    uint64_t *slot = tm_ring_claim(&p->out, 1, 8);
    CU_ASSERT_PTR_NOT_NULL_FATAL(slot);
    *slot = value;
    p->publish = true;
}

static unsigned player_poll(void *self)
{
    struct player *p = self;
    struct tm_ring_record record;
    unsigned n = 0;
    while (tm_ring_next(&p->in, &record)) {
        CU_ASSERT_EQUAL(tm_load64(record.data), p->value);
        p->value += 2;
        atomic_store(&rounds, (unsigned)tm_load64(record.data));
        if (tm_load64(record.data) < ROUNDS)
            serve(p, tm_load64(record.data) + 1);
        n++;
    }
    tm_ring_release(&p->in);
    return n;
}

static void player_flush(void *self)
{
    struct player *p = self;
    if (p->publish && tm_ring_publish(&p->out))
        tm_doorbell_force(&p->other->worker.bell);
    p->publish = false;
}

static bool player_before_park(void *self)
{
    struct player *p = self;
    return tm_ring_park(&p->in);
}

static void player_after_park(void *self)
{
    struct player *p = self;
    tm_ring_unpark(&p->in);
}

static const struct tm_actor_ops player_ops = {.name = "player",
                                               .phase = TM_PHASE_RINGS,
                                               .poll = player_poll,
                                               .flush = player_flush,
                                               .before_park = player_before_park,
                                               .after_park = player_after_park};

static void play(enum tm_idle strategy)
{
    static _Alignas(TM_CACHE_PAIR) uint8_t mem[2][4 * TM_CACHE_PAIR + 4096];
    struct tm_worker_config config = config_of(strategy);
    memset(players, 0, sizeof players);
    atomic_store(&rounds, 0);
    for (int i = 0; i < 2; i++) {
        struct tm_ring *ring = tm_ring_join(tm_ring_new(mem[i], 4096), sizeof mem[i]);
        tm_ring_producer_init(&players[i].out, ring);
        tm_ring_consumer_init(&players[1 - i].in, ring);
        players[i].other = &players[1 - i];
        players[i].value = i == 0 ? 2 : 1;
    }
    serve(&players[0], 1);
    for (int i = 0; i < 2; i++) {
        config.index = (unsigned)i;
        CU_ASSERT_EQUAL_FATAL(tm_worker_init(&players[i].worker, &config), TM_OK);
        tm_worker_add(&players[i].worker, &player_ops, &players[i]);
    }
    for (int i = 0; i < 2; i++)
        CU_ASSERT_EQUAL_FATAL(tm_worker_start(&players[i].worker), TM_OK);
    CU_ASSERT(reaches(&rounds, ROUNDS));
    for (int i = 0; i < 2; i++)
        tm_worker_stop(&players[i].worker);
    for (int i = 0; i < 2; i++)
        tm_worker_join(&players[i].worker);
    for (int i = 0; i < 2; i++)
        tm_worker_fini(&players[i].worker);
}

static void two_parking_workers_lose_no_wake_up(void)
{
    play(TM_IDLE_PARK);
}

static void two_workers_play_under_every_strategy(void)
{
    play(TM_IDLE_BACKOFF);
    play(TM_IDLE_AUTO);
    play(TM_IDLE_YIELD);
}

static void a_doorbell_is_written_once_a_sleep(void)
{
    struct tm_doorbell bell;
    struct tm_doorbell_word word;
    uint64_t count = 0;
    CU_ASSERT_EQUAL_FATAL(tm_doorbell_open(&bell, &word), TM_OK);
    CU_ASSERT_FALSE(tm_doorbell_ring(&bell));
    tm_doorbell_park(&bell);
    CU_ASSERT(tm_doorbell_ring(&bell));
    CU_ASSERT_FALSE(tm_doorbell_ring(&bell));
    CU_ASSERT_EQUAL(read(bell.fd, &count, sizeof count), sizeof count);
    CU_ASSERT_EQUAL(count, 1);
    tm_doorbell_park(&bell);
    tm_doorbell_unpark(&bell);
    CU_ASSERT_FALSE(tm_doorbell_ring(&bell));
    CU_ASSERT_EQUAL(read(bell.fd, &count, sizeof count), -1);
    tm_doorbell_close(&bell);
}

static const struct tm_test tests[] = {
    TM_TEST(a_turn_polls_by_phase_and_flushes_the_other_way),
    TM_TEST(a_refused_start_stops_those_before_and_says_why),
    TM_TEST(a_cpu_that_is_not_ours_is_refused),
    TM_TEST(work_found_at_the_second_look_calls_the_sleep_off),
    TM_TEST(a_deadline_that_has_passed_calls_the_sleep_off),
    TM_TEST(time_stands_still_within_a_turn_and_never_goes_back),
    TM_TEST(random_bits_are_evenly_set_and_differ_between_workers),
    TM_TEST(a_worker_at_rest_takes_no_turns),
    TM_TEST(a_ring_wakes_it),
    TM_TEST(a_watched_eventfd_wakes_it_again_and_again),
    TM_TEST(the_death_of_a_watched_peer_wakes_it),
    TM_TEST(a_timer_wakes_it),
    TM_TEST(a_disk_completion_wakes_it),
    TM_TEST(an_unwatched_descriptor_wakes_nobody),
    TM_TEST(two_parking_workers_lose_no_wake_up),
    TM_TEST(two_workers_play_under_every_strategy),
    TM_TEST(a_doorbell_is_written_once_a_sleep),
};
TM_TEST_MAIN("runtime/worker", tests)
