#include "net/socket_internal.h"
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define PEERS_MAX 4

static struct tm_worker w;
static struct tm_socket_hub *hub;
static struct tm_addr address;
static struct tm_listener *listener;
static const struct tm_socket_stats *stats;

/* What the server's callbacks saw, by connection in the order of opening. */
static struct peer {
    struct tm_conn *conn;
    uint8_t *in;
    size_t in_len;
    unsigned inputs;
    unsigned drained;
    bool closed;
    const char *reason;
    int errnum;
} peers[PEERS_MAX];
static unsigned opened;
static unsigned closed;
static bool echo;
static bool pause_at_input;

#define IN_MAX TM_MIB(4)

static void on_opened(void *host, struct tm_conn *conn)
{
    (void)host;
    if (opened < PEERS_MAX) {
        struct peer *p = &peers[opened];
        p->conn = conn;
        p->in = malloc(IN_MAX);
        tm_conn_set_user(conn, p);
    }
    opened++;
}

static void on_input(void *host, struct tm_conn *conn, uint8_t *data, size_t len)
{
    (void)host;
    struct peer *p = tm_conn_user(conn);
    if (p == NULL)
        return;
    CU_ASSERT_FATAL(p->in_len + len <= IN_MAX);
    memcpy(p->in + p->in_len, data, len);
    p->in_len += len;
    p->inputs++;
    if (echo)
        CU_ASSERT_EQUAL(tm_socket_send(conn, data, len), TM_OK);
    if (pause_at_input)
        tm_socket_pause_reading(conn);
}

static void on_drained(void *host, struct tm_conn *conn)
{
    (void)host;
    ((struct peer *)tm_conn_user(conn))->drained++;
}

static void on_closed(void *host, struct tm_conn *conn, const char *reason, int errnum)
{
    (void)host;
    struct peer *p = tm_conn_user(conn);
    closed++;
    if (p == NULL)
        return;
    CU_ASSERT_FALSE(p->closed);
    p->closed = true;
    p->reason = reason;
    p->errnum = errnum;
}

static const struct tm_socket_handler handler = {
    .opened = on_opened, .input = on_input, .drained = on_drained, .closed = on_closed};

static void begin_at(const char *where, struct tm_socket_config config)
{
    struct tm_worker_config wc = {.cpu = -1, .dir_fd = -1, .sq_entries = 64};
    CU_ASSERT_EQUAL_FATAL(tm_worker_init(&w, &wc), TM_OK);
    hub = tm_socket_hub_new(&config);
    CU_ASSERT_PTR_NOT_NULL_FATAL(hub);
    stats = tm_socket_hub_stats(hub);
    CU_ASSERT_EQUAL(tm_worker_add(&w, tm_socket_hub_ops(), hub), TM_OK);
    CU_ASSERT_EQUAL_FATAL(tm_worker_open(&w), TM_OK);
    CU_ASSERT_EQUAL_FATAL(tm_addr_parse(&address, where), TM_OK);
    int fd = tm_socket_bind(&address, false, 512);
    CU_ASSERT_FATAL(fd >= 0);
    listener = tm_socket_accept(hub, fd, &handler, "-ERR max number of clients reached\r\n");
    CU_ASSERT_PTR_NOT_NULL_FATAL(listener);
    memset(peers, 0, sizeof peers);
    opened = closed = 0;
    echo = pause_at_input = false;
}

static void begin(struct tm_socket_config config)
{
    begin_at("127.0.0.1:0", config);
}

static void end(void)
{
    tm_worker_close(&w);
    tm_socket_hub_delete(hub);
    tm_worker_fini(&w);
    for (int i = 0; i < PEERS_MAX; i++)
        free(peers[i].in);
}

static void turn(void)
{
    if (tm_worker_step(&w) == 0)
        tm_worker_park(&w, TM_MS(1));
}

