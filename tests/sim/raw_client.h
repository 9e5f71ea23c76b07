/* A client of a simulated cluster that sees replies as they come, byte by byte; sim_hand.h has one
 * that reads them. */
#ifndef TM_TESTS_SIM_RAW_CLIENT_H
#define TM_TESTS_SIM_RAW_CLIENT_H

#include "tests/sim/sim_cluster.h"
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>

struct client {
    struct tm_sim *sim;
    struct tm_sim_conn *conn;
    char *reply; /* the last one, with a 0 behind it */
    size_t len;
    unsigned replies;
    bool closed;
};

static inline void client_take(struct client *c, struct tm_bytes reply)
{
    free(c->reply);
    c->reply = malloc(reply.len + 1);
    TM_ASSERT(c->reply != NULL);
    if (reply.len > 0)
        memcpy(c->reply, reply.data, reply.len);
    c->reply[reply.len] = '\0';
    c->len = reply.len;
}

static inline void client_reply(void *host, struct tm_sim_conn *conn, struct tm_bytes reply)
{
    struct client *c = host;
    (void)conn;
    c->replies++;
    client_take(c, reply);
}

static inline void client_closed(void *host, struct tm_sim_conn *conn)
{
    struct client *c = host;
    (void)conn;
    c->closed = true;
    c->conn = NULL;
}

static inline struct client *client_of(struct tm_sim *sim, unsigned node, unsigned worker)
{
    struct client *c = calloc(1, sizeof *c);
    TM_ASSERT(c != NULL);
    struct tm_sim_client callbacks = {.host = c, .reply = client_reply, .closed = client_closed};
    c->sim = sim;
    client_take(c, tm_bytes_str(""));
    c->conn = tm_sim_connect(sim, node, worker, &callbacks);
    CU_ASSERT_PTR_NOT_NULL_FATAL(c->conn);
    return c;
}

static inline void leave(struct client *c)
{
    if (!c->closed)
        tm_sim_disconnect(c->conn);
    free(c->reply);
    free(c);
}

/* Sends bytes to which there is one reply, which is then waited for by `answered`. */
static inline void client_send(struct client *c, struct tm_bytes bytes)
{
    c->replies = 0;
    client_take(c, tm_bytes_str(""));
    tm_sim_send(c->conn, bytes);
}

static inline bool answered(void *arg)
{
    const struct client *c = arg;
    return c->replies > 0 || c->closed;
}

#endif
