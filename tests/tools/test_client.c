#include "tools/client.h"
#include "test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char address[32];
static pid_t server;

/* Answers each request with the next text, after `pause_ms` in its middle; "" closes. */
static void serve(int listener, const char *const *replies, unsigned pause_ms)
{
    int fd = accept(listener, NULL, NULL);
    char buf[4096];
    for (; *replies != NULL && read(fd, buf, sizeof buf) > 0; replies++) {
        size_t len = strlen(*replies), half = len / 2;
        if (len == 0 || write(fd, *replies, half) != (ssize_t)half)
            break;
        nanosleep(&(struct timespec){.tv_nsec = pause_ms * 1000000L}, NULL);
        if (write(fd, *replies + half, len - half) != (ssize_t)(len - half))
            break;
    }
    close(fd);
    _exit(0);
}

static void start_server(const char *const *replies, unsigned pause_ms)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof sa;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_EQUAL_FATAL(bind(fd, (const struct sockaddr *)&sa, sizeof sa), 0);
    CU_ASSERT_EQUAL_FATAL(listen(fd, 4), 0);
    CU_ASSERT_EQUAL(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    snprintf(address, sizeof address, "127.0.0.1:%u", ntohs(sa.sin_port));
    server = fork();
    if (server == 0)
        serve(fd, replies, pause_ms);
    close(fd);
}

static void stop_server(struct tm_client *c)
{
    tm_client_close(c);
    waitpid(server, NULL, 0);
}

static const char *const ping[] = {"PING", NULL};

static void replies_are_read_whole_and_as_text(void)
{
    static const char *const replies[] = {"+PONG\r\n",   "$5\r\nhello\r\n",           ":42\r\n",
                                          "-ERR no\r\n", "*2\r\n:1\r\n$3\r\nabc\r\n", NULL};
    struct tm_client c;
    struct tm_bytes reply;
    char text[16];
    start_server(replies, 5);
    CU_ASSERT_EQUAL_FATAL(tm_client_open(&c, address, 2000), TM_OK);
    CU_ASSERT_EQUAL(tm_client_text(&c, ping, text, sizeof text), TM_OK);
    CU_ASSERT_STRING_EQUAL(text, "PONG");
    CU_ASSERT_EQUAL(tm_client_text(&c, ping, text, 4), TM_OK);
    CU_ASSERT_STRING_EQUAL(text, "hel");
    CU_ASSERT_EQUAL(tm_client_text(&c, ping, text, sizeof text), TM_OK);
    CU_ASSERT_STRING_EQUAL(text, "42");
    CU_ASSERT_EQUAL(tm_client_text(&c, ping, text, sizeof text), TM_ERR_INVALID);
    CU_ASSERT_STRING_EQUAL(text, "ERR no");
    CU_ASSERT_EQUAL(tm_client_ask(&c, ping, &reply), TM_OK);
    CU_ASSERT_EQUAL(reply.len, strlen(replies[4]));
    CU_ASSERT_EQUAL(tm_client_ask(&c, ping, &reply), TM_ERR_CLOSED);
    stop_server(&c);
}

static void an_answer_that_dribbles_is_given_up(void)
{
    static const char *const replies[] = {"$5\r\nhello\r\n", NULL};
    struct tm_client c;
    struct tm_bytes reply;
    start_server(replies, 300);
    CU_ASSERT_EQUAL_FATAL(tm_client_open(&c, address, 100), TM_OK);
    CU_ASSERT_EQUAL(tm_client_ask(&c, ping, &reply), TM_ERR_TIMEOUT);
    stop_server(&c);
}

static void nonsense_and_nobody_are_told_apart(void)
{
    static const char *const replies[] = {"HTTP/1.1 400 Bad Request\r\n", NULL};
    struct tm_client c;
    struct tm_bytes reply;
    start_server(replies, 0);
    CU_ASSERT_EQUAL_FATAL(tm_client_open(&c, address, 2000), TM_OK);
    CU_ASSERT_EQUAL(tm_client_ask(&c, ping, &reply), TM_ERR_CORRUPT);
    stop_server(&c);
    CU_ASSERT_EQUAL(tm_client_open(&c, address, 2000), TM_ERR_CLOSED);
    CU_ASSERT_EQUAL(tm_client_open(&c, "nonsense", 2000), TM_ERR_INVALID);
    tm_client_close(&c);
}

static void fields_are_found_by_their_whole_name(void)
{
    const char *info = "# Cluster\r\nmy_cluster_state:no\r\ncluster_state:ok\r\ncluster_size:3\r\n";
    char value[8];
    CU_ASSERT(tm_info_field(info, "cluster_state", value, sizeof value));
    CU_ASSERT_STRING_EQUAL(value, "ok");
    CU_ASSERT(tm_info_field(info, "cluster_size", value, sizeof value));
    CU_ASSERT_STRING_EQUAL(value, "3");
    CU_ASSERT_FALSE(tm_info_field(info, "cluster", value, sizeof value));
    CU_ASSERT_STRING_EQUAL(value, "");
}

static const struct tm_test tests[] = {
    TM_TEST(replies_are_read_whole_and_as_text),
    TM_TEST(an_answer_that_dribbles_is_given_up),
    TM_TEST(nonsense_and_nobody_are_told_apart),
    TM_TEST(fields_are_found_by_their_whole_name),
};
TM_TEST_MAIN("tools/client", tests)
