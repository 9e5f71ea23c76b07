/* sim_words_many.h: commands about several registers (sim_calls.h) at once: several keys, several
 * parts of a hash or set, all parts there are.
 *
 * Each is one call of as many steps with one verb.  Where its registers are of one slot it happens
 * at one moment; of others each slot has its own.  Pure. */
#ifndef TM_TESTS_SIM_SIM_WORDS_MANY_H
#define TM_TESTS_SIM_SIM_WORDS_MANY_H

#include "tests/sim/sim_words.h"

/* X(MANY, word, verb, about, answer)
 *   about   KEYS: any strings and counters; PARTS: of one hash or set; WHOLE: all parts of one
 *   answer  VALUES: one for each, in their order; PAIRS: field and value of those that are there;
 *           MEMBERS: the names of those that are there; COUNT: how many were there; NEW: how many
 *           were not; ANY: whether one was there; OK */
#define TM_SIM_MANIES(X)                                                                           \
    X(MGET, "MGET", READ, KEYS, VALUES)                                                            \
    X(MSET, "MSET", WRITE, KEYS, OK)                                                               \
    X(DEL, "DEL", REMOVE, KEYS, COUNT)                                                             \
    X(HMGET, "HMGET", READ, PARTS, VALUES)                                                         \
    X(HSET, "HSET", WRITE, PARTS, NEW)                                                             \
    X(HDEL, "HDEL", REMOVE, PARTS, COUNT)                                                          \
    X(HGETALL, "HGETALL", READ, WHOLE, PAIRS)                                                      \
    X(SMISMEMBER, "SMISMEMBER", READ, PARTS, VALUES)                                               \
    X(SADD, "SADD", WRITE, PARTS, NEW)                                                             \
    X(SREM, "SREM", REMOVE, PARTS, COUNT)                                                          \
    X(SMEMBERS, "SMEMBERS", READ, WHOLE, MEMBERS)                                                  \
    X(DEL_WHOLE, "DEL", REMOVE, WHOLE, ANY)

enum tm_sim_many {
#define X(many, ...) TM_SIM_MANY_##many,
    TM_SIM_MANIES(X)
#undef X
        TM_SIM_MANY_COUNT
};

enum tm_sim_about { TM_SIM_ABOUT_KEYS, TM_SIM_ABOUT_PARTS, TM_SIM_ABOUT_WHOLE };

enum tm_sim_verb tm_sim_many_verb(enum tm_sim_many many);
enum tm_sim_about tm_sim_many_about(enum tm_sim_many many);

/* Whether a register of this kind can be one of them. */
bool tm_sim_many_takes(enum tm_sim_many many, enum tm_sim_kind kind);

/* The registers that are parts of the same entity as `reg`, itself included, in their order;
 * returns how many: at most TM_SIM_STEPS_MAX. */
unsigned tm_sim_words_parts(uint32_t reg, const struct tm_sim_layout *layout,
                            uint32_t parts[TM_SIM_STEPS_MAX]);

/* reg: of the layout, all that the call's steps name.  fill: as of tm_sim_words_command. */
void tm_sim_many_command(struct tm_resp_writer *out, enum tm_sim_many many,
                         const struct tm_sim_register *reg, const struct tm_sim_call *call,
                         uint32_t fill);

/* Notes in the call what the whole reply says.  proto: of the connection, 2 or 3.  False: the
 * command is never answered like that. */
bool tm_sim_many_reply(enum tm_sim_many many, const struct tm_sim_register *reg,
                       struct tm_sim_call *call, struct tm_bytes reply, unsigned proto,
                       uint32_t fill);

#endif
