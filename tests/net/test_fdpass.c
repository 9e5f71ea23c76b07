#include "net/fdpass.h"
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

static int listen_fd;
static int client;
static int server;
static char name[64];

static void begin(void)
{
    snprintf(name, sizeof name, "@tm-test-fdpass-%d", (int)getpid());
    listen_fd = tm_unix_listen(name, 8);
    CU_ASSERT_FATAL(listen_fd >= 0);
    CU_ASSERT_EQUAL(tm_unix_accept(listen_fd), -EAGAIN);
    client = tm_unix_connect(name);
    CU_ASSERT_FATAL(client >= 0);
    server = tm_unix_accept(listen_fd);
    CU_ASSERT_FATAL(server >= 0);
}

static void end(void)
{
    close(client);
    close(server);
    close(listen_fd);
}

static void a_passed_descriptor_is_the_same_file(void)
{
    begin();
    int event = eventfd(5, EFD_NONBLOCK);
    int got[2];
    unsigned count = 9;
    char data[8] = {0};
    uint64_t value = 0;
    CU_ASSERT_EQUAL(tm_fdpass_send(client, "bell", 4, &event, 1), 4);
    close(event);
    CU_ASSERT_EQUAL(tm_fdpass_recv(server, data, sizeof data, got, 2, &count), 4);
    CU_ASSERT_STRING_EQUAL(data, "bell");
    CU_ASSERT_EQUAL_FATAL(count, 1);
    CU_ASSERT_EQUAL(read(got[0], &value, sizeof value), sizeof value);
    CU_ASSERT_EQUAL(value, 5);
    CU_ASSERT((fcntl(got[0], F_GETFD) & FD_CLOEXEC) != 0);
    close(got[0]);
    end();
}

static void bytes_alone_carry_no_descriptor(void)
{
    begin();
    int got[1];
    unsigned count = 9;
    char data[4];
    CU_ASSERT_EQUAL(tm_fdpass_recv(server, data, 4, got, 1, &count), -EAGAIN);
    CU_ASSERT_EQUAL(count, 0);
    CU_ASSERT_EQUAL(tm_fdpass_send(client, "abc", 3, NULL, 0), 3);
    CU_ASSERT_EQUAL(tm_fdpass_recv(server, data, 4, got, 1, &count), 3);
    CU_ASSERT_EQUAL(count, 0);
    close(client);
    CU_ASSERT_EQUAL(tm_fdpass_recv(server, data, 4, got, 1, &count), 0);
    CU_ASSERT_EQUAL(tm_fdpass_send(server, "x", 1, NULL, 0), -EPIPE);
    client = -1;
    end();
}

static int lowest_free(void)
{
    int fd = dup(0);
    close(fd);
    return fd;
}

static void too_many_descriptors_are_closed_not_leaked(void)
{
    begin();
    int fds[3] = {0, 1, 2};
    int got[3];
    unsigned count = 9;
    char byte;
    int before = lowest_free();
    CU_ASSERT_EQUAL(tm_fdpass_send(client, "x", 1, fds, 3), 1);
    CU_ASSERT_EQUAL(tm_fdpass_recv(server, &byte, 1, got, 2, &count), -EMSGSIZE);
    CU_ASSERT_EQUAL(count, 0);
    CU_ASSERT_EQUAL(lowest_free(), before);
    end();
}

static void the_largest_number_passes_at_once(void)
{
    begin();
    int fds[TM_FDPASS_MAX];
    int got[TM_FDPASS_MAX];
    unsigned count = 0;
    char byte;
    for (int i = 0; i < TM_FDPASS_MAX; i++)
        fds[i] = 0;
    CU_ASSERT_EQUAL(tm_fdpass_send(client, "x", 1, fds, TM_FDPASS_MAX), 1);
    CU_ASSERT_EQUAL(tm_fdpass_recv(server, &byte, 1, got, TM_FDPASS_MAX, &count), 1);
    CU_ASSERT_EQUAL(count, TM_FDPASS_MAX);
    for (unsigned i = 0; i < count; i++)
        CU_ASSERT_EQUAL(close(got[i]), 0);
    end();
}

static void a_name_belongs_to_one_listener_and_shows_who_connects(void)
{
    begin();
    CU_ASSERT_EQUAL(tm_unix_listen(name, 1), -EADDRINUSE);
    CU_ASSERT_EQUAL(tm_unix_peer_uid(server), (int64_t)getuid());
    end();
    CU_ASSERT_EQUAL(tm_unix_connect(name), -ECONNREFUSED);
    CU_ASSERT_EQUAL(tm_unix_connect(""), -EINVAL);
}

static const struct tm_test tests[] = {
    TM_TEST(a_passed_descriptor_is_the_same_file),
    TM_TEST(bytes_alone_carry_no_descriptor),
    TM_TEST(too_many_descriptors_are_closed_not_leaked),
    TM_TEST(the_largest_number_passes_at_once),
    TM_TEST(a_name_belongs_to_one_listener_and_shows_who_connects),
};
TM_TEST_MAIN("net/fdpass", tests)
