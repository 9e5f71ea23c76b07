/* load_spec.h: the options of a load run, in one table: parsed, checked and explained from it. */
#ifndef TM_BENCH_LOAD_SPEC_H
#define TM_BENCH_LOAD_SPEC_H

#include "bench/schedule.h"
#include "bench/workload.h"

#include <stdio.h>
#include <sys/types.h>

#define TM_LOAD_CONNECTIONS_MAX 100000
#define TM_LOAD_PIPELINE_MAX    10000
#define TM_LOAD_THEN_MAX        256
#define TM_LOAD_SWEEP_MAX       32
#define TM_LOAD_PIDS_MAX        32
#define TM_LOAD_WHY_MAX         512

/* X(name, value in the help text (NULL: a flag), default, text) */
#define TM_LOAD_OPTION_LIST(X)                                                                     \
    X(op, "MIX", "set", "operations and weights: set, or set:9,get:1")                             \
    X(size, "BYTES", "256", "size of a value")                                                     \
    X(keys, "N", "100000", "number of different keys")                                             \
    X(zipf, "EXPONENT", "", "draw keys by Zipf's law (0.99 is usual), not uniformly")              \
    X(sequential, NULL, "", "use the keys one after another (to fill a store)")                    \
    X(prefix, "TEXT", "bench", "what stands before the colon of each key")                         \
    X(seed, "N", "1", "of the random choices")                                                     \
    X(connections, "N", "1", "number of connections")                                              \
    X(pipeline, "N", "1", "operations under way on each connection")                               \
    X(rate, "OPS", "", "open loop: operation k is due at k/OPS seconds and timed from then")       \
    X(sweep, "P,P,...", "", "open loop at these percents of the saturation, measured first")       \
    X(seconds, "S", "10", "length of the measured window")                                         \
    X(ops, "N", "", "measure N operations instead")                                                \
    X(warmup, "S", "1", "seconds of load before the window")                                       \
    X(then, "COMMAND", "", "sent after each operation, which is done at its answer")               \
    X(then_per, "N", "1", "one --then for each N operations of a connection (closed loop)")        \
    X(cluster, NULL, "", "ask CLUSTER SLOTS, send each key to its owner")                          \
    X(cpu_of, "PID,PID,...", "", "report the CPU-seconds of these processes")                      \
    X(hiccups, "S", "", "spin for S seconds before the load, report the platform's pauses")        \
    X(json, NULL, "", "print one JSON object")                                                     \
    X(hdr, "FILE", "", "write latencies (us) in HdrHistogram's text form; a sweep: to FILE.P")

struct tm_load_spec {
    const char *address;
    struct tm_workload_spec work;
    struct tm_schedule_spec schedule;
    uint32_t connections, pipeline;
    char then[TM_LOAD_THEN_MAX + 1]; /* "": none */
    uint32_t then_per;
    bool cluster, json;
    const char *hdr; /* NULL: none */
    uint64_t hiccup_ns;
    unsigned pid_count, sweep_count;
    pid_t pids[TM_LOAD_PIDS_MAX];
    double sweep[TM_LOAD_SWEEP_MAX]; /* percent, above 0 and not above 100 */
    const char *mix_text;
};

/* Reads "ADDR [--option value | --option=value | --flag]..." in any order.  On failure why
 * (TM_LOAD_WHY_MAX bytes) gets one line with the option, its value and what is allowed.  The spec
 * points into argv. */
enum tm_err tm_load_spec_parse(struct tm_load_spec *spec, int argc, char **argv, char *why);

/* Writes one line for each option. */
void tm_load_spec_help(FILE *out);

#endif
