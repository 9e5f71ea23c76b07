/* defineEntity: where a type may be (residency), and what becomes of changes that did not know of
 * each other (conflict), for the whole type or for single fields.
 *
 * A rule that is a function is kept as its text, tried on samples (tools/topology_function.h), and
 * refused unless it gives the same whichever of the two comes first.  Residency fails closed: a
 * jurisdiction that no cluster has, a resident type that a filter names for a target elsewhere, are
 * errors; what a wildcard would take stays, with a warning. */
#include "runtime/nearest.h"
#include "tools/topology_function.h"
#include "tools/topology_internal.h"

#include <stdio.h>
#include <stdlib.h>

static const struct tm_topology_option entity_options[] = {
    {"conflict", TM_VALUE_LATER},
    {"home", TM_VALUE_NAME, offsetof(struct tm_entity_spec, rule.home)},
    {"samples", TM_VALUE_LATER},
    {"fields", TM_VALUE_LATER},
    {"residency", TM_VALUE_NAMES, offsetof(struct tm_entity_spec, residency)},
};

static const struct tm_topology_option field_options[] = {
    {"conflict", TM_VALUE_LATER},
    {"home", TM_VALUE_NAME, offsetof(struct tm_field_spec, rule.home)},
    {"samples", TM_VALUE_LATER},
};

static void free_rule(struct tm_rule_spec *r)
{
    free(r->home);
    free(r->function);
}

void tm_topology_free_entity(struct tm_entity_spec *e)
{
    for (unsigned i = 0; i < e->field_count; i++) {
        free(e->fields[i].name);
        free_rule(&e->fields[i].rule);
    }
    free(e->fields);
    free_rule(&e->rule);
    tm_topology_free_list(&e->residency);
    free(e->name);
}

static enum tm_err complain_rule(struct tm_loader *l, const json_t *v, bool field)
{
    char names[160] = "";
    size_t at = 0;
    for (unsigned i = 0; i < TM_CONFLICT_FUNCTION && at < sizeof names; i++)
        if (!field || i != TM_CONFLICT_ENTITY_LWW)
            at += (size_t)snprintf(names + at, sizeof names - at, "\"%s\", ", tm_conflict_name(i));
    const char *s = json_string_value(v);
    return tm_topology_complain(l, "conflict", "must be %sor function (a, b) { … }, not %s%.64s%s",
                                names, s != NULL ? "\"" : "",
                                s != NULL ? s : tm_topology_type_name(v), s != NULL ? "\"" : "");
}

/* The names of a type's fields, for samples of the whole type. */
static json_t *field_names(const json_t *options)
{
    json_t *names = json_array(), *v;
    const char *key;
    json_object_foreach(json_object_get(options, "fields"), key, v)
        json_array_append_new(names, json_string(key));
    return names;
}

static enum tm_err take_function(struct tm_loader *l, const json_t *options, const json_t *marker,
                                 bool field, struct tm_rule_spec *rule)
{
    const char *text = json_string_value(json_object_get(marker, "text"));
    char why[512];
    if (text == NULL)
        return tm_topology_complain(
            l, "conflict", "a function's text must stand in the file, as function (a, b) { … }");
    if (strlen(text) > TM_LINK_FUNCTION_MAX)
        return tm_topology_complain(l, "conflict",
                                    "the function has %zu bytes, at most %d are kept", strlen(text),
                                    TM_LINK_FUNCTION_MAX);
    const json_t *samples = json_object_get(options, "samples");
    if (samples != NULL && !json_is_array(samples))
        return tm_topology_complain(l, "samples", "must be an array of values, not %s",
                                    tm_topology_type_name(samples));
    json_t *names = field ? NULL : field_names(options);
    enum tm_err e =
        tm_function_check(l->t->path, text, field ? NULL : names, samples, why, sizeof why);
    json_decref(names);
    if (e != TM_OK)
        return tm_topology_complain(l, "conflict", "%s", why);
    rule->rule = TM_CONFLICT_FUNCTION;
    rule->function = tm_topology_must(strdup(text));
    return TM_OK;
}

static enum tm_err take_rule(struct tm_loader *l, const json_t *options, bool field,
                             struct tm_rule_spec *rule)
{
    const json_t *v = json_object_get(options, "conflict");
    const char *kind = json_string_value(json_object_get(v, "$type"));
    rule->rule = TM_CONFLICT_FIELD_LWW;
    if (kind != NULL && strcmp(kind, "function") == 0)
        return take_function(l, options, v, field, rule);
    if (json_object_get(options, "samples") != NULL)
        return tm_topology_complain(l, "samples", "are for a rule that is a function");
    if (v != NULL) {
        const char *name = json_string_value(v);
        rule->rule = name != NULL ? tm_conflict_find(tm_bytes_str(name)) : TM_CONFLICT_COUNT;
        if (rule->rule >= TM_CONFLICT_FUNCTION || (field && rule->rule == TM_CONFLICT_ENTITY_LWW))
            return complain_rule(l, v, field);
    }
    if (rule->rule == TM_CONFLICT_HOME && rule->home == NULL)
        return tm_topology_complain(l, "conflict",
                                    "\"home\" needs the cluster that wins: home: \"name\"");
    if (rule->rule != TM_CONFLICT_HOME && rule->home != NULL)
        return tm_topology_complain(l, "home", "is for conflict: \"home\"");
    return TM_OK;
}

