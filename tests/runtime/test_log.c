#include "runtime/log.h"
#include "tests/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdalign.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define START "time=2024-05-01T12:00:00.000042Z level=info event=test"
#define TIME  (UINT64_C(1714564800) * 1000000 + 42)

static char line[4096];
static size_t cap = sizeof line;

static const char *format(const char *fmt, ...) TM_PRINTF(1, 2);

static const char *format(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    memset(line, '#', sizeof line);
    size_t len = tm_log_format(line, cap, TIME, TM_LOG_INFO, NULL, -1, "test", fmt, args);
    va_end(args);
    CU_ASSERT(len <= cap && line[len - 1] == '\n' && memchr(line, '\n', len) == line + len - 1);
    line[len] = '\0';
    return line;
}

static void conversions_print_as_printf_does(void)
{
    CU_ASSERT_STRING_EQUAL(format("%s", ""), START " \"\"\n");
    CU_ASSERT_STRING_EQUAL(format("a=%d b=%u c=%x d=%c e=%%", -5, 7U, 255U, 'z'),
                           START " a=-5 b=7 c=ff d=z e=%\n");
    CU_ASSERT_STRING_EQUAL(format("a=%ld b=%lu c=%llu d=%zu e=%jd f=%hhu g=%hd", -1L, 2UL,
                                  18446744073709551615ULL, (size_t)9, (intmax_t)-3,
                                  (unsigned char)44, (short)4),
                           START " a=-1 b=2 c=18446744073709551615 d=9 e=-3 f=44 g=4\n");
    CU_ASSERT_STRING_EQUAL(
        format("a=%05d b=%-4dx c=%+d d=%#x e=%.3f f=%g", 42, 7, 3, 255U, 1.5, 0.25),
        START " a=00042 b=7   x c=+3 d=0xff e=1.500 f=0.25\n");
    CU_ASSERT_STRING_EQUAL(format("a=%016" PRIx64 " b=%*d", UINT64_C(0xabc), 6, 12),
                           START " a=0000000000000abc b=    12\n");
    CU_ASSERT_STRING_EQUAL(format("a=%.3s b=%.*s c=%s", "abcdef", 2, "xyz", (char *)NULL),
                           START " a=abc b=xy c=(null)\n");
    errno = ENOSPC;
    CU_ASSERT_STRING_EQUAL(format("why=%m"), START " why=\"No space left on device\"\n");
}

static void no_input_forges_a_field_or_a_line(void)
{
    CU_ASSERT_STRING_EQUAL(format("key=%s", "a b"), START " key=\"a b\"\n");
    CU_ASSERT_STRING_EQUAL(format("key=%s x=1", "v\nlevel=error"),
                           START " key=\"v\\nlevel=error\" x=1\n");
    CU_ASSERT_STRING_EQUAL(format("key=%s", "say \"hi\" \\ \t\r\x01"),
                           START " key=\"say \\\"hi\\\" \\\\ \\t\\r\\u0001\"\n");
    CU_ASSERT_STRING_EQUAL(format("msg=\"got %s from %d\"", "a \"b\"", 3),
                           START " msg=\"got a \\\"b\\\" from 3\"\n");
    CU_ASSERT_STRING_EQUAL(format("c=%c", '\n'), START " c=\"\\n\"\n");
    CU_ASSERT_STRING_EQUAL(format("k=%s", "größe"), START " k=größe\n");
}

static void node_and_worker_are_named(void)
{
    va_list none;
    memset(&none, 0, sizeof none);
    size_t len = tm_log_format(line, sizeof line, TIME, TM_LOG_WARN, "node 1", 3, "up", "", none);
    line[len] = '\0';
    CU_ASSERT_STRING_EQUAL(line, "time=2024-05-01T12:00:00.000042Z level=warn node=\"node 1\" "
                                 "worker=3 event=up\n");
}

