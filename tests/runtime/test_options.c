#include "runtime/options.h"
#include "test.h"

#include <ctype.h>

static struct tm_options o;
static char why[TM_OPTION_WHY_MAX];

static enum tm_err cli(const char *name, const char *text)
{
    return tm_options_set(&o, name, text, TM_OPTION_COMMAND_LINE, why);
}

/* Splits `line` at spaces into an argument vector and parses it. */
static enum tm_err parse(char *line, const struct tm_flag *flags, unsigned flag_count, int *argc,
                         char **argv)
{
    *argc = 0;
    for (char *word = strtok(line, " "); word != NULL; word = strtok(NULL, " "))
        argv[(*argc)++] = word;
    return tm_options_from_args(&o, flags, flag_count, argc, argv, why);
}

static void rows_agree_with_their_fields(void)
{
#define ANY(field, name, ...) #field, name,
    static const char *const pairs[] = {TM_OPTION_LIST(ANY, ANY, ANY, ANY, ANY, ANY)};
#undef ANY
    for (size_t i = 0; i < TM_OPTION_COUNT; i++) {
        char dashed[64];
        snprintf(dashed, sizeof dashed, "%s", pairs[2 * i]);
        for (char *c = dashed; *c != '\0'; c++)
            *c = *c == '_' ? '-' : *c;
        CU_ASSERT_STRING_EQUAL(pairs[2 * i + 1], dashed);
        CU_ASSERT_STRING_EQUAL(tm_option_name((enum tm_option)i), dashed);
        CU_ASSERT_EQUAL(tm_option_find(dashed), i);
        CU_ASSERT_EQUAL(tm_option_find(pairs[2 * i]), i);
        CU_ASSERT(strlen(tm_option_text((enum tm_option)i)) > 10);
    }
}

static void every_default_is_a_value_its_row_takes(void)
{
    tm_options_init(&o);
    CU_ASSERT_EQUAL(tm_options_check(&o, why), TM_OK);
    for (unsigned i = 0; i < TM_OPTION_COUNT; i++) {
        char text[1200], again[1200];
        tm_option_format(&o, (enum tm_option)i, text, sizeof text);
        CU_ASSERT_EQUAL(cli(tm_option_name((enum tm_option)i), text), TM_OK);
        tm_option_format(&o, (enum tm_option)i, again, sizeof again);
        CU_ASSERT_STRING_EQUAL(text, again);
    }
}

static void sizes_take_suffixes_of_1024(void)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"67108864", TM_MIB(64)}, {"64MiB", TM_MIB(64)}, {"64m", TM_MIB(64)},
                {"65536k", TM_MIB(64)},   {"256m", TM_MIB(256)}, {"256MB", TM_MIB(256)},
                {"8388608B", TM_MIB(8)}};
    static const char *const bad[] = {
        "",          "m",        "64x", "-64m", "1.5m", "64 m", "2g", "1k", "99999999999999999999",
        "16777216t", "0x4000000"};
    tm_options_init(&o);
    for (size_t i = 0; i < TM_ARRAY_LEN(good); i++) {
        CU_ASSERT_EQUAL(cli("wal-segment-bytes", good[i].text), TM_OK);
        CU_ASSERT_EQUAL(o.wal_segment_bytes, good[i].bytes);
    }
    for (size_t i = 0; i < TM_ARRAY_LEN(bad); i++)
        CU_ASSERT_EQUAL(cli("wal-segment-bytes", bad[i]), TM_ERR_INVALID);
    CU_ASSERT_EQUAL(o.wal_segment_bytes, TM_MIB(8));
}

static void times_take_units_but_no_parts_of_their_own(void)
{
    tm_options_init(&o);
    CU_ASSERT_EQUAL(cli("disk-stall-ms", "250"), TM_OK);
    CU_ASSERT_EQUAL(o.disk_stall_ms, 250);
    CU_ASSERT_EQUAL(cli("disk-stall-ms", "2s"), TM_OK);
    CU_ASSERT_EQUAL(o.disk_stall_ms, 2000);
    CU_ASSERT_EQUAL(cli("disk-stall-ms", "1m"), TM_OK);
    CU_ASSERT_EQUAL(o.disk_stall_ms, 60000);
    CU_ASSERT_EQUAL(cli("disk-stall-ms", "50000us"), TM_OK);
    CU_ASSERT_EQUAL(o.disk_stall_ms, 50);
    CU_ASSERT_EQUAL(cli("disk-stall-ms", "50500us"), TM_ERR_INVALID);
    CU_ASSERT_EQUAL(cli("disk-stall-ms", "1h"), TM_ERR_INVALID);
    CU_ASSERT_EQUAL(cli("async-batch-us", "5ms"), TM_OK);
    CU_ASSERT_EQUAL(o.async_batch_us, 5000);
}

