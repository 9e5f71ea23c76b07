/* One pass takes the lines, each into the link, peer or type that its name begins with; a second
 * takes what operators say of those links; then what spans lines is resolved: addresses, who may
 * leave over which link, what a rule lacks.
 *
 * A line is split at the first '/' of its name: "to:cloud" and "batchBytes".  Anything not known,
 * too long or twice there makes the whole of it refused: a node that left out a line it does not
 * understand might ship what must not leave. */
#include "actors/link_plan.h"

#include "actors/link.h"
#include "runtime/hash.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct parser {
    struct tm_link_plan *plan;
    const struct tm_link_base *base;
    struct tm_bytes line; /* under way, for messages */
    bool operators;       /* their lines, of links that are known by now */
    char *why;
    size_t why_size;
    uint32_t out_set[TM_LINKS_MAX], in_set[TM_LINKS_MAX]; /* rows of options that were there */
};

TM_STATIC_ASSERT(TM_LINK_OPTION_COUNT <= 32, "a word has a bit for each row");
TM_STATIC_ASSERT(TM_LINKS_MAX <= 32 && TM_LINK_REGIONS_MAX <= 64, "masks have a bit for each");

const char *tm_conflict_name(enum tm_conflict rule)
{
    static const char *const names[] = {
#define TM_CONFLICT_TEXT(name, text) text,
        TM_CONFLICTS(TM_CONFLICT_TEXT)
#undef TM_CONFLICT_TEXT
    };
    TM_ASSERT(rule < TM_CONFLICT_COUNT);
    return names[rule];
}

enum tm_conflict tm_conflict_find(struct tm_bytes name)
{
    unsigned i = 0;
    while (i < TM_CONFLICT_COUNT && !tm_bytes_equal(name, tm_bytes_str(tm_conflict_name(i))))
        i++;
    return i;
}

static enum tm_err refuse(struct parser *p, enum tm_err e, const char *fmt, ...) TM_PRINTF(3, 4);

static enum tm_err refuse(struct parser *p, enum tm_err e, const char *fmt, ...)
{
    char what[160];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    if (p->line.len > 0)
        snprintf(p->why, p->why_size, "line \"%.*s\": %s", (int)tm_min_u64(p->line.len, 120),
                 (const char *)p->line.data, what);
    else
        snprintf(p->why, p->why_size, "%s", what);
    return e;
}

/* ---- pieces of text ---- */

static struct tm_bytes rest_of(struct tm_bytes b, size_t from)
{
    return tm_bytes_of(b.data + from, b.len - from);
}

/* Splits at the first such sign; false: there is none.  *after lies behind it. */
static bool split(struct tm_bytes b, char sign, struct tm_bytes *before, struct tm_bytes *after)
{
    const uint8_t *at = b.len > 0 ? memchr(b.data, sign, b.len) : NULL;
    if (at == NULL)
        return false;
    *before = tm_bytes_of(b.data, (size_t)(at - b.data));
    *after = rest_of(b, before->len + 1);
    return true;
}

/* Takes the next entry of a list "a,b,c"; false at its end. */
static bool next_entry(struct tm_bytes *list, struct tm_bytes *entry)
{
    if (list->data == NULL)
        return false;
    if (split(*list, ',', entry, list))
        return true;
    *entry = *list;
    *list = (struct tm_bytes){0};
    return true;
}

static bool take_name(char out[TM_LINK_NAME_MAX + 1], struct tm_bytes name)
{
    if (name.len == 0 || name.len > TM_LINK_NAME_MAX || memchr(name.data, '\0', name.len) != NULL)
        return false;
    memcpy(out, name.data, name.len);
    out[name.len] = '\0';
    return true;
}

static bool take_number(struct tm_bytes text, unsigned max, unsigned *out)
{
    *out = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || *out > max)
            return false;
        *out = *out * 10 + (unsigned)(text.data[i] - '0');
    }
    return text.len > 0 && *out <= max;
}

