/* The happy path: STAGE puts a batch aside, in one record with what the batches before it bring, as
 * far as the source tells that they are committed; so that one flush at the target serves for both.
 * What nothing follows is applied by a COMMIT of its own.
 *
 * What is staged is read from the store when a stream is first spoken to, and kept in mind from
 * then on.  It has to begin where the stream stands and to hang together; what does not is litter
 * of an older story (a stream that was rewound, a record too large to be taken with the rest) and
 * goes with the next record. */
#include "actors/link_in_internal.h"

#include "storage/entity.h"
#include "storage/store_link.h"

#include <inttypes.h>
#include <stdlib.h>

#define LITTER 64 /* fields that one record clears away */

static const struct tm_bytes NO_KEY = {NULL, 0};

/* ---- what the partition holds ---- */

/* Calls see for each staged batch in the store, in no order, until it returns false. */
static void each(const struct tm_store *store,
                 bool (*see)(void *host, const struct tm_link_staged_name *name), void *host)
{
    const struct tm_entity *e = tm_store_shadow(store, NO_KEY);
    struct tm_link_staged_name staged;
    struct tm_field_iter fields;
    struct tm_bytes name;
    if (e == NULL)
        return;
    tm_field_first(&fields, e);
    while (tm_field_next(&fields, &name, NULL))
        if (tm_link_staged_name_read(name, &staged) && !see(host, &staged))
            return;
}

static struct tm_link_staged_name name_of(const struct tm_link_from *from, uint32_t source,
                                          uint64_t index)
{
    struct tm_link_staged_name name = {.source = source, .index = index};
    memcpy(name.uuid, from->uuid, sizeof name.uuid);
    return name;
}

static bool is_of(const struct tm_link_staged_name *name, const struct tm_link_from *from,
                  uint32_t source)
{
    return name->source == source && memcmp(name->uuid, from->uuid, sizeof name->uuid) == 0;
}

static bool read_field(const struct tm_store *store, const struct tm_link_staged_name *name,
                       struct tm_bytes *value, struct tm_op_version *stamp)
{
    uint8_t field[TM_LINK_STAGED_NAME];
    tm_link_staged_name(name, field);
    return tm_store_shadow_field(store, NO_KEY, tm_bytes_of(field, sizeof field), value, stamp);
}

static void delete_field(struct tm_store *store, const struct tm_link_staged_name *name)
{
    uint8_t field[TM_LINK_STAGED_NAME];
    tm_link_staged_name(name, field);
    tm_store_del_shadow(store, NO_KEY, tm_bytes_of(field, sizeof field));
}

struct look {
    const struct tm_store *store;
    const struct tm_link_from *from;
    struct tm_link_in_stream *s;
    struct tm_link_in_staged *found;
    uint64_t after;
};

/* Puts a batch into its place, unless it is of another time. */
static bool look_at(void *host, const struct tm_link_staged_name *name)
{
    struct look *l = host;
    struct tm_link_in_staged *f = l->found;
    struct tm_link_batch batch;
    struct tm_bytes value, packed;
    struct tm_op_version stamp;
    if (!is_of(name, l->from, l->s->source))
        return true;
    if (f->count == TM_LINK_MARKS || name->index <= l->after ||
        !read_field(l->store, name, &value, &stamp) ||
        !tm_link_staged_decode(value, &batch, &packed) || stamp.hlc <= l->from->rewind ||
        batch.stream.incarnation != l->s->id.incarnation || batch.to.index != name->index) {
        f->litter = true;
        return true;
    }
    unsigned at = f->count++;
    for (; at > 0 && f->at[at - 1].to.index > batch.to.index; at--)
        f->at[at] = f->at[at - 1];
    f->at[at].from = batch.from;
    f->at[at].to = (struct tm_link_mark){batch.to.index, batch.to.term, batch.to.hash};
    f->at[at].record = l->s->written;
    return true;
}

static bool is_mark(const struct tm_link_mark *a, const struct tm_link_mark *b)
{
    return a->index == b->index && a->term == b->term && a->hash == b->hash;
}

/* Those that hang together from there on. */
static void keep_chain(struct tm_link_in_staged *f, const struct tm_link_position *at)
{
    struct tm_link_mark end = {at->index, at->term, at->hash};
    unsigned n = 0;
    while (n < f->count && is_mark(&f->at[n].from, &end))
        end = f->at[n++].to;
    f->litter |= n < f->count;
    f->count = n;
}

