/* The tcp fabric over loopback: nodes are workers of this process, stepped in turn. */
#include "net/fabric_tcp.h"
#include "net/channel.h"
#include "net/socket.h"
#include "test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <time.h>
#include <unistd.h>

#define CLUSTER  0x7465737463ull /* "ctset" */
#define NODES    3
#define PATIENCE TM_SECONDS(60)

struct frame {
    unsigned node, worker;
    size_t len;
    uint64_t first; /* 8 bytes, as far as there are */
    bool intact;
};

struct node {
    unsigned number, worker;
    struct tm_addr addr;
    struct tm_worker w;
    struct tm_fabric *fabric;
    bool running;
    unsigned ups, downs;
    unsigned last_event_node;
    struct frame frames[4096];
    size_t count;
    /* With channels: one to each other node. */
    struct tm_channel *channels[NODES + 1]; /* by node */
    uint64_t messages[NODES + 1], resets[NODES + 1];
};

static struct tm_fabric_tcp_peer peers[TM_NODES_MAX];

static uint64_t clock_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * TM_SECONDS(1) + (uint64_t)ts.tv_nsec;
}

static uint8_t byte_at(uint64_t first, size_t i)
{
    return (uint8_t)(first * 31 + i * 7);
}

static void take_frame(void *host, unsigned node, unsigned worker, uint8_t *data, size_t len)
{
    struct node *n = host;
    if (n->channels[node] != NULL) {
        tm_channel_input(n->channels[node], data, len, tm_ctx_now(&n->w.ctx));
        return;
    }
    struct frame f = {.node = node, .worker = worker, .len = len, .intact = true};
    memcpy(&f.first, data, len < 8 ? len : 8);
    for (size_t i = 8; i < len; i++)
        f.intact &= data[i] == byte_at(f.first, i);
    TM_ASSERT(n->count < TM_ARRAY_LEN(n->frames));
    n->frames[n->count++] = f;
    memset(data, 0xee, len); /* it may be changed in place */
}

static void take_event(void *host, unsigned node, enum tm_fabric_event event)
{
    struct node *n = host;
    bool up = event == TM_FABRIC_PEER_UP;
    n->ups += up;
    n->downs += !up;
    n->last_event_node = node;
    if (n->channels[node] == NULL)
        return;
    if (up)
        tm_channel_peer_up(n->channels[node], tm_ctx_now(&n->w.ctx));
    else
        tm_channel_peer_down(n->channels[node], tm_ctx_now(&n->w.ctx));
}

/* Binds a port of its own for (node, worker); returns the descriptor. */
static int reserve(struct node *n, unsigned number, unsigned worker)
{
    memset(n, 0, sizeof *n);
    n->number = number;
    n->worker = worker;
    TM_ASSERT(tm_addr_parse(&n->addr, "127.0.0.1:0") == TM_OK);
    int fd = tm_socket_bind(&n->addr, false, 16);
    TM_ASSERT(fd >= 0);
    peers[number].addr = n->addr;
    peers[number].port[worker] = tm_addr_port(&n->addr);
    if (peers[number].workers <= worker)
        peers[number].workers = worker + 1;
    return fd;
}

static void boot_as(struct node *n, int fd, uint64_t cluster)
{
    struct tm_worker_config wc = {.cpu = -1, .dir_fd = -1, .sq_entries = 64};
    struct tm_fabric_tcp_config fc = {.cluster = cluster,
                                      .node = n->number,
                                      .worker = n->worker,
                                      .listen_fd = fd,
                                      .output_limit = 128 << 10,
                                      .buffer_group = 3,
                                      .peers = peers};
    struct tm_fabric_sink sink = {n, take_frame, take_event};
    TM_ASSERT(tm_worker_init(&n->w, &wc) == TM_OK);
    TM_ASSERT(tm_fabric_tcp_new(&fc, &n->w, &sink, &n->fabric) == TM_OK);
    TM_ASSERT(tm_worker_open(&n->w) == TM_OK);
    n->running = true;
}

static void boot(struct node *n, int fd)
{
    boot_as(n, fd, CLUSTER);
}

static void shut(struct node *n)
{
    tm_worker_close(&n->w);
    n->fabric->close(n->fabric);
    tm_worker_fini(&n->w);
    n->running = false;
}

