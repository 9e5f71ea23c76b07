#include "actors/replica_wire.h"
#include "test.h"

static const struct tm_insync two = {
    .term = 0x1112131415161718, .epoch = 5, .count = 2, .at = {{0xa1, 3}, {0xb2, 63}}};

static struct tm_replica_msg full(enum tm_msg_kind kind, uint8_t flags)
{
    struct tm_replica_msg m = {.kind = kind,
                               .flags = flags,
                               .partition = 0x01020304,
                               .from = {.disk = 0x0102030405060708, .node = 9},
                               .term = 0x2122232425262728,
                               .index = 0x3132333435363738,
                               .index_term = 0x4142434445464748,
                               .hash = 0x5152535455565758,
                               .commit = 0x6162636465666768};
    if ((flags & TM_MSG_WITH_SET) != 0)
        m.insync = two;
    return m;
}

static void the_layout_of_a_message_is_frozen(void)
{
    static const uint8_t want[64] = {
        4,    0x20, 9,    0,    4,    3,    2,    1,    8,    7,    6,    5,    4,
        3,    2,    1,    0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21, 0x38, 0x37,
        0x36, 0x35, 0x34, 0x33, 0x32, 0x31, 0x48, 0x47, 0x46, 0x45, 0x44, 0x43, 0x42,
        0x41, 0x58, 0x57, 0x56, 0x55, 0x54, 0x53, 0x52, 0x51, 0x68, 0x67, 0x66, 0x65,
        0x64, 0x63, 0x62, 0x61, 2,    0,    0,    0,    0x80, 0,    0,    0};
    uint8_t out[TM_MSG_HEAD_MAX];
    struct tm_replica_msg m = full(TM_MSG_APPEND, TM_MSG_FIRM);
    m.count = 2;
    CU_ASSERT_EQUAL(tm_replica_msg_encode(&m, 128, out), 64);
    CU_ASSERT_EQUAL(memcmp(out, want, 64), 0);
    m = full(TM_MSG_VOTE, TM_MSG_WITH_SET);
    CU_ASSERT_EQUAL(tm_replica_msg_encode(&m, 0, out), 120);
    CU_ASSERT_EQUAL(tm_load64(out + 64), two.term);
    CU_ASSERT_EQUAL(tm_load64(out + 72), two.epoch);
    CU_ASSERT_EQUAL(tm_load64(out + 80), 2);
    CU_ASSERT_EQUAL(tm_load64(out + 88), 0xa1);
    CU_ASSERT_EQUAL(tm_load64(out + 96), 3);
    CU_ASSERT_EQUAL(tm_load64(out + 104), 0xb2);
    CU_ASSERT_EQUAL(tm_load64(out + 112), 63);
}

static bool same(const struct tm_replica_msg *a, const struct tm_replica_msg *b)
{
    return a->kind == b->kind && a->flags == b->flags && a->partition == b->partition &&
           tm_id_equal(a->from, b->from) && a->term == b->term && a->index == b->index &&
           a->index_term == b->index_term && a->hash == b->hash && a->commit == b->commit &&
           a->count == b->count && a->insync.term == b->insync.term &&
           a->insync.epoch == b->insync.epoch && a->insync.count == b->insync.count &&
           tm_id_equal(a->insync.at[0], b->insync.at[0]) &&
           tm_id_equal(a->insync.at[1], b->insync.at[1]);
}

static void what_is_encoded_is_decoded(void)
{
    for (unsigned kind = 1; kind < TM_MSG_END; kind++)
        for (unsigned flags = 0; flags < 128; flags++) {
            uint8_t bytes[TM_MSG_HEAD_MAX] = {0};
            struct tm_replica_msg m = full((enum tm_msg_kind)kind, 0), got;
            size_t len = tm_replica_msg_encode(&m, 0, bytes);
            bytes[1] = (uint8_t)flags;
            if ((flags & TM_MSG_WITH_SET) != 0)
                len = TM_MSG_HEAD_MAX;
            if (tm_replica_msg_decode(tm_bytes_of(bytes, len), &got) != TM_OK)
                continue; /* this kind has no such flag */
            m = full((enum tm_msg_kind)kind, (uint8_t)flags);
            len = tm_replica_msg_encode(&m, 0, bytes);
            CU_ASSERT_EQUAL(tm_replica_msg_decode(tm_bytes_of(bytes, len), &got), TM_OK);
            CU_ASSERT(same(&m, &got));
        }
    CU_ASSERT_STRING_EQUAL(tm_replica_msg_name(TM_MSG_APPEND), "APPEND");
    CU_ASSERT_STRING_EQUAL(tm_replica_msg_name(TM_MSG_END), "UNKNOWN");
}

