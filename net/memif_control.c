/* Registering puts the socket into the pollset.  Unregistering from outside its callback removes it
 * at once; from inside it is refused with -EAGAIN, whereupon the driver asks for "pending": it is
 * removed when the callback has returned, and then the driver's own function closes the socket and
 * frees what belongs to it.  That is the contract of EAL's interrupt thread. */
#define ALLOW_EXPERIMENTAL_API
#include "net/memif_control.h"

#include <errno.h>
#include <unistd.h>

#include <rte_interrupts.h>

int __wrap_rte_intr_callback_register(const struct rte_intr_handle *handle,
                                      rte_intr_callback_fn ready, void *arg);
int __wrap_rte_intr_callback_unregister(const struct rte_intr_handle *handle,
                                        rte_intr_callback_fn ready, void *arg);
int __wrap_rte_intr_callback_unregister_pending(const struct rte_intr_handle *handle,
                                                rte_intr_callback_fn ready, void *arg,
                                                rte_intr_unregister_callback_fn released);

/* A symbol of the driver: asking for it links the driver's archive into the program, so that its
 * calls are the wrapped ones.  EAL finds this driver before that of the plugin. */
struct rte_eth_dev;
int memif_connect(struct rte_eth_dev *dev);
static int (*const volatile driver)(struct rte_eth_dev *dev) = memif_connect;

static _Thread_local struct tm_memif_control *using;
static _Thread_local unsigned *using_live;

void tm_memif_control_init(struct tm_memif_control *control, struct tm_pollset *set)
{
    TM_ASSERT(driver != NULL);
    memset(control, 0, sizeof *control);
    control->set = set;
}

void tm_memif_control_use(struct tm_memif_control *control, unsigned *live)
{
    using = control;
    using_live = live;
}

static struct tm_memif_socket *socket_find(const struct rte_intr_handle *handle,
                                           rte_intr_callback_fn ready, const void *arg)
{
    for (int i = 0; using != NULL && i < TM_MEMIF_CONTROLS_MAX; i++) {
        struct tm_memif_socket *s = &using->sockets[i];
        if (s->handle == handle && (handle == NULL || (s->ready == ready && s->arg == arg)))
            return s;
    }
    return NULL;
}

static void socket_remove(struct tm_memif_socket *s)
{
    tm_pollset_remove(s->control->set, s->slot);
    s->handle = NULL;
    if (s->live != NULL)
        --*s->live;
}

void tm_memif_control_close(struct tm_memif_control *control)
{
    for (int i = 0; i < TM_MEMIF_CONTROLS_MAX; i++) {
        struct tm_memif_socket *s = &control->sockets[i];
        if (s->handle == NULL)
            continue;
        int fd = control->set->entries[s->slot].fd;
        socket_remove(s);
        close(fd);
    }
}

static void socket_ready(void *arg)
{
    struct tm_memif_socket *s = arg;
    tm_memif_control_use(s->control, s->live);
    s->active = true;
    s->ready(s->arg);
    s->active = false;
    if (s->dying) {
        struct rte_intr_handle *handle = (struct rte_intr_handle *)(uintptr_t)s->handle;
        socket_remove(s);
        s->released(handle, s->arg);
    }
    tm_memif_control_use(NULL, NULL);
}

int __wrap_rte_intr_callback_register(const struct rte_intr_handle *handle,
                                      rte_intr_callback_fn ready, void *arg)
{
    struct tm_memif_socket *s = socket_find(NULL, NULL, NULL);
    if (s == NULL)
        return -ENOMEM;
    int slot = tm_pollset_add(using->set, rte_intr_fd_get(handle), socket_ready, s);
    if (slot < 0)
        return -ENOMEM;
    *s = (struct tm_memif_socket){
        .control = using,
        .handle = handle,
        .ready = ready,
        .arg = arg,
        .live = using_live,
        .slot = slot,
    };
    if (s->live != NULL)
        ++*s->live;
    return 0;
}

int __wrap_rte_intr_callback_unregister(const struct rte_intr_handle *handle,
                                        rte_intr_callback_fn ready, void *arg)
{
    struct tm_memif_socket *s = socket_find(handle, ready, arg);
    if (s == NULL)
        return -ENOENT;
    if (s->active)
        return -EAGAIN;
    socket_remove(s);
    return 1;
}

int __wrap_rte_intr_callback_unregister_pending(const struct rte_intr_handle *handle,
                                                rte_intr_callback_fn ready, void *arg,
                                                rte_intr_unregister_callback_fn released)
{
    struct tm_memif_socket *s = socket_find(handle, ready, arg);
    if (s == NULL || !s->active)
        return -ENOENT;
    s->released = released;
    s->dying = true;
    return 1;
}
