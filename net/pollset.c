/* The kernel is given slot and generation; an event whose generation is no longer the slot's
 * belongs to a descriptor that was removed by a callback before it in the same batch. */
#include "net/pollset.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#define EVENTS_PER_CALL 32

enum tm_err tm_pollset_open(struct tm_pollset *set)
{
    for (int i = 0; i < TM_POLLSET_MAX; i++)
        set->entries[i] = (struct tm_pollset_entry){.fd = -1};
    set->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    return set->epoll_fd >= 0 ? TM_OK : tm_err_from_errno(errno);
}

void tm_pollset_close(struct tm_pollset *set)
{
    if (set->epoll_fd >= 0)
        close(set->epoll_fd);
    set->epoll_fd = -1;
}

int tm_pollset_add(struct tm_pollset *set, int fd, void (*ready)(void *arg), void *arg)
{
    int slot = 0;
    while (slot < TM_POLLSET_MAX && set->entries[slot].fd >= 0)
        slot++;
    if (slot == TM_POLLSET_MAX)
        return -1;
    struct tm_pollset_entry *entry = &set->entries[slot];
    struct epoll_event event = {
        .events = EPOLLIN | EPOLLRDHUP,
        .data.u64 = (uint64_t)(entry->generation + 1) << 32 | (unsigned)slot,
    };
    if (epoll_ctl(set->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
        return -1;
    entry->generation++;
    entry->fd = fd;
    entry->ready = ready;
    entry->arg = arg;
    return slot;
}

void tm_pollset_remove(struct tm_pollset *set, int slot)
{
    TM_ASSERT(slot >= 0 && slot < TM_POLLSET_MAX && set->entries[slot].fd >= 0);
    struct tm_pollset_entry *entry = &set->entries[slot];
    epoll_ctl(set->epoll_fd, EPOLL_CTL_DEL, entry->fd, NULL);
    entry->fd = -1;
    entry->generation++;
}

unsigned tm_pollset_poll(struct tm_pollset *set)
{
    struct epoll_event events[EVENTS_PER_CALL];
    unsigned calls = 0;
    int count = epoll_wait(set->epoll_fd, events, EVENTS_PER_CALL, 0);
    for (int i = 0; i < count; i++) {
        struct tm_pollset_entry *entry = &set->entries[events[i].data.u64 & UINT32_MAX];
        if (entry->fd < 0 || entry->generation != (uint32_t)(events[i].data.u64 >> 32))
            continue;
        entry->ready(entry->arg);
        calls++;
    }
    return calls;
}
