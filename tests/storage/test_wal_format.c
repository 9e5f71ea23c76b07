/* The bytes of a block. */
#include "storage/wal_format.h"

#define XXH_STATIC_LINKING_ONLY /* for where a state has its seed */
#include <xxhash.h>

#include "tests/storage/store_env.h"

#define IMAGE_MAX (256u * 1024)

static _Alignas(4096) uint8_t image[IMAGE_MAX];
static _Alignas(8) uint8_t stream[IMAGE_MAX];
static _Alignas(8) uint8_t records[IMAGE_MAX];
static struct tm_wal_span own[16], prev[16];

/* Encodes a block of `count` records of random sizes; the bytes of records. */
static size_t encode(struct store_env *env, struct tm_wal_block *h, unsigned count)
{
    size_t used = 0;
    for (unsigned i = 0; i < count; i++) {
        struct tm_record *r =
            env_record(records + used, 1, 1, i + 1, 0, (uint32_t)env_below(env, 700), 5);
        used += r->length;
    }
    for (unsigned i = 0; i < TM_ARRAY_LEN(own); i++) {
        own[i] = (struct tm_wal_span){.partition = i, .first = env_random(env), .last = 5};
        prev[i] = (struct tm_wal_span){.partition = i, .tail_hash = env_random(env)};
    }
    *h = (struct tm_wal_block){.segment = 12,
                               .offset = 8192,
                               .sequence = 0x1234567890ull + count,
                               .prev_sequence = 0x123456788full + count,
                               .life_first = 0x1234567000ull,
                               .life_prev = 0x1234566fffull - 60,
                               .durable = 0x123456788full + env_below(env, count + 1),
                               .first_segment = 1 + env_below(env, 12),
                               .own_spans = (uint32_t)env_below(env, 17),
                               .prev_spans = (uint32_t)env_below(env, 17),
                               .records = count};
    memset(image, 0xaa, sizeof image);
    tm_wal_block_encode(image, h, own, prev, tm_bytes_of(records, used));
    return used;
}

static enum tm_err decode(const uint8_t *at, uint64_t segment, uint64_t offset)
{
    struct tm_wal_block h;
    enum tm_err err = tm_wal_block_header(at, segment, offset, IMAGE_MAX, &h);
    return err == TM_OK ? tm_wal_block_decode(at, &h, stream) : err;
}

static void the_header_lies_where_it_always_will(void)
{
    struct store_env env;
    struct tm_wal_block h;
    env_init(&env, 1);
    encode(&env, &h, 3);
    CU_ASSERT(memcmp(image, "TMWALBLK", 8) == 0);
    CU_ASSERT(tm_load32(image + 8) == 1);
    CU_ASSERT(tm_load64(image + 56) == 12 && tm_load64(image + 64) == 8192);
    CU_ASSERT(tm_load64(image + 72) == 0x1234567893ull);
    CU_ASSERT(tm_load32(image + 504) == 0x34567893u);
    CU_ASSERT(tm_load32(image + 512 + 504) == 0x34567893u);
    CU_ASSERT(h.disk_bytes % 4096 == 0 && h.disk_bytes == tm_wal_disk_bytes_of(h.length));
    env_done(&env);
}

static void a_block_comes_back_as_it_went(void)
{
    struct store_env env;
    struct tm_wal_block h;
    env_init(&env, tm_test_seed());
    for (unsigned n = 0; n < 200; n++) {
        size_t used = encode(&env, &h, n);
        CU_ASSERT_FATAL(decode(image, 12, 8192) == TM_OK);
        CU_ASSERT(memcmp(tm_wal_block_own(stream), own, h.own_spans * sizeof own[0]) == 0);
        CU_ASSERT(memcmp(tm_wal_block_prev(stream), prev, h.prev_spans * sizeof prev[0]) == 0);
        struct tm_bytes all = tm_wal_block_records(stream), one;
        CU_ASSERT_FATAL(all.len == used && memcmp(all.data, records, used) == 0);
        for (unsigned i = 0; i < n; i++)
            CU_ASSERT_FATAL(tm_wal_record_next(&all, &one) &&
                            tm_record_check(one.data, one.len) == TM_OK);
        CU_ASSERT(!tm_wal_record_next(&all, &one) && all.len == 0);
    }
    env_done(&env);
}

