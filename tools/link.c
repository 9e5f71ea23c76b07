/* tidemill link: links between clusters that run: how they are, why they lag, and what operators do
 * with them.
 *
 * SOURCE and TARGET are clusters' names.  With --dir both ends are found, if they run on this
 * machine; --at names a node of one of them, and what has to be said at the other end is said so.
 */
#include "tools/client.h"
#include "tools/command.h"
#include "tools/link_explain.h"
#include "tools/link_internal.h"

#include <stdio.h>

struct verb {
    const char *name, *more, *text;
};

static const struct verb verbs[] = {
#define X(name, more, text) {#name, more, text},
    TM_LINK_VERB_LIST(X)
#undef X
};

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; i < TM_ARRAY_LEN(verbs); i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}

static int help(void)
{
    puts("tidemill link VERB SOURCE TARGET --dir DIR|--at ADDRESS:PORT [--json] [--requirepass "
         "WORD]\n");
    for (size_t i = 0; i < TM_ARRAY_LEN(verbs); i++)
        printf("  %-8s %-9s %s\n", verbs[i].name, verbs[i].more, verbs[i].text);
    puts("\nSOURCE and TARGET are clusters. --dir finds every node below DIR on this machine, --at "
         "the cluster\nof one node. Exit status: 0 done, 1 refused or failed, 2 bad usage.");
    return TM_EXIT_DONE;
}

static bool only_looks(const char *verb)
{
    return strcmp(verb, "ls") == 0 || strcmp(verb, "show") == 0 || strcmp(verb, "explain") == 0;
}

static int unknown_verb(const char *given)
{
    const char *names[TM_ARRAY_LEN(verbs)];
    char near[TM_NEAR_MAX];
    for (size_t i = 0; i < TM_ARRAY_LEN(verbs); i++)
        names[i] = verbs[i].name;
    return tm_usage_error("link", "unknown verb \"%s\"%s", given,
                          tm_did_you_mean(near, given, names, TM_ARRAY_LEN(names)));
}

static int take_arguments(struct tm_link_command *c, int argc, char **argv)
{
    const struct tm_arg args[] = {{"--json", &c->json, NULL},
                                  {"--dir", NULL, &c->where.dir},
                                  {"--at", NULL, &c->where.at},
                                  {"--requirepass", NULL, &c->where.password},
                                  {NULL, NULL, NULL}};
    if (!tm_args_take("link", &argc, argv, args, false))
        return TM_EXIT_USAGE;
    c->verb = argc > 0 ? argv[0] : "ls";
    const struct verb *verb = find_verb(c->verb);
    if (verb == NULL)
        return unknown_verb(c->verb);
    if (strcmp(c->verb, "dead") == 0) {
        const char *wrong = tm_link_dead_usage(c, argc, argv);
        return wrong != NULL ? tm_usage_error("link", "%s", wrong)
                             : tm_linked_check("link", &c->where);
    }
    c->source = argc > 1 ? argv[1] : NULL;
    c->target = argc > 2 ? argv[2] : NULL;
    c->value = argc > 3 ? argv[3] : NULL;
    int most = verb->more[0] != '\0' ? 4 : 3;
    bool lists = strcmp(c->verb, "ls") == 0 || strcmp(c->verb, "explain") == 0;
    if (argc > most || (argc < most && !lists))
        return tm_usage_error("link", "%s needs SOURCE TARGET%s%s", c->verb,
                              verb->more[0] != '\0' ? " " : "", verb->more);
    return tm_linked_check("link", &c->where);
}

/* "there is no link a -> b", and which there are. */
static int no_link(const struct tm_link_command *c)
{
    char known[512] = "";
    size_t at = 0;
    for (size_t i = 0; i < json_array_size(c->report) && at < sizeof known; i++) {
        const json_t *link = json_array_get(c->report, i);
        at += (size_t)snprintf(known + at, sizeof known - at, "%s%s -> %s", i > 0 ? ", " : "",
                               tm_link_text(link, "source"), tm_link_text(link, "target"));
    }
    return tm_fail("there is no link %s -> %s at the clusters that were asked%s%s", c->source,
                   c->target, known[0] != '\0' ? ": there are " : ": they have none", known);
}

/* The links that the arguments name; a new array. */
static json_t *chosen(const struct tm_link_command *c)
{
    json_t *list = json_array();
    for (size_t i = 0; i < json_array_size(c->report); i++) {
        json_t *link = json_array_get(c->report, i);
        if ((c->source == NULL || strcmp(tm_link_text(link, "source"), c->source) == 0) &&
            (c->target == NULL || strcmp(tm_link_text(link, "target"), c->target) == 0))
            json_array_append(list, link);
    }
    return list;
}

static void explain(json_t *list, bool json)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *says = tm_link_explain(json_array_get(list, i));
        for (size_t k = 0; k < json_array_size(says) && !json; k++)
            printf("%s%s\n", k > 0 ? "  " : "", json_string_value(json_array_get(says, k)));
        json_object_set_new(json_array_get(list, i), "explained", says);
    }
}

static int look(const struct tm_link_command *c)
{
    json_t *list = chosen(c);
    if (json_array_size(list) == 0 && c->target != NULL) {
        json_decref(list);
        return no_link(c);
    }
    if (strcmp(c->verb, "explain") == 0)
        explain(list, c->json);
    else if (!c->json && strcmp(c->verb, "show") == 0)
        tm_link_print_link(json_array_get(list, 0));
    else if (!c->json)
        tm_link_print_list(list);
    if (c->json)
        tm_link_print_json(list);
    json_decref(list);
    return TM_EXIT_DONE;
}

int tm_main_link(int argc, char **argv)
{
    struct tm_link_command c = {.where.password = tm_client_password()};
    char why[TM_LINK_WHY] = "";
    if (argc > 0 && strcmp(argv[0], "help") == 0)
        return help();
    int status = take_arguments(&c, argc, argv);
    if (status != TM_EXIT_DONE)
        return status;
    enum tm_err e = tm_linked_find(&c.where, &c.all, why);
    if (e != TM_OK) {
        status = tm_fail("%s", why);
    } else {
        c.report = tm_link_report(&c.all);
        tm_linked_say_silent(&c.all);
        bool known = c.source != NULL && c.target != NULL &&
                     tm_link_report_find(c.report, c.source, c.target) != NULL;
        status = only_looks(c.verb)              ? look(&c)
                 : !known                        ? no_link(&c)
                 : strcmp(c.verb, "verify") == 0 ? tm_link_verify(&c)
                 : strcmp(c.verb, "dead") == 0   ? tm_link_dead(&c)
                                                 : tm_link_change(&c);
    }
    json_decref(c.report);
    tm_linked_free(&c.all);
    return status;
}
