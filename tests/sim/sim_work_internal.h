/* sim_work_internal.h: between the files of the work.
 *
 *   sim_work.c        clients: connections, asking, answers
 *   sim_work_draw.c   what they ask about, and what
 *
 * Thread and ownership as in sim_work.h. */
#ifndef TM_TESTS_SIM_SIM_WORK_INTERNAL_H
#define TM_TESTS_SIM_SIM_WORK_INTERNAL_H

#include "runtime/rng.h"
#include "tests/sim/sim_words_many.h"
#include "tests/sim/sim_work.h"

#define TM_SIM_WORK_LISTENERS_MAX 8

enum tm_sim_form {
    TM_SIM_FORM_PLAIN,  /* one command, one reply */
    TM_SIM_FORM_MANY,   /* one command about several registers */
    TM_SIM_FORM_MULTI,  /* MULTI, the steps, EXEC */
    TM_SIM_FORM_WATCHED /* WATCH, then the command; EXEC follows as a call of its own */
};

/* A call of a client.  One about registers of several groups is told as one call for each
 * (tm_sim_work_piece), with ids from `call.id` on. */
struct tm_sim_asked {
    struct tm_sim_call call;
    enum tm_sim_form form;
    enum tm_sim_many many; /* of FORM_MANY */
    unsigned replies;      /* still to come */
    bool failed;           /* an earlier reply of it was an error */
};

/* Of a group in use. */
struct tm_sim_round {
    uint32_t number; /* how many were used up before it */
    unsigned calls, unknown;
};

struct tm_sim_work;

struct tm_sim_work_client {
    struct tm_sim_work *work;
    unsigned number;
    struct tm_sim_conn *conn;
    unsigned node, worker;
    unsigned proto;                                   /* of the connection: 2 or 3 */
    bool greeted;                                     /* HELLO 3 was answered */
    struct tm_sim_asked calls[TM_SIM_WORK_CALLS_MAX]; /* under way, oldest first */
    unsigned count;
    struct tm_sim_asked again; /* to be asked next; count of steps 0: none */
    uint64_t wake_at;          /* to ask, or to give up */
    uint64_t give_up_at;
    bool watching; /* the transaction is the next call */
    bool lingers;  /* it is asked at wake_at */
    struct tm_sim_step watched;
};

struct tm_sim_work {
    struct tm_sim *sim;
    struct tm_sim_work_config config;
    struct tm_rng rng;
    struct tm_rng linger; /* of its own: who does not linger draws what it drew before */
    struct tm_sim_work_client clients[TM_SIM_WORK_CLIENTS_MAX];
    struct tm_sim_calls listeners[TM_SIM_WORK_LISTENERS_MAX];
    unsigned listener_count;
    struct tm_sim_layout layout;
    struct tm_sim_round *rounds;       /* by group */
    struct tm_sim_register *registers; /* all that were in use */
    bool *touched;
    uint32_t register_count;
    uint64_t calls, values;
    unsigned flushes_unknown;
    uint64_t due; /* no client wakes before */
    struct tm_sim_work_stats stats;
    struct tm_resp_writer out;
    bool stopping;
};

static inline uint64_t tm_sim_work_any(struct tm_sim_work *w, uint64_t bound)
{
    return tm_rng_below(&w->rng, bound);
}

static inline bool tm_sim_work_chance(struct tm_sim_work *w, unsigned percent)
{
    return tm_sim_work_any(w, 100) < percent;
}

/* All registers of that round and those before it are there. */
void tm_sim_work_reach(struct tm_sim_work *w, uint32_t round);

/* One more call of its groups, or one whose outcome is unknown. */
void tm_sim_work_count(struct tm_sim_work *w, const struct tm_sim_call *call, bool unknown);

/* The next part of a call, of those about one group; done: bits of the steps that were in one, 0 at
 * first.  False: there is no more. */
bool tm_sim_work_piece(const struct tm_sim_work *w, const struct tm_sim_call *whole, uint32_t *done,
                       struct tm_sim_call *piece);

/* What to ask next; the read of a register; the transaction after WATCH and a read. */
void tm_sim_work_draw(struct tm_sim_work *w, struct tm_sim_asked *asked);
void tm_sim_work_draw_read(struct tm_sim_work *w, struct tm_sim_step *s, uint32_t reg);
void tm_sim_work_draw_watched(struct tm_sim_work *w, const struct tm_sim_step *read,
                              struct tm_sim_asked *asked);

/* The same call again: what it writes are other values. */
void tm_sim_work_draw_anew(struct tm_sim_work *w, struct tm_sim_asked *asked);

#endif
