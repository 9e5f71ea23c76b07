/* What an operator says of a link is a line of one end's directory (actors/link_operator.h): of the
 * source's where it concerns shipping, of the target's where it concerns taking.  Where somebody
 * else has changed the directory at the same moment, it is read again. */
#include "actors/link_operator.h"
#include "actors/link_options.h"
#include "runtime/hlc.h"
#include "tools/command.h"
#include "tools/link_internal.h"

#include <inttypes.h>
#include <stdio.h>

#define TRIES 3

struct change {
    struct tm_link_command *c;
    const json_t *link;
    char line[192], value[64]; /* value "": the line goes */
    const char *at;            /* the cluster whose directory it is */
    bool out;                  /* which is the source */
};

/* The end that says it; -1: it was not found. */
static int choose(struct change *h, bool source, enum tm_link_operator_row row)
{
    struct tm_link_command *c = h->c;
    h->out = source;
    h->at = source ? c->source : c->target;
    snprintf(h->line, sizeof h->line, TM_LINK_OPERATOR_PREFIX "%s:%s/%s", source ? "to" : "from",
             source ? c->target : c->source, tm_link_operator_name(row));
    return tm_linked_cluster(&c->all, h->at) != NULL ? 0 : -1;
}

static int needs(const struct change *h)
{
    return tm_fail(
        "no node of cluster %s was found, and that is where it has to be said: give --dir "
        "DIR, or --at ADDRESS:PORT of one of its nodes",
        h->at);
}

static const json_t *says(const struct change *h)
{
    return json_object_get(h->link, h->out ? "sourceSays" : "targetSays");
}

/* ---- what each verb says ---- */

/* At the source, or at the target if only that one was found. */
static int plan_pause(struct change *h)
{
    if (choose(h, true, TM_LINK_OPERATOR_paused) != 0 &&
        choose(h, false, TM_LINK_OPERATOR_paused) != 0)
        return needs(h);
    snprintf(h->value, sizeof h->value, "yes");
    return TM_EXIT_DONE;
}

/* Where it is paused. */
static int plan_resume(struct change *h)
{
    bool source = choose(h, true, TM_LINK_OPERATOR_paused) == 0;
    if (source && tm_link_number(says(h), "paused") != 0)
        return TM_EXIT_DONE;
    if (choose(h, false, TM_LINK_OPERATOR_paused) == 0)
        return TM_EXIT_DONE;
    if (tm_link_number(json_object_get(h->link, "refusals"), "PAUSED") > 0 || !source)
        return needs(h);
    (void)choose(h, true, TM_LINK_OPERATOR_paused);
    return TM_EXIT_DONE;
}

static int plan_throttle(struct change *h)
{
    struct tm_link_operator o = {0};
    const char *value = h->c->value;
    if (choose(h, true, TM_LINK_OPERATOR_throttle) != 0)
        return needs(h);
    if (strcmp(value, "off") == 0)
        return TM_EXIT_DONE;
    const char *why =
        tm_link_operator_take(&o, true, tm_bytes_str("throttle"), tm_bytes_str(value));
    if (why != NULL)
        return tm_usage_error("link", "throttle: \"%s\": %s, or off", value, why);
    snprintf(h->value, sizeof h->value, "%s", value);
    return TM_EXIT_DONE;
}

static int plan_count(struct change *h, bool source, enum tm_link_operator_row row)
{
    if (choose(h, source, row) != 0)
        return needs(h);
    json_int_t next = tm_link_number(says(h), tm_link_operator_name(row)) + 1;
    if (row == TM_LINK_OPERATOR_epoch && next < 2)
        next = 2; /* links begin at 1 */
    if (next > UINT16_MAX)
        return tm_fail("it was said %d times already, which is as often as can be counted",
                       UINT16_MAX);
    snprintf(h->value, sizeof h->value, "%lld", (long long)next);
    return TM_EXIT_DONE;
}

static int plan_rewind(struct change *h)
{
    if (choose(h, false, TM_LINK_OPERATOR_rewind) != 0)
        return needs(h);
    uint64_t now = (uint64_t)tm_link_number(says(h), "wall_ms");
    snprintf(h->value, sizeof h->value, "%016" PRIx64, tm_hlc_pack(now, 0));
    return TM_EXIT_DONE;
}

/* The newest stamp that the target holds back; "": none. */
static const char *held(const json_t *link)
{
    const json_t *in = json_object_get(link, "in");
    const char *most = "";
    for (size_t i = 0; i < json_array_size(in); i++) {
        const char *stamp = tm_link_text(json_array_get(in, i), "held");
        if (strcmp(stamp, most) > 0) /* all of 16 digits */
            most = stamp;
    }
    return most;
}

