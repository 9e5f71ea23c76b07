/* portlock.c: lock file first, then the probe: between the two nobody who follows the same rule
 * can take the port. */
#include "net/portlock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define SHARED_DIR  01777
#define SHARED_FILE 0666

static enum tm_err fail(struct tm_portlock *lock, enum tm_err err)
{
    tm_portlock_release(lock);
    return err;
}

/* The umask is the process's; chmod makes the mode what all users need.  Of another user's folder
 * or file it fails, and is right already. */
static int open_shared(const char *dir, uint16_t port)
{
    char path[512];
    if (mkdir(dir, SHARED_DIR) == 0 && chmod(dir, SHARED_DIR) != 0)
        return -errno;
    int n = snprintf(path, sizeof path, "%s/port-%u.lock", dir, port);
    if (n < 0 || (size_t)n >= sizeof path)
        return -ENAMETOOLONG;
    /* No O_CREAT on a file that exists: the kernel forbids it for another user's file in a sticky
     * folder (fs.protected_regular). */
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT) {
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, SHARED_FILE);
        if (fd >= 0 && fchmod(fd, SHARED_FILE) != 0) {
            int errnum = errno;
            close(fd);
            return -errnum;
        }
    }
    return fd < 0 ? -errno : fd;
}

static long holder(int fd)
{
    char text[32] = {0};
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    return n > 0 ? strtol(text, NULL, 10) : 0;
}

static bool write_holder(int fd)
{
    char text[32];
    int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    return ftruncate(fd, 0) == 0 && pwrite(fd, text, (size_t)n, 0) == n;
}

static enum tm_err probe(const struct tm_addr *addr, char *why, size_t why_len)
{
    char text[TM_ADDR_TEXT];
    int on = 1;
    tm_addr_format(addr, text, sizeof text);
    int fd = socket(addr->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int errnum = 0;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, (const struct sockaddr *)&addr->sa, addr->len) != 0 || listen(fd, 1) != 0)
        errnum = errno;
    if (fd >= 0)
        close(fd);
    switch (errnum) {
    case 0:
        return TM_OK;
    case EADDRINUSE:
        snprintf(why, why_len, "%s is in use by another program: choose another port", text);
        return TM_ERR_LOCKED;
    case EADDRNOTAVAIL:
        snprintf(why, why_len, "%s is not an address of this machine", text);
        return TM_ERR_NOTFOUND;
    case EACCES:
        snprintf(why, why_len, "this user may not listen on %s: choose a port above 1023", text);
        return TM_ERR_PERMISSION;
    default:
        snprintf(why, why_len, "cannot listen on %s: %s", text, strerror(errnum));
        return tm_err_from_errno(errnum);
    }
}

enum tm_err tm_portlock_acquire(struct tm_portlock *lock, const char *dir,
                                const struct tm_addr *addr, char *why, size_t why_len)
{
    uint16_t port = tm_addr_port(addr);
    TM_ASSERT(port != 0);
    lock->fd = -1;
    int fd = open_shared(dir, port);
    if (fd < 0) {
        snprintf(why, why_len, "cannot lock port %u in %s: %s", port, dir, strerror(-fd));
        return tm_err_from_errno(-fd);
    }
    lock->fd = fd;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        snprintf(why, why_len, "port %u is held by the tidemill process %ld", port, holder(fd));
        return fail(lock, errno == EWOULDBLOCK ? TM_ERR_LOCKED : tm_err_from_errno(errno));
    }
    if (!write_holder(fd)) {
        snprintf(why, why_len, "cannot write the lock of port %u in %s: %s", port, dir,
                 strerror(errno));
        return fail(lock, tm_err_from_errno(errno));
    }
    enum tm_err err = probe(addr, why, why_len);
    return err == TM_OK ? TM_OK : fail(lock, err);
}

void tm_portlock_release(struct tm_portlock *lock)
{
    if (lock->fd >= 0)
        close(lock->fd);
    lock->fd = -1;
}
