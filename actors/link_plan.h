/* link_plan.h: what a node has to know of its cluster's links: the resolved, compact form.
 *
 * It stands in the directory as lines of its facts (directory.h), so that `apply` changes all nodes
 * or none; the topology file's side writes the lines (tools/facts.h), this reads them.  What
 * the file left to defaults stands in them resolved, so that all nodes of mixed builds agree.
 *
 *   jurisdiction=eu                          of this cluster
 *   cluster:NAME/jurisdiction=us             of a linked one
 *   cluster:NAME/nodes=a::+4,b:10.0.0.2:7000 its nodes: name, address ("" as --address),
 *                                            first port ("+4": block 4 of the port plan);
 *                                            not there: UNRESOLVED
 *   cluster:NAME/partitions=256
 *   to:NAME/replicationMode=async            a link out; every row of link_options.h
 *                                            stands there
 *   to:NAME/replicateEntityTypes=A,B*        absent: all
 *   to:NAME/excludeEntityTypes=C
 *   from:NAME/…                              a link in: what its source's options say, the same
 *   type:T/conflict=counter                  a rule: tm_conflict_name
 *   type:T/home=NAME                         for the rule "home"
 *   type:T/function=function (a, b) {…}      for the rule "function"; %XX stands for a byte
 *   type:T/residency=eu,uk
 *   type:T/field:F/conflict=…                and home, function: of one field (F: %XX as well)
 *   op:to:NAME/…, op:from:NAME/…, op:epoch=N what operators say (link_operator.h)
 *   op:incarnation=…                         of this cluster (incarnation.h)
 *
 * Lines of other names without a ':' are not of links and are passed over; any other line with a
 * ':' in its name is refused: a build that does not know it must not run without it.
 *
 * A plan is plain data without pointers (some 100 KiB) and never changes once parsed; parsing and
 * asking allocate nothing.  Any thread may read it. */
#ifndef TM_ACTORS_LINK_PLAN_H
#define TM_ACTORS_LINK_PLAN_H

#include "actors/link_operator.h"
#include "actors/link_options.h"
#include "net/fabric.h"
#include "storage/conflict.h"

#define TM_LINKS_MAX         16  /* out of a cluster, and in */
#define TM_LINK_PEERS_MAX    32  /* clusters linked with one */
#define TM_LINK_NODES_MAX    64  /* nodes of all of them */
#define TM_LINK_NAME_MAX     63  /* bytes of a cluster's, node's, type's, jurisdiction's name */
#define TM_LINK_PATTERNS_MAX 256 /* different names in all filters */
#define TM_LINK_TYPES_MAX    64  /* types with rules */
#define TM_LINK_FIELDS_MAX   256 /* fields with rules, of all types */
#define TM_LINK_REGIONS_MAX  64  /* different jurisdictions */
#define TM_LINK_FUNCTION_MAX 8192
#define TM_LINK_BLOCK_PORTS  32    /* of one node in the port plan */
#define TM_LINK_TEXT_MAX     32768 /* bytes of all functions and homes */

/* The rule's name in the file; the rule of a name, or TM_CONFLICT_COUNT. */
const char *tm_conflict_name(enum tm_conflict rule);
enum tm_conflict tm_conflict_find(struct tm_bytes name);

struct tm_link_rule {
    enum tm_conflict rule;
    uint32_t text; /* in plan->text: tm_link_rule_text */
};

struct tm_link_field {
    char name[TM_LINK_NAME_MAX + 1];
    struct tm_link_rule rule;
};

/* A type that defineEntity speaks of. */
struct tm_link_type {
    char name[TM_LINK_NAME_MAX + 1];
    struct tm_link_rule rule;
    unsigned field_first, field_count; /* in fields[], ascending by name */
    bool resident;                     /* it has a residency, if only an empty one */
    uint64_t residency;                /* bit r: regions[r] is listed */
    bool may_enter;     /* this cluster's own jurisdiction is listed; true if not resident */
    uint32_t may_leave; /* bit i: over out[i]; all bits if not resident (the filter decides) */
};

/* A cluster at the other end. */
struct tm_link_peer {
    char name[TM_LINK_NAME_MAX + 1];
    char jurisdiction[TM_LINK_NAME_MAX + 1]; /* "": not known */
    unsigned partitions;                     /* 0: not known */
    unsigned node_first, node_count;         /* in nodes[], as the file lists them; 0: UNRESOLVED */
};

struct tm_link_node {
    char name[TM_LINK_NAME_MAX + 1];
    char address[16];    /* IPv4 */
    uint16_t first_port; /* of its block in the port plan (tools/ports.h) */
    uint8_t peer;        /* in peers[] */
};

struct tm_link_pattern {
    char text[TM_LINK_NAME_MAX + 1]; /* without the '*' */
    uint8_t len;
    bool wildcard;
};

/* Which of patterns[] a list names: bit p. */
struct tm_link_names {
    uint64_t bits[TM_LINK_PATTERNS_MAX / 64];
    bool any;
};