static int plan_release(struct change *h)
{
    const char *stamp = held(h->link);
    if (choose(h, false, TM_LINK_OPERATOR_released) != 0)
        return needs(h);
    if (stamp[0] == '\0')
        return tm_fail("%s holds nothing of %s back because of its clock", h->c->target,
                       h->c->source);
    snprintf(h->value, sizeof h->value, "%s", stamp);
    return TM_EXIT_DONE;
}

/* Whoever was refused: by the target, by the source, or because it was restored. */
static int plan_adopt(struct change *h)
{
    const json_t *here = json_object_get(h->link, "sourceSays");
    const json_t *there = json_object_get(h->link, "targetSays");
    const char *who = tm_link_text(here, "stranger");
    bool source = who[0] != '\0';
    if (!source)
        who = tm_link_text(there, "stranger");
    if (who[0] == '\0' && tm_link_number(json_object_get(h->link, "refusals"), "INCARNATION") > 0)
        who = tm_link_text(there, "incarnation");
    if (who[0] == '\0')
        return tm_fail("neither %s nor %s refuses the other for being another cluster than before",
                       h->c->source, h->c->target);
    if (choose(h, source, TM_LINK_OPERATOR_adopted) != 0)
        return needs(h);
    snprintf(h->value, sizeof h->value, "%s", who);
    return TM_EXIT_DONE;
}

static int plan(struct change *h)
{
    const char *verb = h->c->verb;
    if (strcmp(verb, "pause") == 0)
        return plan_pause(h);
    if (strcmp(verb, "resume") == 0)
        return plan_resume(h);
    if (strcmp(verb, "throttle") == 0)
        return plan_throttle(h);
    if (strcmp(verb, "resync") == 0)
        return plan_count(h, true, TM_LINK_OPERATOR_resync);
    if (strcmp(verb, "promote") == 0)
        return plan_count(h, false, TM_LINK_OPERATOR_epoch);
    if (strcmp(verb, "rewind") == 0)
        return plan_rewind(h);
    if (strcmp(verb, "release") == 0)
        return plan_release(h);
    TM_ASSERT(strcmp(verb, "adopt") == 0);
    return plan_adopt(h);
}

/* ---- saying it ---- */

static void print_done(const struct change *h, bool was_so, unsigned waiting)
{
    const struct tm_link_command *c = h->c;
    if (c->json) {
        json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:i}", "verb", c->verb, "source",
                              c->source, "target", c->target, "at", h->at, "line", h->line, "value",
                              h->value, "changed", !was_so, "waiting", (int)waiting);
        tm_link_print_json(o);
        json_decref(o);
    } else if (was_so) {
        printf("%s -> %s: it is so already\n", c->source, c->target);
    } else {
        printf("%s -> %s: %s: said at %s%s%s\n", c->source, c->target, c->verb, h->at,
               h->value[0] != '\0' ? ": " : "", h->value);
    }
    if (waiting > 0)
        fprintf(stderr, "tidemill: cluster %s: %u node%s not taken it yet, and will\n", h->at,
                waiting, waiting == 1 ? " has" : "s have");
}

/* Reads the clusters anew: somebody else was faster. */
static enum tm_err look_again(struct change *h, char *why)
{
    struct tm_link_command *c = h->c;
    json_decref(c->report);
    tm_linked_free(&c->all);
    c->report = NULL;
    enum tm_err e = tm_linked_find(&c->where, &c->all, why);
    c->report = tm_link_report(&c->all);
    h->link = tm_link_report_find(c->report, c->source, c->target);
    return e == TM_OK && h->link == NULL ? TM_ERR_NOTFOUND : e;
}

int tm_link_change(struct tm_link_command *c)
{
    struct change h = {.c = c, .link = tm_link_report_find(c->report, c->source, c->target)};
    char why[TM_LINK_WHY] = "";
    enum tm_err e = TM_OK;
    for (unsigned i = 0; i < TRIES; i++) {
        unsigned waiting;
        h.value[0] = '\0';
        int status = plan(&h);
        if (status != TM_EXIT_DONE)
            return status;
        e = tm_linked_say(tm_linked_cluster(&c->all, h.at), c->where.password, h.line,
                          h.value[0] != '\0' ? h.value : NULL, &waiting, why);
        if (e == TM_OK || e == TM_ERR_EXISTS) {
            print_done(&h, e == TM_ERR_EXISTS, waiting);
            return TM_EXIT_DONE;
        }
        if (e != TM_ERR_INVALID || look_again(&h, why) != TM_OK)
            break;
    }
    return tm_fail("%s", why);
}
