/* command.h: the subcommands of the program, one file each.
 *
 * Exit status: 0 done, 1 refused or failed, 2 bad usage.  Errors are one line on stderr that says
 * what to do.  Subcommands run on the main thread of a process of their own. */
#ifndef TM_TOOLS_COMMAND_H
#define TM_TOOLS_COMMAND_H

#include "runtime/base.h"

enum tm_exit { TM_EXIT_DONE = 0, TM_EXIT_FAILED = 1, TM_EXIT_USAGE = 2 };

/* X(name, usage, summary): each has int tm_main_<name>(int argc, char **argv), which gets what
 * follows the name and returns the exit status. */
#define TM_SUBCOMMAND_LIST(X)                                                                      \
    X(up, "up FILE [--dir DIR] [--cluster NAME] [--base-port N] [--detach] [node options]",        \
      "start every node of a topology file that is not running")                                   \
    X(down, "down --dir DIR [--cluster NAME] [--node NAME] [--kill]", "stop nodes")                \
    X(ps, "ps --dir DIR [--json]", "list the nodes and what they are doing")                       \
    X(serve, "serve --topology FILE --cluster C --node N --data-dir D [node options]",             \
      "run one node in the foreground")                                                            \
    X(plan, "plan FILE [--json] [--dir DIR]",                                                      \
      "check a topology file and say what it means, and would change in what runs")                \
    X(apply, "apply FILE [--dir DIR] [--cluster NAME] [--dry-run] [--json] [node options]",        \
      "make running clusters go by an edited topology file")                                       \
    X(stat, "stat DIR/<cluster>/<node> [--json]", "a node's counters, also after its death")       \
    X(recover, "recover ADDRESS:PORT --partition P|--all [--yes] [--requirepass WORD]",            \
      "go on with one node's copies where the others are lost for good")                           \
    X(restored, "restored --dir DIR [--cluster NAME] [--incarnation HEX]",                         \
      "say that data directories were put back from copies, before their nodes start")             \
    X(status, "status ADDRESS:PORT [--json] [--requirepass WORD]",                                 \
      "a cluster's partitions, leaders, copies and lag")                                           \
    X(link, "link VERB [SOURCE TARGET] --dir DIR|--at ADDRESS:PORT [--json] [--requirepass WORD]", \
      "links between clusters: ls, show, explain, pause, ...; tidemill link help")                 \
    X(conflicts, "conflicts ls|show ID|reapply ID --dir DIR|--at ADDRESS:PORT [--key K] [--json]", \
      "what linked clusters wrote without knowing of each other")                                  \
    X(wal, "wal verify|dump DIR/<cluster>/<node>", "check or show a node's write-ahead log")       \
    X(bench, "bench resp ADDRESS:PORT [options]", "load a RESP server; tidemill bench help")

#define X(name, usage, summary) int tm_main_##name(int argc, char **argv);
TM_SUBCOMMAND_LIST(X)
#undef X

/* Prints "tidemill NAME: what" and the usage of NAME to stderr; returns TM_EXIT_USAGE. */
int tm_usage_error(const char *name, const char *fmt, ...) TM_PRINTF(2, 3);

/* Prints "tidemill: what" to stderr; returns TM_EXIT_FAILED. */
int tm_fail(const char *fmt, ...) TM_PRINTF(1, 2);

#define TM_NEAR_MAX 160 /* room for what tm_did_you_mean says */

/* "; did you mean \"NAME\"?" with the one of the names that is nearest to what was given, cut at
 * TM_NEAR_MAX; "" if none is near.  Returns text. */
const char *tm_did_you_mean(char *text, const char *given, const char *const *names, size_t count);

/* One option of a subcommand's own command line. */
struct tm_arg {
    const char *name;   /* "--json" */
    bool *flag;         /* set when it is given, or */
    const char **value; /* its value: "--dir D" or "--dir=D" */
};

/* Takes the options of `table` (ended by a NULL name) out of argv; what is left, positionals and
 * options unknown here, stays in argv[0..*argc).  False after it printed an error (a value is
 * missing, or an option unknown here while !others). */
bool tm_args_take(const char *command, int *argc, char **argv, const struct tm_arg *table,
                  bool others);

#endif
