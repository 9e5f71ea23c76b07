/* membership.h: what the cluster itself says of its nodes, against what the topology file says.
 *
 * A cluster that exists numbers its nodes and knows their places in the port plan: its directory
 * says so, not the file of today (actors/directory.h).  A node reads that in its data directory;
 * one without asks the nodes that answer clients.
 *
 * Main thread, before the workers run or beside them. */
#ifndef TM_TOOLS_MEMBERSHIP_H
#define TM_TOOLS_MEMBERSHIP_H

#include "actors/directory.h"
#include "runtime/options.h"
#include "tools/topology.h"

/* What the file says of the cluster beyond nodes, partitions, copies and consistency, as facts of a
 * directory: one line for each option that is there.  TM_ERR_TOOBIG: it does not fit. */
enum tm_err tm_membership_facts(const struct tm_topology *t, const struct tm_cluster_spec *c,
                                char out[TM_DIRECTORY_FACTS_MAX + 1]);

/* Asks the other nodes of the file for the directory, each for a moment, all together for a second
 * or so.  TM_ERR_NOTFOUND: none that answers is part of a cluster of that name. */
enum tm_err tm_membership_ask(const struct tm_topology *t, const struct tm_cluster_spec *c,
                              const char *self, const struct tm_options *o,
                              struct tm_directory *out);

/* Asks the node at ADDRESS:PORT for the directory that it goes by.  As tm_client_ask;
 * TM_ERR_NOTFOUND: it is not part of a cluster yet. */
enum tm_err tm_membership_ask_at(const char *address, const char *password,
                                 struct tm_directory *out);

/* Gives c the members as the directory has them: their order, their places in the port plan; those
 * that the file leaves out get the address and port that the directory knows.  c is one of t's.
 * TM_ERR_NOTFOUND: `self` is no member; why says what to do.  TM_ERR_INVALID: the directory is of
 * another cluster. */
enum tm_err tm_membership_follow(struct tm_topology *t, const struct tm_cluster_spec *c,
                                 const struct tm_directory *d, const char *self, char *why,
                                 size_t why_size);

/* Whether c has the members as the directory has them. */
bool tm_membership_agrees(const struct tm_cluster_spec *c, const struct tm_directory *d);

#endif