/* Whether any staged batch is there, of anybody. */
static bool see_one(void *host, const struct tm_link_staged_name *name)
{
    (void)name;
    *(bool *)host = true;
    return false;
}

static bool has_room(struct tm_link_in_stream *s)
{
    if (s->staged == NULL)
        s->staged = calloc(1, sizeof *s->staged);
    return s->staged != NULL;
}

bool tm_link_in_look(struct tm_link_in *in, const struct tm_link_from *from,
                     struct tm_link_in_stream *s, const struct tm_link_position *at)
{
    struct look l = {
        .store = in->c.ops->store(in->c.host, s->target), .from = from, .s = s, .after = at->index};
    bool any = false;
    if (s->looked && (s->staged == NULL || s->staged->count == 0 ||
                      (tm_link_in_follows(at, &s->staged->at[0].from) &&
                       s->staged->incarnation == s->id.incarnation)))
        return true;
    each(l.store, see_one, &any);
    if (any && !has_room(s))
        return false;
    s->looked = true;
    if (s->staged == NULL)
        return true;
    l.found = s->staged;
    *l.found = (struct tm_link_in_staged){.incarnation = s->id.incarnation};
    each(l.store, look_at, &l);
    keep_chain(l.found, at);
    return true;
}

void tm_link_in_forget_staged(struct tm_link_in_stream *s)
{
    s->looked = false;
}

/* ---- writing ---- */

/* What one record does. */
struct work {
    struct tm_link_in *in;
    const struct tm_link_from *from;
    struct tm_link_in_stream *s;
    unsigned apply;                    /* so many of what is staged, in order */
    bool only_clear;                   /* they were applied before */
    bool promoted;                     /* by this cluster's own decision */
    const struct tm_link_batch *batch; /* to be staged; NULL: none */
    struct tm_bytes packed;
    uint64_t won, lost;
};

/* The i-th staged batch; *raw lives until the next one is loaded. */
static bool load(const struct work *w, const struct tm_store *store, unsigned i,
                 struct tm_link_batch *batch, struct tm_bytes *raw)
{
    struct tm_link_in *in = w->in;
    struct tm_link_staged_name name = name_of(w->from, w->s->source, w->s->staged->at[i].to.index);
    struct tm_bytes value, packed;
    if (!read_field(store, &name, &value, NULL) || value.len > sizeof in->stage)
        return false;
    memcpy(in->stage, value.data, value.len); /* what is merged must not lie in the store */
    return tm_link_staged_decode(tm_bytes_of(in->stage, value.len), batch, &packed) &&
           tm_link_unpack(batch, packed, in->c.raw, raw) == TM_OK;
}

static struct tm_link_in_apply apply_of(const struct work *w, const struct tm_store *store,
                                        const struct tm_link_batch *batch, struct tm_bytes raw)
{
    return (struct tm_link_in_apply){.in = w->in,
                                     .from = w->from,
                                     .batch = batch,
                                     .raw = raw,
                                     .seen = tm_link_in_see(raw),
                                     .ends = true,
                                     .target = w->s->target,
                                     .past = tm_max_u64(tm_link_in_past(store, w->s, &batch->from),
                                                        tm_link_in_bar(store, w->from)),
                                     .promoted = w->promoted};
}

struct litter {
    const struct work *w;
    struct tm_link_staged_name name[LITTER];
    unsigned count;
};

static bool is_kept(const struct tm_link_in_staged *f, uint64_t index)
{
    for (unsigned i = 0; i < f->count; i++)
        if (f->at[i].to.index == index)
            return true;
    return false;
}

static bool gather(void *host, const struct tm_link_staged_name *name)
{
    struct litter *l = host;
    if (is_of(name, l->w->from, l->w->s->source) && !is_kept(l->w->s->staged, name->index))
        l->name[l->count++] = *name;
    return l->count < LITTER;
}

static void clear_litter(struct tm_store *store, const struct work *w)
{
    struct litter l = {.w = w};
    each(store, gather, &l);
    for (unsigned i = 0; i < l.count; i++)
        delete_field(store, &l.name[i]);
}

