/* The child builds a Duktape heap over an allocator that counts, takes away Math.random and Date,
 * binds the define functions, runs the file and writes what was declared as JSON into a pipe.
 *
 * What can go wrong: an error in the script (reported with its line), memory beyond the bound (the
 * allocator refuses, Duktape throws), a loop without end (Duktape has no time limit: the parent
 * waits on the pipe with a deadline and kills the child), a crash of the interpreter (the parent
 * sees the signal). */
#include "tools/topology_eval.h"
#include "tools/script_heap.h"
#include "tools/topology_function.h"
#include "runtime/clock.h"

#include <duktape.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* The child's: what it evaluates. */
static struct {
    const char *source;
    size_t len;
} script;

/* The line of the script's statement that called the running C function. */
static int caller_line(duk_context *ctx)
{
    duk_inspect_callstack_entry(ctx, -2);
    int line = 0;
    if (duk_is_object(ctx, -1)) {
        duk_get_prop_string(ctx, -1, "lineNumber");
        line = duk_to_int(ctx, -1);
        duk_pop(ctx);
    }
    duk_pop(ctx);
    return line;
}

/* Replaces the value on top by {"$type": name} if JSON would drop or change it. */
static void mark_unspeakable(duk_context *ctx)
{
    const char *name = NULL;
    if (duk_is_undefined(ctx, -1))
        name = "undefined";
    else if (duk_is_function(ctx, -1))
        name = "function";
    else if (duk_is_nan(ctx, -1))
        name = "NaN";
    else if (duk_is_number(ctx, -1) &&
             (duk_get_number(ctx, -1) > 1e300 || duk_get_number(ctx, -1) < -1e300))
        name = "Infinity";
    if (name == NULL)
        return;
    duk_push_object(ctx);
    duk_push_string(ctx, name);
    duk_put_prop_string(ctx, -2, "$type");
    if (duk_is_function(ctx, -2)) {
        duk_dup(ctx, -2);
        tm_function_push_text(ctx, script.source, script.len);
        duk_put_prop_string(ctx, -2, "text");
    }
    duk_remove(ctx, -2);
}

/* Deep enough for all that options hold; what goes on is left as it is. */
#define DEPTH_MAX   6
#define ENTRIES_MAX 4096

static void copy_value(duk_context *ctx, unsigned depth);

/* [ … object ] -> [ … copy ]: the own properties, each made speakable. */
static void copy_object(duk_context *ctx, unsigned depth)
{
    duk_push_object(ctx);
    duk_enum(ctx, -2, DUK_ENUM_OWN_PROPERTIES_ONLY);
    while (duk_next(ctx, -1, 1)) {
        copy_value(ctx, depth + 1);
        duk_put_prop(ctx, -4); /* object copy enum key value */
    }
    duk_pop(ctx);
    duk_remove(ctx, -2);
}

static void copy_array(duk_context *ctx, unsigned depth)
{
    duk_uarridx_t count = (duk_uarridx_t)duk_get_length(ctx, -1);
    duk_push_array(ctx);
    for (duk_uarridx_t i = 0; i < count; i++) {
        duk_get_prop_index(ctx, -2, i);
        copy_value(ctx, depth + 1);
        duk_put_prop_index(ctx, -2, i);
    }
    duk_remove(ctx, -2);
}

/* [ … value ] -> [ … value or copy ] */
static void copy_value(duk_context *ctx, unsigned depth)
{
    duk_require_stack(ctx, 8);
    bool whole = depth < DEPTH_MAX && duk_is_object(ctx, -1) && !duk_is_function(ctx, -1);
    if (whole && duk_is_array(ctx, -1) && duk_get_length(ctx, -1) <= ENTRIES_MAX)
        copy_array(ctx, depth);
    else if (whole && !duk_is_array(ctx, -1))
        copy_object(ctx, depth);
    else
        mark_unspeakable(ctx);
}