static bool field_name_ok(const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)name[i] < ' ' || name[i] == 0x7f)
            return false;
    return len >= 1 && len <= TM_LINK_NAME_MAX;
}

static enum tm_err take_field(struct tm_loader *l, struct tm_entity_spec *en, const char *name,
                              const json_t *options)
{
    en->fields = tm_topology_must(realloc(en->fields, (en->field_count + 1) * sizeof *en->fields));
    struct tm_field_spec *f = &en->fields[en->field_count++];
    *f = (struct tm_field_spec){.name = tm_topology_must(strdup(name))};
    if (!field_name_ok(name))
        return tm_topology_complain(l, "fields",
                                    "\"%.64s\" is no field's name: 1 to %d bytes of text", name,
                                    TM_LINK_NAME_MAX);
    snprintf(l->inside, sizeof l->inside, "field \"%s\": ", name);
    if (!json_is_object(options) || json_object_get(options, "$type") != NULL)
        return tm_topology_complain(l, name,
                                    "must be an object such as { conflict: \"counter\" }, "
                                    "not %s",
                                    tm_topology_type_name(options));
    enum tm_err e = tm_topology_take(l, options, field_options, TM_ARRAY_LEN(field_options), f);
    if (e == TM_OK)
        e = take_rule(l, options, true, &f->rule);
    l->inside[0] = '\0';
    return e;
}

static enum tm_err take_fields(struct tm_loader *l, struct tm_entity_spec *en, const json_t *fields)
{
    const char *key;
    json_t *v;
    if (fields == NULL)
        return TM_OK;
    if (!json_is_object(fields) || json_object_get(fields, "$type") != NULL)
        return tm_topology_complain(l, "fields", "must be an object of fields, not %s",
                                    tm_topology_type_name(fields));
    if (json_object_size(fields) > 0 && en->rule.rule == TM_CONFLICT_ENTITY_LWW)
        return tm_topology_complain(l, "fields",
                                    "contradict conflict: \"entity-lww\", which takes "
                                    "entities as a whole");
    json_object_foreach((json_t *)(uintptr_t)fields, key, v)
    {
        enum tm_err e = take_field(l, en, key, v);
        if (e != TM_OK)
            return e;
    }
    return TM_OK;
}

enum tm_err tm_topology_take_entity(struct tm_loader *l, const json_t *options)
{
    struct tm_topology *t = l->t;
    unsigned fields = 0;
    for (unsigned i = 0; i < t->entity_count; i++) {
        fields += t->entities[i].field_count;
        if (strcmp(t->entities[i].name, l->name) == 0)
            return tm_topology_complain(l, NULL, "this type was defined in line %u already",
                                        t->entities[i].line);
    }
    if (t->entity_count == TM_LINK_TYPES_MAX)
        return tm_topology_complain(l, NULL, "at most %d types are allowed", TM_LINK_TYPES_MAX);
    t->entities =
        tm_topology_must(realloc(t->entities, (t->entity_count + 1) * sizeof *t->entities));
    struct tm_entity_spec *en = &t->entities[t->entity_count++];
    *en = (struct tm_entity_spec){.name = tm_topology_must(strdup(l->name)), .line = l->line};
    enum tm_err e = tm_topology_take(l, options, entity_options, TM_ARRAY_LEN(entity_options), en);
    en->resident = json_object_get(options, "residency") != NULL;
    if (e == TM_OK)
        e = take_rule(l, options, false, &en->rule);
    if (e == TM_OK)
        e = take_fields(l, en, json_object_get(options, "fields"));
    if (e == TM_OK && fields + en->field_count > TM_LINK_FIELDS_MAX)
        e = tm_topology_complain(l, "fields", "at most %d fields of all types are allowed",
                                 TM_LINK_FIELDS_MAX);
    return e;
}

const struct tm_entity_spec *tm_topology_entity(const struct tm_topology *t, const char *name)
{
    for (unsigned i = 0; i < t->entity_count; i++)
        if (strcmp(t->entities[i].name, name) == 0)
            return &t->entities[i];
    return NULL;
}

/* ---- the whole file ---- */

static enum tm_err check_home(struct tm_loader *l, const struct tm_rule_spec *rule)
{
    const char *names[TM_CLUSTERS_MAX];
    if (rule->home == NULL || tm_topology_cluster(l->t, rule->home) != NULL)
        return TM_OK;
    for (unsigned i = 0; i < l->t->cluster_count; i++)
        names[i] = l->t->clusters[i].name;
    const char *near = tm_nearest_name(rule->home, names, l->t->cluster_count);
    return tm_topology_complain(l, "home", "no cluster \"%s\" is defined in this file%s%s%s",
                                rule->home, near != NULL ? "; did you mean \"" : "",
                                near != NULL ? near : "", near != NULL ? "\"?" : "");
}

