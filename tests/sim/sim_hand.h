/* sim_hand.h: a client of a simulated cluster that is led by hand: one line, one answer.
 *
 * For cases that want this command at that worker at this moment.  One thread; freed before its
 * cluster. */
#ifndef TM_TESTS_SIM_SIM_HAND_H
#define TM_TESTS_SIM_SIM_HAND_H

#include "tests/sim/sim_cluster.h"

struct tm_sim_hand;

/* Connects to that worker; NULL: nobody listens there. */
struct tm_sim_hand *tm_sim_hand_new(struct tm_sim *sim, unsigned node, unsigned worker);
void tm_sim_hand_free(struct tm_sim_hand *h);

/* Sends a command, its words apart by single blanks. */
void tm_sim_hand_send(struct tm_sim_hand *h, const char *line);

/* The answers so far, and the newest as text: "OK", "(nil)", "42", "value", "ERR ...",
 * "[1 (nil)]"; "closed" once the connection is gone; "" before the first. */
unsigned tm_sim_hand_answers(const struct tm_sim_hand *h);
const char *tm_sim_hand_text(const struct tm_sim_hand *h);

/* Sends, and runs the cluster until the answer is there, or for 20 s: then "". */
const char *tm_sim_hand_ask(struct tm_sim_hand *h, const char *line);

#endif
