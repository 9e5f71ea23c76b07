/* workload.h: what a load run asks for: a mix of operations with weights, on keys drawn uniformly,
 * by Zipf's law or one after another, with values of one size.
 *
 * Commands are written in RESP.  A key is PREFIX:<c><12 digits>, <c> being a letter for the kind of
 * value, so that a mix never meets a key of the wrong type.  Values are slices of random printable
 * bytes.  The same seed gives the same commands.  One thread. */
#ifndef TM_BENCH_WORKLOAD_H
#define TM_BENCH_WORKLOAD_H

#include "bench/zipf.h"

/* X(constant, name, letter of the key, words).  In words K stands for a key, V for a value, D for a
 * random number of 12 digits. */
#define TM_LOAD_OP_LIST(X)                                                                         \
    X(PING, "ping", '-', "PING")                                                                   \
    X(SET, "set", 's', "SET K V")                                                                  \
    X(GET, "get", 's', "GET K")                                                                    \
    X(DEL, "del", 's', "DEL K")                                                                    \
    X(EXISTS, "exists", 's', "EXISTS K")                                                           \
    X(MSET, "mset", 's', "MSET K V K V K V K V K V K V K V K V K V K V")                           \
    X(INCR, "incr", 'c', "INCR K")                                                                 \
    X(HSET, "hset", 'h', "HSET K field V")                                                         \
    X(HGET, "hget", 'h', "HGET K field")                                                           \
    X(SADD, "sadd", 'e', "SADD K D")

enum tm_load_op {
#define X(constant, ...) TM_LOAD_OP_##constant,
    TM_LOAD_OP_LIST(X)
#undef X
        TM_LOAD_OP_COUNT
};

#define TM_LOAD_KEYS_MAX   1000000000000ULL /* 12 digits */
#define TM_LOAD_VALUE_MAX  TM_MIB(512)
#define TM_LOAD_PREFIX_MAX 64
#define TM_LOAD_KEY_MAX    (TM_LOAD_PREFIX_MAX + 14)

struct tm_load_mix {
    uint32_t weight[TM_LOAD_OP_COUNT]; /* 0: not in the mix */
    uint32_t total;
};

/* Reads "set", "set,get" or "set:9,get:1" (weights 1..1000000).  On failure mix is undefined, and
 * why gets one line. */
enum tm_err tm_load_mix_parse(struct tm_load_mix *mix, const char *text, char *why, size_t why_len);

enum tm_key_order { TM_KEYS_UNIFORM, TM_KEYS_ZIPF, TM_KEYS_SEQUENTIAL };

struct tm_workload_spec {
    struct tm_load_mix mix;
    uint64_t value_bytes; /* 1..TM_LOAD_VALUE_MAX */
    uint64_t keys;        /* 1..TM_LOAD_KEYS_MAX */
    enum tm_key_order order;
    double zipf;                         /* exponent, above 0 and not above 10 */
    char prefix[TM_LOAD_PREFIX_MAX + 1]; /* no blanks */
    uint64_t seed;
};

struct tm_workload; /* opaque */

/* NULL if memory is refused.  The caller frees it with tm_workload_free. */
struct tm_workload *tm_workload_new(const struct tm_workload_spec *spec);
void tm_workload_free(struct tm_workload *w);

/* Bytes of the longest command of the mix. */
size_t tm_workload_command_max(const struct tm_workload *w);

/* Draws an operation, and the number of a key. */
enum tm_load_op tm_workload_draw_op(struct tm_workload *w);
uint64_t tm_workload_draw_key(struct tm_workload *w);

/* Writes the text of that key for op; returns its length, at most TM_LOAD_KEY_MAX. */
size_t tm_workload_key_text(const struct tm_workload *w, enum tm_load_op op, uint64_t key,
                            char *out);

/* Writes the command; its first key is `key`, further ones are drawn.  out has room for
 * tm_workload_command_max bytes.  Returns the length. */
size_t tm_workload_encode(struct tm_workload *w, enum tm_load_op op, uint64_t key, uint8_t *out);

/* Writes the words of text, which are parted by single blanks, as one RESP command; returns its
 * length, or 0 if it does not fit or has no word. */
size_t tm_load_encode_words(const char *text, uint8_t *out, size_t cap);

/* The word that names it in a mix.  Static storage. */
const char *tm_load_op_name(enum tm_load_op op);

#endif
