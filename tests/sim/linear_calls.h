/* linear_calls.h: histories made by hand, for tests of the search for an order (sim_linear.h): the
 * calls made so far, and what the search says of them. */
#ifndef TM_TESTS_SIM_LINEAR_CALLS_H
#define TM_TESTS_SIM_LINEAR_CALLS_H

#include "tests/sim/sim_linear.h"
#include "tests/test.h"

#define CALLS 300

static struct tm_sim_call calls[CALLS];
static unsigned count;
static struct tm_sim_linear_result result;

/* A call that was answered, without steps yet; it lives until count is 0 again. */
static inline struct tm_sim_call *add(uint64_t from_ms, uint64_t to_ms, unsigned client)
{
    struct tm_sim_call *c = &calls[count++];
    *c = (struct tm_sim_call){.id = count,
                              .client = client,
                              .outcome = TM_SIM_DONE,
                              .called_ns = from_ms * 1000000,
                              .returned_ns = to_ms * 1000000};
    return c;
}

static inline struct tm_sim_step *step(struct tm_sim_call *c, enum tm_sim_verb verb, uint32_t reg,
                                       uint64_t value)
{
    struct tm_sim_step *s = &c->step[c->count++];
    *s = (struct tm_sim_step){.verb = verb, .reg = reg, .value = value};
    return s;
}

/* Searches for an order of the calls there are. */
static inline void expect_of(const struct tm_sim_linear_config *config, enum tm_sim_linear verdict)
{
    tm_sim_linear_check(calls, count, config, &result);
    if (result.verdict != verdict)
        printf("  verdict %d, not %d: %s\n", (int)result.verdict, (int)verdict, result.text);
    CU_ASSERT_EQUAL(result.verdict, verdict);
}

#endif