/* What a checksum of that seed could have left on the stack, if the rest was used since. */
static __attribute__((noinline)) void leave_on_the_stack(uint64_t seed)
{
    _Alignas(64) volatile uint64_t left[8192];
    TM_STATIC_ASSERT(_Alignof(XXH3_state_t) == 64, "so that each eighth word may be its seed");
    for (unsigned i = 0; i < TM_ARRAY_LEN(left); i++) {
        left[i] = 0xa5a5a5a5a5a5a5a5ull;
        if (i % 8 == offsetof(XXH3_state_t, seed) % 64 / 8)
            left[i] = seed;
        else if (i % 8 == offsetof(XXH3_state_t, extSecret) % 64 / 8)
            left[i] = 0;
    }
}

static void a_checksum_does_not_depend_on_what_is_on_the_stack(void)
{
    struct tm_wal_block h = {.segment = 12, .offset = 8192, .sequence = 7, .life_first = 7};
    memset(records, 0x5a, 4096);
    leave_on_the_stack(12 * 0x9e3779b97f4a7c15ull ^ 8192);
    tm_wal_block_encode(image, &h, NULL, NULL, tm_bytes_of(records, 4096));
    CU_ASSERT(decode(image, 12, 8192) == TM_OK);
}

static void any_flipped_bit_is_found_and_blamed_on_its_sector(void)
{
    struct store_env env;
    struct tm_wal_block h;
    env_init(&env, tm_test_seed());
    encode(&env, &h, 20);
    for (unsigned n = 0; n < 3000; n++) {
        uint64_t at = n < 600 ? n : env_below(&env, h.disk_bytes);
        uint8_t bit = (uint8_t)(1u << env_below(&env, 8));
        uint64_t sector = at / 512 * 512;
        uint32_t low;
        image[at] ^= bit;
        CU_ASSERT_FATAL(decode(image, 12, 8192) != TM_OK);
        CU_ASSERT_FATAL(tm_wal_sector_judge(image + sector, 8192 + sector, &low) ==
                        TM_WAL_SECTOR_BAD);
        image[at] ^= bit;
    }
    CU_ASSERT(decode(image, 12, 8192) == TM_OK);
    env_done(&env);
}

static void a_block_found_elsewhere_is_not_valid(void)
{
    struct store_env env;
    struct tm_wal_block h;
    uint32_t low;
    env_init(&env, 1);
    encode(&env, &h, 5);
    CU_ASSERT(decode(image, 13, 8192) == TM_ERR_CORRUPT);
    CU_ASSERT(decode(image, 12, 4096) == TM_ERR_CORRUPT);
    CU_ASSERT(tm_wal_sector_judge(image, 4096, &low) == TM_WAL_SECTOR_BAD);
    struct tm_wal_block out;
    CU_ASSERT(tm_wal_block_header(image, 12, 8192, h.disk_bytes - 1, &out) == TM_ERR_CORRUPT);
    env_done(&env);
}

static bool is_taken(struct tm_wal_block h)
{
    struct tm_wal_block out;
    tm_wal_block_encode(image, &h, own, prev, tm_bytes_of(records, 0));
    return tm_wal_block_header(image, h.segment, h.offset, IMAGE_MAX, &out) == TM_OK;
}

/* All its checksums are good. */
static void a_block_that_says_what_cannot_be_is_none(void)
{
    struct store_env env;
    struct tm_wal_block h, x;
    env_init(&env, tm_test_seed());
    encode(&env, &h, 5);
    x = h;
    CU_ASSERT(is_taken(x));
    x.first_segment = 12; /* its own: all before it was given up */
    CU_ASSERT(is_taken(x));
    x.first_segment = 13;
    CU_ASSERT(!is_taken(x));
    x = h;
    x.durable = h.sequence - 1;
    CU_ASSERT(is_taken(x));
    x.durable = h.sequence;
    CU_ASSERT(!is_taken(x));
    x = h;
    x.prev_sequence = h.sequence - 2;
    CU_ASSERT(!is_taken(x));
    x.prev_sequence = h.sequence;
    CU_ASSERT(!is_taken(x));
    x = h;
    x.life_first = h.sequence; /* the first of its start follows the last that was accepted */
    CU_ASSERT(!is_taken(x));
    x.prev_sequence = h.life_prev;
    CU_ASSERT(is_taken(x));
    x = h;
    x.life_first = h.sequence + 1;
    CU_ASSERT(!is_taken(x));
    x = h;
    x.life_prev = h.life_first;
    CU_ASSERT(!is_taken(x));
    env_done(&env);
}

