/* The secret keeps other users of the machine off the node's memory.  The first node of a cluster
 * that starts makes it: written to a file of its own name, then linked to the final one, so that
 * nobody ever reads half of it, and of two that make it at once one wins and both read that.
 *
 * The file may go while nodes run: systemd removes what a user has in /dev/shm when he logs out.  A
 * node that made another secret then would be a stranger to those that run.  So one of the running
 * nodes, whichever holds the name "keeper", puts the file back, and who finds it missing while
 * there is a keeper gives it time to. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "net/dpdk_internal.h"
#include "net/fdpass.h"
#include "runtime/hash.h"

#define HEX_CHARS      (TM_DPDK_SECRET_MAX - 2) /* an even number, one byte less than memif takes */
#define KEEPER_WAIT_MS 3000                     /* the keeper looks about once a second */

static enum tm_err refuse(enum tm_err err, const char *path, const char *what, char *why,
                          size_t size)
{
    snprintf(why, size, "dpdk: %s %s", path, what);
    return err;
}

/* Puts the file there, unless one has come meanwhile. */
static int secret_write(const char *path, const char *text)
{
    char temporary[4096];
    snprintf(temporary, sizeof temporary, "%s.%ld", path, (long)getpid());
    unlink(temporary);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno;
    int err = write(fd, text, HEX_CHARS) == HEX_CHARS && fsync(fd) == 0 ? 0 : errno;
    close(fd);
    if (err == 0 && link(temporary, path) != 0 && errno != EEXIST)
        err = errno;
    unlink(temporary);
    return err;
}

static int secret_make(const char *path)
{
    uint8_t random[HEX_CHARS / 2];
    char text[HEX_CHARS + 1];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return errno;
    for (size_t i = 0; i < sizeof random; i++)
        snprintf(text + 2 * i, 3, "%02x", random[i]);
    return secret_write(path, text);
}

static void keeper_name(const char *path, char *name, size_t size)
{
    snprintf(name, size, "@tm-%u-%016llx-keeper", (unsigned)geteuid(),
             (unsigned long long)tm_hash64(path, strlen(path), 0));
}

/* Whether a node of this user runs that puts a missing file back. */
static bool is_kept(const char *path)
{
    char name[80];
    keeper_name(path, name, sizeof name);
    int fd = tm_unix_connect(name);
    if (fd < 0)
        return fd == -EAGAIN; /* it accepts nobody: its backlog is full after a while */
    bool kept = tm_unix_peer_uid(fd) == (int64_t)geteuid();
    close(fd);
    return kept;
}

/* Opens the file, or -1 with errno; a missing one is waited for while it has a keeper. */
static int secret_open(const char *path)
{
    const struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};
    for (unsigned waited = 0;; waited += 20) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0 || errno != ENOENT)
            return fd;
        if (waited >= KEEPER_WAIT_MS || !is_kept(path)) {
            errno = ENOENT;
            return -1;
        }
        nanosleep(&pause, NULL);
    }
}

static enum tm_err secret_read(int fd, const char *path, char *secret, char *why, size_t size)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return refuse(TM_ERR_IO, path, strerror(errno), why, size);
    if (st.st_uid != geteuid() || (st.st_mode & 077) != 0)
        return refuse(TM_ERR_PERMISSION, path,
                      "must belong to this user and be readable by nobody else (chmod 600)", why,
                      size);
    char text[TM_DPDK_SECRET_MAX] = "";
    ssize_t got = read(fd, text, sizeof text - 1);
    if (got != HEX_CHARS || strspn(text, "0123456789abcdef") != HEX_CHARS)
        return refuse(TM_ERR_CORRUPT, path,
                      "is not a secret of tidemill: stop the cluster and delete it", why, size);
    memcpy(secret, text, sizeof text);
    return TM_OK;
}

enum tm_err tm_dpdk_secret_get(const char *path, char *secret, char *why, size_t size)
{
    int fd = secret_open(path);
    if (fd < 0 && errno == ENOENT) {
        int err = secret_make(path);
        if (err != 0)
            return refuse(tm_err_from_errno(err), path, strerror(err), why, size);
        fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    if (fd < 0)
        return refuse(tm_err_from_errno(errno), path, strerror(errno), why, size);
    enum tm_err err = secret_read(fd, path, secret, why, size);
    close(fd);
    return err;
}

bool tm_dpdk_keep_secret(struct tm_dpdk *net)
{
    char name[80];
    if (!tm_dpdk_is_memif(net))
        return false;
    keeper_name(net->secret_path, name, sizeof name);
    if (net->keeper_fd < 0)
        net->keeper_fd = tm_unix_listen(name, 1);
    return net->keeper_fd >= 0 && access(net->secret_path, F_OK) != 0 && errno == ENOENT &&
           secret_write(net->secret_path, net->secret) == 0;
}
