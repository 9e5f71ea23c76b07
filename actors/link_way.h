/* link_way.h: one worker's messages to the workers of linked clusters.
 *
 * A second post (actors/post.h) over a second fabric.  Its peers are the nodes of all clusters of
 * the topology file, numbered by *block*: the node's place in the file's port plan over all
 * clusters (0..63), which every node of every cluster takes from the same file; this node has a
 * block, too. A *site* is another cluster of the file, numbered as in config.sites on every worker
 * of the node.
 *
 * Peers tell each other who they are (struct tm_link_hello).  Which cluster stands behind a name is
 * noted durably at the first meeting (actors/link_notes.h), before anything is sent to it or taken
 * from it; a cluster of that name with another uuid is refused from then on, and said.  So is a
 * cluster that this one is not linked with, in either direction.  Everything received is from
 * outside: what does not fit is refused or dropped and counted.
 *
 * Life: new, set_fabric, start (the cluster exists), turns, free.  Before `start` nothing is sent,
 * and what arrives is lost; peers repeat their hello.  Pure; one worker's thread, except where it
 * says. */
#ifndef TM_ACTORS_LINK_WAY_H
#define TM_ACTORS_LINK_WAY_H

#include "actors/link_notes.h"
#include "actors/node.h"
#include "actors/post.h"

#include <stdatomic.h>

#define TM_LINK_PROTOCOL      2  /* version of everything that clusters say to each other */
#define TM_LINK_MESSAGE_FIRST 32 /* message types below it go between nodes of one cluster only */
#define TM_LINK_SITES_MAX     63
#define TM_LINK_CLUSTER_HASH  UINT64_C(0x74696465206c696e) /* of every link's fabric and channel */

/* Another cluster of the topology file. */
struct tm_link_site_node {
    char name[TM_DIRECTORY_NAME_MAX + 1];
    uint8_t block; /* below TM_NODES_MAX, of one node of the file only */
};

struct tm_link_site {
    char name[TM_DIRECTORY_NAME_MAX + 1];
    unsigned count; /* 1.. */
    struct tm_link_site_node nodes[TM_NODES_MAX];
};

/* What a cluster is, as its nodes say. */
struct tm_link_identity {
    uint8_t uuid[16];
    uint64_t incarnation; /* `origin` of the stamps that it makes; not 0 */
    uint64_t epoch;       /* of links; an older one's streams are refused */
    uint32_t partitions;  /* 1..TM_DIRECTORY_PARTITIONS_MAX, the system partition not counted */
};

/* Shown in the channel's hello; little-endian, frozen. */
struct tm_link_hello {
    uint32_t protocol;
    uint32_t partitions;
    uint8_t uuid[16];
    uint64_t incarnation;
    uint64_t epoch;
    char cluster[TM_DIRECTORY_NAME_MAX + 1];
    char node[TM_DIRECTORY_NAME_MAX + 1];
    uint8_t workers; /* of the node, 1.. */
    uint8_t reserved[7];
};
TM_STATIC_ASSERT(sizeof(struct tm_link_hello) == 176, "frozen on the wire");
TM_STATIC_ASSERT(sizeof(struct tm_link_hello) <= TM_CHANNEL_HELLO_MAX, "fits a hello");

/* What the workers of a node know of the sites together.  Zeroed before the first worker; lives as
 * long as the node.  Only this file looks inside. */
struct tm_link_known {
    struct {
        _Atomic uint32_t standing; /* 0: never met */
        _Atomic uint64_t uuid[2];
    } site[TM_LINK_SITES_MAX];
};

struct tm_link_way_ops {
    void *host;
    /* A message of a type from TM_LINK_MESSAGE_FIRST on; head->node is the sender's block, node and
     * worker are true.  body is 8-aligned and valid during the call. */
    void (*message)(void *host, unsigned site, const struct tm_message_head *head,
                    struct tm_bytes body);
    /* That worker can be sent messages from now on, and takes them.  What was sent before, and not
     * answered, is to be taken for lost: its process may be another one. */
    void (*up)(void *host, unsigned site, struct tm_place to);
    /* It cannot any more: gone, another process by now, or not linked. */
    void (*down)(void *host, unsigned site, struct tm_place to);
};

struct tm_link_way_config {
    const struct tm_ctx *ctx;
    const char *cluster, *name;       /* of this node; outlive the way */
    unsigned block;                   /* of this node, below TM_NODES_MAX */
    unsigned worker, workers;         /* this one; how many this node has */
    uint64_t boot;                    /* of this process, not 0; the same for all its workers */
    const struct tm_link_site *sites; /* borrowed, outlive the way; no block and no name twice */
    unsigned site_count;              /* 0..TM_LINK_SITES_MAX */
    struct tm_link_known *known;      /* the node's, shared by its workers */
    struct tm_link_way_ops ops;
};

