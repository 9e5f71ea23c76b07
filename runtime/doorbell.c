#include "runtime/doorbell.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum tm_err tm_doorbell_open(struct tm_doorbell *bell, struct tm_doorbell_word *word)
{
    atomic_store_explicit(&word->parked, 0, memory_order_relaxed);
    bell->word = word;
    bell->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return bell->fd < 0 ? tm_err_from_errno(errno) : TM_OK;
}

void tm_doorbell_close(struct tm_doorbell *bell)
{
    if (bell->fd >= 0)
        close(bell->fd);
    bell->fd = -1;
}

void tm_doorbell_park(struct tm_doorbell *bell)
{
    atomic_store_explicit(&bell->word->parked, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
}

void tm_doorbell_unpark(struct tm_doorbell *bell)
{
    atomic_store_explicit(&bell->word->parked, 0, memory_order_relaxed);
}

bool tm_doorbell_ring(struct tm_doorbell *bell)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (TM_LIKELY(atomic_load_explicit(&bell->word->parked, memory_order_relaxed) == 0))
        return false;
    if (atomic_exchange_explicit(&bell->word->parked, 0, memory_order_relaxed) == 0)
        return false;
    tm_doorbell_force(bell);
    return true;
}

void tm_doorbell_force(struct tm_doorbell *bell)
{
    /* The only failure is a counter that is full: then the owner is rung already. */
    uint64_t one = 1;
    ssize_t n = write(bell->fd, &one, sizeof one);
    (void)n;
}
