/* Commands of the system partition. */
#include "actors/commands_internal.h"

#include "actors/directory.h"
#include "actors/link_plan.h"

#include <stdlib.h>

/* What it takes to judge a change, some hundred KiB each. */
struct judged {
    struct tm_directory held, next;
    struct tm_link_plan links;
    char why[256];
};

/* Why the bytes may not follow what is held; NULL: they may.  Lives as long as j. */
static const char *refuses(struct judged *j, struct tm_bytes held, struct tm_bytes bytes)
{
    const struct tm_link_base base = {.address = "127.0.0.1", .base_port = TM_LINK_BLOCK_PORTS};
    if (tm_directory_decode(bytes, &j->next) != TM_OK)
        return "these bytes are no directory";
    if (tm_directory_decode(held, &j->held) != TM_OK)
        return "the present directory cannot be read";
    const char *why = tm_directory_refuses(&j->held, &j->next);
    if (why == NULL && tm_link_plan_parse(&j->links, j->next.cluster, j->next.facts, &base, j->why,
                                          sizeof j->why) != TM_OK)
        why = j->why;
    return why;
}

/* Whether the bytes may take the place of what the partition holds; else the error is written. */
static bool may_follow(struct tm_exec *x, struct tm_bytes held, struct tm_bytes bytes)
{
    struct judged *j = malloc(sizeof *j);
    const char *why = "there is not enough memory to read it";
    if (j != NULL)
        why = refuses(j, held, bytes);
    if (why != NULL)
        tm_resp_errorf(x->reply, "ERR the directory is not taken: %s", why);
    free(j);
    return why == NULL;
}

/* TIDEMILL.CHANGE <bytes>: the next version. */
void tm_cmd_tidemill_change(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc)
{
    struct tm_bytes key = tm_bytes_str(TM_DIRECTORY_KEY);
    const struct tm_entity *e;
    struct tm_value held;
    (void)argc;
    if (!tm_find_string(x, key, &e, &held))
        return;
    if (e == NULL) {
        tm_resp_error(x->reply, "TRYAGAIN the directory is not in the system partition yet");
        return;
    }
    if (!may_follow(x, held.text, argv[1]))
        return;
    tm_put_string(x, key, argv[1], false);
    tm_reply_ok(x);
}
