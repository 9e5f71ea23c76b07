/* Sendings, one per (partition, node): a chunk, its acknowledgement, the next.  What is wanted
 * beyond TM_KEEPER_SENDS waits as a bit per node, and gets its turn.
 *
 * Who leads sends to a follower whose records the log has no more.  Who does not may lend what a
 * copy with holes asks for, as long as nobody leads (partition_repair.c); it names no term. */
#include "actors/keeper_internal.h"
#include "actors/transfer.h"

static void send_free(struct tm_keeper_sending *s)
{
    if (s->reader != NULL)
        tm_snapshot_reader_close(s->reader, &s->keeper->closed);
    *s = (struct tm_keeper_sending){0};
}

static void send_end(struct tm_keeper_sending *s, bool ok)
{
    struct tm_partition *p = s->p;
    tm_counter_add(tm_keeper_counters(s->keeper),
                   ok ? TM_COUNTER_snapshots_sent : TM_COUNTER_snapshots_failed, 1);
    unsigned node = s->node;
    uint64_t index = s->info.walked_from;
    send_free(s);
    tm_replica_snapshot_sent(&p->replica, node, index, ok);
}

static bool stands(const struct tm_keeper_sending *s)
{
    return (s->p->replica.role == TM_ROLE_LEADER) == (s->lent == 0);
}

static void send_chunk(void *host, enum tm_err err, uint64_t chunk, struct tm_bytes bytes)
{
    struct tm_keeper_sending *s = host;
    s->reading = false;
    if (s->p == NULL || s->p->stopping)
        return;
    if (err == TM_ERR_CORRUPT || err == TM_ERR_IO)
        tm_keeper_found_of(s->keeper, s->p->id)->there = false; /* another */
    if (err != TM_OK || !stands(s)) {
        send_end(s, false);
        return;
    }
    struct tm_shard *shard = s->keeper->shard;
    uint8_t about[TM_TRANSFER_HEAD_MAX];
    struct tm_bytes pieces[2] = {tm_bytes_of(about, tm_transfer_encode(&s->info, about)), bytes};
    struct tm_message_head head = {.type = TM_MESSAGE_SNAPSHOT,
                                   .partition = s->p->id,
                                   .arg = chunk,
                                   .arg2 = s->lent != 0 ? 0 : s->p->replica.hs.term};
    struct tm_place to = {.node = (uint8_t)s->node,
                          .worker = (uint8_t)tm_node_worker_of(shard->node, s->node, s->p->id)};
    if (tm_post_send(shard->post, to, head, pieces, 2) != TM_OK)
        send_end(s, false);
}

static void send_next(struct tm_keeper_sending *s)
{
    if (s->reading)
        return;
    enum tm_err e = tm_snapshot_read(s->reader, s->chunk, send_chunk, s);
    s->reading = e == TM_OK;
    if (e != TM_OK)
        send_end(s, false);
}

/* Begins the transfer, with a snapshot that reaches the log; takes one first if there is none. */
static void send_begin(struct tm_keeper *k, struct tm_keeper_sending *s)
{
    const struct tm_keeper_found *f = tm_keeper_found_of(k, s->p->id);
    if (!f->there || f->info.walked_from + 1 < tm_log_first(s->p->log) ||
        f->info.walked_from < s->lent) {
        tm_keeper_take_begin(k, s->p);
        return;
    }
    s->info = f->info;
    if (tm_snapshot_reader_new(k->shard->ctx, &s->info, &s->reader) != TM_OK)
        send_end(s, false);
    else
        send_next(s);
}

static struct tm_keeper_sending *sending_of(struct tm_keeper *k, const struct tm_partition *p,
                                            unsigned node)
{
    for (unsigned i = 0; i < TM_KEEPER_SENDS; i++)
        if (k->sends[i].p == p && (p == NULL || k->sends[i].node == node))
            return &k->sends[i];
    return NULL;
}

