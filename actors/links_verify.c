/* Which of the worker's streams are compared with what their targets have (link_verify.h).
 *
 * By an operator's order (TIDEMILL LINK VERIFY): all streams to one target, as fast as the target
 * answers; what is found is kept to be told (TIDEMILL LINK VERIFIED).  Otherwise all the time: one
 * stream after the other, a thousand keys a second; what is found is counted and logged. */
#include "actors/link_verify.h"
#include "actors/links_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define NAMED_MAX      128 /* keys that are told by name */
#define UNVERIFIED_MAX 64
#define KEY_MAX        128            /* bytes kept of one */
#define PACE_NS        TM_SECONDS(1)  /* all the time: between a thousand keys, and streams */
#define PATIENCE_NS    TM_SECONDS(10) /* for a stream that was ordered and does not stream */
#define SAY_NS         TM_SECONDS(60)

struct pair {
    uint32_t source, target;
};

struct named {
    struct pair of;
    enum tm_link_difference_kind kind;
    uint64_t order;
    uint32_t len;
    uint8_t key[KEY_MAX];
};

struct tm_links_verify {
    struct tm_links *links;
    struct tm_link_verify v;
    uint64_t next_at;
    /* Of an order: the streams to be compared, and how far that is. */
    bool ordered;
    char target[TM_LINK_NAME_MAX + 1];
    struct pair *pairs;
    unsigned count, at;
    uint64_t patience; /* until then the present one may begin to stream */
    unsigned done;
    uint64_t keys, more, found[TM_LINK_DIFFERENCE_UNSETTLED + 1];
    struct named named[NAMED_MAX];
    unsigned named_count;
    struct pair unverified[UNVERIFIED_MAX];
    unsigned unverified_count;
    /* All the time. */
    uint32_t slot;
    unsigned stream;
    uint64_t say_at;
};

/* ---- what is found ---- */

static void keep_name(struct tm_links_verify *f, enum tm_link_difference_kind kind, uint64_t order,
                      struct tm_bytes key)
{
    if (f->named_count == NAMED_MAX)
        return;
    struct named *n = &f->named[f->named_count++];
    *n = (struct named){.of = {f->v.y.out->source, f->v.y.out->target},
                        .kind = kind,
                        .order = order,
                        .len = (uint32_t)tm_min_u64(key.len, KEY_MAX)};
    if (n->len > 0)
        memcpy(n->key, key.data, n->len);
}

static void say(struct tm_links_verify *f, struct tm_bytes key)
{
    const struct tm_link_out *out = f->v.y.out;
    const struct tm_ctx *ctx = f->links->ctx;
    char text[65];
    size_t n = tm_min_u64(key.len, sizeof text - 1);
    if (tm_ctx_now(ctx) < f->say_at)
        return;
    f->say_at = tm_ctx_now(ctx) + SAY_NS;
    for (size_t i = 0; i < n; i++)
        text[i] = (char)(key.data[i] > ' ' && key.data[i] <= '~' && key.data[i] != '"' ? key.data[i]
                                                                                       : '?');
    text[n] = '\0';
    tm_ctx_log(
        ctx, TM_LOG_WARN, "link_differs",
        "target=%s source_partition=%u target_partition=%u key=\"%s\" action=\"tidemill link "
        "verify names what differs, tidemill link resync sends it\"",
        out->link->target, out->source, out->target, text);
}

static void on_found(void *host, const struct tm_link_verify *v, enum tm_link_difference_kind kind,
                     uint64_t order, struct tm_bytes key)
{
    struct tm_links_verify *f = host;
    bool differs = kind == TM_LINK_DIFFERENCE_DIFFERS || kind == TM_LINK_DIFFERENCE_ONLY_SOURCE;
    (void)v;
    if (differs)
        tm_counter_add(f->links->ctx->counters, TM_COUNTER_link_check_differ, 1);
    if (f->ordered) {
        f->found[kind]++;
        keep_name(f, kind, order, key);
    } else if (differs) {
        say(f, key);
    }
}

/* ---- life ---- */

struct tm_links_verify *tm_links_verify_new(struct tm_links *l)
{
    struct tm_links_verify *f = calloc(1, sizeof *f);
    if (f == NULL)
        return NULL;
    f->links = l;
    f->v.found = on_found;
    f->v.host = f;
    return f;
}

