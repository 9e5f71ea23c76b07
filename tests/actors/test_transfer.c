#include "actors/transfer.h"
#include "runtime/rng.h"
#include "tests/test.h"

#define CHUNK "a chunk"

/* As many members as there may be: voters, and learners behind them. */
static struct tm_members members(void)
{
    struct tm_members m = {.count = TM_MEMBERS_MAX, .index = 90};
    for (unsigned i = 0; i < m.count; i++)
        m.at[i] = (struct tm_member){.id = {.disk = 1000 + i, .node = (uint8_t)(63 - i)},
                                     .role = i < 5 ? TM_MEMBER_VOTER : TM_MEMBER_LEARNER};
    return m;
}

static struct tm_snapshot_info info_of(void)
{
    struct tm_members m = members();
    struct tm_snapshot_info info = {.partition = 7,
                                    .walked_from = 100,
                                    .walked_to = 130,
                                    .term = 4,
                                    .hash = 0x1234567890abcdef,
                                    .items = 12,
                                    .chunks = 3,
                                    .bytes = 16384,
                                    .cluster = {1, 2, 3}};
    tm_transfer_note(&m, &info);
    return info;
}

static struct tm_bytes body_of(const struct tm_snapshot_info *info, uint8_t *buf)
{
    size_t len = tm_transfer_encode(info, buf);
    CU_ASSERT(len % 8 == 0 && len <= TM_TRANSFER_HEAD_MAX);
    memcpy(buf + len, CHUNK, sizeof CHUNK);
    return tm_bytes_of(buf, len + sizeof CHUNK);
}

static enum tm_err decode(const struct tm_snapshot_info *info, uint32_t partition)
{
    uint8_t buf[TM_TRANSFER_HEAD_MAX + sizeof CHUNK];
    struct tm_snapshot_info out;
    struct tm_bytes chunk;
    return tm_transfer_decode(body_of(info, buf), partition, &out, &chunk);
}

static void a_transfer_survives_the_wire_with_all_its_members(void)
{
    uint8_t buf[TM_TRANSFER_HEAD_MAX + sizeof CHUNK];
    struct tm_snapshot_info info = info_of(), out;
    struct tm_members m, want = members();
    struct tm_bytes chunk;
    CU_ASSERT_EQUAL(tm_transfer_decode(body_of(&info, buf), 7, &out, &chunk), TM_OK);
    CU_ASSERT(tm_bytes_equal(chunk, tm_bytes_of(CHUNK, sizeof CHUNK)));
    CU_ASSERT(out.partition == 7 && out.walked_from == 100 && out.walked_to == 130);
    CU_ASSERT(out.term == 4 && out.hash == info.hash && out.items == 12 && out.chunks == 3);
    CU_ASSERT(out.bytes == 16384 && memcmp(out.cluster, info.cluster, 16) == 0);
    CU_ASSERT_EQUAL(tm_transfer_members(&out, &m), TM_OK);
    CU_ASSERT(m.count == want.count && m.index == want.index);
    for (unsigned i = 0; i < want.count; i++)
        CU_ASSERT(m.at[i].id.disk == want.at[i].id.disk && m.at[i].id.node == want.at[i].id.node &&
                  m.at[i].role == want.at[i].role);
}

static void the_bytes_are_frozen(void)
{
    uint8_t buf[TM_TRANSFER_HEAD_MAX + sizeof CHUNK];
    struct tm_snapshot_info info = info_of();
    struct tm_bytes body = body_of(&info, buf);
    static const uint8_t head[] = {
        7,    0,    0,    0,    160,  0,    0,  0, 100, 0, 0, 0, 0, 0, 0, 0,    130,
        0,    0,    0,    0,    0,    0,    0,  4, 0,   0, 0, 0, 0, 0, 0, 0xef, 0xcd,
        0xab, 0x90, 0x78, 0x56, 0x34, 0x12, 12, 0, 0,   0, 0, 0, 0, 0, 3};
    CU_ASSERT_EQUAL(memcmp(body.data, head, sizeof head), 0);
    CU_ASSERT_EQUAL(body.len, 80 + 160 + sizeof CHUNK);
    CU_ASSERT_EQUAL(tm_load64(body.data + 80), 90); /* the members' index, then how many */
    CU_ASSERT_EQUAL(tm_load64(body.data + 88), TM_MEMBERS_MAX);
}

