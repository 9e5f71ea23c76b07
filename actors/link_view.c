/* What a stream waits for follows from its state, and while it streams from what keeps the next
 * batch.  The first record that the target lacks is found as batches are made, by the builder. */
#include "actors/link_view.h"

#include "actors/link_batch.h"
#include "actors/link_sync_wire.h"

#include <stdio.h>

#define LOOK_RECORDS 1024

const char *tm_link_waits_name(enum tm_link_waits waits)
{
    static const char *const names[] = {
#define X(name, text) #name,
        TM_LINK_WAITS_LIST(X)
#undef X
    };
    return names[waits];
}

const char *tm_link_waits_text(enum tm_link_waits waits)
{
    static const char *const texts[] = {
#define X(name, text) text,
        TM_LINK_WAITS_LIST(X)
#undef X
    };
    return texts[waits];
}

static bool is_throttled(const struct tm_link_outlet *link)
{
    return link->limits.bytes_per_second != 0 && link->tokens <= 0;
}

static enum tm_link_waits wait_of_streaming(const struct tm_link_out *out,
                                            const struct tm_link_reach *reach,
                                            const struct tm_link_view *v)
{
    bool unsent = out->scanned.index < v->commit;
    if (v->lag.records == 0)
        return TM_LINK_WAITS_NOTHING;
    if (out->link->paused && unsent)
        return TM_LINK_WAITS_PAUSED;
    if (tm_link_out_shown(out) == TM_LINK_OUT_REFUSED)
        return TM_LINK_WAITS_REFUSED;
    if (!unsent)
        return TM_LINK_WAITS_ACK;
    if (out->flight_count == TM_LINK_WINDOW || out->flight_bytes >= out->link->limits.window_bytes)
        return TM_LINK_WAITS_WINDOW;
    if (is_throttled(out->link))
        return TM_LINK_WAITS_THROTTLE;
    return reach->peek(reach->host, out, out->scanned.index + 1) != NULL ? TM_LINK_WAITS_BATCH
                                                                         : TM_LINK_WAITS_DISK;
}

static enum tm_link_waits wait_of(const struct tm_link_out *out, const struct tm_link_reach *reach,
                                  const struct tm_link_view *v)
{
    bool paused = out->link->paused;
    if (out->state == TM_LINK_OUT_STREAM && v->lag.records == 0)
        return TM_LINK_WAITS_NOTHING;
    if (!reach->any)
        return paused ? TM_LINK_WAITS_PAUSED : TM_LINK_WAITS_WAY;
    if (out->state == TM_LINK_OUT_ASK && paused)
        return TM_LINK_WAITS_PAUSED;
    if (out->state == TM_LINK_OUT_STREAM)
        return wait_of_streaming(out, reach, v);
    switch (tm_link_out_shown(out)) {
    case TM_LINK_OUT_STREAM:
        break;
    case TM_LINK_OUT_ASK:
        return reach->node ? TM_LINK_WAITS_AGAIN : TM_LINK_WAITS_NODE;
    case TM_LINK_OUT_ASKED:
        return TM_LINK_WAITS_ANSWER;
    case TM_LINK_OUT_REFUSED:
        return TM_LINK_WAITS_REFUSED;
    case TM_LINK_OUT_BEHIND:
        return TM_LINK_WAITS_TURN;
    case TM_LINK_OUT_RESYNC:
        return paused                    ? TM_LINK_WAITS_PAUSED
               : is_throttled(out->link) ? TM_LINK_WAITS_THROTTLE
                                         : TM_LINK_WAITS_RESYNC;
    case TM_LINK_OUT_DIVERGED:
        return TM_LINK_WAITS_DIVERGED;
    case TM_LINK_OUT_SNAPSHOT:
        return TM_LINK_WAITS_SNAPSHOT;
    }
    return TM_LINK_WAITS_NOTHING;
}

/* The first change of what a batch of that one record would hold. */
static bool first_shipped(struct tm_link_out *out, const struct tm_record *record,
                          struct tm_link_view *v)
{
    struct tm_link_outlet *link = out->link;
    struct tm_link_stream stream = {.source = out->source,
                                    .sources = link->sources,
                                    .target = out->target,
                                    .targets = link->targets};
    struct tm_link_position from = {.index = record->index - 1};
    struct tm_link_builder b;
    struct tm_change change;
    tm_link_builder_begin(&b, &link->filter, &stream, &from, link->raw, TM_LINK_RAW_MAX);
    if (tm_link_builder_add(&b, record) != TM_OK || b.used == 0)
        return false;
    struct tm_bytes raw = tm_link_builder_raw(&b);
    if (!tm_change_next(&raw, &change))
        return false;
    struct tm_bytes type =
        change.key.len > 0 ? tm_link_type_of(change.key) : tm_bytes_str("FLUSHALL");
    v->record = record->index;
    v->hlc = record->hlc;
    snprintf(v->type, sizeof v->type, "%.*s", (int)type.len, (const char *)type.data);
    return true;
}

static void find_record(struct tm_link_out *out, const struct tm_link_reach *reach,
                        struct tm_link_view *v)
{
    uint64_t at = tm_max_u64(out->acked + 1, v->first);
    for (unsigned i = 0; i < LOOK_RECORDS && at + i <= v->commit; i++) {
        const struct tm_record *record = reach->peek(reach->host, out, at + i);
        v->not_in_memory = record == NULL;
        if (record == NULL || first_shipped(out, record, v))
            return;
    }
}

void tm_link_look(struct tm_link_out *out, const struct tm_link_reach *reach,
                  struct tm_link_view *v)
{
    struct tm_link_outlet *link = out->link;
    uint64_t now = tm_ctx_now(link->ctx), next = tm_link_out_deadline(out);
    *v = (struct tm_link_view){.lag = tm_link_out_lag(out),
                               .first = link->ops->first(link->host, out),
                               .commit = link->ops->commit(link->host, out),
                               .next_ms = next};
    if (next != UINT64_MAX)
        v->next_ms = next > now ? (next - now) / TM_MS(1) : 0;
    v->percent = (unsigned)(out->sync_cursor / (TM_LINK_ORDERS / 100));
    v->percent = (unsigned)tm_min_u64(v->percent, 100);
    v->waits = wait_of(out, reach, v);
    if (v->lag.records > 0)
        find_record(out, reach, v);
}