static void a_long_line_is_cut_with_its_quotes_closed(void)
{
    char text[3000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    text[0] = ' ';
    for (cap = 64; cap < 200; cap++) {
        const char *l = format("key=%s more=%d", text, 5);
        size_t len = strlen(l), quotes = 0;
        for (size_t i = 0; i < len; i++)
            quotes += l[i] == '"';
        CU_ASSERT_EQUAL(quotes % 2, 0);
        CU_ASSERT_STRING_EQUAL(l + len - 4, "...\n");
        l = format("msg=\"open %s", text);
        quotes = 0;
        for (size_t i = 0; l[i] != '\0'; i++)
            quotes += l[i] == '"';
        CU_ASSERT_EQUAL(quotes % 2, 0);
    }
    cap = sizeof line;
}

/* A logger on one ring, to a file. */
static alignas(TM_CACHE_PAIR) uint8_t memory[sizeof(struct tm_ring) + 8192];
static char path[64];
static struct tm_log_target target;
static struct tm_logger logger;
static struct tm_log_writer out;
static struct tm_counters counters;

static void set_up(void)
{
    snprintf(path, sizeof path, "%s/log", tm_scratch());
    memset(&counters, 0, sizeof counters);
    tm_ring_new(memory, 8192);
    tm_log_target_init(&target, "n", TM_LOG_INFO);
    CU_ASSERT_EQUAL_FATAL(tm_log_target_open(&target, path), TM_OK);
    CU_ASSERT_EQUAL_FATAL(tm_logger_init(&logger, &target), TM_OK);
    CU_ASSERT_EQUAL_FATAL(
        tm_logger_attach(&logger, &out, tm_ring_join(memory, sizeof memory), 0, &counters), TM_OK);
}

static void tear_down(void)
{
    tm_logger_stop(&logger);
    tm_log_target_close(&target);
    unlink(path);
}

static size_t count_lines(const char *file, const char *what)
{
    char buf[2048];
    size_t n = 0;
    FILE *in = fopen(file, "r");
    while (in != NULL && fgets(buf, sizeof buf, in) != NULL)
        n += strstr(buf, what) != NULL;
    if (in != NULL)
        fclose(in);
    return n;
}

static void lines_below_the_level_cost_nothing(void)
{
    set_up();
    tm_log_line(&out, TIME, TM_LOG_DEBUG, "hidden", "%s", "");
    tm_log_line(&out, TIME, TM_LOG_INFO, "shown", "a=%d", 1);
    CU_ASSERT_EQUAL(tm_logger_drain(&logger), 1);
    atomic_store(&target.level, TM_LOG_DEBUG);
    tm_log_line(&out, TIME, TM_LOG_DEBUG, "shown", "a=%d", 2);
    CU_ASSERT_EQUAL(tm_logger_drain(&logger), 1);
    CU_ASSERT_EQUAL(count_lines(path, "event=shown a="), 2);
    CU_ASSERT_EQUAL(count_lines(path, "hidden"), 0);
    tear_down();
}

static void a_full_buffer_drops_counts_and_reports(void)
{
    set_up();
    for (int i = 0; i < 1000; i++)
        tm_log_line(&out, TIME, TM_LOG_INFO, "burst", "i=%d", i);
    uint64_t dropped = tm_counter_get(&counters, TM_COUNTER_log_dropped);
    uint64_t lines = tm_counter_get(&counters, TM_COUNTER_log_lines);
    CU_ASSERT(dropped > 0);
    CU_ASSERT_EQUAL(dropped + lines, 1000);
    CU_ASSERT_EQUAL(tm_logger_drain(&logger), lines);
    CU_ASSERT_EQUAL(count_lines(path, "event=burst"), lines);
    char report[64];
    snprintf(report, sizeof report, "worker=0 event=log_dropped lines=%" PRIu64 "\n", dropped);
    CU_ASSERT_EQUAL(count_lines(path, report), 1);
    tm_logger_drain(&logger);
    CU_ASSERT_EQUAL(count_lines(path, "log_dropped"), 1);
    tear_down();
}

static void the_logger_thread_writes_every_line_it_took(void)
{
    set_up();
    CU_ASSERT_EQUAL_FATAL(tm_logger_start(&logger), TM_OK);
    for (int i = 0; i < 5000; i++) {
        tm_log_line(&out, TIME, TM_LOG_INFO, "steady", "i=%d", i);
        if (i % 3 == 0)
            usleep(1);
    }
    uint64_t lines = tm_counter_get(&counters, TM_COUNTER_log_lines);
    tm_logger_stop(&logger);
    CU_ASSERT_EQUAL(count_lines(path, "event=steady"), lines);
    CU_ASSERT(lines > 0);
    CU_ASSERT_EQUAL(tm_logger_init(&logger, &target), TM_OK);
    tear_down();
}

static void a_parked_logger_is_woken_by_a_line(void)
{
    set_up();
    CU_ASSERT_EQUAL_FATAL(tm_logger_start(&logger), TM_OK);
    struct tm_ring *ring = tm_ring_join(memory, sizeof memory);
    for (int i = 0; i < 20; i++) {
        while (atomic_load(&ring->parked) == 0)
            usleep(100);
        tm_log_line(&out, TIME, TM_LOG_INFO, "ping", "i=%d", i);
        while (tm_ring_used(ring) != 0)
            usleep(100);
    }
    CU_ASSERT_EQUAL(count_lines(path, "event=ping"), 20);
    tear_down();
}

static void a_moved_file_is_opened_again(void)
{
    char moved[80];
    set_up();
    snprintf(moved, sizeof moved, "%s.1", path);
    tm_log_plain(&target, TM_LOG_INFO, "first", "a=%d", 1);
    tm_log_target_follow(&target);
    CU_ASSERT_EQUAL(rename(path, moved), 0);
    tm_log_plain(&target, TM_LOG_INFO, "second", "a=%d", 2);
    tm_log_target_follow(&target);
    tm_log_plain(&target, TM_LOG_WARN, "third", "a=%d", 3);
    CU_ASSERT_EQUAL(count_lines(moved, "event="), 2);
    CU_ASSERT_EQUAL(count_lines(path, "level=warn node=n event=third a=3"), 1);
    struct stat st;
    CU_ASSERT(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
    unlink(moved);
    tear_down();
}

static void a_log_file_that_cannot_be_is_an_error(void)
{
    struct tm_log_target t;
    tm_log_target_init(&t, NULL, TM_LOG_INFO);
    CU_ASSERT_EQUAL(tm_log_target_open(&t, "/no/such/folder/log"), TM_ERR_NOTFOUND);
    CU_ASSERT_EQUAL(t.fd, STDERR_FILENO);
}

/* Whoever reads the log may have stopped to: that holds up neither lines nor the end. */
static void a_descriptor_that_takes_nothing_does_not_hold_up_the_end(void)
{
    static alignas(TM_CACHE_PAIR) uint8_t room[1 << 18];
    int ends[2];
    char junk[4096] = "";
    struct tm_log_target sink;
    struct tm_logger drainer;
    struct tm_log_writer log;
    CU_ASSERT_EQUAL_FATAL(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    while (write(ends[1], junk, sizeof junk) > 0)
        continue;
    CU_ASSERT_EQUAL(fcntl(ends[1], F_SETFL, 0), 0); /* blocks, as a shell's pipe does */
    tm_log_target_init(&sink, "n1", TM_LOG_INFO);
    sink.fd = ends[1];
    CU_ASSERT_PTR_NOT_NULL_FATAL(tm_ring_new(room, 1 << 16));
    CU_ASSERT_EQUAL_FATAL(tm_logger_init(&drainer, &sink), TM_OK);
    CU_ASSERT_EQUAL_FATAL(
        tm_logger_attach(&drainer, &log, tm_ring_join(room, sizeof room), 0, NULL), TM_OK);
    CU_ASSERT_EQUAL_FATAL(tm_logger_start(&drainer), TM_OK);
    for (unsigned i = 0; i < 30; i++)
        tm_log_line(&log, TIME, TM_LOG_INFO, "test", "i=%u", i);
    alarm(60); /* what hangs ends the test */
    tm_logger_stop(&drainer);
    tm_log_plain(&sink, TM_LOG_INFO, "test", "last=1");
    alarm(0);
    CU_ASSERT_FALSE(drainer.running);
    close(ends[0]);
    close(ends[1]);
}

static const struct tm_test tests[] = {
    TM_TEST(conversions_print_as_printf_does),
    TM_TEST(no_input_forges_a_field_or_a_line),
    TM_TEST(node_and_worker_are_named),
    TM_TEST(a_long_line_is_cut_with_its_quotes_closed),
    TM_TEST(lines_below_the_level_cost_nothing),
    TM_TEST(a_full_buffer_drops_counts_and_reports),
    TM_TEST(the_logger_thread_writes_every_line_it_took),
    TM_TEST(a_parked_logger_is_woken_by_a_line),
    TM_TEST(a_descriptor_that_takes_nothing_does_not_hold_up_the_end),
    TM_TEST(a_moved_file_is_opened_again),
    TM_TEST(a_log_file_that_cannot_be_is_an_error),
};
TM_TEST_MAIN("runtime/log", tests)
