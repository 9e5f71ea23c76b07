/* channel.h: ordered, reliable messages between two workers, over frames that may be lost.
 *
 * One channel stands for (this worker, peer node, peer worker).  It is a pure state machine: no
 * clock, no socket, no thread; `now` is handed in, in nanoseconds of one clock that never goes
 * back and starts above zero, and frames leave through `emit`.  All calls are made on one thread.
 *
 * The life of a turn: frames received go to tm_channel_input (which calls `message`), actors call
 * tm_channel_send, and one tm_channel_flush at the end of the turn packs all of that into as few
 * frames as it takes, acknowledgements riding along.  Frames leave from flush only.  A timer of
 * the owner calls tm_channel_flush again at tm_channel_next_deadline.
 *
 * What it promises: while both processes live, each message sent arrives once, whole and in the
 * order of sending.  A peer that was restarted is a new one (its boot id differs): messages not
 * acknowledged by the old one are dropped, and `reset` says how many.  Acknowledged means received
 * by the process, no more: whoever needs to know that it was acted upon has the other side say so.
 *
 * Memory: per direction one buffer that grows on demand and never beyond
 * 2 x (window + one message); plus about 40 KiB.  Nothing is allocated per message. */
#ifndef TM_NET_CHANNEL_H
#define TM_NET_CHANNEL_H

#include "net/frame.h"

#define TM_CHANNEL_MESSAGE_MAX TM_FRAME_MESSAGE_MAX
#define TM_CHANNEL_HELLO_MAX   TM_FRAME_BLOB_MAX
#define TM_CHANNEL_REASON_MAX  128 /* with the final 0 */

struct tm_channel;

/* What a channel tells its owner.  Called from input (message, accept, up, reset, refused), from
 * resume (message) and from flush (emit, writable).  From within, the accessors may be called and,
 * except in emit, tm_channel_send, and in up tm_channel_ask; nothing else of the same channel. */
struct tm_channel_sink {
    void *host;

    /* Sends the concatenation of the pieces as one frame to the peer; copies before it returns.
     * Other than TM_OK the frame counts as not sent: TM_ERR_FULL is tried again soon, TM_ERR_CLOSED
     * after the peer is up again (or 250 ms). */
    enum tm_err (*emit)(void *host, struct tm_channel *ch, const struct tm_bytes *pieces,
                        unsigned count);

    /* The next message in order, 1..TM_CHANNEL_MESSAGE_MAX bytes, valid during the call, at any
     * alignment.  False: cannot be taken now; it is kept and presented again by
     * tm_channel_resume, and the peer's credits stop at the receive window meanwhile. */
    bool (*message)(void *host, struct tm_channel *ch, struct tm_bytes message);

    /* A process unknown so far presents its hello blob (0..256 bytes).  NULL accepts it; a text
     * (shorter than TM_CHANNEL_REASON_MAX) refuses it and is told to it.  May be asked again. */
    const char *(*accept)(void *host, struct tm_channel *ch, struct tm_bytes hello);

    /* An accepted process is there; messages of it follow.  Its blob is valid during the call. */
    void (*up)(void *host, struct tm_channel *ch, uint64_t peer_boot, struct tm_bytes hello);

    /* The process that the channel was up with is replaced by another: `dropped` messages that it
     * had not acknowledged are gone.  `up` follows in the same call. */
    void (*reset)(void *host, struct tm_channel *ch, uint64_t dropped);

    /* The peer refuses this process, or sent what no peer sends; reason is a printable text.  It
     * is asked again every second (a broken one only after its restart). */
    void (*refused)(void *host, struct tm_channel *ch, const char *reason);

    /* After a send was answered TM_ERR_FULL: the window is half empty again. */
    void (*writable)(void *host, struct tm_channel *ch);

    /* The message that will be given after the present one, so that what it needs can be fetched
     * meanwhile.  A hint: not all are announced, and one that was may not come.  May be NULL. */
    void (*coming)(void *host, struct tm_channel *ch, struct tm_bytes message);
};

struct tm_channel_config {
    uint64_t cluster;   /* hash of the cluster's identity */
    uint64_t boot;      /* this process: random at its start, not 0 */
    uint8_t local_node; /* 0..63, as in fabric.h */
    uint8_t local_worker;
    uint8_t peer_node;
    uint8_t peer_worker;
    uint32_t max_frame;    /* bytes, 1400..65535: that of the fabric */
    uint32_t send_window;  /* bytes queued or unacknowledged above which send answers FULL;
                              64 KiB..64 MiB, 0: 4 MiB */
    uint32_t recv_window;  /* credits granted to the peer; 128 KiB..64 MiB, 0: 4 MiB */
    uint64_t ack_delay_ns; /* an acknowledgement waits that long for data to ride on; 0: 1 ms */
    uint64_t rto_min_ns;   /* 0: 5 ms */
    uint64_t rto_max_ns;   /* 0: 200 ms */
    struct tm_bytes hello; /* 0..256 bytes shown to the peer's accept; copied */
    struct tm_channel_sink sink; /* all of it set, unless it says so */
};