static void what_cannot_be_is_refused(void)
{
    struct tm_snapshot_info good = info_of();
    CU_ASSERT_EQUAL(decode(&good, 7), TM_OK);
    CU_ASSERT_EQUAL(decode(&good, 8), TM_ERR_CORRUPT);
#define REFUSED(field, value)                                                                      \
    do {                                                                                           \
        struct tm_snapshot_info bad = good;                                                        \
        bad.field = value;                                                                         \
        CU_ASSERT_EQUAL(decode(&bad, 7), TM_ERR_CORRUPT);                                          \
    } while (0)
    REFUSED(walked_from, 0);
    REFUSED(walked_from, 131); /* past its end */
    REFUSED(walked_from, 89);  /* its members are younger */
    REFUSED(term, 0);
    REFUSED(chunks, 0);
    REFUSED(items, 2); /* fewer than chunks */
    REFUSED(bytes, 4096);
    REFUSED(note_len, 0);
    REFUSED(note_len, 152);       /* not what its count says */
    REFUSED(note[8], 10);         /* more members than there may be */
    REFUSED(note[16 + 9], 9);     /* a role that there is not */
    REFUSED(note[16 + 8], 62);    /* two of one node */
    REFUSED(note[16 + 8 + 2], 1); /* a role beyond */
#undef REFUSED
}

static void cut_bodies_are_refused(void)
{
    uint8_t buf[TM_TRANSFER_HEAD_MAX + sizeof CHUNK];
    struct tm_snapshot_info info = info_of(), out;
    struct tm_bytes body = body_of(&info, buf), chunk;
    for (size_t cut = 0; cut < body.len - sizeof CHUNK; cut++)
        CU_ASSERT_EQUAL(tm_transfer_decode(tm_bytes_of(body.data, cut), 7, &out, &chunk),
                        TM_ERR_CORRUPT);
}

/* Whatever arrives, what is taken makes sense and lies inside. */
static void changed_bytes_are_refused_or_make_sense(void)
{
    uint8_t buf[TM_TRANSFER_HEAD_MAX + sizeof CHUNK];
    struct tm_snapshot_info info = info_of(), out;
    struct tm_members m;
    struct tm_rng rng;
    struct tm_bytes chunk;
    tm_rng_seed(&rng, tm_test_seed());
    for (unsigned i = 0; i < 100000; i++) {
        struct tm_bytes body = body_of(&info, buf);
        for (unsigned n = 1 + (unsigned)tm_rng_below(&rng, 4); n > 0; n--)
            buf[tm_rng_below(&rng, body.len)] = (uint8_t)tm_rng_next(&rng);
        if (tm_transfer_decode(body, 7, &out, &chunk) != TM_OK)
            continue;
        CU_ASSERT(chunk.data >= body.data && chunk.data + chunk.len == body.data + body.len);
        CU_ASSERT(out.note_len <= TM_SNAPSHOT_NOTE_MAX && out.partition == 7);
        CU_ASSERT(tm_transfer_members(&out, &m) == TM_OK && tm_members_valid(&m));
    }
}

static const struct tm_test tests[] = {
    TM_TEST(a_transfer_survives_the_wire_with_all_its_members),
    TM_TEST(the_bytes_are_frozen),
    TM_TEST(what_cannot_be_is_refused),
    TM_TEST(cut_bodies_are_refused),
    TM_TEST(changed_bytes_are_refused_or_make_sense),
};

TM_TEST_MAIN("actors/transfer", tests)