/* "10.0.0.7" */
static bool is_ipv4(struct tm_bytes text)
{
    struct tm_bytes part;
    unsigned number, dots = 0;
    for (; split(text, '.', &part, &text); dots++)
        if (part.len > 3 || !take_number(part, 255, &number))
            return false;
    return dots == 3 && text.len <= 3 && take_number(text, 255, &number);
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* %XX to bytes, ending in '\0'.  The length, or -1: broken, or longer than cap - 1. */
static int unescape(struct tm_bytes text, char *out, size_t cap)
{
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++, n++) {
        if (n + 1 >= cap)
            return -1;
        out[n] = (char)text.data[i];
        if (text.data[i] != '%')
            continue;
        int hi = i + 2 < text.len ? hex_digit(text.data[i + 1]) : -1;
        int lo = hi >= 0 ? hex_digit(text.data[i + 2]) : -1;
        if (lo < 0 || (hi == 0 && lo == 0))
            return -1;
        out[n] = (char)(hi * 16 + lo);
        i += 2;
    }
    out[n] = '\0';
    return (int)n;
}

static int compare_name(const char *name, struct tm_bytes b)
{
    size_t len = strlen(name);
    int c = memcmp(name, b.data, tm_min_u64(len, b.len));
    return c != 0 ? c : (len > b.len) - (len < b.len);
}

/* ---- what lines are about ---- */

/* The peer of that name, added if it is new; -1: no room, or no name. */
static int peer_of(struct tm_link_plan *plan, struct tm_bytes name)
{
    for (unsigned i = 0; i < plan->peer_count; i++)
        if (compare_name(plan->peers[i].name, name) == 0)
            return (int)i;
    if (plan->peer_count == TM_LINK_PEERS_MAX ||
        !take_name(plan->peers[plan->peer_count].name, name))
        return -1;
    return (int)plan->peer_count++;
}

static struct tm_link *link_of(struct tm_link *links, unsigned *count, unsigned peer)
{
    for (unsigned i = 0; i < *count; i++)
        if (links[i].peer == peer)
            return &links[i];
    if (*count == TM_LINKS_MAX)
        return NULL;
    links[*count].peer = (uint8_t)peer;
    tm_link_options_init(&links[*count].options);
    return &links[(*count)++];
}

static struct tm_link_type *type_of(struct tm_link_plan *plan, struct tm_bytes name)
{
    for (unsigned i = 0; i < plan->type_count; i++)
        if (compare_name(plan->types[i].name, name) == 0)
            return &plan->types[i];
    if (plan->type_count == TM_LINK_TYPES_MAX ||
        !take_name(plan->types[plan->type_count].name, name))
        return NULL;
    return &plan->types[plan->type_count++];
}

/* A type's fields stand together: a new one is put in behind the last. */
static struct tm_link_field *field_of(struct tm_link_plan *plan, struct tm_link_type *type,
                                      const char *name)
{
    if (type->field_count == 0)
        type->field_first = plan->field_count;
    struct tm_link_field *fields = plan->fields;
    unsigned end = type->field_first + type->field_count;
    for (unsigned i = type->field_first; i < end; i++)
        if (strcmp(fields[i].name, name) == 0)
            return &fields[i];
    if (plan->field_count == TM_LINK_FIELDS_MAX)
        return NULL;
    memmove(&fields[end + 1], &fields[end], (plan->field_count - end) * sizeof fields[0]);
    for (unsigned i = 0; i < plan->type_count; i++)
        if (&plan->types[i] != type && plan->types[i].field_count > 0 &&
            plan->types[i].field_first >= end)
            plan->types[i].field_first++;
    plan->field_count++;
    type->field_count++;
    fields[end] = (struct tm_link_field){0};
    snprintf(fields[end].name, sizeof fields[end].name, "%s", name);
    return &fields[end];
}

