/* sim_calls.h: what the clients of a simulated cluster asked and were told: the form in which the
 * load hands its history to the oracles.
 *
 * A *register* holds one value that can be judged by itself: a string, a field of a hash, a member
 * of a set (there or not), a counter.  Registers have numbers from 0 on; tm_sim_register says what
 * each is.  A *call* is one command or one transaction: 1..TM_SIM_STEPS_MAX steps that happen at
 * one moment between `called_ns` and `returned_ns`, all or none of them.  What a client wrote into
 * a register (not: added) is a number that nobody else ever writes into any.
 *
 * Data only; one thread. */
#ifndef TM_TESTS_SIM_SIM_CALLS_H
#define TM_TESTS_SIM_SIM_CALLS_H

#include "runtime/base.h"

#define TM_SIM_STEPS_MAX 8

/* X(VERB): what a step does.  `found`, `result`: what the client was told, of a call that is DONE;
 * `found` of WRITE, WRITE_NEW, REMOVE, EXPIRE and PERSIST only if `told`.
 *   READ       found, result (the value); absent: not found
 *   WRITE      value, ttl_ms (0: for ever); found: it was there before
 *   WRITE_NEW  value, written only if the register is absent; found: it was there, not written
 *   REMOVE     found: it was there
 *   ADD        value (two's complement) is added, absent counts as 0; result: the new total
 *   EXPIRE     what is there ends in ttl_ms from now, 0: at once; found: it was there
 *   PERSIST    what is there stays for ever; found: it was there, for a time
 *   TTL        found; result: ms that are left, TM_SIM_FOR_EVER
 *   FLUSH      every register is removed, `reg` says nothing; the only step of its call, which is
 *              in the history of each group of registers
 *   EXPECT     of a transaction that began with WATCH: the others happen only if the register is as
 *              it was read: `found`, `value` (an input here) */
#define TM_SIM_VERBS(X)                                                                            \
    X(READ)                                                                                        \
    X(WRITE)                                                                                       \
    X(WRITE_NEW)                                                                                   \
    X(REMOVE)                                                                                      \
    X(ADD)                                                                                         \
    X(EXPIRE)                                                                                      \
    X(PERSIST)                                                                                     \
    X(TTL)                                                                                         \
    X(FLUSH)                                                                                       \
    X(EXPECT)

#define TM_SIM_FOR_EVER UINT64_MAX

enum tm_sim_verb {
#define X(verb) TM_SIM_##verb,
    TM_SIM_VERBS(X)
#undef X
};

struct tm_sim_step {
    enum tm_sim_verb verb;
    uint32_t reg;
    uint32_t ttl_ms;
    bool found, told;
    uint64_t value, result;
};

/* X(OUTCOME)
 *   PENDING  no answer yet
 *   DONE     it happened, between called_ns and returned_ns
 *   REFUSED  it did not happen and never will
 *   UNKNOWN  it may have happened, may happen at any later moment, or never */
#define TM_SIM_OUTCOMES(X)                                                                         \
    X(PENDING)                                                                                     \
    X(DONE)                                                                                        \
    X(REFUSED)                                                                                     \
    X(UNKNOWN)

enum tm_sim_outcome {
#define X(outcome) TM_SIM_##outcome,
    TM_SIM_OUTCOMES(X)
#undef X
};

struct tm_sim_call {
    uint64_t id; /* from 1 on, in the order of called_ns */
    unsigned client;
    unsigned node, worker; /* asked */
    enum tm_sim_outcome outcome;
    /* Of its steps that were not told by themselves, so many were found, if `summed`. */
    unsigned sum;
    bool summed;
    unsigned count; /* of steps */
    struct tm_sim_step step[TM_SIM_STEPS_MAX];
    uint64_t called_ns, returned_ns; /* virtual time; returned_ns: if not PENDING */
};

/* Who hears of every call; either may be NULL.  The call is valid during the call only. */
struct tm_sim_calls {
    void *host;
    void (*called)(void *host, const struct tm_sim_call *call);
    /* outcome is not PENDING; once for each call. */
    void (*returned)(void *host, const struct tm_sim_call *call);
};

#endif
