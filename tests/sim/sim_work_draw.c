/* Groups of registers in use, and calls drawn for them.  Commands about several registers take
 * those of one group, which happen at one moment, or here and there. */
#include "tests/sim/sim_work_internal.h"

#include <stdlib.h>

#define HOT 6

/* ---- groups ---- */

void tm_sim_work_reach(struct tm_sim_work *w, uint32_t round)
{
    uint32_t had = w->register_count, want = (round + 1) * w->config.registers;
    if (want <= had)
        return;
    w->registers = realloc(w->registers, want * sizeof *w->registers);
    w->touched = realloc(w->touched, want * sizeof *w->touched);
    TM_ASSERT(w->registers != NULL && w->touched != NULL);
    for (uint32_t i = had; i < want; i++) {
        w->registers[i] = tm_sim_register(i, &w->layout);
        w->touched[i] = false;
    }
    w->register_count = want;
}

static struct tm_sim_round *round_of(struct tm_sim_work *w, uint32_t reg)
{
    struct tm_sim_round *r = &w->rounds[reg % w->config.registers % w->config.groups];
    return r->number == reg / w->config.registers ? r : NULL;
}

void tm_sim_work_count(struct tm_sim_work *w, const struct tm_sim_call *call, bool unknown)
{
    struct tm_sim_round *r = round_of(w, call->step[0].reg);
    if (r == NULL || call->step[0].verb == TM_SIM_FLUSH)
        return;
    r->calls += !unknown;
    r->unknown += unknown;
    if (r->calls < TM_SIM_WORK_GROUP_CALLS && r->unknown < TM_SIM_WORK_UNKNOWN)
        return;
    *r = (struct tm_sim_round){.number = r->number + 1};
    tm_sim_work_reach(w, r->number);
}

bool tm_sim_work_piece(const struct tm_sim_work *w, const struct tm_sim_call *whole, uint32_t *done,
                       struct tm_sim_call *piece)
{
    uint32_t group = 0;
    uint64_t first = 0;
    piece->count = 0;
    for (unsigned i = 0; i < whole->count; i++) {
        uint32_t of = tm_sim_group_of(&w->layout, whole->step[i].reg);
        if ((*done >> i & 1) != 0 || (piece->count > 0 && of != group))
            continue;
        if (piece->count == 0) {
            *piece = *whole;
            piece->count = 0;
            group = of;
            first = i;
        }
        piece->step[piece->count++] = whole->step[i];
        *done |= 1u << i;
    }
    piece->id = whole->id + first;
    if (piece->count < whole->count)
        piece->summed = false; /* that was the sum of all */
    return piece->count > 0;
}

/* ---- what to ask ---- */

/* The hot ones are of one group and of all kinds. */
static uint32_t any_register(struct tm_sim_work *w)
{
    uint64_t hot = tm_sim_work_any(w, HOT) * w->config.groups;
    uint32_t reg = (uint32_t)tm_sim_work_any(w, w->config.registers);
    if (tm_sim_work_chance(w, w->config.hot) && hot < w->config.registers)
        reg = (uint32_t)hot;
    return reg + w->rounds[reg % w->config.groups].number * w->config.registers;
}

static enum tm_sim_verb any_verb(struct tm_sim_work *w, enum tm_sim_kind kind)
{
    unsigned sum = 0, verb = 0;
    for (unsigned i = 0; i < TM_SIM_EXPECT; i++)
        sum += tm_sim_register_takes(kind, (enum tm_sim_verb)i) ? w->config.share[i] : 0;
    uint64_t left = sum == 0 ? 0 : tm_sim_work_any(w, sum);
    for (; sum > 0; verb++) {
        unsigned share =
            tm_sim_register_takes(kind, (enum tm_sim_verb)verb) ? w->config.share[verb] : 0;
        if (left < share)
            break;
        left -= share;
    }
    return (enum tm_sim_verb)verb;
}