void tm_links_verify_free(struct tm_links_verify *f)
{
    if (f != NULL)
        free(f->pairs);
    free(f);
}

void tm_links_verify_forget(struct tm_links_verify *f, const struct tm_links_slot *slot)
{
    for (unsigned k = 0; k < slot->count; k++)
        if (f->v.y.out == &slot->out[k])
            tm_link_verify_end(&f->v);
}

/* ---- orders ---- */

static struct tm_links_out *link_to(struct tm_links *l, const char *target)
{
    for (unsigned i = 0; i < TM_LINKS_MAX; i++)
        if (l->out[i].used && strcmp(l->out[i].target, target) == 0)
            return &l->out[i];
    return NULL;
}

/* The streams of that link, of one source partition or all; returns their number. */
static unsigned each_stream(struct tm_links *l, const struct tm_links_out *o, uint32_t source,
                            struct pair *into)
{
    unsigned n = 0;
    for (uint32_t i = 0; i < l->slots; i++)
        for (unsigned k = 0; k < l->slot[i].count; k++) {
            const struct tm_link_out *out = &l->slot[i].out[k];
            if (out->link != &o->outlet || (source != TM_LINKS_ALL && source != out->source))
                continue;
            if (into != NULL)
                into[n] = (struct pair){out->source, out->target};
            n++;
        }
    return n;
}

bool tm_links_verify_order(struct tm_links *l, const char *target, uint32_t source)
{
    struct tm_links_verify *f = l->verify;
    const struct tm_links_out *o = link_to(l, target);
    unsigned count = o != NULL ? each_stream(l, o, source, NULL) : 0;
    struct pair *pairs = calloc(count + 1, sizeof *pairs);
    if (o == NULL || pairs == NULL) {
        free(pairs);
        return false;
    }
    each_stream(l, o, source, pairs);
    tm_link_verify_end(&f->v);
    free(f->pairs);
    f->pairs = pairs;
    f->count = count;
    snprintf(f->target, sizeof f->target, "%s", target);
    f->at = f->done = f->named_count = f->unverified_count = 0;
    f->keys = f->more = f->patience = f->next_at = 0;
    memset(f->found, 0, sizeof f->found);
    f->ordered = count > 0;
    return true;
}

/* The present one is through, or cannot be compared. */
static void go_on(struct tm_links_verify *f, bool compared)
{
    f->done += compared;
    if (!compared && f->unverified_count < UNVERIFIED_MAX)
        f->unverified[f->unverified_count++] = f->pairs[f->at];
    f->at++;
    f->patience = compared ? 0 : f->patience; /* one wait for all that do not stream */
    f->ordered = f->at < f->count;
}

static struct tm_link_out *find_stream(struct tm_links *l, const char *target, struct pair p)
{
    struct tm_links_slot *slot = tm_links_slot_of(l, p.source);
    const struct tm_links_out *o = link_to(l, target);
    for (unsigned k = 0; slot != NULL && o != NULL && k < slot->count; k++)
        if (slot->out[k].link == &o->outlet && slot->out[k].target == p.target)
            return &slot->out[k];
    return NULL;
}

static void begin(struct tm_links_verify *f, struct tm_link_out *out, uint64_t pace_ns)
{
    const struct tm_links_out *o = TM_CONTAINER_OF(out->link, struct tm_links_out, outlet);
    const struct tm_link_identity *id =
        o->site >= 0 ? tm_link_way_identity(f->links->way, (unsigned)o->site) : NULL;
    tm_link_verify_begin(&f->v, out, id != NULL ? id->incarnation : 0, pace_ns);
}

/* The next one of an order begins, or is waited for. */
static void begin_ordered(struct tm_links_verify *f, uint64_t now)
{
    struct tm_link_out *out =
        f->at < f->count ? find_stream(f->links, f->target, f->pairs[f->at]) : NULL;
    if (f->patience == 0)
        f->patience = now + PATIENCE_NS;
    if (out != NULL && out->state == TM_LINK_OUT_STREAM)
        begin(f, out, 0);
    else if (out == NULL || now >= f->patience)
        go_on(f, false);
    f->next_at = f->v.y.out != NULL ? now : now + TM_MS(20);
}

/* ---- all the time ---- */

