/* The search for an order of a history: by histories made by hand, and against a search that tries
 * every order of small random ones. */
#include "runtime/rng.h"
#include "tests/sim/sim_linear.h"
#include "tests/test.h"

#define CALLS 40

static struct tm_sim_call calls[CALLS];
static unsigned count;
static struct tm_sim_linear_result result;
static const struct tm_sim_linear_config exact = {.clock_error_ns = 0, .tries_max = 1u << 20};

static struct tm_sim_call *add(uint64_t from_ms, uint64_t to_ms, unsigned client)
{
    struct tm_sim_call *c = &calls[count++];
    *c = (struct tm_sim_call){.id = count,
                              .client = client,
                              .outcome = TM_SIM_DONE,
                              .called_ns = from_ms * 1000000,
                              .returned_ns = to_ms * 1000000};
    return c;
}

static struct tm_sim_step *step(struct tm_sim_call *c, enum tm_sim_verb verb, uint32_t reg,
                                uint64_t value)
{
    struct tm_sim_step *s = &c->step[c->count++];
    *s = (struct tm_sim_step){.verb = verb, .reg = reg, .value = value};
    return s;
}

static struct tm_sim_call *writes(uint64_t from, uint64_t to, unsigned client, uint64_t value)
{
    struct tm_sim_call *c = add(from, to, client);
    step(c, TM_SIM_WRITE, 0, value);
    return c;
}

/* value 0: absent */
static struct tm_sim_call *reads(uint64_t from, uint64_t to, unsigned client, uint64_t value)
{
    struct tm_sim_call *c = add(from, to, client);
    struct tm_sim_step *s = step(c, TM_SIM_READ, 0, 0);
    s->found = value != 0;
    s->result = value;
    return c;
}

static struct tm_sim_call *adds(uint64_t from, uint64_t to, unsigned client, uint64_t by,
                                uint64_t total)
{
    struct tm_sim_call *c = add(from, to, client);
    step(c, TM_SIM_ADD, 0, by)->result = total;
    return c;
}

static struct tm_sim_call *removes(uint64_t from, uint64_t to, unsigned client, bool found)
{
    struct tm_sim_call *c = add(from, to, client);
    struct tm_sim_step *s = step(c, TM_SIM_REMOVE, 0, 0);
    s->told = true;
    s->found = found;
    return c;
}

static void expect_by(const struct tm_sim_linear_config *config, enum tm_sim_linear verdict)
{
    tm_sim_linear_check(calls, count, config, &result);
    if (result.verdict != verdict)
        printf("  verdict %d, not %d: %s\n", (int)result.verdict, (int)verdict, result.text);
    CU_ASSERT_EQUAL(result.verdict, verdict);
    count = 0;
}

static void may_be(void)
{
    expect_by(&exact, TM_SIM_LINEAR_YES);
}

static void may_not_be(void)
{
    expect_by(&exact, TM_SIM_LINEAR_NO);
}

static void a_read_sees_the_write_before_it(void)
{
    writes(0, 1, 0, 5);
    reads(2, 3, 1, 5);
    may_be();
    writes(0, 1, 0, 5);
    reads(2, 3, 1, 0);
    may_not_be();
    writes(0, 1, 0, 5);
    writes(2, 3, 0, 6);
    reads(4, 5, 1, 5);
    may_not_be();
}

static void a_read_beside_a_write_sees_either(void)
{
    writes(0, 1, 0, 5);
    writes(2, 6, 0, 6);
    reads(3, 4, 1, 5);
    reads(4, 5, 2, 6);
    may_be();
    writes(0, 1, 0, 5);
    writes(2, 6, 0, 6);
    reads(3, 4, 1, 6);
    reads(5, 6, 2, 5); /* and then never the old one again */
    may_not_be();
}

