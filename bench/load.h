/* load.h: one load run against any RESP server: one thread, one io_uring, many connections.
 *
 * The generator must cost little, since it shares the machine with what it measures: requests are
 * encoded from templates, all sends of a turn enter the kernel together, received bytes are looked
 * at where the kernel put them, and a reply is taken apart no further than to find its end.
 *
 * A connection that breaks stays closed: its operations count as failed, and the others go on. */
#ifndef TM_BENCH_LOAD_H
#define TM_BENCH_LOAD_H

#include "bench/load_spec.h"
#include "bench/cost.h"

#define TM_LOAD_ERRORS_MAX 32
#define TM_LOAD_ERROR_TEXT 120

/* Failed operations (the warm-up's too) by what the server said. */
struct tm_load_errors {
    unsigned kinds;
    struct {
        char text[TM_LOAD_ERROR_TEXT]; /* cut where longer */
        uint64_t count;
    } kind[TM_LOAD_ERRORS_MAX];
    uint64_t others; /* with texts for which there was no room */
};

struct tm_load_result {
    struct tm_schedule schedule;
    struct tm_tally tally;
    struct tm_load_errors errors;
    struct tm_cost spent; /* over the window; with ops limited, until the last answer */
    uint64_t unanswered;  /* 10 s after the last was sent */
    uint32_t lost;        /* connections */
};

/* Runs spec->schedule at the given rate (0: closed loop) and fills *result (120 KiB), whatever it
 * held.  Blocks for the length of the run.  On failure why (TM_LOAD_WHY_MAX bytes) gets one line:
 * no such host, connection refused, no io_uring, no cluster, memory. */
enum tm_err tm_load_run(struct tm_load_result *result, const struct tm_load_spec *spec, double rate,
                        char *why);

/* Whether somebody listens at spec->address: one connection, opened and closed.  On failure why
 * (TM_LOAD_WHY_MAX bytes) gets one line. */
enum tm_err tm_load_reach(const struct tm_load_spec *spec, char *why);

/* Counts one failure. */
void tm_load_errors_add(struct tm_load_errors *e, const char *text, size_t len, uint64_t times);

#endif