static struct node *new_nodes(unsigned count)
{
    struct node *all = calloc(count, sizeof *all);
    int fd[NODES];
    TM_ASSERT(all != NULL && count <= NODES);
    memset(peers, 0, sizeof peers);
    for (unsigned i = 0; i < count; i++)
        fd[i] = reserve(&all[i], i + 1, 0);
    for (unsigned i = 0; i < count; i++)
        boot(&all[i], fd[i]);
    return all;
}

static void free_nodes(struct node *all, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (all[i].running)
            shut(&all[i]);
        for (unsigned k = 0; k <= NODES; k++)
            tm_channel_free(all[i].channels[k]);
    }
    free(all);
}

static void step(struct node *n)
{
    if (!n->running)
        return;
    tm_worker_step(&n->w);
    for (unsigned k = 0; k <= NODES; k++)
        if (n->channels[k] != NULL)
            tm_channel_flush(n->channels[k], tm_ctx_now(&n->w.ctx));
    n->fabric->flush(n->fabric);
    tm_uring_submit(&n->w.uring);
}

/* Steps all nodes until the expression holds; it is an assertion that it comes to hold. */
#define UNTIL(all, count, expr)                                                                    \
    do {                                                                                           \
        uint64_t until_ = clock_now() + PATIENCE;                                                  \
        bool holds_ = (expr);                                                                      \
        while (!holds_ && clock_now() < until_) {                                                  \
            for (unsigned i_ = 0; i_ < (count); i_++)                                              \
                step(&(all)[i_]);                                                                  \
            holds_ = (expr);                                                                       \
        }                                                                                          \
        CU_ASSERT_FATAL(holds_ &&#expr);                                                           \
    } while (0)

static void step_for(struct node *all, unsigned count, uint64_t ns)
{
    for (uint64_t until = clock_now() + ns; clock_now() < until;)
        for (unsigned i = 0; i < count; i++)
            step(&all[i]);
}

static enum tm_err send_to(struct node *from, const struct node *to, uint64_t first, size_t len)
{
    static uint8_t bytes[TM_FABRIC_TCP_FRAME];
    for (size_t i = 8; i < len; i++)
        bytes[i] = byte_at(first, i);
    memcpy(bytes, &first, len < 8 ? len : 8);
    struct tm_bytes pieces[3] = {tm_bytes_of(bytes, len / 3), tm_bytes_of(NULL, 0),
                                 tm_bytes_of(bytes + len / 3, len - len / 3)};
    return from->fabric->send(from->fabric, to->number, to->worker, pieces, 3);
}

static void link_up(struct node *all)
{
    CU_ASSERT_EQUAL(send_to(&all[0], &all[1], 1, 10), TM_ERR_CLOSED);
    UNTIL(all, 2, all[0].ups == 1 && all[1].ups == 1);
    CU_ASSERT_EQUAL(all[0].last_event_node, 2);
    CU_ASSERT_EQUAL(all[1].last_event_node, 1);
}

static uint64_t count_of(const struct node *n, enum tm_counter which)
{
    return tm_counter_get(n->w.ctx.counters, which);
}

static void the_lower_number_connects_at_its_first_frame(void)
{
    struct node *all = new_nodes(2);
    CU_ASSERT_EQUAL(send_to(&all[1], &all[0], 1, 10), TM_ERR_CLOSED);
    step_for(all, 2, TM_MS(20));
    CU_ASSERT_EQUAL(all[0].ups + all[1].ups, 0);
    CU_ASSERT_EQUAL(count_of(&all[1], TM_COUNTER_tcp_frames_dropped), 1);
    link_up(all);
    CU_ASSERT_EQUAL(all[0].count + all[1].count, 0); /* the frame that was answered CLOSED */
    CU_ASSERT_EQUAL(send_to(&all[1], &all[0], 1, 10), TM_OK);
    UNTIL(all, 2, all[0].count == 1);
    CU_ASSERT_EQUAL(count_of(&all[0], TM_COUNTER_peer_ups), 1);
    free_nodes(all, 2);
}

static void frames_of_all_sizes_arrive_whole(void)
{
    static const size_t sizes[] = {1, 2, 7, 8, 9, 1400, 4096, 32767, 32768, 3, 20000, 1};
    struct node *all = new_nodes(2);
    uint64_t bytes = 0;
    link_up(all);
    for (size_t i = 0; i < 10 * TM_ARRAY_LEN(sizes); i++) {
        size_t len = sizes[i % TM_ARRAY_LEN(sizes)];
        bytes += len;
        UNTIL(all, 2, send_to(&all[0], &all[1], i, len) == TM_OK);
        UNTIL(all, 2, send_to(&all[1], &all[0], i, len) == TM_OK);
    }
    UNTIL(all, 2, all[0].count == 120 && all[1].count == 120);
    for (size_t i = 0; i < 240; i++) {
        struct frame *f = &all[i / 120].frames[i % 120];
        CU_ASSERT_EQUAL(f->len, sizes[i % 120 % TM_ARRAY_LEN(sizes)]);
        CU_ASSERT(f->len < 8 || f->first == i % 120);
        CU_ASSERT(f->intact);
        CU_ASSERT_EQUAL(f->node, 2 - i / 120);
        CU_ASSERT_EQUAL(f->worker, 0);
    }
    CU_ASSERT_EQUAL(count_of(&all[0], TM_COUNTER_tcp_frames_sent), 120);
    CU_ASSERT_EQUAL(count_of(&all[1], TM_COUNTER_tcp_frames_received), 120);
    CU_ASSERT_EQUAL(count_of(&all[0], TM_COUNTER_tcp_bytes_sent), bytes);
    CU_ASSERT_EQUAL(count_of(&all[1], TM_COUNTER_tcp_bytes_received), bytes);
    free_nodes(all, 2);
}

static void a_full_connection_says_so_and_loses_nothing_it_took(void)
{
    struct node *all = new_nodes(2);
    uint64_t taken = 0;
    enum tm_err err = TM_OK;
    link_up(all);
    while (err == TM_OK && taken < 4000) { /* node 2 does not run meanwhile */
        err = send_to(&all[0], &all[1], taken, 20000);
        taken += err == TM_OK;
        if (err == TM_ERR_FULL) {
            for (int i = 0; i < 50 && err == TM_ERR_FULL; i++) {
                step(&all[0]);
                err = send_to(&all[0], &all[1], taken, 20000);
                taken += err == TM_OK;
            }
        }
    }
    CU_ASSERT_EQUAL(err, TM_ERR_FULL);
    CU_ASSERT(taken >= 6);
    UNTIL(all, 2, all[1].count == taken);
    for (size_t i = 0; i < all[1].count; i++)
        CU_ASSERT(all[1].frames[i].first == i && all[1].frames[i].intact);
    CU_ASSERT_EQUAL(send_to(&all[0], &all[1], taken, 20000), TM_OK);
    UNTIL(all, 2, all[1].count == taken + 1);
    free_nodes(all, 2);
}

static int bind_again(struct node *n)
{
    int fd = -1;
    for (int i = 0; i < 6000 && fd < 0; i++) {
        fd = tm_socket_bind(&n->addr, false, 16);
        if (fd < 0)
            usleep(5000);
    }
    TM_ASSERT(fd >= 0);
    return fd;
}

static void a_dead_node_is_down_at_once_and_up_when_it_returns(void)
{
    struct node *all = new_nodes(3);
    link_up(all);
    send_to(&all[0], &all[2], 1, 10);
    UNTIL(all, 3, all[0].ups == 2 && all[2].ups == 1);
    shut(&all[1]);
    UNTIL(all, 3, all[0].downs == 1);
    CU_ASSERT_EQUAL(all[0].last_event_node, 2);
    CU_ASSERT_EQUAL(send_to(&all[0], &all[1], 1, 10), TM_ERR_CLOSED);
    CU_ASSERT_EQUAL(all[2].downs, 0);
    boot(&all[1], bind_again(&all[1]));
    UNTIL(all, 3, all[0].ups == 3 && all[1].ups == 2);
    CU_ASSERT_EQUAL(send_to(&all[0], &all[1], 5, 10), TM_OK);
    CU_ASSERT_EQUAL(send_to(&all[1], &all[0], 6, 10), TM_OK);
    UNTIL(all, 3, all[0].count == 1 && all[1].count == 1);
    /* And the other way: the one that connects dies. */
    shut(&all[0]);
    UNTIL(all, 3, all[1].downs == 1 && all[2].downs == 1);
    free_nodes(all, 3);
}

static void each_worker_has_its_own_connection(void)
{
    struct node *all = calloc(3, sizeof *all);
    int fd[3];
    memset(peers, 0, sizeof peers);
    fd[0] = reserve(&all[0], 1, 0); /* node 1 has two workers, node 2 has one */
    fd[1] = reserve(&all[1], 1, 1);
    fd[2] = reserve(&all[2], 2, 0);
    for (unsigned i = 0; i < 3; i++)
        boot(&all[i], fd[i]);
    send_to(&all[0], &all[2], 1, 10);
    send_to(&all[1], &all[2], 1, 10);
    UNTIL(all, 3, all[2].ups == 2 && all[0].ups == 1 && all[1].ups == 1);
    for (unsigned i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(send_to(&all[i], &all[2], 100 + i, 10), TM_OK);
        CU_ASSERT_EQUAL(send_to(&all[2], &all[i], 200 + i, 10), TM_OK);
    }
    UNTIL(all, 3, all[2].count == 2 && all[0].count == 1 && all[1].count == 1);
    CU_ASSERT_EQUAL(all[0].frames[0].first, 200);
    CU_ASSERT_EQUAL(all[1].frames[0].first, 201);
    for (unsigned i = 0; i < 2; i++)
        CU_ASSERT_EQUAL(all[2].frames[i].worker, all[2].frames[i].first - 100);
    /* The node is down only when its last worker is gone. */
    shut(&all[0]);
    step_for(all, 3, TM_MS(20));
    CU_ASSERT_EQUAL(all[2].downs, 0);
    shut(&all[1]);
    UNTIL(all, 3, all[2].downs == 1);
    free_nodes(all, 3);
}

static void another_cluster_is_not_let_in(void)
{
    struct node *all = calloc(2, sizeof *all);
    memset(peers, 0, sizeof peers);
    int fd0 = reserve(&all[0], 1, 0), fd1 = reserve(&all[1], 2, 0);
    boot_as(&all[0], fd0, CLUSTER + 1);
    boot(&all[1], fd1);
    send_to(&all[0], &all[1], 1, 10);
    step_for(all, 2, TM_MS(60));
    CU_ASSERT_EQUAL(all[0].ups + all[1].ups, 0);
    CU_ASSERT_EQUAL(send_to(&all[0], &all[1], 1, 10), TM_ERR_CLOSED);
    free_nodes(all, 2);
}

/* A plain socket to the node, in a raw conversation. */
static int call(const struct node *n)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    TM_ASSERT(fd >= 0 && connect(fd, (const struct sockaddr *)&n->addr.sa, n->addr.len) == 0);
    return fd;
}

