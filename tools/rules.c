/* The worker's end: starts the child, asks, and waits for the answer.  Anything but an answer is
 * the child's end. */
#include "tools/rules.h"

#include "runtime/clock.h"
#include "runtime/hash.h"
#include "tools/rules_wire.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define RESTING    16
#define OUTS       4 /* an answer lives until three more were given */
#define ANSWER_MAX TM_MIB(16)

struct tm_rules {
    char *program;
    int fd;    /* -1: there is no child */
    pid_t pid; /* of the child */
    struct {
        uint64_t function; /* hash of its text */
        uint64_t until;
    } rest[RESTING];
    unsigned rests; /* ever */
    unsigned turn;
    struct {
        uint8_t *bytes;
        size_t cap;
    } out[OUTS];
};

struct tm_rules *tm_rules_new(const char *program)
{
    struct tm_rules *r = calloc(1, sizeof *r);
    if (r == NULL)
        return NULL;
    r->fd = -1;
    r->program = strdup(program);
    if (r->program == NULL) {
        free(r);
        return NULL;
    }
    return r;
}

static void end_child(struct tm_rules *r)
{
    if (r->fd < 0)
        return;
    close(r->fd);
    r->fd = -1;
    (void)kill(r->pid, SIGKILL);
    while (waitpid(r->pid, NULL, 0) < 0 && errno == EINTR) {
    }
}

void tm_rules_free(struct tm_rules *r)
{
    if (r == NULL)
        return;
    end_child(r);
    for (unsigned i = 0; i < OUTS; i++)
        free(r->out[i].bytes);
    free(r->program);
    free(r);
}

/* With no signal blocked and none ignored, whatever this thread has. */
static int spawn(struct tm_rules *r, int fd)
{
    char *argv[] = {(char *)"tidemill", (char *)TM_RULES_COMMAND, NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, fd, STDIN_FILENO);
    int e = posix_spawn(&r->pid, r->program, &files, &attr, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attr);
    return e;
}

static bool begin_child(struct tm_rules *r)
{
    struct timeval wait = {TM_RULES_WAIT_MS / 1000, TM_RULES_WAIT_MS % 1000 * 1000};
    int fd[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) != 0)
        return false;
    (void)setsockopt(fd[0], SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    (void)setsockopt(fd[0], SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    int e = spawn(r, fd[1]);
    close(fd[1]);
    if (e != 0) {
        close(fd[0]);
        return false;
    }
    r->fd = fd[0];
    return true;
}

static bool ask(struct tm_rules *r, struct tm_bytes function, struct tm_bytes a, struct tm_bytes b)
{
    struct tm_rules_question q = {(uint32_t)function.len, (uint32_t)a.len, (uint32_t)b.len};
    return tm_rules_send(r->fd, &q, sizeof q) &&
           tm_rules_send(r->fd, function.data, function.len) &&
           tm_rules_send(r->fd, a.data, a.len) && tm_rules_send(r->fd, b.data, b.len);
}

static bool receive(struct tm_rules *r, enum tm_err *err, struct tm_bytes *out)
{
    struct tm_rules_answer head;
    unsigned turn = r->turn++ % OUTS;
    if (!tm_rules_receive(r->fd, &head, sizeof head) || head.len > ANSWER_MAX)
        return false;
    if (head.len > r->out[turn].cap) {
        free(r->out[turn].bytes);
        r->out[turn].bytes = malloc(head.len);
        r->out[turn].cap = r->out[turn].bytes != NULL ? head.len : 0;
    }
    if (head.len > r->out[turn].cap || !tm_rules_receive(r->fd, r->out[turn].bytes, head.len))
        return false;
    *err = head.err == TM_OK ? TM_OK : TM_ERR_INVALID;
    *out = tm_bytes_of(r->out[turn].bytes, head.len);
    return true;
}

static bool is_resting(const struct tm_rules *r, uint64_t function)
{
    for (unsigned i = 0; i < RESTING; i++)
        if (r->rest[i].function == function && tm_clock_ns() < r->rest[i].until)
            return true;
    return false;
}

static void rest(struct tm_rules *r, uint64_t function)
{
    unsigned i = r->rests++ % RESTING;
    r->rest[i].function = function;
    r->rest[i].until = tm_clock_ns() + TM_MS(TM_RULES_REST_MS);
}

enum tm_err tm_rules_call(void *rules, const char *function, struct tm_bytes a, struct tm_bytes b,
                          struct tm_bytes *out)
{
    struct tm_rules *r = rules;
    enum tm_err err = TM_ERR_TIMEOUT;
    uint64_t hash = tm_hash64(function, strlen(function), 0);
    if (is_resting(r, hash))
        return TM_ERR_TIMEOUT;
    if (r->fd >= 0 || begin_child(r)) {
        if (ask(r, tm_bytes_str(function), a, b) && receive(r, &err, out))
            return err;
    } else {
        err = TM_ERR_IO;
    }
    end_child(r);
    rest(r, hash);
    return err;
}