/* One that is under way began with a follower that has forgotten it: it begins again. */
void tm_keeper_send(struct tm_keeper *k, struct tm_partition *p, unsigned node)
{
    struct tm_keeper_sending *s = sending_of(k, p, node);
    k->wanted[p->id / k->shard->node->workers] |= 1ULL << node;
    k->any_wanted = true;
    if (s != NULL)
        send_free(s);
}

void tm_keeper_lend(struct tm_keeper *k, struct tm_partition *p, unsigned node, uint64_t index)
{
    struct tm_keeper_sending *s = sending_of(k, NULL, 0);
    if (s == NULL || sending_of(k, p, node) != NULL || p->replica.role == TM_ROLE_LEADER)
        return;
    *s = (struct tm_keeper_sending){
        .p = p, .keeper = k, .node = node, .lent = index, .moved_at = tm_keeper_now(k)};
}

/* Gives free sendings to what is wanted, in turn. */
static void send_wanted(struct tm_keeper *k)
{
    bool left = false;
    for (uint32_t n = 0; k->any_wanted && n < k->shard->slots; n++) {
        uint32_t slot = (k->next_wanted + n) % k->shard->slots;
        struct tm_partition *p = k->shard->partitions[slot];
        if (k->wanted[slot] == 0)
            continue;
        if (p == NULL || p->replica.role != TM_ROLE_LEADER)
            k->wanted[slot] = 0; /* who leads now finds out by itself */
        while (k->wanted[slot] != 0) {
            struct tm_keeper_sending *s = sending_of(k, NULL, 0);
            if (s == NULL) {
                k->next_wanted = slot;
                return;
            }
            unsigned node = (unsigned)__builtin_ctzll(k->wanted[slot]);
            k->wanted[slot] &= k->wanted[slot] - 1;
            *s = (struct tm_keeper_sending){
                .p = p, .keeper = k, .node = node, .moved_at = tm_keeper_now(k)};
        }
        left |= k->wanted[slot] != 0;
    }
    k->any_wanted = left;
}

void tm_keeper_on_ack(struct tm_keeper *k, const struct tm_message_head *head)
{
    for (unsigned i = 0; i < TM_KEEPER_SENDS; i++) {
        struct tm_keeper_sending *s = &k->sends[i];
        if (s->p == NULL || s->p->id != head->partition || s->node != head->node ||
            s->reader == NULL)
            continue;
        s->moved_at = tm_keeper_now(k);
        s->chunk = head->arg;
        if (head->arg2 != TM_KEEPER_ACK_NEXT)
            send_end(s, head->arg2 == TM_KEEPER_ACK_DONE);
        else if (s->chunk < s->info.chunks)
            send_next(s);
        return;
    }
}

void tm_keeper_send_tick(struct tm_keeper *k)
{
    uint64_t now = tm_keeper_now(k);
    send_wanted(k);
    for (unsigned i = 0; i < TM_KEEPER_SENDS; i++) {
        struct tm_keeper_sending *s = &k->sends[i];
        if (s->p == NULL)
            continue;
        if (!stands(s) ||
            (now - s->moved_at > TM_KEEPER_SILENCE_NS && (s->reader != NULL || s->lent != 0)))
            send_end(s, false);
        else if (s->reader == NULL)
            send_begin(k, s);
    }
}

bool tm_keeper_quiet(const struct tm_keeper *k)
{
    for (unsigned i = 0; i < TM_KEEPER_SENDS; i++)
        if (k->sends[i].reading)
            return false;
    return true;
}

void tm_keeper_send_free(struct tm_keeper *k)
{
    for (unsigned i = 0; i < TM_KEEPER_SENDS; i++) {
        struct tm_snapshot_reader *reader = k->sends[i].reader;
        if (reader != NULL && k->shard->abandoned)
            tm_snapshot_reader_abandon(reader);
        else if (reader != NULL)
            tm_snapshot_reader_close(reader, &k->closed);
    }
}
