/* The RESP codec: what redis accepts and refuses, however the bytes are cut. */
#include "net/resp.h"
#include "tests/test.h"

#define ARGS_MAX 64

static uint8_t unquoted[TM_RESP_INLINE_MAX];
static const struct tm_resp_limits limits = {
    .max_args = ARGS_MAX, .max_arg_bytes = 100000, .unquoted = unquoted};

struct parsed {
    enum tm_resp_status status;
    unsigned argc;
    size_t used;
    struct tm_bytes argv[ARGS_MAX];
    char error[96];
    uint8_t *buf; /* what argv points into */
};

/* Parses text given in pieces of `step` bytes, each time in a buffer that moved. */
static struct parsed parse(const char *text, size_t len, size_t step, bool unauthenticated)
{
    struct parsed r = {.status = TM_RESP_MORE};
    struct tm_resp_parser p = {0};
    struct tm_resp_limits l = limits;
    l.unauthenticated = unauthenticated;
    for (size_t have = 0; r.status == TM_RESP_MORE && have < len;) {
        have = have + step < len ? have + step : len;
        uint8_t *moved = malloc(have);
        memcpy(moved, text, have);
        free(r.buf);
        r.buf = moved;
        r.status = tm_resp_parse(&p, &l, r.buf, have, r.argv, &r.argc, &r.used);
    }
    if (r.status == TM_RESP_BROKEN)
        tm_resp_parse_error(&p, r.error, sizeof r.error);
    return r;
}

static void check_words(const char *text, size_t len, const char *const *words, unsigned count)
{
    for (size_t step = 1; step <= len; step++) {
        struct parsed r = parse(text, len, step, false);
        CU_ASSERT_EQUAL_FATAL(r.status, TM_RESP_DONE);
        CU_ASSERT_EQUAL(r.used, len);
        CU_ASSERT_EQUAL_FATAL(r.argc, count);
        for (unsigned i = 0; i < count; i++)
            CU_ASSERT(tm_bytes_equal(r.argv[i], tm_bytes_str(words[i])));
        free(r.buf);
    }
}

#define CHECK_WORDS(text, ...)                                                                     \
    do {                                                                                           \
        const char *const words_[] = {__VA_ARGS__};                                                \
        check_words((text), strlen(text), words_, TM_ARRAY_LEN(words_));                           \
    } while (0)

static void check_error(const char *text, const char *error, bool unauthenticated)
{
    for (size_t step = 1; step <= strlen(text); step++) {
        struct parsed r = parse(text, strlen(text), step, unauthenticated);
        CU_ASSERT_EQUAL(r.status, TM_RESP_BROKEN);
        CU_ASSERT_STRING_EQUAL(r.error, error);
        free(r.buf);
    }
}

static void a_multibulk_command_is_read_however_it_is_cut(void)
{
    CHECK_WORDS("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$12\r\nhello\r\nworld\r\n", "SET", "k",
                "hello\r\nworld");
    CHECK_WORDS("*2\r\n$3\r\nGET\r\n$0\r\n\r\n", "GET", "");
    check_words("*0\r\n", 4, NULL, 0);
    check_words("*-1\r\n", 5, NULL, 0);
}

static void an_inline_command_is_unquoted_as_redis_does(void)
{
    CHECK_WORDS("PING\r\n", "PING");
    CHECK_WORDS("  SET \t k   v \n", "SET", "k", "v");
    CHECK_WORDS("SET k \"a b\\n\\x41\\\"\"\r\n", "SET", "k", "a b\nA\"");
    CHECK_WORDS("SET k 'it\\'s \\n'\r\n", "SET", "k", "it's \\n");
    CHECK_WORDS("SET k ab\"c d\" x\r\n", "SET", "k", "abc d", "x");
    CHECK_WORDS("SET '' \"\"\n", "SET", "", "");
    CHECK_WORDS("ECHO \"\\xzz\"\n", "ECHO", "xzz");
    check_words("\r\n", 2, NULL, 0);
    check_words("   \n", 4, NULL, 0);
}

