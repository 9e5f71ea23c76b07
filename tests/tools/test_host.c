#include "tools/host.h"
#include "net/addr.h"
#include "runtime/worker.h"
#include "tests/scratch.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENT_MS 60000
#define BASE_PORT  31000
#define PIPELINE   64
#define ROUNDS     12

static char why[TM_HOST_WHY_MAX];

/* One node of a cluster of one, started in this process again and again on the same directory. */
struct node {
    struct tm_topology *topology;
    const char *dir;
    int dir_fd, stop_fd;
    struct tm_options options;
    struct tm_datadir_identity identity;
    bool was_clean;
    struct tm_host *host;
};

static void with_disk(struct node *n, void (*act)(struct node *n, const struct tm_ctx *ctx))
{
    struct tm_worker *w = aligned_alloc(TM_CACHE_PAIR, tm_align_up(sizeof *w, TM_CACHE_PAIR));
    CU_ASSERT_PTR_NOT_NULL_FATAL(w);
    memset(w, 0, sizeof *w);
    struct tm_worker_config c = {.cpu = -1, .dir_fd = n->dir_fd};
    CU_ASSERT_EQUAL_FATAL(tm_worker_init(w, &c), TM_OK);
    act(n, &w->ctx);
    tm_worker_fini(w);
    free(w);
}

static void begin(struct node *n, const struct tm_ctx *ctx)
{
    struct tm_datadir_error err;
    if (tm_datadir_read(ctx->disk, &n->identity, &err) == TM_ERR_NOTFOUND)
        CU_ASSERT_EQUAL_FATAL(tm_datadir_format(ctx, "c", "n1", &n->identity, &err), TM_OK);
    CU_ASSERT_EQUAL_FATAL(tm_datadir_begin(ctx->disk, &n->identity, (uint32_t)n->options.workers,
                                           &n->was_clean, &err),
                          TM_OK);
}

static void mark_end(struct node *n, const struct tm_ctx *ctx)
{
    struct tm_datadir_error err;
    CU_ASSERT_EQUAL(tm_datadir_end(ctx->disk, &n->identity, &err), TM_OK);
}

static void set(struct node *n, const char *name, const char *value)
{
    char text[TM_OPTION_WHY_MAX];
    CU_ASSERT_EQUAL_FATAL(tm_options_set(&n->options, name, value, TM_OPTION_COMMAND_LINE, text),
                          TM_OK);
}

static void node_init(struct node *n)
{
    char path[128], port[16];
    *n = (struct node){.dir = tm_scratch(), .stop_fd = eventfd(0, EFD_CLOEXEC)};
    snprintf(path, sizeof path, "%s/topology.js", n->dir);
    FILE *f = fopen(path, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    fputs("defineCluster('c', { nodes: ['n1'], partitions: 16 });\n", f);
    fclose(f);
    CU_ASSERT_EQUAL_FATAL(tm_topology_load(path, &n->topology, why, sizeof why), TM_OK);
    n->dir_fd = open(n->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CU_ASSERT_FATAL(n->dir_fd >= 0);
    tm_options_init(&n->options);
    snprintf(port, sizeof port, "%d", BASE_PORT + (int)(getpid() % 20) * 32);
    set(n, "base-port", port);
    set(n, "workers", "2");
    set(n, "memory-limit", "1GiB");
    set(n, "wal-segment-bytes", "4MiB");
    set(n, "wal-bytes", "64MiB");
    set(n, "log-level", "error");
}

static void node_start(struct node *n, unsigned stop_ms)
{
    with_disk(n, begin);
    struct tm_host_config c = {.topology = n->topology,
                               .cluster = &n->topology->clusters[0],
                               .data_dir = n->dir,
                               .dir_fd = n->dir_fd,
                               .options = n->options,
                               .identity = &n->identity,
                               .was_clean = n->was_clean,
                               .machine_workers = 2,
                               .stop_ms = stop_ms};
    enum tm_err e = tm_host_start(&c, &n->host, why);
    if (e != TM_OK)
        printf("  %s\n", why);
    CU_ASSERT_EQUAL_FATAL(e, TM_OK);
}

static void is_up(void *arg)
{
    struct node *n = arg;
    CU_ASSERT_EQUAL(eventfd_write(n->stop_fd, 1), 0);
}

static enum tm_err not_yet(void *arg, char *text)
{
    (void)arg, (void)text;
    return TM_OK;
}

/* Until the cluster exists and this node is part of it. */
static void node_wait(struct node *n)
{
    struct tm_host_events events = {.arg = n, .running = is_up, .waiting = not_yet};
    eventfd_t drained;
    CU_ASSERT_EQUAL_FATAL(tm_host_wait(n->host, n->stop_fd, &events, why), TM_OK);
    eventfd_read(n->stop_fd, &drained);
}

static bool node_stop(struct node *n)
{
    bool clean = tm_host_stop(n->host, why);
    tm_host_free(n->host);
    if (clean)
        with_disk(n, mark_end);
    return clean;
}

static void node_end(struct node *n)
{
    tm_topology_free(n->topology);
    close(n->dir_fd);
    close(n->stop_fd);
}

static int dial(const struct node *n)
{
    const char *colon = strrchr(tm_host_listen(n->host), ':');
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(colon + 1))};
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_EQUAL_FATAL(connect(fd, (const struct sockaddr *)&in, sizeof in), 0);
    return fd;
}