/* Keeps text and gives where; 0: no room. */
static uint32_t keep_text(struct tm_link_plan *plan, const char *text, size_t len)
{
    if (len + 1 > sizeof plan->text - plan->text_len)
        return 0;
    uint32_t at = plan->text_len;
    memcpy(plan->text + at, text, len + 1);
    plan->text_len += (uint32_t)len + 1;
    return at;
}

/* ---- values ---- */

static enum tm_err take_pattern(struct parser *p, struct tm_bytes entry, struct tm_link_names *out)
{
    struct tm_link_plan *plan = p->plan;
    struct tm_link_pattern fresh = {.wildcard = entry.len > 0 && entry.data[entry.len - 1] == '*'};
    size_t len = entry.len - fresh.wildcard;
    if ((len > 0 && !take_name(fresh.text, tm_bytes_of(entry.data, len))) ||
        (len == 0 && !fresh.wildcard) || memchr(fresh.text, '*', len) != NULL)
        return refuse(p, TM_ERR_INVALID, "\"%.*s\" is no name of a type",
                      (int)tm_min_u64(entry.len, 64), (const char *)entry.data);
    fresh.len = (uint8_t)len;
    unsigned i = 0;
    while (i < plan->pattern_count && (plan->patterns[i].wildcard != fresh.wildcard ||
                                       strcmp(plan->patterns[i].text, fresh.text) != 0))
        i++;
    if (i == TM_LINK_PATTERNS_MAX)
        return refuse(p, TM_ERR_TOOBIG, "more than %d different names in filters",
                      TM_LINK_PATTERNS_MAX);
    if (i == plan->pattern_count)
        plan->patterns[plan->pattern_count++] = fresh;
    out->bits[i / 64] |= 1ULL << (i % 64);
    out->any = true;
    return TM_OK;
}

static enum tm_err take_patterns(struct parser *p, struct tm_bytes value, struct tm_link_names *out)
{
    struct tm_bytes entry;
    enum tm_err e = TM_OK;
    if (out->any || value.len == 0)
        return refuse(p, TM_ERR_INVALID, out->any ? "is there twice" : "is empty");
    while (e == TM_OK && next_entry(&value, &entry))
        e = take_pattern(p, entry, out);
    return e;
}

static enum tm_err take_link(struct parser *p, struct tm_bytes cluster, struct tm_bytes option,
                             struct tm_bytes value, bool out)
{
    struct tm_link_plan *plan = p->plan;
    int peer = peer_of(plan, cluster);
    struct tm_link *links = out ? plan->out : plan->in;
    struct tm_link *link =
        peer < 0 ? NULL : link_of(links, out ? &plan->out_count : &plan->in_count, (unsigned)peer);
    if (link == NULL)
        return refuse(p, TM_ERR_TOOBIG, "more than %d links %s, or %d linked clusters",
                      TM_LINKS_MAX, out ? "out" : "in", TM_LINK_PEERS_MAX);
    if (tm_bytes_equal(option, tm_bytes_str("replicateEntityTypes")))
        return take_patterns(p, value, &link->include);
    if (tm_bytes_equal(option, tm_bytes_str("excludeEntityTypes")))
        return take_patterns(p, value, &link->exclude);
    enum tm_link_option which = tm_link_option_find(option);
    char text[64], allowed[128];
    int64_t number;
    if (which == TM_LINK_OPTION_COUNT)
        return refuse(p, TM_ERR_INVALID, "is no option of a link that this build knows");
    uint32_t *set = &(out ? p->out_set : p->in_set)[link - links];
    if ((*set >> which & 1) != 0)
        return refuse(p, TM_ERR_INVALID, "is there twice");
    *set |= 1U << which;
    tm_link_option_allowed(which, allowed, sizeof allowed);
    if (!take_name(text, value) || !tm_link_option_parse(which, text, &number))
        return refuse(p, TM_ERR_INVALID, "must be %s", allowed);
    tm_link_option_set(&link->options, which, number);
    return TM_OK;
}