static void words_and_switches(void)
{
    tm_options_init(&o);
    CU_ASSERT_EQUAL(o.idle, TM_IDLE_AUTO);
    CU_ASSERT_EQUAL(cli("idle", "park"), TM_OK);
    CU_ASSERT_EQUAL(o.idle, TM_IDLE_PARK);
    CU_ASSERT_EQUAL(cli("idle", "par"), TM_ERR_INVALID);
    CU_ASSERT_EQUAL(cli("fabric", "tcp"), TM_OK);
    CU_ASSERT_EQUAL(o.fabric, TM_FABRIC_KIND_TCP);
    CU_ASSERT(o.huge_pages);
    CU_ASSERT_EQUAL(cli("huge-pages", "off"), TM_OK);
    CU_ASSERT_FALSE(o.huge_pages);
    CU_ASSERT_EQUAL(cli("huge-pages", "maybe"), TM_ERR_INVALID);
    CU_ASSERT_EQUAL(cli("workers", "64"), TM_OK);
    CU_ASSERT_EQUAL(o.workers, 64);
    CU_ASSERT_EQUAL(cli("workers", "65"), TM_ERR_INVALID);
    CU_ASSERT_EQUAL(cli("workers", "-1"), TM_ERR_INVALID);
    CU_ASSERT_EQUAL(cli("workers", "4 "), TM_ERR_INVALID);
}

static void text_is_bounded(void)
{
    char longer[300];
    memset(longer, 'a', sizeof longer);
    longer[255] = '\0';
    tm_options_init(&o);
    CU_ASSERT_EQUAL(cli("requirepass", longer), TM_OK);
    CU_ASSERT_STRING_EQUAL(o.requirepass, longer);
    longer[255] = 'a';
    longer[256] = '\0';
    CU_ASSERT_EQUAL(cli("requirepass", longer), TM_ERR_TOOBIG);
    CU_ASSERT_EQUAL(strlen(o.requirepass), 255);
}

static void a_refusal_names_option_source_and_what_is_allowed(void)
{
    tm_options_init(&o);
    CU_ASSERT_EQUAL(cli("wal_segment_bytes", "12x"), TM_ERR_INVALID);
    CU_ASSERT_STRING_EQUAL(why, "--wal-segment-bytes (command line): \"12x\" is not allowed; it "
                                "takes a size from 4MiB to 256MiB, such as 64MiB");
    CU_ASSERT_EQUAL(tm_options_set(&o, "IDLE", "sleep", TM_OPTION_ENVIRONMENT, why),
                    TM_ERR_INVALID);
    CU_ASSERT_STRING_EQUAL(why, "TIDEMILL_IDLE (environment): \"sleep\" is not allowed; it takes "
                                "one of spin, yield, backoff, park, auto");
    CU_ASSERT_EQUAL(tm_options_set(&o, "diskStallMs", "9ms", TM_OPTION_TOPOLOGY, why),
                    TM_ERR_INVALID);
    CU_ASSERT_STRING_EQUAL(why, "disk-stall-ms (topology): \"9ms\" is not allowed; it takes a time "
                                "from 10ms to 10min, such as 1s");
}

