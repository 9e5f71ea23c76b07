/* channel_internal.h: what the files of a channel share; nobody else includes it.
 *
 * channel.c holds the life of a channel and its timers, channel_hello.c the handshake,
 * channel_send.c the way out (packing, loss, acknowledgements received), channel_recv.c the way
 * in (order, delivery, acknowledgements owed). */
#ifndef TM_NET_CHANNEL_INTERNAL_H
#define TM_NET_CHANNEL_INTERNAL_H

#include "net/channel.h"
#include "net/slide.h"

#define NEVER UINT64_MAX

#define PEER_RETRY_NS  TM_MS(250) /* pause after the peer was found to be down */
#define REFUSED_NS     TM_SECONDS(1)
#define HELLO_FIRST_NS TM_MS(10) /* hello again after that, doubling */
#define HELLO_LAST_NS  TM_MS(500)
#define RETRY_FIRST_NS TM_US(100) /* after emit answered FULL, doubling */
#define RETRY_LAST_NS  TM_MS(5)
#define RTO_FIRST_NS   TM_MS(20) /* before a round trip was measured */
#define ACK_EVERY      8         /* frames with payload that are acknowledged at once */
#define LOSS_GAP       3         /* later frames that arrived before one counts as lost */
#define FLIGHT_FIRST   64        /* frames in flight at the start */
#define FLIGHT_LEAST   16        /* after losses */
#define FLIGHT_TIMEOUT 4         /* after a timeout: probe */

enum sent_state {
    SENT_FLYING, /* emitted, nothing heard: -> ACKED, LOST */
    SENT_LOST,   /* to be emitted again: -> FLYING, ACKED (it arrived after all) */
    SENT_ACKED   /* received by the peer, final */
};

/* One frame with payload that was emitted; slot seq % TM_FRAME_WINDOW. */
struct sent {
    uint64_t offset;
    uint64_t at;   /* time of the last emission */
    uint64_t turn; /* its place in the order of emissions */
    uint32_t len;
    uint16_t ends; /* messages that end in it */
    uint8_t state; /* enum sent_state */
    uint8_t again; /* emitted more than once */
};
TM_STATIC_ASSERT(sizeof(struct sent) == 32, "two to a cache line");

struct sender {
    struct tm_slide bytes; /* low: first byte not acknowledged; high: end of what is queued */
    struct sent *sent;     /* TM_FRAME_WINDOW of them */
    uint64_t base;         /* lowest seq not acknowledged */
    uint64_t next;         /* seq of the next new frame */
    uint64_t packed;       /* offset up to which frames were made */
    uint64_t uncut;        /* bytes that are missing of the message that packed lies within */
    uint64_t credit;       /* the peer takes bytes up to this offset */
    uint64_t messages;     /* queued or unacknowledged */
    uint32_t flying;       /* frames of state FLYING */
    uint32_t lost;         /* frames of state LOST */
    uint64_t lost_from;    /* no frame below is LOST */

    uint64_t turns;        /* emissions so far */
    uint64_t arrived_turn; /* the latest emission known to have arrived */
    uint64_t recovery;     /* losses emitted up to here were answered by a smaller flight */
    uint32_t flight;       /* frames that may fly */
    uint32_t flight_slow;  /* from here on flight grows by one a round trip */
    uint32_t flight_count; /* acknowledged since it grew */

    uint64_t srtt, rttvar, rtt_min; /* ns; 0 before the first measurement */
    unsigned backoff;               /* timeouts in a row */
    uint64_t rto_at;                /* NEVER while nothing is unacknowledged */
    uint64_t probe_at;              /* when credits are asked for; NEVER */
    unsigned probes;                /* in a row */
    bool ack_now;                   /* the next frame asks for an acknowledgement at once */
    bool probe_due;                 /* ask for credits at the next flush */
    bool starved;                   /* the next frame waits for credits */
    bool want_writable;             /* a send was answered FULL */
};

/* A frame that was received ahead of its turn; slot seq % TM_FRAME_WINDOW. */
struct ahead {
    uint64_t offset;
    uint32_t len;
};

