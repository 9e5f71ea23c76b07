/* Values that clients write are numbers that are written once, so that a value in a record tells
 * whose it is. */
#include "tests/sim/sim_eventual.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define RECORDS_MAX 6
#define ULL(x)      ((unsigned long long)(x))

/* A record that holds a value, its own or merged. */
struct where {
    uint32_t partition;
    uint64_t index, hash;
};

/* One write of a string or field. */
struct write {
    uint32_t reg;
    bool asked, told;     /* it returned; as done */
    uint64_t term, index; /* its version; index 0: seen in no record */
    struct where at[RECORDS_MAX];
    unsigned records;
};

struct reg {
    bool touched, read, found; /* in the newest read */
    bool member;               /* a write of a member was acknowledged */
    uint64_t value, read_ns;
    int64_t sum, more, less; /* of a counter: acknowledged; at most and least beside it */
    uint64_t newest;         /* the write of the latest version that has to be there, 0: none */
};

struct tm_sim_eventual {
    struct tm_sim_eventual_config config;
    struct write *writes; /* by value */
    size_t write_cap;
    struct reg *regs;
    size_t reg_cap;
};

static void wrong(const struct tm_sim_eventual *e, uint32_t reg, const char *fmt, ...)
    TM_PRINTF(3, 4);

static void wrong(const struct tm_sim_eventual *e, uint32_t reg, const char *fmt, ...)
{
    struct tm_sim_register r = tm_sim_register(reg, &e->config.layout);
    char text[512];
    int n = snprintf(text, sizeof text, "%s %s: ", r.key, r.field);
    va_list args;
    va_start(args, fmt);
    vsnprintf(text + n, sizeof text - (size_t)n, fmt, args);
    va_end(args);
    e->config.wrong(e->config.host, text);
}

struct tm_sim_eventual *tm_sim_eventual_new(const struct tm_sim_eventual_config *config)
{
    struct tm_sim_eventual *e = calloc(1, sizeof *e);
    TM_ASSERT(e != NULL);
    e->config = *config;
    return e;
}

void tm_sim_eventual_free(struct tm_sim_eventual *e)
{
    free(e->writes);
    free(e->regs);
    free(e);
}

static void *reach(void *array, size_t *cap, size_t at, size_t each)
{
    size_t want = *cap == 0 ? 256 : *cap;
    while (want <= at)
        want *= 2;
    if (want == *cap)
        return array;
    uint8_t *grown = realloc(array, want * each);
    TM_ASSERT(grown != NULL);
    memset(grown + *cap * each, 0, (want - *cap) * each);
    *cap = want;
    return grown;
}

static struct write *write_of(struct tm_sim_eventual *e, uint64_t value)
{
    e->writes = reach(e->writes, &e->write_cap, value, sizeof *e->writes);
    return &e->writes[value];
}

static struct reg *reg_of(struct tm_sim_eventual *e, uint32_t reg)
{
    e->regs = reach(e->regs, &e->reg_cap, reg, sizeof *e->regs);
    return &e->regs[reg];
}

/* ---- what clients were told ---- */

static void take_read(struct reg *r, const struct tm_sim_step *s, const struct tm_sim_call *c)
{
    if (c->outcome != TM_SIM_DONE || c->called_ns < r->read_ns)
        return;
    r->read = true;
    r->read_ns = c->called_ns;
    r->found = s->found;
    r->value = s->result;
}

static void take_add(struct reg *r, const struct tm_sim_step *s, bool done)
{
    int64_t by = (int64_t)s->value;
    if (done)
        r->sum += by;
    else if (by > 0)
        r->more += by;
    else
        r->less += by;
}

static void take_write(struct tm_sim_eventual *e, const struct tm_sim_step *s, bool done)
{
    if (tm_sim_register(s->reg, &e->config.layout).kind == TM_SIM_MEMBER) {
        reg_of(e, s->reg)->member |= done;
        return;
    }
    struct write *w = write_of(e, s->value);
    w->reg = s->reg;
    w->asked = true;
    w->told = done;
}

void tm_sim_eventual_returned(struct tm_sim_eventual *e, const struct tm_sim_call *call)
{
    if (call->outcome == TM_SIM_REFUSED)
        return;
    for (unsigned i = 0; i < call->count; i++) {
        const struct tm_sim_step *s = &call->step[i];
        reg_of(e, s->reg)->touched = true;
        if (s->verb == TM_SIM_READ)
            take_read(reg_of(e, s->reg), s, call);
        else if (s->verb == TM_SIM_ADD)
            take_add(reg_of(e, s->reg), s, call->outcome == TM_SIM_DONE);
        else if (s->verb == TM_SIM_WRITE)
            take_write(e, s, call->outcome == TM_SIM_DONE);
    }
}

/* ---- what records say ---- */

/* "<number>.<filling>" */
static uint64_t value_in(struct tm_bytes text)
{
    uint64_t value = 0;
    size_t i = 0;
    for (; i < text.len && i < 12 && text.data[i] >= '0' && text.data[i] <= '9'; i++)
        value = value * 10 + (uint64_t)(text.data[i] - '0');
    return i > 0 && i < text.len && text.data[i] == '.' ? value : 0;
}

