/* A blocking RESP client: connect with a time limit, write the request, read until the reply ends.
 *
 * The time limit is one for the whole answer, not for each read: a node that sends a byte now and
 * then does not hold up `status`. */
#include "tools/client.h"
#include "runtime/clock.h"
#include "net/addr.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define REPLY_MAX ((size_t)TM_MIB(64))
#define WORDS_MAX 16

static uint64_t now_ms(void)
{
    return tm_clock_ns() / TM_MS(1);
}

/* Waits for events until the deadline. */
static enum tm_err wait_for(int fd, short events, uint64_t deadline)
{
    for (;;) {
        uint64_t now = now_ms();
        if (now >= deadline)
            return TM_ERR_TIMEOUT;
        struct pollfd p = {.fd = fd, .events = events};
        int n = poll(&p, 1, (int)tm_min_u64(deadline - now, 1000));
        if (n > 0)
            return TM_OK;
        if (n < 0 && errno != EINTR)
            return tm_err_from_errno(errno);
    }
}

static enum tm_err finish_connect(int fd, uint64_t deadline)
{
    enum tm_err err = wait_for(fd, POLLOUT, deadline);
    int failed = 0;
    socklen_t len = sizeof failed;
    if (err == TM_OK && getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &len) != 0)
        failed = errno;
    if (failed == ECONNREFUSED || failed == ECONNRESET)
        return TM_ERR_CLOSED;
    return err == TM_OK && failed != 0 ? tm_err_from_errno(failed) : err;
}

bool tm_client_is_address(const char *text)
{
    struct tm_addr addr;
    return tm_addr_parse(&addr, text) != TM_ERR_INVALID;
}

enum tm_err tm_client_open(struct tm_client *c, const char *address, unsigned timeout_ms)
{
    struct tm_addr addr;
    *c = (struct tm_client){.fd = -1, .timeout_ms = timeout_ms};
    enum tm_err err = tm_addr_resolve(&addr, address);
    if (err != TM_OK)
        return err;
    c->fd = socket(addr.sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->fd < 0)
        return tm_err_from_errno(errno);
    if (connect(c->fd, (const struct sockaddr *)&addr.sa, addr.len) != 0) {
        bool refused = errno == ECONNREFUSED || errno == ENOENT;
        err = refused ? TM_ERR_CLOSED : tm_err_from_errno(errno);
        if (errno == EINPROGRESS)
            err = finish_connect(c->fd, now_ms() + timeout_ms);
    }
    if (err != TM_OK) {
        tm_client_close(c);
        return err;
    }
    int on = 1;
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return TM_OK;
}

void tm_client_close(struct tm_client *c)
{
    if (c->fd >= 0)
        close(c->fd);
    free(c->buf);
    *c = (struct tm_client){.fd = -1};
}

static enum tm_err send_all(struct tm_client *c, struct tm_bytes b, uint64_t deadline)
{
    while (b.len > 0) {
        ssize_t n = send(c->fd, b.data, b.len, MSG_NOSIGNAL);
        if (n > 0) {
            b = tm_bytes_of(b.data + n, b.len - (size_t)n);
            continue;
        }
        if (errno != EAGAIN)
            return errno == EPIPE || errno == ECONNRESET ? TM_ERR_CLOSED : tm_err_from_errno(errno);
        enum tm_err err = wait_for(c->fd, POLLOUT, deadline);
        if (err != TM_OK)
            return err;
    }
    return TM_OK;
}

/* Reads what there is behind buf[0..len), making room first. */
static enum tm_err read_more(struct tm_client *c, uint64_t deadline)
{
    if (c->cap - c->len < 4096) {
        size_t cap = c->cap == 0 ? 16384 : 2 * c->cap;
        uint8_t *more = cap > REPLY_MAX ? NULL : realloc(c->buf, cap);
        if (more == NULL)
            return cap > REPLY_MAX ? TM_ERR_TOOBIG : TM_ERR_NOMEM;
        c->buf = more;
        c->cap = cap;
    }
    enum tm_err err = wait_for(c->fd, POLLIN, deadline);
    if (err != TM_OK)
        return err;
    ssize_t n = recv(c->fd, c->buf + c->len, c->cap - c->len, 0);
    if (n == 0 || (n < 0 && errno == ECONNRESET))
        return TM_ERR_CLOSED;
    if (n < 0)
        return errno == EAGAIN ? TM_OK : tm_err_from_errno(errno);
    c->len += (size_t)n;
    return TM_OK;
}

