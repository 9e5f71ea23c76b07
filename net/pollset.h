/* pollset.h: callbacks for readable descriptors, behind one descriptor.
 *
 * An epoll with a fixed table.  The descriptor epoll_fd is readable when one of the set's is, so
 * that a sleeping worker watches one instead of all.  One thread at a time uses a set; a callback
 * may add and remove descriptors, its own included. */
#ifndef TM_NET_POLLSET_H
#define TM_NET_POLLSET_H

#include "runtime/base.h"

#define TM_POLLSET_MAX 192

struct tm_pollset_entry {
    void (*ready)(void *arg);
    void *arg;
    int fd; /* -1: free */
    uint32_t generation;
};

struct tm_pollset {
    int epoll_fd;
    struct tm_pollset_entry entries[TM_POLLSET_MAX];
};

/* Makes an empty set; TM_ERR_NOMEM or the like when the kernel has no descriptor left. */
enum tm_err tm_pollset_open(struct tm_pollset *set);

/* Frees it; the descriptors in it stay the caller's. */
void tm_pollset_close(struct tm_pollset *set);

/* Calls ready(arg) in tm_pollset_poll whenever fd is readable or hung up (level-triggered).
 * Returns a slot ≥ 0 for remove, or -1 if the table is full or the kernel refuses. */
int tm_pollset_add(struct tm_pollset *set, int fd, void (*ready)(void *arg), void *arg);

/* No call for that slot any more, not even of events already fetched.  Before fd is closed. */
void tm_pollset_remove(struct tm_pollset *set, int slot);

/* Calls what is ready, without waiting; returns the number of calls. */
unsigned tm_pollset_poll(struct tm_pollset *set);

#endif
