/* post.h: one worker's messages to all other workers, of this node and of others.
 *
 * To another node a message goes over the channel to that worker, made when it is first needed; to
 * another worker of this node over the host's ring.  What was posted in a turn leaves at its end,
 * in as few frames as it takes.
 *
 * A message to a peer that is not there is refused (CLOSED), not kept: whoever sends repeats what
 * matters once the peer is up.  Pure; one worker's thread. */
#ifndef TM_ACTORS_POST_H
#define TM_ACTORS_POST_H

#include "actors/dispatch.h"
#include "actors/message.h"
#include "net/channel.h"
#include "net/fabric.h"
#include "runtime/ctx.h"

struct tm_post;

struct tm_post_ops {
    void *host;
    /* A message; body is 8-aligned and valid during the call.  head->node and worker are true. */
    void (*message)(void *host, const struct tm_message_head *head, struct tm_bytes body);
    /* A message that will follow the present one (channel.h): a hint.  May be NULL. */
    void (*coming)(void *host, const struct tm_message_head *head);
    /* To another worker of this node.  TM_ERR_FULL: its ring is full. */
    enum tm_err (*local)(void *host, unsigned worker, const struct tm_bytes *pieces,
                         unsigned count);
    /* A peer worker shows its hello: NULL takes it, a text refuses it (channel.h). */
    const char *(*accept)(void *host, struct tm_place from, struct tm_bytes hello);
    /* The peer worker is there, of the process with this boot id.  Messages may be sent from now
     * on. */
    void (*up)(void *host, struct tm_place from, struct tm_bytes hello, uint64_t boot);
    /* The fabric says that the node's process is gone, or is there again. */
    void (*node_event)(void *host, unsigned node, bool up);
    /* The peer worker refuses this process, about once a second.  NULL: it is logged. */
    void (*refused)(void *host, struct tm_place from, const char *reason);
};

struct tm_post_config {
    const struct tm_ctx *ctx;
    struct tm_place self;
    uint64_t boot;
    uint64_t cluster_hash;
    struct tm_bytes hello; /* copied */
    bool links; /* peers are of other clusters: counted as link_*, else channel_*, peer_* */
    struct tm_post_ops ops;
};

/* NULL if memory is short. */
struct tm_post *tm_post_new(const struct tm_post_config *config);
void tm_post_free(struct tm_post *post);

/* What a fabric is opened with, and the fabric it gave.  Before anything is sent. */
struct tm_fabric_sink tm_post_sink(struct tm_post *post);
void tm_post_set_fabric(struct tm_post *post, struct tm_fabric *fabric);

/* Makes sure there is a channel to that worker of another node, so that it says hello. */
void tm_post_know(struct tm_post *post, struct tm_place to);

/* Sends head (node and worker are filled in) and the pieces as one message to another worker.
 * TM_ERR_FULL: the way is full now; TM_ERR_CLOSED: the peer is not up, or is known to be another
 * process by now, which this way does not lead to yet (it is asked for); TM_ERR_TOOBIG. */
enum tm_err tm_post_send(struct tm_post *post, struct tm_place to, struct tm_message_head head,
                         const struct tm_bytes *pieces, unsigned count);

/* A message from another worker of this node, as `local` of that one was given it; 8-aligned. */
void tm_post_local(struct tm_post *post, unsigned worker, struct tm_bytes message);

/* False where tm_post_send would answer TM_ERR_CLOSED. */
bool tm_post_is_up(const struct tm_post *post, struct tm_place to);

/* End of turn: frames leave, as far as the fabric takes them. */
void tm_post_flush(struct tm_post *post);
uint64_t tm_post_next_deadline(struct tm_post *post);

/* Brings the channels' counts to the worker's counters, and gives back memory of those at rest; now
 * and then. */
void tm_post_housekeep(struct tm_post *post);

/* Nothing waits to be sent or acknowledged. */
bool tm_post_idle(const struct tm_post *post);

#endif
