/* session_tidemill.c: TIDEMILL: what no redis command asks; for `tidemill status` and `recover`. */
#include "actors/session_internal.h"

#include <stdio.h>

static void recover(const struct tm_router *r, struct tm_bytes word, struct tm_resp_writer *w)
{
    uint32_t partition = 0;
    bool good = word.len >= 1 && word.len <= 6;
    for (size_t i = 0; i < word.len && good; i++) {
        good = word.data[i] >= '0' && word.data[i] <= '9';
        partition = partition * 10 + (word.data[i] - '0');
    }
    if (good && partition <= r->partitions)
        r->recover(r->host, partition, w);
    else
        tm_resp_error(w, "ERR there is no such partition");
}

static void pair(struct tm_resp_writer *w, const char *name, const char *value)
{
    tm_resp_bulk_str(w, name);
    tm_resp_bulk_str(w, value);
}

/* The workers of all nodes: what CLUSTER NODES has no place for is the node's name. */
static void members(const struct tm_router *r, struct tm_resp_writer *w)
{
    uint32_t count = r->member_count(r->host);
    tm_resp_array(w, count);
    for (uint32_t i = 0; i < count; i++) {
        struct tm_router_member m;
        char address[80];
        r->member(r->host, i, &m);
        snprintf(address, sizeof address, "%s:%u", m.ip, m.port);
        tm_resp_array(w, 10);
        pair(w, "id", m.id);
        pair(w, "node", m.node);
        pair(w, "address", address);
        tm_resp_bulk_str(w, "worker");
        tm_resp_bulk_u64(w, m.worker);
        tm_resp_bulk_str(w, "alive");
        tm_resp_bulk_u64(w, m.alive);
    }
}

/* Of all workers of the node. */
static void links(struct tm_session *s, struct tm_resp_writer *w)
{
    const struct tm_router *r = s->all->router;
    r->links(r->host, w);
    tm_session_spread(s, TM_GATHER_CONCAT);
}

void tm_session_local_tidemill(struct tm_session *s, struct tm_resp_writer *w,
                               const struct tm_bytes *argv, unsigned argc)
{
    const struct tm_router *r = s->all->router;
    if (argc == 2 && tm_word_is(argv[1], "PARTITIONS") && r->partitions_of != NULL)
        r->partitions_of(r->host, w);
    else if (argc == 2 && tm_word_is(argv[1], "LINKS") && r->links != NULL)
        links(s, w);
    else if (argc > 2 && tm_word_is(argv[1], "LINK") && r->link_order != NULL &&
             r->link_order(r->host, argv + 2, argc - 2, w))
        tm_session_spread(s, TM_GATHER_CONCAT);
    else if (argc == 2 && tm_word_is(argv[1], "MEMBERS"))
        members(r, w);
    else if (argc == 2 && tm_word_is(argv[1], "DIRECTORY") && r->directory != NULL)
        r->directory(r->host, w);
    else if (argc == 3 && tm_word_is(argv[1], "RECOVER") && r->recover != NULL)
        recover(r, argv[2], w);
    else
        tm_resp_error(w, "ERR unknown subcommand; there are TIDEMILL MEMBERS, TIDEMILL PARTITIONS, "
                         "TIDEMILL LINKS, TIDEMILL DIRECTORY and TIDEMILL RECOVER <partition>");
}
