/* portlock.h: makes sure that a port is free before it is bound with SO_REUSEPORT.
 *
 * SO_REUSEPORT hides "port in use": two clusters of one user would silently share a port.  So a
 * node holds a lock file per port while it runs, and probes the port once by a bind without
 * SO_REUSEPORT.  The lock covers the time between probe and bind, and tells who has the port; it
 * goes with the process, however it ends.  Boot code; may block on the file. */
#ifndef TM_NET_PORTLOCK_H
#define TM_NET_PORTLOCK_H

#include "net/addr.h"

struct tm_portlock {
    int fd; /* of the lock file; -1 when not held */
};

/* Takes the lock dir/port-<n>.lock (dir is created, mode 1777 so that all users share it) and
 * probes addr, whose port is not 0.  On failure writes a line to why and returns TM_ERR_LOCKED
 * another tidemill has the port (why names its process) or another program, TM_ERR_NOTFOUND    the
 * address is not one of this machine, TM_ERR_PERMISSION  the port or the folder is not this user's
 * to take, or another code. */
enum tm_err tm_portlock_acquire(struct tm_portlock *lock, const char *dir,
                                const struct tm_addr *addr, char *why, size_t why_len);

/* Also without a lock held. */
void tm_portlock_release(struct tm_portlock *lock);

#endif
