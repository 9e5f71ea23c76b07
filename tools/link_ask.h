/* link_ask.h: what the nodes of running clusters say of their links, gathered for `tidemill link`
 * and `tidemill conflicts`.
 *
 * Clusters are found by their data directories on this machine (--dir), or by one node (--at);
 * each tells who its nodes are, and all of them are asked.  What they say is rows: JSON objects of
 * names and values as the node's command gives them, and "at", the node.  Everything blocks,
 * seconds at worst.  Main thread of a subcommand. */
#ifndef TM_TOOLS_LINK_ASK_H
#define TM_TOOLS_LINK_ASK_H

#include "actors/directory.h"

#include <jansson.h>

#define TM_LINK_WHY 1024

struct tm_linked_where {
    const char *dir, *at; /* one of them; the other is NULL */
    const char *cluster;  /* only this one; NULL: all that are found */
    const char *password;
};

struct tm_linked_node {
    char name[TM_DIRECTORY_NAME_MAX + 1];
    char address[96]; /* of its first worker */
    enum tm_err err;  /* why it did not answer */
};

/* A cluster that answers. */
struct tm_linked {
    char name[TM_DIRECTORY_NAME_MAX + 1];
    struct tm_directory *now; /* the newest seen */
    char seed[96];            /* the node that it is of */
    struct tm_linked_node nodes[TM_NODES_MAX];
    unsigned node_count;
    json_t *rows; /* what TIDEMILL LINKS says, of all nodes that answer */
};

struct tm_linked_all {
    struct tm_linked *clusters;
    unsigned count;
};

/* dir or at is given, and at has the form of an address; else prints the error of that command.
 * Returns the exit status. */
int tm_linked_check(const char *command, const struct tm_linked_where *where);

/* Finds the clusters and asks all nodes for TIDEMILL LINKS.  TM_ERR_NOTFOUND: none answers.  What
 * is in *out is to be freed, also after a failure. */
enum tm_err tm_linked_find(const struct tm_linked_where *where, struct tm_linked_all *out,
                           char *why);
void tm_linked_free(struct tm_linked_all *all);

/* The cluster of that name, or NULL. */
struct tm_linked *tm_linked_cluster(const struct tm_linked_all *all, const char *name);

/* Asks each node of the cluster that answered before for words (ended by NULL), and gives all rows
 * of their replies; an error reply is a row {"kind": "error", "text": ...}, and of a node that does
 * not answer this time {"kind": "silent", "text": ...}. */
json_t *tm_linked_ask(struct tm_linked *c, const char *password, const char *const *words);

/* On stderr, a line each: what nodes have against being asked, or against what the directory says
 * of links; of those rows, or of all that answered LINKS, and which did not. */
void tm_linked_say_errors(const struct tm_linked *c, const json_t *rows);
void tm_linked_say_silent(const struct tm_linked_all *all);

/* The rows of a reply: an array of flat arrays of names and values; NULL: it is none.  Bytes that
 * are no UTF-8 text become \xNN. */
json_t *tm_linked_rows(struct tm_bytes reply, const char *node);

/* Members of an object; 0 and "" where there is none. */
json_int_t tm_link_number(const json_t *row, const char *name);
const char *tm_link_text(const json_t *row, const char *name);

/* An array's members in the order of a compare as qsort has it, which gets pointers to them.  The
 * caller's, who gives the array for it. */
json_t *tm_link_sorted(json_t *list, int (*compare)(const void *a, const void *b));

/* Makes the line of the cluster's directory say value, or takes it away (NULL), as its next
 * version; on all nodes or none.  *waiting as tm_running_change.  TM_ERR_EXISTS: it is so already.
 */
enum tm_err tm_linked_say(struct tm_linked *c, const char *password, const char *line,
                          const char *value, unsigned *waiting, char *why);

#endif
