/* A search over what has happened so far, a set of calls, and what that led to, the values of the
 * registers.  Next may come any call that began before the earliest end of those that have not
 * happened yet.  One that changes nothing wherever it fits (a read) is taken as soon as it fits: to
 * wait for another place could gain nothing.
 *
 * A call that may never have happened may as well happen late: right before the first one that it
 * matters to, or not at all.  So it is tried last, and is *loose* until such a one has come; what
 * did happen comes only where nothing stays loose.  Of several that do the same the first one goes
 * first.  Where the search has been is remembered, so that it goes there once. */
#include "tests/sim/sim_linear.h"

#include "runtime/hash.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define OPS_MAX   TM_SIM_LINEAR_CALLS_MAX
#define REGS_MAX  64
#define WORDS     (OPS_MAX / 64)
#define NONE      UINT32_MAX
#define LOOSE_MAX 12

/* Clients are told whole ms. */
#define TTL_GRAIN_NS 2000000

struct value {
    uint64_t value;
    uint32_t life; /* which write for a time it is of; 0: for ever */
    uint32_t there;
};

struct state {
    struct value reg[REGS_MAX];
};

/* A call, or the end of the time of what one wrote. */
struct op {
    const struct tm_sim_call *call;
    uint64_t from, until; /* when it may have happened */
    bool required;        /* it did */
    bool pure;            /* it changes nothing wherever it fits */
    bool flush;           /* it removes all there is */
    uint32_t after;       /* the op that comes before it in any case, or NONE */
    uint32_t like;        /* optional: an earlier one that does the same, or NONE */
    uint32_t life;        /* of the write that ends here; 0: a call */
    uint32_t reg[TM_SIM_STEPS_MAX];
};

struct level {
    uint64_t done[WORDS];
    uint32_t taken; /* the op that led here, NONE at the top */
    unsigned next;  /* the candidate to try next */
    bool forced;    /* no other is to be tried */
    uint64_t limit; /* what began later waits */
    unsigned loose_count;
    uint16_t loose[LOOSE_MAX]; /* ascending */
};

struct place {
    uint64_t lo, hi; /* hash of where the search has been; 0: empty */
};

struct search {
    const struct tm_sim_linear_config *config;
    struct op op[OPS_MAX];
    unsigned ops, required;
    uint32_t regs[REGS_MAX]; /* their numbers */
    unsigned reg_count;
    struct level level[OPS_MAX + 1];
    struct state state[OPS_MAX + 1];
    unsigned depth;
    struct place *been;
    size_t been_cap, been_count;
    uint64_t tries;
    bool crowded;  /* more were loose than fit */
    unsigned best; /* required ops that happened, at the most */
    uint64_t best_done[WORDS];
};

/* ---- ops ---- */

static bool has(const uint64_t *set, unsigned i)
{
    return (set[i / 64] >> (i % 64) & 1) != 0;
}

static void put(uint64_t *set, unsigned i)
{
    set[i / 64] |= UINT64_C(1) << (i % 64);
}

static uint32_t reg_place(struct search *s, uint32_t reg)
{
    for (unsigned i = 0; i < s->reg_count; i++)
        if (s->regs[i] == reg)
            return i;
    if (s->reg_count == REGS_MAX)
        return NONE;
    s->regs[s->reg_count] = reg;
    return s->reg_count++;
}

/* Whether the step changes nothing if it is as the client was told. */
static bool step_is_pure(const struct tm_sim_step *st)
{
    bool in_vain = st->told && !st->found;
    return st->verb == TM_SIM_READ || st->verb == TM_SIM_TTL || st->verb == TM_SIM_EXPECT ||
           (st->verb == TM_SIM_REMOVE && in_vain) || (st->verb == TM_SIM_EXPIRE && in_vain) ||
           (st->verb == TM_SIM_PERSIST && in_vain) ||
           (st->verb == TM_SIM_WRITE_NEW && st->told && st->found);
}

static bool reads_only(const struct tm_sim_call *c)
{
    for (unsigned i = 0; i < c->count; i++)
        if (c->step[i].verb != TM_SIM_READ && c->step[i].verb != TM_SIM_TTL &&
            c->step[i].verb != TM_SIM_EXPECT)
            return false;
    return true;
}

