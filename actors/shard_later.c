/* Requests for the partitions of this worker, and how much of them one turn does.
 *
 * A request is evaluated when it comes.  Once the replies of a turn are TURN_REPLIES bytes long,
 * what comes after is put off, in order, and goes on in the next turns: replies are read, kept and
 * sent on in memory that may be new to this process, and a client that asks for much and reads
 * nothing would have a turn of this worker take as long as all of its replies do, heartbeats and
 * other clients waiting.
 *
 * What waits is bounded; beyond that a request is refused with AGAIN, which has who asked ask again
 * (actors/dispatch.c). */
#include "actors/shard_internal.h"

#include <stdlib.h>

#define TURN_REPLIES TM_MIB(1)
#define PUT_OFF_MAX  TM_MIB(64)

struct tm_put_off {
    struct tm_put_off *next;
    struct tm_place from;
    uint32_t len;
    uint8_t bytes[]; /* the request, encoded */
};

static void refuse(struct tm_shard *s, struct tm_place from, uint64_t id, enum tm_err err)
{
    struct tm_answer a = {.id = id, .status = TM_ANSWER_REFUSED, .err = err};
    tm_shard_answer(s, from, &a);
}

/* By the partition's leader, or, in eventual mode, by any replica. */
static void evaluate(struct tm_shard *s, struct tm_place from, const struct tm_request *rq)
{
    struct tm_partition *p = tm_shard_find(s, rq->partition);
    if (p == NULL || s->stopping)
        refuse(s, from, rq->id, TM_ERR_NOTLEADER);
    else if (!p->eventual || p->leading || !tm_partition_read_here(p, from, rq))
        tm_partition_request(p, from, rq);
}

static bool put_off(struct tm_shard *s, struct tm_place from, const struct tm_request *rq)
{
    size_t len = tm_request_size(rq);
    if (len == 0 || s->put_off_bytes + len > PUT_OFF_MAX)
        return false;
    struct tm_put_off *w = malloc(sizeof *w + len);
    if (w == NULL)
        return false;
    *w = (struct tm_put_off){.from = from, .len = (uint32_t)len};
    tm_request_encode(rq, w->bytes);
    *s->put_off_end = w;
    s->put_off_end = &w->next;
    s->put_off_bytes += len;
    tm_counter_add(s->ctx->counters, TM_COUNTER_requests_put_off, 1);
    return true;
}

void tm_shard_request(struct tm_shard *s, struct tm_place from, const struct tm_request *rq)
{
    if (s->put_off == NULL && s->env.reply_bytes < TURN_REPLIES)
        evaluate(s, from, rq);
    else if (!put_off(s, from, rq))
        refuse(s, from, rq->id, TM_ERR_AGAIN);
}

static struct tm_put_off *take_first(struct tm_shard *s)
{
    struct tm_put_off *w = s->put_off;
    s->put_off = w->next;
    if (s->put_off == NULL)
        s->put_off_end = &s->put_off;
    s->put_off_bytes -= w->len;
    return w;
}

void tm_shard_go_on(struct tm_shard *s)
{
    s->env.reply_bytes = 0;
    while (s->put_off != NULL && s->env.reply_bytes < TURN_REPLIES) {
        struct tm_put_off *w = take_first(s);
        struct tm_request rq;
        if (tm_request_decode(tm_bytes_of(w->bytes, w->len), &s->words, &rq) == TM_OK)
            evaluate(s, w->from, &rq);
        free(w);
    }
}

void tm_shard_drop_put_off(struct tm_shard *s)
{
    while (s->put_off != NULL)
        free(take_first(s));
}
