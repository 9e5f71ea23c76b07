/* schedule.c: the open and the closed loop.
 *
 * In the open loop the due times are a pure function of k, so that a stall moves none of them: the
 * operations that became due meanwhile are handed out in one go afterwards, each with the time it
 * was due.  When the window has ended, what was due in it is still handed out and measured, unless
 * it is so much that the rate counts as missed. */
#include "bench/schedule.h"

static uint64_t due_of(const struct tm_schedule *s, uint64_t k)
{
    return s->start_ns + (uint64_t)((long double)k * 1e9L / (long double)s->rate);
}

/* The first operation that is due at or after t. */
static uint64_t first_from(const struct tm_schedule *s, uint64_t t)
{
    uint64_t k = (uint64_t)((long double)(t - s->start_ns) * (long double)s->rate / 1e9L);
    while (k > 0 && due_of(s, k - 1) >= t)
        k--;
    while (due_of(s, k) < t)
        k++;
    return k;
}

void tm_schedule_init(struct tm_schedule *s, const struct tm_schedule_spec *spec, uint64_t now_ns)
{
    TM_ASSERT(spec->rate == 0 || (spec->rate >= 1e-3 && spec->rate <= 1e9));
    TM_ASSERT(spec->ops > 0 || spec->length_ns > 0);
    *s = (struct tm_schedule){.rate = spec->rate,
                              .start_ns = now_ns,
                              .from_ns = now_ns + spec->warmup_ns,
                              .ops = spec->ops > 0 ? spec->ops : UINT64_MAX};
    if (spec->ops == 0)
        s->until_ns = s->from_ns + spec->length_ns;
    else if (s->rate == 0)
        s->until_ns = UINT64_MAX;
    else
        s->until_ns = due_of(s, first_from(s, s->from_ns) + spec->ops);
}

void tm_schedule_tick(struct tm_schedule *s, uint64_t now_ns)
{
    if (s->ended || now_ns < s->until_ns)
        return;
    s->ended = true;
    if (s->rate == 0) {
        s->over = true;
        return;
    }
    uint64_t first = first_from(s, s->from_ns), end = first_from(s, s->until_ns);
    s->backlog = end - tm_min_u64(end, tm_max_u64(s->next, first));
    uint64_t slack = (end - first) * TM_SCHEDULE_SLACK_PERCENT / 100 +
                     (uint64_t)(s->rate * (double)TM_SCHEDULE_SLACK_NS / 1e9);
    s->missed = s->backlog > slack;
    s->over = s->missed || s->next >= end;
}

bool tm_schedule_take(struct tm_schedule *s, uint64_t now_ns, struct tm_due *due)
{
    tm_schedule_tick(s, now_ns);
    if (s->over)
        return false;
    uint64_t at = s->rate == 0 ? now_ns : due_of(s, s->next);
    if (at > now_ns)
        return false;
    if (at >= s->until_ns) {
        s->over = true;
        return false;
    }
    *due = (struct tm_due){.due_ns = at, .measured = at >= s->from_ns};
    s->next++;
    s->measured += due->measured;
    s->over = s->measured == s->ops;
    return true;
}

uint64_t tm_schedule_wait(const struct tm_schedule *s, uint64_t now_ns)
{
    uint64_t wait = UINT64_MAX;
    if (!s->over && s->rate > 0) {
        uint64_t at = due_of(s, s->next);
        wait = at > now_ns ? at - now_ns : 0;
    } else if (!s->over) {
        wait = 0;
    }
    if (now_ns < s->from_ns)
        wait = tm_min_u64(wait, s->from_ns - now_ns);
    else if (now_ns < s->until_ns && s->until_ns != UINT64_MAX)
        wait = tm_min_u64(wait, s->until_ns - now_ns);
    return wait;
}

void tm_tally_sent(struct tm_tally *t, const struct tm_due *due, uint64_t now_ns)
{
    if (due->measured)
        tm_histogram_add(&t->sent_late, now_ns - due->due_ns, 1);
}

void tm_tally_answered(struct tm_tally *t, const struct tm_schedule *s, const struct tm_due *due,
                       uint64_t now_ns, bool ok)
{
    t->in_window += ok && now_ns >= s->from_ns && now_ns < s->until_ns;
    if (!due->measured)
        return;
    t->last_ns = tm_max_u64(t->last_ns, now_ns);
    t->failed += !ok;
    if (!ok)
        return;
    t->done++;
    tm_histogram_add(&t->latency, now_ns - due->due_ns, 1);
}

uint64_t tm_tally_window_ns(const struct tm_tally *t, const struct tm_schedule *s)
{
    if (s->until_ns != UINT64_MAX)
        return s->until_ns - s->from_ns;
    return t->last_ns > s->from_ns ? t->last_ns - s->from_ns : 0;
}

double tm_tally_per_second(const struct tm_tally *t, const struct tm_schedule *s)
{
    uint64_t window = tm_tally_window_ns(t, s);
    return window == 0 ? 0 : (double)t->in_window * 1e9 / (double)window;
}
