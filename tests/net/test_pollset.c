#include "net/pollset.h"
#include "tests/test.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct watched {
    struct tm_pollset *set;
    int fd;
    int slot;
    unsigned calls;
    struct watched *removes; /* taken out of the set when this one is called */
};

static void on_ready(void *arg)
{
    struct watched *w = arg;
    w->calls++;
    if (w->removes != NULL && w->removes->slot >= 0) {
        tm_pollset_remove(w->set, w->removes->slot);
        w->removes->slot = -1;
    }
}

static void watched_open(struct watched *w, struct tm_pollset *set)
{
    *w = (struct watched){.set = set, .fd = eventfd(0, EFD_NONBLOCK)};
    w->slot = tm_pollset_add(set, w->fd, on_ready, w);
    CU_ASSERT_FATAL(w->slot >= 0);
}

static bool readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

static void only_what_is_ready_is_called(void)
{
    struct tm_pollset set;
    struct watched a, b;
    CU_ASSERT_EQUAL_FATAL(tm_pollset_open(&set), TM_OK);
    watched_open(&a, &set);
    watched_open(&b, &set);
    CU_ASSERT_EQUAL(tm_pollset_poll(&set), 0);
    CU_ASSERT_FALSE(readable(set.epoll_fd));
    CU_ASSERT_EQUAL(eventfd_write(b.fd, 1), 0);
    CU_ASSERT(readable(set.epoll_fd));
    CU_ASSERT_EQUAL(tm_pollset_poll(&set), 1);
    CU_ASSERT_EQUAL(a.calls, 0);
    CU_ASSERT_EQUAL(b.calls, 1);
    close(a.fd);
    close(b.fd);
    tm_pollset_close(&set);
}

/* Both are ready in one batch; whichever comes first removes the other. */
static void a_removed_one_is_not_called_any_more(void)
{
    struct tm_pollset set;
    struct watched a, b;
    CU_ASSERT_EQUAL_FATAL(tm_pollset_open(&set), TM_OK);
    watched_open(&a, &set);
    watched_open(&b, &set);
    a.removes = &b;
    b.removes = &a;
    CU_ASSERT_EQUAL(eventfd_write(a.fd, 1), 0);
    CU_ASSERT_EQUAL(eventfd_write(b.fd, 1), 0);
    CU_ASSERT_EQUAL(tm_pollset_poll(&set), 1);
    CU_ASSERT_EQUAL(a.calls + b.calls, 1);
    close(a.fd);
    close(b.fd);
    tm_pollset_close(&set);
}

static void a_callback_may_remove_itself(void)
{
    struct tm_pollset set;
    struct watched a;
    CU_ASSERT_EQUAL_FATAL(tm_pollset_open(&set), TM_OK);
    watched_open(&a, &set);
    a.removes = &a;
    CU_ASSERT_EQUAL(eventfd_write(a.fd, 1), 0);
    CU_ASSERT_EQUAL(tm_pollset_poll(&set), 1);
    CU_ASSERT_EQUAL(tm_pollset_poll(&set), 0);
    CU_ASSERT_EQUAL(a.calls, 1);
    close(a.fd);
    tm_pollset_close(&set);
}

static void a_full_table_is_an_answer(void)
{
    struct tm_pollset set;
    static struct watched all[TM_POLLSET_MAX];
    CU_ASSERT_EQUAL_FATAL(tm_pollset_open(&set), TM_OK);
    for (int i = 0; i < TM_POLLSET_MAX; i++)
        watched_open(&all[i], &set);
    int one_more = eventfd(0, 0);
    CU_ASSERT(tm_pollset_add(&set, one_more, on_ready, NULL) < 0);
    tm_pollset_remove(&set, all[7].slot);
    CU_ASSERT(tm_pollset_add(&set, one_more, on_ready, NULL) >= 0);
    for (int i = 0; i < TM_POLLSET_MAX; i++)
        close(all[i].fd);
    close(one_more);
    tm_pollset_close(&set);
}

static const struct tm_test tests[] = {
    TM_TEST(only_what_is_ready_is_called),
    TM_TEST(a_removed_one_is_not_called_any_more),
    TM_TEST(a_callback_may_remove_itself),
    TM_TEST(a_full_table_is_an_answer),
};
TM_TEST_MAIN("net/pollset", tests)
