/* resp.h: the Redis serialization protocol, versions 2 and 3: requests in, replies out, replies in.
 *
 * Requests.  tm_resp_parse reads one command (multibulk or inline) from bytes that stay where they
 * were received; the words it returns point into them.  It may be called again with the same bytes
 * and more behind them: what was looked at is not looked at twice (except once to collect the
 * words).  Bytes that are no RESP are answered with redis's own text, and the connection closes.
 *
 * Replies.  struct tm_resp_writer is a growable, bounded buffer that writes RESP2 or RESP3 by its
 * `version`.  Going over the limit never fails half-way: everything from then on is dropped and
 * `overflow` says so; the owner puts an error in its place.
 *
 * Reading replies.  tm_resp_read takes one element apart, tm_resp_skip finds where a whole reply
 * ends; both work on partial input and copy nothing.
 *
 * Pure; a parser, writer or reader is used by one thread at a time. */
#ifndef TM_NET_RESP_H
#define TM_NET_RESP_H

#include "runtime/base.h"

enum tm_resp_status {
    TM_RESP_DONE,  /* one command or reply is there in full */
    TM_RESP_MORE,  /* right so far; more bytes are needed */
    TM_RESP_BROKEN /* no RESP: answer the error and close */
};

/* Longest inline command, and longest line of a count, in bytes: as redis. */
#define TM_RESP_INLINE_MAX 65536

/* ---- Requests ---- */

struct tm_resp_limits {
    uint32_t max_args;      /* words of one command, at least 16 */
    uint32_t max_arg_bytes; /* bytes of one word */
    bool unauthenticated;   /* redis's narrow limits before AUTH: 10 words of 16 KiB */
    uint8_t *unquoted;      /* room of TM_RESP_INLINE_MAX bytes for the words of inline commands */
};

/* Where the parsing of one command stands.  All zero = at the start of a command. */
struct tm_resp_parser {
    size_t pos;         /* bytes of the command looked at so far */
    size_t bulk_len;    /* of the word under way, when in_bulk */
    uint32_t args;      /* words announced */
    uint32_t args_left; /* of them not yet seen in full */
    uint8_t stage;      /* private */
    uint8_t error;      /* private: which error; 0 = none */
    uint8_t got;        /* private: the byte that was wrong */
    bool in_bulk;       /* private */
};

/* Looks for one command at the start of data[0..len).
 * TM_RESP_DONE: *used = its length, *argc words in argv (0 words: an empty line, skip it), and the
 *   parser is ready for the next one.  The words live as long as data; those of an inline
 *   command until the next call with the same limits->unquoted.
 * TM_RESP_MORE: call again with the same bytes (they may have moved) and more behind them.
 * TM_RESP_BROKEN: tm_resp_parse_error gives the text.
 * argv has room for limits->max_args words. */
enum tm_resp_status tm_resp_parse(struct tm_resp_parser *p, const struct tm_resp_limits *limits,
                                  const uint8_t *data, size_t len, struct tm_bytes *argv,
                                  unsigned *argc, size_t *used);

/* Word number `word` (0: the command's name) of the multibulk command at the start of data, without
 * checking more than that it is all there; false: not found so easily. */
bool tm_resp_peek(struct tm_bytes data, unsigned word, struct tm_bytes *out);

/* After TM_RESP_BROKEN: redis's text ("Protocol error: ...", without "ERR") into buf; returns its
 * length, at most cap - 1. */
size_t tm_resp_parse_error(const struct tm_resp_parser *p, char *buf, size_t cap);

/* Strict decimal as redis reads it: no blanks, no plus sign, no leading zeros, no overflow. */
bool tm_resp_to_i64(struct tm_bytes text, int64_t *value);

/* ---- Writing replies ---- */

struct tm_resp_writer {
    uint8_t *data;
    size_t len, cap;
    size_t limit;    /* len never exceeds it */
    uint8_t version; /* 2 or 3 */
    bool overflow;   /* something did not fit (or memory was refused); data is not whole */
};

/* Empty, no memory yet, RESP2; grows by doubling up to limit bytes. */
void tm_resp_writer_init(struct tm_resp_writer *w, size_t limit);

/* Frees the buffer; init again before further use. */
void tm_resp_writer_free(struct tm_resp_writer *w);

/* Empty again for a client that speaks `version`; keeps its memory.  Where a former reply made it
 * larger than keep bytes, that memory is given back. */
void tm_resp_writer_reset(struct tm_resp_writer *w, uint8_t version, size_t keep);

static inline struct tm_bytes tm_resp_writer_bytes(const struct tm_resp_writer *w)
{
    return tm_bytes_of(w->data, w->len);
}

/* Room for n more bytes at the end, or NULL (and overflow).  Write there, then add to w->len. */
uint8_t *tm_resp_reserve(struct tm_resp_writer *w, size_t n);

