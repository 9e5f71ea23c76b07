/* What was cut off here.
 *
 * The happy path of a suffix: GATHERING copies its records from the log, STORING writes the file,
 * STORED tells the replica that it may cut; then, when a leader is there, LOADING reads it back,
 * LOADED sends it in pieces and waits for the answer, REMOVING unlinks the file.
 *
 * A replica asks before it cuts, and asks again.  A leader may change meanwhile: then the suffix is
 * another one, or none goes, for it is committed after all; what was gathered for nothing is
 * dropped.  Should the next leader's log part from this one's before a suffix that is already put
 * aside, then the fork of that one is gone: it gets the new fork before the cut may go ahead. */
#include "actors/offer_internal.h"

#include <inttypes.h>
#include <stdlib.h>

#define IN_HAND_MAX 4
#define PIECE_BYTES TM_KIB(256)
#define ANSWER_NS   TM_SECONDS(5)
#define RETRY_NS    TM_MS(500)

static struct tm_counters *counters(const struct tm_offers *o)
{
    return o->shard->ctx->counters;
}

/* ---- life of one ---- */

void tm_offer_become(struct tm_offer *x, enum tm_offer_state state)
{
    static const bool edge[6][6] = {
        [TM_OFFER_GATHERING] = {[TM_OFFER_STORING] = true, [TM_OFFER_STORED] = true},
        [TM_OFFER_STORING] = {[TM_OFFER_STORED] = true},
        [TM_OFFER_STORED] =
            {[TM_OFFER_LOADING] = true, [TM_OFFER_LOADED] = true, [TM_OFFER_REMOVING] = true},
        [TM_OFFER_LOADING] = {[TM_OFFER_LOADED] = true, [TM_OFFER_STORED] = true},
        [TM_OFFER_LOADED] = {[TM_OFFER_STORED] = true, [TM_OFFER_STORING] = true},
    };
    TM_ASSERT(edge[x->state][state] && !x->busy && !x->fetching);
    bool was = x->state == TM_OFFER_LOADING || x->state == TM_OFFER_LOADED;
    bool is = state == TM_OFFER_LOADING || state == TM_OFFER_LOADED;
    x->owner->in_hand += is;
    x->owner->in_hand -= was;
    x->state = state;
}

struct tm_offer *tm_offer_make(struct tm_offers *o)
{
    struct tm_offer *x = calloc(1, sizeof *x);
    if (x == NULL)
        return NULL;
    x->owner = o;
    x->next = o->list;
    o->list = x;
    o->kicked = true;
    return x;
}

void tm_offer_drop_image(struct tm_offer *x)
{
    x->owner->bytes -= x->cap;
    free(x->image);
    x->image = NULL;
    x->length = x->cap = 0;
}

void tm_offer_forget(struct tm_offers *o, struct tm_offer *x)
{
    struct tm_offer **at = &o->list;
    while (*at != x)
        at = &(*at)->next;
    *at = x->next;
    tm_offer_drop_image(x);
    free(x);
}

/* ---- gathering ---- */

/* What is left of it cannot be kept. */
static void give_up(struct tm_offer *x, uint64_t from, const char *why)
{
    tm_counter_add(counters(x->owner), TM_COUNTER_async_dropped, x->to - from + 1);
    tm_ctx_log(x->owner->shard->ctx, TM_LOG_ERROR, "records_lost",
               "partition=%u from=%" PRIu64 " to=%" PRIu64 " reason=\"%s\"", x->head.partition,
               from, x->to, why);
}

static bool grow(struct tm_offer *x, size_t need)
{
    struct tm_offers *o = x->owner;
    size_t cap = tm_max_u64(x->cap, TM_KIB(16));
    while (cap < need)
        cap *= 2;
    if (cap == x->cap)
        return true;
    uint8_t *image = o->bytes + cap - x->cap <= TM_OFFERS_BYTES_MAX ? realloc(x->image, cap) : NULL;
    if (image == NULL)
        return false;
    o->bytes += cap - x->cap;
    x->image = image;
    x->cap = cap;
    return true;
}

static uint64_t next_index(const struct tm_offer *x)
{
    return x->from + x->head.count;
}

static bool take_record(struct tm_offer *x, struct tm_bytes record)
{
    const struct tm_record *r = (const struct tm_record *)(const void *)record.data;
    size_t used = x->length > 0 ? x->length : sizeof x->head;
    if (used + record.len > TM_OFFER_BYTES_MAX || !grow(x, used + record.len))
        return false;
    memcpy(x->image + used, record.data, record.len);
    x->length = used + record.len;
    x->head.count++;
    x->empty = x->empty && r->kind != TM_RECORD_EFFECT && r->kind != TM_RECORD_FLUSH;
    return true;
}

