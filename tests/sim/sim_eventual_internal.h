/* sim_eventual_internal.h: between the files of what an eventual cluster owes.
 *
 *   sim_eventual.c        what clients were told, what records say
 *   sim_eventual_judge.c  what has to be there, and is
 *
 * Thread and ownership as in sim_eventual.h. */
#ifndef TM_TESTS_SIM_SIM_EVENTUAL_INTERNAL_H
#define TM_TESTS_SIM_SIM_EVENTUAL_INTERNAL_H

#include "tests/sim/sim_eventual.h"

/* One write of a string or field. */
struct tm_sim_ev_write {
    uint32_t reg;
    bool asked, told;     /* it returned; as done */
    bool kept;            /* some record with it has to be there */
    uint64_t term, index; /* its version; index 0: seen in no record */
};

struct tm_sim_ev_reg {
    bool touched, read, found; /* in the newest read */
    bool told;                 /* a member: its write was acknowledged */
    bool seen, kept;           /* a member: it is in some record; in one that has to be there */
    uint64_t value, read_ns;
    int64_t sum, more, less; /* of a counter: acknowledged; at most and least beside it */
    int64_t all, low, high;  /* of a counter, by its records: of all; that have to be there */
    uint32_t partition;      /* of its records */
    bool missing;            /* what has to be there is not */
    uint64_t newest;         /* the write of the latest version that has to be there, 0: none */
};

enum tm_sim_ev_what { TM_SIM_EV_VALUE, TM_SIM_EV_TOTAL, TM_SIM_EV_MEMBER };

/* An operation of a record that was in some log. */
struct tm_sim_ev_sight {
    enum tm_sim_ev_what what;
    uint32_t reg, partition;
    uint64_t value;           /* VALUE: the write; TOTAL: of its component */
    uint64_t term, index;     /* its version: of the record that made it */
    uint64_t record, hash;    /* the record that it stands in: index and hash */
    uint64_t length, seen_ns; /* of that */
    bool merged;              /* that is another than the one that made it */
    bool kept;                /* that one has to be there, or is somewhere as merged */
};

struct tm_sim_eventual {
    struct tm_sim_eventual_config config;
    struct tm_sim_ev_write *writes; /* by value */
    size_t write_cap;
    struct tm_sim_ev_reg *regs;
    size_t reg_cap;
    struct tm_sim_ev_sight *sights;
    size_t sight_count, sight_cap;
    const uint64_t *dropped; /* while it is judged: by partition, records */
    struct tm_sim_eventual_stats stats;
};

void tm_sim_ev_wrong(const struct tm_sim_eventual *e, uint32_t reg, const char *fmt, ...)
    TM_PRINTF(3, 4);

struct tm_sim_ev_write *tm_sim_ev_write_of(struct tm_sim_eventual *e, uint64_t value);
struct tm_sim_ev_reg *tm_sim_ev_reg_of(struct tm_sim_eventual *e, uint32_t reg);

#endif