static void writers_agree_on_one_order(void)
{
    writes(0, 9, 0, 1);
    writes(0, 9, 1, 2);
    reads(1, 2, 2, 1);
    reads(3, 4, 2, 2);
    reads(10, 11, 3, 2);
    may_be();
    writes(0, 9, 0, 1);
    writes(0, 9, 1, 2);
    reads(1, 2, 2, 1);
    reads(3, 4, 2, 2);
    reads(10, 11, 3, 1);
    may_not_be();
}

static void what_was_refused_never_happens(void)
{
    writes(0, 1, 0, 5);
    writes(2, 3, 0, 6)->outcome = TM_SIM_REFUSED;
    reads(4, 5, 1, 5);
    may_be();
    writes(0, 1, 0, 5);
    writes(2, 3, 0, 6)->outcome = TM_SIM_REFUSED;
    reads(4, 5, 1, 6);
    may_not_be();
    adds(0, 1, 0, 1, 1)->outcome = TM_SIM_REFUSED;
    adds(2, 3, 0, 1, 2);
    may_not_be();
}

static void what_is_unknown_happens_late_or_never(void)
{
    writes(0, 1, 0, 5);
    writes(2, 3, 0, 6)->outcome = TM_SIM_UNKNOWN;
    reads(4, 5, 1, 5);
    reads(6, 7, 1, 6);
    may_be();
    writes(0, 1, 0, 5);
    writes(2, 3, 0, 6)->outcome = TM_SIM_UNKNOWN;
    reads(4, 5, 1, 6);
    reads(6, 7, 1, 5); /* but not twice, and it is not undone */
    may_not_be();
    writes(4, 5, 0, 6)->outcome = TM_SIM_UNKNOWN;
    reads(1, 2, 1, 6); /* and not before it was asked for */
    may_not_be();
    adds(0, 1, 0, 1, 0)->outcome = TM_SIM_PENDING;
    adds(2, 3, 1, 1, 2);
    may_be();
}

static void counters_count_each_once(void)
{
    adds(0, 9, 0, 1, 2);
    adds(0, 9, 1, 1, 1);
    adds(0, 9, 2, 1, 3);
    may_be();
    adds(0, 9, 0, 1, 2);
    adds(0, 9, 1, 1, 2);
    may_not_be();
    adds(0, 1, 0, 5, 5);
    adds(2, 3, 0, (uint64_t)-7, (uint64_t)-2);
    may_be();
}

static void what_was_removed_is_gone(void)
{
    writes(0, 1, 0, 5);
    removes(2, 3, 1, true);
    reads(4, 5, 0, 0);
    removes(6, 7, 1, false);
    may_be();
    writes(0, 1, 0, 5);
    removes(2, 3, 1, true);
    reads(4, 5, 0, 5);
    may_not_be();
    writes(0, 1, 0, 5);
    removes(2, 3, 1, false);
    may_not_be();
    writes(0, 1, 0, 5);
    removes(2, 9, 1, true);
    removes(2, 9, 2, true); /* one of them found nothing */
    may_not_be();
}

static void only_the_first_writes_what_is_new(void)
{
    for (int second = 0; second < 2; second++) {
        for (unsigned i = 0; i < 2; i++) {
            struct tm_sim_call *c = add(0, 9, i);
            struct tm_sim_step *s = step(c, TM_SIM_WRITE_NEW, 0, 5 + i);
            s->told = true;
            s->found = i == 1 && second == 1;
        }
        reads(10, 11, 2, 5);
        if (second == 1)
            may_be();
        else
            may_not_be();
    }
}

static void a_transaction_is_one_step(void)
{
    for (uint64_t seen = 5; seen < 7; seen++) {
        struct tm_sim_call *c = add(0, 1, 0);
        step(c, TM_SIM_WRITE, 0, 5);
        step(c, TM_SIM_WRITE, 1, 105);
        c = add(2, 9, 0);
        step(c, TM_SIM_WRITE, 0, 6);
        step(c, TM_SIM_WRITE, 1, 106);
        c = add(3, 4, 1);
        struct tm_sim_step *s = step(c, TM_SIM_READ, 0, 0);
        s->found = true;
        s->result = seen;
        s = step(c, TM_SIM_READ, 1, 0);
        s->found = true;
        s->result = 106;
        if (seen == 6)
            may_be();
        else
            may_not_be();
    }
}

