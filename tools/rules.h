/* rules.h: rules for conflicts that are functions, evaluated for a worker in a process of its own.
 *
 * Duktape has no time limit, and must do a node no harm: so functions run in a child, this program
 * started anew (`tidemill TM_RULES_COMMAND`), which a worker starts when it first needs one.  A
 * call may take TM_RULES_CPU_MS of CPU time, so that a busy machine does not decide what a value
 * is, and TM_RULES_MEMORY; the child that needs more is gone, and for TM_RULES_REST_MS that
 * function is not asked again, so that one that does not end cannot hold a worker up for long.  At
 * the worst a call blocks its worker for TM_RULES_WAIT_MS. */
#ifndef TM_TOOLS_RULES_H
#define TM_TOOLS_RULES_H

#include "runtime/base.h"

#define TM_RULES_COMMAND "evaluate-rules"
#define TM_RULES_CPU_MS  50
#define TM_RULES_WAIT_MS 1000
#define TM_RULES_REST_MS 10000
#define TM_RULES_MEMORY  TM_MIB(32)

struct tm_rules;

/* NULL if memory is short.  program: the path of this program.  One worker's. */
struct tm_rules *tm_rules_new(const char *program);
void tm_rules_free(struct tm_rules *r);

/* What the function makes of two values (struct tm_link_functions).  TM_ERR_INVALID: it threw, or
 * gave neither a string nor a finite number; TM_ERR_TIMEOUT: it needed too much, or rests for that;
 * TM_ERR_IO: there is no child. */
enum tm_err tm_rules_call(void *rules, const char *function, struct tm_bytes a, struct tm_bytes b,
                          struct tm_bytes *out);

/* The child's life: answers what comes by that socket until it is closed.  The process's exit
 * status. */
int tm_rules_serve(int fd);

#endif