static void apply_one(struct tm_store *store, struct work *w, unsigned i)
{
    struct tm_link_staged_name name = name_of(w->from, w->s->source, w->s->staged->at[i].to.index);
    struct tm_link_batch batch;
    struct tm_bytes raw;
    if (!w->only_clear && load(w, store, i, &batch, &raw)) {
        struct tm_link_in_apply a = apply_of(w, store, &batch, raw);
        a.count = a.seen.changes;
        tm_link_in_fill(store, &a);
        w->won += a.won;
        w->lost += a.lost;
    }
    tm_store_stamp(store, 0, 0);
    delete_field(store, &name);
}

static void fill(struct tm_store *store, void *arg)
{
    struct work *w = arg;
    uint8_t field[TM_LINK_STAGED_NAME];
    w->won = w->lost = 0;
    tm_store_stamp(store, 0, 0);
    if (w->s->staged->litter)
        clear_litter(store, w);
    for (unsigned i = 0; i < w->apply; i++)
        apply_one(store, w, i);
    if (w->batch == NULL)
        return;
    struct tm_link_staged_name name = name_of(w->from, w->s->source, w->batch->to.index);
    tm_link_staged_name(&name, field);
    memcpy(w->in->stage, w->batch, sizeof *w->batch);
    if (w->packed.len > 0)
        memcpy(w->in->stage + sizeof *w->batch, w->packed.data, w->packed.len);
    tm_store_set_shadow(store, NO_KEY, tm_bytes_of(field, sizeof field),
                        tm_bytes_of(w->in->stage, sizeof *w->batch + w->packed.len));
}

/* The record is written: what is known follows. */
static void note(const struct work *w, uint64_t record)
{
    struct tm_link_in_staged *f = w->s->staged;
    struct tm_counters *c = w->in->c.ctx->counters;
    f->count -= w->apply;
    memmove(&f->at[0], &f->at[w->apply], f->count * sizeof f->at[0]);
    if (w->batch != NULL) {
        const struct tm_link_position *to = &w->batch->to;
        f->at[f->count].from = w->batch->from;
        f->at[f->count].to = (struct tm_link_mark){to->index, to->term, to->hash};
        f->at[f->count++].record = record;
        tm_counter_add(c, TM_COUNTER_link_batches_staged, 1);
    }
    f->litter = false;
    f->incarnation = w->s->id.incarnation;
    w->s->written = record;
    tm_counter_add(c, TM_COUNTER_link_batches_taken, w->apply);
    tm_counter_add(c, TM_COUNTER_link_changes_taken, w->won);
    tm_counter_add(c, TM_COUNTER_link_changes_lost, w->lost);
}

static enum tm_err write_once(struct work *w, uint64_t hlc, uint64_t *record)
{
    struct tm_link_in *in = w->in;
    enum tm_err e = in->c.ops->write(in->c.host, w->s->target, tm_max_u64(hlc, w->from->rewind),
                                     fill, w, record);
    if (e == TM_OK)
        note(w, *record);
    return e;
}

/* The first of what is staged alone is too much for a record: its changes go in parts, and only
 * then it goes itself; what is applied twice does no harm. */
static enum tm_err write_large(struct work *w, uint64_t hlc, uint64_t *record)
{
    struct tm_link_in *in = w->in;
    struct tm_store *store = in->c.ops->store(in->c.host, w->s->target);
    struct tm_link_batch batch;
    struct tm_bytes raw;
    if (!load(w, store, 0, &batch, &raw))
        return TM_ERR_CORRUPT;
    struct tm_link_in_apply a = apply_of(w, store, &batch, raw);
    enum tm_err e = tm_link_in_write(in, w->s, &a, record);
    if (e != TM_OK)
        return e;
    w->only_clear = true;
    e = write_once(w, hlc, record);
    w->only_clear = false;
    return e;
}

/* As little as can be in a record. */
static enum tm_err write_in_steps(struct work *all, uint64_t hlc, uint64_t *record)
{
    struct work w = *all;
    enum tm_err e = TM_OK;
    w.batch = NULL;
    for (unsigned i = 0; e == TM_OK && i < all->apply; i++) {
        w.apply = 1;
        e = write_once(&w, hlc, record);
        if (e == TM_ERR_TOOBIG)
            e = write_large(&w, hlc, record);
    }
    if (e != TM_OK || all->batch == NULL)
        return e;
    w.apply = 0;
    w.batch = all->batch;
    return write_once(&w, hlc, record);
}