/* Whether what it leaves there ends by itself. */
static bool sets_end(const struct tm_sim_call *c, const struct tm_sim_step *st)
{
    bool in_vain = st->verb == TM_SIM_EXPIRE && c->outcome == TM_SIM_DONE && st->told && !st->found;
    return (st->verb == TM_SIM_WRITE || st->verb == TM_SIM_EXPIRE) && st->ttl_ms != 0 && !in_vain;
}

/* False: there is no room. */
static bool add_end(struct search *s, unsigned of, unsigned step)
{
    if (s->ops == OPS_MAX)
        return false;
    const struct op *write = &s->op[of];
    const struct tm_sim_call *c = write->call;
    uint64_t ttl = (uint64_t)c->step[step].ttl_ms * 1000000, error = s->config->clock_error_ns;
    bool clocked = error != UINT64_MAX;
    struct op *e = &s->op[s->ops++];
    *e = (struct op){.call = c,
                     .from = c->called_ns,
                     .until = UINT64_MAX,
                     .required = clocked && write->required,
                     .after = of,
                     .like = NONE,
                     .life = of * TM_SIM_STEPS_MAX + step + 1,
                     .reg = {write->reg[step]}};
    if (clocked && ttl > error)
        e->from += ttl - error;
    if (e->required)
        e->until = c->returned_ns + ttl + error;
    return true;
}

static bool add_call(struct search *s, const struct tm_sim_call *c)
{
    bool done = c->outcome == TM_SIM_DONE;
    if (c->outcome == TM_SIM_REFUSED || (!done && reads_only(c)))
        return true;
    if (s->ops == OPS_MAX)
        return false;
    unsigned at = s->ops++;
    struct op *o = &s->op[at];
    *o = (struct op){.call = c,
                     .from = c->called_ns,
                     .until = done ? c->returned_ns : UINT64_MAX,
                     .required = done,
                     .pure = done && !c->summed,
                     .flush = c->step[0].verb == TM_SIM_FLUSH,
                     .after = NONE,
                     .like = NONE};
    for (unsigned i = 0; i < c->count && !o->flush; i++) {
        o->reg[i] = reg_place(s, c->step[i].reg);
        o->pure &= step_is_pure(&c->step[i]);
        if (o->reg[i] == NONE)
            return false;
    }
    o->pure &= !o->flush;
    for (unsigned i = 0; i < c->count; i++)
        if (sets_end(c, &c->step[i]) && !add_end(s, at, i))
            return false;
    return true;
}

/* What a client sent ahead comes after what it had sent before. */
static void order_clients(struct search *s)
{
    for (unsigned i = 0; i < s->ops; i++) {
        struct op *o = &s->op[i];
        for (unsigned k = 0; o->life == 0 && o->required && k < s->ops; k++) {
            const struct op *p = &s->op[k];
            if (p->life == 0 && p->required && p->call->client == o->call->client &&
                p->call->id < o->call->id &&
                (o->after == NONE || s->op[o->after].call->id < p->call->id))
                o->after = k;
        }
        s->required += o->required;
    }
}

static bool does_the_same(const struct op *a, const struct op *b)
{
    bool same = a->life == 0 && b->life == 0 && a->call->count == b->call->count;
    for (unsigned i = 0; same && i < a->call->count; i++) {
        const struct tm_sim_step *x = &a->call->step[i], *y = &b->call->step[i];
        same = x->verb == y->verb && x->reg == y->reg && x->value == y->value && x->ttl_ms == 0 &&
               y->ttl_ms == 0 && (x->verb != TM_SIM_EXPECT || x->found == y->found);
    }
    return same;
}

static void find_alike(struct search *s)
{
    for (uint32_t i = 0; i < s->ops; i++)
        for (uint32_t k = 0; !s->op[i].required && k < s->ops; k++) {
            const struct op *o = &s->op[k];
            bool before = o->from < s->op[i].from || (o->from == s->op[i].from && k < i);
            if (k != i && !o->required && before && does_the_same(o, &s->op[i]) &&
                (s->op[i].like == NONE || s->op[s->op[i].like].from <= o->from))
                s->op[i].like = k;
        }
}

