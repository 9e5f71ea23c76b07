/* Commands of the system partition. */
#include "actors/commands_internal.h"

#include "actors/directory.h"
#include "actors/incarnation.h"
#include "actors/link_plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* What it takes to judge a change, some hundred KiB each. */
struct judged {
    struct tm_directory held, next;
    struct tm_link_plan links, held_links;
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
    if (why == NULL && j->links.incarnation != 0 &&
        !tm_incarnation_is_of(j->links.incarnation, j->next.uuid))
        why = "op:incarnation is none of this cluster's";
    return why;
}

/* Synchronous links that begin with this version, or ship more, have to let their targets catch up
 * before writes wait for them (link_gate.h): a line says since when.  NULL: done; else why not. */
static const char *note_joins(struct judged *j)
{
    const struct tm_link_base base = {.address = "127.0.0.1", .base_port = TM_LINK_BLOCK_PORTS};
    if (tm_link_plan_parse(&j->held_links, j->held.cluster, j->held.facts, &base, j->why,
                           sizeof j->why) != TM_OK)
        j->held_links.out_count = 0; /* then nobody waits for anything yet */
    if (j->links.incarnation == 0 && j->held_links.incarnation != 0)
        return "op:incarnation may change, but not go";
    for (unsigned i = 0; i < j->links.out_count; i++) {
        char name[sizeof "op:to:/" + TM_LINK_NAME_MAX + 16], version[17];
        if (j->links.out[i].options.mode != TM_LINK_SYNC ||
            tm_link_plan_goes_on(&j->held_links, &j->links, i))
            continue;
        snprintf(name, sizeof name, TM_LINK_OPERATOR_PREFIX "to:%s/%s",
                 j->links.peers[j->links.out[i].peer].name,
                 tm_link_operator_name(TM_LINK_OPERATOR_joined));
        snprintf(version, sizeof version, "%016" PRIx64, j->next.version);
        if (tm_link_facts_put(j->next.facts, sizeof j->next.facts, name, version) != TM_OK)
            return "there is no room for what it says of links";
    }
    j->next.facts_len = (uint32_t)strlen(j->next.facts);
    return NULL;
}

/* Takes the place of what the partition holds, or says why not. */
static void take(struct tm_exec *x, struct judged *j, struct tm_bytes held, struct tm_bytes bytes)
{
    const char *why = refuses(j, held, bytes);
    if (why == NULL)
        why = note_joins(j);
    size_t size = why == NULL ? tm_directory_size(&j->next) : 0;
    uint8_t *next = size > 0 ? malloc(size) : NULL;
    if (why == NULL && next == NULL)
        why = "there is not enough memory to write it";
    if (why != NULL) {
        tm_resp_errorf(x->reply, "ERR the directory is not taken: %s", why);
        return;
    }
    tm_directory_encode(&j->next, next);
    tm_put_string(x, tm_bytes_str(TM_DIRECTORY_KEY), tm_bytes_of(next, size), false);
    free(next);
    tm_reply_ok(x);
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
    struct judged *j = malloc(sizeof *j);
    if (j == NULL)
        tm_resp_error(x->reply,
                      "ERR the directory is not taken: there is not enough memory to read it");
    else
        take(x, j, held.text, argv[1]);
    free(j);
}
