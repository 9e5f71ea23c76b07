/* fdpass.h: passing descriptors between processes of one machine over a unix stream socket.
 *
 * Plain non-blocking system calls on raw descriptors; readiness comes from tm_worker_watch_fd.
 * Names starting with '@' are abstract: no file, gone with the last descriptor. */
#ifndef TM_NET_FDPASS_H
#define TM_NET_FDPASS_H

#include "runtime/base.h"

#define TM_FDPASS_MAX 64

/* A listening non-blocking close-on-exec socket, or a negative errno.  -EADDRINUSE: another
 * process has the name. */
int tm_unix_listen(const char *name, int backlog);

/* The next connection, non-blocking; -EAGAIN if none waits; else a negative errno. */
int tm_unix_accept(int listen_fd);

/* A connected non-blocking socket.  -ECONNREFUSED, -ENOENT: nobody listens; -EAGAIN: its backlog is
 * full. */
int tm_unix_connect(const char *name);

/* The user of the process at the other end, or a negative errno: to refuse strangers. */
int64_t tm_unix_peer_uid(int fd);

/* Sends len ≥ 1 bytes with copies of count ≤ TM_FDPASS_MAX descriptors, as one message; the caller
 * keeps its own.  Returns the bytes sent (the descriptors went with the first of them), -EAGAIN if
 * the socket is full, or another negative errno. */
int64_t tm_fdpass_send(int fd, const void *data, size_t len, const int *fds, unsigned count);

/* Receives at most len bytes and the descriptors that came with them (close-on-exec, now the
 * caller's); *count is their number, at most max.  If there are more, all are closed and -EMSGSIZE
 * is returned.  0: the other side closed; -EAGAIN: nothing there; other negative errnos. */
int64_t tm_fdpass_recv(int fd, void *data, size_t len, int *fds, unsigned max, unsigned *count);

#endif
