/* TIDEMILL LINKS: all that this worker knows of links, a row of names and values each:
 *
 *   kind=link  a link of the directory, out or in, and how its other end is reached from here
 *   kind=out   a stream that begins at a partition led here
 *   kind=gate  where writes of such a partition wait for the target of a synchronous link
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

struct tm_links_row tm_links_begin_row(struct tm_resp_writer *w, const char *kind)
{
    struct tm_links_row r = {.w = w, .at = w->len, .fields = 1};
    tm_resp_bulk_str(w, "kind");
    tm_resp_bulk_str(w, kind);
    return r;
}

void tm_links_text_field(struct tm_links_row *r, const char *name, const char *value)
{
    tm_resp_bulk_str(r->w, name);
    tm_resp_bulk_str(r->w, value);
    r->fields++;
}

void tm_links_bytes_field(struct tm_links_row *r, const char *name, struct tm_bytes value)
{
    tm_resp_bulk_str(r->w, name);
    tm_resp_bulk(r->w, value);
    r->fields++;
}

void tm_links_number_field(struct tm_links_row *r, const char *name, uint64_t value)
{
    tm_resp_bulk_str(r->w, name);
    tm_resp_integer(r->w, (int64_t)tm_min_u64(value, INT64_MAX));
    r->fields++;
}

void tm_links_hex_field(struct tm_links_row *r, const char *name, uint64_t value)
{
    char digits[17];
    snprintf(digits, sizeof digits, "%016" PRIx64, value);
    tm_links_text_field(r, name, value != 0 ? digits : "");
}

void tm_links_end_row(struct tm_links_row *r)
{
    tm_resp_insert_array(r->w, r->at, 2 * r->fields);
}

/* ---- links ---- */

static void tell_reach(struct tm_links *l, struct tm_links_row *r, const char *peer)
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
    tm_links_number_field(r, "nodes", nodes);
    tm_links_number_field(r, "reach", there);
    tm_links_text_field(r, "refused", refusal != NULL ? refusal : "");
    tm_links_hex_field(r, "stranger", stranger);
    tm_links_hex_field(r, "incarnation", incarnation);
}

static void tell_said(struct tm_links_row *r, const struct tm_link_operator *said)
{
    tm_links_number_field(r, "paused", said->paused);
    tm_links_number_field(r, "resync", said->resync);
    tm_links_hex_field(r, "adopted", said->adopted);
    tm_links_hex_field(r, "released", said->released);
    tm_links_hex_field(r, "rewind", said->rewind);
    tm_links_number_field(r, "epoch", said->epoch);
}

