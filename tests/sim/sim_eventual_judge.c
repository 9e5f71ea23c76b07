/* First what has to be there, as the truth knows it of every record; then whether what nobody has
 * to have is within the window; then each register, as it was read last. */
#include "tests/sim/sim_eventual_internal.h"

#include <stdio.h>
#include <stdlib.h>

#define ULL(x) ((unsigned long long)(x))

/* ---- what has to be there ---- */

static void find_kept(struct tm_sim_eventual *e, const struct tm_sim_truth *truth)
{
    for (size_t i = 0; i < e->sight_count; i++) {
        struct tm_sim_ev_sight *s = &e->sights[i];
        s->kept = tm_sim_truth_is_kept(truth, s->partition, s->record, s->hash);
        if (s->what == TM_SIM_EV_VALUE) {
            tm_sim_ev_write_of(e, s->value)->kept |= s->kept;
        } else if (s->what == TM_SIM_EV_MEMBER) {
            struct tm_sim_ev_reg *r = tm_sim_ev_reg_of(e, s->reg);
            r->seen = true;
            r->kept |= s->kept;
        }
    }
}

static bool later(const struct tm_sim_ev_write *a, const struct tm_sim_ev_write *b)
{
    return a->term != b->term ? a->term > b->term : a->index > b->index;
}

/* Finds for each register the latest version that has to be there. */
static void find_newest(struct tm_sim_eventual *e)
{
    for (size_t v = 0; v < e->write_cap; v++) {
        const struct tm_sim_ev_write *w = &e->writes[v];
        if (!w->asked)
            continue;
        if (w->told && w->index == 0)
            tm_sim_ev_wrong(e, w->reg, "value %llu was acknowledged and is in no record", ULL(v));
        if (!w->kept)
            continue;
        struct tm_sim_ev_reg *r = tm_sim_ev_reg_of(e, w->reg);
        if (r->newest == 0 || later(w, &e->writes[r->newest]))
            r->newest = v;
    }
}