/* "name:address:port" */
static enum tm_err take_node(struct parser *p, unsigned peer, struct tm_bytes entry)
{
    struct tm_link_plan *plan = p->plan;
    if (plan->node_count == TM_LINK_NODES_MAX)
        return refuse(p, TM_ERR_TOOBIG, "more than %d nodes of linked clusters", TM_LINK_NODES_MAX);
    struct tm_link_node *n = &plan->nodes[plan->node_count];
    struct tm_bytes name, address, port;
    unsigned number;
    if (!split(entry, ':', &name, &entry) || !split(entry, ':', &address, &port) ||
        !take_name(n->name, name) || address.len >= sizeof n->address)
        return refuse(p, TM_ERR_INVALID, "a node is name:address:port");
    memset(n->address, 0, sizeof n->address);
    memcpy(n->address, address.data, address.len);
    if (address.len == 0)
        snprintf(n->address, sizeof n->address, "%s", p->base->address);
    bool block = port.len > 0 && port.data[0] == '+';
    if (!is_ipv4(tm_bytes_str(n->address)) ||
        !take_number(block ? rest_of(port, 1) : port, 65535, &number))
        return refuse(p, TM_ERR_INVALID, "a node is name:address:port");
    unsigned long first =
        block ? p->base->base_port + (unsigned long)TM_LINK_BLOCK_PORTS * number : number;
    if (first == 0 || first + TM_LINK_BLOCK_PORTS > 65536)
        return refuse(p, TM_ERR_INVALID, "node %s would have ports past 65535", n->name);
    n->first_port = (uint16_t)first;
    n->peer = (uint8_t)peer;
    plan->node_count++;
    plan->peers[peer].node_count++;
    return TM_OK;
}

static enum tm_err take_peer(struct parser *p, struct tm_bytes cluster, struct tm_bytes what,
                             struct tm_bytes value)
{
    int index = peer_of(p->plan, cluster);
    if (index < 0)
        return refuse(p, TM_ERR_TOOBIG, "more than %d linked clusters", TM_LINK_PEERS_MAX);
    struct tm_link_peer *peer = &p->plan->peers[index];
    struct tm_bytes entry;
    enum tm_err e = TM_OK;
    if (tm_bytes_equal(what, tm_bytes_str("jurisdiction"))) {
        if (!take_name(peer->jurisdiction, value))
            e = refuse(p, TM_ERR_INVALID, "is no name of a jurisdiction");
    } else if (tm_bytes_equal(what, tm_bytes_str("partitions"))) {
        if (!take_number(value, 4096, &peer->partitions))
            e = refuse(p, TM_ERR_INVALID, "must be a number to 4096");
    } else if (tm_bytes_equal(what, tm_bytes_str("nodes"))) {
        if (peer->node_count > 0)
            return refuse(p, TM_ERR_INVALID, "is there twice");
        peer->node_first = p->plan->node_count;
        while (e == TM_OK && next_entry(&value, &entry))
            e = take_node(p, (unsigned)index, entry);
    } else {
        e = refuse(p, TM_ERR_INVALID, "is nothing of a cluster that this build knows");
    }
    return e;
}

static enum tm_err take_regions(struct parser *p, struct tm_link_type *type, struct tm_bytes value)
{
    struct tm_link_plan *plan = p->plan;
    struct tm_bytes entry;
    type->resident = true;
    while (value.len > 0 && next_entry(&value, &entry)) {
        unsigned r = 0;
        while (r < plan->region_count && compare_name(plan->regions[r], entry) != 0)
            r++;
        if (r == TM_LINK_REGIONS_MAX)
            return refuse(p, TM_ERR_TOOBIG, "more than %d jurisdictions", TM_LINK_REGIONS_MAX);
        if (r == plan->region_count && !take_name(plan->regions[plan->region_count++], entry))
            return refuse(p, TM_ERR_INVALID, "is no list of jurisdictions");
        type->residency |= 1ULL << r;
    }
    return TM_OK;
}