static void an_unknown_name_is_answered_with_the_nearest(void)
{
    const char *json = NULL;
    const struct tm_flag flags[] = {{"json", NULL, &json, ""}};
    char *argv[8];
    int argc;
    tm_options_init(&o);
    CU_ASSERT_EQUAL(cli("workres", "1"), TM_ERR_NOTFOUND);
    CU_ASSERT_STRING_EQUAL(why, "--workres (command line): no such option; the nearest is "
                                "--workers");
    char *env[] = {"PATH=/bin", "TIDEMILL_WAL_SEGMENT_BITES=1m", NULL};
    CU_ASSERT_EQUAL(tm_options_from_env(&o, env, why), TM_ERR_NOTFOUND);
    CU_ASSERT_STRING_EQUAL(why, "TIDEMILL_WAL_SEGMENT_BITES (environment): no such option; the "
                                "nearest is TIDEMILL_WAL_SEGMENT_BYTES");
    CU_ASSERT_EQUAL(cli("wal-segment", "1m"), TM_ERR_NOTFOUND);
    CU_ASSERT_PTR_NOT_NULL(strstr(why, "nearest is --wal-segment-bytes"));
    CU_ASSERT_EQUAL(cli("foo", "1"), TM_ERR_NOTFOUND);
    CU_ASSERT_STRING_EQUAL(why, "--foo (command line): no such option; see tidemill help serve");
    char line[] = "--jsno";
    CU_ASSERT_EQUAL(parse(line, flags, 1, &argc, argv), TM_ERR_NOTFOUND);
    CU_ASSERT_PTR_NOT_NULL(strstr(why, "nearest is --json"));
    char shortened[] = "-workers";
    CU_ASSERT_EQUAL(parse(shortened, flags, 1, &argc, argv), TM_ERR_NOTFOUND);
}

static void the_command_line_is_taken_apart(void)
{
    const char *json = NULL, *dir = NULL, *node = NULL;
    const struct tm_flag flags[] = {
        {"json", NULL, &json, ""}, {"dir", "DIR", &dir, ""}, {"node", "NAME", &node, ""}};
    char line[] = "one --workers 3 --json --dir=/d/x two --eal --no-pci --no-huge-pages "
                  "--wal-bytes=2g - -- --workers 9";
    char *argv[32];
    int argc;
    tm_options_init(&o);
    CU_ASSERT_EQUAL(parse(line, flags, 3, &argc, argv), TM_OK);
    CU_ASSERT_EQUAL(o.workers, 3);
    CU_ASSERT_STRING_EQUAL(o.eal, "--no-pci");
    CU_ASSERT_FALSE(o.huge_pages);
    CU_ASSERT_EQUAL(o.wal_bytes, TM_MIB(2048));
    CU_ASSERT_PTR_NOT_NULL(json);
    CU_ASSERT_STRING_EQUAL(dir, "/d/x");
    CU_ASSERT_PTR_NULL(node);
    CU_ASSERT_EQUAL_FATAL(argc, 5);
    CU_ASSERT_STRING_EQUAL(argv[0], "one");
    CU_ASSERT_STRING_EQUAL(argv[1], "two");
    CU_ASSERT_STRING_EQUAL(argv[2], "-");
    CU_ASSERT_STRING_EQUAL(argv[3], "--workers");
    CU_ASSERT_STRING_EQUAL(argv[4], "9");
}

static void a_missing_or_superfluous_value_is_an_error(void)
{
    const char *json = NULL, *dir = NULL;
    const struct tm_flag flags[] = {{"json", NULL, &json, ""}, {"dir", "DIR", &dir, ""}};
    char *argv[4];
    int argc;
    tm_options_init(&o);
    char a[] = "--workers", b[] = "--json=yes", c[] = "--dir", d[] = "--no-workers";
    CU_ASSERT_EQUAL(parse(a, flags, 2, &argc, argv), TM_ERR_INVALID);
    CU_ASSERT_STRING_EQUAL(why, "--workers (command line): needs a value, a number from 0 to 64, "
                                "such as 0");
    CU_ASSERT_EQUAL(parse(b, flags, 2, &argc, argv), TM_ERR_INVALID);
    CU_ASSERT_STRING_EQUAL(why, "--json (command line): takes no value");
    CU_ASSERT_EQUAL(parse(c, flags, 2, &argc, argv), TM_ERR_INVALID);
    CU_ASSERT_STRING_EQUAL(why, "--dir (command line): needs a value, DIR");
    CU_ASSERT_EQUAL(parse(d, flags, 2, &argc, argv), TM_ERR_NOTFOUND);
}

