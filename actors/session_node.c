/* session_node.c: local commands that concern all workers of the node (CLIENT LIST, CLIENT KILL).
 *
 * The worker that has the client runs the command for its own sessions, as any local one; then the
 * others are asked to run the same words for theirs, and the replies are joined like those of
 * partitions.  Inside EXEC, where replies are written in one go, it stays with the one worker. */
#include "actors/request_wire.h"
#include "actors/session_internal.h"

void tm_session_spread(struct tm_session *s, enum tm_gather_how how)
{
    s->all->spread = s->all->router->workers > 1;
    s->all->spread_how = (uint8_t)how;
}

/* Asks one; what cannot be asked counts as refused. */
static void ask(struct tm_session *s, uint64_t number, unsigned worker,
                const struct tm_request_command *command)
{
    const struct tm_router *router = s->all->router;
    struct tm_entry *e = tm_session_entry_at(s, number);
    if (e == NULL || e->done)
        return;
    struct tm_request r = {.id = number << TM_PART_BITS | worker,
                           .kind = TM_REQUEST_EXEC,
                           .resp = e->resp,
                           .commands = command,
                           .count = 1};
    size_t size = tm_request_size(&r);
    uint8_t *bytes = size > 0 ? tm_session_alloc(s->all, size) : NULL;
    enum tm_err err = size > 0 ? TM_ERR_NOMEM : TM_ERR_TOOBIG;
    if (bytes != NULL) {
        tm_request_encode(&r, bytes);
        err = router->ask(router->host, worker, s->id, tm_bytes_of(bytes, size));
        tm_session_free(s->all, bytes, size);
    }
    if (err == TM_OK)
        return;
    struct tm_answer a = {.id = r.id, .status = TM_ANSWER_REFUSED, .err = err};
    tm_session_on_answer(s, &a);
}

void tm_session_ask_all(struct tm_session *s, const struct tm_bytes *argv, unsigned argc)
{
    const struct tm_router *router = s->all->router;
    const struct tm_request_command command = {.argv = argv, .argc = argc};
    struct tm_gather *g = tm_gather_new(s, router->workers, 0);
    struct tm_entry *e = g != NULL ? tm_session_entry(s, TM_ENTRY_GATHER) : NULL;
    if (e == NULL) {
        tm_gather_free(s, g);
        return;
    }
    uint64_t number = s->tail - 1;
    struct tm_answer own = {.status = TM_ANSWER_DONE,
                            .reply = tm_resp_writer_bytes(&s->all->scratch)};
    g->how = s->all->spread_how;
    e->gather = g;
    tm_gather_answer(s, e, router->worker, &own);
    for (unsigned w = 0; w < router->workers; w++)
        if (w != router->worker)
            ask(s, number, w, &command);
}

struct tm_bytes tm_sessions_serve(struct tm_sessions *all, const struct tm_request *request)
{
    struct tm_session nobody = {.all = all, .resp = request->resp, .authenticated = true};
    struct tm_resp_writer *w = tm_session_scratch(&nobody, request->resp);
    const struct tm_request_command *words = request->commands;
    const struct tm_command *c = request->count == 1 ? tm_command_find(words->argv[0]) : NULL;
    if (c != NULL && c->local != NULL && tm_command_arity_ok(c, words->argc))
        c->local(&nobody, w, words->argv, words->argc);
    else
        tm_resp_error(w, "ERR the workers of this node do not understand each other");
    all->spread = false;
    return tm_resp_writer_bytes(w);
}
