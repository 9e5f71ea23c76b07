#include "net/eal.h"
#include "tests/test.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void words_are_checked_before_eal_sees_them(void)
{
    static const struct {
        const char *text;
        const char *why; /* NULL: fine */
    } cases[] = {
        {"", NULL},
        {"  --log-level=8  -n 4 ", NULL},
        {"-a 0000:01:00.0 --iova-mode=va", NULL},
        {"--allow=01:00.0", NULL},
        {"--huge", "\"--huge\" is no EAL option"},
        {"--help", "\"--help\" is no EAL option"},
        {"-n", "\"-n\" needs an argument"},
        {"-m --no-hpet", "\"-m\" needs an argument"},
        {"--no-hpet=yes", "\"--no-hpet=yes\" takes no argument"},
        {"4", "\"4\" is no EAL option"},
        {"--proc-type=secondary", "is no EAL option"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char why[200] = "";
        enum tm_err err = tm_eal_check(cases[i].text, why, sizeof why);
        CU_ASSERT_EQUAL(err, cases[i].why == NULL ? TM_OK : TM_ERR_INVALID);
        if (cases[i].why != NULL)
            CU_ASSERT_PTR_NOT_NULL(strstr(why, cases[i].why));
    }
    CU_ASSERT_EQUAL(tm_eal_check(NULL, NULL, 0), TM_OK);
}

static void a_text_beyond_all_bounds_is_refused(void)
{
    static char text[10000];
    char why[200] = "";
    memset(text, 'x', sizeof text - 1);
    CU_ASSERT_EQUAL(tm_eal_check(text, why, sizeof why), TM_ERR_INVALID);
    for (size_t i = 0; i + 1 < sizeof text; i++)
        text[i] = i % 2 ? ' ' : 'x';
    CU_ASSERT_EQUAL(tm_eal_check(text, why, sizeof why), TM_ERR_INVALID);
}

static void pci_addresses_are_told_from_virtual_devices(void)
{
    CU_ASSERT(tm_eal_port_is_pci("0000:01:00.0"));
    CU_ASSERT(tm_eal_port_is_pci("01:00.0"));
    CU_ASSERT_FALSE(tm_eal_port_is_pci("net_af_packet0,iface=eth0"));
    CU_ASSERT_FALSE(tm_eal_port_is_pci("01:00.0,x=1"));
    CU_ASSERT_FALSE(tm_eal_port_is_pci(""));
}

/* Runs body in a process of its own whose stdout and stderr are a pipe; returns its exit status and
 * what it wrote there. */
static int in_child(int (*body)(void), char *output, size_t size)
{
    int out[2];
    size_t used = 0;
    int status = 0;
    ssize_t got;
    CU_ASSERT_EQUAL_FATAL(pipe(out), 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(out[1], 1);
        dup2(out[1], 2);
        close(out[0]);
        close(out[1]);
        int code = body();
        fflush(NULL);
        _exit(code);
    }
    close(out[1]);
    while (used + 1 < size && (got = read(out[0], output + used, size - 1 - used)) > 0)
        used += (size_t)got;
    output[used] = '\0';
    close(out[0]);
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static struct tm_eal_config small = {.memory_mib = 32};

static int undisturbed(void)
{
    char why[300];
    cpu_set_t before, after;
    sigset_t mask;
    CPU_ZERO(&after);
    sched_getaffinity(0, sizeof before, &before);
    if (tm_eal_start(&small, why, sizeof why) != TM_OK)
        return 2;
    sched_getaffinity(0, sizeof after, &after);
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    if (!CPU_EQUAL(&before, &after))
        return 3;
    if (sigismember(&mask, SIGTERM) || sigismember(&mask, SIGUSR1))
        return 4;
    tm_eal_stop();
    return 0;
}

static void a_start_says_nothing_and_leaves_affinity_and_signals(void)
{
    char output[4096];
    CU_ASSERT_EQUAL(in_child(undisturbed, output, sizeof output), 0);
    CU_ASSERT_STRING_EQUAL(output, "");
}

static int bad_value(void)
{
    char why[300] = "";
    small.extra = "--iova-mode=sideways";
    enum tm_err err = tm_eal_start(&small, why, sizeof why);
    printf("%s", why);
    return err == TM_ERR_UNSUPPORTED || err == TM_ERR_INVALID ? 0 : 2;
}

static void a_value_that_eal_refuses_is_one_line(void)
{
    char output[8192];
    CU_ASSERT_EQUAL(in_child(bad_value, output, sizeof output), 0);
    CU_ASSERT(strncmp(output, "dpdk does not start: ", 21) == 0);
    CU_ASSERT_PTR_NULL(strchr(output, '\n'));
}

static int entering_twice(void)
{
    char why[300];
    if (tm_eal_start(&small, why, sizeof why) != TM_OK)
        return 2;
    bool ok = tm_eal_thread_enter() == TM_OK && tm_eal_thread_enter() == TM_OK;
    tm_eal_thread_leave();
    return ok ? 0 : 3;
}

static void a_thread_may_enter_twice(void)
{
    char output[4096];
    CU_ASSERT_EQUAL(in_child(entering_twice, output, sizeof output), 0);
}

static const struct tm_test tests[] = {
    TM_TEST(words_are_checked_before_eal_sees_them),
    TM_TEST(a_text_beyond_all_bounds_is_refused),
    TM_TEST(pci_addresses_are_told_from_virtual_devices),
    TM_TEST(a_start_says_nothing_and_leaves_affinity_and_signals),
    TM_TEST(a_value_that_eal_refuses_is_one_line),
    TM_TEST(a_thread_may_enter_twice),
};
TM_TEST_MAIN("net/eal", tests)