struct tm_link {
    uint8_t peer; /* in peers[] */
    struct tm_link_options options;
    struct tm_link_names include; /* none: all */
    struct tm_link_names exclude;
    struct tm_link_operator said; /* by operators, at this end */
};

struct tm_link_plan {
    uint64_t version;  /* of the directory that it is of (actors/node.h); 0: of none */
    char refused[256]; /* why the directory's lines were not taken; else "" */
    char cluster[TM_LINK_NAME_MAX + 1];
    char jurisdiction[TM_LINK_NAME_MAX + 1]; /* of this cluster; "": none */
    uint64_t epoch;                          /* of this cluster's links out; 1 at first */
    uint64_t incarnation;                    /* of this cluster; 0: its first */
    unsigned peer_count, node_count, out_count, in_count;
    unsigned type_count, field_count, pattern_count, region_count;
    struct tm_link_peer peers[TM_LINK_PEERS_MAX];
    struct tm_link_node nodes[TM_LINK_NODES_MAX]; /* peer by peer */
    struct tm_link out[TM_LINKS_MAX];             /* ascending by the target's name */
    struct tm_link in[TM_LINKS_MAX];              /* ascending by the source's name */
    struct tm_link_type types[TM_LINK_TYPES_MAX]; /* ascending by name */
    struct tm_link_field fields[TM_LINK_FIELDS_MAX];
    struct tm_link_pattern patterns[TM_LINK_PATTERNS_MAX];
    char regions[TM_LINK_REGIONS_MAX][TM_LINK_NAME_MAX + 1];
    uint32_t text_len;
    char text[TM_LINK_TEXT_MAX]; /* what rules refer to, each ending in '\0'; the first is "" */
};

/* Where addresses that the file leaves open are. */
struct tm_link_base {
    const char *address; /* IPv4, as --address */
    unsigned base_port;
};

/* Reads the lines ("name=value\n", as a directory has them, any order) into *plan, which need not
 * be initialised.  On failure the plan has no links at all, so that nothing leaves or enters; why
 * gets one line.  TM_ERR_INVALID: a line that is not known, or makes no
 * sense; TM_ERR_TOOBIG: a bound above. */
enum tm_err tm_link_plan_parse(struct tm_link_plan *plan, const char *cluster, const char *facts,
                               const struct tm_link_base *base, char *why, size_t why_size);

/* What defineEntity says of a type; NULL: nothing (field-lww, not resident). */
const struct tm_link_type *tm_link_plan_type(const struct tm_link_plan *plan, struct tm_bytes type);

/* The rule of a field of a type, the type's own where the field has none. */
struct tm_link_rule tm_link_plan_rule(const struct tm_link_plan *plan, struct tm_bytes type,
                                      struct tm_bytes field);

/* HOME: the name of the cluster that wins; FUNCTION: its source text; else "".  Lives as the plan.
 */
static inline const char *tm_link_rule_text(const struct tm_link_plan *plan,
                                            struct tm_link_rule rule)
{
    TM_ASSERT(rule.text < TM_LINK_TEXT_MAX);
    return plan->text + rule.text;
}

enum tm_link_verdict {
    TM_LINK_CARRIED,
    TM_LINK_FILTERED, /* the link's filter leaves the type out */
    TM_LINK_RESIDENT /* the filter would take it; its residency forbids: to be counted and logged */
};

/* Whether records of a type leave over out[link], and whether they may enter over in[link] (by
 * residency alone: the filter is the source's).  type: what stands before the key's first ':', or
 * "_default".  Takes some ten comparisons per name in the filter; callers may keep the answer per
 * type for as long as they go by the plan. */
enum tm_link_verdict tm_link_plan_out(const struct tm_link_plan *plan, unsigned link,
                                      struct tm_bytes type);
enum tm_link_verdict tm_link_plan_in(const struct tm_link_plan *plan, unsigned link,
                                     struct tm_bytes type);

/* Whether records of a type come over in[link], by the filter that its source goes by and by
 * residency here. */
bool tm_link_plan_in_ships(const struct tm_link_plan *plan, unsigned link, struct tm_bytes type);

/* Of a link's lists of types, the same at both of its ends (tm_link_same_filter); never 0.  How
 * often an operator wanted all compared stands in its upper bits. */
uint64_t tm_link_plan_filter(const struct tm_link_plan *plan, const struct tm_link *link);

/* Whether writes may wait for the target of a synchronous link of `next` at once, because they did
 * so under `now`, for the same types: else the target has to catch up first. */
bool tm_link_plan_goes_on(const struct tm_link_plan *now, const struct tm_link_plan *next,
                          unsigned out);

/* The link out to, or in from, the cluster of that name; -1: there is none. */
int tm_link_plan_find_out(const struct tm_link_plan *plan, const char *cluster);
int tm_link_plan_find_in(const struct tm_link_plan *plan, const char *cluster);

#endif
