/* topology_function.h: rules for conflicts that are functions of the topology file: their text, and
 * whether they do what a rule has to.
 *
 * A rule of a field is given the two values as strings and returns a string or a number; one of a
 * type is given two objects, field by field, and returns such an object.  It is kept and evaluated
 * at nodes as its text alone, so it may use nothing of the file around it. */
#ifndef TM_TOOLS_TOPOLOGY_FUNCTION_H
#define TM_TOOLS_TOPOLOGY_FUNCTION_H

#include "runtime/base.h"

#include <duktape.h>
#include <jansson.h>

/* In the child that evaluates the file.  [ … fn ] -> [ … text ]: the part of the source that fn was
 * made from, told by its code, which is compared; or undefined if there is none (a built-in one,
 * one that was bound or made by eval).  Throws nothing. */
void tm_function_push_text(duk_context *ctx, const char *source, size_t len);

/* In the parent: tries the function in a bounded child of its own (tools/topology_eval.h) on pairs
 * of samples.  fields: NULL for a field's rule; else names of fields that objects may have, beside
 * those that the function itself reads.  samples: an array of values, or NULL for the built-in
 * ones.  TM_ERR_INVALID and one line in why: it throws, changes its arguments, gives no value,
 * gives another one when asked again, or another one for (b, a) than for (a, b).  TM_ERR_TIMEOUT.
 * Forks.
 */
enum tm_err tm_function_check(const char *path, const char *text, const json_t *fields,
                              const json_t *samples, char *why, size_t why_size);

#endif