/* Each jurisdiction listed is that of a cluster: a misspelt one would be an open or a locked door
 * that nobody sees. */
static enum tm_err check_jurisdictions(struct tm_loader *l, const struct tm_entity_spec *en)
{
    const struct tm_topology *t = l->t;
    char list[256] = "";
    for (unsigned i = 0; i < en->residency.count; i++) {
        const char *name = en->residency.names[i];
        size_t at = 0;
        bool known = false;
        for (unsigned k = 0; k < t->cluster_count; k++) {
            const char *has = t->clusters[k].jurisdiction;
            known |= strcmp(has, name) == 0;
            bool before = has[0] == '\0';
            for (unsigned b = 0; b < k; b++)
                before |= strcmp(t->clusters[b].jurisdiction, has) == 0;
            if (!before && at < sizeof list)
                at += (size_t)snprintf(list + at, sizeof list - at, "%s\"%s\"", at > 0 ? ", " : "",
                                       has);
        }
        if (!known)
            return tm_topology_complain(l, "residency",
                                        "no cluster has jurisdiction \"%s\": this file's are %s",
                                        name, at > 0 ? list : "none (set region or jurisdiction)");
    }
    return TM_OK;
}

static bool wildcard_takes(const struct tm_name_list *list, const char *type, const char **which)
{
    for (unsigned i = 0; i < list->count; i++) {
        size_t len = strlen(list->names[i]);
        *which = list->names[i];
        if (list->names[i][len - 1] == '*' && strncmp(list->names[i], type, len - 1) == 0)
            return true;
    }
    return false;
}

/* A resident type against one link: named for a place where it may not be, or taken by a wildcard.
 */
static enum tm_err check_door(struct tm_loader *l, const struct tm_entity_spec *en,
                              const struct tm_cluster_spec *from, const struct tm_link_spec *link)
{
    const struct tm_cluster_spec *to = tm_topology_cluster(l->t, link->target);
    const char *where = to != NULL ? to->jurisdiction : "", *wildcard;
    bool may = where[0] != '\0' && tm_topology_lists(&en->residency, where);
    if (tm_topology_lists(&link->exclude, en->name) ||
        wildcard_takes(&link->exclude, en->name, &wildcard))
        return TM_OK;
    if (tm_topology_lists(&link->include, en->name)) {
        if (may)
            return TM_OK;
        l->fn = "defineCluster";
        l->name = from->name;
        l->line = from->line;
        return tm_topology_complain(
            l, "replicateEntityTypes",
            "type %s may not leave for %s: its residency (line %u) does not list %s%s%s", en->name,
            link->target, en->line, where[0] != '\0' ? "\"" : "",
            where[0] != '\0' ? where
            : to != NULL     ? "a cluster without a jurisdiction"
                             : "a cluster that this file does not define",
            where[0] != '\0' ? "\"" : "");
    }
    if (wildcard_takes(&link->include, en->name, &wildcard))
        tm_topology_warn(l->t,
                         "%s -> %s: \"%s\" does not take %s: a type with a residency leaves by its "
                         "own name, never by a wildcard",
                         from->name, link->target, wildcard, en->name);
    else if (link->include.count == 0 && where[0] == '\0')
        tm_topology_warn(l->t,
                         "%s -> %s: type %s stays: the target has no jurisdiction that is known",
                         from->name, link->target, en->name);
    return TM_OK;
}

static void warn_unbuilt(struct tm_topology *t, const char *type, const char *field,
                         enum tm_conflict rule)
{
    if (rule == TM_CONFLICT_FUNCTION && field[0] == '\0')
        tm_topology_warn(t,
                         "type %s%s%s: conflict \"%s\" is not carried out yet: the later change of "
                         "each field stands",
                         type, field[0] != '\0' ? ", field " : "", field, tm_conflict_name(rule));
}

static enum tm_err check_entity(struct tm_loader *l, const struct tm_entity_spec *en)
{
    const struct tm_topology *t = l->t;
    l->fn = "defineEntity";
    l->name = en->name;
    l->line = en->line;
    enum tm_err e = check_home(l, &en->rule);
    warn_unbuilt(l->t, en->name, "", en->rule.rule);
    for (unsigned i = 0; e == TM_OK && i < en->field_count; i++) {
        warn_unbuilt(l->t, en->name, en->fields[i].name, en->fields[i].rule.rule);
        snprintf(l->inside, sizeof l->inside, "field \"%s\": ", en->fields[i].name);
        e = check_home(l, &en->fields[i].rule);
        l->inside[0] = '\0';
    }
    if (e == TM_OK && en->resident)
        e = check_jurisdictions(l, en);
    for (unsigned i = 0; en->resident && i < t->cluster_count; i++)
        for (unsigned k = 0; e == TM_OK && k < t->clusters[i].link_count; k++)
            e = check_door(l, en, &t->clusters[i], &t->clusters[i].links[k]);
    return e;
}

enum tm_err tm_topology_check_entities(struct tm_loader *l)
{
    enum tm_err e = TM_OK;
    for (unsigned i = 0; e == TM_OK && i < l->t->entity_count; i++)
        e = check_entity(l, &l->t->entities[i]);
    return e;
}