static void broken_requests_get_the_texts_of_redis(void)
{
    check_error("*x\r\n", "Protocol error: invalid multibulk length", false);
    check_error("*65\r\n", "Protocol error: invalid multibulk length", false);
    check_error("*03\r\n", "Protocol error: invalid multibulk length", false);
    check_error("*\r\n", "Protocol error: invalid multibulk length", false);
    check_error("*99999999999999999999\r\n", "Protocol error: invalid multibulk length", false);
    check_error("*1\r\n:1\r\n", "Protocol error: expected '$', got ':'", false);
    check_error("*1\r\n$-1\r\n", "Protocol error: invalid bulk length", false);
    check_error("*1\r\n$100001\r\n", "Protocol error: invalid bulk length", false);
    check_error("*1\r\n$00\r\n", "Protocol error: invalid bulk length", false);
    check_error("SET \"k\r\n", "Protocol error: unbalanced quotes in request", false);
    check_error("SET \"k\"x\r\n", "Protocol error: unbalanced quotes in request", false);
    check_error("SET 'k\r\n", "Protocol error: unbalanced quotes in request", false);
    check_error("*11\r\n", "Protocol error: unauthenticated multibulk length", true);
    check_error("*1\r\n$16385\r\n", "Protocol error: unauthenticated bulk length", true);
}

static void check_endless(char first, char then, const char *error)
{
    size_t len = TM_RESP_INLINE_MAX + 10;
    char *text = malloc(len);
    memset(text, then, len);
    text[0] = first;
    if (first == '$')
        memcpy(text, "*1\r\n$", 5);
    struct parsed r = parse(text, len, 4096, false);
    CU_ASSERT_EQUAL(r.status, TM_RESP_BROKEN);
    CU_ASSERT_STRING_EQUAL(r.error, error);
    free(r.buf);
    free(text);
}

static void lines_without_end_are_refused(void)
{
    check_endless('a', 'a', "Protocol error: too big inline request");
    check_endless('*', '1', "Protocol error: too big mbulk count string");
    check_endless('$', '1', "Protocol error: too big bulk count string");
}