/* Whether the node has closed fd; reads away what it said. */
static bool hung_up(int fd)
{
    char buf[256];
    ssize_t got = recv(fd, buf, sizeof buf, MSG_DONTWAIT);
    return got == 0 || (got < 0 && errno != EAGAIN);
}

static const uint8_t good_greeting[24] = {'T', 'M', 'F', 'C', 1,   1,   0,   2,   0,   0, 0, 0,
                                          0,   0,   0,   0,   'c', 't', 's', 'e', 't', 0, 0, 0};

static void garbage_is_hung_up_on(void)
{
    struct node *all = new_nodes(2);
    for (size_t i = 0; i < sizeof good_greeting; i++) {
        uint8_t bad[24];
        memcpy(bad, good_greeting, 24);
        bad[i] ^= 0x40;
        int fd = call(&all[1]);
        CU_ASSERT_EQUAL(send(fd, bad, 24, MSG_NOSIGNAL), 24);
        if (i < 9 || i >= 16) {
            UNTIL(all, 2, hung_up(fd));
        }
        close(fd);
    }
    CU_ASSERT_EQUAL(all[1].ups, 7); /* what flipped only reserved bytes */
    free_nodes(all, 2);
}

static void a_length_out_of_range_ends_the_connection(void)
{
    static const uint32_t lengths[] = {0, TM_FABRIC_TCP_FRAME + 1, UINT32_MAX};
    struct node *all = new_nodes(2);
    for (unsigned i = 0; i < 3; i++) {
        int fd = call(&all[1]);
        CU_ASSERT_EQUAL(send(fd, good_greeting, 24, MSG_NOSIGNAL), 24);
        UNTIL(all, 2, all[1].ups == i + 1);
        CU_ASSERT_EQUAL(send(fd, &lengths[i], 4, MSG_NOSIGNAL), 4);
        UNTIL(all, 2, hung_up(fd));
        UNTIL(all, 2, all[1].downs == i + 1);
        close(fd);
    }
    CU_ASSERT_EQUAL(all[1].count, 0);
    free_nodes(all, 2);
}

