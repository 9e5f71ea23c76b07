/* link_states.h: states of a source's keys as messages to the target: for a resynchronisation
 * (link_sync.h), and for keys that the target asks for (LINK_LACKS).
 *
 * Pure; one worker's thread. */
#ifndef TM_ACTORS_LINK_STATES_H
#define TM_ACTORS_LINK_STATES_H

#include "actors/link_out.h"
#include "actors/link_sync_wire.h"

/* States to be written, key by key; what does not fit into one message goes on in the next. */
struct tm_link_states {
    const uint64_t *order; /* ascending (tm_link_order) */
    unsigned count, at;    /* how many; those before `at` are written */
    unsigned skip;         /* operations of order[at] that were written before */
    bool all;              /* also what the link does not forward by its origin */
};

/* Whether the stream carries the key. */
bool tm_link_states_ships(const struct tm_link_out *out, struct tm_bytes key);

/* Writes states into out->link->raw until that has a batch's bytes, or all are written; at and skip
 * move on.  Returns the bytes. */
uint32_t tm_link_states_write(struct tm_link_states *s, const struct tm_link_out *out);

/* Fills raw_hash, raw_len and packed_len of the head of a STATE with that many bytes of
 * out->link->raw, and returns what is to be sent of them, packed where that pays. */
struct tm_bytes tm_link_states_pack(struct tm_link_state_head *head, const struct tm_link_out *out,
                                    uint32_t used);

/* LINK_LACKS from the stream's target, bytes from outside: sends all that is known of those keys.
 * What does not leave the target asks for again. */
void tm_link_states_answer(struct tm_link_out *out, struct tm_bytes body);

#endif