/* Writes it, in one record if that can be. */
static enum tm_err write(struct work *w, uint64_t hlc, uint64_t *record)
{
    *record = 0;
    enum tm_err e = write_once(w, hlc, record);
    return e == TM_ERR_TOOBIG ? write_in_steps(w, hlc, record) : e;
}

/* ---- messages ---- */

/* How many of what is staged are committed by that notice.  False: it matches nothing. */
static bool find(struct tm_link_in *in, const struct tm_link_in_stream *s,
                 const struct tm_link_position *at, const struct tm_link_mark *through, unsigned *n)
{
    *n = 0;
    if (through->index <= at->index)
        return true;
    for (unsigned i = 0; s->staged != NULL && i < s->staged->count; i++)
        if (is_mark(&s->staged->at[i].to, through)) {
            *n = i + 1;
            return true;
        }
    tm_counter_add(in->c.ctx->counters, TM_COUNTER_link_commit_unmatched, 1);
    return false;
}

/* Whether the first n may (still) be here; *hlc: the newest stamp among them. */
static bool judge(const struct work *w, uint64_t *hlc)
{
    const struct tm_store *store = w->in->c.ops->store(w->in->c.host, w->s->target);
    struct tm_link_in_seen seen;
    struct tm_link_batch batch;
    struct tm_bytes raw;
    *hlc = 0;
    for (unsigned i = 0; i < w->apply; i++) {
        if (!load(w, store, i, &batch, &raw)) {
            if (!w->promoted)
                tm_link_in_refuse(w->in, w->s, TM_LINK_REFUSAL_MALFORMED, "what is staged");
            return false;
        }
        if (w->promoted)
            seen = tm_link_in_see(raw);
        else if (!tm_link_in_may_enter(w->in, w->from, w->s, raw, &seen))
            return false;
        *hlc = tm_max_u64(*hlc, seen.newest);
    }
    return true;
}

/* Carries it out, and lets it be acknowledged; *at moves.  False: it was refused. */
static bool carry_out(struct work *w, struct tm_link_position *at)
{
    uint64_t hlc, record, before = at->index;
    if (!judge(w, &hlc))
        return false;
    enum tm_err e = write(w, hlc, &record);
    if (e != TM_OK) {
        tm_link_in_forget_staged(w->s); /* some of it may be done */
        tm_link_in_refuse_err(w->in, w->s, e);
        return false;
    }
    *at = tm_link_in_position(w->in, w->from, w->s);
    tm_link_in_wait_for_commit(w->in, w->s, at, before,
                               w->batch != NULL ? w->batch->to.hlc : at->hlc, record);
    if (w->from->received && w->batch != NULL)
        tm_link_in_acknowledge(w->in, w->s, NULL);
    return true;
}

/* Where what comes next begins. */
static struct tm_link_mark end_of(const struct tm_link_in_stream *s,
                                  const struct tm_link_position *at)
{
    const struct tm_link_in_staged *f = s->staged;
    return f != NULL && f->count > 0 ? f->at[f->count - 1].to
                                     : (struct tm_link_mark){at->index, at->term, at->hash};
}

/* What a batch brings is judged before it is staged: then its client may get the OK. */
static bool may_be_staged(struct tm_link_in *in, const struct tm_link_from *from,
                          struct tm_link_in_stream *s, const struct tm_link_batch *batch,
                          struct tm_bytes packed)
{
    struct tm_link_in_seen seen;
    struct tm_bytes raw, rest;
    struct tm_change change;
    uint16_t first, last;
    bool reads = tm_link_unpack(batch, packed, in->c.raw, &raw) == TM_OK;
    rest = raw;
    if (!reads || (tm_change_next(&rest, &change) && tm_link_flush_slots(&change, &first, &last))) {
        tm_link_in_refuse(in, s, TM_LINK_REFUSAL_MALFORMED, "index=%" PRIu64, batch->to.index);
        return false;
    }
    if (in->c.ops->out_of_memory(in->c.host) && raw.len > 0) {
        tm_link_in_refuse(in, s, TM_LINK_REFUSAL_MEMORY, "%s", from->source);
        return false;
    }
    return tm_link_in_may_enter(in, from, s, raw, &seen) &&
           tm_link_in_clock_is_well(in, from, s, seen.newest);
}

