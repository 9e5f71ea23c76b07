/* topology_eval.h: runs a topology file in a bounded child process. */
#ifndef TM_TOOLS_TOPOLOGY_EVAL_H
#define TM_TOOLS_TOPOLOGY_EVAL_H

#include "runtime/base.h"

#define TM_EVAL_SOURCE_MAX TM_MIB(4)
#define TM_EVAL_OUTPUT_MAX TM_MIB(16)
#define TM_EVAL_MEMORY_MAX TM_MIB(64)
#define TM_EVAL_SECONDS    5

/* Evaluates source (a file's text) in a forked child: no I/O, no clock, no randomness, 64 MiB,
 * 5 s.  On success *json is a malloc'ed string, the caller's: an array with one object per
 * define… call, in order: {"fn", "line", "name", "options"}.  A value that JSON cannot carry
 * (function, undefined, NaN) stands as {"$type": "function"} and so on; a function of the file has
 * its "text" there.  On failure err holds one
 * line; TM_ERR_INVALID: the script is wrong or asked for too much; TM_ERR_TIMEOUT: it did not end.
 * Forks: call before threads exist. */
enum tm_err tm_topology_eval(const char *path, const char *source, size_t len, char **json,
                             char *err, size_t err_size);

#endif