static void a_watched_register_was_as_it_was_read(void)
{
    for (uint64_t watched = 5; watched < 7; watched++) {
        writes(0, 1, 0, 5);
        writes(2, 3, 1, 6);
        struct tm_sim_call *c = add(4, 5, 0);
        struct tm_sim_step *s = step(c, TM_SIM_EXPECT, 0, watched);
        s->found = true;
        step(c, TM_SIM_WRITE, 0, 7);
        if (watched == 6)
            may_be();
        else
            may_not_be();
    }
}

static void what_was_written_for_a_time_ends_then(void)
{
    static const struct tm_sim_linear_config fast = {.clock_error_ns = 10000000,
                                                     .tries_max = 1u << 20};
    static const struct tm_sim_linear_config wild = {.clock_error_ns = UINT64_MAX,
                                                     .tries_max = 1u << 20};
    writes(0, 1, 0, 5)->step[0].ttl_ms = 100;
    reads(50, 51, 1, 5);
    reads(150, 151, 1, 0);
    may_be();
    writes(0, 1, 0, 5)->step[0].ttl_ms = 100;
    reads(50, 51, 1, 0); /* too early */
    may_not_be();
    writes(0, 1, 0, 5)->step[0].ttl_ms = 100;
    reads(150, 151, 1, 5); /* too late */
    may_not_be();
    writes(0, 1, 0, 5)->step[0].ttl_ms = 100;
    reads(105, 106, 1, 5);
    expect_by(&fast, TM_SIM_LINEAR_YES);
    writes(0, 1, 0, 5)->step[0].ttl_ms = 100;
    reads(5, 6, 1, 0);
    reads(7, 8, 1, 0);
    expect_by(&wild, TM_SIM_LINEAR_YES);
    writes(0, 1, 0, 5)->step[0].ttl_ms = 100;
    reads(5, 6, 1, 0);
    reads(7, 8, 1, 5); /* it does not come back, whatever the clocks */
    expect_by(&wild, TM_SIM_LINEAR_NO);
    writes(0, 1, 0, 5)->step[0].ttl_ms = 100;
    writes(50, 51, 0, 6);
    reads(150, 151, 1, 6); /* another life has another end */
    may_be();
    writes(0, 1, 0, 5)->step[0].ttl_ms = 100;
    writes(50, 51, 0, 6);
    reads(150, 151, 1, 0);
    may_not_be();
}

static void what_is_sent_ahead_keeps_its_order(void)
{
    writes(0, 9, 0, 1);
    writes(0, 9, 0, 2);
    reads(10, 11, 1, 2);
    may_be();
    writes(0, 9, 0, 1);
    writes(0, 9, 0, 2);
    reads(10, 11, 1, 1);
    may_not_be();
}

static void what_is_sent_ahead_keeps_its_order_between_registers_too(void)
{
    for (uint64_t second = 0; second < 2; second++) {
        step(add(0, 9, 0), TM_SIM_WRITE, 0, 1);
        step(add(0, 9, 0), TM_SIM_WRITE, 1, 2);
        struct tm_sim_step *s = step(add(1, 2, 1), TM_SIM_READ, 1, 0);
        s->found = true;
        s->result = 2;
        reads(3, 4, 1, second);
        if (second == 1)
            may_be();
        else
            may_not_be();
    }
}

