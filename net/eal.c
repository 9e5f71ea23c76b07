/* The start: remember affinity, block signals (EAL's threads inherit the mask), point EAL's log to
 * ours, build the arguments, call rte_eal_init with stdout and stderr put aside (a word it does
 * not like makes it print a page there), then put everything back as it was.
 *
 * What can go wrong: a bad word in --eal is found before EAL sees it, by a table of the options
 * that make sense here; for all the rest the first error line that EAL logged (the cause) and the
 * last (what failed of it) become part of ours.
 */
#define ALLOW_EXPERIMENTAL_API
#include "net/eal.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_log.h>

#define ARGS_MAX       64
#define ARGS_TEXT_MAX  4096
#define CPUS_TEXT_MAX  1024
#define LINE_MAX_BYTES 512

/* Which of our defaults an option of the user's takes the place of. */
enum { KEEPS = 0, DROPS_MEMORY = 1, DROPS_NO_HUGE = 2, DROPS_NO_PCI = 4, DROPS_LCORES = 8 };

/* X(name, takes an argument, what it replaces) */
#define EAL_OPTION_LIST(X)                                                                         \
    X("-a", true, DROPS_NO_PCI)                                                                    \
    X("--allow", true, DROPS_NO_PCI)                                                               \
    X("-b", true, DROPS_NO_PCI)                                                                    \
    X("--block", true, DROPS_NO_PCI)                                                               \
    X("-m", true, DROPS_MEMORY)                                                                    \
    X("--socket-mem", true, DROPS_MEMORY | DROPS_NO_HUGE)                                          \
    X("--socket-limit", true, DROPS_NO_HUGE)                                                       \
    X("--huge-dir", true, DROPS_NO_HUGE)                                                           \
    X("--huge-unlink", false, DROPS_NO_HUGE)                                                       \
    X("--in-memory", false, DROPS_NO_HUGE)                                                         \
    X("--single-file-segments", false, DROPS_NO_HUGE)                                              \
    X("--lcores", true, DROPS_LCORES)                                                              \
    X("--vdev", true, KEEPS)                                                                       \
    X("-d", true, KEEPS)                                                                           \
    X("-n", true, KEEPS)                                                                           \
    X("-r", true, KEEPS)                                                                           \
    X("--base-virtaddr", true, KEEPS)                                                              \
    X("--file-prefix", true, KEEPS)                                                                \
    X("--force-max-simd-bitwidth", true, KEEPS)                                                    \
    X("--iova-mode", true, KEEPS)                                                                  \
    X("--legacy-mem", false, KEEPS)                                                                \
    X("--log-level", true, KEEPS)                                                                  \
    X("--no-hpet", false, KEEPS)                                                                   \
    X("--vfio-intr", true, KEEPS)                                                                  \
    X("--vfio-vf-token", true, KEEPS)

static const struct eal_option {
    const char *name;
    bool takes;
    unsigned drops;
} options[] = {
#define X(name, takes, drops) {name, takes, drops},
    EAL_OPTION_LIST(X)
#undef X
};

struct args {
    char text[ARGS_TEXT_MAX];
    size_t used;
    char *word[ARGS_MAX + 1];
    int count;
    unsigned drops;
};

/* What stays for the life of the process: EAL keeps the stream and pointers into the arguments. */
static struct tm_eal_log log_to;
static FILE *log_stream;
static char first_error[LINE_MAX_BYTES], last_error[LINE_MAX_BYTES];
static struct args started_args;

static enum tm_err fail(enum tm_err err, char *why, size_t size, const char *what, const char *arg)
{
    snprintf(why, size, what, arg);
    return err;
}

/* "--allow=01:00.0" matches "--allow"; *value is what follows the '=', or NULL. */
static const struct eal_option *option_of(const char *word, const char **value)
{
    size_t len = strcspn(word, "=");
    *value = word[len] == '=' && word[1] == '-' ? word + len + 1 : NULL;
    for (size_t i = 0; i < TM_ARRAY_LEN(options); i++)
        if (strlen(options[i].name) == len && memcmp(options[i].name, word, len) == 0)
            return &options[i];
    return NULL;
}

/* False when the arguments are more than the arrays hold. */
static bool args_add(struct args *args, const char *word, size_t len)
{
    if (args->count == ARGS_MAX || args->used + len + 1 > sizeof args->text)
        return false;
    char *to = args->text + args->used;
    memcpy(to, word, len);
    to[len] = '\0';
    args->used += len + 1;
    args->word[args->count++] = to;
    args->word[args->count] = NULL;
    return true;
}

