/* What others offer to a leader here.
 *
 * Pieces are put together; then the image is checked, its fork looked up in the own log, the log
 * from there on learned, as far as it is in memory a slice a turn, else fetched; when nothing is
 * left to learn the merge writes, in the same turn.  The answer leaves once that is committed, and
 * also what made it lose.
 *
 * A job that cannot go on (leadership lost, pieces missing) ends without an answer: the offer comes
 * again.  A write that the log refused after the merge had filled it is begun anew. */
#include "actors/offer_internal.h"

#include <inttypes.h>
#include <stdlib.h>

#define PIECES_NS   TM_SECONDS(10) /* an offer that does not get whole so long is given up */
#define LEARN_BYTES TM_MIB(1)      /* of the own log, in one turn */
#define WRITE_BYTES TM_KIB(256)    /* of the offer, into one record */

static void job_free(struct tm_offer_job *j)
{
    struct tm_offers *o = j->owner;
    tm_merge_free(j->merge);
    o->job_bytes -= j->length;
    free(j->image);
    *j = (struct tm_offer_job){0};
}

static void job_end(struct tm_offer_job *j)
{
    j->ended = true;
    if (!j->fetching)
        job_free(j);
}

static void answer(struct tm_offer_job *j, uint64_t status)
{
    struct tm_offers *o = j->owner;
    struct tm_message_head head = {
        .type = TM_MESSAGE_OFFERED, .partition = j->partition, .arg = j->id, .arg2 = status};
    struct tm_place from = j->from;
    job_end(j);
    if (from.node == o->shard->self.node)
        tm_offer_answered(o, head.partition, head.arg, status);
    else
        (void)tm_post_send(o->shard->post, from, head, NULL, 0); /* else the offer comes again */
}

static void refuse(struct tm_offer_job *j, const char *why)
{
    struct tm_offer_head h;
    memcpy(&h, j->image, sizeof h);
    tm_ctx_log(j->owner->shard->ctx, TM_LOG_ERROR, "offer_refused",
               "partition=%u from_node=%u fork=%" PRIu64 " records=%u reason=\"%s\"", j->partition,
               j->from.node, h.fork_index, h.count, why);
    answer(j, TM_OFFERED_REFUSED);
}

/* ---- pieces ---- */

static struct tm_offer_job *find_job(struct tm_offers *o, struct tm_place from, uint32_t partition,
                                     uint64_t id)
{
    for (unsigned i = 0; i < TM_OFFER_JOBS; i++) {
        struct tm_offer_job *j = &o->jobs[i];
        if (j->owner != NULL && !j->ended && j->from.node == from.node &&
            j->partition == partition && j->id == id)
            return j;
    }
    return NULL;
}

static struct tm_offer_job *begin_job(struct tm_offers *o, struct tm_place from,
                                      const struct tm_message_head *head, struct tm_bytes piece,
                                      uint64_t term)
{
    struct tm_offer_head h;
    struct tm_offer_job *j = o->jobs;
    while (j < o->jobs + TM_OFFER_JOBS && j->owner != NULL)
        j++;
    if (j == o->jobs + TM_OFFER_JOBS || piece.len < sizeof h)
        return NULL;
    memcpy(&h, piece.data, sizeof h);
    if (tm_offer_head_check(&h, o->shard->directory->uuid) != TM_OK ||
        h.partition != head->partition || h.id != head->arg ||
        o->job_bytes + h.length > TM_OFFERS_BYTES_MAX)
        return NULL;
    uint8_t *image = malloc(h.length);
    if (image == NULL)
        return NULL;
    *j = (struct tm_offer_job){.owner = o,
                               .from = from,
                               .partition = h.partition,
                               .id = h.id,
                               .image = image,
                               .length = h.length,
                               .term = term,
                               .write_max = WRITE_BYTES,
                               .deadline = tm_offers_now(o) + PIECES_NS};
    o->job_bytes += j->length;
    return j;
}

void tm_offer_job_piece(struct tm_offers *o, struct tm_place from,
                        const struct tm_message_head *head, struct tm_bytes piece)
{
    struct tm_partition *p = tm_shard_find(o->shard, head->partition);
    if (p == NULL || p->stopping || !p->announced)
        return;
    struct tm_offer_job *j = find_job(o, from, head->partition, head->arg);
    if (j != NULL && head->arg2 == 0 && j->have < j->length) {
        job_end(j); /* it begins anew */
        j = NULL;
    }
    if (j == NULL && head->arg2 == 0)
        j = begin_job(o, from, head, piece, p->replica.hs.term);
    if (j == NULL || j->have != head->arg2 || piece.len > j->length - j->have)
        return;
    if (piece.len > 0)
        memcpy(j->image + j->have, piece.data, piece.len);
    j->have += piece.len;
}

/* ---- learning ---- */

/* NULL: the fork is a record of the own log. */
static const char *no_fork(const struct tm_partition *p, const struct tm_offer_head *h)
{
    uint64_t hash = 0;
    if (h->fork_index + 1 < tm_log_first(p->log))
        return "the log does not reach back to where they were cut off";
    if (h->fork_index > 0 && !tm_log_hash_at(p->log, h->fork_index, &hash))
        return "the log does not reach the place where they were cut off";
    return hash == h->fork_hash ? NULL : "the log is another one where they were cut off";
}

static void begin_merge(struct tm_offer_job *j, const struct tm_partition *p)
{
    struct tm_offer_head h;
    struct tm_bytes image = tm_bytes_of(j->image, j->length);
    if (tm_offer_check(image, j->owner->shard->directory->uuid) != TM_OK) {
        job_end(j);
        return;
    }
    memcpy(&h, j->image, sizeof h);
    const char *why = no_fork(p, &h);
    if (why != NULL) {
        refuse(j, why);
        return;
    }
    j->learned = h.fork_index;
    enum tm_err e = tm_merge_new(tm_offer_records(image), &j->merge);
    if (e == TM_ERR_TOOBIG)
        refuse(j, "too many terms or keys in one offer");
    else if (e != TM_OK)
        job_end(j);
}