/* How an op uses a register: it looks at it, it changes it. */
enum use { USE_NONE = 0, USE_LOOK = 1, USE_CHANGE = 2 };

static unsigned use_of(const struct op *o, unsigned step)
{
    const struct tm_sim_step *st = &o->call->step[step];
    bool told = o->required && (st->told || o->call->summed);
    if (o->life != 0)
        return USE_LOOK | USE_CHANGE;
    switch (st->verb) {
    case TM_SIM_READ:
    case TM_SIM_TTL:
        return o->required ? USE_LOOK : USE_NONE;
    case TM_SIM_EXPECT:
        return USE_LOOK;
    case TM_SIM_FLUSH:
        return USE_CHANGE;
    case TM_SIM_WRITE:
    case TM_SIM_REMOVE:
        return told ? USE_LOOK | USE_CHANGE : USE_CHANGE;
    case TM_SIM_WRITE_NEW:
    case TM_SIM_ADD:
    case TM_SIM_EXPIRE:
    case TM_SIM_PERSIST:
        break;
    }
    return USE_LOOK | USE_CHANGE;
}

static unsigned steps_of(const struct op *o)
{
    return o->life != 0 ? 1 : o->call->count;
}

static unsigned use_of_reg(const struct op *o, uint32_t reg)
{
    unsigned use = USE_NONE;
    if (o->flush)
        return USE_CHANGE;
    for (unsigned i = 0; i < steps_of(o); i++)
        if (o->reg[i] == reg)
            use |= use_of(o, i);
    return use;
}

/* Whether the two cannot change places. */
static bool conflict(const struct op *a, const struct op *b)
{
    if (a->flush || b->flush)
        return a->flush != b->flush;
    for (unsigned i = 0; i < steps_of(a); i++) {
        unsigned one = use_of(a, i), other = use_of_reg(b, a->reg[i]);
        if (one != USE_NONE && other != USE_NONE && ((one | other) & USE_CHANGE) != 0)
            return true;
    }
    return false;
}

/* Whether all that w changes is overwritten by o unseen. */
static bool in_vain(const struct op *w, const struct op *o)
{
    if (w->flush)
        return o->flush;
    for (unsigned i = 0; i < steps_of(w); i++)
        if ((use_of(w, i) & USE_CHANGE) != 0 && use_of_reg(o, w->reg[i]) != USE_CHANGE)
            return false;
    return true;
}

/* What is loose when op i comes behind l, in `below`.  False: it may not come. */
static bool bind(struct search *s, const struct level *l, uint32_t i, struct level *below)
{
    const struct op *o = &s->op[i];
    bool optional = !o->required, placed = false;
    if (optional && l->taken != NONE && !s->op[l->taken].required && i < l->taken &&
        !conflict(o, &s->op[l->taken]))
        return false; /* the other way round is the same */
    below->loose_count = 0;
    for (unsigned k = 0; k < l->loose_count; k++) {
        const struct op *w = &s->op[l->loose[k]];
        if (conflict(w, o)) {
            if (in_vain(w, o))
                return false;
            continue;
        }
        if (!optional)
            return false;
        if (!placed && i < l->loose[k]) {
            below->loose[below->loose_count++] = (uint16_t)i;
            placed = true;
        }
        below->loose[below->loose_count++] = l->loose[k];
    }
    if (optional && !placed)
        below->loose[below->loose_count++] = (uint16_t)i;
    s->crowded |= below->loose_count == LOOSE_MAX;
    return below->loose_count < LOOSE_MAX;
}

/* ---- what an op does ---- */

static bool is_as(const struct value *v, const struct tm_sim_step *st, uint64_t value)
{
    return (v->there != 0) == st->found && (!st->found || v->value == value);
}

