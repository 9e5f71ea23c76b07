/* session_latency.c: SLOWLOG and LATENCY: nothing is recorded, so there is never anything to show.
 * Clients and exporters ask all the same; forms and errors are redis's. */
#include "actors/session_internal.h"

static void say_none(struct tm_session *s, struct tm_resp_writer *w, const struct tm_bytes *argv,
                     unsigned argc)
{
    (void)s, (void)argv, (void)argc;
    tm_resp_array(w, 0);
}

static void say_zero(struct tm_session *s, struct tm_resp_writer *w, const struct tm_bytes *argv,
                     unsigned argc)
{
    (void)s, (void)argv, (void)argc;
    tm_resp_integer(w, 0);
}

static void slowlog_get(struct tm_session *s, struct tm_resp_writer *w, const struct tm_bytes *argv,
                        unsigned argc)
{
    int64_t count = 10;
    (void)s;
    if (argc > 3)
        tm_resp_error(w, "ERR unknown subcommand or wrong number of arguments for 'GET'. Try "
                         "SLOWLOG HELP.");
    else if (argc == 3 && (!tm_resp_to_i64(argv[2], &count) || count < -1))
        tm_resp_error(w, "ERR count should be greater than or equal to -1");
    else
        tm_resp_array(w, 0);
}

static void slowlog_reset(struct tm_session *s, struct tm_resp_writer *w,
                          const struct tm_bytes *argv, unsigned argc)
{
    (void)s, (void)argv, (void)argc;
    tm_resp_simple(w, "OK");
}

void tm_session_local_slowlog(struct tm_session *s, struct tm_resp_writer *w,
                              const struct tm_bytes *argv, unsigned argc)
{
    static const struct tm_subcommand subs[] = {
        {"GET", -2, slowlog_get, "[<count>]", "Always empty: slow commands are not recorded."},
        {"LEN", 2, say_zero, "", "Always 0."},
        {"RESET", 2, slowlog_reset, "", "Accepted; changes nothing."}};
    tm_subcommand_dispatch(s, w, subs, TM_ARRAY_LEN(subs), argv, argc);
}

static void latency_graph(struct tm_session *s, struct tm_resp_writer *w,
                          const struct tm_bytes *argv, unsigned argc)
{
    (void)s, (void)argc;
    tm_resp_errorf(w, "ERR No samples available for event '%.*s'",
                   (int)tm_min_u64(argv[2].len, 128), (const char *)argv[2].data);
}

static void latency_doctor(struct tm_session *s, struct tm_resp_writer *w,
                           const struct tm_bytes *argv, unsigned argc)
{
    (void)s, (void)argv, (void)argc;
    tm_resp_verbatim(w, tm_bytes_str("Latency is not recorded here: look at wal_flush_us_total, "
                                     "wal_stalls and turn_max_us of INFO tidemill.\n"));
}

static void latency_histogram(struct tm_session *s, struct tm_resp_writer *w,
                              const struct tm_bytes *argv, unsigned argc)
{
    (void)s, (void)argv, (void)argc;
    tm_resp_map(w, 0);
}

void tm_session_local_latency(struct tm_session *s, struct tm_resp_writer *w,
                              const struct tm_bytes *argv, unsigned argc)
{
    static const struct tm_subcommand subs[] = {
        {"DOCTOR", 2, latency_doctor, "", "Says where to look instead."},
        {"GRAPH", 3, latency_graph, "<event>", "Always an error: there are no samples."},
        {"HISTORY", 3, say_none, "<event>", "Always empty."},
        {"LATEST", 2, say_none, "", "Always empty."},
        {"RESET", -2, say_zero, "[<event> ...]", "Always 0."},
        {"HISTOGRAM", -2, latency_histogram, "[<command> ...]", "Always empty."}};
    tm_subcommand_dispatch(s, w, subs, TM_ARRAY_LEN(subs), argv, argc);
}
