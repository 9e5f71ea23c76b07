/* Each synchronous link of a partition that leads here has a gate (actors/link_gate.h); replies
 * leave when all of them let them through.  What gates have to write down goes into the partition's
 * log by its own records. */
#include "actors/links_internal.h"

#include "storage/entity.h"

#include <stdlib.h>

#define HOLD_NS TM_MS(1000) /* less than the patience of who asked */
#define NEVER   UINT64_MAX

static const struct tm_bytes no_key = {0};

/* The name of the field that a link's note is kept in. */
struct name {
    size_t len;
    uint8_t text[1 + TM_LINK_NAME_MAX];
};

static struct name name_of(const char *target)
{
    struct name n = {.len = 1 + strlen(target), .text = {TM_SHADOW_GATE}};
    TM_ASSERT(n.len <= sizeof n.text);
    memcpy(n.text + 1, target, n.len - 1);
    return n;
}

static bool note_of(struct tm_bytes value, struct tm_link_gate_note *note)
{
    if (value.len != sizeof *note)
        return false;
    memcpy(note, value.data, sizeof *note);
    return true;
}

/* What the partition has written down of that target. */
static bool read_note(const struct tm_store *s, const char *target, struct tm_link_gate_note *note)
{
    struct name n = name_of(target);
    struct tm_bytes value;
    return tm_store_shadow_field(s, no_key, tm_bytes_of(n.text, n.len), &value, NULL) &&
           note_of(value, note);
}

/* Whether the partition has waited for some link by a version that is not known here yet. */
static bool knows_later(const struct tm_store *s, uint64_t version)
{
    const struct tm_entity *e = tm_store_shadow(s, no_key);
    struct tm_link_gate_note note;
    struct tm_field_iter fields;
    struct tm_bytes name, value;
    if (e == NULL)
        return false;
    tm_field_first(&fields, e);
    while (tm_field_next(&fields, &name, NULL))
        if (name.len > 0 && name.data[0] == TM_SHADOW_GATE &&
            tm_store_shadow_field(s, no_key, name, &value, NULL) && note_of(value, &note) &&
            note.joined > version)
            return true;
    return false;
}

/* Whether the directory has synchronous links though its lines could not be taken: this build does
 * not know what to wait for. */
static bool sync_but_refused(const struct tm_shard *s)
{
    return s->links->refused[0] != '\0' &&
           strstr(s->directory->facts, "/replicationMode=sync\n") != NULL;
}

bool tm_links_gated(void *host, struct tm_partition *p)
{
    const struct tm_shard *s = host;
    const struct tm_link_plan *plan = s->links;
    if (p->id >= s->directory->partitions)
        return false;
    for (unsigned i = 0; i < plan->out_count; i++)
        if (plan->out[i].options.mode == TM_LINK_SYNC)
            return true;
    return sync_but_refused(s) || knows_later(p->store, plan->version);
}

static struct tm_link_gate_rules rules_of(const struct tm_links_out *o)
{
    const struct tm_link_options *options = &o->plan->out[o->link].options;
    return (struct tm_link_gate_rules){.timeout_ns = TM_MS(options->sync_timeout_ms),
                                       .unavailable =
                                           (enum tm_link_unavailable)options->on_unavailable,
                                       .joins = o->joins};
}

static void log_state(const struct tm_links_slot *slot, const struct tm_links_gate *g,
                      enum tm_log_level level, const char *event, const char *text)
{
    tm_ctx_log(slot->links->ctx, level, event, "target=%s partition=%u text=\"%s\"", g->out->target,
               slot->p->id, text);
}

static void make_gate(struct tm_links_slot *slot, const struct tm_links_out *o)
{
    struct tm_links_gate *g = &slot->gate[slot->gates++];
    struct tm_link_gate_note note;
    struct tm_link_gate_rules rules = rules_of(o);
    bool has = read_note(slot->p->store, o->target, &note);
    g->out = o;
    tm_link_gate_init(&g->gate, &rules, has ? &note : NULL, slot->p->replica.last.index,
                      tm_ctx_now(slot->links->ctx));
    if (g->gate.state != TM_LINK_GATE_SYNC)
        log_state(slot, g, TM_LOG_INFO, "link_catches_up",
                  "writes go on without the target until it has caught up");
}

bool tm_links_make_gates(struct tm_links_slot *slot)
{
    struct tm_links *l = slot->links;
    unsigned n = 0;
    for (unsigned i = 0; i < TM_LINKS_MAX; i++)
        n += l->out[i].used && l->out[i].sync;
    slot->behind =
        sync_but_refused(l->shard) || knows_later(slot->p->store, l->shard->links->version);
    slot->gate = n == 0 ? NULL : malloc(n * sizeof *slot->gate);
    if (n > 0 && slot->gate == NULL)
        return false;
    for (unsigned i = 0; i < TM_LINKS_MAX; i++)
        if (l->out[i].used && l->out[i].sync)
            make_gate(slot, &l->out[i]);
    if (n == 0)
        tm_partition_open_gate(slot->p, slot->behind ? 0 : NEVER);
    return true;
}