static void frames_in_single_bytes_arrive_whole(void)
{
    struct node *all = new_nodes(2);
    uint8_t frame[4 + 20];
    int fd = call(&all[1]);
    tm_store32(frame, 20);
    tm_store64(frame + 4, 77);
    for (size_t i = 8; i < 20; i++)
        frame[4 + i] = byte_at(77, i);
    for (size_t i = 0; i < 24; i++) {
        CU_ASSERT_EQUAL(send(fd, good_greeting + i, 1, MSG_NOSIGNAL), 1);
        step_for(all, 2, TM_US(200));
    }
    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < 24; i++) {
            CU_ASSERT_EQUAL(send(fd, frame + i, 1, MSG_NOSIGNAL), 1);
            step_for(all, 2, TM_US(200));
        }
    UNTIL(all, 2, all[1].count == 3);
    for (int i = 0; i < 3; i++)
        CU_ASSERT(all[1].frames[i].first == 77 && all[1].frames[i].intact);
    close(fd);
    free_nodes(all, 2);
}

static void a_newer_connection_replaces_the_older(void)
{
    struct node *all = new_nodes(2);
    int old = call(&all[1]);
    CU_ASSERT_EQUAL(send(old, good_greeting, 24, MSG_NOSIGNAL), 24);
    UNTIL(all, 2, all[1].ups == 1);
    int new = call(&all[1]);
    CU_ASSERT_EQUAL(send(new, good_greeting, 24, MSG_NOSIGNAL), 24);
    UNTIL(all, 2, all[1].ups == 2);
    UNTIL(all, 2, hung_up(old));
    CU_ASSERT_EQUAL(all[1].downs, 0);
    CU_ASSERT_EQUAL(send_to(&all[1], &all[0], 9, 10), TM_OK);
    close(new);
    UNTIL(all, 2, all[1].downs == 1);
    close(old);
    free_nodes(all, 2);
}