/* All that can be had is there. */
static void gathered(struct tm_offer *x)
{
    x->owner->kicked = true;
    if (x->empty) {
        tm_offer_drop_image(x);
        tm_offer_become(x, TM_OFFER_STORED);
        return;
    }
    memcpy(x->image, &x->head, sizeof x->head);
    tm_offer_seal(x->image, x->length);
    memcpy(&x->head, x->image, sizeof x->head);
    tm_offer_store(x);
}

static bool fetched_record(struct tm_log_fetch *fetch, uint64_t index, struct tm_bytes record)
{
    struct tm_offer *x = fetch->owner;
    return index == next_index(x) && take_record(x, record);
}

static void fetched(struct tm_log_fetch *fetch, enum tm_err err)
{
    struct tm_offer *x = fetch->owner;
    x->fetching = false;
    x->owner->kicked = true;
    if (err == TM_ERR_NOTFOUND)
        x->doomed = true; /* the log moved on: whoever wants it asks anew */
    else if (err != TM_OK) {
        give_up(x, next_index(x), tm_err_text(err));
        gathered(x);
    }
}

static void gather(struct tm_offer *x, struct tm_partition *p)
{
    while (next_index(x) <= x->to) {
        struct tm_bytes record = tm_log_get(p->log, next_index(x));
        if (record.data == NULL)
            break;
        if (!take_record(x, record)) {
            give_up(x, next_index(x), "no memory to put more aside");
            gathered(x);
            return;
        }
    }
    if (next_index(x) > x->to) {
        gathered(x);
        return;
    }
    x->fetch = (struct tm_log_fetch){.first = next_index(x),
                                     .last = x->to,
                                     .max_bytes = TM_MIB(4),
                                     .record = fetched_record,
                                     .done = fetched,
                                     .owner = x};
    enum tm_err e = tm_log_fetch(p->log, &x->fetch);
    x->fetching = e == TM_OK;
    if (e == TM_ERR_NOTFOUND) {
        x->doomed = true;
    } else if (e != TM_OK && e != TM_ERR_FULL && e != TM_ERR_AGAIN) {
        give_up(x, next_index(x), tm_err_text(e));
        gathered(x);
    }
}

/* ---- cutting ---- */

/* Term-less point before `index`: hash 0 before the first record. */
static bool point_before(const struct tm_partition *p, uint64_t index, uint64_t *hash)
{
    *hash = 0;
    return index == 1 || tm_log_hash_at(p->log, index - 1, hash);
}

static void set_fork(struct tm_offer *x)
{
    x->rebase = false;
    x->head.fork_index = x->new_index;
    x->head.fork_hash = x->new_hash;
    memcpy(x->image, &x->head, sizeof x->head);
    tm_offer_seal(x->image, x->length);
    memcpy(&x->head, x->image, sizeof x->head);
}

/* Offers whose fork is among the records that go get the new one; true: all have. */
static bool rebase(struct tm_offers *o, const struct tm_partition *p, uint64_t from, uint64_t hash)
{
    bool ready = true;
    for (struct tm_offer *x = o->list; x != NULL; x = x->next) {
        if (x->head.partition != p->id || !x->cut || x->doomed || x->empty)
            continue;
        if (x->head.fork_index >= from) {
            x->rebase = true;
            x->new_index = from - 1;
            x->new_hash = hash;
            o->kicked = true;
        }
        ready = ready && !x->rebase && x->state != TM_OFFER_STORING;
    }
    return ready;
}

static struct tm_offer *find_suffix(struct tm_offers *o, const struct tm_partition *p,
                                    uint64_t from, uint64_t end_hash)
{
    struct tm_offer *found = NULL;
    for (struct tm_offer *x = o->list; x != NULL; x = x->next) {
        if (x->head.partition != p->id || x->doomed)
            continue;
        if (x->from == from && x->end_hash == end_hash)
            found = x;
        else if (!x->cut)
            x->doomed = o->kicked = true; /* it is another suffix that goes */
    }
    return found;
}

static void count_cut(struct tm_offers *o, const struct tm_offer *x)
{
    tm_counter_add(counters(o), TM_COUNTER_async_cut, x->to - x->from + 1);
    tm_ctx_log(o->shard->ctx, TM_LOG_WARN, "records_cut",
               "partition=%u from=%" PRIu64 " to=%" PRIu64 " reason=failover file=%s",
               x->head.partition, x->from, x->to, x->empty || !x->filed ? "none" : x->name);
}