static void a_torn_block_shows_which_sectors_are_whose(void)
{
    static uint8_t older[IMAGE_MAX];
    struct store_env env;
    struct tm_wal_block h;
    uint32_t low;
    env_init(&env, tm_test_seed());
    encode(&env, &h, 20);
    memcpy(older, image, h.disk_bytes);
    uint32_t old_low = (uint32_t)h.sequence, old_bytes = h.disk_bytes;
    encode(&env, &h, 21);
    for (uint32_t at = 0; at < h.disk_bytes; at += 512) {
        bool kept = at < old_bytes && env_chance(&env, 50), zero = env_chance(&env, 20);
        if (kept)
            memcpy(image + at, older + at, 512);
        if (zero)
            memset(image + at, 0, 512);
        enum tm_wal_sector_state state = tm_wal_sector_judge(image + at, 8192 + at, &low);
        CU_ASSERT(state == (zero ? TM_WAL_SECTOR_EMPTY : TM_WAL_SECTOR_STAMPED));
        CU_ASSERT(zero || low == (kept ? old_low : (uint32_t)h.sequence));
    }
    CU_ASSERT(decode(image, 12, 8192) == TM_ERR_CORRUPT);
    env_done(&env);
}

static void a_newer_format_says_so(void)
{
    struct tm_wal_block h, out;
    struct store_env env;
    env_init(&env, 1);
    encode(&env, &h, 1);
    h.format = TM_WAL_FORMAT + 1;
    h.header_checksum = 0;
    h.header_checksum = XXH3_64bits_withSeed(&h, sizeof h, 12 * 0x9e3779b97f4a7c15ull ^ 8192);
    memcpy(image, &h, sizeof h);
    CU_ASSERT(tm_wal_block_header(image, 12, 8192, IMAGE_MAX, &out) == TM_ERR_VERSION);
    env_done(&env);
}

static void places_keep_their_parts_apart(void)
{
    struct store_env env;
    env_init(&env, tm_test_seed());
    for (unsigned i = 0; i < 1000; i++) {
        unsigned volume = (unsigned)env_below(&env, 256);
        uint64_t segment = 1 + env_below(&env, TM_WAL_SEGMENT_MASK);
        uint64_t offset = env_below(&env, TM_WAL_SEGMENT_MAX / 4096) * 4096;
        uint64_t record = env_below(&env, 1u << 20) * 8;
        tm_wal_place p = tm_wal_place_make(volume, segment, offset, record);
        CU_ASSERT_FATAL(p != 0 && tm_wal_place_volume(p) == volume);
        CU_ASSERT_FATAL(tm_wal_place_segment(p) == segment && tm_wal_place_offset(p) == offset);
        CU_ASSERT_FATAL(tm_wal_place_record(p) == record);
        CU_ASSERT_FATAL(TM_WAL_PLACE_BLOCK(p) ==
                        TM_WAL_PLACE_BLOCK(tm_wal_place_make(volume, segment, offset, 0)));
    }
    env_done(&env);
}

static void names_say_worker_and_segment(void)
{
    char name[TM_WAL_NAME_MAX];
    uint32_t worker;
    uint64_t segment;
    tm_wal_name_segment(name, "wal", 3, 7, 123456789);
    CU_ASSERT_STRING_EQUAL(name, "wal/g0003/w07-123456789.seg");
    CU_ASSERT(tm_wal_name_parse("w07-123456789.seg", &worker, &segment));
    CU_ASSERT(worker == 7 && segment == 123456789);
    CU_ASSERT(!tm_wal_name_parse("w07-123456789.segx", &worker, &segment));
    CU_ASSERT(!tm_wal_name_parse("w07.new", &worker, &segment));
    CU_ASSERT(!tm_wal_name_parse("w07.hard", &worker, &segment));
}

static const struct tm_test tests[] = {
    TM_TEST(the_header_lies_where_it_always_will),
    TM_TEST(a_block_comes_back_as_it_went),
    TM_TEST(a_checksum_does_not_depend_on_what_is_on_the_stack),
    TM_TEST(any_flipped_bit_is_found_and_blamed_on_its_sector),
    TM_TEST(a_block_found_elsewhere_is_not_valid),
    TM_TEST(a_block_that_says_what_cannot_be_is_none),
    TM_TEST(a_torn_block_shows_which_sectors_are_whose),
    TM_TEST(a_newer_format_says_so),
    TM_TEST(places_keep_their_parts_apart),
    TM_TEST(names_say_worker_and_segment),
};

TM_TEST_MAIN("storage/wal_format", tests)
