#include "runtime/base.h"
#include "test.h"

#include <errno.h>

static void every_error_has_a_name_and_a_text(void)
{
    for (int e = 0; e < TM_ERR_COUNT; e++) {
        CU_ASSERT_STRING_NOT_EQUAL(tm_err_name((enum tm_err)e), "UNKNOWN");
        CU_ASSERT(strlen(tm_err_text((enum tm_err)e)) > 3);
    }
    CU_ASSERT_STRING_EQUAL(tm_err_name((enum tm_err)TM_ERR_COUNT), "UNKNOWN");
}

static void errno_maps_to_the_closest_code(void)
{
    CU_ASSERT_EQUAL(tm_err_from_errno(0), TM_OK);
    CU_ASSERT_EQUAL(tm_err_from_errno(ENOSPC), TM_ERR_NOSPACE);
    CU_ASSERT_EQUAL(tm_err_from_errno(EIO), TM_ERR_IO);
    CU_ASSERT_EQUAL(tm_err_from_errno(ESPIPE), TM_ERR_IO);
}

static void alignment_rounds_up_to_powers_of_two(void)
{
    CU_ASSERT_EQUAL(tm_align_up(0, 8), 0);
    CU_ASSERT_EQUAL(tm_align_up(1, 8), 8);
    CU_ASSERT_EQUAL(tm_align_up(4096, 4096), 4096);
    CU_ASSERT(tm_is_pow2(64));
    CU_ASSERT_FALSE(tm_is_pow2(0));
    CU_ASSERT_FALSE(tm_is_pow2(96));
}

static const struct tm_test tests[] = {
    TM_TEST(every_error_has_a_name_and_a_text),
    TM_TEST(errno_maps_to_the_closest_code),
    TM_TEST(alignment_rounds_up_to_powers_of_two),
};
TM_TEST_MAIN("runtime/base", tests)
