/* replica_wire.c: the encodings of replica_wire.h.
 *
 * A message's head, by offset: 0 kind, 1 flags, 2 node, 3 zero, 4 partition, 8 disk, 16 term,
 * 24 index, 32 index_term, 40 hash, 48 commit, 56 count, 60 length of the records.  An in-sync
 * set: 0 term, 8 epoch, 16 count, 24 and 40 the two members, each disk and node.  A decoder
 * refuses whatever an encoder would not have written, so that later fields find zeros to grow
 * into. */
#include "actors/replica_wire.h"

static const char *const names[] = {
#define X(name, number, text) [number] = #name,
    TM_MSG_LIST(X)
#undef X
};

static uint8_t flags_allowed(unsigned kind)
{
    switch (kind) {
    case TM_MSG_PREVOTE:
        return TM_MSG_SUSPECT | TM_MSG_WITH_SET;
    case TM_MSG_VOTE:
        return TM_MSG_SUSPECT | TM_MSG_WITH_SET | TM_MSG_FORCED;
    case TM_MSG_VOTE_REPLY:
        return TM_MSG_SUSPECT | TM_MSG_WITH_SET | TM_MSG_GRANTED | TM_MSG_PRE;
    case TM_MSG_APPEND:
        return TM_MSG_FIRM;
    case TM_MSG_APPEND_REPLY:
        return TM_MSG_SUSPECT | TM_MSG_REJECT | TM_MSG_NO_ROOM;
    case TM_MSG_INSYNC:
    case TM_MSG_INSYNC_REPLY:
        return TM_MSG_WITH_SET;
    default:
        return 0;
    }
}

static void encode_insync(const struct tm_insync *s, uint8_t *out)
{
    memset(out, 0, TM_MSG_SET_SIZE);
    tm_store64(out, s->term);
    tm_store64(out + 8, s->epoch);
    tm_store64(out + 16, s->count);
    for (unsigned i = 0; i < s->count; i++) {
        tm_store64(out + 24 + 16 * i, s->at[i].disk);
        tm_store64(out + 32 + 16 * i, s->at[i].node);
    }
}

static bool decode_insync(const uint8_t *in, struct tm_insync *s)
{
    uint64_t count = tm_load64(in + 16);
    if (count > 2)
        return false;
    *s = (struct tm_insync){.term = tm_load64(in), .epoch = tm_load64(in + 8)};
    s->count = (unsigned)count;
    for (unsigned i = 0; i < s->count; i++) {
        uint64_t node = tm_load64(in + 32 + 16 * i);
        if (node >= 64)
            return false;
        s->at[i] = (struct tm_id){.disk = tm_load64(in + 24 + 16 * i), .node = (uint8_t)node};
    }
    return s->count < 2 || s->at[0].node != s->at[1].node;
}

size_t tm_replica_msg_encode(const struct tm_replica_msg *msg, size_t body_len, uint8_t *out)
{
    TM_ASSERT(msg->kind > 0 && msg->kind < TM_MSG_END);
    TM_ASSERT((msg->flags & ~flags_allowed(msg->kind)) == 0);
    out[0] = (uint8_t)msg->kind;
    out[1] = msg->flags;
    out[2] = msg->from.node;
    out[3] = 0;
    tm_store32(out + 4, msg->partition);
    tm_store64(out + 8, msg->from.disk);
    tm_store64(out + 16, msg->term);
    tm_store64(out + 24, msg->index);
    tm_store64(out + 32, msg->index_term);
    tm_store64(out + 40, msg->hash);
    tm_store64(out + 48, msg->commit);
    tm_store32(out + 56, msg->count);
    tm_store32(out + 60, (uint32_t)body_len);
    if ((msg->flags & TM_MSG_WITH_SET) == 0)
        return TM_MSG_HEAD_SIZE;
    encode_insync(&msg->insync, out + TM_MSG_HEAD_SIZE);
    return TM_MSG_HEAD_SIZE + TM_MSG_SET_SIZE;
}

enum tm_err tm_replica_msg_decode(struct tm_bytes bytes, struct tm_replica_msg *msg)
{
    const uint8_t *p = bytes.data;
    if (bytes.len < TM_MSG_HEAD_SIZE)
        return TM_ERR_CORRUPT;
    if (p[0] == 0 || p[0] >= TM_MSG_END || p[2] >= 64 || p[3] != 0)
        return TM_ERR_CORRUPT;
    if ((p[1] & ~flags_allowed(p[0])) != 0)
        return TM_ERR_CORRUPT;
    *msg = (struct tm_replica_msg){.kind = (enum tm_msg_kind)p[0], .flags = p[1]};
    msg->partition = tm_load32(p + 4);
    msg->from = (struct tm_id){.disk = tm_load64(p + 8), .node = p[2]};
    msg->term = tm_load64(p + 16);
    msg->index = tm_load64(p + 24);
    msg->index_term = tm_load64(p + 32);
    msg->hash = tm_load64(p + 40);
    msg->commit = tm_load64(p + 48);
    msg->count = tm_load32(p + 56);
    size_t head = TM_MSG_HEAD_SIZE;
    if ((msg->flags & TM_MSG_WITH_SET) != 0) {
        head += TM_MSG_SET_SIZE;
        if (bytes.len < head || !decode_insync(p + TM_MSG_HEAD_SIZE, &msg->insync))
            return TM_ERR_CORRUPT;
    }
    uint32_t body = tm_load32(p + 60);
    if (bytes.len - head != body || (msg->kind != TM_MSG_APPEND && body != 0))
        return TM_ERR_CORRUPT;
    if (msg->count > body / sizeof(struct tm_record) || (msg->count == 0) != (body == 0))
        return TM_ERR_CORRUPT;
    msg->body = tm_bytes_of(p + head, body);
    return msg->from.disk == 0 ? TM_ERR_CORRUPT : TM_OK;
}