/* What stands in the last part of a type's or field's line. */
static enum tm_err take_rule(struct parser *p, struct tm_link_rule *rule, struct tm_bytes what,
                             struct tm_bytes value)
{
    char text[TM_LINK_FUNCTION_MAX + 1];
    if (tm_bytes_equal(what, tm_bytes_str("conflict"))) {
        rule->rule = tm_conflict_find(value);
        if (rule->rule != TM_CONFLICT_COUNT)
            return TM_OK;
        rule->rule = TM_CONFLICT_FIELD_LWW;
        return refuse(p, TM_ERR_INVALID, "is no rule for conflicts that this build knows");
    }
    bool home = tm_bytes_equal(what, tm_bytes_str("home"));
    if (!home && !tm_bytes_equal(what, tm_bytes_str("function")))
        return refuse(p, TM_ERR_INVALID, "is nothing of a type that this build knows");
    int len = unescape(value, text, sizeof text);
    if (rule->text != 0 || len <= 0 || (home && len > TM_LINK_NAME_MAX))
        return refuse(p, TM_ERR_INVALID,
                      rule->text != 0 ? "is there twice" : "is empty, broken or too long");
    rule->text = keep_text(p->plan, text, (size_t)len);
    return rule->text != 0
               ? TM_OK
               : refuse(p, TM_ERR_TOOBIG, "more than %d bytes of functions", TM_LINK_TEXT_MAX);
}

static enum tm_err take_type(struct parser *p, struct tm_bytes name, struct tm_bytes what,
                             struct tm_bytes value)
{
    struct tm_link_type *type = type_of(p->plan, name);
    struct tm_bytes field, of = tm_bytes_str("field:");
    char text[TM_LINK_NAME_MAX + 1];
    if (type == NULL)
        return refuse(p, TM_ERR_TOOBIG, "more than %d types with rules", TM_LINK_TYPES_MAX);
    if (tm_bytes_equal(what, tm_bytes_str("residency")))
        return take_regions(p, type, value);
    if (what.len < of.len || memcmp(what.data, of.data, of.len) != 0)
        return take_rule(p, &type->rule, what, value);
    if (!split(rest_of(what, of.len), '/', &field, &what) ||
        unescape(field, text, sizeof text) <= 0)
        return refuse(p, TM_ERR_INVALID, "is no field of a type");
    struct tm_link_field *f = field_of(p->plan, type, text);
    if (f == NULL)
        return refuse(p, TM_ERR_TOOBIG, "more than %d fields with rules", TM_LINK_FIELDS_MAX);
    return take_rule(p, &f->rule, what, value);
}

/* "to:cloud/paused", behind "op:"; of a link that the file does not have it only has to make sense.
 */
static enum tm_err take_said(struct parser *p, struct tm_bytes name, struct tm_bytes value)
{
    struct tm_link_plan *plan = p->plan;
    struct tm_link_operator nobody = {0}, *said = &nobody;
    struct tm_bytes who, what, way;
    if (tm_bytes_equal(name, tm_bytes_str(TM_LINK_OPERATOR_EPOCH)))
        return tm_link_operator_number(value, &plan->epoch)
                   ? TM_OK
                   : refuse(p, TM_ERR_INVALID, "must be a number from 1 to 65535");
    if (tm_bytes_equal(name, tm_bytes_str(TM_LINK_OPERATOR_INCARNATION)))
        return tm_link_operator_hex(value, &plan->incarnation)
                   ? TM_OK
                   : refuse(p, TM_ERR_INVALID, "must be 16 hexadecimal digits, not all 0");
    if (!split(name, '/', &who, &what) || !split(who, ':', &way, &who) ||
        !(tm_bytes_equal(way, tm_bytes_str("to")) || tm_bytes_equal(way, tm_bytes_str("from"))))
        return refuse(p, TM_ERR_INVALID, "is of no kind that this build knows");
    bool out = way.len == 2;
    struct tm_link *links = out ? plan->out : plan->in;
    for (unsigned i = 0; i < (out ? plan->out_count : plan->in_count); i++)
        if (compare_name(plan->peers[links[i].peer].name, who) == 0)
            said = &links[i].said;
    const char *why = tm_link_operator_take(said, out, what, value);
    return why == NULL ? TM_OK : refuse(p, TM_ERR_INVALID, "%s", why);
}

