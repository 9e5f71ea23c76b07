#include "actors/message.h"
#include "actors/request_wire.h"
#include "test.h"

static const struct tm_request_command *commands(unsigned *count)
{
    static struct tm_bytes a[3], b[1];
    static struct tm_request_command c[2];
    a[0] = tm_bytes_str("SET");
    a[1] = tm_bytes_str("Order:42");
    a[2] = tm_bytes_of("\0\r\n", 3);
    b[0] = tm_bytes_of(NULL, 0);
    c[0] = (struct tm_request_command){a, 3};
    c[1] = (struct tm_request_command){b, 1};
    *count = 2;
    return c;
}

static size_t encoded(uint8_t *out, size_t cap)
{
    struct tm_request rq = {.id = 7,
                            .kind = TM_REQUEST_MULTI,
                            .partition = 12,
                            .resp = 3,
                            .cursor = 1,
                            .watch_token = 2,
                            .index = 3,
                            .copies = 4,
                            .timeout_ms = 5};
    rq.commands = commands(&rq.count);
    size_t len = tm_request_size(&rq);
    CU_ASSERT_FATAL(len > 0 && len <= cap);
    tm_request_encode(&rq, out);
    return len;
}

static void a_request_survives_the_wire(void)
{
    uint8_t buf[256];
    size_t len = encoded(buf, sizeof buf);
    struct tm_request_words w = {0};
    struct tm_request rq;
    CU_ASSERT_EQUAL_FATAL(tm_request_decode(tm_bytes_of(buf, len), &w, &rq), TM_OK);
    CU_ASSERT(rq.id == 7 && rq.kind == TM_REQUEST_MULTI && rq.partition == 12 && rq.resp == 3 &&
              rq.cursor == 1 && rq.watch_token == 2 && rq.index == 3 && rq.copies == 4 &&
              rq.timeout_ms == 5 && rq.count == 2);
    CU_ASSERT_EQUAL(rq.commands[0].argc, 3);
    CU_ASSERT(tm_bytes_equal(rq.commands[0].argv[1], tm_bytes_str("Order:42")));
    CU_ASSERT(tm_bytes_equal(rq.commands[0].argv[2], tm_bytes_of("\0\r\n", 3)));
    CU_ASSERT_EQUAL(rq.commands[1].argv[0].len, 0);
    tm_request_words_free(&w);
}

static void a_cut_request_is_refused(void)
{
    uint8_t buf[256];
    size_t len = encoded(buf, sizeof buf);
    struct tm_request_words w = {0};
    struct tm_request rq;
    for (size_t cut = 0; cut < len; cut++)
        CU_ASSERT_EQUAL(tm_request_decode(tm_bytes_of(buf, cut), &w, &rq), TM_ERR_CORRUPT);
    buf[len] = 0;
    CU_ASSERT_EQUAL(tm_request_decode(tm_bytes_of(buf, len + 1), &w, &rq), TM_ERR_CORRUPT);
    tm_request_words_free(&w);
}

/* Whatever is accepted points into the input: the sanitizer build watches. */
static void changed_bytes_never_lead_outside(void)
{
    uint64_t x = tm_test_seed() | 1;
    struct tm_request_words w = {0};
    for (unsigned round = 0; round < 20000; round++) {
        uint8_t buf[256];
        size_t len = encoded(buf, sizeof buf);
        for (unsigned k = 0; k < 3; k++) {
            x = x * 6364136223846793005ULL + 1442695040888963407ULL;
            buf[(x >> 33) % len] = (uint8_t)(x >> 56);
        }
        struct tm_request rq;
        if (tm_request_decode(tm_bytes_of(buf, len), &w, &rq) != TM_OK)
            continue;
        for (unsigned i = 0; i < rq.count; i++)
            for (unsigned k = 0; k < rq.commands[i].argc; k++) {
                struct tm_bytes word = rq.commands[i].argv[k];
                CU_ASSERT(word.data >= buf && word.data + word.len <= buf + len);
            }
    }
    tm_request_words_free(&w);
}

static void an_oversized_request_has_no_size(void)
{
    static uint8_t big[1];
    struct tm_bytes argv[] = {{big, TM_MESSAGE_BODY_MAX}};
    struct tm_request_command c = {argv, 1};
    struct tm_request rq = {.id = 1, .resp = 2, .commands = &c, .count = 1};
    CU_ASSERT_EQUAL(tm_request_size(&rq), 0);
}

static void a_wait_tells_the_term(void)
{
    uint8_t buf[64];
    struct tm_request_words w = {0};
    struct tm_request rq = {.id = 1, .kind = TM_REQUEST_WAIT, .resp = 2, .index = 8, .term = 9},
                      back;
    CU_ASSERT_EQUAL_FATAL(tm_request_size(&rq), sizeof buf);
    tm_request_encode(&rq, buf);
    CU_ASSERT_EQUAL_FATAL(tm_request_decode(tm_bytes_of(buf, sizeof buf), &w, &back), TM_OK);
    CU_ASSERT(back.index == 8 && back.term == 9 && back.cursor == 0);
    tm_request_words_free(&w);
}

static void an_answer_survives_the_wire(void)
{
    struct tm_answer a = {.id = 1,
                          .status = TM_ANSWER_UNKNOWN,
                          .err = TM_ERR_TIMEOUT,
                          .index = 2,
                          .term = 6,
                          .cursor = 3,
                          .watch_token = 4,
                          .copies = 5},
                     back;
    uint8_t buf[TM_ANSWER_HEAD + 5];
    tm_answer_encode(&a, buf);
    memcpy(buf + TM_ANSWER_HEAD, "+OK\r\n", 5);
    CU_ASSERT_EQUAL_FATAL(tm_answer_decode(tm_bytes_of(buf, sizeof buf), &back), TM_OK);
    CU_ASSERT(back.id == 1 && back.status == TM_ANSWER_UNKNOWN && back.err == TM_ERR_TIMEOUT &&
              back.index == 2 && back.term == 6 && back.cursor == 3 && back.watch_token == 4 &&
              back.copies == 5);
    CU_ASSERT(tm_bytes_equal(back.reply, tm_bytes_str("+OK\r\n")));
    CU_ASSERT_EQUAL(tm_answer_decode(tm_bytes_of(buf, TM_ANSWER_HEAD - 1), &back), TM_ERR_CORRUPT);
}

static void message_numbers_are_frozen(void)
{
    CU_ASSERT_EQUAL(TM_MESSAGE_RAFT, 8);
    CU_ASSERT_EQUAL(TM_MESSAGE_REQUEST, 12);
    CU_ASSERT_EQUAL(TM_MESSAGE_OFFERED, 21);
    CU_ASSERT_STRING_EQUAL(tm_message_name(14), "LEADER");
    CU_ASSERT_STRING_EQUAL(tm_message_name(999), "UNKNOWN");
}

static const struct tm_test tests[] = {
    TM_TEST(a_request_survives_the_wire),      TM_TEST(a_wait_tells_the_term),
    TM_TEST(a_cut_request_is_refused),         TM_TEST(changed_bytes_never_lead_outside),
    TM_TEST(an_oversized_request_has_no_size), TM_TEST(an_answer_survives_the_wire),
    TM_TEST(message_numbers_are_frozen),
};
TM_TEST_MAIN("actors/request_wire", tests)
