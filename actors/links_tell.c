/* TIDEMILL LINKS: all that this worker knows of links, a row of names and values each:
 *
 *   kind=link  a link of the directory, out or in, and how its other end is reached from here
 *   kind=out   a stream that begins at a partition led here
 *   kind=in    a stream that ends at one
 *   kind=dead  a change that came and could not be applied
 *
 * `tidemill link` asks all workers of all nodes and puts it together (tools/link*.c): a partition
 * of which nobody tells is led by nobody. */
#include "actors/link_view.h"
#include "actors/links_internal.h"
#include "runtime/hlc.h"

#include <inttypes.h>
#include <stdio.h>

struct row {
    struct tm_resp_writer *w;
    size_t at;
    unsigned fields;
};

static struct row begin_row(struct tm_resp_writer *w, const char *kind)
{
    struct row r = {.w = w, .at = w->len, .fields = 1};
    tm_resp_bulk_str(w, "kind");
    tm_resp_bulk_str(w, kind);
    return r;
}

static void text(struct row *r, const char *name, const char *value)
{
    tm_resp_bulk_str(r->w, name);
    tm_resp_bulk_str(r->w, value);
    r->fields++;
}

static void number(struct row *r, const char *name, uint64_t value)
{
    tm_resp_bulk_str(r->w, name);
    tm_resp_integer(r->w, (int64_t)tm_min_u64(value, INT64_MAX));
    r->fields++;
}

static void hex(struct row *r, const char *name, uint64_t value)
{
    char digits[17];
    snprintf(digits, sizeof digits, "%016" PRIx64, value);
    text(r, name, value != 0 ? digits : "");
}

static void end_row(struct row *r)
{
    tm_resp_insert_array(r->w, r->at, 2 * r->fields);
}

/* ---- links ---- */

static void tell_reach(struct tm_links *l, struct row *r, const char *peer)
{
    int site = l->way != NULL ? tm_link_way_find(l->way, peer) : -1;
    unsigned nodes = 0, there = 0;
    const char *refusal = NULL;
    uint64_t stranger = 0, incarnation = 0;
    if (site >= 0) {
        const struct tm_link_site *s = tm_link_way_site(l->way, (unsigned)site);
        const struct tm_link_identity *id = tm_link_way_identity(l->way, (unsigned)site);
        nodes = s->count;
        for (unsigned i = 0; i < nodes; i++)
            there += tm_link_way_is_there(l->way, s->nodes[i].block);
        refusal = tm_link_way_refusal(l->way, (unsigned)site);
        stranger = tm_link_way_stranger(l->way, (unsigned)site);
        incarnation = id != NULL ? id->incarnation : 0;
    }
    number(r, "nodes", nodes);
    number(r, "reach", there);
    text(r, "refused", refusal != NULL ? refusal : "");
    hex(r, "stranger", stranger);
    hex(r, "incarnation", incarnation);
}

static void tell_said(struct row *r, const struct tm_link_operator *said)
{
    number(r, "paused", said->paused);
    number(r, "resync", said->resync);
    hex(r, "adopted", said->adopted);
    hex(r, "released", said->released);
    hex(r, "rewind", said->rewind);
    number(r, "epoch", said->epoch);
}

static void tell_link(struct tm_links *l, struct tm_resp_writer *w, bool out, unsigned i)
{
    const struct tm_link_plan *plan = l->shard->links;
    const struct tm_link *link = out ? &plan->out[i] : &plan->in[i];
    const char *peer = plan->peers[link->peer].name;
    char mode[32];
    struct row r = begin_row(w, "link");
    tm_link_option_text(TM_LINK_OPTION_mode, link->options.mode, mode, sizeof mode);
    text(&r, "way", out ? "out" : "in");
    text(&r, "peer", peer);
    number(&r, "worker", l->shard->self.worker);
    text(&r, "mode", mode);
    number(&r, "partitions", l->shard->directory->partitions);
    number(&r, "wall_ms", tm_ctx_wall_ms(l->ctx));
    if (tm_link_operator_says(&link->said, TM_LINK_OPERATOR_throttle))
        number(&r, "throttle", link->said.throttle);
    number(&r, "rate", (uint64_t)link->options.max_bytes_per_second);
    tell_said(&r, &link->said);
    tell_reach(l, &r, peer);
    end_row(&r);
}

/* ---- streams out ---- */

static const struct tm_record *peek(void *host, const struct tm_link_out *out, uint64_t index)
{
    const struct tm_links_slot *slot = out->log;
    (void)host;
    return (const void *)tm_log_get(slot->p->log, index).data;
}

static const char *node_at(const struct tm_links *l, int site, unsigned block)
{
    const struct tm_link_site *s = tm_link_way_site(l->way, (unsigned)site);
    for (unsigned i = 0; i < s->count; i++)
        if (s->nodes[i].block == block)
            return s->nodes[i].name;
    return "";
}

static void tell_record(struct row *r, const struct tm_link_view *v, uint64_t wall)
{
    number(r, "record", v->record);
    number(r, "record_on_disk", v->not_in_memory);
    if (v->record == 0)
        return;
    uint64_t made = tm_hlc_ms(v->hlc);
    text(r, "record_type", v->type);
    hex(r, "record_stamp", v->hlc);
    number(r, "record_made_ms", made);
    number(r, "record_age_ms", wall > made ? wall - made : 0);
}