const char *tm_replica_msg_name(unsigned kind)
{
    return kind > 0 && kind < TM_MSG_END ? names[kind] : "UNKNOWN";
}

/* The in-sync set's members are the state's voters, with the bits of all of them set. */
void tm_promise_to_hard_state(const struct tm_promise *p, struct tm_hard_state *out)
{
    *out = (struct tm_hard_state){.term = p->term, .vote = TM_VOTE_NONE};
    if (p->vote.node != TM_NODE_UNKNOWN) {
        out->vote = p->vote.node;
        out->vote_disk = p->vote.disk;
    }
    if (p->health == TM_HEALTH_SUSPECT || p->health == TM_HEALTH_FAULTY)
        out->flags |= TM_HARD_LEARNER;
    if (p->health == TM_HEALTH_FAULTY)
        out->flags |= TM_HARD_FAULTY;
    if (p->insync.confirmed)
        out->flags |= TM_HARD_WITNESS_CONFIRMED;
    out->config.leader_term = p->insync.term;
    out->config.epoch = p->insync.epoch;
    out->config.count = p->insync.count;
    out->config.in_sync = (1u << p->insync.count) - 1;
    for (unsigned i = 0; i < p->insync.count; i++)
        out->config.voters[i] = (struct tm_voter){
            .disk_id = p->insync.at[i].disk, .node = p->insync.at[i].node, .role = TM_VOTER_DATA};
}

enum tm_err tm_promise_from_hard_state(const struct tm_hard_state *hs, struct tm_promise *out)
{
    if (hs->config.count > 2 || (hs->vote != TM_VOTE_NONE && hs->vote >= 64))
        return TM_ERR_CORRUPT;
    *out = (struct tm_promise){.term = hs->term, .vote = {.node = TM_NODE_UNKNOWN}};
    if (hs->vote != TM_VOTE_NONE)
        out->vote = (struct tm_id){.disk = hs->vote_disk, .node = (uint8_t)hs->vote};
    if ((hs->flags & TM_HARD_LEARNER) != 0)
        out->health = TM_HEALTH_SUSPECT;
    if ((hs->flags & TM_HARD_FAULTY) != 0)
        out->health = TM_HEALTH_FAULTY;
    struct tm_insync *s = &out->insync;
    s->term = hs->config.leader_term;
    s->epoch = hs->config.epoch;
    s->count = hs->config.count;
    for (unsigned i = 0; i < s->count; i++) {
        if (hs->config.voters[i].node >= 64)
            return TM_ERR_CORRUPT;
        s->at[i] = (struct tm_id){.disk = hs->config.voters[i].disk_id,
                                  .node = (uint8_t)hs->config.voters[i].node};
    }
    s->confirmed = s->count == 1 && (hs->flags & TM_HARD_WITNESS_CONFIRMED) != 0;
    return TM_OK;
}

void tm_members_encode(const struct tm_members *m, uint8_t *out)
{
    TM_ASSERT(m->count <= TM_MEMBERS_MAX);
    tm_store64(out, m->count);
    for (unsigned i = 0; i < m->count; i++) {
        uint8_t *p = out + 8 + 16 * (size_t)i;
        tm_store64(p, m->at[i].id.disk);
        tm_store64(p + 8, (uint64_t)m->at[i].id.node | (uint64_t)m->at[i].role << 8);
    }
}

enum tm_err tm_members_decode(struct tm_bytes bytes, struct tm_members *m)
{
    if (bytes.len < 8 || tm_load64(bytes.data) > TM_MEMBERS_MAX ||
        bytes.len != TM_MEMBERS_SIZE(tm_load64(bytes.data)))
        return TM_ERR_CORRUPT;
    *m = (struct tm_members){.count = (unsigned)tm_load64(bytes.data)};
    for (unsigned i = 0; i < m->count; i++) {
        const uint8_t *p = bytes.data + 8 + 16 * (size_t)i;
        uint64_t rest = tm_load64(p + 8);
        if (rest >> 8 > TM_MEMBER_WITNESS_RETURNING)
            return TM_ERR_CORRUPT;
        m->at[i].id = (struct tm_id){.disk = tm_load64(p), .node = (uint8_t)rest};
        m->at[i].role = (enum tm_member_role)(rest >> 8);
    }
    return tm_members_valid(m) ? TM_OK : TM_ERR_CORRUPT;
}

bool tm_members_valid(const struct tm_members *m)
{
    unsigned voters = 0, witnesses = 0;
    uint64_t nodes = 0;
    if (m->count == 0 || m->count > TM_MEMBERS_MAX)
        return false;
    for (unsigned i = 0; i < m->count; i++) {
        const struct tm_member *one = &m->at[i];
        if (one->id.node >= 64 || (nodes >> one->id.node & 1) != 0)
            return false;
        if (one->id.disk == 0 && one->role != TM_MEMBER_LEARNER)
            return false;
        nodes |= 1ull << one->id.node;
        voters += one->role == TM_MEMBER_VOTER;
        witnesses += one->role == TM_MEMBER_WITNESS;
    }
    return voters >= 1 && voters + witnesses <= TM_VOTERS_MAX &&
           (witnesses == 0 || (witnesses == 1 && voters == 2));
}
