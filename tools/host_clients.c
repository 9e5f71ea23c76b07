/* Client sockets and sessions: bytes in, replies out, and the client's pace in between. */
#include "tools/host_internal.h"

#define SOCKET_OUT (256u << 10) /* waiting in a socket; more waits in its session */

static void on_opened(void *host, struct tm_conn *conn)
{
    struct tm_host_worker *w = host;
    struct tm_session_peer peer = {.fd = tm_conn_fd(conn)};
    struct tm_addr addr;
    tm_conn_peer(conn, &addr);
    tm_addr_format(&addr, peer.addr, sizeof peer.addr);
    tm_conn_local(conn, &addr);
    peer.own_port =
        tm_addr_port(&addr) == w->host->node.address[w->host->node.self].worker_port0 + w->index;
    tm_addr_format(&addr, peer.laddr, sizeof peer.laddr);
    struct tm_session *s = tm_session_open(tm_shard_sessions(w->shard), &peer, conn);
    tm_conn_set_user(conn, s);
    if (s != NULL)
        return;
    (void)tm_socket_send(conn, TM_SESSION_TOO_MANY, strlen(TM_SESSION_TOO_MANY));
    tm_socket_close(conn, "too many clients");
}

static void on_input(void *host, struct tm_conn *conn, uint8_t *data, size_t len)
{
    (void)host;
    struct tm_session *s = tm_conn_user(conn);
    if (s != NULL)
        tm_session_input(s, data, len);
}

static void on_coming(void *host, struct tm_conn *const *conns, const struct tm_bytes *data,
                      unsigned count)
{
    struct tm_host_worker *w = host;
    const struct tm_session *sessions[TM_SOCKET_COMING];
    TM_STATIC_ASSERT(TM_SOCKET_COMING <= TM_SESSIONS_COMING, "all of a turn at once");
    for (unsigned i = 0; i < count; i++)
        sessions[i] = tm_conn_user(conns[i]);
    tm_sessions_coming(tm_shard_sessions(w->shard), sessions, data, count);
}

/* Sends up to what the socket takes; false if it takes no more now (and will say when it does). */
static bool send_some(struct tm_conn *conn, struct tm_session *s, struct tm_bytes *piece,
                      unsigned count)
{
    size_t room = tm_socket_room(conn), len = 0;
    unsigned take = 0;
    for (; take < count && len < room; take++) {
        piece[take].len = tm_min_u64(piece[take].len, room - len);
        len += piece[take].len;
    }
    if (take == 0) {
        /* Refused, which is what makes the socket tell when it has room. */
        (void)tm_socket_send(conn, piece[0].data, 1);
        return false;
    }
    if (tm_socket_sendv(conn, piece, take) != TM_OK)
        return false;
    tm_session_sent(s, len);
    return true;
}

/* Moves a session's output to its socket, and its wishes with it. */
static void pump(struct tm_session *s)
{
    struct tm_conn *conn = tm_session_owner(s);
    struct tm_bytes piece[16];
    unsigned count;
    while ((count = tm_session_output(s, piece, 16)) > 0)
        if (!send_some(conn, s, piece, count))
            break;
    if (tm_session_wants_close(s)) {
        tm_session_close(s);
        tm_conn_set_user(conn, NULL);
        tm_socket_close(conn, "session ended");
    } else if (tm_session_wants_input(s)) {
        tm_socket_resume_reading(conn);
    } else {
        tm_socket_pause_reading(conn);
    }
}

static void on_drained(void *host, struct tm_conn *conn)
{
    (void)host;
    struct tm_session *s = tm_conn_user(conn);
    if (s != NULL)
        pump(s);
}

static void on_closed(void *host, struct tm_conn *conn, const char *reason, int errnum)
{
    (void)host;
    (void)reason;
    (void)errnum;
    struct tm_session *s = tm_conn_user(conn);
    if (s != NULL)
        tm_session_close(s);
}

/* More than become sessions: who is turned away has a connection for a moment. */
static uint32_t sockets_of(const struct tm_options *o)
{
    return 2 * (uint32_t)o->max_clients + 64;
}

void tm_host_clients_options(struct tm_host_worker *w, const struct tm_options *o)
{
    tm_socket_hub_limit(w->hub, sockets_of(o));
}

enum tm_err tm_host_clients_open(struct tm_host_worker *w)
{
    const struct tm_options *o = &w->host->options;
    struct tm_socket_config c = {.max_connections = sockets_of(o),
                                 .output_limit = SOCKET_OUT,
                                 .buffer_group = tm_host_client_buffers(w)};
    w->hub = tm_socket_hub_new(&c);
    if (w->hub == NULL)
        return TM_ERR_NOMEM;
    return tm_worker_add(w->worker, tm_socket_hub_ops(), w->hub);
}

void tm_host_clients_start(struct tm_host_worker *w)
{
    struct tm_socket_handler handler = {.host = w,
                                        .opened = on_opened,
                                        .input = on_input,
                                        .coming = on_coming,
                                        .drained = on_drained,
                                        .closed = on_closed};
    for (unsigned i = 0; i < TM_ARRAY_LEN(w->client_fds); i++) {
        if (w->client_fds[i] >= 0)
            (void)tm_socket_accept(w->hub, w->client_fds[i], &handler, TM_SESSION_TOO_MANY);
        w->client_fds[i] = -1;
    }
}

void tm_host_clients_pump(struct tm_host_worker *w)
{
    struct tm_session *s;
    while ((s = tm_sessions_next_ready(tm_shard_sessions(w->shard))) != NULL)
        pump(s);
}
