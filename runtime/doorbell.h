/* doorbell.h: wakes a worker that sleeps in its io_uring.
 *
 * An eventfd and a word "parked".  The owner sets the word before it sleeps and looks at all its
 * inputs once more; a producer publishes, then looks at the word and writes the eventfd only if it
 * is set.  Full fences stand between both stores and both looks: without them x86 loses wake-ups.
 * The first producer that finds the word set clears it, so that one sleep costs one write.
 *
 * Rings (runtime/ring.h) have a parked word each: their producer calls tm_doorbell_force when
 * tm_ring_publish says so.  The bell's own word is for producers of anything else.
 *
 * The word may lie in shared memory and the eventfd be passed to another process: a tm_doorbell
 * made there of the two rings the same bell.  A producer that is killed between clearing the word
 * and writing leaves the owner asleep until its next deadline or another source wakes it. */
#ifndef TM_RUNTIME_DOORBELL_H
#define TM_RUNTIME_DOORBELL_H

#include <stdatomic.h>

#include "runtime/base.h"

/* On lines of its own: producers read it after each publish. */
struct tm_doorbell_word {
    _Alignas(TM_CACHE_PAIR) _Atomic uint32_t parked;
};
TM_STATIC_ASSERT(sizeof(struct tm_doorbell_word) == TM_CACHE_PAIR, "laid out in shared memory");

struct tm_doorbell {
    struct tm_doorbell_word *word;
    int fd;
};

/* Makes the eventfd (non-blocking, close-on-exec) and clears *word, which outlives the bell. */
enum tm_err tm_doorbell_open(struct tm_doorbell *bell, struct tm_doorbell_word *word);
void tm_doorbell_close(struct tm_doorbell *bell);

/* Owner: announces the sleep, with the fence after it.  The owner then looks at every input once
 * more, and sleeps only if all are empty. */
void tm_doorbell_park(struct tm_doorbell *bell);

/* Owner: is awake. */
void tm_doorbell_unpark(struct tm_doorbell *bell);

/* Producer, any thread: call after the publishing store.  True if the owner slept and was rung.
 * Costs a fence and a load when it is awake. */
bool tm_doorbell_ring(struct tm_doorbell *bell);

/* Any thread: rings whatever the word says. */
void tm_doorbell_force(struct tm_doorbell *bell);

#endif
