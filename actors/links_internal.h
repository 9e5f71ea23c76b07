/* links_internal.h: between the files of a worker's links.
 *
 *   links.c       life, turns; which streams there are
 *   links_plan.c  what the directory says of links, for out and in
 *   links_backlog.c  how much of the log they keep
 *   links_frontier.c what is kept for others, and when it goes
 *   links_away.c  clusters that are not waited for any more
 *   links_log.c   the source partitions' logs, as link_out reads them
 *   links_show.c  counters and INFO
 *   links_tell.c  TIDEMILL LINKS
 *   links_dead.c  dead letters, told of, tried again and dropped
 *   links_verify.c comparing what both ends have
 *   links_in.c    the target partitions, as link_in writes them
 *   links_gate.c  where writes wait for the targets of synchronous links
 *   links_rules.c which rule a field has, and what becomes of conflicts */
#ifndef TM_ACTORS_LINKS_INTERNAL_H
#define TM_ACTORS_LINKS_INTERNAL_H

#include "actors/link_gate.h"
#include "actors/link_conflicts.h"
#include "actors/link_sync.h"
#include "actors/links.h"
#include "actors/shard_internal.h"
#include "storage/store_link.h"

#define TM_LINKS_READ_BYTES TM_KIB(256) /* read ahead of a partition's log */
#define TM_LINKS_READ_ALL   TM_MIB(16)  /* and of all of the worker's */
#define TM_LINKS_CAME       8192 /* changes that are remembered where they come by several ways */

#define TM_LINKS_AGES 17

/* Which segment was the current one then; 0: none yet. */
struct tm_links_age {
    uint64_t at, segment;
};

/* A link out. */
struct tm_links_out {
    struct tm_links *links;
    const struct tm_link_plan *plan;
    unsigned link; /* in plan->out */
    int site;      /* on the way; -1: not known there */
    bool resolved; /* the target is known well enough to ship to it */
    bool seen;     /* by the look at the plan that is under way */
    bool used;
    char target[TM_LINK_NAME_MAX + 1];
    uint64_t max_backlog_bytes, max_backlog_ns;
    bool rejects, full; /* past its backlog it refuses writes; it is past it */
    uint64_t aged;      /* segments before this one are older than the backlog may be */
    struct tm_links_age age[TM_LINKS_AGES]; /* a ring: which segment was the current one when */
    unsigned age_at;
    bool sync;      /* writes here wait for the target */
    uint64_t joins; /* since that version of the directory, once it has caught up */
    struct tm_link_outlet outlet;
};

/* A link in. */
struct tm_links_from {
    struct tm_links *links;
    const struct tm_link_plan *plan;
    unsigned link; /* in plan->in */
    bool used;
    struct tm_link_from from;
};

/* Records of one log that were read from disk: first..next - 1. */
struct tm_links_read {
    uint64_t wants; /* the one that was asked for in vain since reading ended last; 0: none */
    uint64_t first, next;
    uint64_t at;   /* the one asked for last */
    size_t offset; /* of that one */
    size_t length, cap;
    uint64_t used_at;
    uint8_t *bytes;
};

/* What writes of a partition that leads wait for. */
struct tm_links_gate {
    const struct tm_links_out *out;
    struct tm_link_gate gate;
};

/* What a partition knew of how far it is, when its newest record was `index`; by site: what is said
 * to that one. */
struct tm_links_view {
    uint64_t index; /* 0: nothing */
    struct tm_link_told told;
    uint64_t complete[TM_LINK_SITES_MAX], settled[TM_LINK_SITES_MAX], want[TM_LINK_SITES_MAX];
    uint64_t applied[TM_LINK_SITES_MAX]; /* what the site has brought here itself */
};

/* Linked clusters that are silent (links_away.c), by site; HLCs but there_at. */
struct tm_links_away {
    uint64_t there_at[TM_LINK_SITES_MAX]; /* there was a sign of it; 0: not looked at yet */
    uint64_t word[TM_LINK_SITES_MAX];     /* up to there it says that all is settled */
    uint64_t least[TM_LINK_SITES_MAX];    /* not waited for: it counts as if it had all up to here;
                                             0: it is waited for */
    bool any;                             /* some are not waited for */
    uint64_t sure;  /* all who are linked say that it is settled, of the walk under way */
    uint64_t given; /* the latest stamp of what goes by that walk without their word; 0: nothing */
};