/* "+OK" and the like; text has no CR or LF. */
void tm_resp_simple(struct tm_resp_writer *w, const char *text);
/* text begins with the code ("ERR ...", "WRONGTYPE ..."), without '-'; CR and LF in it become
 * blanks.  errorf: text longer than 512 bytes is cut. */
void tm_resp_error(struct tm_resp_writer *w, const char *text);
void tm_resp_errorf(struct tm_resp_writer *w, const char *fmt, ...) TM_PRINTF(2, 3);
void tm_resp_integer(struct tm_resp_writer *w, int64_t value);
void tm_resp_bulk(struct tm_resp_writer *w, struct tm_bytes bytes);
void tm_resp_bulk_str(struct tm_resp_writer *w, const char *text);
/* A number as a bulk string: SCAN's cursor, GET of a counter. */
void tm_resp_bulk_i64(struct tm_resp_writer *w, int64_t value);
void tm_resp_bulk_u64(struct tm_resp_writer *w, uint64_t value);
/* RESP2: the null bulk "$-1"; RESP3: "_". */
void tm_resp_null(struct tm_resp_writer *w);
/* RESP2: the null array "*-1"; RESP3: "_". */
void tm_resp_null_array(struct tm_resp_writer *w);
/* Headers; the elements follow.  RESP2: map = array of 2 x pairs, set and push = array. */
void tm_resp_array(struct tm_resp_writer *w, uint64_t count);
void tm_resp_map(struct tm_resp_writer *w, uint64_t pairs);
void tm_resp_set(struct tm_resp_writer *w, uint64_t count);
void tm_resp_push(struct tm_resp_writer *w, uint64_t count);
/* RESP2: a bulk string of the number in %.17g; inf, -inf, nan as redis writes them. */
void tm_resp_double(struct tm_resp_writer *w, double value);
/* RESP2: integer 1 or 0. */
void tm_resp_bool(struct tm_resp_writer *w, bool value);
/* Text for people (INFO, CLIENT LIST).  RESP2: a bulk string; RESP3: verbatim "txt:". */
void tm_resp_verbatim(struct tm_resp_writer *w, struct tm_bytes text);
/* Bytes that are RESP already. */
void tm_resp_raw(struct tm_resp_writer *w, struct tm_bytes resp);

/* For counts known only afterwards: at = w->len before the elements were written; puts the header
 * there.  Costs a move of what was written since. */
void tm_resp_insert_array(struct tm_resp_writer *w, size_t at, uint64_t count);
void tm_resp_insert_map(struct tm_resp_writer *w, size_t at, uint64_t pairs);
void tm_resp_insert_set(struct tm_resp_writer *w, size_t at, uint64_t count);

/* ---- Reading replies ---- */

/* The type is the first byte on the wire; the nulls of RESP2 come as TM_RESP_NULL. */
enum tm_resp_type {
    TM_RESP_SIMPLE = '+',
    TM_RESP_ERROR = '-',
    TM_RESP_INTEGER = ':',
    TM_RESP_BULK = '$',
    TM_RESP_ARRAY = '*',
    TM_RESP_NULL = '_',
    TM_RESP_MAP = '%',
    TM_RESP_SET = '~',
    TM_RESP_DOUBLE = ',',
    TM_RESP_BOOL = '#',
    TM_RESP_VERBATIM = '=',
    TM_RESP_PUSH = '>',
    TM_RESP_BIGNUM = '(',
    TM_RESP_BLOB_ERROR = '!',
    TM_RESP_ATTRIBUTE = '|'
};

struct tm_resp_value {
    enum tm_resp_type type;
    struct tm_bytes text; /* what stands between the type (or length) and the end; borrowed.
                             Verbatim: with its "txt:".  Empty for aggregates and null */
    int64_t integer;      /* integer; bool: 0 or 1 */
    uint64_t count;       /* aggregates: elements that follow (a map's pairs count double) */
};

/* Takes one element apart: a scalar in full, or the header of an aggregate.  DONE: *used bytes. */
enum tm_resp_status tm_resp_read(const uint8_t *data, size_t len, struct tm_resp_value *v,
                                 size_t *used);

/* Where the search for the end of one reply stands.  All zero = at the start of a reply. */
struct tm_resp_skipper {
    size_t pos;       /* bytes of whole elements seen */
    uint64_t pending; /* elements still to come, when pos > 0 */
};

/* Finds the end of one whole reply, nested elements included (an attribute belongs to the reply
 * that follows it).  DONE: *used = its length, and the skipper is ready for the next.  MORE: call
 * again with the same bytes and more behind them.  BROKEN: no RESP. */
enum tm_resp_status tm_resp_skip(struct tm_resp_skipper *s, const uint8_t *data, size_t len,
                                 size_t *used);

#endif
