/* cost.h: what a machine has spent so far: busy time of all its cores, of this process, of other
 * processes, and flushes of its block devices.  Two samples make a cost.
 *
 * Busy time is that of /proc/stat without idle, waiting for devices, and time stolen by the host;
 * its resolution is a clock tick (10 ms).  Flushes are field 16 of /sys/block/DEVICE/stat; devices
 * that stand on others (loop, dm, md, zram) are left out, so that none counts twice. */
#ifndef TM_BENCH_COST_H
#define TM_BENCH_COST_H

#include "runtime/base.h"

#include <sys/types.h>

#define TM_COST_PIDS_MAX    32
#define TM_COST_DEVICES_MAX 16
#define TM_COST_DEVICE_NAME 32

struct tm_cost {
    double busy_s; /* all cores together */
    double own_s;  /* this process, all its threads, user and system */
    double steal_s;
    unsigned pid_count;
    double pid_s[TM_COST_PIDS_MAX]; /* in the order asked for; negative: no such process */
    unsigned device_count;
    struct {
        char name[TM_COST_DEVICE_NAME];
        uint64_t flushes;
    } device[TM_COST_DEVICES_MAX];
};

/* Takes a sample; pids has count (at most TM_COST_PIDS_MAX) processes.  What cannot be read is
 * zero (a process: negative). */
void tm_cost_sample(struct tm_cost *c, const pid_t *pids, unsigned count);

/* Changes *after to what was spent since *before: differences everywhere.  A process that has come
 * or gone between the two is negative. */
void tm_cost_since(struct tm_cost *after, const struct tm_cost *before);

/* Sums of a difference. */
uint64_t tm_cost_flushes(const struct tm_cost *c);

/* Reads the CPU-seconds (user + system) out of the text of /proc/PID/stat, the program's name in it
 * being anything; negative if it is no such text. */
double tm_cost_parse_pid(const char *stat, long ticks_per_second);

#endif
