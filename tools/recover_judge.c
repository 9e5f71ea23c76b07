/* Copies are compared as consensus does it: by the term of the last record, then by its index. */
#include "tools/recover_judge.h"

#include <inttypes.h>
#include <stdio.h>

static bool is_witness(const struct tm_status_replica *r)
{
    return strcmp(r->role, "WITNESS") == 0;
}

static bool has_more(const struct tm_status_replica *a, const struct tm_status_replica *b)
{
    return a->last_term > b->last_term || (a->last_term == b->last_term && a->last > b->last);
}

static bool is_newer_set(const struct tm_status_replica *a, const struct tm_status_replica *b)
{
    return b == NULL || a->set_term > b->set_term ||
           (a->set_term == b->set_term && a->set_epoch > b->set_epoch);
}

struct tm_recover_case tm_recover_judge(const struct tm_status *s,
                                        const struct tm_status_replica *copy)
{
    struct tm_recover_case c = {.copy = copy};
    const struct tm_status_replica *set = NULL;
    for (unsigned i = 0; i < s->replica_count; i++) {
        const struct tm_status_replica *r = &s->replicas[i];
        if (r->partition != copy->partition)
            continue;
        if (r->set_nodes != 0 && is_newer_set(r, set))
            set = r;
        if (!is_witness(r) && has_more(r, c.better != NULL ? c.better : copy))
            c.better = r;
    }
    c.left_behind = set != NULL && copy->node < 64 && (set->set_nodes >> copy->node & 1) == 0;
    if (s->partitions[copy->partition].leader >= 0)
        c.verdict = TM_RECOVER_LED;
    else if (is_witness(copy))
        c.verdict = TM_RECOVER_NODATA;
    else if (c.better != NULL)
        c.verdict = TM_RECOVER_BETTER;
    return c;
}

/* The members that do not answer, each node once, as one list. */
static void silent_members(const struct tm_status *s, char *out, size_t size)
{
    size_t used = 0;
    out[0] = '\0';
    for (unsigned i = 0; i < s->member_count; i++) {
        if (s->members[i].err == TM_OK || (i > 0 && s->members[i - 1].err != TM_OK &&
                                           strcmp(s->members[i - 1].node, s->members[i].node) == 0))
            continue;
        int n = snprintf(out + used, size - used, "%s%s", used > 0 ? ", " : "", s->members[i].node);
        used = tm_min_u64(size - 1, used + (size_t)(n > 0 ? n : 0));
    }
    if (used == 0)
        snprintf(out, size, "none");
}

const char *tm_recover_text(const struct tm_status *s, const struct tm_recover_case *c, char *out,
                            size_t size)
{
    const struct tm_status_replica *r = c->copy;
    const char *node = s->members[r->member].node;
    char silent[512];
    switch (c->verdict) {
    case TM_RECOVER_LED:
        snprintf(out, size, "partition %u: %s leads it: nothing to recover", r->partition,
                 s->members[s->partitions[r->partition].leader].node);
        break;
    case TM_RECOVER_NODATA:
        snprintf(out, size,
                 "partition %u: %s is its witness and holds no data: it cannot go on "
                 "with that",
                 r->partition, node);
        break;
    case TM_RECOVER_BETTER:
        snprintf(out, size,
                 "partition %u: the copy on %s has more (record %" PRIu64 " of term "
                 "%" PRIu64 ", here %" PRIu64 " of term %" PRIu64 "): recover there",
                 r->partition, s->members[c->better->member].node, c->better->last,
                 c->better->last_term, r->last, r->last_term);
        break;
    case TM_RECOVER_YES:
        silent_members(s, silent, sizeof silent);
        snprintf(out, size,
                 "partition %u: nobody leads it; out of reach: %s\n"
                 "    %s has records up to %" PRIu64 " (term %" PRIu64 "), up to %" PRIu64
                 " known to be committed, %" PRIu64 " entities%s\n"
                 "    LOST FOR GOOD: what other copies acknowledged after record %" PRIu64 "%s",
                 r->partition, silent, node, r->last, r->last_term, r->commit, r->entities,
                 r->faulty ? ", and its log is damaged behind that" : "", r->last,
                 c->left_behind ? "; the other copy is known to have gone on alone" : "");
        break;
    }
    return out;
}