static void many_unknown_writes_are_no_trouble(void)
{
    for (unsigned i = 0; i < 30; i++)
        writes(i, i + 1, i, 100 + i)->outcome = TM_SIM_UNKNOWN;
    writes(40, 41, 0, 1);
    reads(42, 43, 1, 1);
    reads(44, 45, 1, 117);
    reads(46, 47, 1, 103);
    may_be();
}

static void a_search_that_takes_too_long_says_so(void)
{
    static const struct tm_sim_linear_config little = {.clock_error_ns = 0, .tries_max = 5};
    for (unsigned i = 0; i < 10; i++)
        adds(0, 9, i, 1, 10 - i);
    expect_by(&little, TM_SIM_LINEAR_UNDECIDED);
}

/* ---- against every order ---- */

#define REGS 3
#define MOST 6

struct simple {
    uint64_t value[REGS];
    bool there[REGS];
};

/* One step by the book, from what the client was told on. */
static bool simple_step(struct simple *m, const struct tm_sim_step *s, bool done)
{
    uint64_t *v = &m->value[s->reg];
    bool there = m->there[s->reg], as_told = !done || !s->told || s->found == there;
    switch (s->verb) {
    case TM_SIM_READ:
        return !done || (s->found == there && (!there || *v == s->result));
    case TM_SIM_EXPECT:
        return s->found == there && (!there || *v == s->value);
    case TM_SIM_WRITE_NEW:
        *v = there ? *v : s->value;
        m->there[s->reg] = true;
        return as_told;
    case TM_SIM_WRITE:
        *v = s->value;
        m->there[s->reg] = true;
        return as_told;
    case TM_SIM_REMOVE:
        m->there[s->reg] = false;
        return as_told;
    case TM_SIM_ADD:
        *v = (there ? *v : 0) + s->value;
        m->there[s->reg] = true;
        return !done || *v == s->result;
    }
    return false;
}

static bool simple_call(struct simple *m, const struct tm_sim_call *c)
{
    for (unsigned i = 0; i < c->count; i++)
        if (!simple_step(m, &c->step[i], c->outcome == TM_SIM_DONE))
            return false;
    return true;
}

/* Whether call i may come now that those of `taken` have. */
static bool in_time(unsigned taken, unsigned i)
{
    for (unsigned k = 0; k < count; k++) {
        const struct tm_sim_call *a = &calls[i], *b = &calls[k];
        if (k == i || (taken >> k & 1) != 0 || b->outcome != TM_SIM_DONE)
            continue;
        if (b->returned_ns < a->called_ns ||
            (a->outcome == TM_SIM_DONE && b->client == a->client && b->id < a->id))
            return false;
    }
    return true;
}

static bool every_order(struct simple m, unsigned taken)
{
    bool all = true;
    for (unsigned i = 0; i < count; i++)
        all &= calls[i].outcome != TM_SIM_DONE || (taken >> i & 1) != 0;
    if (all)
        return true;
    for (unsigned i = 0; i < count; i++) {
        struct simple then = m;
        if ((taken >> i & 1) == 0 && calls[i].outcome != TM_SIM_REFUSED && in_time(taken, i) &&
            simple_call(&then, &calls[i]) && every_order(then, taken | 1u << i))
            return true;
    }
    return false;
}

static void draw_step(struct tm_rng *rng, struct tm_sim_call *c, uint64_t unique)
{
    uint32_t reg = (uint32_t)tm_rng_below(rng, REGS);
    for (unsigned i = 0; i < c->count; i++)
        if (c->step[i].reg == reg)
            return;
    struct tm_sim_step *s =
        step(c, (enum tm_sim_verb)tm_rng_below(rng, TM_SIM_EXPECT + 1), reg, unique);
    if (s->verb == TM_SIM_ADD)
        s->value = 1;
    if (s->verb == TM_SIM_EXPECT)
        s->value = 1 + tm_rng_below(rng, 2 * MOST);
}