static void a_frame_wakes_a_parked_worker(void)
{
    struct node *all = new_nodes(2);
    link_up(all);
    step_for(all, 2, TM_MS(20));
    CU_ASSERT_EQUAL(send_to(&all[0], &all[1], 9, 10), TM_OK);
    step(&all[0]);
    CU_ASSERT(all[1].fabric->park(all[1].fabric));
    uint64_t timers = count_of(&all[1], TM_COUNTER_wakes_timer);
    for (int i = 0; i < 5 && all[1].count == 0; i++) {
        tm_worker_park(&all[1].w, PATIENCE);
        step(&all[1]);
        step(&all[0]);
    }
    all[1].fabric->unpark(all[1].fabric);
    CU_ASSERT_EQUAL(all[1].count, 1);
    CU_ASSERT_EQUAL(count_of(&all[1], TM_COUNTER_wakes_timer), timers);
    free_nodes(all, 2);
}

/* --- channels above it ------------------------------------------------------------------------ */

static enum tm_err channel_emit(void *host, struct tm_channel *ch, const struct tm_bytes *pieces,
                                unsigned count)
{
    struct node *n = host;
    unsigned to = n->channels[1] == ch ? 1 : 2;
    return n->fabric->send(n->fabric, to, 0, pieces, count);
}

static bool channel_message(void *host, struct tm_channel *ch, struct tm_bytes message)
{
    struct node *n = host;
    unsigned from = n->channels[1] == ch ? 1 : 2;
    CU_ASSERT(message.len >= 8 && tm_load64(message.data) == n->messages[from]);
    n->messages[from]++;
    return true;
}

static const char *channel_accept(void *host, struct tm_channel *ch, struct tm_bytes hello)
{
    (void)host, (void)ch;
    return tm_bytes_equal(hello, tm_bytes_str("v1")) ? NULL : "no v1";
}

static void channel_up(void *host, struct tm_channel *ch, uint64_t boot, struct tm_bytes hello)
{
    struct node *n = host;
    (void)boot, (void)hello;
    n->messages[n->channels[1] == ch ? 1 : 2] = 0;
}

static void channel_reset(void *host, struct tm_channel *ch, uint64_t dropped)
{
    struct node *n = host;
    (void)dropped;
    n->resets[n->channels[1] == ch ? 1 : 2]++;
}

static void channel_refused(void *host, struct tm_channel *ch, const char *reason)
{
    (void)host, (void)ch, (void)reason;
    CU_FAIL("refused");
}

static void channel_writable(void *host, struct tm_channel *ch)
{
    (void)host, (void)ch;
}

