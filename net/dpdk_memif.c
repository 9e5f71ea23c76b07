/* Two nodes of one machine, the lower-numbered one serving:
 *
 *   1. the higher node connects a unix socket ("side"); both send a hello with their shared words
 *      and the eventfd of the worker that owns the port: from then on each can wake the other,
 *      and the end of that connection is the end of the peer
 *   2. only then the higher node starts its memif port, which connects to the lower one's
 *      listener; a peer that does not run (SIGSTOP) never gets that far, for the driver's
 *      connect() would block
 *   3. the higher node says so over the side when its link is up, for at that moment it resets the
 *      rings, which loses what was sent before, and offers its buffers, without which the lower
 *      one cannot send
 *   4. side linked, link up, and that said: the peer is up
 *
 * When the peer dies, side and control socket both end.  The driver unmaps in its callback, which
 * runs in this worker's pollset; the higher node stops its port once the driver has unregistered
 * the control socket, never before, and begins again at 1. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "net/dpdk_internal.h"
#include "runtime/clock.h"
#include "net/fdpass.h"

#define HELLO_MAGIC   UINT32_C(0x646d6974) /* "timd" */
#define HELLO_VERSION 1
#define RING_LOG2     "9" /* 512 frames each way */
#define NAME_WAIT_NS  TM_SECONDS(2)
#define NAME_RETRY_NS TM_MS(10)
#define VDEV_TRIES    3

struct hello {
    uint32_t magic;
    uint32_t version;
    uint64_t domain;
    uint32_t node;
    uint32_t worker; /* that owns the port */
    char secret[TM_DPDK_SECRET_MAX];
};
TM_STATIC_ASSERT(sizeof(struct hello) == 48, "what two nodes send each other");

/* ---- names ---- */

/* "tm-<uid>-<hash>-<a>-<b>": no path of a user, which might hold a comma, gets into --vdev. */
static void name_of_pair(const struct tm_dpdk *net, const struct tm_dpdk_peer *peer, char *name,
                         size_t size)
{
    unsigned a = net->wire.self.node;
    unsigned b = peer->station.node;
    snprintf(name, size, "tm-%u-%016llx-%u-%u", (unsigned)geteuid(),
             (unsigned long long)net->domain_hash, a < b ? a : b, a < b ? b : a);
}

static void name_of_side(const struct tm_dpdk *net, const struct tm_dpdk_peer *peer, char *name,
                         size_t size)
{
    char pair[64];
    name_of_pair(net, peer, pair, sizeof pair);
    snprintf(name, size, "@%s-side", pair);
}

static void name_of_node(const struct tm_dpdk *net, char *name, size_t size)
{
    snprintf(name, size, "@tm-%u-%016llx-%u", (unsigned)geteuid(),
             (unsigned long long)net->domain_hash, net->wire.self.node);
}

static void sleep_ns(uint64_t ns)
{
    struct timespec ts = {.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
    nanosleep(&ts, NULL);
}

/* Listens on name, waiting while a predecessor that was killed still frees its memory. */
static int listen_patiently(const char *name, int backlog)
{
    uint64_t deadline = tm_clock_ns() + NAME_WAIT_NS;
    for (;;) {
        int fd = tm_unix_listen(name, backlog);
        if (fd != -EADDRINUSE || tm_clock_ns() > deadline)
            return fd;
        sleep_ns(NAME_RETRY_NS);
    }
}

/* ---- side ---- */

static void side_drop(struct tm_dpdk_peer *peer)
{
    struct tm_dpdk_side *side = &peer->side;
    if (side->fd < 0)
        return;
    tm_dpdk_peer_set(peer->end, peer, false);
    tm_pollset_remove(&peer->end->set, side->slot);
    close(side->fd);
    side->fd = -1;
    if (side->linked) {
        munmap(side->words, TM_DPDK_WORDS_BYTES);
        close(side->bell.fd);
    }
    side->linked = false;
    side->ready = false;
    side->bell = (struct tm_doorbell){.word = NULL, .fd = -1};
}

static bool side_hello_send(struct tm_dpdk_peer *peer)
{
    struct tm_dpdk *net = peer->end->net;
    unsigned worker = peer->port->owner;
    struct hello hello = {
        .magic = HELLO_MAGIC,
        .version = HELLO_VERSION,
        .domain = net->domain_hash,
        .node = net->wire.self.node,
        .worker = worker,
    };
    const int fds[2] = {net->words_fd, net->bells[worker].fd};
    memcpy(hello.secret, net->secret, sizeof hello.secret);
    return tm_fdpass_send(peer->side.fd, &hello, sizeof hello, fds, 2) == (int64_t)sizeof hello;
}

static bool hello_fits(const struct tm_dpdk_peer *peer, const struct hello *hello)
{
    const struct tm_dpdk *net = peer->end->net;
    return hello->magic == HELLO_MAGIC && hello->version == HELLO_VERSION &&
           hello->domain == net->domain_hash && hello->node == peer->station.node &&
           hello->worker < TM_WORKERS_MAX &&
           memcmp(hello->secret, net->secret, sizeof hello->secret) == 0;
}

/* Words that can never shrink under this process, or NULL. */
static struct tm_doorbell_word *words_map(int fd)
{
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & F_SEAL_SHRINK) == 0)
        return NULL;
    if (fstat(fd, &st) != 0 || st.st_size < (off_t)TM_DPDK_WORDS_BYTES)
        return NULL;
    void *words = mmap(NULL, TM_DPDK_WORDS_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return words == MAP_FAILED ? NULL : words;
}

