/* sim_words.h: registers (sim_calls.h) as entities of the product, steps as its commands, replies
 * as what a step was told.  Pure. */
#ifndef TM_TESTS_SIM_SIM_WORDS_H
#define TM_TESTS_SIM_SIM_WORDS_H

#include "net/resp.h"
#include "tests/sim/sim_calls.h"

/* X(KIND): what a register is. */
#define TM_SIM_KINDS(X)                                                                            \
    X(STRING)                                                                                      \
    X(FIELD)         /* of a hash */                                                               \
    X(MEMBER)        /* of a set: WRITE's value is 1 */                                            \
    X(COUNTER)       /* a string that is only added to, or removed */                              \
    X(COUNTER_FIELD) /* a field likewise */

enum tm_sim_kind {
#define X(kind) TM_SIM_##kind,
    TM_SIM_KINDS(X)
#undef X
};

struct tm_sim_register {
    enum tm_sim_kind kind;
    uint32_t group; /* registers of one group share a slot */
    char key[32], field[16];
};

/* How registers are numbered: `registers` of them, spread over `groups` groups, then as many again
 * of other groups, and so on: a history that has become long goes on with the next ones. */
struct tm_sim_layout {
    uint32_t groups, registers; /* registers >= groups >= 1 */
};

static inline uint32_t tm_sim_group_of(const struct tm_sim_layout *l, uint32_t reg)
{
    return reg / l->registers * l->groups + reg % l->registers % l->groups;
}

struct tm_sim_register tm_sim_register(uint32_t reg, const struct tm_sim_layout *layout);

/* The register of that key, and of that part of it (empty: of no part); false: there is none. */
bool tm_sim_register_named(const struct tm_sim_layout *layout, struct tm_bytes key,
                           struct tm_bytes field, uint32_t *reg);

/* Whether a register of this kind can take the step. */
bool tm_sim_register_takes(enum tm_sim_kind kind, enum tm_sim_verb verb);

/* Writes the step's command; EXPECT has none.  fill: the value of a string or field is a
 * number and up to that many bytes that follow from it, or up to 32 times as many. */
void tm_sim_words_command(struct tm_resp_writer *out, const struct tm_sim_register *reg,
                          const struct tm_sim_step *step, uint32_t fill);

/* The value of a string or field; valid until the next call. */
struct tm_bytes tm_sim_words_text(uint64_t value, uint32_t fill);

/* Notes in a READ what `v` says: the value of the register, or null.  False: it never has that. */
bool tm_sim_words_value(const struct tm_sim_register *reg, struct tm_sim_step *step,
                        const struct tm_resp_value *v, uint32_t fill);

/* Notes in the step what the reply says.  False: the step's command is never answered like that. */
bool tm_sim_words_reply(const struct tm_sim_register *reg, struct tm_sim_step *step,
                        const struct tm_resp_value *reply, uint32_t fill);

#endif