static enum tm_err take_line(struct parser *p, struct tm_bytes name, struct tm_bytes value)
{
    struct tm_bytes kind, rest, who, what;
    if (tm_bytes_equal(name, tm_bytes_str("jurisdiction")))
        return take_name(p->plan->jurisdiction, value)
                   ? TM_OK
                   : refuse(p, TM_ERR_INVALID, "is no name of a jurisdiction");
    if (!split(name, ':', &kind, &rest))
        return TM_OK; /* a label, or a physical fact of a node */
    if (tm_bytes_equal(kind, tm_bytes_str("op")) != p->operators)
        return TM_OK; /* in the other pass */
    if (p->operators)
        return take_said(p, rest, value);
    if (split(rest, '/', &who, &what)) {
        if (tm_bytes_equal(kind, tm_bytes_str("to")))
            return take_link(p, who, what, value, true);
        if (tm_bytes_equal(kind, tm_bytes_str("from")))
            return take_link(p, who, what, value, false);
        if (tm_bytes_equal(kind, tm_bytes_str("cluster")))
            return take_peer(p, who, what, value);
        if (tm_bytes_equal(kind, tm_bytes_str("type")))
            return take_type(p, who, what, value);
    }
    return refuse(p, TM_ERR_INVALID, "is of no kind that this build knows");
}

static enum tm_err take_lines(struct parser *p, const char *facts)
{
    struct tm_bytes rest = tm_bytes_str(facts), line, name, value;
    enum tm_err e = TM_OK;
    while (e == TM_OK && split(rest, '\n', &line, &rest)) {
        p->line = line;
        e = split(line, '=', &name, &value) ? take_line(p, name, value)
                                            : refuse(p, TM_ERR_INVALID, "has no '='");
    }
    p->line = rest;
    if (e == TM_OK && rest.len > 0)
        return refuse(p, TM_ERR_INVALID, "does not end");
    return e;
}

/* ---- what spans lines ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b); /* the name is what each of them begins with */
}

TM_STATIC_ASSERT(offsetof(struct tm_link_type, name) == 0 &&
                     offsetof(struct tm_link_field, name) == 0,
                 "by_name");

static bool names_match(const struct tm_link_plan *plan, const struct tm_link_names *names,
                        struct tm_bytes type, bool wildcards)
{
    for (unsigned w = 0; w < TM_ARRAY_LEN(names->bits); w++)
        for (uint64_t bits = names->bits[w]; bits != 0; bits &= bits - 1) {
            const struct tm_link_pattern *p =
                &plan->patterns[w * 64 + (unsigned)__builtin_ctzll(bits)];
            if (p->wildcard ? wildcards && type.len >= p->len : type.len == p->len)
                if (memcmp(p->text, type.data, p->len) == 0)
                    return true;
        }
    return false;
}

static bool listed(const struct tm_link_plan *plan, const struct tm_link_type *type,
                   const char *jurisdiction)
{
    for (unsigned r = 0; r < plan->region_count; r++)
        if ((type->residency >> r & 1) != 0 && strcmp(plan->regions[r], jurisdiction) == 0)
            return true;
    return false;
}

/* A resident type is taken by its own name, or where a link takes all; never by a wildcard. */
static void resolve_residency(struct tm_link_plan *plan, struct tm_link_type *type)
{
    struct tm_bytes name = tm_bytes_str(type->name);
    type->may_enter = !type->resident || listed(plan, type, plan->jurisdiction);
    type->may_leave = type->resident ? 0 : UINT32_MAX;
    for (unsigned i = 0; type->resident && i < plan->out_count; i++) {
        const struct tm_link *link = &plan->out[i];
        if (listed(plan, type, plan->peers[link->peer].jurisdiction) &&
            (!link->include.any || names_match(plan, &link->include, name, false)))
            type->may_leave |= 1U << i;
    }
}