static bool args_add_text(struct args *args, const char *word)
{
    return args_add(args, word, strlen(word));
}

static bool args_split(struct args *args, const char *text)
{
    for (const char *p = text; *p != '\0';) {
        size_t blank = strspn(p, " \t\n");
        size_t len = strcspn(p + blank, " \t\n");
        if (len > 0 && !args_add(args, p + blank, len))
            return false;
        p += blank + len;
    }
    return true;
}

static enum tm_err args_check(struct args *args, char *why, size_t size)
{
    for (int i = 0; i < args->count; i++) {
        const char *word = args->word[i];
        const char *value;
        const struct eal_option *option = option_of(word, &value);
        if (option == NULL)
            return fail(TM_ERR_INVALID, why, size,
                        "--eal: \"%s\" is no EAL option that can be given here", word);
        if (!option->takes && value != NULL)
            return fail(TM_ERR_INVALID, why, size, "--eal: \"%s\" takes no argument", word);
        if (option->takes && value == NULL)
            value = ++i < args->count ? args->word[i] : "";
        if (option->takes && (value[0] == '\0' || value[0] == '-'))
            return fail(TM_ERR_INVALID, why, size, "--eal: \"%s\" needs an argument", word);
        args->drops |= option->drops;
    }
    return TM_OK;
}

static enum tm_err args_parse(struct args *args, const char *extra, char *why, size_t size)
{
    memset(args, 0, sizeof *args);
    if (extra != NULL && !args_split(args, extra))
        return fail(TM_ERR_INVALID, why, size, "--eal: more than 64 words or %s bytes", "4096");
    return args_check(args, why, size);
}

enum tm_err tm_eal_check(const char *extra, char *why, size_t why_size)
{
    struct args args;
    return args_parse(&args, extra, why, why_size);
}

/* "0@(0,2,3)": EAL's one lcore may run wherever this process may. */
static void lcores_of(const cpu_set_t *cpus, char *text, size_t size)
{
    size_t at = (size_t)snprintf(text, size, "--lcores=0@(");
    const char *comma = "";
    for (size_t cpu = 0; cpu < CPU_SETSIZE && at + 8 < size; cpu++)
        if (CPU_ISSET(cpu, cpus)) {
            at += (size_t)snprintf(text + at, size - at, "%s%zu", comma, cpu);
            comma = ",";
        }
    snprintf(text + at, size - at, ")");
}

static bool args_build(struct args *args, const struct tm_eal_config *config,
                       const struct args *extra, const cpu_set_t *cpus)
{
    char lcores[CPUS_TEXT_MAX];
    char memory[32];
    memset(args, 0, sizeof *args);
    lcores_of(cpus, lcores, sizeof lcores);
    snprintf(memory, sizeof memory, "-m%u", config->memory_mib);
    bool ok = args_add_text(args, "tidemill") && args_add_text(args, "--no-telemetry") &&
              args_add_text(args, "--no-shconf");
    if (!(extra->drops & DROPS_NO_HUGE))
        ok = ok && args_add_text(args, "--no-huge");
    if (!(extra->drops & DROPS_MEMORY))
        ok = ok && args_add_text(args, memory);
    if (!(extra->drops & DROPS_LCORES))
        ok = ok && args_add_text(args, lcores);
    if (config->pci != NULL)
        ok = ok && args_add_text(args, "-a") && args_add_text(args, config->pci);
    else if (!(extra->drops & DROPS_NO_PCI))
        ok = ok && args_add_text(args, "--no-pci");
    for (int i = 0; i < extra->count; i++)
        ok = ok && args_add_text(args, extra->word[i]);
    return ok;
}

static enum tm_log_level level_of(const char *line)
{
    int level = rte_log_cur_msg_loglevel();
    /* Said at each memif port because of --no-shconf, and of no consequence. */
    if (strstr(line, "mp action callback") != NULL)
        return TM_LOG_DEBUG;
    if (level > 0 && level <= (int)RTE_LOG_ERR)
        return TM_LOG_ERROR;
    if (level == (int)RTE_LOG_WARNING)
        return TM_LOG_WARN;
    return TM_LOG_DEBUG;
}

static void log_line(const char *text, size_t len)
{
    char line[LINE_MAX_BYTES];
    size_t n = len < sizeof line ? len : sizeof line - 1;
    for (size_t i = 0; i < n; i++)
        line[i] = text[i] == '"' || !isprint((unsigned char)text[i]) ? '\'' : text[i];
    line[n] = '\0';
    enum tm_log_level level = level_of(line);
    if (level == TM_LOG_ERROR)
        memcpy(first_error[0] == '\0' ? first_error : last_error, line, n + 1);
    if (log_to.write != NULL && n > 0)
        log_to.write(log_to.host, level, "eal", "msg=\"%s\"", line);
}