static void open_channel(struct node *n, unsigned peer)
{
    struct tm_channel_config cfg = {
        .cluster = CLUSTER,
        .boot = tm_ctx_random(&n->w.ctx) | 1,
        .local_node = (uint8_t)n->number,
        .peer_node = (uint8_t)peer,
        .max_frame = n->fabric->max_frame,
        .hello = tm_bytes_str("v1"),
        .sink = {n, channel_emit, channel_message, channel_accept, channel_up, channel_reset,
                 channel_refused, channel_writable},
    };
    tm_channel_free(n->channels[peer]);
    n->channels[peer] = NULL;
    CU_ASSERT_EQUAL_FATAL(tm_channel_new(&cfg, &n->channels[peer]), TM_OK);
}

/* Sends messages from..to-1, of mixed sizes, stepping while the window is full. */
static void send_messages(struct node *all, unsigned from, uint64_t first, uint64_t to)
{
    static uint8_t bytes[300000];
    struct tm_channel *ch = all[from].channels[2 - from];
    for (uint64_t i = first; i < to; i++) {
        tm_store64(bytes, i);
        struct tm_bytes m = tm_bytes_of(bytes, i % 97 == 0 ? sizeof bytes : 8 + i % 500);
        UNTIL(all, 2, tm_channel_send(ch, &m, 1) == TM_OK);
    }
}

static void channels_carry_messages_over_it_and_survive_a_restart(void)
{
    struct node *all = new_nodes(2);
    open_channel(&all[0], 2);
    open_channel(&all[1], 1);
    send_messages(all, 0, 0, 2000);
    send_messages(all, 1, 0, 2000);
    UNTIL(all, 2, all[0].messages[2] == 2000 && all[1].messages[1] == 2000);
    UNTIL(all, 2, tm_channel_idle(all[0].channels[2]) && tm_channel_idle(all[1].channels[1]));

    shut(&all[1]);
    UNTIL(all, 1, all[0].downs == 1);
    boot(&all[1], bind_again(&all[1]));
    open_channel(&all[1], 1);
    UNTIL(all, 2, all[0].resets[2] == 1);
    send_messages(all, 0, 0, 100);
    send_messages(all, 1, 0, 100);
    UNTIL(all, 2, all[0].messages[2] == 100 && all[1].messages[1] == 100);
    free_nodes(all, 2);
}

static void configurations_out_of_range_are_refused(void)
{
    struct tm_worker_config wc = {.cpu = -1, .dir_fd = -1};
    static struct tm_worker w;
    struct tm_fabric *f = NULL;
    struct tm_fabric_sink sink = {NULL, take_frame, take_event};
    struct tm_fabric_tcp_config cfg = {.node = 64, .listen_fd = 0, .peers = peers};
    CU_ASSERT_EQUAL(tm_worker_init(&w, &wc), TM_OK);
    CU_ASSERT_EQUAL(tm_fabric_tcp_new(&cfg, &w, &sink, &f), TM_ERR_INVALID);
    cfg.node = 1;
    cfg.listen_fd = -1;
    CU_ASSERT_EQUAL(tm_fabric_tcp_new(&cfg, &w, &sink, &f), TM_ERR_INVALID);
    cfg.listen_fd = 0;
    cfg.output_limit = 1000;
    CU_ASSERT_EQUAL(tm_fabric_tcp_new(&cfg, &w, &sink, &f), TM_ERR_INVALID);
    CU_ASSERT_PTR_NULL(f);
    tm_worker_fini(&w);
}

static const struct tm_test tests[] = {
    TM_TEST(the_lower_number_connects_at_its_first_frame),
    TM_TEST(frames_of_all_sizes_arrive_whole),
    TM_TEST(a_full_connection_says_so_and_loses_nothing_it_took),
    TM_TEST(a_dead_node_is_down_at_once_and_up_when_it_returns),
    TM_TEST(each_worker_has_its_own_connection),
    TM_TEST(another_cluster_is_not_let_in),
    TM_TEST(garbage_is_hung_up_on),
    TM_TEST(a_length_out_of_range_ends_the_connection),
    TM_TEST(frames_in_single_bytes_arrive_whole),
    TM_TEST(a_newer_connection_replaces_the_older),
    TM_TEST(a_frame_wakes_a_parked_worker),
    TM_TEST(channels_carry_messages_over_it_and_survive_a_restart),
    TM_TEST(configurations_out_of_range_are_refused),
};
TM_TEST_MAIN("net/fabric_tcp", tests)
