/* commands_internal.h: what the keyed commands (actors/commands_*.c) share.
 *
 * A helper that may refuse writes the error reply itself and returns false; the command then just
 * returns.  Words of argv live for the call; what is read of the store lives until the command's
 * first write. */
#ifndef TM_ACTORS_COMMANDS_INTERNAL_H
#define TM_ACTORS_COMMANDS_INTERNAL_H

#include "actors/command.h"
#include "actors/command_table.h"
#include "net/resp.h"
#include "storage/entity.h"
#include "storage/store.h"

static const struct tm_bytes TM_NO_BYTES = {NULL, 0};

/* ---- Words ---- */

/* An integer: "value is not an integer or out of range". */
bool tm_word_int(struct tm_exec *x, struct tm_bytes word, int64_t *out);

/* One of low .. high, else the given error. */
bool tm_word_range(struct tm_exec *x, struct tm_bytes word, int64_t low, int64_t high,
                   const char *error, int64_t *out);

/* A count of random elements, negative: with repetition.  INT64_MIN is refused. */
bool tm_word_count(struct tm_exec *x, struct tm_bytes word, int64_t *out);

/* A number as INCRBYFLOAT takes it; false without a reply. */
bool tm_text_float(struct tm_bytes text, long double *out);

/* As redis writes it: up to 17 digits behind the point, no trailing zeros.  Returns the text,
 * which lies in buf; at least TM_FLOAT_TEXT bytes. */
#define TM_FLOAT_TEXT 5200
struct tm_bytes tm_float_text(long double value, char *buf);

/* A time of expiry in ms since 1970 from a word in units of unit_ms, counted from base_ms (0:
 * absolute).  With positive, zero and below are refused.  Errors name the command (lower case). */
bool tm_word_expiry(struct tm_exec *x, struct tm_bytes word, int64_t unit_ms, uint64_t base_ms,
                    bool positive, const char *command, int64_t *out);

void tm_reply_syntax(struct tm_exec *x);
void tm_reply_arity(struct tm_exec *x, const char *command);
void tm_reply_ok(struct tm_exec *x);

/* ---- Entities ---- */

/* The entity or NULL, counted as a hit or a miss. */
const struct tm_entity *tm_find(struct tm_exec *x, struct tm_bytes key);

/* The entity of that type, or NULL in *e; another type: WRONGTYPE. */
bool tm_find_typed(struct tm_exec *x, struct tm_bytes key, enum tm_entity_type type,
                   const struct tm_entity **e);

/* As find_typed for a string, with its value: v->text is empty if there is none. */
bool tm_find_string(struct tm_exec *x, struct tm_bytes key, const struct tm_entity **e,
                    struct tm_value *v);

/* Whether the entity may become so large (as tm_entity_bytes counts), else an error. */
bool tm_fits(struct tm_exec *x, uint64_t bytes);

/* Whether the fields (names and, every second word, values, if step is 2) may be added. */
bool tm_fits_fields(struct tm_exec *x, struct tm_bytes key, const struct tm_entity *e,
                    const struct tm_bytes *words, unsigned count, unsigned step);

/* Replaces whatever the key holds by this string; its expiry goes, or stays with keep_expiry. */
void tm_put_string(struct tm_exec *x, struct tm_bytes key, struct tm_bytes value, bool keep_expiry);

/* Writes the value, or null for false. */
void tm_reply_value(struct tm_exec *x, bool there, const struct tm_value *v);

/* The sum, unless it overflows: "increment or decrement would overflow". */
bool tm_add_int(struct tm_exec *x, int64_t a, int64_t b, int64_t *sum);

/* ---- Chance ---- */

/* 64 further bits of the evaluation's randomness; one of 0 .. n - 1, n > 0. */
uint64_t tm_exec_random(struct tm_exec *x);
uint64_t tm_exec_below(struct tm_exec *x, uint64_t n);

/* Chooses `want` of `left` things that come one by one, each equally likely. */
struct tm_draw {
    uint64_t want;
    uint64_t left;
};
bool tm_draw_next(struct tm_exec *x, struct tm_draw *d);

/* HRANDFIELD and SRANDMEMBER with a count: writes the elements as redis does. */
void tm_reply_random_fields(struct tm_exec *x, const struct tm_entity *e, int64_t count,
                            bool with_values);

/* ---- SCAN and its kin ---- */

struct tm_scan_options {
    struct tm_bytes match; /* data NULL: everything */
    struct tm_bytes type;  /* SCAN only; data NULL: every type */
    unsigned count;
};

/* The options from argv[first] on. */
bool tm_scan_options(struct tm_exec *x, const struct tm_bytes *argv, unsigned first, unsigned argc,
                     bool keys, struct tm_scan_options *o);

/* HSCAN and SSCAN. */
void tm_scan_fields(struct tm_exec *x, const struct tm_bytes *argv, unsigned argc,
                    enum tm_entity_type type);

#endif