/* Takes the peer's bell; both descriptors are consumed, whatever comes of it. */
static bool side_link(struct tm_dpdk_peer *peer, const struct hello *hello, const int fds[2])
{
    struct tm_doorbell_word *words = hello_fits(peer, hello) ? words_map(fds[0]) : NULL;
    close(fds[0]);
    if (words == NULL) {
        close(fds[1]);
        return false;
    }
    peer->side.words = words;
    peer->side.bell = (struct tm_doorbell){.word = &words[hello->worker], .fd = fds[1]};
    peer->side.linked = true;
    peer->next_try = 0;
    return true;
}

static void side_refuse(struct tm_dpdk_peer *peer)
{
    if (!peer->refused_logged)
        tm_dpdk_log(peer->end->net, TM_LOG_WARN, "peer_refused",
                    "peer=%u reason=\"its hello does not fit: another secret or version\"",
                    peer->station.node);
    peer->refused_logged = true;
    side_drop(peer);
}

static void side_ready(void *arg)
{
    struct tm_dpdk_peer *peer = arg;
    struct hello hello;
    int fds[2] = {-1, -1};
    unsigned count = 0;
    int64_t got = tm_fdpass_recv(peer->side.fd, &hello, sizeof hello, fds, 2, &count);
    if (got == -EAGAIN)
        return;
    if (got == (int64_t)sizeof hello && count == 2 && !peer->side.linked) {
        if (!side_link(peer, &hello, fds))
            side_refuse(peer);
        return;
    }
    for (unsigned i = 0; got > 0 && i < count; i++)
        close(fds[i]);
    if (got == 1 && count == 0 && peer->side.linked)
        peer->side.ready = true;
    else if (got > 0)
        side_refuse(peer);
    else
        side_drop(peer);
}

/* Takes fd as the connection to the peer, in place of an older one: the newest process counts.  A
 * stranger's, of another user, changes nothing. */
static void side_take(struct tm_dpdk_peer *peer, int fd)
{
    if (tm_unix_peer_uid(fd) != (int64_t)geteuid()) {
        close(fd);
        return;
    }
    side_drop(peer);
    peer->side.slot = tm_pollset_add(&peer->end->set, fd, side_ready, peer);
    if (peer->side.slot < 0) {
        close(fd);
        return;
    }
    peer->side.fd = fd;
    if (!side_hello_send(peer))
        side_drop(peer);
}

static void side_accept(void *arg)
{
    struct tm_dpdk_peer *peer = arg;
    int fd;
    while ((fd = tm_unix_accept(peer->side.listen_fd)) >= 0)
        side_take(peer, fd);
}

static void side_connect(struct tm_dpdk_peer *peer)
{
    char name[80];
    name_of_side(peer->end->net, peer, name, sizeof name);
    int fd = tm_unix_connect(name);
    if (fd >= 0)
        side_take(peer, fd);
}

/* ---- the pair's state ---- */

