/* change.h: what one text of facts (directory.h) has other than another, in the words of links,
 * types and labels: what a file would change in what a cluster goes by.
 *
 * Pure. */
#ifndef TM_ACTORS_CHANGE_H
#define TM_ACTORS_CHANGE_H

#include "runtime/base.h"

enum tm_change_kind { TM_CHANGE_ADDED, TM_CHANGE_REMOVED, TM_CHANGE_CHANGED };

/* One change; texts live for the call that it is told in. */
struct tm_change {
    enum tm_change_kind kind;
    bool whole;          /* all of the subject is added or removed */
    bool operators;      /* what an operator says (link_operator.h), not the file */
    const char *subject; /* "link edge -> cloud", "type Order", "region", "node-1/address" */
    const char *option; /* of it; "" where all of it is added or removed, or it has but one value */
    const char *from, *to; /* values; "" where there is none */
    const char *note;      /* what is to be known of it; "" mostly */
};

/* Tells each change that takes a cluster of that name from one text of facts to the other, in their
 * order.  A link, a type or a linked cluster that is new or gone is one change.  Returns their
 * number; visit may be NULL. */
unsigned tm_changes(const char *cluster, const char *from, const char *to,
                    void (*visit)(void *arg, const struct tm_change *change), void *arg);

/* One line for people, without line end: "~ link edge -> cloud: batchBytes: 64KiB -> 1MiB". */
void tm_change_text(const struct tm_change *change, char *buf, size_t size);

#endif