/* SET key<i> <value> for i from first on, PIPELINE of them at once. */
static void send_sets(int fd, unsigned first, unsigned value)
{
    char text[PIPELINE * 48];
    size_t len = 0;
    for (unsigned i = 0; i < PIPELINE; i++)
        len +=
            (size_t)snprintf(text + len, sizeof text - len, "SET key%u %u\r\n", first + i, value);
    CU_ASSERT_EQUAL_FATAL(write(fd, text, len), (ssize_t)len);
}

/* How many +OK come within ms, at most `most`. */
static unsigned count_ok(int fd, unsigned most, int ms)
{
    unsigned got = 0;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    while (got < most && poll(&p, 1, ms) == 1) {
        char text[512];
        ssize_t n = read(fd, text, sizeof text);
        for (ssize_t i = 0; i < n; i++)
            got += text[i] == '+';
        if (n <= 0)
            break;
    }
    return got;
}

static unsigned get(int fd, unsigned key)
{
    char text[128];
    int len = snprintf(text, sizeof text, "GET key%u\r\n", key);
    CU_ASSERT_EQUAL_FATAL(write(fd, text, (size_t)len), len);
    ssize_t n = read(fd, text, sizeof text - 1);
    CU_ASSERT_FATAL(n > 0);
    text[n] = '\0';
    const char *value = strchr(text, '\n');
    return text[0] == '$' && text[1] != '-' && value != NULL ? (unsigned)atoi(value + 1) : 0;
}

/* What a process of one life of the node leaves behind. */
struct life {
    bool clean, was_clean, said;
    unsigned acked, wrong;
};

/* Runs one life in a process of its own, as the program does: what was cut short (locks, memory
 * that the kernel has) ends with it.  Returns what it told; it must have ended by itself. */
static struct life live(struct node *n, void (*act)(struct node *n, struct life *l, unsigned round),
                        unsigned round, unsigned stop_ms)
{
    struct life *l = mmap(NULL, sizeof *l, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                          0),
                told;
    CU_ASSERT_FATAL(l != MAP_FAILED);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        node_start(n, stop_ms);
        l->was_clean = n->was_clean;
        act(n, l, round);
        l->clean = node_stop(n);
        l->said = !l->clean && strstr(why, "as by SIGKILL") != NULL;
        _exit(CU_get_number_of_failures() == 0 ? 0 : 1);
    }
    int status = 0;
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    if (status != 0)
        printf("  round %u ended with status %#x\n", round, (unsigned)status);
    CU_ASSERT_EQUAL(status, 0);
    told = *l;
    munmap(l, sizeof *l);
    return told;
}

static void only_start(struct node *n, struct life *l, unsigned round)
{
    (void)n, (void)l, (void)round;
}

static void only_run(struct node *n, struct life *l, unsigned round)
{
    (void)l, (void)round;
    node_wait(n);
}

static void write_some(struct node *n, struct life *l, unsigned round)
{
    node_wait(n);
    int fd = dial(n);
    send_sets(fd, round * PIPELINE, round + 1);
    l->acked = count_ok(fd, round * 7 % PIPELINE + 1, 10000);
    send_sets(fd, ROUNDS * PIPELINE, round + 1);
    usleep(round * 300);
    close(fd);
}

static unsigned acked[ROUNDS];

static void read_back(struct node *n, struct life *l, unsigned rounds)
{
    node_wait(n);
    int fd = dial(n);
    for (unsigned round = 0; round < rounds; round++)
        for (unsigned i = 0; i < acked[round]; i++)
            l->wrong += get(fd, round * PIPELINE + i) != round + 1;
    close(fd);
}

/* Stopped in the middle of everything, without a moment's patience: it ends, says so, and what it
 * had acknowledged is there again. */
static void a_stop_that_runs_out_of_patience_is_as_a_kill(void)
{
    struct node n;
    unsigned cut_short = 0, all = 0;
    node_init(&n);
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct life l = live(&n, round % 4 == 3 ? only_start : write_some, round, 0);
        CU_ASSERT(l.clean || l.said);
        cut_short += !l.clean;
        all += acked[round] = l.acked;
    }
    CU_ASSERT(cut_short >= ROUNDS / 2);
    CU_ASSERT(all > ROUNDS);
    struct life l = live(&n, read_back, ROUNDS, PATIENT_MS);
    CU_ASSERT_EQUAL(l.wrong, 0);
    CU_ASSERT_TRUE(l.clean);
    node_end(&n);
}

/* The mark of a clean end is there after one, and only then. */
static void only_a_stop_that_came_to_its_end_is_clean(void)
{
    struct node n;
    node_init(&n);
    CU_ASSERT_TRUE(live(&n, only_run, 0, PATIENT_MS).clean);
    struct life hasty = live(&n, only_run, 1, 0);
    CU_ASSERT_TRUE(hasty.was_clean);
    CU_ASSERT_FALSE(hasty.clean);
    struct life last = live(&n, only_run, 2, PATIENT_MS);
    CU_ASSERT_FALSE(last.was_clean);
    CU_ASSERT_TRUE(last.clean);
    node_end(&n);
}

static const struct tm_test tests[] = {
    TM_TEST(a_stop_that_runs_out_of_patience_is_as_a_kill),
    TM_TEST(only_a_stop_that_came_to_its_end_is_clean),
};

TM_TEST_MAIN("tools/host", tests)