static void a_lower_source_never_replaces_a_higher_one(void)
{
    tm_options_init(&o);
    char *env[] = {"TIDEMILL_WORKERS=5", "TIDEMILL_IDLE=spin", NULL};
    CU_ASSERT_EQUAL(cli("workers", "3"), TM_OK);
    CU_ASSERT_EQUAL(tm_options_from_env(&o, env, why), TM_OK);
    CU_ASSERT_EQUAL(o.workers, 3);
    CU_ASSERT_EQUAL(o.idle, TM_IDLE_SPIN);
    CU_ASSERT_EQUAL(tm_options_set(&o, "idle", "park", TM_OPTION_TOPOLOGY, why), TM_OK);
    CU_ASSERT_EQUAL(o.idle, TM_IDLE_SPIN);
    CU_ASSERT_EQUAL(tm_options_set(&o, "idle", "nap", TM_OPTION_TOPOLOGY, why), TM_ERR_INVALID);
    CU_ASSERT_EQUAL(o.source[TM_OPTION_workers], TM_OPTION_COMMAND_LINE);
    CU_ASSERT_EQUAL(o.source[TM_OPTION_idle], TM_OPTION_ENVIRONMENT);
    CU_ASSERT_EQUAL(o.source[TM_OPTION_eal], TM_OPTION_DEFAULT);
}

static unsigned bad;

/* CONFIG SET of up to two pairs. */
static enum tm_err change(const char *a, const char *b, const char *c, const char *d)
{
    struct tm_bytes pairs[4] = {tm_bytes_str(a), tm_bytes_str(b)};
    if (c != NULL) {
        pairs[2] = tm_bytes_str(c);
        pairs[3] = tm_bytes_str(d);
    }
    bad = 99;
    return tm_options_change(&o, pairs, c != NULL ? 2 : 1, &bad, why);
}

static void a_running_node_changes_live_options_only_and_as_a_whole(void)
{
    tm_options_init(&o);
    CU_ASSERT_EQUAL(change("heartbeat-ms", "30", NULL, NULL), TM_OK);
    CU_ASSERT_EQUAL(o.heartbeat_ms, 30);
    CU_ASSERT_EQUAL(change("heartbeat-ms", "100", NULL, NULL), TM_ERR_INVALID);
    CU_ASSERT_EQUAL(o.heartbeat_ms, 30);
    CU_ASSERT_PTR_NOT_NULL(strstr(why, "--election-timeout-ms"));
    CU_ASSERT_EQUAL(change("workers", "3", NULL, NULL), TM_ERR_UNSUPPORTED);
    CU_ASSERT_EQUAL(o.workers, 0);
    CU_ASSERT_EQUAL(change("nothing", "3", NULL, NULL), TM_ERR_NOTFOUND);
    CU_ASSERT_EQUAL(bad, 0);
    CU_ASSERT(tm_option_is_live(TM_OPTION_heartbeat_ms));
    CU_ASSERT_FALSE(tm_option_is_live(TM_OPTION_workers));
}

static void of_several_changes_all_are_made_or_none(void)
{
    tm_options_init(&o);
    CU_ASSERT_EQUAL(change("disk-stall-ms", "70", "idle", "nap"), TM_ERR_INVALID);
    CU_ASSERT_EQUAL(bad, 1);
    CU_ASSERT_EQUAL(change("disk-stall-ms", "70", "workers", "2"), TM_ERR_UNSUPPORTED);
    CU_ASSERT_EQUAL(change("disk-stall-ms", "nonsense", "nothing", "2"), TM_ERR_NOTFOUND);
    CU_ASSERT_EQUAL(bad, 1);
    CU_ASSERT_EQUAL(change("disk-stall-ms", "70", "disk_stall_ms", "80"), TM_ERR_INVALID);
    CU_ASSERT_STRING_EQUAL(why, "duplicate parameter");
    CU_ASSERT_EQUAL(o.disk_stall_ms, 1000);
    CU_ASSERT_EQUAL(o.source[TM_OPTION_disk_stall_ms], TM_OPTION_DEFAULT);
    /* Two that only fit together. */
    CU_ASSERT_EQUAL(change("heartbeat-ms", "100", NULL, NULL), TM_ERR_INVALID);
    CU_ASSERT_EQUAL(change("heartbeat-ms", "100", "election-timeout-ms", "500"), TM_OK);
    CU_ASSERT_EQUAL(o.heartbeat_ms, 100);
    CU_ASSERT_EQUAL(o.election_timeout_ms, 500);
}