static void tell_out(struct tm_links *l, struct tm_resp_writer *w, struct tm_link_out *out)
{
    const struct tm_links_out *o = TM_CONTAINER_OF(out->link, struct tm_links_out, outlet);
    struct tm_place to = tm_link_way_place(l->way, out->block, out->target);
    struct tm_link_reach reach = {.node = tm_link_way_is_up(l->way, to), .peek = peek, .host = l};
    struct tm_link_view v;
    for (unsigned i = 0; i < out->link->block_count; i++)
        reach.any = reach.any || tm_link_way_is_there(l->way, out->link->blocks[i]);
    tm_link_look(out, &reach, &v);
    struct row r = begin_row(w, "out");
    text(&r, "peer", o->target);
    number(&r, "source", out->source);
    number(&r, "target", out->target);
    text(&r, "node", node_at(l, o->site, out->block));
    text(&r, "state", tm_link_out_state_name(out->state));
    text(&r, "waits", tm_link_waits_name(v.waits));
    number(&r, "first", v.first);
    number(&r, "commit", v.commit);
    number(&r, "acked", out->acked);
    number(&r, "sent", out->sent.index);
    number(&r, "scanned", out->scanned.index);
    number(&r, "flight", out->flight_count);
    number(&r, "flight_bytes", out->flight_bytes);
    number(&r, "window_bytes", out->link->limits.window_bytes);
    number(&r, "rate", out->link->limits.bytes_per_second);
    number(&r, "lag_records", v.lag.records);
    number(&r, "lag_bytes", v.lag.bytes);
    number(&r, "lag_ms", v.lag.age_ms);
    number(&r, "delay_ms", v.lag.delay_ms);
    number(&r, "resync_percent", v.percent);
    if (v.next_ms != UINT64_MAX)
        number(&r, "next_ms", v.next_ms);
    bool refused = out->state == TM_LINK_OUT_REFUSED;
    text(&r, "refusal", refused ? tm_link_refusal_name((unsigned)out->refusal) : "");
    text(&r, "refusal_text", refused ? out->refusal_text : "");
    tell_record(&r, &v, tm_ctx_wall_ms(l->ctx));
    end_row(&r);
}

/* ---- what came ---- */

struct telling {
    struct tm_links *links;
    struct tm_resp_writer *w;
    unsigned rows;
};

static void tell_in(void *host, const struct tm_link_in_view *v)
{
    struct telling *t = host;
    struct row r = begin_row(t->w, "in");
    text(&r, "peer", tm_link_way_site(t->links->way, v->site)->name);
    number(&r, "source", v->source);
    number(&r, "target", v->target);
    text(&r, "refusal", v->refusal != 0 ? tm_link_refusal_name(v->refusal) : "");
    hex(&r, "held", v->held);
    number(&r, "waiting", v->waiting);
    number(&r, "flushing", v->flushing);
    number(&r, "index", v->position.index);
    hex(&r, "newest_stamp", v->position.hlc);
    hex(&r, "position_incarnation", v->position.incarnation);
    number(&r, "position_epoch", v->position.epoch);
    hex(&r, "incarnation", v->incarnation);
    number(&r, "epoch", v->epoch);
    end_row(&r);
    t->rows++;
}

static void tell_dead(struct tm_links *l, struct tm_resp_writer *w, const struct tm_link_dead *d)
{
    struct row r = begin_row(w, "dead");
    text(&r, "peer", tm_link_way_site(l->way, d->site)->name);
    number(&r, "source", d->source);
    number(&r, "target", d->target);
    number(&r, "index", d->index);
    number(&r, "at_ms", d->at_ms);
    text(&r, "error", tm_err_name(d->err));
    tm_resp_bulk_str(w, "key");
    tm_resp_bulk(w, tm_bytes_of(d->key, d->key_len));
    r.fields++;
    end_row(&r);
}

/* ---- all ---- */

void tm_links_tell(void *host, struct tm_resp_writer *w)
{
    struct tm_shard *s = host;
    struct tm_links *l = s->link_streams;
    size_t at = w->len;
    unsigned rows = 0;
    for (unsigned i = 0; l != NULL && i < s->links->out_count; i++, rows++)
        tell_link(l, w, true, i);
    for (unsigned i = 0; l != NULL && i < s->links->in_count; i++, rows++)
        tell_link(l, w, false, i);
    for (uint32_t i = 0; l != NULL && i < l->slots; i++)
        for (unsigned k = 0; k < l->slot[i].count; k++, rows++)
            tell_out(l, w, &l->slot[i].out[k]);
    struct telling t = {.links = l, .w = w};
    if (l != NULL)
        tm_link_in_each(l->in, tell_in, &t);
    rows += t.rows;
    for (unsigned i = 0; l != NULL && i < tm_link_in_deads(l->in); i++, rows++)
        tell_dead(l, w, tm_link_in_dead(l->in, i));
    if (l != NULL && s->links->refused[0] != '\0') {
        struct row r = begin_row(w, "refused");
        text(&r, "text", s->links->refused);
        end_row(&r);
        rows++;
    }
    tm_resp_insert_array(w, at, rows);
}