/* Whether `left` ms may be left, in the call `now`, of what the write of that life left there. */
static bool may_be_left(const struct search *s, uint32_t life, const struct tm_sim_call *now,
                        uint64_t left)
{
    const struct op *write = &s->op[(life - 1) / TM_SIM_STEPS_MAX];
    const struct tm_sim_call *c = write->call;
    uint64_t ttl = (uint64_t)c->step[(life - 1) % TM_SIM_STEPS_MAX].ttl_ms * 1000000;
    uint64_t error = s->config->clock_error_ns, ns = left * 1000000;
    if (error == UINT64_MAX)
        return true;
    error += TTL_GRAIN_NS;
    uint64_t most = now->returned_ns - c->called_ns; /* since then, and at least */
    uint64_t least =
        write->required && now->called_ns > c->returned_ns ? now->called_ns - c->returned_ns : 0;
    return ns + least <= ttl + error && ns + most + error >= ttl;
}

static bool is_left(const struct search *s, const struct value *v, const struct tm_sim_step *st,
                    const struct tm_sim_call *now)
{
    if (v->there == 0 || !st->found)
        return (v->there != 0) == st->found;
    if (v->life == 0 || st->result == TM_SIM_FOR_EVER)
        return v->life == 0 && st->result == TM_SIM_FOR_EVER;
    return may_be_left(s, v->life, now, st->result);
}

/* What the step makes of it. */
static struct value after_step(struct value v, const struct tm_sim_step *st, uint32_t life)
{
    switch (st->verb) {
    case TM_SIM_READ:
    case TM_SIM_TTL:
    case TM_SIM_EXPECT:
        return v;
    case TM_SIM_WRITE_NEW:
        return v.there != 0 ? v : (struct value){.value = st->value, .there = 1};
    case TM_SIM_WRITE:
        return (struct value){.value = st->value, .there = 1, .life = st->ttl_ms != 0 ? life : 0};
    case TM_SIM_ADD:
        v.value += st->value;
        v.there = 1;
        return v;
    case TM_SIM_EXPIRE:
        v.life = v.there == 0 ? 0 : life;
        return st->ttl_ms == 0 ? (struct value){0} : v;
    case TM_SIM_PERSIST:
        v.life = 0;
        return v;
    case TM_SIM_REMOVE:
    case TM_SIM_FLUSH:
        break;
    }
    return (struct value){0};
}

/* What a step that says so by one bit found. */
static bool finds(const struct value *v, const struct tm_sim_step *st)
{
    return v->there != 0 && (st->verb != TM_SIM_PERSIST || v->life != 0);
}

/* Whether the client of op o was told right by its step, which meets v. */
static bool as_told(const struct search *s, const struct op *o, const struct tm_sim_step *st,
                    const struct value *v)
{
    if (st->verb == TM_SIM_EXPECT)
        return is_as(v, st, st->value);
    if (!o->required)
        return true;
    if (st->verb == TM_SIM_READ)
        return is_as(v, st, st->result);
    if (st->verb == TM_SIM_ADD)
        return v->value + st->value == st->result;
    if (st->verb == TM_SIM_TTL)
        return is_left(s, v, st, o->call);
    return !st->told || finds(v, st) == st->found;
}

/* The state after op i in `to`; false: it cannot come here. */
static bool apply(const struct search *s, unsigned i, const struct state *from, struct state *to)
{
    const struct op *o = &s->op[i];
    memcpy(to->reg, from->reg, s->reg_count * sizeof to->reg[0]);
    if (o->life != 0) {
        struct value *v = &to->reg[o->reg[0]];
        if (v->there != 0 && v->life == o->life)
            *v = (struct value){0};
        return true;
    }
    if (o->flush) {
        memset(to->reg, 0, s->reg_count * sizeof to->reg[0]);
        return true;
    }
    unsigned found = 0;
    for (unsigned k = 0; k < o->call->count; k++) {
        struct value *v = &to->reg[o->reg[k]];
        const struct tm_sim_step *st = &o->call->step[k];
        if (!as_told(s, o, st, v))
            return false;
        found += !st->told && finds(v, st);
        *v = after_step(*v, st, i * TM_SIM_STEPS_MAX + k + 1);
    }
    return !o->required || !o->call->summed || found == o->call->sum;
}

static bool same(const struct search *s, const struct state *a, const struct state *b)
{
    return memcmp(a->reg, b->reg, s->reg_count * sizeof a->reg[0]) == 0;
}