static void client_tick(struct tm_dpdk_peer *peer, uint64_t now)
{
    struct tm_dpdk_port *port = peer->port;
    if (port->started && port->live == 0)
        tm_dpdk_port_stop(port);
    if (now < peer->next_try)
        return;
    if (peer->side.fd < 0)
        side_connect(peer);
    else if (peer->side.linked && !port->started)
        tm_dpdk_port_start(port);
    peer->next_try = now + TM_DPDK_TIMER_NS;
}

/* Takes over the state of the link. */
static void link_tick(struct tm_dpdk_end *end, struct tm_dpdk_peer *peer)
{
    struct tm_dpdk_side *side = &peer->side;
    bool link = side->linked && peer->port->started && tm_dpdk_port_link_up(peer->port);
    if (!link)
        side->ready = false;
    if (link && !side->ready && !tm_dpdk_is_server(end->net, peer)) {
        tm_dpdk_port_prime(peer->port);
        side->ready = send(side->fd, "", 1, MSG_NOSIGNAL) == 1;
    }
    tm_dpdk_peer_set(end, peer, link && side->ready);
}

/* How soon a connecting node has to try again: 0 if its peer is there. */
static uint64_t retry_period(const struct tm_dpdk *net, const struct tm_dpdk_peer *peer,
                             uint64_t now)
{
    if (tm_dpdk_peer_is_up(peer) || tm_dpdk_is_server(net, peer))
        return 0;
    return now - peer->down_since > TM_DPDK_SLOW_AFTER ? TM_DPDK_SLOW_NS : TM_DPDK_TIMER_NS;
}

static uint64_t shorter(uint64_t a, uint64_t b)
{
    return b != 0 && (a == 0 || b < a) ? b : a;
}

void tm_dpdk_memif_tick(struct tm_dpdk_end *end, uint64_t now)
{
    struct tm_dpdk *net = end->net;
    uint64_t period = 0;
    for (unsigned n = 0; n < TM_NODES_MAX; n++) {
        struct tm_dpdk_peer *peer = &net->peers[n];
        if (!peer->present || peer->end != end)
            continue;
        if (!tm_dpdk_is_server(net, peer)) {
            tm_memif_control_use(&end->control, &peer->port->live);
            client_tick(peer, now);
            tm_memif_control_use(NULL, NULL);
        }
        link_tick(end, peer);
        period = shorter(period, retry_period(net, peer, now));
    }
    tm_dpdk_timer_set(end, period);
}

/* ---- making and unmaking ---- */

static enum tm_err refuse(enum tm_err err, const char *what, char *why, size_t size)
{
    snprintf(why, size, "dpdk: %s", what);
    return err;
}

static enum tm_err lock_take(struct tm_dpdk *net, char *why, size_t size)
{
    char name[80];
    name_of_node(net, name, sizeof name);
    net->lock_fd = listen_patiently(name, 1);
    if (net->lock_fd >= 0)
        return TM_OK;
    if (net->lock_fd == -EADDRINUSE)
        return refuse(TM_ERR_LOCKED, "another process is this node: stop it first", why, size);
    return refuse(tm_err_from_errno(-net->lock_fd), strerror(-net->lock_fd), why, size);
}

/* The driver binds a server's name when the device is made.  A device that could not is lost, so
 * each attempt has a name of its own. */
static enum tm_err vdev_create(struct tm_dpdk *net, struct tm_dpdk_peer *peer)
{
    char socket[64];
    char args[256];
    char name[32];
    enum tm_err err = TM_ERR_UNSUPPORTED;
    bool server = tm_dpdk_is_server(net, peer);
    name_of_pair(net, peer, socket, sizeof socket);
    snprintf(args, sizeof args,
             "role=%s,socket=%s,socket-abstract=yes,bsize=%d,rsize=" RING_LOG2 ",secret=%s",
             server ? "server" : "client", socket, TM_DPDK_ROOM, net->secret);
    for (int i = 0; i < VDEV_TRIES && err != TM_OK; i++) {
        snprintf(name, sizeof name, "net_memif%u",
                 (net->config.instance * TM_NODES_MAX + peer->station.node) * 4u + (unsigned)i);
        err = tm_dpdk_port_create(peer->port, name, args);
        if (err != TM_OK)
            sleep_ns(TM_MS(20));
    }
    return err;
}

