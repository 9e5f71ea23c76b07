/* base.h: what every file of tidemill may use: error codes, assertions, byte spans, little-endian
 * access, alignment.
 *
 * Errors.  A function that may fail returns enum tm_err; 0 (TM_OK) is success.  Every code has a
 * name and a text that says what to do.  Nothing here allocates, locks or blocks; every function
 * may be called from any thread.
 *
 * Assertions.  TM_ASSERT states what must hold; it stays on in release builds and aborts.  What
 * may happen (input from outside, a full disk, a lost peer) is never asserted: it is returned. */
#ifndef TM_RUNTIME_BASE_H
#define TM_RUNTIME_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* X(name, text).  Append only: the numbers go over the wire between nodes. */
#define TM_ERR_LIST(X)                                                                             \
    X(OK, "done")                                                                                  \
    X(FULL, "a bounded queue is full: take in less, or try again after it drained")                \
    X(AGAIN, "not possible now: try again in a later turn")                                        \
    X(NOMEM, "out of memory: raise --memory-limit or use a larger machine")                        \
    X(INVALID, "an argument is out of its range")                                                  \
    X(CORRUPT, "bytes do not match their checksum: restore them from a peer")                      \
    X(TORN, "the last write was cut by a crash: what it held was never acknowledged")              \
    X(VERSION, "written by a newer tidemill: use that version")                                    \
    X(IDENTITY, "belongs to another node or another cluster: point --data-dir to the right one")   \
    X(IO, "the device failed: see the kernel log, then replace it")                                \
    X(NOSPACE, "no space left: free some, the node resumes by itself")                             \
    X(EXISTS, "is there already")                                                                  \
    X(NOTFOUND, "is not there")                                                                    \
    X(LOCKED, "another process holds it: stop that one first")                                     \
    X(UNSUPPORTED, "this kernel or this build cannot do it")                                       \
    X(TOOBIG, "is larger than its limit")                                                          \
    X(CLOSED, "the other side is gone")                                                            \
    X(TIMEOUT, "no answer in time: the outcome is unknown")                                        \
    X(NOTLEADER, "another node leads this partition")                                              \
    X(PERMISSION, "not permitted: check the limits and rights of this user")                       \
    X(NOREPLICAS, "too few copies are in sync: bring the other nodes back")                        \
    X(NOFOLDER, "is a file where a folder is needed, or a folder where a file is needed")          \
    X(BACKLOG, "a linked cluster lags by more than its backlog may be: bring it back")

enum tm_err {
#define X(name, text) TM_ERR_##name,
    TM_ERR_LIST(X)
#undef X
        TM_ERR_COUNT
};
#define TM_OK TM_ERR_OK

/* The code's short name ("FULL"), or "UNKNOWN" for a number that is no code.  Static storage. */
const char *tm_err_name(enum tm_err err);

/* The code's text, which says what to do about it.  Static storage. */
const char *tm_err_text(enum tm_err err);

/* The code that stands for a positive errno value; TM_ERR_IO where none is closer. */
enum tm_err tm_err_from_errno(int errnum);

/* Writes "file:line: function: assertion failed: text" to stderr with write(2), and aborts. */
_Noreturn void tm_assert_failed(const char *file, int line, const char *func, const char *text);

#define TM_ASSERT(cond)                                                                            \
    (__builtin_expect(!!(cond), 1) ? (void)0                                                       \
                                   : tm_assert_failed(__FILE__, __LINE__, __func__, #cond))
#define TM_STATIC_ASSERT(cond, why) _Static_assert(cond, why)

#define TM_LIKELY(x)                       __builtin_expect(!!(x), 1)
#define TM_UNLIKELY(x)                     __builtin_expect(!!(x), 0)
#define TM_ARRAY_LEN(a)                    (sizeof(a) / sizeof((a)[0]))
#define TM_CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define TM_PRINTF(fmt, args)               __attribute__((format(printf, fmt, args)))

/* Two lines of 64 bytes: what the adjacent-line prefetcher of x86 treats as one. */
#define TM_CACHE_PAIR 128

#define TM_KIB(n)     ((uint64_t)(n) << 10)
#define TM_MIB(n)     ((uint64_t)(n) << 20)
#define TM_US(n)      ((uint64_t)(n)*1000)
#define TM_MS(n)      ((uint64_t)(n)*1000 * 1000)
#define TM_SECONDS(n) ((uint64_t)(n)*1000 * 1000 * 1000)

/* A borrowed run of bytes.  Who lends it says how long it lives; it is never freed through this. */
struct tm_bytes {
    const uint8_t *data;
    size_t len;
};

static inline struct tm_bytes tm_bytes_of(const void *data, size_t len)
{
    return (struct tm_bytes){(const uint8_t *)data, len};
}

static inline struct tm_bytes tm_bytes_str(const char *s)
{
    return tm_bytes_of(s, strlen(s));
}

static inline bool tm_bytes_equal(struct tm_bytes a, struct tm_bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* Unaligned little-endian access: all formats of tidemill, at rest and in flight, use it. */
TM_STATIC_ASSERT(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "formats are read without swapping");

static inline uint16_t tm_load16(const void *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline uint32_t tm_load32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline uint64_t tm_load64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline void tm_store16(void *p, uint16_t v)
{
    memcpy(p, &v, sizeof v);
}
static inline void tm_store32(void *p, uint32_t v)
{
    memcpy(p, &v, sizeof v);
}
static inline void tm_store64(void *p, uint64_t v)
{
    memcpy(p, &v, sizeof v);
}

static inline uint64_t tm_min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}
static inline uint64_t tm_max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}
static inline bool tm_is_pow2(uint64_t v)
{
    return v != 0 && (v & (v - 1)) == 0;
}
/* `align` is a power of two. */
static inline uint64_t tm_align_up(uint64_t v, uint64_t align)
{
    return (v + align - 1) & ~(align - 1);
}

#endif