static duk_ret_t define(duk_context *ctx)
{
    duk_push_current_function(ctx);
    duk_get_prop_string(ctx, -1, "name");
    const char *fn = duk_get_string(ctx, -1);
    if (!duk_is_string(ctx, 0))
        return duk_error(ctx, DUK_ERR_TYPE_ERROR, "%s: the first argument must be a name", fn);
    if (!duk_is_undefined(ctx, 1) &&
        (!duk_is_object(ctx, 1) || duk_is_array(ctx, 1) || duk_is_function(ctx, 1)))
        return duk_error(ctx, DUK_ERR_TYPE_ERROR,
                         "%s(\"%s\"): the second argument must be an object of options", fn,
                         duk_get_string(ctx, 0));
    duk_push_global_stash(ctx);
    duk_get_prop_string(ctx, -1, "calls");
    duk_push_object(ctx);
    duk_push_string(ctx, fn);
    duk_put_prop_string(ctx, -2, "fn");
    duk_push_int(ctx, caller_line(ctx));
    duk_put_prop_string(ctx, -2, "line");
    duk_dup(ctx, 0);
    duk_put_prop_string(ctx, -2, "name");
    if (duk_is_undefined(ctx, 1))
        duk_push_object(ctx);
    else
        duk_dup(ctx, 1);
    copy_value(ctx, 0);
    duk_dup_top(ctx);
    duk_json_encode(ctx, -1); /* throws here, where the line is known, if they hold themselves */
    duk_pop(ctx);
    duk_put_prop_string(ctx, -2, "options");
    duk_put_prop_index(ctx, -2, (duk_uarridx_t)duk_get_length(ctx, -2));
    return 0;
}

static void bind(duk_context *ctx, const char *name)
{
    duk_push_c_function(ctx, define, 2);
    duk_push_string(ctx, "name");
    duk_push_string(ctx, name);
    duk_def_prop(ctx, -3, DUK_DEFPROP_HAVE_VALUE | DUK_DEFPROP_FORCE);
    duk_put_global_string(ctx, name);
}

static void prepare_globals(duk_context *ctx)
{
    duk_push_global_stash(ctx);
    duk_push_array(ctx);
    duk_put_prop_string(ctx, -2, "calls");
    duk_pop(ctx);
    bind(ctx, "defineCluster");
    bind(ctx, "defineNode");
    bind(ctx, "defineEntity");
}

static bool write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

/* The child's answer: 'J' and the JSON, or 'E' and one line of error. */
static void answer(int fd, char kind, const char *text)
{
    if (write_all(fd, &kind, 1))
        (void)write_all(fd, text, strlen(text));
}

static void answer_error(duk_context *ctx, int fd)
{
    int line = 0;
    if (duk_is_error(ctx, -1)) {
        duk_get_prop_string(ctx, -1, "lineNumber");
        line = duk_to_int(ctx, -1);
        duk_pop(ctx);
    }
    /* An error thrown by one of our functions carries the line of the C source: take the script's
     * from the trace's frame in the file instead. */
    if (duk_is_object(ctx, -1)) {
        duk_get_prop_string(ctx, -1, "stack");
        const char *stack = duk_is_string(ctx, -1) ? duk_get_string(ctx, -1) : "";
        const char *frame = strstr(stack, "(topology:");
        if (frame != NULL)
            line = (int)strtol(frame + strlen("(topology:"), NULL, 10);
        duk_pop(ctx);
    }
    char text[1024];
    snprintf(text, sizeof text, "%d:%s", line, duk_safe_to_string(ctx, -1));
    answer(fd, 'E', text);
}

/* [ … calls ] -> [ … JSON ], or an error: a value may hold itself, or be too much for the memory.
 */
static duk_ret_t encode(duk_context *ctx, void *udata)
{
    (void)udata;
    return duk_json_encode(ctx, -1) != NULL
               ? 1
               : duk_error(ctx, DUK_ERR_ERROR, "what it defines cannot be read");
}

_Noreturn static void child(const char *source, size_t len, int fd)
{
    struct rlimit cpu = {TM_EVAL_SECONDS + 1, TM_EVAL_SECONDS + 1}, none = {0, 0};
    setrlimit(RLIMIT_CPU, &cpu);
    setrlimit(RLIMIT_CORE, &none);
    struct tm_script_heap heap;
    duk_context *ctx = tm_script_new(&heap, TM_EVAL_MEMORY_MAX);
    if (ctx == NULL)
        _exit(3);
    script.source = source;
    script.len = len;
    prepare_globals(ctx);
    duk_push_string(ctx, "topology");
    if (duk_pcompile_lstring_filename(ctx, 0, source, len) != 0 ||
        duk_pcall(ctx, 0) != DUK_EXEC_SUCCESS) {
        answer_error(ctx, fd);
        _exit(0);
    }
    duk_push_global_stash(ctx);
    duk_get_prop_string(ctx, -1, "calls");
    if (duk_safe_call(ctx, encode, NULL, 1, 1) == DUK_EXEC_SUCCESS)
        answer(fd, 'J', duk_get_string(ctx, -1));
    else
        answer_error(ctx, fd);
    _exit(0);
}

