/* Values that clients write are numbers that are written once, so that a value in a record tells
 * whose it is.  Of counters records tell the running total of each leadership's component, of sets
 * their members.  Judging is in sim_eventual_judge.c. */
#include "tests/sim/sim_eventual_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void tm_sim_ev_wrong(const struct tm_sim_eventual *e, uint32_t reg, const char *fmt, ...)
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
    free(e->sights);
    free(e);
}

struct tm_sim_eventual_stats tm_sim_eventual_stats(const struct tm_sim_eventual *e)
{
    return e->stats;
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

struct tm_sim_ev_write *tm_sim_ev_write_of(struct tm_sim_eventual *e, uint64_t value)
{
    e->writes = reach(e->writes, &e->write_cap, value, sizeof *e->writes);
    return &e->writes[value];
}

struct tm_sim_ev_reg *tm_sim_ev_reg_of(struct tm_sim_eventual *e, uint32_t reg)
{
    e->regs = reach(e->regs, &e->reg_cap, reg, sizeof *e->regs);
    return &e->regs[reg];
}

/* ---- what clients were told ---- */

static void take_read(struct tm_sim_ev_reg *r, const struct tm_sim_step *s,
                      const struct tm_sim_call *c)
{
    if (c->outcome != TM_SIM_DONE || c->called_ns < r->read_ns)
        return;
    r->read = true;
    r->read_ns = c->called_ns;
    r->found = s->found;
    r->value = s->result;
}

static void take_add(struct tm_sim_ev_reg *r, const struct tm_sim_step *s, bool done)
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
        tm_sim_ev_reg_of(e, s->reg)->told |= done;
        return;
    }
    struct tm_sim_ev_write *w = tm_sim_ev_write_of(e, s->value);
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
        tm_sim_ev_reg_of(e, s->reg)->touched = true;
        if (s->verb == TM_SIM_READ)
            take_read(tm_sim_ev_reg_of(e, s->reg), s, call);
        else if (s->verb == TM_SIM_ADD)
            take_add(tm_sim_ev_reg_of(e, s->reg), s, call->outcome == TM_SIM_DONE);
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

static void take_value(struct tm_sim_eventual *e, const struct tm_sim_ev_sight *s)
{
    struct tm_sim_ev_write *w = tm_sim_ev_write_of(e, s->value);
    if (w->index != 0 && (w->term != s->term || w->index != s->index))
        tm_sim_ev_wrong(
            e, w->reg,
            "value %llu was written by record %llu of term %llu, and again by %llu of %llu",
            (unsigned long long)s->value, (unsigned long long)w->index, (unsigned long long)w->term,
            (unsigned long long)s->index, (unsigned long long)s->term);
    w->term = s->term;
    w->index = s->index;
}

/* Of several totals of one component in one record the last counts. */
static bool goes_on(struct tm_sim_eventual *e, const struct tm_sim_ev_sight *s)
{
    for (size_t i = e->sight_count; s->what == TM_SIM_EV_TOTAL && i > 0; i--) {
        struct tm_sim_ev_sight *before = &e->sights[i - 1];
        if (before->hash != s->hash)
            return false;
        if (before->what != s->what || before->reg != s->reg || before->term != s->term ||
            before->index != s->index)
            continue;
        before->value = s->value;
        return true;
    }
    return false;
}

static void take_sight(struct tm_sim_eventual *e, const struct tm_sim_ev_sight *s)
{
    if (s->what == TM_SIM_EV_VALUE)
        take_value(e, s);
    if (goes_on(e, s))
        return;
    e->sights = reach(e->sights, &e->sight_cap, e->sight_count, sizeof *e->sights);
    e->sights[e->sight_count++] = *s;
    tm_sim_ev_reg_of(e, s->reg)->partition = s->partition;
}

/* What the operation says of a register; false: nothing. */
static bool read_op(const struct tm_sim_eventual *e, const struct tm_change *change,
                    const struct tm_op *op, struct tm_sim_ev_sight *s)
{
    struct tm_counter_component c;
    if (op->code != TM_OP_SET_FIELD && op->code != TM_OP_COUNTER)
        return false;
    if (!tm_sim_register_named(&e->config.layout, change->key, op->name, &s->reg))
        return false;
    if (op->code == TM_OP_COUNTER) {
        memcpy(&c, op->value.data, sizeof c);
        s->what = TM_SIM_EV_TOTAL;
        s->value = (uint64_t)c.total;
        return true;
    }
    s->what = change->type == TM_ENTITY_SET ? TM_SIM_EV_MEMBER : TM_SIM_EV_VALUE;
    s->value = s->what == TM_SIM_EV_MEMBER ? 1 : value_in(op->value);
    return s->value != 0;
}

void tm_sim_eventual_record(struct tm_sim_eventual *e, const struct tm_record *record,
                            uint64_t now_ns)
{
    struct tm_bytes body = tm_record_body(record);
    struct tm_op_source source = {.term = record->term, .index = record->index};
    struct tm_change change;
    struct tm_op op;
    if (record->kind != TM_RECORD_EFFECT)
        return;
    while (tm_change_next(&body, &change))
        while (tm_op_next(&change.ops, &op)) {
            if (op.code == TM_OP_MERGED)
                memcpy(&source, op.value.data, sizeof source);
            struct tm_sim_ev_sight s = {.partition = record->partition,
                                        .term = source.term,
                                        .index = source.index,
                                        .record = record->index,
                                        .hash = record->checksum,
                                        .length = record->length,
                                        .seen_ns = now_ns,
                                        .merged = source.index != record->index ||
                                                  source.term != record->term};
            if (read_op(e, &change, &op, &s))
                take_sight(e, &s);
        }
}
