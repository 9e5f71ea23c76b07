/* Commands about several registers, and what their replies say of each. */
#include "tests/sim/sim_words_many.h"
#include "tests/test.h"

#define REGISTERS 36
#define FILL      20

static const struct tm_sim_layout LAYOUT = {.groups = 1, .registers = REGISTERS};
static struct tm_sim_register registers[REGISTERS];
static struct tm_sim_call call;

/* A call of the first registers that the command takes and that are parts of one entity. */
static void make(enum tm_sim_many many, unsigned count)
{
    uint32_t parts[TM_SIM_STEPS_MAX];
    bool keys = tm_sim_many_about(many) == TM_SIM_ABOUT_KEYS;
    call = (struct tm_sim_call){.outcome = TM_SIM_DONE};
    for (uint32_t i = 0; i < REGISTERS; i++)
        registers[i] = tm_sim_register(i, &LAYOUT);
    uint32_t first = 0;
    while (!tm_sim_many_takes(many, registers[first].kind))
        first++;
    unsigned all = keys ? REGISTERS : tm_sim_words_parts(first, &LAYOUT, parts);
    for (unsigned i = 0; i < all && call.count < count; i++) {
        uint32_t reg = keys ? i : parts[i];
        if (tm_sim_many_takes(many, registers[reg].kind))
            call.step[call.count++] =
                (struct tm_sim_step){.verb = tm_sim_many_verb(many), .reg = reg, .value = 100 + i};
    }
}

static bool replies_by(enum tm_sim_many many, const char *reply, unsigned proto)
{
    return tm_sim_many_reply(many, registers, &call, tm_bytes_str(reply), proto, FILL);
}

static bool replies(enum tm_sim_many many, const char *reply)
{
    return replies_by(many, reply, 2);
}

static void parts_are_those_of_one_entity(void)
{
    uint32_t parts[TM_SIM_STEPS_MAX];
    unsigned count = tm_sim_words_parts(3, &LAYOUT, parts);
    CU_ASSERT_EQUAL(count, 8); /* fields and counters of the first 24 */
    for (unsigned i = 0; i < count; i++)
        CU_ASSERT_STRING_EQUAL(tm_sim_register(parts[i], &LAYOUT).key,
                               tm_sim_register(3, &LAYOUT).key);
    CU_ASSERT_EQUAL(tm_sim_words_parts(27, &LAYOUT, parts), 4);
    CU_ASSERT_EQUAL(tm_sim_words_parts(4, &LAYOUT, parts), 4); /* members */
    CU_ASSERT_EQUAL(tm_sim_words_parts(0, &LAYOUT, parts), 1); /* a string */
}

static void a_register_is_found_by_its_name(void)
{
    static const struct tm_sim_layout layout = {.groups = 4, .registers = 48};
    uint32_t reg;
    for (uint32_t i = 0; i < 200; i++) {
        struct tm_sim_register r = tm_sim_register(i, &layout);
        CU_ASSERT_TRUE(
            tm_sim_register_named(&layout, tm_bytes_str(r.key), tm_bytes_str(r.field), &reg));
        CU_ASSERT_EQUAL(reg, i);
    }
    CU_ASSERT_FALSE(
        tm_sim_register_named(&layout, tm_bytes_str("T1:{g1}s1"), tm_bytes_str(""), &reg));
    CU_ASSERT_FALSE(
        tm_sim_register_named(&layout, tm_bytes_str("T2:{g1}s0"), tm_bytes_str(""), &reg));
    CU_ASSERT_FALSE(
        tm_sim_register_named(&layout, tm_bytes_str("T1:{g1}s0"), tm_bytes_str("f0"), &reg));
    CU_ASSERT_FALSE(tm_sim_register_named(&layout, tm_bytes_str("K1:1"), tm_bytes_str(""), &reg));
}

static void every_kind_is_asked_about_in_some_way(void)
{
    for (unsigned kind = TM_SIM_STRING; kind <= TM_SIM_COUNTER_FIELD; kind++) {
        unsigned ways = 0;
        for (unsigned m = 0; m < TM_SIM_MANY_COUNT; m++)
            ways += tm_sim_many_takes((enum tm_sim_many)m, (enum tm_sim_kind)kind);
        CU_ASSERT(ways >= 2);
    }
}