/* The time of what was overwritten ends without effect, whenever that is. */
static bool spent(const struct search *s, const struct op *o, const struct state *now)
{
    const struct value *v = &now->reg[o->reg[0]];
    return o->life != 0 && (v->there == 0 || v->life != o->life) && s->reg_count > 0;
}

/* ---- where it has been ---- */

static struct place place_of(const struct search *s, const struct level *l, const struct state *st)
{
    struct tm_hash128 h = tm_hash128(st->reg, s->reg_count * sizeof st->reg[0], 0);
    uint64_t all[WORDS + 3 + LOOSE_MAX / 4] = {0};
    memcpy(all, l->done, sizeof l->done);
    all[WORDS] = h.lo;
    all[WORDS + 1] = h.hi;
    all[WORDS + 2] = l->taken != NONE && !s->op[l->taken].required ? l->taken : NONE;
    memcpy(&all[WORDS + 3], l->loose, l->loose_count * sizeof l->loose[0]);
    h = tm_hash128(all, sizeof all, 1);
    return (struct place){h.lo | 1, h.hi};
}

static void been_grow(struct search *s)
{
    size_t cap = s->been_cap == 0 ? 64 : 2 * s->been_cap;
    struct place *table = calloc(cap, sizeof *table);
    TM_ASSERT(table != NULL);
    for (size_t i = 0; i < s->been_cap; i++) {
        size_t at = s->been[i].lo & (cap - 1);
        while (s->been[i].lo != 0 && table[at].lo != 0)
            at = (at + 1) & (cap - 1);
        if (s->been[i].lo != 0)
            table[at] = s->been[i];
    }
    free(s->been);
    s->been = table;
    s->been_cap = cap;
}

/* Notes the place; false: it has been there. */
static bool arrive(struct search *s, const struct level *l, const struct state *st)
{
    if (2 * s->been_count >= s->been_cap)
        been_grow(s);
    struct place p = place_of(s, l, st);
    size_t at = p.lo & (s->been_cap - 1);
    for (; s->been[at].lo != 0; at = (at + 1) & (s->been_cap - 1))
        if (s->been[at].lo == p.lo && s->been[at].hi == p.hi)
            return false;
    s->been[at] = p;
    s->been_count++;
    return true;
}

/* ---- the search ---- */

/* The earliest end of what has not happened; and how much has. */
static uint64_t limit_of(struct search *s, const struct level *l)
{
    uint64_t limit = UINT64_MAX;
    unsigned happened = 0;
    for (unsigned i = 0; i < s->ops; i++) {
        if (!s->op[i].required)
            continue;
        if (has(l->done, i))
            happened++;
        else
            limit = tm_min_u64(limit, s->op[i].until);
    }
    if (happened > s->best || s->depth == 0) {
        s->best = happened;
        memcpy(s->best_done, l->done, sizeof l->done);
    }
    return limit;
}

static bool candidate(const struct search *s, const struct level *l, unsigned i)
{
    const struct op *o = &s->op[i];
    return !has(l->done, i) && o->from <= l->limit &&
           (o->after == NONE || has(l->done, o->after)) &&
           (o->like == NONE || has(l->done, o->like));
}

/* Goes one level deeper by op i if that leads anywhere new. */
static bool go(struct search *s, unsigned i, bool forced)
{
    struct level *l = &s->level[s->depth], *below = l + 1;
    struct state *now = &s->state[s->depth], *then = now + 1;
    s->tries++;
    if (!bind(s, l, i, below) || !apply(s, i, now, then))
        return false;
    if (!s->op[i].required && same(s, now, then))
        return false;
    memcpy(below->done, l->done, sizeof l->done);
    put(below->done, i);
    below->taken = i;
    if (!arrive(s, below, then))
        return false;
    l->forced = forced;
    below->next = 0;
    below->forced = false;
    s->depth++;
    below->limit = limit_of(s, below);
    return true;
}

/* Whether op i is to be taken now if it fits, and nothing else tried. */
static bool at_once(const struct search *s, const struct level *l, unsigned i)
{
    return candidate(s, l, i) && (s->op[i].pure || spent(s, &s->op[i], &s->state[s->depth]));
}

