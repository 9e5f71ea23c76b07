/* Incarnations of a cluster, and the file that says of a data directory that it was put back. */
#include "actors/incarnation.h"
#include "runtime/rng.h"
#include "tests/sim/sim_disk.h"
#include "tests/test.h"

static const uint8_t uuid[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
static const uint8_t other[16] = {1, 2, 3, 4, 6, 6, 7, 8, 9};

static void all_of_a_cluster_are_told_from_those_of_others(void)
{
    struct tm_rng rng;
    uint64_t from = tm_incarnation_first(uuid);
    tm_rng_seed(&rng, 7);
    CU_ASSERT_TRUE(tm_incarnation_is_of(from, uuid));
    CU_ASSERT_FALSE(tm_incarnation_is_of(from, other));
    CU_ASSERT_FALSE(tm_incarnation_is_of(0, uuid));
    for (unsigned i = 0; i < 1000; i++) {
        uint64_t to;
        if (!tm_incarnation_draw(tm_rng_next(&rng), uuid, from, &to))
            continue;
        CU_ASSERT_TRUE(to != from && to != tm_incarnation_first(uuid) && to != 0);
        CU_ASSERT_TRUE(tm_incarnation_is_of(to, uuid));
        CU_ASSERT_FALSE(tm_incarnation_is_of(to, other));
        from = to;
    }
    CU_ASSERT_TRUE(from != tm_incarnation_first(uuid));
}

static void a_draw_of_what_was_there_before_is_none(void)
{
    uint64_t to, first = tm_incarnation_first(uuid);
    CU_ASSERT_FALSE(tm_incarnation_draw(first, uuid, 0, &to));
    CU_ASSERT_TRUE(tm_incarnation_draw(0, uuid, 0, &to));
    CU_ASSERT_FALSE(tm_incarnation_draw(0, uuid, to, &to));
    static const uint8_t zeros[16] = {[8] = 1};
    CU_ASSERT_FALSE(tm_incarnation_draw(0, zeros, 9, &to));
}

static void what_is_saved_is_loaded(void)
{
    struct tm_sim_disk *sd = tm_sim_disk_new(1);
    struct tm_disk *disk = tm_sim_disk_table(sd);
    struct tm_restored r = {1, 2};
    CU_ASSERT_EQUAL(tm_restored_load(disk, &r), TM_OK);
    CU_ASSERT_TRUE(r.from == 0 && r.to == 0); /* nothing was put back */
    for (uint64_t i = 1; i < 4; i++) {
        const struct tm_restored saved = {i - 1, i};
        CU_ASSERT_EQUAL(tm_restored_save(disk, &saved), TM_OK);
        tm_sim_disk_crash(sd, 0);
        CU_ASSERT_EQUAL(tm_restored_load(disk, &r), TM_OK);
        CU_ASSERT_TRUE(r.from == i - 1 && r.to == i);
    }
    tm_sim_disk_free(sd);
}

static void one_damaged_copy_is_no_loss_and_two_are_said(void)
{
    struct tm_sim_disk *sd = tm_sim_disk_new(2);
    struct tm_disk *disk = tm_sim_disk_table(sd);
    const struct tm_restored saved = {5, 6};
    struct tm_restored r;
    uint64_t size;
    CU_ASSERT_EQUAL(tm_restored_save(disk, &saved), TM_OK);
    CU_ASSERT_PTR_NOT_NULL_FATAL(tm_sim_disk_data(sd, TM_RESTORED_FILE, &size));
    for (uint64_t at = 0; at < size; at++) {
        CU_ASSERT_TRUE(tm_sim_disk_flip(sd, TM_RESTORED_FILE, at, at % 8));
        CU_ASSERT_EQUAL(tm_restored_load(disk, &r), TM_OK);
        CU_ASSERT_TRUE(r.from == 5 && r.to == 6);
        CU_ASSERT_TRUE(tm_sim_disk_flip(sd, TM_RESTORED_FILE, at, at % 8));
    }
    tm_sim_disk_flip(sd, TM_RESTORED_FILE, 9, 0);
    tm_sim_disk_flip(sd, TM_RESTORED_FILE, size / 2 + 20, 3);
    CU_ASSERT_EQUAL(tm_restored_load(disk, &r), TM_ERR_CORRUPT);
    CU_ASSERT_TRUE(r.from == 0 && r.to == 0);
    tm_sim_disk_free(sd);
}

static const struct tm_test tests[] = {
    TM_TEST(all_of_a_cluster_are_told_from_those_of_others),
    TM_TEST(a_draw_of_what_was_there_before_is_none),
    TM_TEST(what_is_saved_is_loaded),
    TM_TEST(one_damaged_copy_is_no_loss_and_two_are_said),
};

TM_TEST_MAIN("actors/incarnation", tests)
