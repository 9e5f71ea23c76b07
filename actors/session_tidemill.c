/* session_tidemill.c: TIDEMILL: what no redis command asks; for `tidemill status` and `recover`. */
#include "actors/session_internal.h"

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

void tm_session_local_tidemill(struct tm_session *s, struct tm_resp_writer *w,
                               const struct tm_bytes *argv, unsigned argc)
{
    const struct tm_router *r = s->all->router;
    if (argc == 2 && tm_word_is(argv[1], "PARTITIONS") && r->partitions_of != NULL)
        r->partitions_of(r->host, w);
    else if (argc == 3 && tm_word_is(argv[1], "RECOVER") && r->recover != NULL)
        recover(r, argv[2], w);
    else
        tm_resp_error(w, "ERR unknown subcommand; there are TIDEMILL PARTITIONS and TIDEMILL "
                         "RECOVER <partition>");
}