static void what_nobody_would_send_is_refused(void)
{
    uint8_t good[TM_MSG_HEAD_MAX], bad[TM_MSG_HEAD_MAX + 64];
    struct tm_replica_msg m = full(TM_MSG_VOTE, TM_MSG_WITH_SET), got;
    size_t len = tm_replica_msg_encode(&m, 0, good);
    CU_ASSERT_EQUAL(tm_replica_msg_decode(tm_bytes_of(good, len), &got), TM_OK);
    for (size_t cut = 0; cut < len; cut++)
        CU_ASSERT_EQUAL(tm_replica_msg_decode(tm_bytes_of(good, cut), &got), TM_ERR_CORRUPT);
    const struct {
        unsigned at;
        uint8_t value;
    } change[] = {{0, 0},  {0, TM_MSG_END}, {1, 0x80}, {1, TM_MSG_REJECT | TM_MSG_WITH_SET},
                  {2, 64}, {3, 1},          {56, 1},   {60, 1},
                  {80, 3}, {96, 64},        {112, 3}};
    for (size_t i = 0; i < TM_ARRAY_LEN(change); i++) {
        memcpy(bad, good, len);
        bad[change[i].at] = change[i].value;
        CU_ASSERT_EQUAL(tm_replica_msg_decode(tm_bytes_of(bad, len), &got), TM_ERR_CORRUPT);
    }
    memcpy(bad, good, len);
    memset(bad + 8, 0, 8); /* no disk */
    CU_ASSERT_EQUAL(tm_replica_msg_decode(tm_bytes_of(bad, len), &got), TM_ERR_CORRUPT);
    CU_ASSERT_EQUAL(tm_replica_msg_decode(tm_bytes_of(bad, len + 1), &got), TM_ERR_CORRUPT);
}

static void random_bytes_are_refused_or_read_within_their_bounds(void)
{
    uint64_t x = tm_test_seed() | 1;
    for (unsigned i = 0; i < 200000; i++) {
        uint8_t bytes[256];
        struct tm_replica_msg m;
        struct tm_members members;
        for (size_t k = 0; k < sizeof bytes; k += 8) {
            x = x * 6364136223846793005ull + 1442695040888963407ull;
            tm_store64(bytes + k, x >> (x >> 60));
        }
        bytes[0] = (uint8_t)(bytes[0] % 10);
        bytes[3] = 0;
        size_t len = x % sizeof bytes;
        if (len >= 64 && i % 2 == 0)
            tm_store32(bytes + 60, (uint32_t)(len - 64));
        if (tm_replica_msg_decode(tm_bytes_of(bytes, len), &m) == TM_OK) {
            CU_ASSERT(m.body.data + m.body.len == bytes + len);
            CU_ASSERT(m.from.node < 64 && m.insync.count <= 2);
        }
        bytes[0] = (uint8_t)(len / 16);
        memset(bytes + 1, 0, 7);
        if (tm_members_decode(tm_bytes_of(bytes, len), &members) == TM_OK)
            CU_ASSERT(tm_members_valid(&members));
    }
}

static struct tm_members three(void)
{
    return (struct tm_members){
        .count = 3,
        .at = {{{7, 1}, TM_MEMBER_VOTER}, {{8, 2}, TM_MEMBER_VOTER}, {{9, 3}, TM_MEMBER_WITNESS}}};
}

static void members_go_there_and_back(void)
{
    struct tm_members m = three(), got;
    uint8_t bytes[TM_MEMBERS_SIZE_MAX];
    tm_members_encode(&m, bytes);
    CU_ASSERT_EQUAL(tm_load64(bytes), 3);
    CU_ASSERT_EQUAL(tm_load64(bytes + 8), 7);
    CU_ASSERT_EQUAL(tm_load64(bytes + 16), 1);
    CU_ASSERT_EQUAL(tm_load64(bytes + 48), 3 | TM_MEMBER_WITNESS << 8);
    CU_ASSERT_EQUAL(tm_members_decode(tm_bytes_of(bytes, TM_MEMBERS_SIZE(3)), &got), TM_OK);
    CU_ASSERT_EQUAL(got.count, 3);
    for (unsigned i = 0; i < 3; i++) {
        CU_ASSERT(tm_id_equal(got.at[i].id, m.at[i].id));
        CU_ASSERT_EQUAL(got.at[i].role, m.at[i].role);
    }
    CU_ASSERT_EQUAL(tm_members_decode(tm_bytes_of(bytes, TM_MEMBERS_SIZE(2)), &got),
                    TM_ERR_CORRUPT);
}