/* How far what is kept for others may go (links_frontier.c); all but indices HLCs. */
struct tm_links_frontier {
    uint64_t term; /* of which all this is */
    uint64_t look_at, walk_at;
    struct tm_links_view seen, said; /* not committed yet; told */
    uint64_t settles, collects;      /* what could be, by what was heard */
    uint64_t sure;                   /* the latter if all were waited for */
    bool walking, clean;             /* clean: the last walk left nothing that ever goes */
    uint64_t cursor;
    uint64_t up_to, through; /* settled and collected by the walk under way */
    uint64_t need;           /* the least that would make something go that was left */
    uint64_t walked;         /* index after the last walk */
    uint64_t now, wants;     /* of the walk under way: when it began; what would be wanted */
    uint64_t asked;          /* the latest stamp that others keep something of; 0: nothing */
    uint64_t want, wanted; /* the latest stamp of what is kept; what others wait for, 0: nothing */
    struct tm_links_away away;
};

/* One of this worker's partitions. */
struct tm_links_slot {
    struct tm_links *links;
    struct tm_partition *p;
    uint64_t out_term; /* for which the streams were made; 0: there are none */
    uint64_t in_term;  /* of what link_in knows of it */
    bool active;       /* on the list of those that are due */
    struct tm_links_slot *active_next;
    unsigned count; /* streams */
    struct tm_link_out *out;
    bool stages;          /* some of them ship what is not committed yet */
    uint64_t seen;        /* then: the newest record when they took their turn last */
    uint64_t promoted_in; /* the term in which what is staged of lost sources was looked at */
    unsigned gates;       /* synchronous links, and what is known of them */
    struct tm_links_gate *gate;
    bool behind; /* what the partition wrote down tells of a link that the plan does not have yet */
    uint64_t held_at; /* who waits was told so */
    struct tm_links_read read;
    struct tm_links_frontier frontier;
};

struct tm_links {
    struct tm_shard *shard;
    const struct tm_ctx *ctx;
    struct tm_link_way *way;
    uint64_t plan_version;
    bool stopping;
    struct tm_links_out out[TM_LINKS_MAX];
    struct tm_links_from from[TM_LINK_SITES_MAX]; /* by site */
    struct tm_link_in *in;
    uint32_t slots;
    struct tm_links_slot *slot; /* by id / workers */
    struct tm_links_slot *active;
    struct tm_log_fetch fetch;        /* the worker's one reading of the log for links */
    struct tm_links_slot *fetch_slot; /* whose log; NULL: none's any more */
    bool fetching, wanting;           /* under way; somebody waits for one */
    bool read_full;                   /* there was no room for what was read */
    size_t read_bytes;                /* of all slots */
    uint64_t next_at;                 /* the earliest deadline of a stream */
    bool in_more;
    bool stages;   /* some link ships what is not committed yet */
    bool promotes; /* this cluster was promoted in the place of some other */
    struct tm_link_sync *sync;
    struct tm_links_verify *verify;
    struct tm_link_conflicts *conflicts;
    uint8_t *raw, *packed, *in_raw;
    uint64_t ruled_by; /* version of the plan that was asked last for rules; 0: none */
    size_t ruled_len;  /* of which type, */
    uint8_t ruled_name[TM_LINK_NAME_MAX];
    const struct tm_link_type *ruled; /* and what it said: NULL: none */
    uint64_t combined;                /* calls of functions */
    uint64_t complained_at;           /* about one, last */
    bool several;                     /* changes may come by more ways than one */
    uint64_t came[TM_LINKS_CAME];     /* then: hashes of those of late */
};

/* Takes up what the directory says if it is another version, or sites have come to be known.  True
 * if links came or went: then streams have to be made anew. */
bool tm_links_take_plan(struct tm_links *l);

/* The link from that site, NULL: there is none. */
const struct tm_link_from *tm_links_from_site(void *host, unsigned site);

/* The partition leads, and link_in knows: what is staged of clusters that were promoted away from
 * is applied. */
void tm_links_promote(struct tm_links_slot *slot);

/* The streams of that slot are due in this turn. */
void tm_links_wake(struct tm_links_slot *slot);

/* The slot of partition id, if it is here. */
struct tm_links_slot *tm_links_slot_of(struct tm_links *l, uint32_t id);

/* Begins to read what is waited for, if nothing is being read. */
void tm_links_read_on(struct tm_links *l);

/* The partition leads anew, or links came, went or changed: the gates that its writes have to pass.
 * False: memory is short, and nothing passes. */
bool tm_links_make_gates(struct tm_links_slot *slot);

/* What streams and commits have made of them; when the next turn is due by time. */
uint64_t tm_links_turn_gates(struct tm_links_slot *slot);
uint64_t tm_links_gates_deadline(const struct tm_links_slot *slot);

/* Which linked clusters are silent, and which are not waited for any more; notes it.  keeps: here
 * or elsewhere there is something that is kept for them. */