static bool rule_whole(const struct tm_link_rule *r)
{
    return (r->text != 0) == (r->rule == TM_CONFLICT_HOME || r->rule == TM_CONFLICT_FUNCTION);
}

static enum tm_err resolve_types(struct parser *p)
{
    struct tm_link_plan *plan = p->plan;
    qsort(plan->types, plan->type_count, sizeof plan->types[0], by_name);
    for (unsigned i = 0; i < plan->type_count; i++) {
        struct tm_link_type *type = &plan->types[i];
        struct tm_link_field *fields = &plan->fields[type->field_first];
        qsort(fields, type->field_count, sizeof fields[0], by_name);
        bool whole = rule_whole(&type->rule);
        for (unsigned k = 0; k < type->field_count; k++)
            whole &= rule_whole(&fields[k].rule);
        if (!whole)
            return refuse(p, TM_ERR_INVALID,
                          "type %s: a rule \"home\" or \"function\" and its text belong together",
                          type->name);
        resolve_residency(plan, type);
    }
    return TM_OK;
}

/* Links in the order of their peers' names, whatever the order of the lines. */
static void sort_links(const struct tm_link_plan *plan, struct tm_link *links, unsigned count)
{
    for (unsigned i = 1; i < count; i++)
        for (unsigned k = i; k > 0 && strcmp(plan->peers[links[k - 1].peer].name,
                                             plan->peers[links[k].peer].name) > 0;
             k--) {
            struct tm_link swap = links[k];
            links[k] = links[k - 1];
            links[k - 1] = swap;
        }
}

static enum tm_err resolve(struct parser *p)
{
    struct tm_link_plan *plan = p->plan;
    p->line = (struct tm_bytes){0};
    for (unsigned i = 0; i < plan->out_count + plan->in_count; i++) {
        bool out = i < plan->out_count;
        unsigned at = out ? i : i - plan->out_count;
        if (((out ? p->out_set : p->in_set)[at] >> TM_LINK_OPTION_mode & 1) == 0)
            return refuse(p, TM_ERR_INVALID, "the link %s %s has no replicationMode",
                          out ? "to" : "from",
                          plan->peers[(out ? plan->out : plan->in)[at].peer].name);
    }
    sort_links(plan, plan->out, plan->out_count);
    sort_links(plan, plan->in, plan->in_count);
    return resolve_types(p);
}

static void begin(struct tm_link_plan *plan, const char *cluster)
{
    memset(plan, 0, sizeof *plan);
    plan->text_len = 1; /* "" */
    plan->epoch = 1;
    snprintf(plan->cluster, sizeof plan->cluster, "%s", cluster);
}

enum tm_err tm_link_plan_parse(struct tm_link_plan *plan, const char *cluster, const char *facts,
                               const struct tm_link_base *base, char *why, size_t why_size)
{
    struct parser p = {.plan = plan, .base = base, .why = why, .why_size = why_size};
    begin(plan, cluster);
    enum tm_err e = take_lines(&p, facts);
    p.operators = true;
    if (e == TM_OK)
        e = take_lines(&p, facts);
    if (e == TM_OK)
        e = resolve(&p);
    if (e != TM_OK)
        begin(plan, cluster);
    return e;
}

/* ---- asking ---- */