static void members_that_cannot_be_are_invalid(void)
{
    struct tm_members m = three();
    CU_ASSERT(tm_members_valid(&m));
    m.at[1].id.node = 1; /* twice the same node */
    CU_ASSERT_FALSE(tm_members_valid(&m));
    m = three();
    m.at[1].role = TM_MEMBER_WITNESS; /* two witnesses */
    CU_ASSERT_FALSE(tm_members_valid(&m));
    m = three();
    m.at[3] = (struct tm_member){{10, 4}, TM_MEMBER_VOTER}; /* a witness beside three voters */
    m.count = 4;
    CU_ASSERT_FALSE(tm_members_valid(&m));
    m = three();
    m.at[0].id.disk = 0; /* a voter without a disk */
    CU_ASSERT_FALSE(tm_members_valid(&m));
    m.at[0] = (struct tm_member){{0, 1}, TM_MEMBER_LEARNER};
    m.count = 1; /* nobody votes */
    CU_ASSERT_FALSE(tm_members_valid(&m));
    m = (struct tm_members){.count = 8};
    for (unsigned i = 0; i < 8; i++)
        m.at[i] = (struct tm_member){{1 + i, (uint8_t)i}, TM_MEMBER_VOTER};
    CU_ASSERT_FALSE(tm_members_valid(&m)); /* eight */
    m.count = 7;
    CU_ASSERT(tm_members_valid(&m));
}

static void a_promise_survives_the_hard_state(void)
{
    for (unsigned i = 0; i < 3 * 3 * 2; i++) {
        struct tm_promise p = {.term = 77, .vote = {5, 4}, .health = (enum tm_health)(i % 4)}, got;
        struct tm_hard_state hs;
        p.insync = two;
        p.insync.count = i / 3 % 3;
        p.insync.confirmed = p.insync.count == 1;
        if (p.insync.count < 2)
            p.insync.at[1] = (struct tm_id){0};
        if (p.insync.count < 1)
            p.insync.at[0] = (struct tm_id){0};
        if (i >= 9)
            p.vote = (struct tm_id){.node = TM_NODE_UNKNOWN};
        tm_promise_to_hard_state(&p, &hs);
        CU_ASSERT_EQUAL(tm_promise_from_hard_state(&hs, &got), TM_OK);
        CU_ASSERT(got.term == 77 && tm_id_equal(got.vote, p.vote) &&
                  got.health == (p.health == TM_HEALTH_HOLED ? TM_HEALTH_WHOLE : p.health));
        CU_ASSERT(got.insync.term == p.insync.term && got.insync.epoch == p.insync.epoch);
        CU_ASSERT(got.insync.count == p.insync.count && got.insync.confirmed == p.insync.confirmed);
        CU_ASSERT(tm_id_equal(got.insync.at[0], p.insync.at[0]));
        CU_ASSERT(tm_id_equal(got.insync.at[1], p.insync.at[1]));
    }
    struct tm_promise got;
    struct tm_hard_state hs = {.vote = TM_VOTE_NONE, .config = {.count = 3}};
    CU_ASSERT_EQUAL(tm_promise_from_hard_state(&hs, &got), TM_ERR_CORRUPT);
    hs = (struct tm_hard_state){.vote = 64};
    CU_ASSERT_EQUAL(tm_promise_from_hard_state(&hs, &got), TM_ERR_CORRUPT);
}

static const struct tm_test tests[] = {
    TM_TEST(the_layout_of_a_message_is_frozen),
    TM_TEST(what_is_encoded_is_decoded),
    TM_TEST(what_nobody_would_send_is_refused),
    TM_TEST(random_bytes_are_refused_or_read_within_their_bounds),
    TM_TEST(members_go_there_and_back),
    TM_TEST(members_that_cannot_be_are_invalid),
    TM_TEST(a_promise_survives_the_hard_state),
};
TM_TEST_MAIN("actors/replica_wire", tests)