/* Turns until cond holds, a minute at most. */
#define TURN_UNTIL(cond)                                                                           \
    do {                                                                                           \
        uint64_t deadline_ = clock_now() + TM_SECONDS(60);                                         \
        while (!(cond) && clock_now() < deadline_)                                                 \
            turn();                                                                                \
        CU_ASSERT(cond);                                                                           \
    } while (0)

static uint64_t clock_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * TM_SECONDS(1) + (uint64_t)ts.tv_nsec;
}

/* A client of the plain socket calls. */
static int dial(void)
{
    int fd = socket(address.sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL_FATAL(connect(fd, (struct sockaddr *)&address.sa, address.len), 0);
    CU_ASSERT_EQUAL(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

static int dial_and_open(void)
{
    unsigned before = opened;
    int fd = dial();
    TURN_UNTIL(opened == before + 1);
    return fd;
}

/* Reads until len bytes or the end came; the number read. */
static size_t read_all(int fd, uint8_t *buf, size_t len, bool *at_end)
{
    size_t got = 0;
    uint64_t deadline = clock_now() + TM_SECONDS(60);
    *at_end = false;
    while (got < len && clock_now() < deadline) {
        ssize_t n = read(fd, buf + got, len - got);
        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            *at_end = n == 0;
            break;
        }
        if (n > 0)
            got += (size_t)n;
        else
            turn();
    }
    return got;
}

static uint8_t pattern(uint64_t at)
{
    return (uint8_t)((at * UINT64_C(0x9e3779b97f4a7c15)) >> 56);
}

static void fill(uint8_t *buf, size_t len, uint64_t from)
{
    for (size_t i = 0; i < len; i++)
        buf[i] = pattern(from + i);
}

static bool is_pattern(const uint8_t *buf, size_t len, uint64_t from)
{
    for (size_t i = 0; i < len; i++)
        if (buf[i] != pattern(from + i))
            return false;
    return true;
}

/* --- the happy path --------------------------------------------------------------------------- */

static void echo_once(const char *where)
{
    uint8_t buf[16];
    bool at_end;
    char text[TM_ADDR_TEXT];
    begin_at(where, (struct tm_socket_config){0});
    echo = true;
    int fd = dial_and_open();
    CU_ASSERT_EQUAL(write(fd, "hello", 5), 5);
    CU_ASSERT_EQUAL(read_all(fd, buf, 5, &at_end), 5);
    CU_ASSERT_EQUAL(memcmp(buf, "hello", 5), 0);
    struct tm_addr local;
    tm_conn_local(peers[0].conn, &local);
    char want[TM_ADDR_TEXT];
    CU_ASSERT_STRING_EQUAL(tm_addr_format(&local, text, sizeof text),
                           tm_addr_format(&address, want, sizeof want));
    close(fd);
    TURN_UNTIL(closed == 1);
    CU_ASSERT_STRING_EQUAL(peers[0].reason, "closed by peer");
    CU_ASSERT_EQUAL(stats->open, 0);
    end();
}

static void bytes_come_in_and_go_out_over_tcp_and_unix(void)
{
    char name[64];
    echo_once("127.0.0.1:0");
    snprintf(name, sizeof name, "unix:@tm-test-socket-%d", (int)getpid());
    echo_once(name);
}

static void the_peers_address_is_the_clients(void)
{
    begin((struct tm_socket_config){0});
    int fd = dial_and_open();
    struct tm_addr mine = {.len = sizeof mine.sa};
    struct tm_addr seen;
    CU_ASSERT_EQUAL(getsockname(fd, (struct sockaddr *)&mine.sa, &mine.len), 0);
    tm_conn_peer(peers[0].conn, &seen);
    CU_ASSERT_EQUAL(tm_addr_port(&seen), tm_addr_port(&mine));
    CU_ASSERT_EQUAL(tm_conn_id(peers[0].conn), 1);
    close(fd);
    end();
}

static void the_replies_of_a_turn_leave_in_one_send(void)
{
    begin((struct tm_socket_config){0});
    uint8_t buf[20000];
    uint8_t back[20000];
    bool at_end;
    int fd = dial_and_open();
    fill(buf, sizeof buf, 0);
    for (size_t i = 0; i < sizeof buf; i += 100)
        CU_ASSERT_EQUAL(tm_socket_send(peers[0].conn, buf + i, 100), TM_OK);
    CU_ASSERT_EQUAL(stats->sends, 0);
    CU_ASSERT_EQUAL(tm_socket_pending(peers[0].conn), sizeof buf);
    turn();
    CU_ASSERT_EQUAL(stats->sends, 1);
    CU_ASSERT_EQUAL(read_all(fd, back, sizeof back, &at_end), sizeof back);
    CU_ASSERT_EQUAL(memcmp(buf, back, sizeof buf), 0);
    TURN_UNTIL(tm_socket_pending(peers[0].conn) == 0);
    CU_ASSERT_EQUAL(stats->sends, 1);
    CU_ASSERT_EQUAL(stats->output_chunks, 0);
    close(fd);
    end();
}

static void pieces_of_one_message_stay_together(void)
{
    begin((struct tm_socket_config){0});
    uint8_t buf[8];
    bool at_end;
    int fd = dial_and_open();
    struct tm_bytes pieces[] = {tm_bytes_str("ab"), tm_bytes_str(""), tm_bytes_str("cdefgh")};
    CU_ASSERT_EQUAL(tm_socket_sendv(peers[0].conn, pieces, 3), TM_OK);
    CU_ASSERT_EQUAL(tm_socket_sendv(peers[0].conn, pieces, 0), TM_OK);
    CU_ASSERT_EQUAL(read_all(fd, buf, 8, &at_end), 8);
    CU_ASSERT_EQUAL(memcmp(buf, "abcdefgh", 8), 0);
    close(fd);
    end();
}

static void a_megabyte_passes_whole(void)
{
    begin((struct tm_socket_config){0});
    size_t len = TM_MIB(1);
    uint8_t *buf = malloc(len);
    bool at_end;
    fill(buf, len, 0);
    int fd = dial_and_open();
    CU_ASSERT_EQUAL(tm_socket_send(peers[0].conn, buf, len), TM_OK);
    memset(buf, 0, len);
    CU_ASSERT_EQUAL(read_all(fd, buf, len, &at_end), len);
    CU_ASSERT(is_pattern(buf, len, 0));
    free(buf);
    close(fd);
    end();
}

/* --- bounds ----------------------------------------------------------------------------------- */

static void a_client_that_never_reads_fills_its_limit_only(void)
{
    begin((struct tm_socket_config){.output_limit = (uint32_t)TM_KIB(64)});
    uint8_t piece[1000];
    int fd = dial_and_open();
    struct tm_conn *conn = peers[0].conn;
    uint64_t sent = 0;
    for (int refused = 0; refused < 20;) { /* in a row: the kernel's own buffers fill first */
        fill(piece, sizeof piece, sent);
        enum tm_err err = tm_socket_send(conn, piece, sizeof piece);
        if (err == TM_OK) {
            sent += sizeof piece;
            refused = 0;
        } else {
            CU_ASSERT_EQUAL_FATAL(err, TM_ERR_FULL);
            refused++;
            turn();
        }
    }
    CU_ASSERT(tm_socket_pending(conn) <= TM_KIB(64));
    CU_ASSERT(stats->output_chunks <= 64 / 4 + 3);
    unsigned before = peers[0].drained;
    uint8_t *back = malloc(sent);
    bool at_end;
    CU_ASSERT_EQUAL(read_all(fd, back, sent, &at_end), sent);
    CU_ASSERT(is_pattern(back, sent, 0));
    TURN_UNTIL(peers[0].drained > before);
    TURN_UNTIL(tm_socket_room(conn) == TM_KIB(64));
    free(back);
    close(fd);
    end();
}

static void what_never_fits_is_too_big(void)
{
    begin((struct tm_socket_config){.output_limit = 5000});
    uint8_t buf[5001] = {0};
    int fd = dial_and_open();
    CU_ASSERT_EQUAL(tm_socket_send(peers[0].conn, buf, 5001), TM_ERR_TOOBIG);
    CU_ASSERT_EQUAL(tm_socket_send(peers[0].conn, buf, 5000), TM_OK);
    CU_ASSERT_EQUAL(tm_socket_send(peers[0].conn, buf, 1), TM_ERR_FULL);
    CU_ASSERT_EQUAL(tm_socket_room(peers[0].conn), 0);
    TURN_UNTIL(peers[0].drained == 1);
    close(fd);
    end();
}

static void a_connection_starved_of_chunks_is_told_when_there_are_some(void)
{
    begin((struct tm_socket_config){.output_total = 4 * 4096});
    uint8_t buf[16000] = {0};
    int a = dial_and_open();
    int b = dial_and_open();
    CU_ASSERT_EQUAL(tm_socket_send(peers[0].conn, buf, 16000), TM_OK);
    CU_ASSERT_EQUAL(tm_socket_send(peers[1].conn, buf, 10), TM_ERR_FULL);
    CU_ASSERT_EQUAL(tm_socket_pending(peers[1].conn), 0);
    TURN_UNTIL(peers[1].drained == 1);
    TURN_UNTIL(tm_socket_pending(peers[0].conn) == 0);
    CU_ASSERT_EQUAL(tm_socket_send(peers[1].conn, buf, 10), TM_OK);
    TURN_UNTIL(tm_socket_pending(peers[1].conn) == 0);
    CU_ASSERT_EQUAL(stats->output_chunks, 0);
    close(a);
    close(b);
    end();
}

static void a_starved_connection_may_close(void)
{
    begin((struct tm_socket_config){.output_total = 4 * 4096});
    uint8_t buf[16000] = {0};
    int a = dial_and_open();
    int b = dial_and_open();
    CU_ASSERT_EQUAL(tm_socket_send(peers[0].conn, buf, 16000), TM_OK);
    CU_ASSERT_EQUAL(tm_socket_send(peers[1].conn, buf, 10), TM_ERR_FULL);
    tm_socket_abort(peers[1].conn, "test");
    TURN_UNTIL(closed == 1);
    TURN_UNTIL(tm_socket_pending(peers[0].conn) == 0);
    CU_ASSERT_EQUAL(peers[1].drained, 0);
    close(a);
    close(b);
    end();
}

static void one_too_many_is_told_and_closed(void)
{
    begin((struct tm_socket_config){.max_connections = 2});
    uint8_t buf[64] = {0};
    bool at_end;
    int fds[3] = {dial_and_open(), dial_and_open(), dial()};
    size_t n = read_all(fds[2], buf, sizeof buf, &at_end);
    CU_ASSERT_STRING_EQUAL((char *)buf, "-ERR max number of clients reached\r\n");
    CU_ASSERT(n > 0 && at_end);
    CU_ASSERT_EQUAL(stats->refused, 1);
    close(fds[0]);
    TURN_UNTIL(closed == 1);
    close(fds[2]);
    fds[2] = dial_and_open();
    CU_ASSERT_EQUAL(stats->open, 2);
    close(fds[1]);
    close(fds[2]);
    end();
}

static void without_descriptors_accepting_pauses_and_goes_on(void)
{
    begin((struct tm_socket_config){0});
    int fd = dial(); /* waits in the backlog */
    struct rlimit before;
    getrlimit(RLIMIT_NOFILE, &before);
    struct rlimit low = {.rlim_cur = (rlim_t)fd + 1, .rlim_max = before.rlim_max};
    setrlimit(RLIMIT_NOFILE, &low);
    TURN_UNTIL(stats->accept_pauses == 1);
    CU_ASSERT_EQUAL(opened, 0);
    setrlimit(RLIMIT_NOFILE, &before);
    TURN_UNTIL(opened == 1);
    close(fd);
    end();
}

static void few_receive_buffers_slow_but_lose_nothing(void)
{
    begin((struct tm_socket_config){.recv_buffers = 2, .recv_bytes = 64});
    int fds[PEERS_MAX];
    uint8_t buf[5000];
    fill(buf, sizeof buf, 0);
    for (int i = 0; i < PEERS_MAX; i++)
        fds[i] = dial_and_open();
    for (int i = 0; i < PEERS_MAX; i++)
        CU_ASSERT_EQUAL(write(fds[i], buf, sizeof buf), sizeof buf);
    for (int i = 0; i < PEERS_MAX; i++) {
        TURN_UNTIL(peers[i].in_len == sizeof buf);
        CU_ASSERT(is_pattern(peers[i].in, peers[i].in_len, 0));
        close(fds[i]);
    }
    CU_ASSERT(stats->no_buffers > 0);
    end();
}

static void a_thousand_idle_connections_hold_no_buffers(void)
{
    begin((struct tm_socket_config){0});
    enum { MANY = 1000 };
    static int fds[MANY];
    struct rlimit lim;
    getrlimit(RLIMIT_NOFILE, &lim);
    lim.rlim_cur = lim.rlim_max;
    setrlimit(RLIMIT_NOFILE, &lim);
    unsigned many = lim.rlim_cur < 2 * MANY + 64 ? 100 : MANY;
    for (unsigned i = 0; i < many; i++) {
        fds[i] = dial();
        if (i % 64 == 0)
            turn();
    }
    TURN_UNTIL(opened == many);
    CU_ASSERT_EQUAL(stats->open, many);
    CU_ASSERT(sizeof(struct tm_conn) <= 384);
    CU_ASSERT_EQUAL(stats->output_chunks, 0);
    for (unsigned i = 0; i < many; i++)
        close(fds[i]);
    TURN_UNTIL(closed == many);
    CU_ASSERT_EQUAL(stats->open, 0);
    end();
}

/* --- pausing ---------------------------------------------------------------------------------- */

static void input_queued_at_a_pause_is_kept_and_comes_in_order(void)
{
    begin((struct tm_socket_config){.recv_bytes = 64});
    uint8_t buf[4000];
    fill(buf, sizeof buf, 0);
    int fd = dial_and_open();
    struct peer *p = &peers[0];
    pause_at_input = true;
    CU_ASSERT_EQUAL(write(fd, buf, sizeof buf), sizeof buf);
    TURN_UNTIL(p->inputs == 1);
    for (int i = 0; i < 20; i++)
        turn();
    CU_ASSERT_EQUAL(p->inputs, 1); /* nothing while paused */
    for (unsigned i = 2; p->in_len < sizeof buf && i < 1000; i++) {
        tm_socket_resume_reading(p->conn);
        TURN_UNTIL(p->inputs == i);
    }
    CU_ASSERT_EQUAL(p->in_len, sizeof buf);
    CU_ASSERT(is_pattern(p->in, p->in_len, 0));
    close(fd);
    end();
}

static void a_paused_connection_holds_its_peer_back(void)
{
    begin((struct tm_socket_config){0});
    int fd = dial_and_open();
    static uint8_t buf[65536];
    int room = sizeof buf; /* what the kernel keeps for us, which it would let grow to megabytes */
    uint64_t sent = 0;
    CU_ASSERT_EQUAL(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room), 0);
    tm_socket_pause_reading(peers[0].conn);
    for (int i = 0; i < 10; i++)
        turn();
    int blocked = 0;
    while (blocked < 50 && sent + sizeof buf <= IN_MAX) {
        fill(buf, sizeof buf, sent);
        ssize_t n = write(fd, buf, sizeof buf);
        sent += n > 0 ? (uint64_t)n : 0;
        blocked += n < 0;
        turn();
    }
    CU_ASSERT_EQUAL(blocked, 50);
    CU_ASSERT_EQUAL(peers[0].in_len, 0);
    tm_socket_resume_reading(peers[0].conn);
    TURN_UNTIL(peers[0].in_len == sent);
    CU_ASSERT(is_pattern(peers[0].in, peers[0].in_len, 0));
    close(fd);
    end();
}

static void the_end_of_input_waits_for_the_input_before_it(void)
{
    begin((struct tm_socket_config){.recv_bytes = 64});
    uint8_t buf[640];
    fill(buf, sizeof buf, 0);
    int fd = dial_and_open();
    pause_at_input = true;
    CU_ASSERT_EQUAL(write(fd, buf, sizeof buf), sizeof buf);
    close(fd);
    TURN_UNTIL(peers[0].inputs == 1);
    for (int i = 0; i < 20; i++)
        turn();
    CU_ASSERT_EQUAL(closed, 0);
    pause_at_input = false;
    tm_socket_resume_reading(peers[0].conn);
    TURN_UNTIL(closed == 1);
    CU_ASSERT_EQUAL(peers[0].in_len, sizeof buf);
    CU_ASSERT(is_pattern(peers[0].in, peers[0].in_len, 0));
    end();
}

static void resuming_and_pausing_in_one_turn_loses_nothing(void)
{
    begin((struct tm_socket_config){.recv_bytes = 128});
    int fd = dial_and_open();
    uint8_t buf[1000];
    uint64_t sent = 0;
    uint64_t x = tm_test_seed() | 1;
    for (int i = 0; i < 3000; i++) {
        x = x * UINT64_C(6364136223846793005) + 1442695040888963407u;
        unsigned what = (unsigned)(x >> 60);
        if (what < 4)
            tm_socket_pause_reading(peers[0].conn);
        else if (what < 9)
            tm_socket_resume_reading(peers[0].conn);
        else if (what < 12)
            turn();
        else if (sent + sizeof buf <= IN_MAX) {
            fill(buf, sizeof buf, sent);
            ssize_t n = write(fd, buf, 1 + (x >> 33) % sizeof buf);
            sent += n > 0 ? (uint64_t)n : 0;
        }
    }
    tm_socket_resume_reading(peers[0].conn);
    TURN_UNTIL(peers[0].in_len == sent);
    CU_ASSERT(is_pattern(peers[0].in, peers[0].in_len, 0));
    close(fd);
    end();
}

/* --- closing ---------------------------------------------------------------------------------- */

static void close_lets_the_output_leave_first(void)
{
    begin((struct tm_socket_config){0});
    size_t len = 600000;
    uint8_t *buf = malloc(len + 1);
    bool at_end;
    fill(buf, len, 0);
    int fd = dial_and_open();
    CU_ASSERT_EQUAL(tm_socket_send(peers[0].conn, buf, len), TM_OK);
    tm_socket_close(peers[0].conn, "quit");
    CU_ASSERT_EQUAL(tm_socket_send(peers[0].conn, buf, 1), TM_ERR_CLOSED);
    CU_ASSERT_FALSE(peers[0].closed); /* never from inside a call */
    memset(buf, 0, len);
    CU_ASSERT_EQUAL(read_all(fd, buf, len + 1, &at_end), len);
    CU_ASSERT(at_end);
    CU_ASSERT(is_pattern(buf, len, 0));
    TURN_UNTIL(closed == 1);
    CU_ASSERT_STRING_EQUAL(peers[0].reason, "quit");
    CU_ASSERT_EQUAL(stats->output_chunks, 0);
    free(buf);
    close(fd);
    end();
}

static void a_close_that_cannot_drain_ends_after_its_time(void)
{
    begin((struct tm_socket_config){.linger_ms = 20});
    size_t len = TM_MIB(1);
    uint8_t *buf = calloc(1, len);
    int fd = dial_and_open();
    struct tm_conn *conn = peers[0].conn;
    /* More than the kernel takes in for a client that does not read. */
    for (int i = 0, full = 0; i < 10000 && full < 20; i++) {
        full += tm_socket_send(conn, buf, len / 2) == TM_ERR_FULL;
        turn();
    }
    CU_ASSERT(tm_socket_pending(conn) > 0);
    tm_socket_close(conn, "slow");
    turn();
    CU_ASSERT_EQUAL(closed, 0);
    TURN_UNTIL(closed == 1);
    CU_ASSERT_STRING_EQUAL(peers[0].reason, "slow");
    CU_ASSERT_EQUAL(stats->open, 0);
    CU_ASSERT_EQUAL(stats->output_chunks, 0);
    free(buf);
    close(fd);
    end();
}

static void abort_drops_the_output_and_closes_once(void)
{
    begin((struct tm_socket_config){0});
    uint8_t buf[100] = {0};
    bool at_end;
    int fd = dial_and_open();
    CU_ASSERT_EQUAL(tm_socket_send(peers[0].conn, buf, 100), TM_OK);
    tm_socket_abort(peers[0].conn, "bad");
    tm_socket_abort(peers[0].conn, "again");
    tm_socket_close(peers[0].conn, "again");
    TURN_UNTIL(closed == 1);
    CU_ASSERT_STRING_EQUAL(peers[0].reason, "bad");
    CU_ASSERT_EQUAL(read_all(fd, buf, 100, &at_end), 0);
    CU_ASSERT(at_end);
    close(fd);
    end();
}

static void a_reset_by_the_peer_closes(void)
{
    begin((struct tm_socket_config){0});
    int fd = dial_and_open();
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(fd);
    TURN_UNTIL(closed == 1);
    CU_ASSERT_STRING_EQUAL(peers[0].reason, "closed by peer");
    CU_ASSERT_EQUAL(peers[0].errnum, ECONNRESET);
    end();
}

static void unlisten_stops_accepting_and_keeps_connections(void)
{
    begin((struct tm_socket_config){0});
    echo = true;
    uint8_t byte;
    bool at_end;
    int fd = dial_and_open();
    tm_socket_unlisten(listener);
    for (int i = 0; i < 10; i++)
        turn();
    int late = socket(AF_INET, SOCK_STREAM, 0);
    CU_ASSERT_EQUAL(connect(late, (struct sockaddr *)&address.sa, address.len), -1);
    CU_ASSERT_EQUAL(errno, ECONNREFUSED);
    CU_ASSERT_EQUAL(write(fd, "x", 1), 1);
    CU_ASSERT_EQUAL(read_all(fd, &byte, 1, &at_end), 1);
    close(late);
    close(fd);
    end();
}

static void the_end_of_the_worker_closes_all_without_a_callback(void)
{
    begin((struct tm_socket_config){0});
    uint8_t buf[8];
    bool at_end;
    int fd = dial_and_open();
    CU_ASSERT_EQUAL(tm_socket_send(peers[0].conn, "bye", 3), TM_OK);
    turn();
    end();
    CU_ASSERT_EQUAL(closed, 0);
    CU_ASSERT_EQUAL(recv(fd, buf, 8, 0), 3);
    CU_ASSERT_EQUAL(recv(fd, buf, 8, 0), 0);
    (void)at_end;
    close(fd);
}

/* --- connecting ------------------------------------------------------------------------------- */

static void a_connection_to_ourselves_carries_both_ways(void)
{
    begin((struct tm_socket_config){0});
    static struct peer mine;
    mine = (struct peer){.in = malloc(IN_MAX)};
    struct tm_socket_handler client = handler;
    struct tm_conn *conn;
    client.opened = NULL;
    CU_ASSERT_EQUAL_FATAL(tm_socket_connect(hub, &address, &client, &mine, &conn), TM_OK);
    CU_ASSERT_EQUAL(tm_socket_send(conn, "x", 1), TM_ERR_CLOSED); /* not open yet */
    TURN_UNTIL(opened == 1 && tm_socket_send(conn, "ping", 4) == TM_OK);
    TURN_UNTIL(peers[0].in_len >= 4);
    CU_ASSERT_EQUAL(memcmp(peers[0].in, "ping", 4), 0);
    CU_ASSERT_EQUAL(tm_socket_send(peers[0].conn, "pong", 4), TM_OK);
    TURN_UNTIL(mine.in_len == 4);
    tm_socket_close(peers[0].conn, "done");
    TURN_UNTIL(closed == 2);
    CU_ASSERT_STRING_EQUAL(mine.reason, "closed by peer");
    free(mine.in);
    end();
}

static void a_refused_connect_says_so(void)
{
    begin((struct tm_socket_config){0});
    static struct peer mine;
    mine = (struct peer){0};
    struct tm_conn *conn;
    struct tm_addr nobody;
    CU_ASSERT_EQUAL(tm_addr_parse(&nobody, "127.0.0.1:0"), TM_OK);
    close(tm_socket_bind(&nobody, false, 1));
    CU_ASSERT_EQUAL_FATAL(tm_socket_connect(hub, &nobody, &handler, &mine, &conn), TM_OK);
    TURN_UNTIL(mine.closed);
    CU_ASSERT_STRING_EQUAL(mine.reason, "connect failed");
    CU_ASSERT_EQUAL(mine.errnum, ECONNREFUSED);
    CU_ASSERT_EQUAL(opened, 0);
    end();
}

static void a_connect_may_be_aborted(void)
{
    begin((struct tm_socket_config){.max_connections = 1});
    static struct peer mine;
    mine = (struct peer){0};
    struct tm_conn *conn;
    struct tm_conn *other;
    struct tm_addr silent; /* TEST-NET-1: no answer */
    CU_ASSERT_EQUAL(tm_addr_parse(&silent, "192.0.2.1:7"), TM_OK);
    CU_ASSERT_EQUAL_FATAL(tm_socket_connect(hub, &silent, &handler, &mine, &conn), TM_OK);
    CU_ASSERT_EQUAL(tm_socket_connect(hub, &silent, &handler, &mine, &other), TM_ERR_FULL);
    turn();
    if (!mine.closed) /* a machine without routes refuses at once */
        tm_socket_abort(conn, "too slow");
    TURN_UNTIL(mine.closed);
    CU_ASSERT_EQUAL(stats->open, 0);
    end();
}

static const struct tm_test tests[] = {
    TM_TEST(bytes_come_in_and_go_out_over_tcp_and_unix),
    TM_TEST(the_peers_address_is_the_clients),
    TM_TEST(the_replies_of_a_turn_leave_in_one_send),
    TM_TEST(pieces_of_one_message_stay_together),
    TM_TEST(a_megabyte_passes_whole),
    TM_TEST(a_client_that_never_reads_fills_its_limit_only),
    TM_TEST(what_never_fits_is_too_big),
    TM_TEST(a_connection_starved_of_chunks_is_told_when_there_are_some),
    TM_TEST(a_starved_connection_may_close),
    TM_TEST(one_too_many_is_told_and_closed),
    TM_TEST(without_descriptors_accepting_pauses_and_goes_on),
    TM_TEST(few_receive_buffers_slow_but_lose_nothing),
    TM_TEST(a_thousand_idle_connections_hold_no_buffers),
    TM_TEST(input_queued_at_a_pause_is_kept_and_comes_in_order),
    TM_TEST(a_paused_connection_holds_its_peer_back),
    TM_TEST(the_end_of_input_waits_for_the_input_before_it),
    TM_TEST(resuming_and_pausing_in_one_turn_loses_nothing),
    TM_TEST(close_lets_the_output_leave_first),
    TM_TEST(a_close_that_cannot_drain_ends_after_its_time),
    TM_TEST(abort_drops_the_output_and_closes_once),
    TM_TEST(a_reset_by_the_peer_closes),
    TM_TEST(unlisten_stops_accepting_and_keeps_connections),
    TM_TEST(the_end_of_the_worker_closes_all_without_a_callback),
    TM_TEST(a_connection_to_ourselves_carries_both_ways),
    TM_TEST(a_refused_connect_says_so),
    TM_TEST(a_connect_may_be_aborted),
};
TM_TEST_MAIN("net/socket", tests)
