/* link_internal.h: between the files of `tidemill link`.
 *
 *   link.c          the command line, verbs that only look
 *   link_ask.c      who is asked, and what they say
 *   link_rows.c     replies taken apart, rows
 *   link_report.c   put together
 *   link_show.c     on stdout
 *   link_explain.c  in words
 *   link_verify.c   comparing both ends
 *   link_dead.c     what could not be applied
 *   link_change.c   verbs that change something */
#ifndef TM_TOOLS_LINK_INTERNAL_H
#define TM_TOOLS_LINK_INTERNAL_H

#include "tools/link_report.h"

/* X(name, what follows the clusters, text): `tidemill link NAME SOURCE TARGET ...`. */
#define TM_LINK_VERB_LIST(X)                                                                       \
    X(ls, "", "all links, a line each; with SOURCE, or SOURCE TARGET, only those")                 \
    X(show, "", "one link: what operators said, every stream, dead letters")                       \
    X(explain, "", "why it lags or stands, in words; without SOURCE TARGET all links")             \
    X(verify, "", "compares what both ends have while they serve, and names what differs")         \
    X(pause, "", "ships nothing until it is resumed; the log is kept within the link's bounds")    \
    X(resume, "", "goes on, at whichever end it was paused")                                       \
    X(throttle, "RATE|off", "RATE (64KiB, 0 for no bound) a second instead of maxBytesPerSecond")  \
    X(resync, "", "compares all that the link ships, and sends what differs; nothing is wiped")    \
    X(rewind, "", "the target forgets where the stream stands: all is shipped or compared again")  \
    X(adopt, "", "a cluster made anew, or restored, takes the place of the one before")            \
    X(release, "", "the target takes what it holds back because of the source's clock")            \
    X(dead, "", "ls|show|retry|drop SOURCE TARGET [ID]: changes that could not be applied there")  \
    X(promote, "", "the source is lost: its older epoch is refused at the target from then on")

struct tm_link_command {
    const char *verb, *source, *target, *value; /* NULL: not given */
    const char *how;                            /* of dead: ls, show, retry, drop */
    struct tm_linked_where where;
    bool json;
    struct tm_linked_all all;
    json_t *report;
};

/* ls, show. */
void tm_link_print_list(const json_t *report);
void tm_link_print_link(const json_t *link);

/* Any of it for programs. */
void tm_link_print_json(const json_t *value);

/* verify; returns the exit status: failed if something differs, or was not compared. */
int tm_link_verify(struct tm_link_command *c);

/* dead: takes what stands behind it on the command line (argv[0] is the verb); NULL, or what is
 * wrong.  Then does it; returns the exit status. */
const char *tm_link_dead_usage(struct tm_link_command *c, int argc, char **argv);
int tm_link_dead(struct tm_link_command *c);

/* The verbs that change something; returns the exit status. */
int tm_link_change(struct tm_link_command *c);

#endif
