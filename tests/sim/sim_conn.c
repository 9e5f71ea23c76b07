/* A connection carries bytes both ways, some microseconds late: commands into a session of the
 * worker it was made to, replies out of it at the end of that worker's turns.  A paused node takes
 * nothing and notices nothing. */
#include "tests/sim/sim_internal.h"

struct tm_sim_conn *tm_sim_connect(struct tm_sim *sim, unsigned node, unsigned worker,
                                   const struct tm_sim_client *client)
{
    struct tm_sim_node *n = &sim->nodes[node];
    if (!n->up || n->paused || worker >= n->count || !n->workers[worker].begun)
        return NULL;
    struct tm_session_peer peer = {.addr = "10.9.9.9:999", .laddr = "10.0.0.1:7000"};
    struct tm_sim_conn *c = calloc(1, sizeof *c);
    TM_ASSERT(c != NULL);
    *c = (struct tm_sim_conn){.sim = sim, .worker = &n->workers[worker], .client = *client};
    c->session = tm_session_open(tm_shard_sessions(c->worker->shard), &peer, c);
    c->arrives = UINT64_MAX;
    if (c->session == NULL) {
        free(c);
        return NULL;
    }
    c->next = sim->conns;
    sim->conns = c;
    return c;
}

struct tm_sim_conn *tm_sim_connect_any(struct tm_sim *sim, struct tm_rng *rng,
                                       const struct tm_sim_client *client, unsigned *node,
                                       unsigned *worker)
{
    unsigned nodes = tm_sim_config_of(sim)->nodes;
    struct tm_sim_conn *conn = NULL;
    for (unsigned tries = 0; tries < 8 * nodes && conn == NULL; tries++) {
        *node = (unsigned)tm_rng_below(rng, nodes);
        if (!tm_sim_is_up(sim, *node))
            continue;
        *worker = (unsigned)tm_rng_below(rng, tm_sim_workers(sim, *node));
        conn = tm_sim_connect(sim, *node, *worker, client);
    }
    return conn;
}

static void append(uint8_t **buf, size_t *len, size_t *cap, struct tm_bytes bytes)
{
    if (*len + bytes.len > *cap) {
        *cap = tm_align_up((*len + bytes.len) * 2, 64);
        *buf = realloc(*buf, *cap);
        TM_ASSERT(*buf != NULL);
    }
    memcpy(*buf + *len, bytes.data, bytes.len);
    *len += bytes.len;
}

static void arrive_at(struct tm_sim_conn *c, uint64_t at)
{
    c->arrives = at;
    c->sim->conns_due = tm_min_u64(c->sim->conns_due, at);
}

static void arrive_soon(struct tm_sim_conn *c)
{
    arrive_at(c, c->sim->now + TM_US(5) + tm_rng_below(&c->sim->rng, TM_US(50)));
}

void tm_sim_send(struct tm_sim_conn *c, struct tm_bytes bytes)
{
    append(&c->in, &c->in_len, &c->in_cap, bytes);
    if (c->arrives == UINT64_MAX)
        arrive_soon(c);
}

void tm_sim_disconnect(struct tm_sim_conn *c)
{
    c->client = (struct tm_sim_client){0};
    c->closing = true;
    arrive_at(c, c->sim->now);
}

static void conn_free(struct tm_sim_conn *c)
{
    free(c->in);
    free(c->out);
    free(c);
}

/* What the client sent reaches the session, or the connection ends. */
static void conn_arrive(struct tm_sim_conn *c)
{
    c->arrives = UINT64_MAX;
    if (c->closing || c->session == NULL || !c->worker->node->up)
        return;
    tm_sim_wake(c->worker);
    if (!tm_session_wants_input(c->session)) {
        arrive_soon(c);
        return;
    }
    size_t len = c->in_len;
    c->in_len = 0;
    if (len > 0)
        tm_session_input(c->session, c->in, len);
}

/* Takes the whole replies out of what the node sent. */
static void conn_replies(struct tm_sim_conn *c)
{
    size_t at = 0, used;
    while (!c->closing && c->client.reply != NULL) {
        enum tm_resp_status st = tm_resp_skip(&c->skipper, c->out + at, c->out_len - at, &used);
        TM_ASSERT(st != TM_RESP_BROKEN);
        if (st != TM_RESP_DONE)
            break;
        at += used;
        tm_sim_hash_bytes(&c->sim->hash, c->out + at - used, used);
        c->client.reply(c->client.host, c, tm_bytes_of(c->out + at - used, used));
    }
    if (at > 0)
        memmove(c->out, c->out + at, c->out_len - at);
    c->out_len -= at;
}

void tm_sim_conns_pump(struct tm_sim_worker *w)
{
    struct tm_session *s;
    while ((s = tm_sessions_next_ready(tm_shard_sessions(w->shard))) != NULL) {
        struct tm_sim_conn *c = tm_session_owner(s);
        struct tm_bytes pieces[8];
        unsigned n;
        while ((n = tm_session_output(s, pieces, 8)) > 0) {
            size_t len = 0;
            for (unsigned i = 0; i < n; len += pieces[i].len, i++)
                append(&c->out, &c->out_len, &c->out_cap, pieces[i]);
            tm_session_sent(s, len);
        }
        conn_replies(c);
        if (tm_session_wants_close(s)) {
            tm_session_close(s);
            c->session = NULL;
            c->closing = true;
            arrive_at(c, w->sim->now);
        }
    }
}

static bool over(const struct tm_sim_conn *c)
{
    return c->closing && c->arrives <= c->sim->now && !c->worker->node->paused;
}

void tm_sim_conns_reap(struct tm_sim *sim)
{
    if (sim->conns_due > sim->now)
        return;
    for (struct tm_sim_conn **at = &sim->conns; *at != NULL;) {
        struct tm_sim_conn *c = *at;
        if (!over(c)) {
            at = &c->next;
            continue;
        }
        *at = c->next;
        if (c->session != NULL) {
            tm_session_close(c->session);
            tm_sim_wake(c->worker);
        }
        if (c->client.closed != NULL)
            c->client.closed(c->client.host, c);
        conn_free(c);
        at = &sim->conns; /* the call may have connected anew */
    }
}

uint64_t tm_sim_conns_due(const struct tm_sim *sim)
{
    return sim->conns_due;
}

void tm_sim_conns_step(struct tm_sim *sim)
{
    if (sim->conns_due > sim->now)
        return;
    for (struct tm_sim_conn *c = sim->conns; c != NULL; c = c->next)
        if (c->arrives <= sim->now && !c->closing && !c->worker->node->paused)
            conn_arrive(c);
    tm_sim_conns_reap(sim);
    sim->conns_due = UINT64_MAX;
    for (const struct tm_sim_conn *c = sim->conns; c != NULL; c = c->next)
        if (!c->worker->node->paused)
            sim->conns_due = tm_min_u64(sim->conns_due, c->arrives);
}

void tm_sim_conns_close(struct tm_sim_node *n)
{
    for (struct tm_sim_conn *c = n->sim->conns; c != NULL; c = c->next)
        if (c->worker->node == n) {
            c->session = NULL;
            c->closing = true;
            arrive_at(c, n->sim->now);
        }
}

void tm_sim_conns_free(struct tm_sim *sim)
{
    while (sim->conns != NULL) {
        struct tm_sim_conn *c = sim->conns;
        sim->conns = c->next;
        conn_free(c);
    }
}