static void commands_name_what_they_are_about(void)
{
    struct tm_resp_writer out;
    tm_resp_writer_init(&out, 4096);
    make(TM_SIM_MANY_HDEL, 2);
    tm_sim_many_command(&out, TM_SIM_MANY_HDEL, registers, &call, FILL);
    static const char hdel[] = "*4\r\n$4\r\nHDEL\r\n$9\r\nT0:{g0}h0\r\n$2\r\nf3\r\n$2\r\nf5\r\n";
    CU_ASSERT_TRUE(tm_bytes_equal(tm_resp_writer_bytes(&out), tm_bytes_str(hdel)));
    tm_resp_writer_reset(&out, 2, 0);
    make(TM_SIM_MANY_HGETALL, 8);
    tm_sim_many_command(&out, TM_SIM_MANY_HGETALL, registers, &call, FILL);
    CU_ASSERT_PTR_NOT_NULL(memmem(out.data, out.len, "*2\r\n$7\r\nHGETALL\r\n", 17));
    CU_ASSERT_PTR_NULL(memmem(out.data, out.len, "f3", 2));
    tm_resp_writer_free(&out);
}

static void what_a_map_does_not_name_was_absent(void)
{
    make(TM_SIM_MANY_HGETALL, 8);
    CU_ASSERT_TRUE(replies(TM_SIM_MANY_HGETALL, "*0\r\n"));
    for (unsigned i = 0; i < call.count; i++)
        CU_ASSERT_FALSE(call.step[i].found);
    CU_ASSERT_TRUE(replies(TM_SIM_MANY_HGETALL, "*2\r\n$2\r\nf5\r\n$2\r\n42\r\n"));
    for (unsigned i = 0; i < call.count; i++) {
        bool named = strcmp(registers[call.step[i].reg].field, "f5") == 0;
        CU_ASSERT_EQUAL(call.step[i].found, named);
        CU_ASSERT(!named || call.step[i].result == 42);
    }
}

static void a_list_names_each_once_and_nobody_else(void)
{
    make(TM_SIM_MANY_HGETALL, 8);
    CU_ASSERT_FALSE(replies(TM_SIM_MANY_HGETALL, "*2\r\n$2\r\nf4\r\n$2\r\n42\r\n"));
    CU_ASSERT_FALSE(
        replies(TM_SIM_MANY_HGETALL, "*4\r\n$2\r\nf5\r\n$1\r\n1\r\n$2\r\nf5\r\n$1\r\n1\r\n"));
    make(TM_SIM_MANY_SMEMBERS, 8);
    CU_ASSERT_TRUE(replies(TM_SIM_MANY_SMEMBERS, "*1\r\n$2\r\nf4\r\n"));
    CU_ASSERT_FALSE(replies(TM_SIM_MANY_SMEMBERS, "*2\r\n$2\r\nf4\r\n$2\r\nf4\r\n"));
    CU_ASSERT_FALSE(replies(TM_SIM_MANY_SMEMBERS, "*1\r\n$2\r\nf5\r\n"));
}

static void resp3_has_maps_and_sets(void)
{
    make(TM_SIM_MANY_HGETALL, 8);
    CU_ASSERT_TRUE(replies_by(TM_SIM_MANY_HGETALL, "%1\r\n$2\r\nf5\r\n$2\r\n42\r\n", 3));
    CU_ASSERT_FALSE(replies_by(TM_SIM_MANY_HGETALL, "*2\r\n$2\r\nf5\r\n$2\r\n42\r\n", 3));
    CU_ASSERT_FALSE(replies_by(TM_SIM_MANY_HGETALL, "%1\r\n$2\r\nf5\r\n$2\r\n42\r\n", 2));
    make(TM_SIM_MANY_SMEMBERS, 8);
    CU_ASSERT_TRUE(replies_by(TM_SIM_MANY_SMEMBERS, "~1\r\n$2\r\nf4\r\n", 3));
    CU_ASSERT_FALSE(replies_by(TM_SIM_MANY_SMEMBERS, "*1\r\n$2\r\nf4\r\n", 3));
}

