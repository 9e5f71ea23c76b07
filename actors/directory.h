/* directory.h: what a cluster is: its nodes and who holds which partition.
 *
 * Made once, at creation, from the topology file (tm_directory_propose); from then on it is the
 * value of one entity of the system partition, replicated like any other, and every node takes it
 * from there.  The topology file of a later start proposes nothing: what differs is reported
 * (tm_directory_differences).  A copy lies in each data directory, so that a node knows at start
 * who it is.
 *
 * Partitions 0..partitions-1 hold clients' entities; number `partitions` is the system partition.
 * Plain data and pure functions. */
#ifndef TM_ACTORS_DIRECTORY_H
#define TM_ACTORS_DIRECTORY_H

#include "actors/placement.h"

#define TM_DIRECTORY_NAME_MAX       63
#define TM_DIRECTORY_PARTITIONS_MAX 4096
#define TM_DIRECTORY_KEY            "directory" /* its entity in the system partition */

struct tm_directory_node {
    char name[TM_DIRECTORY_NAME_MAX + 1];
    uint64_t disk_id; /* of the data directory at creation */
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
};

/* What a topology file says of a cluster. */
struct tm_directory_spec {
    const char *cluster;
    const char *const *names;
    unsigned count;
    unsigned partitions;
    unsigned copies;
    bool eventual;
};

/* Fills d for a new cluster: version 1, placement by rendezvous, no identities yet.  The spec was
 * checked by whoever read the file; its bounds are those above. */
void tm_directory_propose(struct tm_directory *d, const struct tm_directory_spec *spec);

/* Bytes that d takes encoded; writes them; reads them back with every bound checked.  The encoding
 * ends in a checksum and is the same on every machine. */
size_t tm_directory_size(const struct tm_directory *d);
void tm_directory_encode(const struct tm_directory *d, uint8_t *out);
enum tm_err tm_directory_decode(struct tm_bytes bytes, struct tm_directory *d);

/* The number of the node of that name, or -1. */
int tm_directory_find(const struct tm_directory *d, const char *name);

/* Writes one line per difference between the file and what runs into buf (lines end in '\n');
 * returns their number. */
unsigned tm_directory_differences(const struct tm_directory *d,
                                  const struct tm_directory_spec *spec, char *buf, size_t size);

#endif
