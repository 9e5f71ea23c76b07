/* recover_judge.h: whether a copy is the one to go on with at a forced recovery, and what is lost
 * then.  Pure. */
#ifndef TM_TOOLS_RECOVER_JUDGE_H
#define TM_TOOLS_RECOVER_JUDGE_H

#include "tools/status_internal.h"

enum tm_recover_verdict {
    TM_RECOVER_YES,
    TM_RECOVER_LED,    /* the partition has a leader */
    TM_RECOVER_NODATA, /* the copy is a witness's: it holds nothing */
    TM_RECOVER_BETTER  /* another copy that can be reached has more */
};

struct tm_recover_case {
    enum tm_recover_verdict verdict;
    const struct tm_status_replica *copy;
    const struct tm_status_replica *better; /* BETTER: that one */
    /* The newest in-sync set that anybody reachable knows of does not name this copy's node: the
     * other one has acknowledged writes without it. */
    bool left_behind;
};

/* Judges one of s's replicas; s was gathered. */
struct tm_recover_case tm_recover_judge(const struct tm_status *s,
                                        const struct tm_status_replica *copy);

/* Writes the case as a paragraph that says what may be lost.  Returns out. */
const char *tm_recover_text(const struct tm_status *s, const struct tm_recover_case *c, char *out,
                            size_t size);

#endif
