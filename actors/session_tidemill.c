/* session_tidemill.c: TIDEMILL: what no redis command asks; for `tidemill status`. */
#include "actors/session_internal.h"

void tm_session_local_tidemill(struct tm_session *s, struct tm_resp_writer *w,
                               const struct tm_bytes *argv, unsigned argc)
{
    const struct tm_router *r = s->all->router;
    if (argc == 2 && tm_word_is(argv[1], "PARTITIONS") && r->partitions_of != NULL)
        r->partitions_of(r->host, w);
    else
        tm_resp_error(w, "ERR unknown subcommand; TIDEMILL PARTITIONS is there");
}
