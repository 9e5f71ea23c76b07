/* sim_stamps.h: whether a leader writes on although its clock is wrong.
 *
 * A leader whose wall clock is ahead of those of a quorum by more than --max-clock-skew-ms must
 * stamp nothing, for it would expire what is not due.  It knows of other clocks by its heartbeats
 * only.  So what counts here is how long it has been ahead, by the true clocks, of a quorum that
 * answers it: after a while of that, every record of effects of its term is objected to.
 *
 * As a check of a run (sim_run.h). */
#ifndef TM_TESTS_SIM_SIM_STAMPS_H
#define TM_TESTS_SIM_SIM_STAMPS_H

#include "runtime/base.h"

struct tm_sim_check;
extern const struct tm_sim_check tm_sim_stamps_check;

#endif
