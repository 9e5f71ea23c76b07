/* fabric.h: frames between nodes, unreliable and unordered, behind one small table.
 *
 * A tm_fabric is one worker's end: it sends frames to (node, worker) and receives those sent to
 * its own.  `dpdk` (net/fabric_dpdk.h) and `tcp` (net/fabric_tcp.h) implement it; the simulator is
 * the third.  A frame may be lost, doubled or overtaken; it is never cut or changed unseen, for
 * the channel above checks a checksum of its own.  All calls are made on the worker's thread.
 *
 * Nodes are numbered 0..63 within the cluster, workers 0..63 within their node. */
#ifndef TM_NET_FABRIC_H
#define TM_NET_FABRIC_H

#include "runtime/base.h"

#define TM_NODES_MAX   64
#define TM_WORKERS_MAX 64

enum tm_fabric_event {
    TM_FABRIC_PEER_UP,  /* frames to this node may arrive now */
    TM_FABRIC_PEER_DOWN /* a hint that the node's process is gone (EOF, link down): at once */
};

/* What a fabric tells its owner; called from poll only (by tcp: from the worker's completions,
 * which run between polls and flushes of a turn), never from send or flush. */
struct tm_fabric_sink {
    void *host;
    /* A frame from (node, worker).  data is valid during the call and may be changed in place. */
    void (*frame)(void *host, unsigned node, unsigned worker, uint8_t *data, size_t len);
    void (*event)(void *host, unsigned node, enum tm_fabric_event event);
};

struct tm_fabric {
    void *host;
    const char *name;   /* "dpdk", "tcp", "sim" */
    uint32_t max_frame; /* bytes a frame may have, at least 1400 */

    /* Sends the concatenation of count pieces as one frame of 1..max_frame bytes; the bytes are
     * copied before it returns.  TM_ERR_FULL: no room this turn; TM_ERR_CLOSED: the peer is down.
     * Either way the frame is lost and the channel repeats it. */
    enum tm_err (*send)(struct tm_fabric *f, unsigned node, unsigned worker,
                        const struct tm_bytes *pieces, unsigned count);

    /* Receives up to budget frames and the pending events into the sink; returns their number. */
    unsigned (*poll)(struct tm_fabric *f, unsigned budget);

    /* Ends the turn: what was sent leaves now, in bursts. */
    void (*flush)(struct tm_fabric *f);

    /* The worker is about to sleep.  Announces it, so that peers ring this worker's doorbell when
     * they send; then looks once more: false if something arrived meanwhile (do not sleep).
     * unpark takes the announcement back.  A fabric whose frames wake the worker by themselves
     * (tcp) returns true and does nothing. */
    bool (*park)(struct tm_fabric *f);
    void (*unpark)(struct tm_fabric *f);

    /* Releases everything; the worker does not sleep in it. */
    void (*close)(struct tm_fabric *f);
};

#endif
