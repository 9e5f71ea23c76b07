#include "actors/seen_members.h"
#include "tests/test.h"

/* A record of that kind and index; a CONFIG names one voter: node `index`. */
static const struct tm_record *record(enum tm_record_kind kind, uint64_t index)
{
    static union {
        struct tm_record head;
        uint8_t bytes[sizeof(struct tm_record) + TM_MEMBERS_SIZE_MAX];
    } u;
    struct tm_members m = {.count = 1};
    m.at[0] = (struct tm_member){.id = {.disk = 100 + index, .node = (uint8_t)index},
                                 .role = TM_MEMBER_VOTER};
    u.head = (struct tm_record){.kind = (uint16_t)kind, .index = index, .term = 1};
    if (kind == TM_RECORD_CONFIG) {
        u.head.body_len = TM_MEMBERS_SIZE(1);
        tm_members_encode(&m, (uint8_t *)(&u.head + 1));
    }
    tm_record_seal(&u.head);
    return &u.head;
}

static void find(struct tm_seen_members *seen, uint64_t from, uint64_t to)
{
    for (uint64_t i = from; i <= to; i++)
        tm_seen_members_found(seen, record(TM_RECORD_EFFECT, i));
}

static void configure(struct tm_seen_members *seen, uint64_t index)
{
    tm_seen_members_found(seen, record(TM_RECORD_CONFIG, index));
}

static void restore(struct tm_seen_members *seen, uint64_t index)
{
    tm_seen_members_restored(seen, record(TM_RECORD_CONFIG, index));
}

/* 0: none. */
static void expect(const struct tm_seen_members *seen, uint64_t last, uint64_t before)
{
    CU_ASSERT(seen->last.index == last && seen->last.count == (last != 0));
    CU_ASSERT(last == 0 || seen->last.at[0].id.node == last);
    CU_ASSERT(seen->before.index == before && seen->before.count == (before != 0));
    CU_ASSERT(before == 0 || seen->before.at[0].id.node == before);
}

static void the_newest_two_count(void)
{
    struct tm_seen_members seen = {0};
    find(&seen, 1, 4);
    expect(&seen, 0, 0);
    configure(&seen, 5);
    find(&seen, 6, 8);
    expect(&seen, 5, 0);
    configure(&seen, 9);
    expect(&seen, 9, 5);
    configure(&seen, 10);
    expect(&seen, 10, 9);
    tm_seen_members_end(&seen, 10);
    expect(&seen, 10, 9);
}

static void what_another_record_replaces_is_gone(void)
{
    struct tm_seen_members seen = {0};
    configure(&seen, 5);
    configure(&seen, 9);
    find(&seen, 9, 9);
    expect(&seen, 5, 0);
    configure(&seen, 9);
    configure(&seen, 9);
    expect(&seen, 9, 5);
    find(&seen, 6, 6);
    expect(&seen, 5, 0);
    find(&seen, 5, 5);
    expect(&seen, 0, 0);
}

/* A log may end with a cut, which nothing follows. */
static void what_was_cut_at_the_end_is_gone(void)
{
    struct tm_seen_members seen = {0};
    configure(&seen, 5);
    configure(&seen, 9);
    tm_seen_members_end(&seen, 8);
    expect(&seen, 5, 0);
    tm_seen_members_end(&seen, 5);
    expect(&seen, 5, 0);
    tm_seen_members_end(&seen, 4);
    expect(&seen, 0, 0);
}

static void what_was_restored_takes_its_place(void)
{
    struct tm_seen_members seen = {0};
    find(&seen, 1, 4);
    find(&seen, 6, 8);
    restore(&seen, 5);
    expect(&seen, 5, 0);
    restore(&seen, 3);
    expect(&seen, 5, 3);
    restore(&seen, 2);
    expect(&seen, 5, 3);
    restore(&seen, 4);
    expect(&seen, 5, 4);
    restore(&seen, 5);
    expect(&seen, 5, 4);
    restore(&seen, 7);
    expect(&seen, 7, 5);
    configure(&seen, 9);
    expect(&seen, 9, 7);
    tm_seen_members_restored(&seen, record(TM_RECORD_EFFECT, 8));
    expect(&seen, 9, 7);
}

static const struct tm_test tests[] = {
    TM_TEST(the_newest_two_count),
    TM_TEST(what_another_record_replaces_is_gone),
    TM_TEST(what_was_cut_at_the_end_is_gone),
    TM_TEST(what_was_restored_takes_its_place),
};

TM_TEST_MAIN("actors/seen_members", tests)
