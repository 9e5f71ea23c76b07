/* link_operator.h: what operators say of links, beside the topology file: lines of the directory's
 * facts that `tidemill link` writes and `tidemill apply` keeps.
 *
 *   op:to:NAME/paused=yes              in the source's directory: of the link out to NAME
 *   op:from:NAME/adopted=00c0ffee...   in the target's: of the link in from NAME
 *   op:epoch=2                         of this cluster's own links out
 *   op:incarnation=00c0ffee...         of this cluster, since it was restored (incarnation.h)
 *
 * Lines of links that the file does not have (any more) are kept and do nothing.  Pure; any thread.
 */
#ifndef TM_ACTORS_LINK_OPERATOR_H
#define TM_ACTORS_LINK_OPERATOR_H

#include "runtime/base.h"

#define TM_LINK_OPERATOR_PREFIX      "op:"
#define TM_LINK_OPERATOR_EPOCH       "epoch" /* behind the prefix alone: this cluster's own */
#define TM_LINK_OPERATOR_INCARNATION "incarnation"

enum tm_link_operator_kind {
    TM_LINK_OPERATOR_YES,    /* "yes" */
    TM_LINK_OPERATOR_RATE,   /* a size a second, as maxBytesPerSecond: "64KiB" */
    TM_LINK_OPERATOR_NUMBER, /* 1..65535 */
    TM_LINK_OPERATOR_HEX     /* 16 hexadecimal digits, not all 0 */
};

/* X(field, kind, at the source, at the target, text) */
#define TM_LINK_OPERATOR_LIST(X)                                                                   \
    X(paused, YES, true, true, "nothing is shipped; nothing is taken")                             \
    X(throttle, RATE, true, false, "in the place of maxBytesPerSecond; 0: no bound")               \
    X(resync, NUMBER, true, false, "counts resynchronisations that were asked for")                \
    X(adopted, HEX, true, true,                                                                    \
      "the cluster of that incarnation may take the place of the one before")                      \
    X(released, HEX, false, true, "stamps up to this one are taken whatever the clock says")       \
    X(rewind, HEX, false, true, "positions stored before that stamp are forgotten")                \
    X(epoch, NUMBER, false, true, "streams of older epochs are refused")                           \
    X(joined, HEX, true, false,                                                                    \
      "writes wait for the target since that version, once it has caught up")

/* 0 where nothing was said; of a throttle see `set`. */
struct tm_link_operator {
#define X(field, kind, out, in, text) uint64_t field;
    TM_LINK_OPERATOR_LIST(X)
#undef X
    uint32_t set; /* bit per row */
};

enum tm_link_operator_row {
#define X(field, kind, out, in, text) TM_LINK_OPERATOR_##field,
    TM_LINK_OPERATOR_LIST(X)
#undef X
        TM_LINK_OPERATOR_COUNT
};

static inline bool tm_link_operator_says(const struct tm_link_operator *o,
                                         enum tm_link_operator_row row)
{
    return (o->set >> row & 1) != 0;
}

/* The row's name and meaning; static storage. */
const char *tm_link_operator_name(enum tm_link_operator_row row);
const char *tm_link_operator_text(enum tm_link_operator_row row);

/* Takes what = value of a link out, or in.  NULL: done; else why not, static text. */
const char *tm_link_operator_take(struct tm_link_operator *o, bool out, struct tm_bytes what,
                                  struct tm_bytes value);

/* A number of 1..65535, as `epoch` has; false: it is none. */
bool tm_link_operator_number(struct tm_bytes text, uint64_t *out);

/* 16 hexadecimal digits, not all 0; false: they are not. */
bool tm_link_operator_hex(struct tm_bytes text, uint64_t *out);

/* ---- texts of facts ---- */

/* Makes the line of that name say value, in its place among the others (ascending by name), or
 * takes it away (value NULL).  facts: a text of at most size - 1 bytes.  TM_ERR_TOOBIG: no room,
 * nothing was changed. */
enum tm_err tm_link_facts_put(char *facts, size_t size, const char *name, const char *value);

/* Puts all operators' lines of `held` into facts. */
enum tm_err tm_link_facts_keep(const char *held, char *facts, size_t size);

/* Calls visit for each operators' line: its name behind the prefix ("to:cloud/paused"), and its
 * value.  Returns their number; visit may be NULL. */
unsigned tm_link_facts_said(const char *facts,
                            void (*visit)(void *arg, struct tm_bytes name, struct tm_bytes value),
                            void *arg);

#endif
