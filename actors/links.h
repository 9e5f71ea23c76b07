/* links.h: the links of one worker: its partitions' streams to other clusters and from them.
 *
 * For each partition that is led here there is one link_out for each partition of each target that
 * has slots in common with it; link_in takes what comes for partitions led here.  Which links there
 * are, and what they ship, says the directory (actors/link_plan.h); it is looked at again with each
 * new version.  Between the clusters messages go over the worker's way (actors/link_way.h).
 *
 * Life: new (the partitions are open, the way is there), turns, stop, (turns until quiet), free.
 * One worker's thread. */
#ifndef TM_ACTORS_LINKS_H
#define TM_ACTORS_LINKS_H

#include "actors/link_in.h"
#include "actors/link_out.h"
#include "actors/link_plan.h"
#include "actors/link_way.h"
#include "actors/partition.h"
#include "storage/store_link.h"

struct tm_links;
struct tm_shard;

/* NULL if memory is short.  The way's ops of messages, up and down lead here. */
struct tm_links *tm_links_new(struct tm_shard *shard, struct tm_link_way *way);
void tm_links_free(struct tm_links *l);

/* Reading of the log that is under way comes to its end; nothing more is sent. */
void tm_links_stop(struct tm_links *l);
bool tm_links_quiet(const struct tm_links *l);

/* What the way brings (struct tm_link_way_ops). */
void tm_links_message(struct tm_links *l, unsigned site, const struct tm_message_head *head,
                      struct tm_bytes body);
void tm_links_up(struct tm_links *l, unsigned site, struct tm_place from);
void tm_links_down(struct tm_links *l, unsigned site, struct tm_place to);

/* More of p is committed, or p leads now: its streams are due.  p is led here. */
void tm_links_committed(struct tm_links *l, struct tm_partition *p);

/* Every turn, after events were fed.  True if there is more to do at once. */
bool tm_links_turn(struct tm_links *l);
uint64_t tm_links_next_deadline(const struct tm_links *l);

/* Nothing is left to be done in this turn. */
bool tm_links_idle(const struct tm_links *l);

/* Some ten times a second: streams that come and go, figures. */
void tm_links_tick(struct tm_links *l);

/* p's log is to be given up until there, as far as the links allow: what some target needs is kept,
 * up to the link's maxBacklogBytes.  At most `until`. */
uint64_t tm_links_retain(struct tm_links *l, const struct tm_partition *p, uint64_t until);

/* What the node's workers know of its links together, each its part (struct tm_node). */
struct tm_links_figures {
    uint64_t streams, asking, streaming, refused, behind, diverged, snapshot; /* by state */
    uint64_t lag_records, lag_bytes;
    uint64_t lag_age_ms, delay_ms; /* the largest */
    uint64_t why;                  /* enum tm_link_refusal, of some stream that is refused */
    uint64_t degraded; /* partitions whose writes do not wait for a synchronous target */
    uint64_t waiting;  /* writes that do, at the moment */
};

TM_STATIC_ASSERT(sizeof(struct tm_links_figures) == TM_LINK_FIGURES * sizeof(uint64_t),
                 "as the node keeps them");

TM_STATIC_ASSERT(sizeof(struct tm_link_in_counts) == TM_LINK_IN_FIGURES * sizeof(uint64_t),
                 "as the node keeps them");

/* Of link `out` of the node's plan: over all workers, as of their last tick.  Any thread. */
struct tm_links_figures tm_links_figures(const struct tm_node *n, unsigned out);

/* The i-th link as INFO links shows it (struct tm_router), those out before those in; host is the
 * shard.  False: no such link. */
bool tm_links_text(void *host, unsigned i, char *text, size_t cap);

/* The answer to TIDEMILL LINKS (links_tell.c); host is the shard. */
void tm_links_tell(void *host, struct tm_resp_writer *w);

/* TIDEMILL LINK and these words: VERIFY cluster [partition], VERIFIED, CONFLICTS.  Writes rows, as
 * above, or an error.  False: there is no such order; nothing is written. */
bool tm_links_order(void *host, const struct tm_bytes *words, unsigned count,
                    struct tm_resp_writer *w);

/* A partition is about to lead: replies to its writes wait for synchronous links.  host is the
 * shard. */
bool tm_links_gated(void *host, struct tm_partition *p);

/* How a key is shared with other clusters (struct tm_link_policy); host is the shard. */
enum tm_link_sharing tm_links_sharing(void *host, struct tm_bytes key, uint64_t origin);

/* Whether what a linked cluster flushed, by the name that link_in gave it, goes as far as that key;
 * host is the shard. */
bool tm_links_covers(void *host, struct tm_bytes key, struct tm_bytes floor);

/* The rule of a field by the directory (struct tm_link_policy); host is the shard. */
struct tm_conflict_rule tm_links_rule(void *host, struct tm_bytes key, struct tm_bytes name);

/* What the function of a rule makes of two values (struct tm_link_policy); host is the shard.
 * Counts and says what fails; of some it is asked also the other way round, for a rule has to be
 * commutative: where it is not, clusters may differ. */
enum tm_err tm_links_combine(void *host, const struct tm_conflict_rule *rule, struct tm_bytes a,
                             struct tm_bytes b, struct tm_bytes *out);

/* Two changes conflicted (struct tm_link_policy); host is the shard.  Counts it, unless what lost
 * had come here before by another way. */
void tm_links_conflict(void *host, const struct tm_conflict_found *found);

#endif