static bool take_forced(struct search *s)
{
    struct level *l = &s->level[s->depth];
    struct state then;
    for (unsigned i = 0; i < s->ops; i++)
        if (at_once(s, l, i) && s->op[i].required && apply(s, i, &s->state[s->depth], &then)) {
            if (!go(s, i, true))
                l->next = 2 * s->ops; /* it was there before, in vain */
            return true;
        }
    return false;
}

/* The next thing to try at this level: what did happen first, then what may have. */
static bool take_next(struct search *s)
{
    struct level *l = &s->level[s->depth];
    while (l->next < 2 * s->ops && !l->forced) {
        unsigned i = l->next % s->ops;
        bool wanted = s->op[i].required == (l->next < s->ops);
        l->next++;
        if (wanted && candidate(s, l, i) && go(s, i, false))
            return true;
    }
    return false;
}

static enum tm_sim_linear search(struct search *s)
{
    s->level[0].limit = limit_of(s, &s->level[0]);
    (void)arrive(s, &s->level[0], &s->state[0]);
    while (s->tries < s->config->tries_max) {
        struct level *l = &s->level[s->depth];
        if (l->limit == UINT64_MAX)
            return TM_SIM_LINEAR_YES;
        if (l->next == 0 && !l->forced && take_forced(s))
            continue;
        if (take_next(s))
            continue;
        if (s->depth == 0)
            return s->crowded ? TM_SIM_LINEAR_UNDECIDED : TM_SIM_LINEAR_NO;
        s->depth--;
    }
    return TM_SIM_LINEAR_UNDECIDED;
}

/* ---- words ---- */

struct text {
    char *at;
    size_t left;
};

static void say(struct text *t, const char *fmt, ...) TM_PRINTF(2, 3);

static void say(struct text *t, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(t->at, t->left, fmt, args);
    va_end(args);
    if (n < 0 || (size_t)n >= t->left)
        n = (int)t->left - 1;
    t->at += n;
    t->left -= (size_t)n;
}

static void say_step(struct text *t, const struct tm_sim_step *st, bool done)
{
    static const char *const verbs[] = {
#define X(verb) #verb,
        TM_SIM_VERBS(X)
#undef X
    };
    say(t, " %s r%u", verbs[st->verb], st->reg);
    if (st->verb == TM_SIM_WRITE || st->verb == TM_SIM_WRITE_NEW || st->verb == TM_SIM_ADD)
        say(t, " %lld", (long long)st->value);
    if (st->ttl_ms != 0 || st->verb == TM_SIM_EXPIRE)
        say(t, " for %u ms", st->ttl_ms);
    if (st->verb == TM_SIM_EXPECT)
        say(t, st->found ? " %lld" : " nothing", (long long)st->value);
    if (!done)
        return;
    if (st->verb == TM_SIM_READ)
        say(t, st->found ? " = %lld" : " = nothing", (long long)st->result);
    else if (st->verb == TM_SIM_ADD)
        say(t, " = %lld", (long long)st->result);
    else if (st->verb == TM_SIM_TTL && st->result == TM_SIM_FOR_EVER)
        say(t, " = for ever");
    else if (st->verb == TM_SIM_TTL)
        say(t, st->found ? " = %lld ms" : " = nothing", (long long)st->result);
    else if (st->told)
        say(t, st->found ? " (was there)" : " (was not there)");
}

/* Calls in the order of their begin; * marks what the best order found a place for. */
static void explain(const struct search *s, struct tm_sim_linear_result *result)
{
    struct text t = {result->text, sizeof result->text};
    say(&t, "%u of %u fit:\n", s->best, s->required);
    uint64_t last_at = 0, last_id = 0;
    for (unsigned n = 0; n < s->ops; n++) {
        const struct op *next = NULL;
        for (unsigned i = 0; i < s->ops; i++) {
            const struct op *o = &s->op[i];
            bool later = o->from > last_at || (o->from == last_at && o->call->id > last_id);
            if (o->life == 0 && later &&
                (next == NULL || o->from < next->from ||
                 (o->from == next->from && o->call->id < next->call->id)))
                next = o;
        }
        if (next == NULL)
            return;
        last_at = next->from;
        last_id = next->call->id;
        const struct tm_sim_call *c = next->call;
        say(&t, "%c call %llu client %u of node %u.%u, %.6f..",
            has(s->best_done, (unsigned)(next - s->op)) ? '*' : ' ', (unsigned long long)c->id,
            c->client, c->node, c->worker, (double)c->called_ns / 1e9);
        if (next->required)
            say(&t, "%.6f:", (double)c->returned_ns / 1e9);
        else
            say(&t, "?:");
        for (unsigned k = 0; k < c->count; k++)
            say_step(&t, &c->step[k], next->required);
        if (c->summed)
            say(&t, " (%u found)", c->sum);
        say(&t, "\n");
    }
}