static int compare(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

/* Totals of one component of one counter after the other, in the order in which they were made. */
static int by_component(const void *x, const void *y)
{
    const struct tm_sim_ev_sight *a = x, *b = y;
    int first = compare(a->reg, b->reg), second = compare(a->term, b->term);
    return first != 0 ? first : second != 0 ? second : compare(a->index, b->index);
}

/* The sum of a component is its newest total that has to be there, or a later one: `count` of them.
 */
static void add_component(struct tm_sim_eventual *e, const struct tm_sim_ev_sight *s, size_t count)
{
    struct tm_sim_ev_reg *r = tm_sim_ev_reg_of(e, s->reg);
    int64_t low = 0, high = 0; /* if none of them has to be there */
    for (size_t i = 0; i < count; i++) {
        int64_t total = (int64_t)s[i].value;
        low = s[i].kept || total < low ? total : low;
        high = s[i].kept || total > high ? total : high;
    }
    r->low += low;
    r->high += high;
    r->all += (int64_t)s[count - 1].value;
}

static void find_totals(struct tm_sim_eventual *e)
{
    size_t first = 0, count = 0;
    struct tm_sim_ev_sight *totals = calloc(e->sight_count + 1, sizeof *totals);
    TM_ASSERT(totals != NULL);
    for (size_t i = 0; i < e->sight_count; i++)
        if (e->sights[i].what == TM_SIM_EV_TOTAL)
            totals[count++] = e->sights[i];
    qsort(totals, count, sizeof *totals, by_component);
    for (size_t i = 1; i <= count; i++)
        if (i == count || totals[i].reg != totals[first].reg ||
            totals[i].term != totals[first].term) {
            add_component(e, &totals[first], i - first);
            first = i;
        }
    free(totals);
}

/* ---- what may be lost ---- */

/* Records of one leadership after the other; of one version first that which made it. */
static int by_version(const void *x, const void *y)
{
    const struct tm_sim_ev_sight *a = x, *b = y;
    int first = compare(a->partition, b->partition), second = compare(a->term, b->term);
    int third = compare(a->index, b->index);
    if (first != 0 || second != 0 || third != 0)
        return first != 0 ? first : second != 0 ? second : third;
    return (int)a->merged - (int)b->merged;
}

/* Of one leadership: what is lost of it so far. */
struct lost {
    const struct tm_sim_ev_sight *oldest, *newest;
    uint64_t bytes; /* but for the newest */
};

static void check_window(const struct tm_sim_eventual *e, const struct lost *l)
{
    const struct tm_sim_eventual_config *c = &e->config;
    if (l->newest == NULL)
        return;
    uint64_t ns = l->newest->seen_ns - l->oldest->seen_ns;
    if (l->bytes >= c->window_bytes + TM_KIB(1))
        tm_sim_ev_wrong(e, l->newest->reg,
                        "%llu bytes of term %llu are lost with it, from record %llu to %llu of "
                        "partition %u, %llu were declared",
                        ULL(l->bytes), ULL(l->newest->term), ULL(l->oldest->index),
                        ULL(l->newest->index), l->newest->partition, ULL(c->window_bytes));
    if (ns > c->window_ns + c->window_ns / 10 + TM_MS(50))
        tm_sim_ev_wrong(e, l->newest->reg,
                        "%llu ms of term %llu are lost with it, from record %llu to %llu of "
                        "partition %u, %llu were declared",
                        ULL(ns / TM_MS(1)), ULL(l->newest->term), ULL(l->oldest->index),
                        ULL(l->newest->index), l->newest->partition, ULL(c->window_ns / TM_MS(1)));
}

static void lose(struct tm_sim_eventual *e, struct lost *l, const struct tm_sim_ev_sight *s)
{
    bool same =
        l->newest != NULL && l->newest->partition == s->partition && l->newest->term == s->term;
    if (!same) {
        check_window(e, l);
        *l = (struct lost){.oldest = s};
    } else {
        l->bytes += l->newest->length;
    }
    l->newest = s;
    e->stats.lost++;
    e->stats.lost_bytes += s->length;
}

/* The sights of one version, the record that made it first. */
static void take_version(struct tm_sim_eventual *e, const struct tm_sim_truth *truth,
                         const struct tm_sim_ev_sight *s, size_t count, struct lost *l)
{
    bool kept = false;
    for (size_t i = 0; i < count; i++)
        kept |= s[i].kept;
    if (s->merged) /* its own record was in no log that was seen */
        return;
    e->stats.records++;
    if (tm_sim_truth_is_committed(truth, s->partition, s->record, s->hash))
        return;
    e->stats.cut++;
    e->stats.cut_and_owed += kept;
    if (!kept)
        lose(e, l, s);
}

static void judge_lost(struct tm_sim_eventual *e, const struct tm_sim_truth *truth)
{
    struct lost l = {0};
    size_t first = 0;
    if (e->sight_count > 0)
        qsort(e->sights, e->sight_count, sizeof *e->sights, by_version);
    for (size_t i = 1; i <= e->sight_count; i++) {
        const struct tm_sim_ev_sight *s = &e->sights[first];
        if (i < e->sight_count && e->sights[i].partition == s->partition &&
            e->sights[i].term == s->term && e->sights[i].index == s->index)
            continue;
        take_version(e, truth, s, i - first, &l);
        first = i;
    }
    check_window(e, &l);
}

/* ---- registers ---- */

/* What had to be there is not.  True: no node of those that had it has said so.  A record may be
 * about several registers. */
static bool is_wrong(struct tm_sim_eventual *e, uint32_t reg)
{
    struct tm_sim_ev_reg *r = &e->regs[reg];
    uint64_t missing = 0, dropped = e->dropped[r->partition];
    r->missing = true;
    e->stats.missing++;
    for (uint32_t i = 0; i < e->reg_cap; i++)
        missing += e->regs[i].missing && e->regs[i].partition == r->partition;
    return missing > tm_min_u64(dropped, UINT32_MAX) * TM_SIM_STEPS_MAX;
}

static void judge_value(struct tm_sim_eventual *e, uint32_t reg)
{
    const struct tm_sim_ev_reg *r = &e->regs[reg];
    if (!r->found) {
        if (r->newest != 0 && is_wrong(e, reg))
            tm_sim_ev_wrong(e, reg, "holds nothing, though %llu was written", ULL(r->newest));
        return;
    }
    const struct tm_sim_ev_write *has = tm_sim_ev_write_of(e, r->value);
    if (!has->asked || has->reg != reg)
        tm_sim_ev_wrong(e, reg, "holds %llu, which nobody wrote there, or was told to have written",
                        ULL(r->value));
    else if (r->newest != 0 && later(&e->writes[r->newest], has) && is_wrong(e, reg))
        tm_sim_ev_wrong(e, reg, "holds %llu, version (%llu, %llu); %llu has (%llu, %llu)",
                        ULL(r->value), ULL(has->term), ULL(has->index), ULL(r->newest),
                        ULL(e->writes[r->newest].term), ULL(e->writes[r->newest].index));
}

static void judge_counter(struct tm_sim_eventual *e, uint32_t reg)
{
    const struct tm_sim_ev_reg *r = &e->regs[reg];
    int64_t total = r->found ? (int64_t)r->value : 0;
    if (r->all < r->sum + r->less || r->all > r->sum + r->more)
        tm_sim_ev_wrong(e, reg,
                        "records count %lld; %lld was acknowledged, from %lld to %lld beside it is "
                        "unknown",
                        (long long)r->all, (long long)r->sum, (long long)r->less,
                        (long long)r->more);
    if ((total < r->low || total > r->high) && is_wrong(e, reg))
        tm_sim_ev_wrong(e, reg, "counts %lld; from %lld to %lld is what is left of %lld",
                        (long long)total, (long long)r->low, (long long)r->high, (long long)r->all);
}

static void judge_member(struct tm_sim_eventual *e, uint32_t reg)
{
    const struct tm_sim_ev_reg *r = &e->regs[reg];
    if (r->told && !r->seen)
        tm_sim_ev_wrong(e, reg, "was acknowledged and is in no record");
    if (r->kept && !r->found && is_wrong(e, reg))
        tm_sim_ev_wrong(e, reg, "is not there, though it was written");
}

void tm_sim_eventual_judge(struct tm_sim_eventual *e, const struct tm_sim_truth *truth,
                           const uint64_t *dropped)
{
    e->stats.judged++;
    e->dropped = dropped;
    find_kept(e, truth);
    find_newest(e);
    find_totals(e);
    judge_lost(e, truth);
    for (uint32_t i = 0; i < e->reg_cap; i++) {
        const struct tm_sim_ev_reg *r = &e->regs[i];
        if (!r->touched || !r->read)
            continue;
        enum tm_sim_kind kind = tm_sim_register(i, &e->config.layout).kind;
        if (kind == TM_SIM_STRING || kind == TM_SIM_FIELD)
            judge_value(e, i);
        else if (kind == TM_SIM_MEMBER)
            judge_member(e, i);
        else
            judge_counter(e, i);
    }
}