void tm_links_look_away(struct tm_links_slot *slot, bool keeps, uint64_t now);

/* What a cluster has reached, as far as it is waited for: its word, or more. */
void tm_links_count_away(const struct tm_links_away *a, unsigned site, struct tm_link_reached *k);

/* False: one that was not waited for is being compared at this moment, and has to get what is kept.
 */
bool tm_links_may_give_up(const struct tm_links_slot *slot);

/* Between begin and finish of the record that gives something up up to `given`: whoever has not
 * said that it has that is SNAPSHOT-REQUIRED from then on. */
void tm_links_give_up(struct tm_links_slot *slot, uint64_t given);

/* Whether all that is to be shipped to it waits until an operator has spoken (struct
 * tm_link_out_ops, absent). */
bool tm_links_is_absent(void *host, const struct tm_link_out *out, uint64_t *index, uint64_t *bar);

/* Whether no node of the link's target was ever met, and it is waited for. */
bool tm_links_waits_for_unmet(const struct tm_links_slot *slot, const struct tm_links_out *o);

/* Whoever has waited for long is told to wait on.  Some ten times a second. */
void tm_links_hold_gates(struct tm_links_slot *slot);

/* Gives up what was read for that slot, or for all that did not ask for long (NULL). */
void tm_links_forget_reads(struct tm_links *l, const struct tm_links_slot *slot);

/* How many bytes of this worker's log may be kept for the link. */
uint64_t tm_links_backlog_bytes(const struct tm_links *l, const struct tm_links_out *o);

/* Looks at how old segments are, and whether a backlog is full; some ten times a second. */
void tm_links_look_back(struct tm_links *l);

/* Looks how far all is, tells, collects some; some ten times a second. */
void tm_links_collect(struct tm_links *l);

/* Shows in the counters, and on the node's board, how things stand. */
void tm_links_publish(struct tm_links *l);

/* Whether changes come by several ways has to be known anew; and one that came. */
void tm_links_take_ways(struct tm_links *l, const struct tm_link_plan *plan);
void tm_links_came(struct tm_links *l, const struct tm_link_change *change);

/* ---- links_verify.c ---- */

/* NULL if memory is short. */
struct tm_links_verify *tm_links_verify_new(struct tm_links *l);
void tm_links_verify_free(struct tm_links_verify *f);

/* The slot's streams go. */
void tm_links_verify_forget(struct tm_links_verify *f, const struct tm_links_slot *slot);

/* All streams to that cluster, or those of one partition, are compared, from now on; what an order
 * before found is forgotten.  False: there is no such link, or no memory. */
#define TM_LINKS_ALL UINT32_MAX
bool tm_links_verify_order(struct tm_links *l, const char *target, uint32_t source);

/* Every turn; when the next one is due by time. */
void tm_links_verify_turn(struct tm_links *l);
uint64_t tm_links_verify_deadline(const struct tm_links_verify *f);

/* DIFFERS for that stream.  False: it is of a resynchronisation. */
bool tm_links_verify_message(struct tm_links *l, const struct tm_link_out *out,
                             struct tm_bytes body);

/* Writes rows of what the order found so far; returns their number. */
unsigned tm_links_verify_tell(const struct tm_links *l, struct tm_resp_writer *w);

/* ---- links_tell.c: rows of names and values ---- */

struct tm_links_row {
    struct tm_resp_writer *w;
    size_t at;
    unsigned fields;
};
struct tm_links_row tm_links_begin_row(struct tm_resp_writer *w, const char *kind);
void tm_links_text_field(struct tm_links_row *r, const char *name, const char *value);
void tm_links_bytes_field(struct tm_links_row *r, const char *name, struct tm_bytes value);
void tm_links_number_field(struct tm_links_row *r, const char *name, uint64_t value);
void tm_links_hex_field(struct tm_links_row *r, const char *name, uint64_t value); /* 0: "" */
void tm_links_end_row(struct tm_links_row *r);

/* ---- links_dead.c ---- */

/* A row of a dead letter; with what became of an order, NULL: none was given. */
void tm_links_tell_dead(struct tm_links *l, struct tm_resp_writer *w, const struct tm_link_dead *d,
                        const char *kind, const char *done);

/* DEAD RETRY|DROP source [node worker number]: those of that source, or one; a row of each.  False:
 * these words are something else. */
bool tm_links_dead_order(struct tm_links *l, const struct tm_bytes *words, unsigned count,
                         struct tm_resp_writer *w);

extern const struct tm_link_out_ops tm_links_out_ops;
extern const struct tm_link_in_ops tm_links_in_ops;

#endif
