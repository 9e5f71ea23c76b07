/* link_way_internal.h: between the files of a way to linked clusters.
 *
 *   link_way.c        life, the fabric, sites, turns
 *   link_way_hello.c  who is welcome
 *   link_way_peer.c   what a peer worker is now; messages
 *   link_way_known.c  what all workers know of the clusters behind names; notes
 *
 * What a peer worker is now follows from a few facts: the process that its channel met (boot), what
 * was said to and by that process, whether its node is there, whether its cluster is linked and
 * noted.  Whoever changes one of them marks the block (changed, site_changed). */
#ifndef TM_ACTORS_LINK_WAY_INTERNAL_H
#define TM_ACTORS_LINK_WAY_INTERNAL_H

#include "actors/link_way.h"
#include "actors/whole_file.h"
#include "runtime/counters.h"

/* How a site stands in the shared table: it goes on, by whoever met it, then by worker 0; and back
 * to CLAIMED where another cluster may take the name. */
enum tm_link_standing { TM_LINK_UNKNOWN, TM_LINK_CLAIMED, TM_LINK_MET, TM_LINK_NOTED };

enum tm_link_said {
    TM_LINK_READY_SENT = 1,
    TM_LINK_READY_GOT = 2,
    TM_LINK_TOLD_UP = 4,
    TM_LINK_ANSWER_OWED = 8
};

struct tm_link_way_peer {
    uint64_t boot; /* of the process that the channel met last; 0: none */
    uint8_t said;  /* of enum tm_link_said, as to that process */
};

/* A node of a site. */
struct tm_link_way_block {
    struct tm_link_hello hello; /* as it said last; workers 0: it was not met */
    int site;                   /* -1: none has it */
    bool gone;                  /* the fabric says so */
    struct tm_link_way_peer peers[TM_WORKERS_MAX];
};

struct tm_link_way_site {
    bool linked, heard;
    uint64_t adopted;  /* beginning of a uuid; 0: none */
    uint64_t stranger; /* of one that was refused; 0: none */
    struct tm_link_identity identity;
    char refusal[TM_CHANNEL_REASON_MAX];
};

struct tm_link_way {
    struct tm_link_way_config config;
    struct tm_link_identity self;
    struct tm_post *post; /* NULL: not started */
    struct tm_fabric *fabric;
    struct tm_link_way_block blocks[TM_NODES_MAX];
    struct tm_link_way_site sites[TM_LINK_SITES_MAX];
    uint64_t changed;  /* bit per block: to be looked at */
    uint64_t unnoted;  /* bit per site: met by this worker, and not noted yet */
    uint64_t again_at; /* READY found the way full; 0: not */
    bool flush_notes;  /* worker 0: a note may be missing */
    uint64_t note_at;  /* not before */
    int noting;        /* the site whose note is being written; -1: none */
    struct tm_link_notes notes;
    bool noted_before; /* that site had another note */
    struct tm_link_note note_before;
    struct tm_whole_write write;
};

/* ---- link_way_hello.c: of the post's table (post.h) ---- */

const char *tm_link_way_on_accept(void *host, struct tm_place from, struct tm_bytes bytes);
void tm_link_way_on_refused(void *host, struct tm_place from, const char *reason);
void tm_link_way_on_up(void *host, struct tm_place from, struct tm_bytes bytes, uint64_t boot);

/* As the topology has it; of a block that a site has. */
const char *tm_link_way_node_name(const struct tm_link_way *way, unsigned block);

/* ---- link_way_peer.c ---- */

/* Of the post's table. */
void tm_link_way_on_message(void *host, const struct tm_message_head *head, struct tm_bytes body);
void tm_link_way_on_node_event(void *host, unsigned node, bool up);

/* Says READY where it is due, and tells the sink who is up and down now, of marked blocks. */
void tm_link_way_look(struct tm_link_way *way);

/* Marks all blocks of the site. */
void tm_link_way_site_changed(struct tm_link_way *way, unsigned site);

/* Nobody of that node is taken for ready until it has said so once more. */
void tm_link_way_say_anew(struct tm_link_way *way, unsigned block);

/* ---- link_way_known.c ---- */

/* Of enum tm_link_standing. */
uint32_t tm_link_way_standing(const struct tm_link_way *way, unsigned site);

/* Whether the site's name is that cluster's, as far as it was claimed. */
bool tm_link_way_is_uuid(const struct tm_link_way *way, unsigned site, const uint8_t uuid[16]);

/* Whether that may be the cluster behind the site's name; claims the name for it if nobody has. */
bool tm_link_way_is_same_cluster(struct tm_link_way *way, unsigned site, const uint8_t uuid[16]);

/* Whether an operator lets that cluster have the site's name; it has it then. */
bool tm_link_way_is_adopted(struct tm_link_way *way, unsigned site, const struct tm_link_hello *h);

/* Worker 0: writes down what was met, one site at a time.  Each turn. */
void tm_link_way_tend_notes(struct tm_link_way *way);

/* Worker 0, at its first start: takes what the file says.  Fails as tm_link_notes_load; why says
 * it to the operator. */
enum tm_err tm_link_way_read_notes(struct tm_link_way *way, char *why, size_t why_size);

#endif
