/* report.c: latencies are nanoseconds inside and microseconds outside. */
#include "bench/report.h"

#include <unistd.h>

static const struct {
    const char *name;
    double percent;
} percentiles[] = {{"p50", 50},     {"p90", 90},       {"p99", 99},
                   {"p99.9", 99.9}, {"p99.99", 99.99}, {"max", 100}};

static double us(uint64_t ns)
{
    return (double)ns / 1000;
}

static double at(const struct tm_histogram *h, double percent)
{
    return us(tm_histogram_percentile(h, percent));
}

/* Operations per second that the machine was busy with something else than the generator. */
static double per_busy_second(const struct tm_load_result *r)
{
    double busy = r->spent.busy_s - r->spent.own_s;
    return busy > 0 ? (double)r->tally.in_window / busy : 0;
}

static double flushes_per_operation(const struct tm_load_result *r)
{
    return r->tally.in_window > 0 ? (double)tm_cost_flushes(&r->spent) / (double)r->tally.in_window
                                  : 0;
}

bool tm_report_is_valid(const struct tm_load_result *r)
{
    return !r->schedule.missed && r->tally.done > 0;
}

void tm_report_head(FILE *out, const struct tm_load_spec *spec)
{
    fprintf(out, "%s: %s, values of %llu bytes, %llu keys, %u connections, pipeline %u",
            spec->address, spec->mix_text, (unsigned long long)spec->work.value_bytes,
            (unsigned long long)spec->work.keys, spec->connections, spec->pipeline);
    if (spec->then[0] != 0)
        fprintf(out, ", then \"%s\"", spec->then);
    if (spec->then_per > 1)
        fprintf(out, " for each %u", spec->then_per);
    fputc('\n', out);
}

static void print_percentiles(FILE *out, const char *label, const struct tm_histogram *h)
{
    fprintf(out, "  %-12s", label);
    for (size_t i = 0; i < TM_ARRAY_LEN(percentiles); i++)
        fprintf(out, " %s %.1f", percentiles[i].name, at(h, percentiles[i].percent));
    fputc('\n', out);
}

static void print_costs(FILE *out, const struct tm_load_spec *spec, const struct tm_load_result *r)
{
    fprintf(out,
            "  %-12s busy %.2f s, of it the generator %.2f s; %.0f operations per busy second\n",
            "machine", r->spent.busy_s, r->spent.own_s, per_busy_second(r));
    for (unsigned i = 0; i < r->spent.pid_count; i++)
        if (r->spent.pid_s[i] >= 0)
            fprintf(out, "  %-12s %d: %.2f CPU-seconds\n", i == 0 ? "processes" : "",
                    (int)spec->pids[i], r->spent.pid_s[i]);
        else
            fprintf(out, "  %-12s %d: not there all the time\n", i == 0 ? "processes" : "",
                    (int)spec->pids[i]);
    fprintf(out, "  %-12s %llu of the devices, %.3f per operation\n", "flushes",
            (unsigned long long)tm_cost_flushes(&r->spent), flushes_per_operation(r));
}

static void print_errors(FILE *out, const struct tm_load_result *r)
{
    for (unsigned i = 0; i < r->errors.kinds; i++)
        fprintf(out, "  %-12s %llu x \"%s\"\n", i == 0 ? "errors" : "",
                (unsigned long long)r->errors.kind[i].count, r->errors.kind[i].text);
    if (r->errors.others > 0)
        fprintf(out, "  %-12s %llu with other texts\n", "", (unsigned long long)r->errors.others);
    if (r->unanswered > 0)
        fprintf(out, "  %-12s %llu operations, 10 s after the last was sent\n", "unanswered",
                (unsigned long long)r->unanswered);
    if (r->lost > 0)
        fprintf(out, "  %-12s %u connections\n", "lost", r->lost);
}

void tm_report_text(FILE *out, const struct tm_load_spec *spec, const struct tm_load_result *r)
{
    const struct tm_schedule *s = &r->schedule;
    fprintf(out, "  %-12s %.3f s", s->rate > 0 ? "open loop" : "closed loop",
            (double)tm_tally_window_ns(&r->tally, s) / 1e9);
    if (s->rate > 0)
        fprintf(out, " at %.0f operations/s", s->rate);
    fprintf(out, "\n  %-12s %.0f/s, %llu measured, %llu failed\n", "operations",
            tm_tally_per_second(&r->tally, s), (unsigned long long)r->tally.done,
            (unsigned long long)r->tally.failed);
    if (s->missed)
        fprintf(out,
                "  target rate not reached: %llu operations of the window were due and not "
                "sent when it ended; no percentiles\n",
                (unsigned long long)s->backlog);
    else if (r->tally.done > 0)
        print_percentiles(out, "latency us", &r->tally.latency);
    if (s->rate > 0 && !s->missed && r->tally.done > 0)
        print_percentiles(out, "sent late us", &r->tally.sent_late);
    print_costs(out, spec, r);
    print_errors(out, r);
}

static void set(json_t *object, const char *name, json_t *value)
{
    json_object_set_new(object, name, value);
}

static json_t *count(uint64_t n)
{
    return json_integer((json_int_t)n);
}