/* X(name, text): what a channel counts, all since tm_channel_new. */
#define TM_CHANNEL_STATS(X)                                                                        \
    X(frames_sent, "frames handed to the fabric")                                                  \
    X(frames_received, "frames taken in, good or bad")                                             \
    X(bytes_sent, "bytes of frames handed to the fabric")                                          \
    X(bytes_received, "bytes of frames taken in")                                                  \
    X(messages_sent, "messages queued by the application")                                         \
    X(messages_received, "messages given to the application")                                      \
    X(acks_sent, "frames sent only to acknowledge")                                                \
    X(retransmits, "frames sent again")                                                            \
    X(fast_retransmits, "frames found lost by later ones that arrived")                            \
    X(timeouts, "retransmission timeouts")                                                         \
    X(duplicates, "frames received again")                                                         \
    X(reordered, "frames received ahead of their turn")                                            \
    X(invalid, "inputs dropped: no frame, or one that breaks the rules")                           \
    X(versions, "frames dropped: another layout")                                                  \
    X(foreign, "frames dropped: of another cluster")                                               \
    X(corrupt, "frames dropped: checksum")                                                         \
    X(misrouted, "frames dropped: between other workers")                                          \
    X(stale, "frames dropped: from or to a process that is no more")                               \
    X(full, "sends answered TM_ERR_FULL")                                                          \
    X(resets, "times the peer was replaced by a restarted one")                                    \
    X(dropped, "messages dropped by resets")                                                       \
    X(refusals, "times either side refused the other")

struct tm_channel_stats {
#define X(name, text) uint64_t name;
    TM_CHANNEL_STATS(X)
#undef X
};

/* A new channel, which says hello at its first flush; *out is the caller's to free.
 * TM_ERR_INVALID: a field of cfg out of its range; TM_ERR_NOMEM. */
enum tm_err tm_channel_new(const struct tm_channel_config *cfg, struct tm_channel **out);

/* Frees ch and what it holds, without a word to the peer.  NULL is fine. */
void tm_channel_free(struct tm_channel *ch);

/* Queues the concatenation of count pieces as one message; the bytes are copied.  It may be called
 * before the peer is up.  TM_ERR_FULL: send_window bytes are queued already (`writable` will tell);
 * TM_ERR_TOOBIG: above TM_CHANNEL_MESSAGE_MAX; TM_ERR_INVALID: empty; TM_ERR_NOMEM. */
enum tm_err tm_channel_send(struct tm_channel *ch, const struct tm_bytes *pieces, unsigned count);

/* Takes in one frame from (peer node, peer worker); bytes from outside, of any content. */
void tm_channel_input(struct tm_channel *ch, const uint8_t *frame, size_t len, uint64_t now);

/* Presents again what `message` did not take, and what waits behind it. */
void tm_channel_resume(struct tm_channel *ch);

/* Ends the turn: runs timers that are due, and emits all that is to be sent. */
void tm_channel_flush(struct tm_channel *ch, uint64_t now);

/* Runs the timers due at now without emitting; what they ask for leaves at the next flush. */
void tm_channel_tick(struct tm_channel *ch, uint64_t now);

/* When flush is to be called at the latest though nothing happens: a time that has passed (also 0)
 * means at once, UINT64_MAX never. */
uint64_t tm_channel_next_deadline(const struct tm_channel *ch);

/* True if a flush now would emit something that is not waiting for a timer or the peer: lets an
 * owner of many channels pass over the quiet ones. */
bool tm_channel_pending(const struct tm_channel *ch);

/* Hints of the fabric.  Down: nothing is emitted until up, a good frame of the peer, or 250 ms.
 * Up: what is unacknowledged is sent again at the next flush without waiting. */
void tm_channel_peer_down(struct tm_channel *ch, uint64_t now);
void tm_channel_peer_up(struct tm_channel *ch, uint64_t now);

/* The process known here may be another by now: it is asked by a hello, again and again until one
 * answers.  Nothing changes if it is still the same. */
void tm_channel_ask(struct tm_channel *ch, uint64_t now);

/* Whether an accepted peer process is known, and its boot id (0: none). */
bool tm_channel_is_up(const struct tm_channel *ch);
uint64_t tm_channel_peer_boot(const struct tm_channel *ch);

/* Nothing queued, nothing unacknowledged, no acknowledgement owed, nothing refused by `message`:
 * the worker may park as far as this channel goes (next_deadline may still name a hello). */
bool tm_channel_idle(const struct tm_channel *ch);

/* Highest frame number up to which all were received from the present peer process, and the
 * highest sent to it; 0 at its start. */
uint64_t tm_channel_received_seq(const struct tm_channel *ch);
uint64_t tm_channel_sent_seq(const struct tm_channel *ch);

/* Bytes queued or unacknowledged; smoothed round trip in ns, 0 before the first measurement. */
uint64_t tm_channel_queued(const struct tm_channel *ch);
uint64_t tm_channel_rtt_ns(const struct tm_channel *ch);

/* The counts, valid as long as ch. */
const struct tm_channel_stats *tm_channel_stats(const struct tm_channel *ch);

/* Gives memory of emptied buffers back, except a small rest; for housekeeping. */
void tm_channel_trim(struct tm_channel *ch);

#endif
