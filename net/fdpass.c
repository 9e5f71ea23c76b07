#include "net/fdpass.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "net/addr.h"

static int unix_socket(const char *name, struct tm_addr *addr)
{
    char text[TM_ADDR_TEXT];
    int n = snprintf(text, sizeof text, "unix:%s", name);
    if (n < 0 || (size_t)n >= sizeof text || tm_addr_parse(addr, text) != TM_OK)
        return -EINVAL;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return fd < 0 ? -errno : fd;
}

static int close_with(int fd, int errnum)
{
    close(fd);
    return -errnum;
}

int tm_unix_listen(const char *name, int backlog)
{
    struct tm_addr addr;
    int fd = unix_socket(name, &addr);
    if (fd < 0)
        return fd;
    if (bind(fd, (struct sockaddr *)&addr.sa, addr.len) != 0 || listen(fd, backlog) != 0)
        return close_with(fd, errno);
    return fd;
}

int tm_unix_accept(int listen_fd)
{
    int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

int tm_unix_connect(const char *name)
{
    struct tm_addr addr;
    int fd = unix_socket(name, &addr);
    if (fd < 0)
        return fd;
    if (connect(fd, (struct sockaddr *)&addr.sa, addr.len) != 0)
        return close_with(fd, errno);
    return fd;
}

int64_t tm_unix_peer_uid(int fd)
{
    struct ucred cred;
    socklen_t len = sizeof cred;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0)
        return -(int64_t)errno;
    return cred.uid;
}

union control {
    struct cmsghdr align;
    uint8_t bytes[CMSG_SPACE(sizeof(int) * TM_FDPASS_MAX)];
};

int64_t tm_fdpass_send(int fd, const void *data, size_t len, const int *fds, unsigned count)
{
    TM_ASSERT(len > 0 && count <= TM_FDPASS_MAX);
    union control control;
    struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = len};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (count > 0) {
        memset(&control, 0, sizeof control);
        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * count);
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * count);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * count);
    }
    ssize_t n;
    do
        n = sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -(int64_t)errno : n;
}

/* Takes the descriptors of one control message; those beyond max are closed. */
static bool take_fds(const struct cmsghdr *c, int *fds, unsigned max, unsigned *count)
{
    size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    bool all = true;
    for (size_t i = 0; i < n; i++) {
        int fd;
        memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
        if (*count < max) {
            fds[(*count)++] = fd;
        } else {
            close(fd);
            all = false;
        }
    }
    return all;
}

int64_t tm_fdpass_recv(int fd, void *data, size_t len, int *fds, unsigned max, unsigned *count)
{
    union control control;
    struct iovec iov = {.iov_base = data, .iov_len = len};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof control};
    ssize_t n;
    do
        n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    *count = 0;
    if (n < 0)
        return -(int64_t)errno;
    bool all = (msg.msg_flags & MSG_CTRUNC) == 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c != NULL; c = CMSG_NXTHDR(&msg, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
            all &= take_fds(c, fds, max, count);
    if (all)
        return n;
    for (unsigned i = 0; i < *count; i++)
        close(fds[i]);
    *count = 0;
    return -EMSGSIZE;
}
