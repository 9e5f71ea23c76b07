/* cost.c: reads /proc/stat, /proc/PID/stat and /sys/block/DEVICE/stat. */
#include "bench/cost.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

/* Fields of the "cpu" line of /proc/stat. */
enum { CPU_USER, CPU_NICE, CPU_SYSTEM, CPU_IDLE, CPU_IOWAIT, CPU_IRQ, CPU_SOFTIRQ, CPU_STEAL };
/* Fields of /proc/PID/stat and of /sys/block/DEVICE/stat, counted from 1 as their manuals do. */
enum { PID_UTIME = 14, PID_STIME = 15, DEVICE_FLUSHES = 16 };

/* Reads a small file as text; false if it cannot be read. */
static bool slurp(const char *path, char *buf, size_t cap)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, buf, cap - 1);
    close(fd);
    buf[n > 0 ? n : 0] = 0;
    return n > 0;
}

/* The n-th (from 1) number of blank-separated fields; 0 if there are fewer. */
static uint64_t field(const char *text, unsigned n)
{
    for (unsigned i = 1; *text != 0; i++) {
        while (isspace((unsigned char)*text))
            text++;
        if (i == n)
            return strtoull(text, NULL, 10);
        while (*text != 0 && !isspace((unsigned char)*text))
            text++;
    }
    return 0;
}

static void sample_cores(struct tm_cost *m, double tick_s)
{
    char text[512];
    if (!slurp("/proc/stat", text, sizeof text) || strncmp(text, "cpu ", 4) != 0)
        return;
    uint64_t t[8];
    for (unsigned i = 0; i < TM_ARRAY_LEN(t); i++)
        t[i] = field(text + 4, i + 1);
    m->busy_s =
        tick_s * (double)(t[CPU_USER] + t[CPU_NICE] + t[CPU_SYSTEM] + t[CPU_IRQ] + t[CPU_SOFTIRQ]);
    m->steal_s = tick_s * (double)t[CPU_STEAL];
}

double tm_cost_parse_pid(const char *stat, long ticks_per_second)
{
    const char *name_end = strrchr(stat, ')');
    if (name_end == NULL)
        return -1;
    uint64_t ticks = field(name_end + 1, PID_UTIME - 2) + field(name_end + 1, PID_STIME - 2);
    return (double)ticks / (double)ticks_per_second;
}

static double process_seconds(pid_t pid, long ticks)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    return slurp(path, text, sizeof text) ? tm_cost_parse_pid(text, ticks) : -1;
}

static double own_seconds(void)
{
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
           (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1e-6;
}

/* Devices that pass their flushes on to another one, or to none. */
static bool stands_on_other(const char *name)
{
    static const char *const prefixes[] = {".", "loop", "ram", "zram", "dm-", "md", "nbd"};
    for (size_t i = 0; i < TM_ARRAY_LEN(prefixes); i++)
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    return strlen(name) >= TM_COST_DEVICE_NAME;
}

static void sample_devices(struct tm_cost *m)
{
    DIR *dir = opendir("/sys/block");
    if (dir == NULL)
        return;
    for (struct dirent *e; (e = readdir(dir)) != NULL && m->device_count < TM_COST_DEVICES_MAX;) {
        char path[300], text[512];
        snprintf(path, sizeof path, "/sys/block/%s/stat", e->d_name);
        if (stands_on_other(e->d_name) || !slurp(path, text, sizeof text))
            continue;
        unsigned i = m->device_count++;
        snprintf(m->device[i].name, sizeof m->device[i].name, "%.*s", TM_COST_DEVICE_NAME - 1,
                 e->d_name);
        m->device[i].flushes = field(text, DEVICE_FLUSHES);
    }
    closedir(dir);
}

void tm_cost_sample(struct tm_cost *m, const pid_t *pids, unsigned count)
{
    TM_ASSERT(count <= TM_COST_PIDS_MAX);
    *m = (struct tm_cost){.pid_count = count, .own_s = own_seconds()};
    long ticks = sysconf(_SC_CLK_TCK);
    sample_cores(m, 1.0 / (double)ticks);
    for (unsigned i = 0; i < count; i++)
        m->pid_s[i] = process_seconds(pids[i], ticks);
    sample_devices(m);
}

void tm_cost_since(struct tm_cost *after, const struct tm_cost *before)
{
    after->busy_s -= before->busy_s;
    after->own_s -= before->own_s;
    after->steal_s -= before->steal_s;
    for (unsigned i = 0; i < after->pid_count; i++) {
        bool both = after->pid_s[i] >= 0 && before->pid_s[i] >= 0;
        after->pid_s[i] = both ? after->pid_s[i] - before->pid_s[i] : -1;
    }
    for (unsigned i = 0; i < after->device_count; i++)
        for (unsigned j = 0; j < before->device_count; j++)
            if (strcmp(after->device[i].name, before->device[j].name) == 0)
                after->device[i].flushes -= before->device[j].flushes;
}

uint64_t tm_cost_flushes(const struct tm_cost *m)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < m->device_count; i++)
        sum += m->device[i].flushes;
    return sum;
}