struct receiver {
    struct tm_slide bytes;              /* low: first byte not delivered */
    struct ahead *ahead;                /* TM_FRAME_WINDOW of them */
    uint64_t bits[TM_FRAME_SACK_WORDS]; /* bit seq % TM_FRAME_WINDOW: is there, seq > next */
    uint64_t next;                      /* lowest seq not received */
    uint64_t last;                      /* highest seq received */
    uint64_t offset;                    /* end of the bytes in order */
    uint64_t edge;                      /* credit as last announced; never goes back */
    bool stalled;                       /* `message` said no */
    uint32_t unacked;                   /* frames with payload since the last acknowledgement */
    bool ack_now;
    uint64_t ack_at;  /* NEVER while none is owed */
    bool echo;        /* sent_us and sent_at are to be echoed */
    uint32_t sent_us; /* of the newest frame */
    uint64_t sent_at; /* when it came */
};

struct hello {
    uint64_t counter;   /* nonces given out */
    uint64_t asked;     /* nonce of the present round of hellos; 0: no round */
    uint64_t at;        /* next hello; NEVER */
    uint64_t pause;     /* until the one after it */
    uint64_t candidate; /* boot that was answered with a welcome; 0: none */
    uint64_t challenge; /* its nonce: a confirm that names it comes from a living process */
    uint64_t answer_to; /* nonce to echo in the welcome that is due */
    uint64_t confirm_boot, confirm_nonce; /* a confirm that is due; 0: none */
    uint64_t refuse_boot, refuse_nonce;   /* a refusal that is due; 0: none */
    char refuse_reason[TM_CHANNEL_REASON_MAX];
    bool welcome_due;
    uint16_t blob_len; /* of the candidate */
    uint8_t blob[TM_CHANNEL_HELLO_MAX];
};

struct tm_channel {
    struct tm_channel_config cfg;
    uint64_t peer_boot;  /* 0: not up */
    bool broken;         /* the peer sent what no peer sends */
    bool busy;           /* inside a callback */
    uint64_t down_until; /* nothing is emitted before; 0: not down */
    uint64_t retry_at;   /* after FULL; 0: the fabric has room */
    uint64_t retry_pause;
    struct sender tx;
    struct receiver rx;
    struct hello hello;
    struct tm_channel_stats stats;
    uint8_t hello_blob[TM_CHANNEL_HELLO_MAX];
};

/* channel.c */
/* Fills in what all frames to `dst` have in common. */
void tm_channel_head(struct tm_channel *ch, struct tm_frame_head *head, enum tm_frame_kind kind,
                     uint64_t dst, uint64_t now);
/* Seals and emits; false: stop for this turn (retry or down times are set). */
bool tm_channel_emit(struct tm_channel *ch, struct tm_frame_head *head, struct tm_bytes payload,
                     uint64_t now);

/* channel_hello.c */
void tm_channel_hello_round(struct tm_channel *ch, uint64_t at);
/* A frame of or to a process that is not known (any more): ask, so that both learn. */
void tm_channel_hello_stale(struct tm_channel *ch, uint64_t now);
bool tm_channel_hello_due(const struct tm_channel *ch);
void tm_channel_hello_input(struct tm_channel *ch, const struct tm_frame_head *head,
                            struct tm_bytes payload, uint64_t now);
bool tm_channel_hello_flush(struct tm_channel *ch, uint64_t now);

/* channel_send.c */
void tm_channel_send_start(struct tm_channel *ch);
/* Takes in ack, SACK bitmap (at bits, any alignment), credit and echo of a frame. */
void tm_channel_send_acked(struct tm_channel *ch, const struct tm_frame_head *head,
                           const uint8_t *bits, uint64_t now);
void tm_channel_send_lose_all(struct tm_channel *ch);
void tm_channel_send_tick(struct tm_channel *ch, uint64_t now);
bool tm_channel_send_flush(struct tm_channel *ch, uint64_t now);
bool tm_channel_send_has_work(const struct tm_channel *ch);

/* channel_recv.c */
void tm_channel_recv_start(struct tm_channel *ch);
void tm_channel_recv_data(struct tm_channel *ch, const struct tm_frame_head *head,
                          struct tm_bytes payload, uint64_t now);
void tm_channel_recv_deliver(struct tm_channel *ch);
/* Writes ack, credit, echo, and behind head the bitmap, which has `room` words there (16 are
 * enough). */
void tm_channel_recv_fill_ack(struct tm_channel *ch, struct tm_frame_head *head, unsigned room,
                              uint64_t now);
/* The frame with what fill_ack wrote was emitted. */
void tm_channel_recv_acked(struct tm_channel *ch);

#endif
