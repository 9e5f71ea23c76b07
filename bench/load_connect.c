/* load_connect.c: opens the connections of a load run: one address, or with --cluster the owners of
 * all slots that hold at least one of the keys, in turn. */
#include "bench/load_internal.h"

#include "net/addr.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define CONNECT_SECONDS 5
#define SLOTS_REPLY_MAX TM_MIB(4)
#define SEND_ROOM_MAX   TM_MIB(2048)
#define KEYS_LOOKED_AT  65536

static enum tm_err fail(char *why, const char *address, const char *what, int errnum)
{
    snprintf(why, TM_LOAD_WHY_MAX, "%s %.150s: %s", what, address, strerror(errnum));
    return tm_err_from_errno(errnum);
}

/* A connected, blocking socket in *fd. */
static enum tm_err dial(const char *address, int *fd, char *why)
{
    struct tm_addr addr;
    enum tm_err err = tm_addr_resolve(&addr, address);
    if (err != TM_OK) {
        snprintf(why, TM_LOAD_WHY_MAX, "%.150s: %s", address,
                 err == TM_ERR_NOTFOUND ? "no such host" : tm_err_text(err));
        return err;
    }
    *fd = socket(addr.sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (*fd < 0)
        return fail(why, address, "no socket for", errno);
    struct timeval patience = {.tv_sec = CONNECT_SECONDS}, forever = {0};
    setsockopt(*fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    setsockopt(*fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(*fd, (struct sockaddr *)&addr.sa, addr.len) != 0) {
        err = fail(why, address, "cannot connect to", errno == EINPROGRESS ? ETIMEDOUT : errno);
        close(*fd);
        return err;
    }
    setsockopt(*fd, SOL_SOCKET, SO_SNDTIMEO, &forever, sizeof forever);
    int on = 1;
    setsockopt(*fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return TM_OK;
}

static enum tm_err read_slots(struct tm_slot_map *map, int fd, const char *host, char *why)
{
    static const char ask[] = "*2\r\n$7\r\nCLUSTER\r\n$5\r\nSLOTS\r\n";
    uint8_t *reply = malloc(SLOTS_REPLY_MAX);
    size_t len = 0, used = 0;
    struct tm_resp_skipper skipper = {0};
    enum tm_resp_status status = TM_RESP_MORE;
    bool ok = reply != NULL && send(fd, ask, sizeof ask - 1, MSG_NOSIGNAL) == sizeof ask - 1;
    while (ok && status == TM_RESP_MORE) {
        ssize_t n = recv(fd, reply + len, SLOTS_REPLY_MAX - len, 0);
        len += n > 0 ? (size_t)n : 0;
        ok = n > 0 && len < SLOTS_REPLY_MAX;
        status = tm_resp_skip(&skipper, reply, len, &used);
    }
    enum tm_err err = TM_ERR_INVALID;
    if (ok)
        err = tm_slot_map_parse(map, tm_bytes_of(reply, used), host, why, TM_LOAD_WHY_MAX);
    else
        snprintf(why, TM_LOAD_WHY_MAX, "the server did not answer CLUSTER SLOTS");
    free(reply);
    return err;
}

static enum tm_err ask_slots(struct tm_load *l, char *why)
{
    l->map = malloc(sizeof *l->map);
    if (l->map == NULL)
        return TM_ERR_NOMEM;
    int fd = -1;
    enum tm_err err = dial(l->spec->address, &fd, why);
    if (err != TM_OK)
        return err;
    char host[TM_SLOT_MAP_TEXT];
    const char *colon = strrchr(l->spec->address, ':');
    size_t len = colon != NULL ? (size_t)(colon - l->spec->address) : 0;
    snprintf(host, sizeof host, "%.*s", (int)tm_min_u64(len, sizeof host - 1), l->spec->address);
    err = read_slots(l->map, fd, host, why);
    close(fd);
    return err;
}

enum tm_err tm_load_reach(const struct tm_load_spec *spec, char *why)
{
    int fd = -1;
    enum tm_err err = dial(spec->address, &fd, why);
    if (err == TM_OK)
        close(fd);
    return err;
}

/* The owners that every operation of the mix finds a key at; returns their number. */
static unsigned useful_owners(const struct tm_load *l, uint16_t *list)
{
    static unsigned found[TM_SLOT_MAP_OWNERS_MAX][TM_LOAD_OP_COUNT];
    memset(found, 0, sizeof found);
    const struct tm_workload_spec *w = &l->spec->work;
    uint64_t keys = tm_min_u64(w->keys, KEYS_LOOKED_AT);
    for (unsigned op = 0; op < TM_LOAD_OP_COUNT; op++)
        for (uint64_t key = 0; key < keys && w->mix.weight[op] > 0; key++) {
            char text[TM_LOAD_KEY_MAX];
            size_t len = tm_workload_key_text(l->work, (enum tm_load_op)op, key, text);
            found[l->map->of_slot[tm_slot_of_key(tm_bytes_of(text, len))]][op]++;
        }
    unsigned count = 0;
    for (unsigned i = 0; i < l->map->owners; i++) {
        bool all = true;
        for (unsigned op = 0; op < TM_LOAD_OP_COUNT; op++)
            all = all && (w->mix.weight[op] == 0 || found[i][op] > 0);
        if (all)
            list[count++] = (uint16_t)i;
    }
    return count;
}

static enum tm_err make_room(struct tm_load *l, char *why)
{
    const struct tm_load_spec *s = l->spec;
    size_t n = s->connections;
    /* Twice what can be unanswered, since `out` starts anew only when all of it is gone. */
    l->out_cap = 2 * s->pipeline * (l->command_max + l->then_len);
    snprintf(why, TM_LOAD_WHY_MAX,
             "%zu connections with %u operations of %zu bytes each under way need too much memory",
             n, s->pipeline, l->command_max);
    if (l->out_cap > SEND_ROOM_MAX / n)
        return TM_ERR_NOMEM;
    l->conns = calloc(n, sizeof *l->conns);
    l->ready = calloc(n, sizeof *l->ready);
    l->dirty = calloc(n, sizeof *l->dirty);
    l->outs = calloc(n, l->out_cap);
    l->pendings = calloc(n * s->pipeline, sizeof *l->pendings);
    bool ok = l->conns != NULL && l->ready != NULL && l->dirty != NULL && l->outs != NULL &&
              l->pendings != NULL;
    return ok ? TM_OK : TM_ERR_NOMEM;
}

enum tm_err tm_load_connect(struct tm_load *l, char *why)
{
    uint16_t owners[TM_SLOT_MAP_OWNERS_MAX];
    unsigned owner_count = 0;
    enum tm_err err = make_room(l, why);
    if (err == TM_OK && l->spec->cluster) {
        err = ask_slots(l, why);
        owner_count = err == TM_OK ? useful_owners(l, owners) : 0;
        if (err == TM_OK && owner_count == 0) {
            snprintf(why, TM_LOAD_WHY_MAX, "too few --keys: no node has one for each operation");
            return TM_ERR_INVALID;
        }
    }
    for (uint32_t i = 0; i < l->spec->connections && err == TM_OK; i++) {
        uint16_t owner = owner_count > 0 ? owners[i % owner_count] : 0;
        int fd = -1;
        err = dial(owner_count > 0 ? l->map->owner[owner] : l->spec->address, &fd, why);
        if (err != TM_OK)
            break;
        tm_load_conn_init(&l->conns[i], l, i, fd, owner);
    }
    return err;
}

void tm_load_disconnect(struct tm_load *l)
{
    for (uint32_t i = 0; l->conns != NULL && i < l->spec->connections; i++) {
        struct tm_load_conn *c = &l->conns[i];
        if (c->load != NULL)
            close(c->fd >= 0 ? c->fd : -c->fd - 1);
        free(c->in);
    }
    free(l->conns);
    free(l->ready);
    free(l->dirty);
    free(l->outs);
    free(l->pendings);
    free(l->map);
}
