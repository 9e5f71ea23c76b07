/* rules_wire.h: what goes between a worker and the child that evaluates functions for it, over a
 * socket pair: a question, an answer, each followed by the bytes whose lengths it says.  Between
 * two runs of one program on one machine.  Blocking. */
#ifndef TM_TOOLS_RULES_WIRE_H
#define TM_TOOLS_RULES_WIRE_H

#include "runtime/base.h"

struct tm_rules_question {
    uint32_t function, a, b; /* lengths */
};
struct tm_rules_answer {
    uint32_t err; /* enum tm_err */
    uint32_t len;
};

/* All of it; false: the other end is gone, or the socket's time is up.  No signal. */
bool tm_rules_send(int fd, const void *data, size_t len);
bool tm_rules_receive(int fd, void *data, size_t len);

#endif
