/* The register is moved on by four bytes at a time: each of them has its own table, of what it does
 * to the register until the fourth is in, and what they do adds up (without carry).  For the same
 * reason a table follows from what the eight bits of a byte do. */
#include "runtime/crc16.h"

#define BIT(i, n, of) ((i) >> (n)&1 ? (of) : 0)
#define BITS(i, a, b, c, d, e, f, g, h)                                                            \
    BIT(i, 0, a) ^ BIT(i, 1, b) ^ BIT(i, 2, c) ^ BIT(i, 3, d) ^ BIT(i, 4, e) ^ BIT(i, 5, f) ^      \
        BIT(i, 6, g) ^ BIT(i, 7, h)
#define FOUR(x, i)    x(i), x((i) + 1), x((i) + 2), x((i) + 3)
#define SIXTEEN(x, i) FOUR(x, i), FOUR(x, (i) + 4), FOUR(x, (i) + 8), FOUR(x, (i) + 12)
#define SIXTY_FOUR(x, i)                                                                           \
    SIXTEEN(x, i), SIXTEEN(x, (i) + 16), SIXTEEN(x, (i) + 32), SIXTEEN(x, (i) + 48)
#define ALL(x) SIXTY_FOUR(x, 0), SIXTY_FOUR(x, 64), SIXTY_FOUR(x, 128), SIXTY_FOUR(x, 192)

/* The register after so many bytes, of which the first alone was not 0. */
#define AFTER_1(i) BITS(i, 0x1021, 0x2042, 0x4084, 0x8108, 0x1231, 0x2462, 0x48c4, 0x9188)
#define AFTER_2(i) BITS(i, 0x3331, 0x6662, 0xccc4, 0x89a9, 0x0373, 0x06e6, 0x0dcc, 0x1b98)
#define AFTER_3(i) BITS(i, 0x3730, 0x6e60, 0xdcc0, 0xa9a1, 0x4363, 0x86c6, 0x1dad, 0x3b5a)
#define AFTER_4(i) BITS(i, 0x76b4, 0xed68, 0xcaf1, 0x85c3, 0x1ba7, 0x374e, 0x6e9c, 0xdd38)

static const uint16_t table[4][256] = {
    {ALL(AFTER_1)}, {ALL(AFTER_2)}, {ALL(AFTER_3)}, {ALL(AFTER_4)}};

uint16_t tm_crc16(const void *data, size_t len)
{
    const uint8_t *p = data;
    unsigned crc = 0;
    for (; len >= 4; len -= 4, p += 4)
        crc = (unsigned)(table[3][crc >> 8 ^ p[0]] ^ table[2][(crc & 0xff) ^ p[1]] ^
                         table[1][p[2]] ^ table[0][p[3]]);
    for (; len > 0; len--, p++)
        crc = (crc << 8 & 0xff00) ^ table[0][crc >> 8 ^ *p];
    return (uint16_t)crc;
}

uint16_t tm_slot_of_key(struct tm_bytes key)
{
    const uint8_t *open = key.len == 0 ? NULL : memchr(key.data, '{', key.len);
    if (open != NULL) {
        const uint8_t *tag = open + 1;
        const uint8_t *close = memchr(tag, '}', (size_t)(key.data + key.len - tag));
        if (close != NULL && close != tag)
            key = tm_bytes_of(tag, (size_t)(close - tag));
    }
    return tm_crc16(key.data, key.len) % TM_SLOTS;
}
