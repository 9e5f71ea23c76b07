/* The child that evaluates functions: question, answer, until the worker closes its end.
 *
 * A function is compiled once; the interpreter is made anew after anything that went wrong, and
 * when its memory runs low.  A call that takes too much CPU time ends the process by its timer,
 * which is what tells the worker. */
#include "tools/rules.h"
#include "tools/rules_wire.h"
#include "tools/script_heap.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#define QUESTION_MAX TM_MIB(64)

struct server {
    int fd;
    struct tm_script_heap heap;
    duk_context *ctx;
    uint8_t *bytes; /* of the question */
    size_t cap;
};

static void limit_call(unsigned ms)
{
    struct itimerval timer = {.it_value = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000}};
    setitimer(ITIMER_VIRTUAL, &timer, NULL);
}

/* What the interpreter is to do; in a protected call. */
struct job {
    struct tm_bytes function, a, b;
};

/* [ … ] -> [ … function ]: compiled once, kept in the stash under its text. */
static void push_function(duk_context *ctx, struct tm_bytes text)
{
    const char *chars = (const char *)text.data;
    duk_push_global_stash(ctx);
    if (!duk_get_prop_lstring(ctx, -1, chars, text.len)) {
        duk_pop(ctx);
        duk_push_string(ctx, "'use strict'; (");
        duk_push_lstring(ctx, chars, text.len);
        duk_push_string(ctx, "\n)");
        duk_concat(ctx, 3);
        duk_eval(ctx);
        duk_dup_top(ctx);
        duk_put_prop_lstring(ctx, -3, chars, text.len);
    }
    duk_remove(ctx, -2);
}

static duk_ret_t evaluate(duk_context *ctx, void *udata)
{
    const struct job *job = udata;
    push_function(ctx, job->function);
    duk_push_lstring(ctx, (const char *)job->a.data, job->a.len);
    duk_push_lstring(ctx, (const char *)job->b.data, job->b.len);
    duk_call(ctx, 2);
    if (duk_is_number(ctx, -1) && duk_get_number(ctx, -1) - duk_get_number(ctx, -1) == 0)
        (void)duk_to_string(ctx, -1);
    return duk_is_string(ctx, -1) ? 1 : duk_error(ctx, DUK_ERR_TYPE_ERROR, "no value");
}

static bool renew(struct server *s)
{
    if (s->ctx != NULL)
        duk_destroy_heap(s->ctx);
    s->ctx = tm_script_new(&s->heap, TM_RULES_MEMORY);
    return s->ctx != NULL;
}

static bool answer(struct server *s, const struct job *job)
{
    struct tm_rules_answer head = {.err = TM_ERR_INVALID};
    const char *text = NULL;
    duk_size_t len = 0;
    if (s->heap.used > TM_RULES_MEMORY / 2 && !renew(s))
        return false;
    limit_call(TM_RULES_CPU_MS);
    bool done = duk_safe_call(s->ctx, evaluate, (void *)(uintptr_t)job, 0, 1) == DUK_EXEC_SUCCESS;
    limit_call(0);
    if (done) {
        text = duk_get_lstring(s->ctx, -1, &len);
        head = (struct tm_rules_answer){.err = TM_OK, .len = (uint32_t)len};
    }
    bool sent = tm_rules_send(s->fd, &head, sizeof head) && tm_rules_send(s->fd, text, len);
    duk_pop(s->ctx);
    return sent && (done || renew(s));
}

static bool serve_one(struct server *s)
{
    struct tm_rules_question q;
    if (!tm_rules_receive(s->fd, &q, sizeof q))
        return false;
    size_t len = (size_t)q.function + q.a + q.b;
    if (len > QUESTION_MAX)
        return false;
    if (len > s->cap) {
        free(s->bytes);
        s->cap = 2 * len;
        s->bytes = malloc(s->cap);
    }
    if (s->bytes == NULL || !tm_rules_receive(s->fd, s->bytes, len))
        return false;
    const struct job job = {.function = tm_bytes_of(s->bytes, q.function),
                            .a = tm_bytes_of(s->bytes + q.function, q.a),
                            .b = tm_bytes_of(s->bytes + q.function + q.a, q.b)};
    return answer(s, &job);
}

int tm_rules_serve(int fd)
{
    struct rlimit none = {0, 0};
    struct server s = {.fd = fd};
    setrlimit(RLIMIT_CORE, &none);
    (void)close_range(3, ~0U, 0); /* the node's own files are no business of ours */
    if (!renew(&s))
        return 1;
    while (serve_one(&s)) {
    }
    return 0;
}