static ssize_t log_write(void *cookie, const char *buf, size_t size)
{
    (void)cookie;
    for (size_t at = 0; at < size;) {
        const char *end = memchr(buf + at, '\n', size - at);
        size_t len = end != NULL ? (size_t)(end - (buf + at)) : size - at;
        log_line(buf + at, len);
        at += len + 1;
    }
    return (ssize_t)size;
}

static bool log_open(const struct tm_eal_log *log)
{
    log_to = *log;
    if (log_stream == NULL)
        log_stream = fopencookie(NULL, "w", (cookie_io_functions_t){.write = log_write});
    if (log_stream == NULL)
        return false;
    setvbuf(log_stream, NULL, _IOLBF, BUFSIZ);
    rte_openlog_stream(log_stream);
    return true;
}

/* Puts stdout and stderr aside while EAL reads its arguments; saved[] brings them back. */
static void quiet_begin(int saved[2])
{
    fflush(NULL);
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    for (int i = 0; i < 2; i++) {
        saved[i] = null < 0 ? -1 : fcntl(i + 1, F_DUPFD_CLOEXEC, 3);
        if (saved[i] >= 0)
            dup2(null, i + 1);
    }
    if (null >= 0)
        close(null);
}

static void quiet_end(const int saved[2])
{
    fflush(NULL);
    for (int i = 0; i < 2; i++)
        if (saved[i] >= 0) {
            dup2(saved[i], i + 1);
            close(saved[i]);
        }
}

static int init_undisturbed(struct args *args, const cpu_set_t *cpus)
{
    sigset_t all, before;
    int saved[2];
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    quiet_begin(saved);
    int err = rte_eal_init(args->count, args->word) < 0 ? rte_errno : 0;
    quiet_end(saved);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_setaffinity_np(pthread_self(), sizeof *cpus, cpus);
    return err;
}

enum tm_err tm_eal_start(const struct tm_eal_config *config, char *why, size_t why_size)
{
    struct args extra;
    cpu_set_t cpus;
    TM_ASSERT(config->memory_mib >= 16 && config->memory_mib <= 65536);
    enum tm_err err = args_parse(&extra, config->extra, why, why_size);
    if (err != TM_OK)
        return err;
    if (sched_getaffinity(0, sizeof cpus, &cpus) != 0)
        return fail(TM_ERR_UNSUPPORTED, why, why_size, "dpdk: %s", strerror(errno));
    if (!args_build(&started_args, config, &extra, &cpus))
        return fail(TM_ERR_INVALID, why, why_size, "--eal: %s", "too many arguments");
    if (!log_open(&config->log))
        return fail(TM_ERR_NOMEM, why, why_size, "dpdk: %s", strerror(errno));
    int errnum = init_undisturbed(&started_args, &cpus);
    if (errnum == 0)
        return TM_OK;
    snprintf(why, why_size, "dpdk does not start: %s%s%s (%s); check --eal, or use --fabric tcp",
             first_error[0] != '\0' ? first_error : "no reason given",
             last_error[0] != '\0' ? "; " : "", last_error, rte_strerror(errnum));
    return errnum == ENOMEM ? TM_ERR_NOMEM : TM_ERR_UNSUPPORTED;
}

void tm_eal_stop(void)
{
    rte_eal_cleanup();
}

enum tm_err tm_eal_thread_enter(void)
{
    if (rte_lcore_id() != LCORE_ID_ANY)
        return TM_OK;
    return rte_thread_register() == 0 ? TM_OK : TM_ERR_FULL;
}

void tm_eal_thread_leave(void)
{
    /* The main thread is EAL's own lcore: it stays registered until EAL ends. */
    if (rte_lcore_id() != LCORE_ID_ANY && rte_lcore_id() != rte_get_main_lcore())
        rte_thread_unregister();
}

bool tm_eal_port_is_pci(const char *port)
{
    unsigned domain, bus, slot, function;
    int used = 0;
    if (sscanf(port, "%x:%x:%x.%u%n", &domain, &bus, &slot, &function, &used) == 4 &&
        port[used] == '\0')
        return true;
    used = 0;
    return sscanf(port, "%x:%x.%u%n", &bus, &slot, &function, &used) == 3 && port[used] == '\0';
}