static enum tm_err send_words(struct tm_client *c, const struct tm_bytes *words, unsigned count,
                              uint64_t deadline)
{
    struct tm_resp_writer w;
    tm_resp_writer_init(&w, REPLY_MAX);
    tm_resp_array(&w, count);
    for (unsigned i = 0; i < count; i++)
        tm_resp_bulk(&w, words[i]);
    enum tm_err err = w.overflow ? TM_ERR_TOOBIG : send_all(c, tm_resp_writer_bytes(&w), deadline);
    tm_resp_writer_free(&w);
    return err;
}

enum tm_err tm_client_ask_bytes(struct tm_client *c, const struct tm_bytes *words, unsigned count,
                                struct tm_bytes *reply)
{
    uint64_t deadline = now_ms() + c->timeout_ms;
    struct tm_resp_skipper skipper = {0};
    size_t used;
    c->len = 0;
    enum tm_err err = send_words(c, words, count, deadline);
    while (err == TM_OK) {
        err = read_more(c, deadline);
        if (err != TM_OK)
            break;
        switch (tm_resp_skip(&skipper, c->buf, c->len, &used)) {
        case TM_RESP_DONE:
            *reply = tm_bytes_of(c->buf, used);
            return TM_OK;
        case TM_RESP_BROKEN:
            return TM_ERR_CORRUPT;
        case TM_RESP_MORE:
            break;
        }
    }
    return err;
}

enum tm_err tm_client_ask(struct tm_client *c, const char *const *words, struct tm_bytes *reply)
{
    struct tm_bytes bytes[WORDS_MAX];
    unsigned count = 0;
    for (; words[count] != NULL; count++) {
        TM_ASSERT(count < WORDS_MAX);
        bytes[count] = tm_bytes_str(words[count]);
    }
    return tm_client_ask_bytes(c, bytes, count, reply);
}

enum tm_err tm_client_text(struct tm_client *c, const char *const *words, char *text, size_t size)
{
    struct tm_bytes reply;
    struct tm_resp_value v;
    size_t used;
    text[0] = '\0';
    enum tm_err err = tm_client_ask(c, words, &reply);
    if (err != TM_OK)
        return err;
    if (tm_resp_read(reply.data, reply.len, &v, &used) != TM_RESP_DONE)
        return TM_ERR_CORRUPT;
    bool is_text = v.type == TM_RESP_SIMPLE || v.type == TM_RESP_BULK ||
                   v.type == TM_RESP_INTEGER || v.type == TM_RESP_VERBATIM;
    if (is_text || v.type == TM_RESP_ERROR)
        snprintf(text, size, "%.*s", (int)tm_min_u64(v.text.len, INT32_MAX), v.text.data);
    return is_text ? TM_OK : TM_ERR_INVALID;
}

const char *tm_client_password(void)
{
    const char *password = getenv("TIDEMILL_REQUIREPASS");
    return password != NULL ? password : "";
}

enum tm_err tm_client_auth(struct tm_client *c, const char *password)
{
    if (password[0] == '\0')
        return TM_OK;
    char text[256];
    enum tm_err err =
        tm_client_text(c, (const char *const[]){"AUTH", password, NULL}, text, sizeof text);
    return err == TM_ERR_INVALID ? TM_ERR_PERMISSION : err;
}

bool tm_info_field(const char *info, const char *name, char *value, size_t size)
{
    size_t len = strlen(name);
    while (info[0] != '\0') {
        size_t line = strcspn(info, "\r\n");
        if (line > len && strncmp(info, name, len) == 0 && info[len] == ':') {
            snprintf(value, size, "%.*s", (int)(line - len - 1), info + len + 1);
            return true;
        }
        info += line + strspn(info + line, "\r\n");
    }
    value[0] = '\0';
    return false;
}
