/* Commands of the system partition. */
#include "actors/commands_internal.h"

#include "actors/directory.h"

#include <stdlib.h>

/* Whether the bytes may take the place of what the partition holds; else the error is written. */
static bool may_follow(struct tm_exec *x, struct tm_bytes held, struct tm_bytes bytes)
{
    struct tm_directory *both = malloc(2 * sizeof *both);
    const char *why = "there is not enough memory to read it";
    if (both != NULL && tm_directory_decode(bytes, &both[1]) != TM_OK)
        why = "these bytes are no directory";
    else if (both != NULL && tm_directory_decode(held, &both[0]) != TM_OK)
        why = "the present directory cannot be read";
    else if (both != NULL)
        why = tm_directory_refuses(&both[0], &both[1]);
    free(both);
    if (why != NULL)
        tm_resp_errorf(x->reply, "ERR the directory is not taken: %s", why);
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