static void draw_step(struct tm_sim_work *w, struct tm_sim_step *s, uint32_t reg,
                      enum tm_sim_verb verb)
{
    enum tm_sim_kind kind = w->registers[reg].kind;
    bool string = kind == TM_SIM_STRING;
    *s = (struct tm_sim_step){.verb = verb, .reg = reg};
    if (verb == TM_SIM_ADD)
        s->value = tm_sim_work_any(w, 8) == 0 ? (uint64_t) - (int64_t)tm_sim_work_any(w, 100)
                                              : 1 + tm_sim_work_any(w, 3);
    else if (verb == TM_SIM_WRITE || verb == TM_SIM_WRITE_NEW)
        s->value = kind == TM_SIM_MEMBER ? 1 : ++w->values;
    if (verb == TM_SIM_EXPIRE ||
        (verb == TM_SIM_WRITE && string && tm_sim_work_chance(w, w->config.ttl)))
        s->ttl_ms = (uint32_t)tm_sim_work_any(w, 1ULL << (4 + tm_sim_work_any(w, 10)));
}

void tm_sim_work_draw_read(struct tm_sim_work *w, struct tm_sim_step *s, uint32_t reg)
{
    draw_step(w, s, reg, TM_SIM_READ);
}

void tm_sim_work_draw_anew(struct tm_sim_work *w, struct tm_sim_asked *asked)
{
    asked->call.summed = asked->failed = false;
    for (unsigned i = 0; i < asked->call.count; i++) {
        struct tm_sim_step *s = &asked->call.step[i];
        bool numbered = s->value > 1 && s->verb != TM_SIM_ADD;
        s->found = s->told = false;
        s->result = 0;
        if (numbered)
            s->value = ++w->values;
    }
}

/* Another register of the same group. */
static uint32_t neighbour(struct tm_sim_work *w, uint32_t reg)
{
    uint32_t groups = w->config.groups, place = reg % w->config.registers, group = place % groups;
    uint32_t many = (w->config.registers - group + groups - 1) / groups;
    return reg - place + group + groups * (uint32_t)tm_sim_work_any(w, many);
}

static bool has_register(const struct tm_sim_call *c, uint32_t reg)
{
    for (unsigned i = 0; i < c->count; i++)
        if (c->step[i].reg == reg)
            return true;
    return false;
}

/* Steps of one transaction are on registers of one group, each on its own. */
static void draw_more(struct tm_sim_work *w, struct tm_sim_call *c)
{
    unsigned want = 1 + (unsigned)tm_sim_work_any(w, TM_SIM_STEPS_MAX - 2);
    for (unsigned tries = 0; tries < 2 * want && c->count < want + 1; tries++) {
        uint32_t reg = neighbour(w, c->step[0].reg);
        if (has_register(c, reg))
            continue;
        draw_step(w, &c->step[c->count], reg, any_verb(w, w->registers[reg].kind));
        c->count++;
    }
}

/* ---- commands about several ---- */

static void add_step(struct tm_sim_work *w, struct tm_sim_asked *a, uint32_t reg)
{
    struct tm_sim_call *c = &a->call;
    enum tm_sim_verb verb = tm_sim_many_verb(a->many);
    if (c->count == TM_SIM_STEPS_MAX || has_register(c, reg) ||
        !tm_sim_many_takes(a->many, w->registers[reg].kind))
        return;
    draw_step(w, &c->step[c->count], reg, verb);
    c->step[c->count++].ttl_ms = 0;
}

static void add_keys(struct tm_sim_work *w, struct tm_sim_asked *a, uint32_t reg)
{
    bool scatter = tm_sim_work_chance(w, w->config.scatter);
    unsigned want = (unsigned)tm_sim_work_any(w, TM_SIM_STEPS_MAX);
    add_step(w, a, reg);
    for (unsigned i = 0; i < want; i++)
        add_step(w, a, scatter ? any_register(w) : neighbour(w, reg));
}