/* Calls that happened in some order; then, now and then, one answer is made another. */
static void draw_history(struct tm_rng *rng)
{
    struct simple m = {.there = {false}};
    unsigned want = 2 + (unsigned)tm_rng_below(rng, MOST - 1);
    uint64_t now = 10;
    for (unsigned i = 0; i < want; i++) {
        uint64_t before = tm_rng_below(rng, 8), after = tm_rng_below(rng, 8);
        now += tm_rng_below(rng, 6);
        struct tm_sim_call *c = add(now - before, now + after, i % 4);
        for (unsigned k = 0; k < 1 + tm_rng_below(rng, 2); k++)
            draw_step(rng, c, 10 * i + k + 1);
        struct simple then = m;
        for (unsigned k = 0; k < c->count; k++) {
            struct tm_sim_step *s = &c->step[k];
            s->found = then.there[s->reg];
            s->told = tm_rng_chance(rng, 1, 2);
            if (s->verb == TM_SIM_EXPECT)
                s->value = then.value[s->reg];
            s->result = then.value[s->reg] + (s->verb == TM_SIM_ADD) * s->value;
            if (s->verb == TM_SIM_ADD && !s->found)
                s->result = s->value;
            (void)simple_step(&then, s, false);
        }
        c->outcome = tm_rng_chance(rng, 1, 5)   ? TM_SIM_UNKNOWN
                     : tm_rng_chance(rng, 1, 8) ? TM_SIM_REFUSED
                                                : TM_SIM_DONE;
        if (c->outcome == TM_SIM_DONE || tm_rng_chance(rng, 1, 2))
            m = then;
    }
    struct tm_sim_call *c = &calls[tm_rng_below(rng, count)];
    struct tm_sim_step *s = &c->step[0];
    switch (tm_rng_below(rng, 4)) {
    case 0:
        s->result = 1 + tm_rng_below(rng, 20);
        break;
    case 1:
        s->found = !s->found;
        break;
    default:
        break;
    }
}

static void it_says_what_trying_every_order_says(void)
{
    struct tm_rng rng;
    unsigned verdicts[2] = {0};
    tm_rng_seed(&rng, tm_test_seed());
    for (unsigned round = 0; round < 20000; round++) {
        draw_history(&rng);
        bool may = every_order((struct simple){.there = {false}}, 0);
        verdicts[may]++;
        tm_sim_linear_check(calls, count, &exact, &result);
        bool same = result.verdict == (may ? TM_SIM_LINEAR_YES : TM_SIM_LINEAR_NO);
        if (!same)
            printf("  round %u: every order says %d, verdict %d: %s\n", round, may,
                   (int)result.verdict, result.text);
        CU_ASSERT_TRUE_FATAL(same);
        count = 0;
    }
    printf("  %u may be, %u may not\n", verdicts[1], verdicts[0]);
    CU_ASSERT(verdicts[0] > 1000 && verdicts[1] > 1000);
}

static const struct tm_test tests[] = {
    TM_TEST(a_read_sees_the_write_before_it),
    TM_TEST(a_read_beside_a_write_sees_either),
    TM_TEST(writers_agree_on_one_order),
    TM_TEST(what_was_refused_never_happens),
    TM_TEST(what_is_unknown_happens_late_or_never),
    TM_TEST(counters_count_each_once),
    TM_TEST(what_was_removed_is_gone),
    TM_TEST(only_the_first_writes_what_is_new),
    TM_TEST(a_transaction_is_one_step),
    TM_TEST(a_watched_register_was_as_it_was_read),
    TM_TEST(what_was_written_for_a_time_ends_then),
    TM_TEST(what_is_sent_ahead_keeps_its_order),
    TM_TEST(what_is_sent_ahead_keeps_its_order_between_registers_too),
    TM_TEST(many_unknown_writes_are_no_trouble),
    TM_TEST(a_search_that_takes_too_long_says_so),
    TM_TEST(it_says_what_trying_every_order_says),
};

TM_TEST_MAIN("sim/linear", tests)
