/* Nodes in processes of their own, forked before any EAL starts (this process never starts one),
 * exchange frames over memif, and are killed.  See dpdk_peer.h for what a node does. */
#include "tests/net/dpdk_peer.h"
#include "tests/scratch.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include "net/dpdk_internal.h"
#include "net/fdpass.h"
#include "runtime/hash.h"
#include "runtime/worker.h"

#define WAIT_NS TM_SECONDS(120)
#define KILLS   24

struct cluster {
    const char *dir;
    char secret[96];
    char domain[64];
    struct peer_seen *seen; /* PEER_NODES of them, shared */
    struct peer_job job[PEER_NODES];
    pid_t pid[PEER_NODES];
};

static uint64_t boots = 1;

static void cluster_open(struct cluster *c, unsigned nodes, unsigned workers)
{
    static unsigned number;
    memset(c, 0, sizeof *c);
    c->dir = tm_scratch();
    snprintf(c->secret, sizeof c->secret, "%s/secret", c->dir);
    snprintf(c->domain, sizeof c->domain, "test-%d-%u", (int)getpid(), number++);
    c->seen = mmap(NULL, PEER_NODES * sizeof *c->seen, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CU_ASSERT_FATAL(c->seen != MAP_FAILED);
    for (unsigned n = 0; n < nodes; n++)
        c->job[n] = (struct peer_job){
            .config = {.domain = c->domain,
                       .secret_path = c->secret,
                       .node = n,
                       .workers = workers,
                       .peers = (UINT64_C(1) << nodes) - 1,
                       .mbufs = 1024},
            .seen = &c->seen[n],
            .peer_workers = workers,
            .pace_us = 200,
        };
}

static void node_start_as(struct cluster *c, unsigned node, void (*run)(const struct peer_job *))
{
    memset(&c->seen[node], 0, sizeof c->seen[node]);
    c->job[node].config.boot = boots++;
    fflush(NULL);
    c->pid[node] = fork();
    if (c->pid[node] == 0)
        run(&c->job[node]);
    CU_ASSERT_FATAL(c->pid[node] > 0);
}

static void node_start(struct cluster *c, unsigned node)
{
    node_start_as(c, node, peer_run);
}

static void node_kill(struct cluster *c, unsigned node)
{
    CU_ASSERT_EQUAL(kill(c->pid[node], SIGKILL), 0);
    int status = 0;
    CU_ASSERT_EQUAL(waitpid(c->pid[node], &status, 0), c->pid[node]);
    CU_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    c->pid[node] = 0;
}

/* The exit status of a node that ends by itself; negative if a signal ended it. */
static int node_wait(struct cluster *c, unsigned node)
{
    int status = 0;
    waitpid(c->pid[node], &status, 0);
    c->pid[node] = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static bool node_lives(struct cluster *c, unsigned node)
{
    return c->pid[node] > 0 && waitpid(c->pid[node], NULL, WNOHANG) == 0;
}

static void cluster_close(struct cluster *c)
{
    for (unsigned n = 0; n < PEER_NODES; n++)
        if (c->pid[n] > 0)
            node_kill(c, n);
    unlink(c->secret);
    CU_ASSERT_EQUAL(rmdir(c->dir), 0);
    munmap(c->seen, PEER_NODES * sizeof *c->seen);
}

/* Waits until *value is at least `least`; false after WAIT_NS. */
static bool reaches64(_Atomic uint64_t *value, uint64_t least)
{
    uint64_t deadline = peer_now() + WAIT_NS;
    while (atomic_load(value) < least && peer_now() < deadline)
        usleep(300);
    return atomic_load(value) >= least;
}

static bool reaches32(_Atomic uint32_t *value, uint32_t least)
{
    uint64_t deadline = peer_now() + WAIT_NS;
    while (atomic_load(value) < least && peer_now() < deadline)
        usleep(300);
    return atomic_load(value) >= least;
}

static bool hears(struct cluster *c, unsigned node, unsigned from, uint64_t more)
{
    _Atomic uint64_t *value = &c->seen[node].received[from];
    return reaches64(value, atomic_load(value) + more);
}

static void nothing_was_wrong(struct cluster *c, unsigned nodes)
{
    for (unsigned n = 0; n < nodes; n++) {
        CU_ASSERT_EQUAL(c->seen[n].bad, 0);
        CU_ASSERT_EQUAL(c->seen[n].misrouted, 0);
        CU_ASSERT_STRING_EQUAL(c->seen[n].why, "");
    }
}

static void all_hear_all(struct cluster *c, unsigned nodes, uint64_t more)
{
    for (unsigned n = 0; n < nodes; n++)
        for (unsigned from = 0; from < nodes; from++)
            if (from != n)
                CU_ASSERT_FATAL(hears(c, n, from, more));
}

static void frames_arrive_whole_at_the_worker_they_name(void)
{
    struct cluster c;
    cluster_open(&c, 3, 2);
    for (unsigned n = 0; n < 3; n++)
        node_start(&c, n);
    all_hear_all(&c, 3, 500);
    nothing_was_wrong(&c, 3);
    cluster_close(&c);
}

static void an_ordinary_user_needs_no_rights(void)
{
    struct cluster c;
    cluster_open(&c, 2, 1);
    CU_ASSERT_EQUAL(chmod(c.dir, 0777), 0);
    for (unsigned n = 0; n < 2; n++) {
        c.job[n].user = geteuid() == 0 ? 65534 : geteuid();
        node_start(&c, n);
    }
    all_hear_all(&c, 2, 200);
    nothing_was_wrong(&c, 2);
    cluster_close(&c);
}

static void survivors_go_on_while_a_peer_is_killed_again_and_again(void)
{
    struct cluster c;
    cluster_open(&c, 3, 1);
    srand48((long)tm_test_seed());
    for (unsigned n = 0; n < 3; n++)
        node_start(&c, n);
    all_hear_all(&c, 3, 50);
    for (int kill = 0; kill < KILLS; kill++) {
        unsigned x = (unsigned)(lrand48() % 3);
        unsigned a = (x + 1) % 3;
        unsigned b = (x + 2) % 3;
        uint32_t down[2] = {c.seen[a].down[x], c.seen[b].down[x]};
        uint32_t up[2] = {c.seen[a].up[x], c.seen[b].up[x]};
        usleep((useconds_t)(lrand48() % 3000));
        node_kill(&c, x);
        CU_ASSERT_FATAL(reaches32(&c.seen[a].down[x], down[0] + 1));
        CU_ASSERT_FATAL(reaches32(&c.seen[b].down[x], down[1] + 1));
        CU_ASSERT_FATAL(hears(&c, a, b, 20) && hears(&c, b, a, 20));
        CU_ASSERT_FATAL(node_lives(&c, a) && node_lives(&c, b));
        node_start(&c, x);
        CU_ASSERT_FATAL(reaches32(&c.seen[a].up[x], up[0] + 1));
        CU_ASSERT_FATAL(reaches32(&c.seen[b].up[x], up[1] + 1));
        CU_ASSERT_FATAL(hears(&c, a, x, 5) && hears(&c, b, x, 5) && hears(&c, x, a, 5));
    }
    nothing_was_wrong(&c, 3);
    cluster_close(&c);
}

/* A node that is stopped blocks nobody: senders get an answer, a third node goes on, a killed and
 * restarted client of the stopped node starts; and it is heard again when it continues. */
static void a_stopped_peer_blocks_nobody(void)
{
    struct cluster c;
    cluster_open(&c, 3, 1);
    for (unsigned n = 0; n < 3; n++)
        node_start(&c, n);
    all_hear_all(&c, 3, 50);
    kill(c.pid[0], SIGSTOP);
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_FATAL(hears(&c, 1, 2, 300) && hears(&c, 2, 1, 300));
        node_kill(&c, 2);
        node_start(&c, 2);
    }
    kill(c.pid[0], SIGCONT);
    all_hear_all(&c, 3, 50);
    nothing_was_wrong(&c, 3);
    cluster_close(&c);
}

static void doze(unsigned workers, uint64_t rounds, void (*run)(const struct peer_job *))
{
    struct cluster c;
    cluster_open(&c, 2, workers);
    node_start_as(&c, 0, run);
    node_start_as(&c, 1, run);
    CU_ASSERT(reaches64(&c.seen[0].received[1], rounds));
    CU_ASSERT_EQUAL(c.seen[0].late, 0);
    CU_ASSERT_EQUAL(c.seen[1].late, 0);
    nothing_was_wrong(&c, 2);
    cluster_close(&c);
}

static void a_frame_wakes_a_parked_worker(void)
{
    doze(1, 5000, peer_doze_run);
}

static void a_frame_wakes_the_worker_behind_the_ports_owner(void)
{
    doze(2, 2000, peer_doze_run);
}

/* The fabric as an actor of a worker: answers each frame with one, and sleeps in io_uring. */
struct dozer {
    struct peer_worker me;
    struct tm_watch watch;
    struct peer_doze doze;
};

static void dozer_ready(void *arg, uint32_t events)
{
    (void)arg;
    (void)events;
}

static enum tm_err dozer_start(void *self, struct tm_worker *worker, char *why, size_t why_len)
{
    struct dozer *d = self;
    const struct tm_fabric_sink sink = {.host = &d->me, .frame = peer_frame, .event = peer_event};
    snprintf(why, why_len, "no fabric");
    enum tm_err err = tm_fabric_dpdk_open(d->me.net, 0, &sink, NULL, &d->me.fabric);
    if (err == TM_OK)
        tm_worker_watch_fd(worker, &d->watch, tm_fabric_dpdk_fd(d->me.fabric), dozer_ready, d);
    return err;
}

static unsigned dozer_poll(void *self)
{
    struct dozer *d = self;
    const unsigned other = 1 - d->me.job->config.node;
    unsigned got = d->me.fabric->poll(d->me.fabric, 64);
    uint64_t received = d->me.job->seen->received[other];
    if ((d->me.up >> other & 1) != 0 && (!d->doze.served || received > d->doze.answered)) {
        d->doze.answered = received;
        d->doze.served = peer_send_one(&d->me, other, 100) == TM_OK;
    }
    return got;
}

static void dozer_flush(void *self)
{
    struct dozer *d = self;
    d->me.fabric->flush(d->me.fabric);
}

static bool dozer_park(void *self)
{
    struct dozer *d = self;
    return d->me.fabric->park(d->me.fabric);
}

static void dozer_unpark(void *self)
{
    struct dozer *d = self;
    d->me.fabric->unpark(d->me.fabric);
}

static const struct tm_actor_ops dozer_ops = {
    .name = "dozer",
    .phase = TM_PHASE_FABRIC,
    .start = dozer_start,
    .poll = dozer_poll,
    .flush = dozer_flush,
    .before_park = dozer_park,
    .after_park = dozer_unpark,
};

static void dozer_run(const struct peer_job *job)
{
    static struct dozer dozer;
    static struct tm_worker worker;
    const struct tm_worker_config config = {
        .cpu = -1, .idle = {.strategy = TM_IDLE_PARK, .cores = 1, .workers = 1}, .dir_fd = -1};
    dozer = (struct dozer){.me = {.job = job, .net = peer_start(job), .random = 7},
                           .doze.served = job->config.node != 0};
    if (tm_worker_init(&worker, &config) != TM_OK ||
        tm_worker_add(&worker, &dozer_ops, &dozer) != TM_OK || tm_worker_open(&worker) != TM_OK)
        _exit(3);
    for (;;) {
        uint64_t before = peer_now();
        if (tm_worker_step(&worker) == 0 && tm_worker_park(&worker, TM_SECONDS(30)) &&
            peer_now() - before >= TM_SECONDS(30))
            atomic_fetch_add(&job->seen->late, 1);
    }
}

static void a_frame_wakes_a_worker_that_sleeps_in_io_uring(void)
{
    doze(1, 5000, dozer_run);
}

/* In the node's process: the driver's code is this program's, and its listener is in our table. */
static void driver_run(const struct peer_job *job)
{
    struct peer_worker me = {.job = job, .net = peer_start(job)};
    struct tm_dpdk *net = me.net;
    const struct tm_fabric_sink sink = {.host = &me, .frame = peer_frame, .event = peer_event};
    Dl_info driver, self;
    if (tm_fabric_dpdk_open(net, 0, &sink, NULL, &me.fabric) != TM_OK)
        _exit(2);
    if (dladdr((void *)rte_eth_fp_ops[net->ports[0].id].rx_pkt_burst, &driver) == 0 ||
        dladdr((void *)driver_run, &self) == 0)
        _exit(3);
    bool inside = strcmp(driver.dli_fname, self.dli_fname) == 0;
    _exit(inside && net->ports[0].live == 1 ? 0 : 4);
}

static void the_drivers_symbols_are_inside_the_binary(void)
{
    struct cluster c;
    cluster_open(&c, 2, 1);
    node_start_as(&c, 0, driver_run);
    CU_ASSERT_EQUAL(node_wait(&c, 0), 0);
    cluster_close(&c);
}

/* Takes the pool's mbufs one by one until a send says FULL, gives them back, sends one frame, and
 * ends in order when the test says so. */
static void exhausted_run(const struct peer_job *job)
{
    struct peer_worker me = {.job = job, .net = peer_start(job), .random = 5};
    const struct tm_fabric_sink sink = {.host = &me, .frame = peer_frame, .event = peer_event};
    static struct rte_mbuf *taken[4096];
    unsigned count = 0;
    if (tm_fabric_dpdk_open(me.net, 0, &sink, NULL, &me.fabric) != TM_OK)
        _exit(3);
    if (peer_send_one(&me, 1, 50) != TM_ERR_CLOSED)
        _exit(4);
    while (me.up == 0)
        me.fabric->poll(me.fabric, 64);
    while (count < 4096 && (taken[count] = rte_pktmbuf_alloc(me.net->pool)) != NULL)
        count++;
    if (peer_send_one(&me, 1, 50) != TM_ERR_FULL)
        _exit(5);
    rte_pktmbuf_free_bulk(taken, count);
    if (peer_send_one(&me, 1, 50) != TM_OK)
        _exit(6);
    me.fabric->flush(me.fabric);
    while (atomic_load(&job->seen->ready) == 0)
        me.fabric->poll(me.fabric, 64);
    me.fabric->close(me.fabric);
    tm_dpdk_destroy(me.net);
    tm_eal_stop();
    _exit(0);
}

static void without_mbufs_a_send_is_refused(void)
{
    struct cluster c;
    cluster_open(&c, 2, 1);
    node_start(&c, 1);
    node_start_as(&c, 0, exhausted_run);
    CU_ASSERT(reaches64(&c.seen[1].received[0], 1));
    atomic_store(&c.seen[0].ready, 1); /* it may end now */
    CU_ASSERT_EQUAL(node_wait(&c, 0), 0);
    CU_ASSERT(reaches32(&c.seen[1].down[0], 1));
    CU_ASSERT_EQUAL(c.seen[1].received[0], 1);
    cluster_close(&c);
}

static void again_run(const struct peer_job *job)
{
    struct peer_worker me = {.job = job, .net = peer_start(job), .random = 5};
    const struct tm_fabric_sink sink = {.host = &me, .frame = peer_frame, .event = peer_event};
    for (int i = 0; i < 6; i++) {
        if (tm_fabric_dpdk_open(me.net, 0, &sink, NULL, &me.fabric) != TM_OK)
            _exit(3);
        while (me.up == 0)
            me.fabric->poll(me.fabric, 64);
        me.up = 0;
        me.fabric->close(me.fabric);
        tm_dpdk_destroy(me.net);
        if (tm_dpdk_create(&job->config, &me.net, job->seen->why, sizeof job->seen->why) != TM_OK)
            _exit(4);
    }
    _exit(0);
}

static void a_node_may_be_unmade_and_made_again(void)
{
    for (unsigned again = 0; again < 2; again++) {
        struct cluster c;
        cluster_open(&c, 2, 1);
        node_start(&c, 1 - again);
        node_start_as(&c, again, again_run);
        CU_ASSERT_EQUAL(node_wait(&c, again), 0);
        CU_ASSERT(reaches32(&c.seen[1 - again].down[again], 1));
        nothing_was_wrong(&c, 2);
        cluster_close(&c);
    }
}

static char other_domain[80];

/* Is node 0 of one domain and node 3 of another, and sends a frame in each. */
static void two_run(const struct peer_job *job)
{
    struct peer_job other = *job;
    struct peer_worker me[2] = {{.job = job, .net = peer_start(job)}, {.job = &other}};
    other.config.instance = 1;
    other.config.domain = other_domain;
    other.config.node = 3;
    other.config.peers = UINT64_C(1) << 2;
    other.config.mbufs = TM_DPDK_MBUFS_MIN;
    if (tm_dpdk_create(&other.config, &me[1].net, job->seen->why, sizeof job->seen->why) != TM_OK)
        _exit(2);
    for (unsigned i = 0; i < 2; i++) {
        const struct tm_fabric_sink sink = {
            .host = &me[i], .frame = peer_frame, .event = peer_event};
        if (tm_fabric_dpdk_open(me[i].net, 0, &sink, NULL, &me[i].fabric) != TM_OK)
            _exit(3);
    }
    while (me[0].up != UINT64_C(1) << 1 || me[1].up != UINT64_C(1) << 2)
        for (unsigned i = 0; i < 2; i++)
            me[i].fabric->poll(me[i].fabric, 64);
    for (unsigned i = 0; i < 2; i++) {
        if (peer_send_one(&me[i], 1 + i, 100) != TM_OK)
            _exit(4);
        me[i].fabric->flush(me[i].fabric);
    }
    while (!atomic_load(&job->seen->ready)) {
    }
    for (unsigned i = 0; i < 2; i++) {
        me[i].fabric->close(me[i].fabric);
        tm_dpdk_destroy(me[i].net);
    }
    _exit(0);
}

static void a_process_may_be_a_node_of_two_domains(void)
{
    struct cluster c;
    cluster_open(&c, 3, 1);
    snprintf(other_domain, sizeof other_domain, "%s-other", c.domain);
    c.job[0].config.peers = 3;
    c.job[0].config.mbufs = 4096; /* memory for both */
    c.job[1].config.peers = 3;
    c.job[2].config.domain = other_domain;
    c.job[2].config.peers = 12;
    node_start(&c, 1);
    node_start(&c, 2);
    node_start_as(&c, 0, two_run);
    CU_ASSERT(reaches64(&c.seen[1].received[0], 1));
    CU_ASSERT(reaches64(&c.seen[2].received[3], 1));
    CU_ASSERT_EQUAL(c.seen[1].received[3] + c.seen[2].received[0], 0);
    atomic_store(&c.seen[0].ready, 1);
    CU_ASSERT_EQUAL(node_wait(&c, 0), 0);
    cluster_close(&c);
}

static void two_processes_cannot_be_one_node(void)
{
    struct cluster c;
    cluster_open(&c, 2, 1);
    node_start(&c, 1);
    CU_ASSERT(reaches32(&c.seen[1].ready, 1));
    c.job[0].config.node = 1;
    node_start(&c, 0);
    CU_ASSERT_EQUAL(node_wait(&c, 0), 2);
    CU_ASSERT_STRING_EQUAL(c.seen[0].why, "dpdk: another process is this node: stop it first");
    cluster_close(&c);
}

static void a_secret_that_others_may_read_is_refused(void)
{
    struct cluster c;
    cluster_open(&c, 2, 1);
    int fd = open(c.secret, O_CREAT | O_WRONLY, 0644);
    CU_ASSERT_EQUAL(write(fd, "0123456789abcdef012345", 22), 22);
    close(fd);
    node_start(&c, 0);
    CU_ASSERT_EQUAL(node_wait(&c, 0), 2);
    CU_ASSERT_PTR_NOT_NULL(strstr(c.seen[0].why, "chmod 600"));
    cluster_close(&c);
}

static void nodes_with_different_secrets_do_not_meet(void)
{
    struct cluster c;
    char other[128];
    cluster_open(&c, 3, 1);
    snprintf(other, sizeof other, "%s/other", c.dir);
    c.job[1].config.secret_path = other;
    for (unsigned n = 0; n < 3; n++)
        node_start(&c, n);
    CU_ASSERT(hears(&c, 0, 2, 500) && hears(&c, 2, 0, 500));
    CU_ASSERT_EQUAL(c.seen[1].ready, 1);
    CU_ASSERT_EQUAL(c.seen[0].up[1] + c.seen[2].up[1], 0);
    CU_ASSERT_EQUAL(c.seen[1].up[0] + c.seen[1].up[2], 0);
    node_kill(&c, 1); /* it would put its own back */
    unlink(other);
    cluster_close(&c);
}

static void read_secret(const struct cluster *c, char *text, size_t size)
{
    int fd = open(c->secret, O_RDONLY);
    ssize_t n = fd >= 0 ? read(fd, text, size - 1) : 0;
    text[n > 0 ? n : 0] = '\0';
    if (fd >= 0)
        close(fd);
}

/* As systemd does it when a user logs out. */
static void a_deleted_secret_is_put_back_by_those_that_run(void)
{
    struct cluster c;
    char before[64], after[64] = "";
    cluster_open(&c, 3, 1);
    for (unsigned n = 0; n < 3; n++)
        node_start(&c, n);
    all_hear_all(&c, 3, 50);
    read_secret(&c, before, sizeof before);
    CU_ASSERT(strlen(before) > 0);
    for (unsigned keeper = 0; keeper < 3; keeper++) { /* whoever it is: it dies, too */
        node_kill(&c, keeper);
        usleep(200 * 1000);
        CU_ASSERT_EQUAL(unlink(c.secret), 0);
        uint32_t up = c.seen[(keeper + 1) % 3].up[keeper];
        node_start(&c, keeper); /* at once: it makes no secret of its own */
        CU_ASSERT_FATAL(reaches32(&c.seen[(keeper + 1) % 3].up[keeper], up + 1));
        all_hear_all(&c, 3, 20);
        read_secret(&c, after, sizeof after);
        CU_ASSERT_STRING_EQUAL(after, before);
    }
    nothing_was_wrong(&c, 3);
    cluster_close(&c);
}

/* Connects to the name at which node 0 waits for node 1, as another user. */
static pid_t stranger_start(const struct cluster *c)
{
    char name[96];
    snprintf(name, sizeof name, "@tm-%u-%016llx-0-1-side", (unsigned)geteuid(),
             (unsigned long long)tm_hash64(c->domain, strlen(c->domain), 0));
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    if (setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0)
        _exit(1);
    unsigned connected = 0;
    for (unsigned tries = 0; tries < 10; tries++) {
        int fd = tm_unix_connect(name);
        connected += fd >= 0;
        usleep(20 * 1000);
        close(fd);
    }
    _exit(connected > 0 ? 0 : 2);
}

static void another_users_connection_parts_nobody(void)
{
    struct cluster c;
    int status = -1;
    if (geteuid() != 0) {
        tm_test_skip("only root can be two users");
        return;
    }
    cluster_open(&c, 2, 1);
    for (unsigned n = 0; n < 2; n++)
        node_start(&c, n);
    all_hear_all(&c, 2, 50);
    pid_t pid = stranger_start(&c);
    CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
    CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    all_hear_all(&c, 2, 50);
    CU_ASSERT_EQUAL(c.seen[0].down[1] + c.seen[1].down[0], 0);
    nothing_was_wrong(&c, 2);
    cluster_close(&c);
}

static void a_missing_driver_is_one_clear_line(void)
{
    struct cluster c;
    cluster_open(&c, 2, 1);
    c.job[0].config.port = "net_nonsense0,iface=lo";
    node_start(&c, 0);
    CU_ASSERT_EQUAL(node_wait(&c, 0), 2);
    CU_ASSERT_PTR_NOT_NULL(strstr(c.seen[0].why, "--fabric-port net_nonsense0,iface=lo: no such"));
    CU_ASSERT_PTR_NULL(strchr(c.seen[0].why, '\n'));
    cluster_close(&c);
}

static const struct tm_test tests[] = {
    TM_TEST(the_drivers_symbols_are_inside_the_binary),
    TM_TEST(frames_arrive_whole_at_the_worker_they_name),
    TM_TEST(an_ordinary_user_needs_no_rights),
    TM_TEST(a_frame_wakes_a_parked_worker),
    TM_TEST(a_frame_wakes_the_worker_behind_the_ports_owner),
    TM_TEST(a_frame_wakes_a_worker_that_sleeps_in_io_uring),
    TM_TEST(a_stopped_peer_blocks_nobody),
    TM_TEST(a_node_may_be_unmade_and_made_again),
    TM_TEST(without_mbufs_a_send_is_refused),
    TM_TEST(two_processes_cannot_be_one_node),
    TM_TEST(a_process_may_be_a_node_of_two_domains),
    TM_TEST(a_secret_that_others_may_read_is_refused),
    TM_TEST(nodes_with_different_secrets_do_not_meet),
    TM_TEST(a_deleted_secret_is_put_back_by_those_that_run),
    TM_TEST(another_users_connection_parts_nobody),
    TM_TEST(a_missing_driver_is_one_clear_line),
    TM_TEST(survivors_go_on_while_a_peer_is_killed_again_and_again),
};
TM_TEST_MAIN("net/fabric_dpdk", tests)