static void add_parts(struct tm_sim_work *w, struct tm_sim_asked *a, uint32_t reg)
{
    uint32_t parts[TM_SIM_STEPS_MAX];
    unsigned count = tm_sim_words_parts(reg, &w->layout, parts);
    bool whole = tm_sim_many_about(a->many) == TM_SIM_ABOUT_WHOLE;
    for (unsigned i = 0; i < count; i++)
        if (whole || parts[i] == reg || tm_sim_work_any(w, 2) == 0)
            add_step(w, a, parts[i]);
}

/* One that this register can be part of and whose verb has a share.  False: none was found. */
static bool draw_many(struct tm_sim_work *w, struct tm_sim_asked *a, uint32_t reg)
{
    *a = (struct tm_sim_asked){.form = TM_SIM_FORM_MANY};
    for (unsigned tries = 0; tries < 8; tries++) {
        a->many = (enum tm_sim_many)tm_sim_work_any(w, TM_SIM_MANY_COUNT);
        if (tm_sim_many_takes(a->many, w->registers[reg].kind) &&
            tm_sim_work_any(w, 80) < w->config.share[tm_sim_many_verb(a->many)])
            break;
    }
    if (!tm_sim_many_takes(a->many, w->registers[reg].kind) ||
        w->config.share[tm_sim_many_verb(a->many)] == 0)
        return false;
    if (tm_sim_many_about(a->many) == TM_SIM_ABOUT_KEYS)
        add_keys(w, a, reg);
    else
        add_parts(w, a, reg);
    return true;
}

/* ---- calls ---- */

/* Too many whose outcome is unknown would leave nothing to be said of any register. */
static bool wants_flush(struct tm_sim_work *w)
{
    return w->config.flush > 0 && w->flushes_unknown < TM_SIM_WORK_FLUSHES_UNKNOWN &&
           tm_sim_work_any(w, 100000) < w->config.flush;
}

void tm_sim_work_draw(struct tm_sim_work *w, struct tm_sim_asked *a)
{
    uint32_t reg = any_register(w);
    unsigned sum = 0;
    if (tm_sim_work_chance(w, w->config.many) && draw_many(w, a, reg))
        return;
    *a = (struct tm_sim_asked){.form = TM_SIM_FORM_PLAIN, .call.count = 1};
    if (wants_flush(w)) {
        a->call.step[0].verb = TM_SIM_FLUSH;
        return;
    }
    for (unsigned i = 0; i <= TM_SIM_EXPECT; i++)
        sum += w->config.share[i];
    if (tm_sim_work_any(w, sum) < w->config.share[TM_SIM_EXPECT]) {
        a->form = TM_SIM_FORM_WATCHED;
        draw_step(w, &a->call.step[0], reg, TM_SIM_READ);
        return;
    }
    draw_step(w, &a->call.step[0], reg, any_verb(w, w->registers[reg].kind));
    if (tm_sim_work_chance(w, w->config.multi)) {
        a->form = TM_SIM_FORM_MULTI;
        draw_more(w, &a->call);
    }
}

/* Writes what was read, or its neighbours. */
void tm_sim_work_draw_watched(struct tm_sim_work *w, const struct tm_sim_step *read,
                              struct tm_sim_asked *a)
{
    enum tm_sim_verb verb = any_verb(w, w->registers[read->reg].kind);
    if (verb == TM_SIM_READ || verb == TM_SIM_TTL)
        verb = TM_SIM_REMOVE;
    *a = (struct tm_sim_asked){.form = TM_SIM_FORM_MULTI, .call.count = 2};
    a->call.step[0] = (struct tm_sim_step){
        .verb = TM_SIM_EXPECT, .reg = read->reg, .found = read->found, .value = read->result};
    draw_step(w, &a->call.step[1], read->reg, verb);
    if (tm_sim_work_chance(w, w->config.multi))
        draw_more(w, &a->call);
}
