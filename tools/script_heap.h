/* script_heap.h: an interpreter of JavaScript with bounded memory, without clock, chance and I/O.
 */
#ifndef TM_TOOLS_SCRIPT_HEAP_H
#define TM_TOOLS_SCRIPT_HEAP_H

#include "runtime/base.h"

#include <duktape.h>

struct tm_script_heap {
    size_t used, max; /* bytes */
};

/* A context whose memory is at most max bytes, or NULL; the struct outlives it.  What goes beyond
 * throws.  Where the interpreter itself cannot go on, it prints one line and ends the process: so
 * only for processes of their own.  duk_destroy_heap ends it. */
duk_context *tm_script_new(struct tm_script_heap *heap, size_t max);

#endif