static void integers_are_as_strict_as_in_redis(void)
{
    static const struct {
        const char *text;
        bool ok;
        int64_t value;
    } cases[] = {{"0", true, 0},
                 {"-1", true, -1},
                 {"9223372036854775807", true, INT64_MAX},
                 {"-9223372036854775808", true, INT64_MIN},
                 {"9223372036854775808", false, 0},
                 {"-9223372036854775809", false, 0},
                 {"18446744073709551617", false, 0},
                 {"", false, 0},
                 {"-", false, 0},
                 {"+1", false, 0},
                 {"01", false, 0},
                 {"-0", false, 0},
                 {" 1", false, 0},
                 {"1a", false, 0}};
    for (size_t i = 0; i < TM_ARRAY_LEN(cases); i++) {
        int64_t value = 0;
        CU_ASSERT_EQUAL(tm_resp_to_i64(tm_bytes_str(cases[i].text), &value), cases[i].ok);
        if (cases[i].ok)
            CU_ASSERT_EQUAL(value, cases[i].value);
    }
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Commands of random words, one after the other, fed in random pieces, come out as they went in. */
static void random_commands_survive_random_cuts(void)
{
    uint64_t rnd = tm_test_seed() | 1;
    for (int round = 0; round < 300; round++) {
        struct tm_resp_writer w;
        tm_resp_writer_init(&w, 1 << 20);
        unsigned commands = 1 + (unsigned)(next_random(&rnd) % 5);
        unsigned args[5];
        for (unsigned c = 0; c < commands; c++) {
            args[c] = 1 + (unsigned)(next_random(&rnd) % 8);
            tm_resp_array(&w, args[c]);
            for (unsigned i = 0; i < args[c]; i++) {
                uint8_t word[40];
                size_t len = next_random(&rnd) % sizeof word;
                memset(word, (int)(c * 8 + i), len);
                tm_resp_bulk(&w, tm_bytes_of(word, len));
            }
        }
        struct tm_resp_parser p = {0};
        size_t start = 0, have = 0;
        for (unsigned c = 0; c < commands;) {
            struct tm_bytes argv[ARGS_MAX];
            unsigned argc;
            size_t used = 0;
            enum tm_resp_status st =
                tm_resp_parse(&p, &limits, w.data + start, have - start, argv, &argc, &used);
            CU_ASSERT_NOT_EQUAL_FATAL(st, TM_RESP_BROKEN);
            if (st == TM_RESP_MORE) {
                CU_ASSERT_FATAL(have < w.len);
                have += tm_min_u64(1 + next_random(&rnd) % 50, w.len - have);
                continue;
            }
            CU_ASSERT_EQUAL_FATAL(argc, args[c]);
            for (unsigned i = 0; i < argc; i++)
                for (size_t k = 0; k < argv[i].len; k++)
                    CU_ASSERT_EQUAL(argv[i].data[k], c * 8 + i);
            start += used;
            c++;
        }
        CU_ASSERT_EQUAL(start, w.len);
        tm_resp_writer_free(&w);
    }
}

/* Anything may come in: the parser says something, stays within the bytes, and ends. */
static void garbage_is_parsed_without_harm(void)
{
    static const char alphabet[] = "**$$::\r\n\r\n0123456789-\"'\\x abSET";
    uint64_t rnd = tm_test_seed() | 1;
    for (int round = 0; round < 20000; round++) {
        size_t len = 1 + next_random(&rnd) % 64;
        uint8_t *data = malloc(len);
        for (size_t i = 0; i < len; i++)
            data[i] = (uint8_t)alphabet[next_random(&rnd) % (sizeof alphabet - 1)];
        struct parsed r = parse((const char *)data, len, 1 + next_random(&rnd) % 20, false);
        if (r.status == TM_RESP_DONE) {
            CU_ASSERT(r.used > 0 && r.used <= len);
            for (unsigned i = 0; i < r.argc; i++)
                CU_ASSERT(r.argv[i].len <= len);
        }
        struct tm_resp_skipper s = {0};
        size_t used = 0;
        if (tm_resp_skip(&s, data, len, &used) == TM_RESP_DONE)
            CU_ASSERT(used > 0 && used <= len);
        free(r.buf);
        free(data);
    }
}

static void check_written(struct tm_resp_writer *w, const char *resp2, const char *resp3,
                          void (*write)(struct tm_resp_writer *))
{
    const char *expected[] = {resp2, resp3};
    for (uint8_t version = 2; version <= 3; version++) {
        tm_resp_writer_reset(w, version, SIZE_MAX);
        write(w);
        CU_ASSERT_FALSE(w->overflow);
        CU_ASSERT(tm_bytes_equal(tm_resp_writer_bytes(w), tm_bytes_str(expected[version - 2])));
    }
}

static void write_scalars(struct tm_resp_writer *w)
{
    tm_resp_simple(w, "OK");
    tm_resp_error(w, "ERR a\r\nb");
    tm_resp_errorf(w, "ERR %d", 7);
    tm_resp_integer(w, INT64_MIN);
    tm_resp_bulk_str(w, "");
    tm_resp_bulk_i64(w, -12);
    tm_resp_bulk_u64(w, UINT64_MAX);
    tm_resp_null(w);
    tm_resp_null_array(w);
    tm_resp_double(w, 1.5);
    tm_resp_double(w, -1.0 / 0.0);
    tm_resp_bool(w, true);
    tm_resp_verbatim(w, tm_bytes_str("a:1"));
}

static void write_aggregates(struct tm_resp_writer *w)
{
    tm_resp_array(w, 10);
    tm_resp_map(w, 3);
    tm_resp_set(w, 2);
    tm_resp_push(w, 1);
    size_t at = w->len;
    tm_resp_integer(w, 1);
    tm_resp_integer(w, 2);
    tm_resp_insert_map(w, at, 1);
    tm_resp_insert_set(w, at, 0);
    tm_resp_insert_array(w, at, 2);
}

static void replies_are_written_in_both_versions(void)
{
    struct tm_resp_writer w;
    tm_resp_writer_init(&w, 4096);
    check_written(&w,
                  "+OK\r\n-ERR a  b\r\n-ERR 7\r\n:-9223372036854775808\r\n$0\r\n\r\n$3\r\n-12\r\n"
                  "$20\r\n18446744073709551615\r\n$-1\r\n*-1\r\n$3\r\n1.5\r\n$4\r\n-inf\r\n:1\r\n"
                  "$3\r\na:1\r\n",
                  "+OK\r\n-ERR a  b\r\n-ERR 7\r\n:-9223372036854775808\r\n$0\r\n\r\n$3\r\n-12\r\n"
                  "$20\r\n18446744073709551615\r\n_\r\n_\r\n,1.5\r\n,-inf\r\n#t\r\n"
                  "=7\r\ntxt:a:1\r\n",
                  write_scalars);
    check_written(&w, "*10\r\n*6\r\n*2\r\n*1\r\n*2\r\n*0\r\n*2\r\n:1\r\n:2\r\n",
                  "*10\r\n%3\r\n~2\r\n>1\r\n*2\r\n~0\r\n%1\r\n:1\r\n:2\r\n", write_aggregates);
    tm_resp_writer_free(&w);
}

static void a_writer_never_exceeds_its_limit(void)
{
    struct tm_resp_writer w;
    tm_resp_writer_init(&w, 1000);
    static const uint8_t big[600];
    tm_resp_bulk(&w, tm_bytes_of(big, sizeof big));
    CU_ASSERT_FALSE(w.overflow);
    size_t before = w.len;
    tm_resp_bulk(&w, tm_bytes_of(big, sizeof big));
    CU_ASSERT(w.overflow);
    tm_resp_simple(&w, "OK");
    CU_ASSERT_EQUAL(w.len, before);
    CU_ASSERT(w.cap <= 1000);
    tm_resp_writer_reset(&w, 2, 100);
    CU_ASSERT_EQUAL(w.cap, 0);
    tm_resp_simple(&w, "OK");
    CU_ASSERT_EQUAL(w.len, 5);
    tm_resp_writer_free(&w);
}

static void replies_are_read_element_by_element(void)
{
    static const char text[] = "*3\r\n$2\r\nab\r\n$-1\r\n%1\r\n+k\r\n:-7\r\n";
    static const struct {
        enum tm_resp_type type;
        const char *text;
        uint64_t count;
    } expected[] = {{TM_RESP_ARRAY, "", 3}, {TM_RESP_BULK, "ab", 0},  {TM_RESP_NULL, "", 0},
                    {TM_RESP_MAP, "", 2},   {TM_RESP_SIMPLE, "k", 0}, {TM_RESP_INTEGER, "-7", 0}};
    const uint8_t *data = (const uint8_t *)text;
    size_t at = 0;
    for (size_t i = 0; i < TM_ARRAY_LEN(expected); i++) {
        struct tm_resp_value v;
        size_t used;
        CU_ASSERT_EQUAL_FATAL(tm_resp_read(data + at, sizeof text - 1 - at, &v, &used),
                              TM_RESP_DONE);
        CU_ASSERT_EQUAL(v.type, expected[i].type);
        CU_ASSERT(tm_bytes_equal(v.text, tm_bytes_str(expected[i].text)));
        CU_ASSERT_EQUAL(v.count, expected[i].count);
        at += used;
    }
    CU_ASSERT_EQUAL(at, sizeof text - 1);
}

static void the_end_of_a_reply_is_found_byte_by_byte(void)
{
    static const char *const replies[] = {"+OK\r\n",
                                          "*0\r\n",
                                          "*-1\r\n",
                                          "$3\r\n\r\n\r\r\n",
                                          "*2\r\n*1\r\n:1\r\n%1\r\n+a\r\n*2\r\n_\r\n#t\r\n",
                                          "|1\r\n+ttl\r\n:3\r\n*2\r\n,1.5\r\n=7\r\ntxt:abc\r\n",
                                          "~2\r\n(123456789012345678901\r\n!5\r\nERR x\r\n"};
    for (size_t i = 0; i < TM_ARRAY_LEN(replies); i++) {
        size_t len = strlen(replies[i]), used = 0;
        struct tm_resp_skipper s = {0};
        for (size_t have = 0; have < len; have++)
            CU_ASSERT_EQUAL_FATAL(tm_resp_skip(&s, (const uint8_t *)replies[i], have, &used),
                                  TM_RESP_MORE);
        CU_ASSERT_EQUAL(tm_resp_skip(&s, (const uint8_t *)replies[i], len, &used), TM_RESP_DONE);
        CU_ASSERT_EQUAL(used, len);
    }
}

static void broken_replies_are_seen(void)
{
    static const char *const replies[] = {
        "x\r\n", ":1a\r\n",          "$-2\r\n",           "$1\r\nabc\r\n", "%-1\r\n", "#x\r\n",
        "+a\n",  "*99999999999\r\n", "*1\r\n*1\r\n?\r\n", "_x\r\n",        "\n"};
    for (size_t i = 0; i < TM_ARRAY_LEN(replies); i++) {
        struct tm_resp_skipper s = {0};
        size_t used;
        CU_ASSERT_EQUAL(tm_resp_skip(&s, (const uint8_t *)replies[i], strlen(replies[i]), &used),
                        TM_RESP_BROKEN);
    }
}

/* From memory of its own size, so that sanitizers see what lies behind. */
static bool peeked(const char *text, size_t len, unsigned word, const char *expected)
{
    uint8_t *copy = malloc(len + 1);
    struct tm_bytes out;
    memcpy(copy + 1, text, len);
    bool found = tm_resp_peek(tm_bytes_of(copy + 1, len), word, &out);
    if (found)
        CU_ASSERT(expected != NULL && tm_bytes_equal(out, tm_bytes_str(expected)));
    free(copy);
    return found;
}

static void a_word_is_peeked_only_if_it_is_all_there(void)
{
    static const char set[] = "*3\r\n$3\r\nSET\r\n$5\r\nkey:1\r\n$2\r\nab\r\n";
    static const char *const bad[] = {"",
                                      "SET key value\r\n",
                                      "*\r\n",
                                      "*1\r\n$4\r\nPING\r\n",
                                      "*-1\r\n",
                                      "*2\r\n$-3\r\nabc\r\n",
                                      "*2\r\n$99999999999\r\nx\r\n",
                                      "*2\r\n$3\nGET\r\n$1\r\nk\r\n"};
    size_t end = (size_t)(strstr(set, "key:1") - set) + 5;
    for (size_t len = 0; len < sizeof set; len++)
        CU_ASSERT_EQUAL(peeked(set, len, 1, "key:1"), len >= end);
    CU_ASSERT_TRUE(peeked(set, sizeof set - 1, 0, "SET"));
    CU_ASSERT_TRUE(peeked(set, sizeof set - 1, 2, "ab"));
    CU_ASSERT_FALSE(peeked(set, sizeof set - 1, 3, NULL));
    for (unsigned i = 0; i < TM_ARRAY_LEN(bad); i++)
        CU_ASSERT_FALSE(peeked(bad[i], strlen(bad[i]), 1, NULL));
}

static const struct tm_test tests[] = {
    TM_TEST(a_multibulk_command_is_read_however_it_is_cut),
    TM_TEST(an_inline_command_is_unquoted_as_redis_does),
    TM_TEST(broken_requests_get_the_texts_of_redis),
    TM_TEST(lines_without_end_are_refused),
    TM_TEST(a_word_is_peeked_only_if_it_is_all_there),
    TM_TEST(integers_are_as_strict_as_in_redis),
    TM_TEST(random_commands_survive_random_cuts),
    TM_TEST(garbage_is_parsed_without_harm),
    TM_TEST(replies_are_written_in_both_versions),
    TM_TEST(a_writer_never_exceeds_its_limit),
    TM_TEST(replies_are_read_element_by_element),
    TM_TEST(the_end_of_a_reply_is_found_byte_by_byte),
    TM_TEST(broken_replies_are_seen),
};

TM_TEST_MAIN("net/resp", tests)
