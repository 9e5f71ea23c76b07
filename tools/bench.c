/* tidemill bench: the measuring harness.  `resp` loads a RESP server: once, or (--sweep) first as
 * fast as it can, then in the open loop at percents of that. */
#include "bench/hiccup.h"
#include "bench/report.h"
#include "tools/command.h"

#include <errno.h>
#include <stdlib.h>

#define HDR_TICKS 5

static int write_hdr(const char *path, const struct tm_histogram *h)
{
    FILE *f = fopen(path, "we");
    if (f == NULL)
        return tm_fail("cannot write %s: %s", path, strerror(errno));
    tm_histogram_print(h, f, HDR_TICKS, 1000);
    if (fclose(f) != 0)
        return tm_fail("cannot write %s: %s", path, strerror(errno));
    return TM_EXIT_DONE;
}

/* One run at spec->schedule.rate.  The JSON object is added to `to`, if there is one. */
static int run_once(struct tm_load_result *r, const struct tm_load_spec *spec, double rate,
                    json_t *to)
{
    char why[TM_LOAD_WHY_MAX];
    enum tm_err err = tm_load_run(r, spec, rate, why);
    if (err != TM_OK)
        return tm_fail("bench resp: %s", why);
    if (to != NULL)
        json_object_update_new(to, tm_report_json(spec, r));
    return tm_report_is_valid(r) ? TM_EXIT_DONE : TM_EXIT_FAILED;
}

static int plain(struct tm_load_result *r, const struct tm_load_spec *spec, json_t *json)
{
    int exit = run_once(r, spec, spec->schedule.rate, json);
    if (r->schedule.start_ns == 0)
        return exit; /* it did not begin; said already */
    if (json == NULL)
        tm_report_text(stdout, spec, r);
    if (exit == TM_EXIT_DONE && spec->hdr != NULL)
        return write_hdr(spec->hdr, &r->tally.latency);
    return exit;
}

/* The latencies of a sweep's point, in FILE.PERCENT. */
static int write_point_hdr(const struct tm_load_spec *spec, double percent,
                           const struct tm_load_result *r)
{
    char path[4096];
    if (spec->hdr == NULL || !tm_report_is_valid(r))
        return TM_EXIT_DONE;
    if (snprintf(path, sizeof path, "%s.%g", spec->hdr, percent) >= (int)sizeof path)
        return tm_fail("--hdr %.40s...: the name is too long", spec->hdr);
    return write_hdr(path, &r->tally.latency);
}

/* One point; TM_EXIT_DONE also if it missed its rate, which it then shows. */
static int sweep_point(struct tm_load_result *r, const struct tm_load_spec *spec, double most,
                       double percent, json_t *points)
{
    json_t *point = points != NULL ? json_object() : NULL;
    run_once(r, spec, most * percent / 100, point);
    if (r->schedule.start_ns == 0) {
        json_decref(point);
        return TM_EXIT_FAILED;
    }
    if (point != NULL) {
        json_object_set_new(point, "percent", json_real(percent));
        json_array_append_new(points, point);
    } else {
        tm_report_sweep_line(stdout, percent, r);
        fflush(stdout);
    }
    return write_point_hdr(spec, percent, r);
}

static int sweep(struct tm_load_result *r, const struct tm_load_spec *spec, json_t *json)
{
    json_t *saturated = json != NULL ? json_object() : NULL;
    json_t *points = json != NULL ? json_array() : NULL;
    int exit = run_once(r, spec, 0, saturated);
    double most = tm_tally_per_second(&r->tally, &r->schedule);
    if (exit == TM_EXIT_DONE && json == NULL) {
        tm_report_text(stdout, spec, r);
        tm_report_sweep_head(stdout);
        fflush(stdout);
    }
    for (unsigned i = 0; i < spec->sweep_count && exit == TM_EXIT_DONE; i++)
        exit = sweep_point(r, spec, most, spec->sweep[i], points);
    if (json != NULL) {
        json_object_set_new(json, "saturation", saturated);
        json_object_set_new(json, "sweep", points);
    }
    return exit;
}

static int bench_resp(int argc, char **argv)
{
    struct tm_load_spec spec;
    char why[TM_LOAD_WHY_MAX];
    if (tm_load_spec_parse(&spec, argc, argv, why) != TM_OK)
        return tm_usage_error("bench", "%s", why);
    if (tm_load_reach(&spec, why) != TM_OK)
        return tm_fail("bench resp: %s", why); /* before the head says what is measured */
    struct tm_load_result *r = calloc(1, sizeof *r);
    struct tm_histogram *hiccups = calloc(1, sizeof *hiccups);
    json_t *json = spec.json ? json_object() : NULL;
    if (r == NULL || hiccups == NULL)
        return tm_fail("out of memory");
    if (json == NULL)
        tm_report_head(stdout, &spec);
    if (spec.hiccup_ns > 0) {
        tm_hiccup_measure(hiccups, spec.hiccup_ns);
        if (json == NULL)
            tm_report_hiccups_text(stdout, hiccups);
        else
            json_object_set_new(json, "hiccups_us", tm_report_hiccups_json(hiccups));
    }
    fflush(stdout);
    int exit = spec.sweep_count > 0 ? sweep(r, &spec, json) : plain(r, &spec, json);
    if (json != NULL && r->schedule.start_ns != 0) {
        json_dumpf(json, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
        putchar('\n');
    }
    json_decref(json);
    free(hiccups);
    free(r);
    return exit;
}

static int bench_help(void)
{
    puts("tidemill bench resp ADDR [options]: loads any server that speaks RESP.\n");
    tm_load_spec_help(stdout);
    return TM_EXIT_DONE;
}

int tm_main_bench(int argc, char **argv)
{
    if (argc >= 1 && strcmp(argv[0], "resp") == 0)
        return bench_resp(argc - 1, argv + 1);
    if (argc >= 1 && strcmp(argv[0], "help") == 0)
        return bench_help();
    if (argc >= 1)
        return tm_usage_error("bench", "there is no benchmark \"%s\"", argv[0]);
    return tm_usage_error("bench", "which benchmark?");
}