static void tell_link(struct tm_links *l, struct tm_resp_writer *w, bool out, unsigned i)
{
    const struct tm_link_plan *plan = l->shard->links;
    const struct tm_link *link = out ? &plan->out[i] : &plan->in[i];
    const char *peer = plan->peers[link->peer].name;
    char mode[32];
    struct tm_links_row r = tm_links_begin_row(w, "link");
    tm_link_option_text(TM_LINK_OPTION_mode, link->options.mode, mode, sizeof mode);
    tm_links_text_field(&r, "way", out ? "out" : "in");
    tm_links_text_field(&r, "peer", peer);
    tm_links_number_field(&r, "worker", l->shard->self.worker);
    tm_links_text_field(&r, "mode", mode);
    tm_links_number_field(&r, "partitions", l->shard->directory->partitions);
    tm_links_number_field(&r, "wall_ms", tm_ctx_wall_ms(l->ctx));
    if (tm_link_operator_says(&link->said, TM_LINK_OPERATOR_throttle))
        tm_links_number_field(&r, "throttle", link->said.throttle);
    tm_links_number_field(&r, "rate", (uint64_t)link->options.max_bytes_per_second);
    tell_said(&r, &link->said);
    tell_reach(l, &r, peer);
    tm_links_end_row(&r);
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

static void tell_record(struct tm_links_row *r, const struct tm_link_view *v, uint64_t wall)
{
    tm_links_number_field(r, "record", v->record);
    tm_links_number_field(r, "record_on_disk", v->not_in_memory);
    if (v->record == 0)
        return;
    uint64_t made = tm_hlc_ms(v->hlc);
    tm_links_text_field(r, "record_type", v->type);
    tm_links_hex_field(r, "record_stamp", v->hlc);
    tm_links_number_field(r, "record_made_ms", made);
    tm_links_number_field(r, "record_age_ms", wall > made ? wall - made : 0);
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
    struct tm_links_row r = tm_links_begin_row(w, "out");
    tm_links_text_field(&r, "peer", o->target);
    tm_links_number_field(&r, "source", out->source);
    tm_links_number_field(&r, "target", out->target);
    tm_links_text_field(&r, "node", node_at(l, o->site, out->block));
    tm_links_text_field(&r, "state", tm_link_out_state_name(tm_link_out_shown(out)));
    tm_links_text_field(&r, "waits", tm_link_waits_name(v.waits));
    tm_links_number_field(&r, "first", v.first);
    tm_links_number_field(&r, "commit", v.commit);
    tm_links_number_field(&r, "acked", out->acked);
    tm_links_number_field(&r, "sent", out->sent.index);
    tm_links_number_field(&r, "scanned", out->scanned.index);
    tm_links_number_field(&r, "flight", out->flight_count);
    tm_links_number_field(&r, "flight_bytes", out->flight_bytes);
    tm_links_number_field(&r, "window_bytes", out->link->limits.window_bytes);
    tm_links_number_field(&r, "rate", out->link->limits.bytes_per_second);
    tm_links_number_field(&r, "lag_records", v.lag.records);
    tm_links_number_field(&r, "lag_bytes", v.lag.bytes);
    tm_links_number_field(&r, "lag_ms", v.lag.age_ms);
    tm_links_number_field(&r, "delay_ms", v.lag.delay_ms);
    tm_links_number_field(&r, "resync_percent", v.percent);
    if (v.next_ms != UINT64_MAX)
        tm_links_number_field(&r, "next_ms", v.next_ms);
    bool refused = tm_link_out_shown(out) == TM_LINK_OUT_REFUSED;
    tm_links_text_field(&r, "refusal", refused ? tm_link_refusal_name((unsigned)out->refusal) : "");
    tm_links_text_field(&r, "refusal_text", refused ? out->refusal_text : "");
    tell_record(&r, &v, tm_ctx_wall_ms(l->ctx));
    tm_links_end_row(&r);
}

/* Where writes of a partition wait for the target of a synchronous link. */
static void tell_gate(const struct tm_links_slot *slot, const struct tm_links_gate *g,
                      struct tm_resp_writer *w)
{
    struct tm_links_row r = tm_links_begin_row(w, "gate");
    tm_links_text_field(&r, "peer", g->out->target);
    tm_links_number_field(&r, "source", slot->p->id);
    tm_links_text_field(&r, "state", tm_link_gate_state_name(g->gate.state));
    tm_links_number_field(&r, "since_ms", g->gate.note.since_ms);
    tm_links_end_row(&r);
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
    struct tm_links_row r = tm_links_begin_row(t->w, "in");
    tm_links_text_field(&r, "peer", tm_link_way_site(t->links->way, v->site)->name);
    tm_links_number_field(&r, "source", v->source);
    tm_links_number_field(&r, "target", v->target);
    tm_links_text_field(&r, "refusal", v->refusal != 0 ? tm_link_refusal_name(v->refusal) : "");
    tm_links_hex_field(&r, "held", v->held);
    tm_links_number_field(&r, "waiting", v->waiting);
    tm_links_number_field(&r, "flushing", v->flushing);
    tm_links_number_field(&r, "index", v->position.index);
    tm_links_hex_field(&r, "newest_stamp", v->position.hlc);
    tm_links_hex_field(&r, "position_incarnation", v->position.incarnation);
    tm_links_number_field(&r, "position_epoch", v->position.epoch);
    tm_links_hex_field(&r, "incarnation", v->incarnation);
    tm_links_number_field(&r, "epoch", v->epoch);
    tm_links_end_row(&r);
    t->rows++;
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
    for (uint32_t i = 0; l != NULL && i < l->slots; i++)
        for (unsigned k = 0; k < l->slot[i].gates; k++, rows++)
            tell_gate(&l->slot[i], &l->slot[i].gate[k], w);
    struct telling t = {.links = l, .w = w};
    if (l != NULL)
        tm_link_in_each(l->in, tell_in, &t);
    rows += t.rows;
    for (unsigned i = 0; l != NULL && i < tm_link_in_deads(l->in); i++, rows++)
        tm_links_tell_dead(l, w, tm_link_in_dead(l->in, i), "dead", NULL);
    if (l != NULL && s->links->refused[0] != '\0') {
        struct tm_links_row r = tm_links_begin_row(w, "refused");
        tm_links_text_field(&r, "text", s->links->refused);
        tm_links_end_row(&r);
        rows++;
    }
    tm_resp_insert_array(w, at, rows);
}

/* ---- orders ---- */

static bool verify(struct tm_links *l, const struct tm_bytes *words, unsigned count)
{
    char name[TM_LINK_NAME_MAX + 1];
    int64_t source = TM_LINKS_ALL;
    if (l == NULL || words[0].len >= sizeof name ||
        (count == 2 &&
         (!tm_resp_to_i64(words[1], &source) || source < 0 || source >= TM_LINKS_ALL)))
        return false;
    snprintf(name, sizeof name, "%.*s", (int)words[0].len, (const char *)words[0].data);
    return tm_links_verify_order(l, name, (uint32_t)source);
}

/* ---- conflicts ---- */

static void tell_side(struct tm_links_row *r, bool winner, const struct tm_link_conflict_side *side)
{
    tm_links_hex_field(r, winner ? "winner_stamp" : "loser_stamp", side->stamp.hlc);
    tm_links_hex_field(r, winner ? "winner_origin" : "loser_origin", side->stamp.origin);
    tm_links_number_field(r, winner ? "winner_deleted" : "loser_deleted", side->deleted);
    tm_links_number_field(r, winner ? "winner_bytes" : "loser_bytes", side->len);
    tm_links_bytes_field(
        r, winner ? "winner" : "loser",
        tm_bytes_of(side->value, tm_min_u64(side->len, TM_LINK_CONFLICT_VALUE_MAX)));
}

static void tell_conflict(const struct tm_links *l, const struct tm_link_conflict *c,
                          struct tm_resp_writer *w)
{
    static const char *const types[] = {
        [TM_ENTITY_STRING] = "string", [TM_ENTITY_HASH] = "hash", [TM_ENTITY_SET] = "set"};
    struct tm_links_row r = tm_links_begin_row(w, "conflict");
    bool known = c->type < TM_ARRAY_LEN(types) && types[c->type] != NULL;
    tm_links_number_field(&r, "worker", l->shard->self.worker);
    tm_links_number_field(&r, "number", c->number);
    tm_links_number_field(&r, "at_ms", c->at_ms);
    tm_links_text_field(&r, "type", known ? types[c->type] : "");
    tm_links_text_field(&r, "rule", tm_conflict_name(c->rule));
    tm_links_number_field(&r, "whole", c->whole);
    tm_links_number_field(&r, "cut", !tm_link_conflict_is_whole(c));
    tm_links_bytes_field(&r, "key",
                         tm_bytes_of(c->key, tm_min_u64(c->key_len, TM_LINK_CONFLICT_KEY_MAX)));
    tm_links_bytes_field(
        &r, "field", tm_bytes_of(c->field, tm_min_u64(c->field_len, TM_LINK_CONFLICT_FIELD_MAX)));
    tell_side(&r, true, &c->winner);
    tell_side(&r, false, &c->loser);
    tm_links_end_row(&r);
}

/* The newest first. */
static unsigned tell_conflicts(const struct tm_links *l, struct tm_resp_writer *w)
{
    unsigned kept = tm_link_conflicts_kept(l->conflicts);
    for (unsigned i = 0; i < kept; i++)
        tell_conflict(l, tm_link_conflicts_at(l->conflicts, i), w);
    return kept;
}

/* VERIFY cluster [partition], VERIFIED, CONFLICTS, DEAD (links_dead.c): the words behind TIDEMILL
 * LINK. */
bool tm_links_order(void *host, const struct tm_bytes *words, unsigned count,
                    struct tm_resp_writer *w)
{
    struct tm_shard *s = host;
    struct tm_links *l = s->link_streams;
    size_t at = w->len;
    bool begins = count >= 2 && count <= 3 && tm_bytes_equal(words[0], tm_bytes_str("VERIFY"));
    bool verified = count == 1 && tm_bytes_equal(words[0], tm_bytes_str("VERIFIED"));
    bool conflicts = count == 1 && tm_bytes_equal(words[0], tm_bytes_str("CONFLICTS"));
    if (l != NULL && tm_links_dead_order(l, words, count, w))
        return true;
    if (!begins && !verified && !conflicts)
        return false;
    if (begins && !verify(l, words + 1, count - 1)) {
        tm_resp_error(w, "ERR there is no link to that cluster, or no such partition");
        return true;
    }
    unsigned rows = l == NULL ? 0 : conflicts ? tell_conflicts(l, w) : tm_links_verify_tell(l, w);
    tm_resp_insert_array(w, at, rows);
    return true;
}