void tm_link_in_on_stage(struct tm_link_in *in, const struct tm_link_from *from,
                         struct tm_link_in_stream *s, const struct tm_link_position *stands,
                         const struct tm_link_staging *m, struct tm_bytes packed)
{
    struct tm_link_position at = *stands;
    struct tm_link_mark end = end_of(s, &at);
    struct work w = {.in = in, .from = from, .s = s, .batch = &m->batch, .packed = packed};
    if (!is_mark(&end, &m->batch.from) || !find(in, s, &at, &m->through, &w.apply)) {
        tm_counter_add(in->c.ctx->counters,
                       m->batch.to.index <= end.index ? TM_COUNTER_link_batches_repeated
                                                      : TM_COUNTER_link_batches_gap,
                       1);
        tm_link_in_tell_position(in, from, s, &at);
        return;
    }
    if (!has_room(s) || s->staged->count - w.apply == TM_LINK_MARKS) {
        tm_link_in_refuse(in, s, TM_LINK_REFUSAL_BUSY, "too much is staged");
        return;
    }
    if (may_be_staged(in, from, s, &m->batch, packed))
        (void)carry_out(&w, &at);
}

void tm_link_in_on_commit(struct tm_link_in *in, const struct tm_link_from *from,
                          struct tm_link_in_stream *s, const struct tm_link_position *stands,
                          const struct tm_link_commit *m)
{
    struct tm_link_position at = *stands;
    struct work w = {.in = in, .from = from, .s = s};
    if (!find(in, s, &at, &m->through, &w.apply))
        tm_link_in_tell_position(in, from, s, &at);
    else if (w.apply > 0)
        (void)carry_out(&w, &at);
}

bool tm_link_in_apply_staged(struct tm_link_in *in, const struct tm_link_from *from,
                             struct tm_link_in_stream *s, struct tm_link_position *at,
                             const struct tm_link_mark *end)
{
    struct tm_link_mark last = end_of(s, at);
    struct work w = {.in = in, .from = from, .s = s, .apply = s->staged->count};
    if (is_mark(&last, end))
        return carry_out(&w, at);
    tm_counter_add(in->c.ctx->counters,
                   end->index < last.index ? TM_COUNTER_link_batches_repeated
                                           : TM_COUNTER_link_batches_gap,
                   1);
    tm_link_in_tell_position(in, from, s, at);
    return false;
}

/* ---- what never was committed ---- */

struct cut {
    const struct tm_link_from *from;
    const struct tm_link_in_stream *s;
    unsigned keep;
};

static void fill_cut(struct tm_store *store, void *arg)
{
    const struct cut *c = arg;
    for (unsigned i = c->keep; i < c->s->staged->count; i++) {
        struct tm_link_staged_name name =
            name_of(c->from, c->s->source, c->s->staged->at[i].to.index);
        delete_field(store, &name);
    }
}

/* What was acknowledged, or is about to be, ends there. */
static void take_back(struct tm_link_in_stream *s, const struct tm_link_mark *end)
{
    for (unsigned i = 0; i < s->count; i++) {
        struct tm_link_in_pending *p = &s->pending[(s->first + i) % TM_LINK_IN_PENDING];
        if (p->staged > end->index) {
            p->staged = end->index;
            p->staged_hash = end->hash;
        }
    }
    if (s->safe > end->index) {
        s->safe = end->index;
        s->safe_hash = end->hash;
    }
    s->taken = end->index;
    s->taken_hash = end->hash;
}