static void combinations_are_checked(void)
{
    tm_options_init(&o);
    cli("wal-segment-bytes", "64m");
    cli("wal-bytes", "255m");
    CU_ASSERT_EQUAL(tm_options_check(&o, why), TM_ERR_INVALID);
    cli("wal-bytes", "256m");
    CU_ASSERT_EQUAL(tm_options_check(&o, why), TM_OK);
    cli("wal-segment-bytes", "4194305");
    CU_ASSERT_EQUAL(tm_options_check(&o, why), TM_ERR_INVALID);
    tm_options_init(&o);
    cli("max-entity-bytes", "2m");
    CU_ASSERT_EQUAL(tm_options_check(&o, why), TM_ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(why, "--client-query-buffer-bytes"));
    tm_options_init(&o);
    cli("wal-segment-bytes", "4m");
    cli("client-query-buffer-bytes", "16m");
    cli("max-entity-bytes", "2m");
    CU_ASSERT_EQUAL(tm_options_check(&o, why), TM_OK);
    cli("max-entity-bytes", "2097153");
    CU_ASSERT_EQUAL(tm_options_check(&o, why), TM_ERR_INVALID);
    CU_ASSERT_PTR_NOT_NULL(strstr(why, "--wal-segment-bytes"));
}

static void help_names_every_option_and_flag(void)
{
    static const char *given;
    static const struct tm_flag flags[] = {{"data-dir", "DIR", &given, "Where the data lies."}};
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    tm_options_help(out, flags, 1);
    fclose(out);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "--data-dir DIR\n        Where the data lies.\n"));
    for (unsigned i = 0; i < TM_OPTION_COUNT; i++) {
        char line[80];
        snprintf(line, sizeof line, "    --%s  (", tm_option_name((enum tm_option)i));
        CU_ASSERT_PTR_NOT_NULL(strstr(text, line));
    }
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n"))
        if (line[4] == ' ')
            CU_ASSERT(strlen(line) <= 100);
    free(text);
}

/* The page in docs/ is the table of this build, byte for byte. */
static void docs_options_md_is_made_from_this_table(void)
{
    char *made = NULL, *kept = NULL;
    size_t made_size = 0, kept_size = 0;
    FILE *out = open_memstream(&made, &made_size);
    tm_options_markdown(out);
    fclose(out);
    FILE *page = fopen(TM_SOURCE_ROOT "/docs/OPTIONS.md", "r");
    CU_ASSERT_PTR_NOT_NULL_FATAL(page);
    ssize_t n = getdelim(&kept, &kept_size, '\0', page);
    fclose(page);
    bool same = (size_t)n == made_size && memcmp(made, kept, made_size) == 0;
    CU_ASSERT(same);
    if (!same)
        printf("  stale: run tools/docgen of the build: docgen options > docs/OPTIONS.md\n");
    free(made);
    free(kept);
}

static const struct tm_test tests[] = {
    TM_TEST(rows_agree_with_their_fields),
    TM_TEST(every_default_is_a_value_its_row_takes),
    TM_TEST(sizes_take_suffixes_of_1024),
    TM_TEST(times_take_units_but_no_parts_of_their_own),
    TM_TEST(words_and_switches),
    TM_TEST(text_is_bounded),
    TM_TEST(a_refusal_names_option_source_and_what_is_allowed),
    TM_TEST(an_unknown_name_is_answered_with_the_nearest),
    TM_TEST(the_command_line_is_taken_apart),
    TM_TEST(a_missing_or_superfluous_value_is_an_error),
    TM_TEST(a_lower_source_never_replaces_a_higher_one),
    TM_TEST(a_running_node_changes_live_options_only_and_as_a_whole),
    TM_TEST(of_several_changes_all_are_made_or_none),
    TM_TEST(combinations_are_checked),
    TM_TEST(help_names_every_option_and_flag),
    TM_TEST(docs_options_md_is_made_from_this_table),
};
TM_TEST_MAIN("runtime/options", tests)