bool tm_offers_cut(struct tm_offers *o, struct tm_partition *p, uint64_t from, uint64_t to)
{
    uint64_t fork_hash, end_hash;
    if (!point_before(p, from, &fork_hash) || !tm_log_hash_at(p->log, to, &end_hash)) {
        struct tm_offer lost = {.owner = o, .to = to, .head.partition = p->id};
        give_up(&lost, from, "the log is damaged there");
        return true;
    }
    bool ready = rebase(o, p, from, fork_hash);
    struct tm_offer *x = find_suffix(o, p, from, end_hash);
    if (x == NULL && (x = tm_offer_make(o)) != NULL) {
        x->from = from;
        x->to = to;
        x->end_hash = end_hash;
        x->empty = true;
        x->head = (struct tm_offer_head){
            .partition = p->id, .fork_index = from - 1, .fork_hash = fork_hash};
        memcpy(x->head.cluster, o->shard->directory->uuid, 16);
        gather(x, p);
    }
    if (!ready || x == NULL || x->state == TM_OFFER_GATHERING || x->state == TM_OFFER_STORING)
        return false;
    if (!x->cut || x->found) /* the process that kept it had not come to cut it */
        count_cut(o, x);
    x->cut = true;
    x->found = false;
    x->doomed = x->doomed || x->empty;
    o->kicked = true;
    return true;
}

/* ---- offering ---- */

/* Where to: the leader, once its log is known to agree with the own one up to the fork. */
static bool find_taker(const struct tm_offer *x, struct tm_place *to)
{
    struct tm_shard *s = x->owner->shard;
    const struct tm_partition *p = tm_shard_find(s, x->head.partition);
    *to = s->self;
    if (p != NULL && p->announced)
        return true;
    struct tm_place leader = tm_node_leader(s->node, x->head.partition);
    if (leader.node >= TM_NODES_MAX || leader.node == s->self.node)
        return false;
    *to = (struct tm_place){
        .node = leader.node,
        .worker = (uint8_t)tm_node_worker_of(s->node, leader.node, x->head.partition)};
    if (p != NULL && p->replica.leader != leader.node)
        return false;
    if (p != NULL && tm_log_first(p->log) <= x->head.fork_index &&
        p->replica.verified < x->head.fork_index)
        return false;
    return tm_post_is_up(s->post, *to);
}

static void put_back(struct tm_offer *x, uint64_t wait_ns)
{
    if (x->filed)
        tm_offer_drop_image(x);
    tm_offer_become(x, TM_OFFER_STORED);
    x->sent = 0;
    x->deadline = tm_offers_now(x->owner) + wait_ns;
}

static struct tm_message_head piece_head(const struct tm_offer *x)
{
    return (struct tm_message_head){.type = TM_MESSAGE_OFFER,
                                    .partition = x->head.partition,
                                    .arg = x->head.id,
                                    .arg2 = x->sent};
}

static void offer_here(struct tm_offer *x)
{
    struct tm_message_head head = piece_head(x);
    x->sent = x->length;
    tm_offer_job_piece(x->owner, x->to_place, &head, tm_bytes_of(x->image, x->length));
}

/* Sends as far as the way takes it; the tick goes on. */
static void send_pieces(struct tm_offer *x)
{
    struct tm_shard *s = x->owner->shard;
    if (x->to_place.node == s->self.node) {
        offer_here(x);
        return;
    }
    while (x->sent < x->length) {
        size_t len = tm_min_u64(PIECE_BYTES, x->length - x->sent);
        struct tm_bytes piece = tm_bytes_of(x->image + x->sent, len);
        enum tm_err e = tm_post_send(s->post, x->to_place, piece_head(x), &piece, 1);
        if (e == TM_ERR_FULL)
            return;
        if (e != TM_OK) {
            put_back(x, RETRY_NS);
            return;
        }
        x->sent += len;
    }
}

static void begin_offering(struct tm_offer *x)
{
    x->sent = 0;
    x->deadline = tm_offers_now(x->owner) + ANSWER_NS;
    tm_ctx_log(x->owner->shard->ctx, TM_LOG_DEBUG, "offer_sent",
               "partition=%u records=%u to_node=%u", x->head.partition, x->head.count,
               x->to_place.node);
    send_pieces(x);
}

void tm_offer_answered(struct tm_offers *o, uint32_t partition, uint64_t id, uint64_t status)
{
    struct tm_offer *x = o->list;
    while (x != NULL && (x->head.partition != partition || x->head.id != id || !x->cut))
        x = x->next;
    if (x == NULL || x->doomed)
        return;
    x->doomed = o->kicked = true;
    if (status == TM_OFFERED_MERGED) {
        tm_counter_add(counters(o), TM_COUNTER_async_reoffered, x->head.count);
        tm_ctx_log(o->shard->ctx, TM_LOG_INFO, "offer_taken", "partition=%u records=%u", partition,
                   x->head.count);
        return;
    }
    x->refused = x->filed;
    tm_counter_add(counters(o), TM_COUNTER_async_dropped, x->head.count);
    tm_ctx_log(o->shard->ctx, TM_LOG_ERROR, "offer_refused",
               "partition=%u records=%u text=\"the leader's log no longer reaches back to where "
               "they were cut off\" kept=%s.refused",
               partition, x->head.count, x->filed ? x->name : "nothing");
}

