/* memif_control.h: memif's control sockets, run by the worker that owns the port.
 *
 * DPDK's memif driver registers its sockets with EAL's interrupt thread, and unmaps the shared
 * memory there when a peer dies, also while a worker is inside a burst on it.  The program is
 * therefore linked with --wrap for the three functions by which the driver registers, and they
 * are defined here: the sockets go into the pollset of the thread that is "using" a control, and
 * the driver's callbacks run in that worker's tm_pollset_poll. */
#ifndef TM_NET_MEMIF_CONTROL_H
#define TM_NET_MEMIF_CONTROL_H

#include "net/pollset.h"

#define TM_MEMIF_CONTROLS_MAX 128

struct rte_intr_handle;
struct tm_memif_control;

/* One registered socket. */
struct tm_memif_socket {
    struct tm_memif_control *control;
    const struct rte_intr_handle *handle; /* NULL: free */
    void (*ready)(void *arg);
    void *arg;
    void (*released)(struct rte_intr_handle *handle, void *arg); /* called when it is gone */
    unsigned *live;                                              /* counts it for the port */
    int slot;
    bool active; /* inside ready */
    bool dying;  /* unregistered from inside ready */
};

struct tm_memif_control {
    struct tm_pollset *set;
    struct tm_memif_socket sockets[TM_MEMIF_CONTROLS_MAX];
};

/* An empty control on the set, which outlives it. */
void tm_memif_control_init(struct tm_memif_control *control, struct tm_pollset *set);

/* Forgets and closes the sockets that are left: listeners, which the driver never closes.  The
 * driver's ports are closed before. */
void tm_memif_control_close(struct tm_memif_control *control);

/* From now on sockets that the driver registers on this thread belong to control, and *live counts
 * those of them that are registered; sockets accepted later count like their listener.  NULL,
 * NULL: refuse to register. */
void tm_memif_control_use(struct tm_memif_control *control, unsigned *live);

#endif
