/* up_internal.h: the nodes that `tidemill up` looks after, shared by its files. */
#ifndef TM_TOOLS_UP_INTERNAL_H
#define TM_TOOLS_UP_INTERNAL_H

#include "runtime/options.h"
#include "tools/nodedir.h"
#include "tools/ports.h"

#include <signal.h>

/* One node, as up sees it. */
struct tm_up_member {
    const struct tm_cluster_spec *cluster;
    unsigned node; /* its number in the cluster */
    struct tm_ports ports;
    struct tm_nodedir dir;
    unsigned workers;
    unsigned first_cpu; /* number of its first CPU in the budget, when not crowded */
    pid_t child;        /* started here; 0: it was running already */
    bool ended;         /* the child has ended */
    int status;         /* how, as of waitpid */
    uint64_t log_from;  /* size of its log before this start */
    size_t made;        /* so long is the first folder on the way to its own that was made; or 0 */
    bool listens;       /* it takes connections */
    bool shut;          /* it runs, but its cluster cannot ever answer writes, see its log */
    bool ready;         /* its cluster answers writes, as this node sees it */
};

struct tm_up {
    struct tm_options options;
    char dir[TM_NODEDIR_PATH_MAX + 1];      /* absolute */
    char topology[TM_NODEDIR_PATH_MAX + 1]; /* absolute */
    char program[TM_NODEDIR_PATH_MAX + 1];  /* this program's file */
    bool detach;
    struct tm_topology *t;
    struct tm_up_member *members;
    unsigned count;
    bool crowded;         /* more workers than cores */
    unsigned all_workers; /* of all members */
    sigset_t signals;     /* the signal mask before up blocked some */
};

static inline const char *tm_up_name(const struct tm_up_member *m)
{
    return m->cluster->nodes.names[m->node];
}

/* Divides the machine: workers, first_cpu and crowded. */
void tm_up_divide(struct tm_up *up);

/* Starts the member's node as a child.  On failure why (TM_NODEDIR_WHY bytes) says what is wrong.
 */
enum tm_err tm_up_start(struct tm_up *up, struct tm_up_member *m, char *why);

/* Notes the children that have ended, and those whose node runs already as another process, which
 * then takes their place.  True if one has since the last call. */
bool tm_up_reap(struct tm_up *up);

/* Why a member's node ended: the last error line of its log, or how the process ended. */
void tm_up_reason(const struct tm_up *up, const struct tm_up_member *m, char *text, size_t size);

/* True if the member has said in its log that nobody in reach mends what is damaged, or is the only
 * node of its cluster and cannot start a partition: nobody else can.  False also if it was not
 * started here, or its log is not at hand
 * (!up->detach). */
bool tm_up_is_shut(const struct tm_up *up, const struct tm_up_member *m);

/* After a child was refused: removes what tm_up_start made for it, if nothing else is in it.  In
 * the opposite order of the starts. */
void tm_up_take_back(const struct tm_up_member *m);

/* Stops the children: SIGTERM, and SIGKILL to what is left after a second SIGINT or SIGTERM. */
void tm_up_stop(struct tm_up *up);

#endif