static bool learn(struct tm_offer_job *j, struct tm_bytes record)
{
    const struct tm_record *r = (const struct tm_record *)(const void *)record.data;
    enum tm_err e = tm_merge_learn(j->merge, r);
    j->learned = r->index;
    if (e != TM_OK)
        refuse(j, "too much was changed since");
    return e == TM_OK;
}

static bool fetched_record(struct tm_log_fetch *fetch, uint64_t index, struct tm_bytes record)
{
    struct tm_offer_job *j = fetch->owner;
    return !j->ended && index == j->learned + 1 && learn(j, record);
}

static void fetched(struct tm_log_fetch *fetch, enum tm_err err)
{
    struct tm_offer_job *j = fetch->owner;
    j->fetching = false;
    if (err != TM_OK)
        j->ended = true; /* damaged or cut: freed by the next turn */
}

/* Learns what is in memory, and fetches what is not.  True if there is more to do at once. */
static bool learn_some(struct tm_offer_job *j, const struct tm_partition *p)
{
    uint64_t last = tm_log_last(p->log);
    for (size_t bytes = 0; j->learned < last;) {
        struct tm_bytes record = tm_log_get(p->log, j->learned + 1);
        if (record.data == NULL)
            break;
        if (bytes >= LEARN_BYTES)
            return true;
        bytes += record.len;
        if (!learn(j, record))
            return false;
    }
    if (j->learned == last)
        return true;
    j->fetch = (struct tm_log_fetch){.first = j->learned + 1,
                                     .last = last,
                                     .max_bytes = 4 * LEARN_BYTES,
                                     .record = fetched_record,
                                     .done = fetched,
                                     .owner = j};
    j->fetching = tm_log_fetch(p->log, &j->fetch) == TM_OK;
    return false;
}

/* ---- writing ---- */

static void fill(struct tm_partition *p, void *arg)
{
    struct tm_offer_job *j = arg;
    j->filled = true;
    j->more = tm_merge_write(j->merge, p->store, j->write_max);
}

/* What the merge wrote was undone: it knows nothing of that. */
static void start_over(struct tm_offer_job *j, enum tm_err e)
{
    if (e == TM_ERR_TOOBIG && j->write_max == 1) {
        refuse(j, "one of them is too large to be merged");
        return;
    }
    if (e == TM_ERR_TOOBIG)
        j->write_max = 1;
    tm_merge_free(j->merge);
    j->merge = NULL;
    j->resume_at = tm_offers_now(j->owner) + TM_MS(500);
}

static void report(const struct tm_offer_job *j)
{
    struct tm_offer_head h;
    struct tm_merge_stats st = tm_merge_stats(j->merge);
    memcpy(&h, j->image, sizeof h);
    tm_counter_add(j->owner->shard->ctx->counters, TM_COUNTER_async_merged, h.count);
    tm_ctx_log(j->owner->shard->ctx, TM_LOG_INFO, "offer_merged",
               "partition=%u from_node=%u records=%u known=%" PRIu64 " operations_kept=%" PRIu64
               " superseded=%" PRIu64,
               j->partition, j->from.node, h.count, st.known, st.kept, st.superseded);
}

/* Everything is learned.  One record; false: not possible now, or it was the last. */
static bool write_some(struct tm_offer_job *j, struct tm_partition *p)
{
    uint64_t index, term;
    j->filled = false;
    enum tm_err e = tm_partition_write(p, fill, j, &index, &term);
    if (!j->filled)
        return false;
    if (e != TM_OK) {
        start_over(j, e);
        return false;
    }
    j->until = j->learned = tm_log_last(p->log);
    j->written = !j->more;
    if (j->written)
        report(j);
    return j->more;
}

/* ---- going on ---- */

static bool run(struct tm_offer_job *j)
{
    struct tm_offers *o = j->owner;
    struct tm_partition *p = tm_shard_find(o->shard, j->partition);
    uint64_t now = tm_offers_now(o);
    bool leads =
        p != NULL && !p->stopping && p->announced && p->replica.hs.term == j->term && !j->ended;
    if (!leads || (j->have < j->length && now >= j->deadline)) {
        job_end(j);
        return false;
    }
    if (j->fetching || j->have < j->length || now < j->resume_at)
        return false;
    if (j->written) {
        if (p->replica.commit >= j->until)
            answer(j, TM_OFFERED_MERGED);
        return false;
    }
    if (j->merge == NULL) {
        begin_merge(j, p);
        return j->merge != NULL;
    }
    if (j->learned < tm_log_last(p->log) && !learn_some(j, p))
        return false;
    return j->learned < tm_log_last(p->log) || write_some(j, p);
}

bool tm_offer_job_turn(struct tm_offers *o)
{
    bool more = false;
    for (unsigned i = 0; i < TM_OFFER_JOBS; i++)
        if (o->jobs[i].owner != NULL)
            more = run(&o->jobs[i]) || more;
    return more;
}

bool tm_offer_job_quiet(const struct tm_offers *o)
{
    for (unsigned i = 0; i < TM_OFFER_JOBS; i++)
        if (o->jobs[i].fetching)
            return false;
    return true;
}

void tm_offer_job_free_all(struct tm_offers *o)
{
    for (unsigned i = 0; i < TM_OFFER_JOBS; i++)
        if (o->jobs[i].owner != NULL)
            job_free(&o->jobs[i]);
}