const struct tm_link_type *tm_link_plan_type(const struct tm_link_plan *plan, struct tm_bytes type)
{
    unsigned lo = 0, hi = plan->type_count;
    while (lo < hi) {
        unsigned mid = lo + (hi - lo) / 2;
        int c = compare_name(plan->types[mid].name, type);
        if (c == 0)
            return &plan->types[mid];
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

struct tm_link_rule tm_link_plan_rule(const struct tm_link_plan *plan, struct tm_bytes type,
                                      struct tm_bytes field)
{
    const struct tm_link_type *t = tm_link_plan_type(plan, type);
    if (t == NULL)
        return (struct tm_link_rule){.rule = TM_CONFLICT_FIELD_LWW};
    unsigned lo = t->field_first, hi = lo + t->field_count;
    while (lo < hi) {
        unsigned mid = lo + (hi - lo) / 2;
        int c = compare_name(plan->fields[mid].name, field);
        if (c == 0)
            return plan->fields[mid].rule;
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return t->rule;
}

static bool filter_takes(const struct tm_link_plan *plan, const struct tm_link *link,
                         struct tm_bytes type)
{
    return (!link->include.any || names_match(plan, &link->include, type, true)) &&
           !names_match(plan, &link->exclude, type, true);
}

enum tm_link_verdict tm_link_plan_out(const struct tm_link_plan *plan, unsigned link,
                                      struct tm_bytes type)
{
    TM_ASSERT(link < plan->out_count);
    if (!filter_takes(plan, &plan->out[link], type))
        return TM_LINK_FILTERED;
    const struct tm_link_type *t = tm_link_plan_type(plan, type);
    return t == NULL || (t->may_leave >> link & 1) != 0 ? TM_LINK_CARRIED : TM_LINK_RESIDENT;
}

enum tm_link_verdict tm_link_plan_in(const struct tm_link_plan *plan, unsigned link,
                                     struct tm_bytes type)
{
    TM_ASSERT(link < plan->in_count);
    const struct tm_link_type *t = tm_link_plan_type(plan, type);
    return t == NULL || t->may_enter ? TM_LINK_CARRIED : TM_LINK_RESIDENT;
}

bool tm_link_plan_in_ships(const struct tm_link_plan *plan, unsigned link, struct tm_bytes type)
{
    return tm_link_plan_in(plan, link, type) == TM_LINK_CARRIED &&
           filter_takes(plan, &plan->in[link], type);
}

uint64_t tm_link_plan_filter(const struct tm_link_plan *plan, const struct tm_link *link)
{
    uint64_t sum = 1 + link->include.any;
    for (unsigned i = 0; i < plan->pattern_count; i++) {
        const struct tm_link_pattern *p = &plan->patterns[i];
        uint64_t in = link->include.bits[i / 64] >> i % 64 & 1;
        uint64_t ex = link->exclude.bits[i / 64] >> i % 64 & 1;
        if (in != 0 || ex != 0)
            sum += tm_hash64(p->text, p->len, 1 + in + 2 * ex + 4 * p->wildcard);
    }
    sum &= TM_LINK_FILTER_MASK;
    return (sum != 0 ? sum : 1) | link->said.resync << TM_LINK_FILTER_BITS;
}

static int find_link(const struct tm_link_plan *plan, const struct tm_link *links, unsigned count,
                     const char *cluster)
{
    for (unsigned i = 0; i < count; i++)
        if (strcmp(plan->peers[links[i].peer].name, cluster) == 0)
            return (int)i;
    return -1;
}

int tm_link_plan_find_out(const struct tm_link_plan *plan, const char *cluster)
{
    return find_link(plan, plan->out, plan->out_count, cluster);
}

bool tm_link_plan_goes_on(const struct tm_link_plan *now, const struct tm_link_plan *next,
                          unsigned out)
{
    const struct tm_link *link = &next->out[out];
    int was = tm_link_plan_find_out(now, next->peers[link->peer].name);
    return was >= 0 && now->out[was].options.mode == TM_LINK_SYNC &&
           tm_link_same_filter(tm_link_plan_filter(now, &now->out[was]),
                               tm_link_plan_filter(next, link));
}

int tm_link_plan_find_in(const struct tm_link_plan *plan, const char *cluster)
{
    return find_link(plan, plan->in, plan->in_count, cluster);
}