void tm_link_in_on_unstage(struct tm_link_in *in, const struct tm_link_from *from,
                           struct tm_link_in_stream *s, const struct tm_link_position *at,
                           const struct tm_link_unstage *m)
{
    struct tm_link_in_staged *f = s->staged;
    struct cut c = {.from = from, .s = s};
    uint64_t record;
    if (f == NULL || f->count == 0)
        return;
    while (c.keep < f->count && f->at[c.keep].to.index <= m->keep.index)
        c.keep++;
    struct tm_link_mark end =
        c.keep > 0 ? f->at[c.keep - 1].to : (struct tm_link_mark){at->index, at->term, at->hash};
    if (c.keep == f->count && is_mark(&end, &m->keep))
        return;
    /* An older leader does not know what a later one has committed. */
    if (!is_mark(&end, &m->keep) || f->at[f->count - 1].to.term > m->term) {
        tm_link_in_tell_position(in, from, s, at);
        return;
    }
    enum tm_err e = in->c.ops->write(in->c.host, s->target, from->rewind, fill_cut, &c, &record);
    if (e != TM_OK) {
        tm_link_in_refuse_err(in, s, e);
        return;
    }
    tm_counter_add(in->c.ctx->counters, TM_COUNTER_link_batches_unstaged, f->count - c.keep);
    f->count = c.keep;
    s->written = record;
    take_back(s, &end);
}

struct all {
    const struct tm_link_from *from;
    uint32_t source;
    struct tm_link_staged_name name[LITTER];
    unsigned count;
};

static bool gather_all(void *host, const struct tm_link_staged_name *name)
{
    struct all *a = host;
    if (is_of(name, a->from, a->source))
        a->name[a->count++] = *name;
    return a->count < LITTER;
}

void tm_link_in_unstage_all(struct tm_store *store, const struct tm_link_from *from,
                            uint32_t source)
{
    struct all a = {.from = from, .source = source};
    each(store, gather_all, &a);
    for (unsigned i = 0; i < a.count; i++)
        delete_field(store, &a.name[i]);
}

/* ---- the source is lost ---- */

struct first {
    struct tm_link_in *in;
    const struct tm_store *store;
    const struct tm_link_from *from; /* NULL: none was found */
    struct tm_link_staged_name name;
    struct tm_link_batch batch;
};

static bool find_first(void *host, const struct tm_link_staged_name *name)
{
    struct first *f = host;
    struct tm_link_in *in = f->in;
    const struct tm_link_from *from = in->c.ops->promoted(in->c.host, name->uuid);
    struct tm_link_batch batch;
    struct tm_bytes value, packed;
    if (from == NULL || !read_field(f->store, name, &value, NULL) ||
        !tm_link_staged_decode(value, &batch, &packed) || batch.stream.epoch >= from->epoch)
        return true;
    int order = f->from == NULL ? -1 : memcmp(name->uuid, f->name.uuid, sizeof name->uuid);
    bool earlier = order < 0 || (order == 0 &&
                                 (name->source < f->name.source ||
                                  (name->source == f->name.source && name->index < f->name.index)));
    if (!earlier)
        return true;
    f->from = from;
    f->name = *name;
    f->batch = batch;
    return true;
}

/* What is known of staged batches of that partition is old. */
static void forget_all(struct tm_link_in *in, uint32_t t)
{
    for (unsigned b = 0; b < TM_LINK_IN_BUCKETS; b++)
        for (struct tm_link_in_stream *s = in->bucket[b]; s != NULL; s = s->next)
            if (s->target == t)
                tm_link_in_forget_staged(s);
}

void tm_link_in_promote(struct tm_link_in *in, uint32_t t)
{
    unsigned block;
    struct first f = {.in = in};
    for (enum tm_err e = TM_OK; e == TM_OK; f.from = NULL) {
        if (!in->c.ops->leads(in->c.host, t, &block))
            return;
        f.store = in->c.ops->store(in->c.host, t);
        each(f.store, find_first, &f);
        if (f.from == NULL)
            return;
        struct tm_link_in_staged staged = {.count = 1};
        struct tm_link_in_stream s = {
            .source = f.name.source, .target = t, .id = f.batch.stream, .staged = &staged};
        staged.at[0].from = f.batch.from;
        staged.at[0].to = (struct tm_link_mark){f.batch.to.index, f.batch.to.term, f.batch.to.hash};
        struct work w = {.in = in, .from = f.from, .s = &s, .apply = 1, .promoted = true};
        uint64_t hlc, record;
        e = judge(&w, &hlc) ? write(&w, hlc, &record) : TM_ERR_CORRUPT;
        forget_all(in, t);
        tm_ctx_log(in->c.ctx, e == TM_OK ? TM_LOG_INFO : TM_LOG_WARN, "link_promoted",
                   "source=%s source_partition=%u partition=%u index=%" PRIu64 " result=%s",
                   f.from->source, s.source, t, f.name.index, tm_err_name(e));
    }
}
