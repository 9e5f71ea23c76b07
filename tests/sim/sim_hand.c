/* An answer is kept as text until the next one. */
#include "tests/sim/sim_hand.h"

#include "net/resp.h"

#include <stdio.h>
#include <stdlib.h>

struct tm_sim_hand {
    struct tm_sim *sim;
    struct tm_sim_conn *conn; /* NULL: closed */
    unsigned answers, wanted;
    char text[4096];
};

/* Writes the element at the front of `rest` as text, with all that is in it. */
static size_t put(char *text, size_t size, struct tm_bytes *rest)
{
    struct tm_resp_value v;
    size_t used, n = 0;
    if (tm_resp_read(rest->data, rest->len, &v, &used) != TM_RESP_DONE)
        return 0;
    *rest = tm_bytes_of(rest->data + used, rest->len - used);
    switch (v.type) {
    case TM_RESP_NULL:
        return (size_t)snprintf(text, size, "(nil)");
    case TM_RESP_INTEGER:
        return (size_t)snprintf(text, size, "%lld", (long long)v.integer);
    case TM_RESP_ARRAY:
        n += (size_t)snprintf(text, size, "[");
        for (uint64_t i = 0; i < v.count && n + 2 < size; i++) {
            if (i > 0)
                text[n++] = ' ';
            n += put(text + n, size - n, rest);
        }
        return n + (size_t)snprintf(text + n, size - n, "]");
    default:
        return (size_t)snprintf(text, size, "%.*s", (int)tm_min_u64(v.text.len, size - 1),
                                (const char *)v.text.data);
    }
}

static void on_reply(void *host, struct tm_sim_conn *conn, struct tm_bytes reply)
{
    struct tm_sim_hand *h = host;
    (void)conn;
    h->answers++;
    (void)put(h->text, sizeof h->text, &reply);
}

static void on_closed(void *host, struct tm_sim_conn *conn)
{
    struct tm_sim_hand *h = host;
    (void)conn;
    h->conn = NULL;
    snprintf(h->text, sizeof h->text, "closed");
}

struct tm_sim_hand *tm_sim_hand_new(struct tm_sim *sim, unsigned node, unsigned worker)
{
    struct tm_sim_hand *h = calloc(1, sizeof *h);
    TM_ASSERT(h != NULL);
    struct tm_sim_client client = {.host = h, .reply = on_reply, .closed = on_closed};
    h->sim = sim;
    h->conn = tm_sim_connect(sim, node, worker, &client);
    if (h->conn != NULL)
        return h;
    free(h);
    return NULL;
}

void tm_sim_hand_free(struct tm_sim_hand *h)
{
    if (h->conn != NULL)
        tm_sim_disconnect(h->conn);
    free(h);
}

void tm_sim_hand_send(struct tm_sim_hand *h, const char *line)
{
    struct tm_resp_writer out;
    unsigned words = 1;
    for (const char *at = line; *at != '\0'; at++)
        words += *at == ' ';
    h->wanted++;
    if (h->conn == NULL)
        return;
    tm_resp_writer_init(&out, TM_MIB(1));
    tm_resp_array(&out, words);
    for (const char *at = line; words > 0; words--) {
        size_t len = strcspn(at, " ");
        tm_resp_bulk(&out, tm_bytes_of(at, len));
        at += len + 1;
    }
    tm_sim_send(h->conn, tm_resp_writer_bytes(&out));
    tm_resp_writer_free(&out);
}

unsigned tm_sim_hand_answers(const struct tm_sim_hand *h)
{
    return h->answers;
}

const char *tm_sim_hand_text(const struct tm_sim_hand *h)
{
    return h->text;
}

static bool answered(void *arg)
{
    const struct tm_sim_hand *h = arg;
    return h->conn == NULL || h->answers >= h->wanted;
}

const char *tm_sim_hand_ask(struct tm_sim_hand *h, const char *line)
{
    h->text[0] = '\0';
    tm_sim_hand_send(h, line);
    if (!tm_sim_run_until(h->sim, answered, h, TM_SECONDS(20)))
        h->text[0] = '\0';
    return h->text;
}