/* ---- turns ---- */

/* Up to where the target has all, over all streams to it; whether all of them ship. */
static uint64_t passed(const struct tm_links_slot *slot, const struct tm_links_out *o, bool *flows)
{
    bool received = o->plan->out[o->link].options.ack_level == TM_LINK_ACK_RECEIVED;
    uint64_t least = NEVER;
    *flows = true;
    for (unsigned k = 0; k < slot->count; k++) {
        const struct tm_link_out *out = &slot->out[k];
        if (out->link != &o->outlet)
            continue;
        least = tm_min_u64(least, tm_link_out_passed(out, received));
        *flows = *flows && out->state == TM_LINK_OUT_STREAM;
    }
    *flows = *flows && least != NEVER;
    return least == NEVER ? 0 : least;
}

struct words {
    const char *target;
    struct tm_link_gate_note note;
};

static void put_note(struct tm_partition *p, void *arg)
{
    const struct words *w = arg;
    struct name n = name_of(w->target);
    tm_store_set_shadow(p->store, no_key, tm_bytes_of(n.text, n.len),
                        tm_bytes_of(&w->note, sizeof w->note));
}

/* Writes it down; if that cannot be now, the gate asks again. */
static void write_word(struct tm_links_slot *slot, struct tm_links_gate *g,
                       enum tm_link_gate_word word)
{
    struct tm_links *l = slot->links;
    struct words w = {.target = g->out->target,
                      .note = tm_link_gate_say(&g->gate, word, tm_ctx_wall_ms(l->ctx))};
    uint64_t index, term;
    if (tm_partition_write(slot->p, put_note, &w, &index, &term) != TM_OK || index == 0)
        return;
    tm_link_gate_written(&g->gate, &w.note, index, tm_ctx_now(l->ctx));
}

static void note_change(const struct tm_links_slot *slot, const struct tm_links_gate *g,
                        enum tm_link_gate_state before)
{
    struct tm_counters *c = slot->links->ctx->counters;
    if (before == TM_LINK_GATE_DEGRADING && g->gate.state == TM_LINK_GATE_DEGRADED) {
        tm_counter_add(c, TM_COUNTER_link_degraded, 1);
        log_state(slot, g, TM_LOG_WARN, "link_degraded", "writes go on without the target");
    } else if (before == TM_LINK_GATE_RESTORING && g->gate.state == TM_LINK_GATE_SYNC) {
        tm_counter_add(c, TM_COUNTER_link_restored, 1);
        log_state(slot, g, TM_LOG_INFO, "link_restored",
                  "the target has caught up: writes wait for it");
    }
}

uint64_t tm_links_gates_deadline(const struct tm_links_slot *slot)
{
    uint64_t next = NEVER;
    for (unsigned i = 0; i < slot->gates; i++)
        next = tm_min_u64(next, tm_link_gate_deadline(&slot->gate[i].gate));
    return next;
}

uint64_t tm_links_turn_gates(struct tm_links_slot *slot)
{
    struct tm_partition *p = slot->p;
    uint64_t now = tm_ctx_now(slot->links->ctx), open = NEVER, over = 0;
    for (unsigned i = 0; i < slot->gates; i++) {
        struct tm_links_gate *g = &slot->gate[i];
        enum tm_link_gate_state before = g->gate.state;
        bool flows;
        uint64_t has = passed(slot, g->out, &flows);
        g->gate.rules = rules_of(g->out);
        enum tm_link_gate_word word =
            tm_link_gate_turn(&g->gate, now, p->replica.commit, has, flows);
        if (word != TM_LINK_GATE_NOTHING)
            write_word(slot, g, word);
        note_change(slot, g, before);
        open = tm_min_u64(open, tm_link_gate_open(&g->gate));
        over = tm_max_u64(over, g->gate.over);
    }
    tm_partition_open_gate(p, slot->behind ? 0 : open);
    if (over > p->gate_shut)
        tm_partition_shut_gate(p, over);
    return tm_links_gates_deadline(slot);
}

void tm_links_hold_gates(struct tm_links_slot *slot)
{
    uint64_t now = tm_ctx_now(slot->links->ctx), oldest = NEVER;
    for (unsigned i = 0; i < slot->gates; i++)
        oldest = tm_min_u64(oldest, tm_link_gate_waiting(&slot->gate[i].gate));
    if (oldest == NEVER || now < oldest + HOLD_NS || now < slot->held_at + HOLD_NS)
        return;
    slot->held_at = now;
    tm_partition_hold_gate(slot->p);
}
