/* replica_puppet.h: one replica led by hand, for tests: its peers are down, the test speaks for
 * them, and looks at what it answers. */
#ifndef TM_TESTS_ACTORS_REPLICA_PUPPET_H
#define TM_TESTS_ACTORS_REPLICA_PUPPET_H

#include "replica_cluster.h"

/* Node 0 of a cluster is up, the others are not. */
static inline struct cluster *puppet_new(unsigned voters, bool witness)
{
    struct cluster *c = cluster_new(1, voters, witness, voters + witness, 1);
    c->by_hand = true;
    cluster_start(c, 0);
    return c;
}
static inline struct tm_replica_msg puppet_msg(unsigned from, enum tm_msg_kind kind, uint64_t term)
{
    return (struct tm_replica_msg){
        .kind = kind, .from = {.disk = 100 + from, .node = (uint8_t)from}, .term = term};
}
/* Tells node `to`, through the encoding. */
static inline void puppet_tell(struct cluster *c, unsigned to, const struct tm_replica_msg *msg)
{
    uint64_t space[1024];
    uint8_t *bytes = (uint8_t *)space;
    struct tm_replica_msg got;
    CHECK(c, msg->body.len < sizeof space - TM_MSG_HEAD_MAX);
    size_t len = tm_replica_msg_encode(msg, msg->body.len, bytes);
    if (msg->body.len > 0)
        memcpy(bytes + len, msg->body.data, msg->body.len);
    CHECK(c, tm_replica_msg_decode(tm_bytes_of(bytes, len + msg->body.len), &got) == TM_OK);
    tm_replica_receive(&c->node[to].part[0].replica, &got);
    sim_turn(&c->node[to]);
}
/* The answer of that kind that node 0 gave to node `to` since the last look; NULL: none. */
static inline const struct tm_replica_msg *puppet_answer(struct cluster *c, unsigned to,
                                                         enum tm_msg_kind kind)
{
    static struct tm_replica_msg taken;
    taken = c->last_msg[0][to][kind];
    c->last_msg[0][to][kind].kind = (enum tm_msg_kind)0;
    return taken.kind == kind ? &taken : NULL;
}
/* A chain of records as a leader would write them. */
struct chain {
    struct tm_tail tail;
    uint8_t bytes[4096] __attribute__((aligned(8)));
    size_t len;
    uint32_t count;
    struct tm_tail before; /* what the first one follows */
};
static inline void chain_begin(struct chain *k, struct tm_tail after)
{
    *k = (struct chain){.tail = after, .before = after};
}
static inline void chain_add(struct chain *k, uint64_t term, uint64_t salt)
{
    struct tm_record *r = (struct tm_record *)(void *)(k->bytes + k->len);
    memset(r, 0, sizeof *r);
    r->kind = TM_RECORD_SYSTEM;
    r->term = term;
    r->index = k->tail.index + 1;
    r->hlc = salt;
    r->prev_hash = k->tail.hash;
    tm_record_seal(r);
    k->len += r->length;
    k->count++;
    k->tail = (struct tm_tail){r->index, r->term, r->checksum};
}
static inline void puppet_append(struct cluster *c, unsigned from, uint64_t term,
                                 const struct chain *k, uint64_t commit)
{
    struct tm_replica_msg m = puppet_msg(from, TM_MSG_APPEND, term);
    m.index = k->before.index;
    m.index_term = k->before.term;
    m.hash = k->before.hash;
    m.commit = commit;
    m.count = k->count;
    m.body = tm_bytes_of(k->bytes, k->len);
    puppet_tell(c, 0, &m);
}

#endif