static void peer_init(struct tm_dpdk *net, unsigned node)
{
    struct tm_dpdk_peer *peer = &net->peers[node];
    unsigned index = net->port_count++;
    peer->port = &net->ports[index];
    peer->port->owner = index % net->config.workers;
    peer->end = net->ends[peer->port->owner];
    /* Addresses that nobody sees: the frame is the same as on a real wire. */
    peer->station = (struct tm_dpdk_station){.ip = UINT32_C(0x0aff0000) + node + 1,
                                             .mac = {2, 't', 'm', 0, 0, (uint8_t)node},
                                             .node = (uint8_t)node};
    tm_dpdk_head_init(peer->head, &net->wire, &peer->station);
    peer->present = true;
}

static enum tm_err peer_create(struct tm_dpdk *net, struct tm_dpdk_peer *peer, char *why,
                               size_t size)
{
    tm_memif_control_use(&peer->end->control, &peer->port->live);
    enum tm_err err = vdev_create(net, peer);
    if (err == TM_OK)
        err = tm_dpdk_port_configure(net, peer->port);
    tm_memif_control_use(NULL, NULL);
    if (err != TM_OK)
        return refuse(err, "the memif driver makes no port (see the log): use --fabric tcp", why,
                      size);
    if (!tm_dpdk_is_server(net, peer))
        return TM_OK;
    char name[80];
    name_of_side(net, peer, name, sizeof name);
    peer->side.listen_fd = listen_patiently(name, 16);
    if (peer->side.listen_fd < 0)
        return refuse(tm_err_from_errno(-peer->side.listen_fd), strerror(-peer->side.listen_fd),
                      why, size);
    peer->side.listen_slot =
        tm_pollset_add(&peer->end->set, peer->side.listen_fd, side_accept, peer);
    return peer->side.listen_slot >= 0 ? TM_OK
                                       : refuse(TM_ERR_NOMEM, "too many descriptors", why, size);
}

enum tm_err tm_dpdk_memif_create(struct tm_dpdk *net, char *why, size_t size)
{
    net->max_frame = TM_DPDK_ROOM - TM_DPDK_HEAD_BYTES;
    net->wire.self.ip = UINT32_C(0x0aff0000) + net->wire.self.node + 1;
    enum tm_err err = tm_dpdk_secret_get(net->config.secret_path, net->secret, why, size);
    if (err == TM_OK)
        err = lock_take(net, why, size);
    for (unsigned n = 0; err == TM_OK && n < TM_NODES_MAX; n++) {
        if ((net->config.peers >> n & 1) == 0)
            continue;
        peer_init(net, n);
        err = peer_create(net, &net->peers[n], why, size);
    }
    return err;
}

void tm_dpdk_memif_destroy(struct tm_dpdk *net)
{
    for (unsigned p = 0; p < net->port_count; p++)
        tm_dpdk_port_destroy(&net->ports[p]);
    for (unsigned w = 0; w < net->config.workers && net->ends[w] != NULL; w++)
        tm_memif_control_close(&net->ends[w]->control);
    for (unsigned n = 0; n < TM_NODES_MAX; n++)
        if (net->peers[n].side.listen_fd >= 0)
            close(net->peers[n].side.listen_fd);
    if (net->lock_fd >= 0)
        close(net->lock_fd);
}

enum tm_err tm_dpdk_memif_open(struct tm_dpdk_end *end)
{
    struct tm_dpdk *net = end->net;
    enum tm_err err = TM_OK;
    for (unsigned n = 0; err == TM_OK && n < TM_NODES_MAX; n++) {
        struct tm_dpdk_peer *peer = &net->peers[n];
        if (!peer->present || peer->end != end)
            continue;
        peer->down_since = tm_clock_ns();
        if (tm_dpdk_is_server(net, peer))
            err = tm_dpdk_port_start(peer->port);
    }
    return err;
}

void tm_dpdk_memif_close(struct tm_dpdk_end *end)
{
    for (unsigned n = 0; n < TM_NODES_MAX; n++) {
        struct tm_dpdk_peer *peer = &end->net->peers[n];
        if (!peer->present || peer->end != end)
            continue;
        side_drop(peer);
        tm_memif_control_use(&end->control, &peer->port->live);
        if (peer->port->started)
            tm_dpdk_port_stop(peer->port);
        tm_memif_control_use(NULL, NULL);
    }
}