static int64_t now_ms(void)
{
    return (int64_t)(tm_clock_ns() / TM_MS(1));
}

/* Reads until EOF or deadline.  Returns the length, or -1 at the deadline, -2 when too much. */
static ssize_t read_answer(int fd, char *buf, size_t size)
{
    int64_t deadline = now_ms() + TM_EVAL_SECONDS * 1000;
    size_t len = 0;
    for (;;) {
        int64_t left = deadline - now_ms();
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int ready = left > 0 ? poll(&p, 1, (int)left) : 0;
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0)
            return -1;
        ssize_t n = read(fd, buf + len, size - 1 - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        len += (size_t)n;
        if (len == size - 1)
            return -2;
    }
    buf[len] = '\0';
    return (ssize_t)len;
}

/* Turns the child's 'E' line ("LINE:text") into ours. */
static enum tm_err script_error(const char *path, const char *text, char *err, size_t err_size)
{
    int line = (int)strtol(text, NULL, 10);
    const char *what = strchr(text, ':');
    what = what != NULL ? what + 1 : text;
    const char *hint = "";
    if (strstr(what, "SyntaxError: source decode failed") != NULL) {
        snprintf(err, err_size, "%s: is no text in UTF-8: a topology file is JavaScript", path);
        return TM_ERR_INVALID;
    }
    if (strstr(what, "SyntaxError") != NULL)
        hint = " (the language is ES5.1 and const: no let, arrow functions, template strings or "
               "classes)";
    else if (strstr(what, "ReferenceError") != NULL)
        hint = " (the file may call defineCluster, defineEntity and defineNode)";
    else if (strstr(what, "cyclic") != NULL)
        hint = " (an option's value contains itself)";
    else if (strstr(what, "alloc") != NULL)
        hint = " (a topology file may use 64 MiB)";
    if (line > 0)
        snprintf(err, err_size, "%s:%d: %s%s", path, line, what, hint);
    else
        snprintf(err, err_size, "%s: %s%s", path, what, hint);
    return TM_ERR_INVALID;
}

static enum tm_err judge(const char *path, ssize_t len, const char *buf, int status, char **json,
                         char *err, size_t err_size)
{
    if (len == -1) {
        snprintf(err, err_size, "%s: did not end within %d s: look for a loop without end", path,
                 TM_EVAL_SECONDS);
        return TM_ERR_TIMEOUT;
    }
    if (len == -2) {
        snprintf(err, err_size, "%s: declares more than %d MiB", path,
                 (int)(TM_EVAL_OUTPUT_MAX >> 20));
        return TM_ERR_INVALID;
    }
    if (len >= 1 && buf[0] == 'E')
        return script_error(path, buf + 1, err, err_size);
    if (len < 1 || buf[0] != 'J' || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        snprintf(err, err_size, "%s: the interpreter gave up (too deep or too large a script?)",
                 path);
        return TM_ERR_INVALID;
    }
    *json = strdup(buf + 1);
    return *json != NULL ? TM_OK : TM_ERR_NOMEM;
}

enum tm_err tm_topology_eval(const char *path, const char *source, size_t len, char **json,
                             char *err, size_t err_size)
{
    int fds[2];
    char *buf = malloc(TM_EVAL_OUTPUT_MAX + 2);
    if (buf == NULL || pipe(fds) != 0) {
        free(buf);
        snprintf(err, err_size, "%s: cannot evaluate: %s", path, strerror(errno));
        return TM_ERR_IO;
    }
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        close(fds[0]);
        child(source, len, fds[1]);
    }
    close(fds[1]);
    enum tm_err result = TM_ERR_IO;
    if (pid > 0) {
        ssize_t got = read_answer(fds[0], buf, TM_EVAL_OUTPUT_MAX + 2);
        int status = 0;
        if (got < 0)
            kill(pid, SIGKILL);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
        result = judge(path, got, buf, status, json, err, err_size);
    } else {
        snprintf(err, err_size, "%s: cannot fork: %s", path, strerror(errno));
    }
    close(fds[0]);
    free(buf);
    return result;
}
