/* directory.h: what a cluster is: its nodes, who holds which partition, and its settings.
 *
 * Made once, at creation, from the topology file (tm_directory_propose); from then on it is the
 * value of one entity of the system partition, replicated like any other, and every node takes it
 * and its newer versions from there (actors/exchange.h).  The topology file of a later start
 * proposes nothing: what differs is reported (tm_directory_differences).  A copy lies in each data
 * directory (actors/directory_file.h), so that a node knows at start who it is.
 *
 * Whatever else the file says of the cluster stands in the *facts*: lines "name=value\n", ascending
 * by name.  Names are the options' own ("region", "location"); what defineNode says of one node
 * is "node-1/address": physical facts, which hold as the file of that start has them.  Links and
 * rules for types have names with a ':' (actors/link_plan.h).
 *
 * Partitions 0..partitions-1 hold clients' entities; number `partitions` is the system partition.
 * Plain data and pure functions. */
#ifndef TM_ACTORS_DIRECTORY_H
#define TM_ACTORS_DIRECTORY_H

#include "actors/placement.h"

#define TM_DIRECTORY_NAME_MAX       63
#define TM_DIRECTORY_PARTITIONS_MAX 4096
#define TM_DIRECTORY_FACTS_MAX      65535
#define TM_DIRECTORY_KEY            "directory" /* its entity in the system partition */

struct tm_directory_node {
    char name[TM_DIRECTORY_NAME_MAX + 1];
    uint64_t disk_id; /* of the data directory at creation */
    uint32_t block;   /* its place in the port plan: node n of the file, over all clusters */
    uint32_t reserved;
};

struct tm_directory {
    uint8_t uuid[16];
    uint64_t token;   /* of the creation */
    uint64_t version; /* counted from 1 */
    char cluster[TM_DIRECTORY_NAME_MAX + 1];
    uint32_t partitions;
    uint8_t copies;  /* replicationFactor, 1..5 */
    bool eventual;   /* consistency */
    uint8_t members; /* nodes */
    struct tm_directory_node nodes[TM_NODES_MAX];
    /* partitions + 1 entries; the last is the system partition's. */
    struct tm_holders placement[TM_DIRECTORY_PARTITIONS_MAX + 1];
    uint32_t facts_len;
    char facts[TM_DIRECTORY_FACTS_MAX + 1]; /* ends in '\0' */
};

/* What a topology file says of a cluster. */
struct tm_directory_spec {
    const char *cluster;
    const char *const *names;
    unsigned count;
    unsigned partitions;
    unsigned copies;
    bool eventual;
    const unsigned *blocks; /* of each node; NULL: as they are counted */
    const char *facts;      /* NULL: none; at most TM_DIRECTORY_FACTS_MAX bytes */
};

/* Fills d for a new cluster: version 1, placement by rendezvous, no identities yet.  The spec was
 * checked by whoever read the file; its bounds are those above.  d takes some 100 KiB. */
void tm_directory_propose(struct tm_directory *d, const struct tm_directory_spec *spec);

/* Bytes that d takes encoded; writes them; reads them back with every bound checked.  The encoding
 * ends in a checksum and is the same on every machine.  TM_ERR_CORRUPT; TM_ERR_VERSION. */
size_t tm_directory_size(const struct tm_directory *d);
void tm_directory_encode(const struct tm_directory *d, uint8_t *out);
enum tm_err tm_directory_decode(struct tm_bytes bytes, struct tm_directory *d);

/* The version of an encoded directory, without a look at the rest; 0 if it is none. */
uint64_t tm_directory_version(struct tm_bytes bytes);

/* The number of the node of that name, or -1. */
int tm_directory_find(const struct tm_directory *d, const char *name);

/* The value of a fact, its length in *len; NULL if it is not there.  Lives as long as d. */
const char *tm_directory_fact(const struct tm_directory *d, const char *name, size_t *len);

/* Why `next` may not take the place of `now` as its next version; NULL: it may.  Nodes, copies and
 * placement stay as they are: whoever moves partitions loosens that.  Static text. */
const char *tm_directory_refuses(const struct tm_directory *now, const struct tm_directory *next);

/* Calls visit with one line of text for each difference between the file and what runs; file_holds
 * where the file's word holds all the same.  The text lives for the call.  Returns their number. */
unsigned tm_directory_differences(const struct tm_directory *d,
                                  const struct tm_directory_spec *spec,
                                  void (*visit)(void *arg, const char *text, bool file_holds),
                                  void *arg);

#endif
