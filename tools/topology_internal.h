/* topology_internal.h: what the files topology*.c share: the call under way, complaints about it,
 * and values taken by tables of options.
 *
 * One thread, while a topology is loaded. */
#ifndef TM_TOOLS_TOPOLOGY_INTERNAL_H
#define TM_TOOLS_TOPOLOGY_INTERNAL_H

#include "tools/topology.h"

#include <jansson.h>

struct tm_loader {
    struct tm_topology *t;
    const char *source;
    char *err;
    size_t err_size;
    /* The call under way. */
    const char *fn, *name;
    unsigned line;
    char inside[TM_TOPOLOGY_NAME_MAX + 32]; /* a part of it ("link to \"cloud\": "), or "" */
};

enum tm_value_type {
    TM_VALUE_NAMES,    /* struct tm_name_list */
    TM_VALUE_TYPES,    /* the same; a name may end in '*' */
    TM_VALUE_INTEGER,  /* unsigned, from min to max */
    TM_VALUE_LABEL,    /* char * */
    TM_VALUE_NAME,     /* char *, with the letters of a name */
    TM_VALUE_ADDRESS,  /* char *, IPv4 */
    TM_VALUE_WORD,     /* char *, one of choices */
    TM_VALUE_EVENTUAL, /* bool: the second of choices */
    TM_VALUE_LINK,     /* row `link` of a struct tm_link_spec at offset */
    TM_VALUE_LATER     /* taken by whoever has the whole call */
};

struct tm_topology_option {
    const char *name;
    enum tm_value_type type;
    size_t offset;
    long min, max;
    const char *choices[2];
    enum tm_link_option link;
};

/* The rows of link_options.h, for a table of options over a struct with a tm_link_spec there. */
#define TM_LINK_VALUE(field, text, ...)                                                            \
    {text, TM_VALUE_LINK, TM_LINK_VALUES_AT, .link = TM_LINK_OPTION_##field},
#define TM_LINK_VALUES TM_LINK_OPTIONS(TM_LINK_VALUE, TM_LINK_VALUE, TM_LINK_VALUE, TM_LINK_VALUE)

/* p, which is there: a few kilobytes, before anything runs. */
void *tm_topology_must(void *p);

/* Writes one line of error about the present call; key is NULL or the option it is about.  Returns
 * TM_ERR_INVALID. */
enum tm_err tm_topology_complain(struct tm_loader *l, const char *key, const char *fmt, ...)
    TM_PRINTF(3, 4);
void tm_topology_warn(struct tm_topology *t, const char *fmt, ...) TM_PRINTF(2, 3);

/* The line of option `key` of the call that ends at l->line: the last mention before it. */
unsigned tm_topology_option_line(const struct tm_loader *l, const char *key);

bool tm_topology_name_ok(const char *s, bool wildcard);
bool tm_topology_lists(const struct tm_name_list *list, const char *name);
void tm_topology_free_list(struct tm_name_list *list);

/* What a value is, for messages: "an array", "a function". */
const char *tm_topology_type_name(const json_t *v);

/* Takes every option of the object into base by the table, each name of which is there once.
 * TM_ERR_INVALID after a complaint. */
enum tm_err tm_topology_take(struct tm_loader *l, const json_t *options,
                             const struct tm_topology_option *table, size_t count, void *base);

/* topology_links.c: the links of c, whose `common` is taken already; links of the whole file. */
enum tm_err tm_topology_take_links(struct tm_loader *l, struct tm_cluster_spec *c,
                                   const json_t *replicate_to);
enum tm_err tm_topology_check_links(struct tm_loader *l);
void tm_topology_free_link(struct tm_link_spec *link);

/* topology_entity.c: a call of defineEntity; all of them against the clusters. */
enum tm_err tm_topology_take_entity(struct tm_loader *l, const json_t *options);
enum tm_err tm_topology_check_entities(struct tm_loader *l);
void tm_topology_free_entity(struct tm_entity_spec *e);

#endif
