/* The program: finds the subcommand and hands over. */
#include "tools/command.h"
#include "tools/rules.h"
#include "runtime/nearest.h"
#include "runtime/options.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define OPTIONS_MAX 16 /* of one subcommand */

/* Read by jemalloc when it starts.  Every lookup in a table is a random access or three: with huge
 * pages, where the system lets programs ask for them, they do not each walk the page tables too. */
extern const char *malloc_conf;
const char *malloc_conf = "thp:always";

struct subcommand {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *usage;
    const char *summary;
};

static const struct subcommand subcommands[] = {
#define X(name, usage, summary) {#name, tm_main_##name, usage, summary},
    TM_SUBCOMMAND_LIST(X)
#undef X
};

static const struct subcommand *find(const char *name)
{
    for (size_t i = 0; i < TM_ARRAY_LEN(subcommands); i++)
        if (strcmp(subcommands[i].name, name) == 0)
            return &subcommands[i];
    return NULL;
}

int tm_fail(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("tidemill: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    return TM_EXIT_FAILED;
}

int tm_usage_error(const char *name, const char *fmt, ...)
{
    const struct subcommand *c = find(name);
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "tidemill %s: ", name);
    vfprintf(stderr, fmt, ap);
    fprintf(stderr, "; usage: tidemill %s\n", c != NULL ? c->usage : name);
    va_end(ap);
    return TM_EXIT_USAGE;
}

const char *tm_did_you_mean(char *text, const char *given, const char *const *names, size_t count)
{
    const char *near = tm_nearest_name(given, names, count);
    text[0] = '\0';
    if (near != NULL)
        snprintf(text, TM_NEAR_MAX, "; did you mean \"%s\"?", near);
    return text;
}

/* The value behind "--name=value", NULL if arg is another option. */
static const char *inline_value(const char *arg, const char *name)
{
    size_t len = strlen(name);
    return strncmp(arg, name, len) == 0 && arg[len] == '=' ? arg + len + 1 : NULL;
}

/* Handles argv[i] if the table has it; returns how many words it took, 0 if none, -1 on error. */
static int take_one(const char *command, int argc, char **argv, int i, const struct tm_arg *table)
{
    for (const struct tm_arg *a = table; a->name != NULL; a++) {
        const char *value = a->value != NULL ? inline_value(argv[i], a->name) : NULL;
        if (value != NULL) {
            *a->value = value;
            return 1;
        }
        if (strcmp(argv[i], a->name) != 0)
            continue;
        if (a->flag != NULL) {
            *a->flag = true;
            return 1;
        }
        if (i + 1 >= argc) {
            tm_usage_error(command, "%s needs a value", a->name);
            return -1;
        }
        *a->value = argv[i + 1];
        return 2;
    }
    return 0;
}

static void unknown_option(const char *command, const char *given, const struct tm_arg *table)
{
    const char *names[OPTIONS_MAX];
    char word[64], near[TM_NEAR_MAX];
    size_t count = 0;
    for (const struct tm_arg *a = table; a->name != NULL; a++) {
        TM_ASSERT(count < OPTIONS_MAX);
        names[count++] = a->name;
    }
    snprintf(word, sizeof word, "%.*s", (int)strcspn(given, "="), given);
    tm_usage_error(command, "unknown option %s%s", given,
                   tm_did_you_mean(near, word, names, count));
}

bool tm_args_take(const char *command, int *argc, char **argv, const struct tm_arg *table,
                  bool others)
{
    int kept = 0;
    for (int i = 0; i < *argc;) {
        int took = take_one(command, *argc, argv, i, table);
        if (took < 0)
            return false;
        if (took == 0) {
            if (!others && argv[i][0] == '-') {
                unknown_option(command, argv[i], table);
                return false;
            }
            argv[kept++] = argv[i];
            took = 1;
        }
        i += took;
    }
    *argc = kept;
    return true;
}

static int unknown(const char *name)
{
    const char *names[TM_ARRAY_LEN(subcommands)];
    for (size_t i = 0; i < TM_ARRAY_LEN(subcommands); i++)
        names[i] = subcommands[i].name;
    char near[TM_NEAR_MAX];
    fprintf(stderr, "tidemill: unknown command \"%s\"%s; see tidemill help\n", name,
            tm_did_you_mean(near, name, names, TM_ARRAY_LEN(names)));
    return TM_EXIT_USAGE;
}

static bool is_version(const char *name)
{
    return strcmp(name, "--version") == 0 || strcmp(name, "version") == 0;
}

static bool is_help(const char *name)
{
    return strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0;
}

static int help_on(const char *name)
{
    const struct subcommand *c = find(name);
    if (is_help(name))
        puts("tidemill help [COMMAND]\n\nlist the commands, or say what one takes");
    else if (is_version(name))
        puts("tidemill --version\n\nprint the version");
    else if (c == NULL)
        return unknown(name);
    else
        printf("tidemill %s\n\n%s\n", c->usage, c->summary);
    if (c != NULL && strstr(c->usage, "[node options]") != NULL) {
        puts("\nNode options, also as TIDEMILL_NAME in the environment:\n");
        tm_options_help(stdout, NULL, 0);
    }
    return TM_EXIT_DONE;
}

static int help(void)
{
    puts("tidemill: stores typed entities, keeps copies of them, moves them between clusters\n");
    for (size_t i = 0; i < TM_ARRAY_LEN(subcommands); i++)
        printf("  tidemill %s\n      %s\n", subcommands[i].usage, subcommands[i].summary);
    puts("  tidemill help [COMMAND]\n  tidemill --version");
    return TM_EXIT_DONE;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        help();
        return TM_EXIT_USAGE;
    }
    const char *name = argv[1];
    if (is_version(name)) {
        puts("tidemill " TM_VERSION);
        return TM_EXIT_DONE;
    }
    if (is_help(name))
        return argc > 2 ? help_on(argv[2]) : help();
    if (strcmp(name, TM_RULES_COMMAND) == 0 && argc == 2)
        return tm_rules_serve(STDIN_FILENO);
    const struct subcommand *c = find(name);
    if (c == NULL)
        return unknown(name);
    for (int i = 2; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0)
            return help_on(name);
    return c->run(argc - 2, argv + 2);
}