struct tm_link_way;

/* Nobody is linked yet.  NULL if memory is short. */
struct tm_link_way *tm_link_way_new(const struct tm_link_way_config *config);
void tm_link_way_free(struct tm_link_way *way);

/* What the fabric of links is opened with, and the fabric; any time before start. */
struct tm_fabric_sink tm_link_way_sink(struct tm_link_way *way);
void tm_link_way_set_fabric(struct tm_link_way *way, struct tm_fabric *fabric);

/* This cluster exists: begins to say hello to the linked sites; worker 0 reads what was noted
 * (blocks on the disk).  self: copied.  Again, while it runs, with what has become of self: all
 * that was under way is lost, and peers are met anew; nothing is read then.  Not from within ops.
 * TM_ERR_CORRUPT and others: the notes cannot be read, why has one line; TM_ERR_NOMEM. */
enum tm_err tm_link_way_start(struct tm_link_way *way, const struct tm_link_identity *self,
                              char *why, size_t why_size);

/* Whether this cluster has a link with the site, in either direction.  May change at any time, also
 * before start; on every worker. */
void tm_link_way_link(struct tm_link_way *way, unsigned site, bool linked);

/* The cluster whose uuid begins with these 8 bytes (little-endian) may take the place of the one
 * that was met under the site's name: an operator says so; 0: none may.  As tm_link_way_link. */
void tm_link_way_adopt(struct tm_link_way *way, unsigned site, uint64_t uuid);

/* ---- who is there ---- */

/* How many sites there are; one of them, below that. */
unsigned tm_link_way_sites(const struct tm_link_way *way);
const struct tm_link_site *tm_link_way_site(const struct tm_link_way *way, unsigned site);

/* The site of that name, or of that uuid (met, and noted); -1. */
int tm_link_way_find(const struct tm_link_way *way, const char *name);
int tm_link_way_site_of_uuid(const struct tm_link_way *way, const uint8_t uuid[16]);

/* What the site's nodes said to this worker, the newest of the highest epoch.  NULL: nothing yet.
 * Valid until the next turn. */
const struct tm_link_identity *tm_link_way_identity(const struct tm_link_way *way, unsigned site);

/* The uuid of the cluster that was met under the site's name, also before this process began.
 * False: none was yet. */
bool tm_link_way_uuid(const struct tm_link_way *way, unsigned site, uint8_t out[16]);

/* Why the site is not spoken to, if one side refused the other: a printable text, else NULL. */
const char *tm_link_way_refusal(const struct tm_link_way *way, unsigned site);

/* The beginning of the uuid of a cluster that was refused because another one has the site's name;
 * 0: there is none. */
uint64_t tm_link_way_stranger(const struct tm_link_way *way, unsigned site);

/* tm_link_way_start was called and did not fail. */
bool tm_link_way_begun(const struct tm_link_way *way);

/* Some worker of the node is up. */
bool tm_link_way_is_there(const struct tm_link_way *way, unsigned block);

/* The worker of that node that owns target partition t; worker 0 while the node was not met. */
struct tm_place tm_link_way_place(const struct tm_link_way *way, unsigned block, uint32_t t);

/* False where tm_link_way_send would answer TM_ERR_CLOSED. */
bool tm_link_way_is_up(const struct tm_link_way *way, struct tm_place to);

/* ---- sending, turns ---- */

/* Sends head (type from TM_LINK_MESSAGE_FIRST on; node and worker are filled in) and the pieces as
 * one message to a worker of a linked site.  The bytes are copied.  TM_ERR_CLOSED: that worker is
 * not there, or not yet; `up` tells when it is, also if it was never sent to before.  TM_ERR_FULL:
 * its window is full, try again by a timer; TM_ERR_TOOBIG. */
enum tm_err tm_link_way_send(struct tm_link_way *way, struct tm_place to,
                             struct tm_message_head head, const struct tm_bytes *pieces,
                             unsigned count);

/* After the events of a turn, before whoever sends; then the turn's end: frames leave. */
void tm_link_way_turn(struct tm_link_way *way);
void tm_link_way_flush(struct tm_link_way *way);
uint64_t tm_link_way_next_deadline(struct tm_link_way *way);

/* Some ten times a second: counters, memory at rest. */
void tm_link_way_housekeep(struct tm_link_way *way);

/* No note is being written: it may be freed. */
bool tm_link_way_quiet(const struct tm_link_way *way);

/* As when the process dies: the disk has forgotten what was under way. */
void tm_link_way_abandon(struct tm_link_way *way);

#endif