static void take_value(struct tm_sim_eventual *e, uint64_t value, const struct tm_record *r,
                       const struct tm_op_source *source)
{
    struct write *w = write_of(e, value);
    uint64_t term = source->index != 0 ? source->term : r->term;
    uint64_t index = source->index != 0 ? source->index : r->index;
    if (w->index != 0 && (w->term != term || w->index != index))
        wrong(e, w->reg,
              "value %llu was written by record %llu of term %llu, and again by %llu of %llu",
              ULL(value), ULL(w->index), ULL(w->term), ULL(index), ULL(term));
    w->term = term;
    w->index = index;
    for (unsigned i = 0; i < w->records; i++)
        if (w->at[i].hash == r->checksum)
            return;
    if (w->records < RECORDS_MAX)
        w->at[w->records++] = (struct where){r->partition, r->index, r->checksum};
}

void tm_sim_eventual_record(struct tm_sim_eventual *e, const struct tm_record *record)
{
    struct tm_bytes body = tm_record_body(record);
    struct tm_op_source source = {0};
    struct tm_change change;
    struct tm_op op;
    if (record->kind != TM_RECORD_EFFECT)
        return;
    while (tm_change_next(&body, &change))
        while (tm_op_next(&change.ops, &op)) {
            if (op.code == TM_OP_MERGED)
                memcpy(&source, op.value.data, sizeof source);
            uint64_t value = op.code == TM_OP_SET_FIELD ? value_in(op.value) : 0;
            if (value != 0)
                take_value(e, value, record, &source);
        }
}

/* ---- judging ---- */

static bool is_committed(const struct write *w, const struct tm_sim_truth *truth)
{
    for (unsigned i = 0; i < w->records; i++)
        if (tm_sim_truth_is_committed(truth, w->at[i].partition, w->at[i].index, w->at[i].hash))
            return true;
    return false;
}

static bool later(const struct write *a, const struct write *b)
{
    return a->term != b->term ? a->term > b->term : a->index > b->index;
}

/* Finds for each register the latest version that has to be there. */
static void find_newest(struct tm_sim_eventual *e, const struct tm_sim_truth *truth, bool lost)
{
    for (size_t v = 0; v < e->write_cap; v++) {
        const struct write *w = &e->writes[v];
        if (!w->asked)
            continue;
        if (w->told && w->index == 0 && !lost)
            wrong(e, w->reg, "value %llu was acknowledged and is in no record", ULL(v));
        if (w->index == 0 || !(is_committed(w, truth) || (w->told && !lost)))
            continue;
        struct reg *r = reg_of(e, w->reg);
        if (r->newest == 0 || later(w, &e->writes[r->newest]))
            r->newest = v;
    }
}

static void judge_value(struct tm_sim_eventual *e, uint32_t reg)
{
    const struct reg *r = &e->regs[reg];
    if (!r->found) {
        if (r->newest != 0)
            wrong(e, reg, "holds nothing, though %llu was written", ULL(r->newest));
        return;
    }
    const struct write *has = write_of(e, r->value);
    if (!has->asked || has->reg != reg)
        wrong(e, reg, "holds %llu, which nobody wrote there, or was told to have written",
              ULL(r->value));
    else if (r->newest != 0 && later(&e->writes[r->newest], has))
        wrong(e, reg, "holds %llu, version (%llu, %llu); %llu has (%llu, %llu)", ULL(r->value),
              ULL(has->term), ULL(has->index), ULL(r->newest), ULL(e->writes[r->newest].term),
              ULL(e->writes[r->newest].index));
}

static void judge_counter(const struct tm_sim_eventual *e, uint32_t reg)
{
    const struct reg *r = &e->regs[reg];
    int64_t total = r->found ? (int64_t)r->value : 0;
    if (total < r->sum + r->less || total > r->sum + r->more)
        wrong(e, reg, "counts %lld; %lld was acknowledged, from %lld to %lld beside it is unknown",
              (long long)total, (long long)r->sum, (long long)r->less, (long long)r->more);
}

void tm_sim_eventual_judge(struct tm_sim_eventual *e, const struct tm_sim_truth *truth, bool lost)
{
    find_newest(e, truth, lost);
    for (uint32_t i = 0; i < e->reg_cap; i++) {
        const struct reg *r = &e->regs[i];
        if (!r->touched || !r->read)
            continue;
        enum tm_sim_kind kind = tm_sim_register(i, &e->config.layout).kind;
        if (kind == TM_SIM_STRING || kind == TM_SIM_FIELD)
            judge_value(e, i);
        else if (kind != TM_SIM_MEMBER && !lost)
            judge_counter(e, i);
        else if (kind == TM_SIM_MEMBER && r->member && !r->found && !lost)
            wrong(e, i, "is not there, though it was acknowledged");
    }
}