static json_t *percentiles_json(const struct tm_histogram *h)
{
    json_t *o = json_object();
    for (size_t i = 0; i < TM_ARRAY_LEN(percentiles); i++)
        set(o, percentiles[i].name, json_real(at(h, percentiles[i].percent)));
    set(o, "mean", json_real(tm_histogram_mean(h) / 1000));
    return o;
}

static json_t *costs_json(const struct tm_load_result *r)
{
    json_t *o = json_object();
    set(o, "cores", count((uint64_t)sysconf(_SC_NPROCESSORS_ONLN)));
    set(o, "busy_s", json_real(r->spent.busy_s));
    set(o, "generator_s", json_real(r->spent.own_s));
    set(o, "steal_s", json_real(r->spent.steal_s));
    set(o, "per_busy_second", json_real(per_busy_second(r)));
    return o;
}

static json_t *processes_json(const struct tm_load_spec *spec, const struct tm_load_result *r)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < r->spent.pid_count; i++) {
        json_t *o = json_object();
        set(o, "pid", json_integer(spec->pids[i]));
        set(o, "cpu_s", r->spent.pid_s[i] >= 0 ? json_real(r->spent.pid_s[i]) : json_null());
        json_array_append_new(list, o);
    }
    return list;
}

static json_t *flushes_json(const struct tm_load_result *r)
{
    json_t *o = json_object(), *devices = json_object();
    for (unsigned i = 0; i < r->spent.device_count; i++)
        set(devices, r->spent.device[i].name, count(r->spent.device[i].flushes));
    set(o, "total", count(tm_cost_flushes(&r->spent)));
    set(o, "per_operation", json_real(flushes_per_operation(r)));
    set(o, "devices", devices);
    return o;
}

/* Texts of servers may be no UTF-8, which JSON cannot hold: other bytes than ASCII become '?'. */
static json_t *errors_json(const struct tm_load_errors *e)
{
    json_t *o = json_object();
    for (unsigned i = 0; i < e->kinds; i++) {
        char text[TM_LOAD_ERROR_TEXT];
        memcpy(text, e->kind[i].text, sizeof text);
        for (char *c = text; *c != 0; c++)
            *c = *c >= ' ' && *c <= '~' ? *c : '?';
        uint64_t before = (uint64_t)json_integer_value(json_object_get(o, text));
        set(o, text, count(before + e->kind[i].count));
    }
    if (e->others > 0)
        set(o, "other texts", count(e->others));
    return o;
}

json_t *tm_report_json(const struct tm_load_spec *spec, const struct tm_load_result *r)
{
    const struct tm_schedule *s = &r->schedule;
    bool shown = tm_report_is_valid(r);
    json_t *o = json_object();
    set(o, "address", json_string(spec->address));
    set(o, "loop", json_string(s->rate > 0 ? "open" : "closed"));
    set(o, "rate", s->rate > 0 ? json_real(s->rate) : json_null());
    set(o, "op", json_string(spec->mix_text));
    set(o, "then", spec->then[0] != 0 ? json_string(spec->then) : json_null());
    set(o, "then_per", count(spec->then_per));
    set(o, "value_bytes", count(spec->work.value_bytes));
    set(o, "keys", count(spec->work.keys));
    set(o, "connections", count(spec->connections));
    set(o, "pipeline", count(spec->pipeline));
    set(o, "seconds", json_real((double)tm_tally_window_ns(&r->tally, s) / 1e9));
    set(o, "operations", count(r->tally.done));
    set(o, "failed", count(r->tally.failed));
    set(o, "unanswered", count(r->unanswered));
    set(o, "connections_lost", count(r->lost));
    set(o, "per_second", json_real(tm_tally_per_second(&r->tally, s)));
    set(o, "target_reached", s->rate > 0 ? json_boolean(!s->missed) : json_null());
    set(o, "backlog", count(s->backlog));
    set(o, "latency_us", shown ? percentiles_json(&r->tally.latency) : json_null());
    set(o, "sent_late_us",
        shown && s->rate > 0 ? percentiles_json(&r->tally.sent_late) : json_null());
    set(o, "machine", costs_json(r));
    set(o, "processes", processes_json(spec, r));
    set(o, "flushes", flushes_json(r));
    set(o, "errors", errors_json(&r->errors));
    return o;
}

void tm_report_hiccups_text(FILE *out, const struct tm_histogram *h)
{
    print_percentiles(out, "hiccups us", h);
}

json_t *tm_report_hiccups_json(const struct tm_histogram *h)
{
    return percentiles_json(h);
}

void tm_report_sweep_head(FILE *out)
{
    fprintf(out, "  %6s %12s %12s %10s %10s %10s %10s\n", "load %", "target/s", "reached/s",
            "p50 us", "p99 us", "p99.9 us", "p99.99 us");
}

void tm_report_sweep_line(FILE *out, double percent, const struct tm_load_result *r)
{
    fprintf(out, "  %6.1f %12.0f %12.0f", percent, r->schedule.rate,
            tm_tally_per_second(&r->tally, &r->schedule));
    if (tm_report_is_valid(r))
        fprintf(out, " %10.1f %10.1f %10.1f %10.1f\n", at(&r->tally.latency, 50),
                at(&r->tally.latency, 99), at(&r->tally.latency, 99.9),
                at(&r->tally.latency, 99.99));
    else
        fprintf(out, " target rate not reached\n");
}
