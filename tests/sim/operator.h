/* An operator of a simulated cluster: what `tidemill link` says, and `tidemill apply`. */
#ifndef TM_TESTS_SIM_OPERATOR_H
#define TM_TESTS_SIM_OPERATOR_H

#include "actors/shard_internal.h"
#include "tests/sim/raw_client.h"

static inline bool reply_is_there(void *arg)
{
    const struct client *c = arg;
    return c->len > 0 || c->closed;
}

static inline void send_directory(struct client *c, const struct tm_directory *d)
{
    char head[64];
    size_t len = tm_directory_size(d);
    uint8_t *bytes = malloc(len);
    TM_ASSERT(bytes != NULL);
    tm_directory_encode(d, bytes);
    int n = snprintf(head, sizeof head, "*2\r\n$15\r\nTIDEMILL.CHANGE\r\n$%zu\r\n", len);
    client_send(c, tm_bytes_of(head, (size_t)n));
    tm_sim_send(c->conn, tm_bytes_of(bytes, len));
    tm_sim_send(c->conn, tm_bytes_str("\r\n"));
    free(bytes);
}

/* The next version of the cluster's directory has that line, or has it no more (NULL); all nodes go
 * by it, unless it is refused: returns the answer, which lives until the next call. */
static inline const char *say(struct tm_sim *sim, const char *name, const char *value)
{
    static struct tm_directory next;
    static char answer[256];
    tm_sim_run_for(sim, TM_SECONDS(1)); /* a new cluster writes its directory down */
    next = *tm_sim_shard(sim, 0, 0)->directory;
    next.version++;
    CU_ASSERT_EQUAL(tm_link_facts_put(next.facts, sizeof next.facts, name, value), TM_OK);
    next.facts_len = (uint32_t)strlen(next.facts);
    struct client *c = client_of(sim, 0, 0);
    send_directory(c, &next);
    CU_ASSERT_TRUE(tm_sim_run_until(sim, reply_is_there, c, TM_SECONDS(10)));
    snprintf(answer, sizeof answer, "%s", c->reply);
    leave(c);
    tm_sim_run_for(sim, TM_SECONDS(2));
    for (unsigned i = 0; strcmp(answer, "+OK\r\n") == 0 && i < tm_sim_config_of(sim)->nodes; i++)
        CU_ASSERT_EQUAL(tm_sim_shard(sim, i, 0)->directory->version, next.version);
    return answer;
}

static inline void expect_said(struct tm_sim *sim, const char *name, const char *value)
{
    CU_ASSERT_STRING_EQUAL(say(sim, name, value), "+OK\r\n");
}

#endif