/* ---- going on ---- */

static void run_stored(struct tm_offer *x)
{
    struct tm_offers *o = x->owner;
    if (x->rebase && x->image != NULL)
        set_fork(x);
    if (!x->cut || x->empty || o->in_hand >= IN_HAND_MAX)
        return;
    bool taker = tm_offers_now(o) >= x->deadline && find_taker(x, &x->to_place);
    if (!taker && !x->rebase)
        return;
    if (x->image != NULL)
        tm_offer_become(x, TM_OFFER_LOADED);
    else if (o->bytes + x->head.length <= TM_OFFERS_BYTES_MAX)
        tm_offer_load(x);
    if (x->state == TM_OFFER_LOADED)
        begin_offering(x);
}

static void run_loaded(struct tm_offer *x)
{
    if (x->rebase) {
        set_fork(x);
        tm_offer_store(x);
    } else if (x->sent == 0) {
        begin_offering(x);
    } else if (x->sent < x->length) {
        send_pieces(x);
    } else if (tm_offers_now(x->owner) >= x->deadline) {
        put_back(x, RETRY_NS);
    }
}

/* It was to be cut, and was committed instead. */
static bool stays(const struct tm_offer *x, const struct tm_partition *p)
{
    return !x->cut && p != NULL && p->replica.commit >= x->from;
}

static void run(struct tm_offer *x)
{
    struct tm_partition *p = tm_shard_find(x->owner->shard, x->head.partition);
    if (x->busy || x->fetching)
        return;
    x->doomed = x->doomed || stays(x, p);
    if (x->doomed && x->filed && x->state != TM_OFFER_REMOVING) {
        if (x->state == TM_OFFER_LOADED)
            put_back(x, 0);
        tm_offer_remove(x);
        return;
    }
    if (x->doomed) {
        if (x->state == TM_OFFER_LOADED)
            put_back(x, 0);
        tm_offer_forget(x->owner, x);
        return;
    }
    switch (x->state) {
    case TM_OFFER_GATHERING:
        if (p != NULL && !p->stopping)
            gather(x, p);
        break;
    case TM_OFFER_STORED:
        run_stored(x);
        break;
    case TM_OFFER_LOADED:
        run_loaded(x);
        break;
    default:
        break;
    }
}

bool tm_offers_turn(struct tm_offers *o)
{
    bool more = tm_offer_job_turn(o);
    if (!o->kicked || o->shard->stopping)
        return more;
    o->kicked = false;
    for (struct tm_offer *x = o->list, *next; x != NULL; x = next) {
        next = x->next;
        run(x);
    }
    return more;
}

void tm_offers_tick(struct tm_offers *o)
{
    o->kicked = o->list != NULL;
}

void tm_offers_message(struct tm_offers *o, const struct tm_message_head *head,
                       struct tm_bytes body)
{
    struct tm_place from = {.node = head->node, .worker = head->worker};
    if (head->type == TM_MESSAGE_OFFER)
        tm_offer_job_piece(o, from, head, body);
    else
        tm_offer_answered(o, head->partition, head->arg, head->arg2);
}

/* ---- life ---- */

enum tm_err tm_offers_new(struct tm_shard *shard, struct tm_offers **out)
{
    struct tm_disk *disk = shard->ctx->disk;
    struct tm_offers *o = *out = calloc(1, sizeof *o);
    if (o == NULL)
        return TM_ERR_NOMEM;
    o->shard = shard;
    if (shard->directory->eventual) {
        int64_t result = tm_disk_run_mkdir(disk, TM_OFFER_FOLDER);
        if (result >= 0)
            result = tm_disk_run_sync_dir(disk, "");
        if (result >= 0) /* the process before may have been killed before it did */
            result = tm_disk_run_sync_dir(disk, TM_OFFER_FOLDER);
        if (result < 0)
            return tm_err_from_errno((int)-result);
    }
    return tm_offer_find(o);
}

bool tm_offers_quiet(const struct tm_offers *o)
{
    for (const struct tm_offer *x = o->list; x != NULL; x = x->next)
        if (x->busy || x->fetching)
            return false;
    return tm_offer_job_quiet(o);
}

void tm_offers_free(struct tm_offers *o)
{
    if (o == NULL)
        return;
    while (o->list != NULL)
        tm_offer_forget(o, o->list);
    tm_offer_job_free_all(o);
    free(o);
}
