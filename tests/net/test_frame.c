#include "net/frame.h"
#include "test.h"

/* A frame with two SACK words and `len` bytes of payload; returns its length. */
static size_t make(uint8_t *out, size_t len)
{
    struct {
        struct tm_frame_head head;
        uint64_t sack[2];
    } f = {.head = {.kind = TM_FRAME_DATA, .sack_words = 2, .cluster = 7, .src_boot = 1, .seq = 9},
           .sack = {5, 6}};
    uint8_t payload[256];
    for (size_t i = 0; i < len; i++)
        payload[i] = (uint8_t)(i * 3);
    tm_frame_seal(&f.head, tm_bytes_of(payload, len));
    memcpy(out, &f, sizeof f);
    memcpy(out + sizeof f, payload, len);
    return sizeof f + len;
}

static void a_sealed_frame_is_good(void)
{
    uint8_t frame[512];
    struct tm_frame_head head;
    size_t len = make(frame, 100);
    CU_ASSERT_EQUAL(tm_frame_check(frame, len, 7, &head), TM_OK);
    CU_ASSERT_EQUAL(head.seq, 9);
    CU_ASSERT_EQUAL(head.payload, 100);
    /* At an odd address as well: fabrics promise no alignment. */
    memmove(frame + 1, frame, len);
    CU_ASSERT_EQUAL(tm_frame_check(frame + 1, len, 7, &head), TM_OK);
}

static void the_bytes_on_the_wire_stay_as_they_are(void)
{
    uint8_t frame[512];
    make(frame, 3);
    CU_ASSERT_EQUAL(memcmp(frame, "TFM1\x01\x05\x00\x02", 8), 0);
    CU_ASSERT_EQUAL(tm_load64(frame + 8), 0x362df667618a93e2ull);
    CU_ASSERT_EQUAL(tm_load64(frame + 16), 7);
    CU_ASSERT_EQUAL(tm_load32(frame + 52), 3);
    CU_ASSERT_EQUAL(tm_load64(frame + 56), 9);
    CU_ASSERT_EQUAL(tm_load64(frame + 96), 6);
    CU_ASSERT_EQUAL(frame[106], 6);
}

static void no_flipped_bit_passes(void)
{
    uint8_t frame[512];
    struct tm_frame_head head;
    size_t len = make(frame, 100);
    for (size_t bit = 0; bit < 8 * len; bit++) {
        frame[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        CU_ASSERT_NOT_EQUAL(tm_frame_check(frame, len, 7, &head), TM_OK);
        frame[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    CU_ASSERT_EQUAL(tm_frame_check(frame, len, 7, &head), TM_OK);
}

static void no_other_length_passes(void)
{
    uint8_t frame[512] = {0};
    struct tm_frame_head head;
    size_t len = make(frame, 100);
    for (size_t n = 0; n < sizeof frame; n++)
        if (n != len)
            CU_ASSERT_EQUAL(tm_frame_check(frame, n, 7, &head), TM_ERR_INVALID);
}

static void what_is_wrong_is_said(void)
{
    uint8_t frame[512];
    struct tm_frame_head head;
    size_t len = make(frame, 100);
    CU_ASSERT_EQUAL(tm_frame_check(frame, len, 8, &head), TM_ERR_IDENTITY);
    frame[len - 1] ^= 1;
    CU_ASSERT_EQUAL(tm_frame_check(frame, len, 7, &head), TM_ERR_CORRUPT);
    frame[4] = TM_FRAME_VERSION + 1;
    CU_ASSERT_EQUAL(tm_frame_check(frame, len, 7, &head), TM_ERR_VERSION);
    frame[0] = 0;
    CU_ASSERT_EQUAL(tm_frame_check(frame, len, 7, &head), TM_ERR_INVALID);
}

static enum tm_err check_head(struct tm_frame_head head, size_t payload)
{
    static uint8_t zero[TM_FRAME_BLOB_MAX + 1], frame[TM_FRAME_HEAD + sizeof zero];
    struct tm_frame_head out;
    head.src_boot = head.src_boot ? head.src_boot : 1;
    tm_frame_seal(&head, tm_bytes_of(zero, payload));
    memcpy(frame, &head, sizeof head);
    memcpy(frame + sizeof head, zero, payload);
    return tm_frame_check(frame, sizeof head + payload, 0, &out);
}

static void fields_out_of_their_range_are_no_frame(void)
{
    CU_ASSERT_EQUAL(check_head((struct tm_frame_head){.kind = 0}, 0), TM_ERR_INVALID);
    CU_ASSERT_EQUAL(check_head((struct tm_frame_head){.kind = TM_FRAME_DATA + 1}, 0),
                    TM_ERR_INVALID);
    CU_ASSERT_EQUAL(check_head((struct tm_frame_head){.kind = TM_FRAME_HELLO}, 256), TM_OK);
    CU_ASSERT_EQUAL(check_head((struct tm_frame_head){.kind = TM_FRAME_HELLO}, 257),
                    TM_ERR_INVALID);
    CU_ASSERT_EQUAL(check_head((struct tm_frame_head){.kind = TM_FRAME_CONFIRM}, 1),
                    TM_ERR_INVALID);
    CU_ASSERT_EQUAL(check_head((struct tm_frame_head){.kind = TM_FRAME_DATA, .seq = 1}, 0),
                    TM_ERR_INVALID);
    CU_ASSERT_EQUAL(check_head((struct tm_frame_head){.kind = TM_FRAME_DATA, .seq = 0}, 1),
                    TM_ERR_INVALID);
}

static const struct tm_test tests[] = {
    TM_TEST(a_sealed_frame_is_good), TM_TEST(the_bytes_on_the_wire_stay_as_they_are),
    TM_TEST(no_flipped_bit_passes),  TM_TEST(no_other_length_passes),
    TM_TEST(what_is_wrong_is_said),  TM_TEST(fields_out_of_their_range_are_no_frame),
};
TM_TEST_MAIN("net/frame", tests)