/* ---- parts that nothing joins ---- */

static uint32_t root_of(const uint32_t *up, uint32_t i)
{
    while (up[i] != i)
        i = up[i];
    return i;
}

/* Whether the order of the two may matter: they share a register, or a client sent one ahead of the
 * other's answer. */
static bool joined(const struct tm_sim_call *a, const struct tm_sim_call *b)
{
    if (a->client == b->client && a->called_ns <= b->returned_ns &&
        b->called_ns <= a->returned_ns && a->outcome == TM_SIM_DONE && b->outcome == TM_SIM_DONE)
        return true;
    for (unsigned i = 0; i < a->count; i++)
        for (unsigned k = 0; k < b->count; k++)
            if (a->step[i].reg == b->step[k].reg)
                return true;
    return false;
}

static bool is_flush(const struct tm_sim_call *c)
{
    return c->step[0].verb == TM_SIM_FLUSH;
}

/* For each call the first call of its part. */
static void join(const struct tm_sim_call *calls, unsigned count, uint32_t *part)
{
    for (uint32_t i = 0; i < count; i++)
        part[i] = i;
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t k = 0; k < i; k++) {
            uint32_t x = root_of(part, i), y = root_of(part, k);
            if (x != y && !is_flush(&calls[i]) && !is_flush(&calls[k]) &&
                joined(&calls[i], &calls[k]))
                part[tm_max_u64(x, y)] = (uint32_t)tm_min_u64(x, y);
        }
    for (uint32_t i = 0; i < count; i++)
        part[i] = root_of(part, i);
}

/* Most of a search is room that is written before it is read. */
static void begin(struct search *s, const struct tm_sim_linear_config *config)
{
    s->config = config;
    s->ops = s->required = s->reg_count = s->depth = s->best = 0;
    s->been = NULL;
    s->been_cap = s->been_count = 0;
    s->tries = 0;
    s->crowded = false;
    s->level[0] = (struct level){.taken = NONE};
    memset(&s->state[0], 0, sizeof s->state[0]);
}

static enum tm_sim_linear check_part(struct search *s, const struct tm_sim_call *calls,
                                     unsigned count, const uint32_t *part, uint32_t which)
{
    bool room = true;
    for (unsigned i = 0; i < count && room; i++)
        if (part[i] == which || is_flush(&calls[i]))
            room = add_call(s, &calls[i]);
    if (!room)
        return TM_SIM_LINEAR_UNDECIDED;
    order_clients(s);
    find_alike(s);
    return search(s);
}

void tm_sim_linear_check(const struct tm_sim_call *calls, unsigned count,
                         const struct tm_sim_linear_config *config,
                         struct tm_sim_linear_result *result)
{
    uint32_t *part = calloc(count + 1ul, sizeof *part);
    struct search *s = malloc(sizeof *s);
    TM_ASSERT(part != NULL && s != NULL);
    result->verdict = TM_SIM_LINEAR_YES;
    result->tries = 0;
    result->text[0] = '\0';
    join(calls, count, part);
    for (uint32_t i = 0; i < count && result->verdict != TM_SIM_LINEAR_NO; i++) {
        if (part[i] != i || is_flush(&calls[i]))
            continue;
        begin(s, config);
        enum tm_sim_linear v = check_part(s, calls, count, part, i);
        result->tries += s->tries;
        if (v != TM_SIM_LINEAR_YES)
            result->verdict = v;
        if (v == TM_SIM_LINEAR_NO)
            explain(s, result);
        free(s->been);
    }
    free(s);
    free(part);
}