static void a_value_that_is_cut_or_mixed_is_none(void)
{
    make(TM_SIM_MANY_HMGET, 1);
    char good[128], bad[128];
    struct tm_bytes text = tm_sim_words_text(7, FILL);
    snprintf(good, sizeof good, "*1\r\n$%zu\r\n%.*s\r\n", text.len, (int)text.len,
             (const char *)text.data);
    snprintf(bad, sizeof bad, "*1\r\n$%zu\r\n%.*sx\r\n", text.len + 1, (int)text.len,
             (const char *)text.data);
    CU_ASSERT_TRUE(replies(TM_SIM_MANY_HMGET, good));
    CU_ASSERT_EQUAL(call.step[0].result, 7);
    CU_ASSERT_FALSE(replies(TM_SIM_MANY_HMGET, bad));
    CU_ASSERT_FALSE(replies(TM_SIM_MANY_HMGET, "*2\r\n$-1\r\n$-1\r\n"));
}

static void a_sum_tells_of_each_or_of_all(void)
{
    make(TM_SIM_MANY_DEL, 3);
    CU_ASSERT_TRUE(replies(TM_SIM_MANY_DEL, ":0\r\n"));
    CU_ASSERT(call.step[2].told && !call.step[2].found && !call.summed);
    CU_ASSERT_TRUE(replies(TM_SIM_MANY_DEL, ":3\r\n"));
    CU_ASSERT(call.step[2].told && call.step[2].found && !call.summed);
    CU_ASSERT_TRUE(replies(TM_SIM_MANY_DEL, ":2\r\n"));
    CU_ASSERT(!call.step[2].told && call.summed && call.sum == 2);
    CU_ASSERT_FALSE(replies(TM_SIM_MANY_DEL, ":4\r\n"));
    make(TM_SIM_MANY_SADD, 3);
    CU_ASSERT_TRUE(replies(TM_SIM_MANY_SADD, ":1\r\n")); /* is new: two were there */
    CU_ASSERT(call.summed && call.sum == 2);
    make(TM_SIM_MANY_DEL_WHOLE, 8);
    CU_ASSERT_TRUE(replies(TM_SIM_MANY_DEL_WHOLE, ":1\r\n"));
    CU_ASSERT(!call.step[0].told && !call.summed);
    CU_ASSERT_TRUE(replies(TM_SIM_MANY_DEL_WHOLE, ":0\r\n"));
    CU_ASSERT(call.step[0].told && !call.step[0].found);
    CU_ASSERT_FALSE(replies(TM_SIM_MANY_DEL_WHOLE, ":2\r\n"));
}

static void times_that_are_left(void)
{
    struct tm_sim_register r = tm_sim_register(0, &LAYOUT);
    struct tm_sim_step s = {.verb = TM_SIM_TTL};
    struct tm_resp_value v = {.type = TM_RESP_INTEGER, .integer = -2};
    CU_ASSERT_TRUE(tm_sim_words_reply(&r, &s, &v, FILL) && !s.found);
    v.integer = -1;
    CU_ASSERT_TRUE(tm_sim_words_reply(&r, &s, &v, FILL) && s.found);
    CU_ASSERT_EQUAL(s.result, TM_SIM_FOR_EVER);
    v.integer = 17;
    CU_ASSERT_TRUE(tm_sim_words_reply(&r, &s, &v, FILL) && s.found);
    CU_ASSERT_EQUAL(s.result, 17);
    v.integer = -3;
    CU_ASSERT_FALSE(tm_sim_words_reply(&r, &s, &v, FILL));
}

static const struct tm_test tests[] = {
    TM_TEST(parts_are_those_of_one_entity),
    TM_TEST(a_register_is_found_by_its_name),
    TM_TEST(every_kind_is_asked_about_in_some_way),
    TM_TEST(commands_name_what_they_are_about),
    TM_TEST(what_a_map_does_not_name_was_absent),
    TM_TEST(a_list_names_each_once_and_nobody_else),
    TM_TEST(resp3_has_maps_and_sets),
    TM_TEST(a_value_that_is_cut_or_mixed_is_none),
    TM_TEST(a_sum_tells_of_each_or_of_all),
    TM_TEST(times_that_are_left),
};

TM_TEST_MAIN("sim/words", tests)
