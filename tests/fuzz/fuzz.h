/* fuzz.h: what all fuzz targets share.
 *
 * A target is one file fuzz_<name>.c with one FUZZ_TARGET: it takes any bytes, feeds them to
 * the product, and ends.  What the product must do with them stands in the target as FUZZ_CHECK,
 * which aborts; so do the product's own assertions and the sanitizers.  Linked with libFuzzer it
 * searches (tools/fuzz); linked with replay.c it runs the inputs of tests/fuzz/corpus/<name>, as a
 * unit test of every build.
 *
 * Bytes either are what comes from outside, or a small program (struct fuzz_input): then each step
 * takes what it needs from the front, and a step that finds nothing left sees zeros. */
#ifndef TM_TESTS_FUZZ_FUZZ_H
#define TM_TESTS_FUZZ_FUZZ_H

#include "runtime/ctx.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Begins the one function of a target. */
#define FUZZ_TARGET(data, size)                                                                    \
    int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);                                  \
    int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)

#define FUZZ_CHECK(cond)                                                                           \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "%s:%d: this must hold: %s\n", __FILE__, __LINE__, #cond);             \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* --- the input as a program --- */

struct fuzz_input {
    const uint8_t *data;
    size_t left;
};

static inline struct fuzz_input fuzz_input_of(const uint8_t *data, size_t size)
{
    return (struct fuzz_input){data, size};
}

/* The next n bytes, or fewer at the end. */
static inline struct tm_bytes fuzz_take(struct fuzz_input *in, size_t n)
{
    struct tm_bytes bytes = tm_bytes_of(in->data, n < in->left ? n : in->left);
    if (bytes.len > 0)
        in->data += bytes.len;
    in->left -= bytes.len;
    return bytes;
}

static inline uint8_t fuzz_byte(struct fuzz_input *in)
{
    struct tm_bytes one = fuzz_take(in, 1);
    return one.len == 1 ? one.data[0] : 0;
}

static inline uint32_t fuzz_u16(struct fuzz_input *in)
{
    uint32_t low = fuzz_byte(in);
    return low | (uint32_t)fuzz_byte(in) << 8;
}

static inline uint64_t fuzz_u64(struct fuzz_input *in)
{
    uint8_t bytes[8] = {0};
    struct tm_bytes got = fuzz_take(in, sizeof bytes);
    if (got.len > 0)
        memcpy(bytes, got.data, got.len);
    return tm_load64(bytes);
}

/* --- a world without surprises: time stands unless the target moves it --- */

struct fuzz_world {
    struct tm_ctx ctx;
    uint64_t now_ns;
    uint64_t rng;
};

static inline uint64_t fuzz_now(void *host)
{
    return ((struct fuzz_world *)host)->now_ns;
}

static inline uint64_t fuzz_wall(void *host)
{
    return 1700000000000ull + ((struct fuzz_world *)host)->now_ns / TM_MS(1);
}

static inline uint64_t fuzz_random(void *host)
{
    struct fuzz_world *w = host;
    w->rng = w->rng * 6364136223846793005ull + 1442695040888963407ull;
    return w->rng ^ w->rng >> 29;
}

TM_PRINTF(4, 5)
static inline void fuzz_log(void *host, enum tm_log_level level, const char *event, const char *fmt,
                            ...)
{
    (void)host;
    if (getenv("TM_VERBOSE") == NULL)
        return;
    va_list args;
    va_start(args, fmt);
    fprintf(stderr, "[%d] %s ", (int)level, event);
    vfprintf(stderr, fmt, args);
    fprintf(stderr, "\n");
    va_end(args);
}

static inline void fuzz_world_init(struct fuzz_world *w)
{
    *w = (struct fuzz_world){.now_ns = TM_SECONDS(1), .rng = 1};
    w->ctx = (struct tm_ctx){.host = w,
                             .now_ns = fuzz_now,
                             .wall_ms = fuzz_wall,
                             .random = fuzz_random,
                             .log = fuzz_log};
}

/* A copy of bytes at an 8-aligned place of its own, so that a byte read past the end is seen; free
 * it.  NULL for none. */
static inline uint8_t *fuzz_copy(struct tm_bytes bytes)
{
    if (bytes.len == 0)
        return NULL;
    uint8_t *copy = malloc(bytes.len);
    FUZZ_CHECK(copy != NULL);
    memcpy(copy, bytes.data, bytes.len);
    return copy;
}

#endif