static void begin_next(struct tm_links_verify *f, uint64_t now)
{
    struct tm_links *l = f->links;
    f->next_at = now + PACE_NS;
    for (uint32_t tried = 0; tried <= l->slots; tried++, f->slot++, f->stream = 0) {
        const struct tm_links_slot *slot = &l->slot[f->slot %= l->slots];
        for (; f->stream < slot->count; f->stream++)
            if (slot->out[f->stream].state == TM_LINK_OUT_STREAM &&
                !slot->out[f->stream].link->paused) {
                begin(f, &slot->out[f->stream++], PACE_NS);
                return;
            }
    }
}

/* ---- turns ---- */

void tm_links_verify_turn(struct tm_links *l)
{
    struct tm_links_verify *f = l->verify;
    uint64_t now = tm_ctx_now(l->ctx);
    if (now < f->next_at || l->slots == 0)
        return;
    if (f->v.y.out == NULL) {
        if (f->ordered)
            begin_ordered(f, now);
        else
            begin_next(f, now);
        return;
    }
    enum tm_err e = tm_link_verify_turn(&f->v, &f->next_at);
    if (e == TM_ERR_AGAIN)
        return;
    if (f->ordered) {
        f->keys += e == TM_OK ? f->v.keys : 0;
        f->more += e == TM_OK ? f->v.more : 0;
        if (e == TM_OK || now >= f->patience)
            go_on(f, e == TM_OK);
    }
    tm_link_verify_end(&f->v);
    f->next_at = f->ordered ? now : now + PACE_NS;
}

uint64_t tm_links_verify_deadline(const struct tm_links_verify *f)
{
    return f->next_at;
}

bool tm_links_verify_message(struct tm_links *l, const struct tm_link_out *out,
                             struct tm_bytes body)
{
    struct tm_link_stream id;
    if (l->verify->v.y.out != out || body.len < sizeof id)
        return false;
    memcpy(&id, body.data, sizeof id);
    if (id.session != out->session || !tm_link_verify_message(&l->verify->v, body))
        return false;
    l->verify->next_at = 0;
    return true;
}

/* ---- telling ---- */

static void tell_named(const struct named *n, struct tm_resp_writer *w)
{
    struct tm_links_row r = tm_links_begin_row(w, "difference");
    char order[17];
    snprintf(order, sizeof order, "%012" PRIx64, n->order);
    tm_links_text_field(&r, "what", tm_link_difference_name(n->kind));
    tm_links_number_field(&r, "source", n->of.source);
    tm_links_number_field(&r, "target", n->of.target);
    tm_links_text_field(&r, "order", order);
    tm_links_bytes_field(&r, "key", tm_bytes_of(n->key, n->len));
    tm_links_end_row(&r);
}

unsigned tm_links_verify_tell(const struct tm_links *l, struct tm_resp_writer *w)
{
    const struct tm_links_verify *f = l->verify;
    struct tm_links_row r = tm_links_begin_row(w, "verified");
    tm_links_number_field(&r, "worker", l->shard->self.worker);
    tm_links_text_field(&r, "peer", f->target);
    tm_links_number_field(&r, "running", f->ordered);
    tm_links_number_field(&r, "streams", f->count);
    tm_links_number_field(&r, "done", f->done);
    tm_links_number_field(&r, "keys", f->keys);
    tm_links_number_field(&r, "more", f->more);
    tm_links_number_field(&r, "differs", f->found[TM_LINK_DIFFERENCE_DIFFERS]);
    tm_links_number_field(&r, "only_source", f->found[TM_LINK_DIFFERENCE_ONLY_SOURCE]);
    tm_links_number_field(&r, "only_target", f->found[TM_LINK_DIFFERENCE_ONLY_TARGET]);
    tm_links_number_field(&r, "others", f->found[TM_LINK_DIFFERENCE_OTHERS]);
    tm_links_number_field(&r, "unsettled", f->found[TM_LINK_DIFFERENCE_UNSETTLED]);
    tm_links_end_row(&r);
    for (unsigned i = 0; i < f->named_count; i++)
        tell_named(&f->named[i], w);
    for (unsigned i = 0; i < f->unverified_count; i++) {
        r = tm_links_begin_row(w, "unverified");
        tm_links_number_field(&r, "source", f->unverified[i].source);
        tm_links_number_field(&r, "target", f->unverified[i].target);
        tm_links_end_row(&r);
    }
    return 1 + f->named_count + f->unverified_count;
}
