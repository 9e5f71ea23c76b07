/* report.h: what a load run is told as: lines for people, or JSON (docs/BENCHMARKS.md names the
 * fields), and HdrHistogram's text for plotters. */
#ifndef TM_BENCH_REPORT_H
#define TM_BENCH_REPORT_H

#include "bench/load.h"

#include <jansson.h>

/* Prints what will be measured. */
void tm_report_head(FILE *out, const struct tm_load_spec *spec);

/* Prints a run's throughput, latencies, costs and errors; no percentile if it missed its rate. */
void tm_report_text(FILE *out, const struct tm_load_spec *spec, const struct tm_load_result *r);

/* The same as an object, which the caller owns; NULL if memory is refused. */
json_t *tm_report_json(const struct tm_load_spec *spec, const struct tm_load_result *r);

/* The platform's pauses, in both forms. */
void tm_report_hiccups_text(FILE *out, const struct tm_histogram *h);
json_t *tm_report_hiccups_json(const struct tm_histogram *h);

/* One line of a sweep's table; head: the line above all. */
void tm_report_sweep_head(FILE *out);
void tm_report_sweep_line(FILE *out, double percent, const struct tm_load_result *r);

/* True if the run measured what it was to: its rate was reached and an operation succeeded. */
bool tm_report_is_valid(const struct tm_load_result *r);

#endif
