/* Taking apart what members say of their partitions, and merging it.
 *
 * Of several that say they lead a partition the one of the highest term does.  The lag of a
 * partition is how far the slowest data copy is behind the highest known commit index; a witness
 * has no copy and no lag.  The system partition, whose number follows the others', is listed like
 * them. */
#include "net/resp.h"
#include "tools/status_internal.h"

#include <stdio.h>
#include <stdlib.h>

#define PARTITIONS_MAX 16385 /* with the system partition */
#define MEMBERS_MAX    65536

/* Takes one element off the front of rest. */
static bool take(struct tm_bytes *rest, struct tm_resp_value *v)
{
    size_t used;
    if (tm_resp_read(rest->data, rest->len, v, &used) != TM_RESP_DONE)
        return false;
    *rest = tm_bytes_of(rest->data + used, rest->len - used);
    return true;
}

static void take_member_field(struct tm_status_member *m, struct tm_bytes name,
                              struct tm_bytes value)
{
    if (tm_bytes_equal(name, tm_bytes_str("address")))
        snprintf(m->address, sizeof m->address, "%.*s", (int)tm_min_u64(value.len, 79), value.data);
    else if (tm_bytes_equal(name, tm_bytes_str("node")))
        snprintf(m->node, sizeof m->node, "%.*s", (int)tm_min_u64(value.len, 63), value.data);
}

/* The pairs of names and values of one row. */
static enum tm_err take_member(struct tm_status_member *m, struct tm_bytes *rest)
{
    struct tm_resp_value row, name, value;
    *m = (struct tm_status_member){0};
    if (!take(rest, &row) || (row.type != TM_RESP_ARRAY && row.type != TM_RESP_MAP))
        return TM_ERR_CORRUPT;
    for (uint64_t i = 0; i + 1 < row.count; i += 2) {
        if (!take(rest, &name) || !take(rest, &value) || value.count > 0)
            return TM_ERR_CORRUPT;
        take_member_field(m, name.text, value.text);
    }
    return m->address[0] != '\0' && m->node[0] != '\0' ? TM_OK : TM_ERR_CORRUPT;
}

enum tm_err tm_status_members(struct tm_status *s, struct tm_bytes reply)
{
    struct tm_resp_value head;
    if (!take(&reply, &head))
        return TM_ERR_CORRUPT;
    if (head.type == TM_RESP_ERROR)
        return TM_ERR_UNSUPPORTED;
    if (head.type != TM_RESP_ARRAY || head.count > MEMBERS_MAX)
        return TM_ERR_CORRUPT;
    s->members = calloc(head.count + 1, sizeof *s->members);
    if (s->members == NULL)
        return TM_ERR_NOMEM;
    enum tm_err err = TM_OK;
    for (uint64_t i = 0; i < head.count && err == TM_OK; i++)
        err = take_member(&s->members[i], &reply);
    s->member_count = err == TM_OK ? (unsigned)head.count : 0;
    return err;
}

static void take_field(struct tm_status_replica *r, struct tm_bytes name,
                       const struct tm_resp_value *v)
{
    char text[64];
    snprintf(text, sizeof text, "%.*s", (int)tm_min_u64(v->text.len, sizeof text - 1),
             v->text.data);
    uint64_t number = strtoull(text, NULL, 10);
    const struct {
        const char *name;
        uint64_t *value;
    } numbers[] = {
        {"term", &r->term},          {"commit", &r->commit},         {"last", &r->last},
        {"applied", &r->applied},    {"copies", &r->copies},         {"in_sync", &r->in_sync},
        {"entities", &r->entities},  {"state_hash", &r->state_hash}, {"last_term", &r->last_term},
        {"node", &r->node},          {"set_nodes", &r->set_nodes},   {"set_term", &r->set_term},
        {"set_epoch", &r->set_epoch}};
    for (size_t i = 0; i < TM_ARRAY_LEN(numbers); i++)
        if (tm_bytes_equal(name, tm_bytes_str(numbers[i].name)))
            *numbers[i].value = number;
    if (tm_bytes_equal(name, tm_bytes_str("partition")))
        r->partition = (unsigned)tm_min_u64(number, UINT32_MAX);
    else if (tm_bytes_equal(name, tm_bytes_str("role")))
        snprintf(r->role, sizeof r->role, "%.15s", text);
    else if (tm_bytes_equal(name, tm_bytes_str("ready")))
        r->ready = number != 0;
    else if (tm_bytes_equal(name, tm_bytes_str("faulty")))
        r->faulty = number != 0;
}

static struct tm_status_replica *new_replica(struct tm_status *s)
{
    if (s->replica_count == s->replica_room) {
        unsigned room = s->replica_room == 0 ? 1024 : 2 * s->replica_room;
        struct tm_status_replica *more = realloc(s->replicas, room * sizeof *more);
        if (more == NULL)
            return NULL;
        s->replicas = more;
        s->replica_room = room;
    }
    struct tm_status_replica *r = &s->replicas[s->replica_count++];
    *r = (struct tm_status_replica){0};
    return r;
}

static enum tm_err take_replica(struct tm_status *s, unsigned member, struct tm_bytes *rest)
{
    struct tm_resp_value row, name, value;
    if (!take(rest, &row) || (row.type != TM_RESP_ARRAY && row.type != TM_RESP_MAP))
        return TM_ERR_CORRUPT;
    struct tm_status_replica *r = new_replica(s);
    if (r == NULL)
        return TM_ERR_NOMEM;
    r->member = member;
    for (uint64_t i = 0; i + 1 < row.count; i += 2) {
        if (!take(rest, &name) || !take(rest, &value) || value.count > 0)
            return TM_ERR_CORRUPT;
        take_field(r, name.text, &value);
    }
    return r->partition < PARTITIONS_MAX ? TM_OK : TM_ERR_CORRUPT;
}

enum tm_err tm_status_take(struct tm_status *s, struct tm_status_member *m, struct tm_bytes reply)
{
    struct tm_resp_value head;
    unsigned before = s->replica_count;
    if (!take(&reply, &head))
        return TM_ERR_CORRUPT;
    if (head.type == TM_RESP_ERROR)
        return TM_ERR_UNSUPPORTED;
    enum tm_err err = head.type == TM_RESP_ARRAY ? TM_OK : TM_ERR_CORRUPT;
    for (uint64_t i = 0; i < head.count && err == TM_OK; i++)
        err = take_replica(s, (unsigned)(m - s->members), &reply);
    if (err != TM_OK)
        s->replica_count = before; /* a member that speaks nonsense says nothing */
    return err;
}

static bool leads(const struct tm_status_replica *r)
{
    return strcmp(r->role, "LEADER") == 0;
}

static void merge_replica(struct tm_status *s, const struct tm_status_replica *r)
{
    struct tm_status_partition *p = &s->partitions[r->partition];
    bool has_data = strcmp(r->role, "WITNESS") != 0;
    s->members[r->member].holds += has_data;
    p->faulty += r->faulty;
    if (p->copies < r->copies)
        p->copies = (unsigned)r->copies;
    if (leads(r) && (p->leader < 0 || r->term > p->leader_term)) {
        p->leader = (int)r->member;
        p->leader_term = r->term;
        p->in_sync = (unsigned)r->in_sync;
        p->applied = r->applied;
    }
    p->term = tm_max_u64(p->term, r->term);
    p->commit = tm_max_u64(p->commit, r->commit);
}

static void merge_lag(struct tm_status *s, const struct tm_status_replica *r)
{
    struct tm_status_partition *p = &s->partitions[r->partition];
    if (strcmp(r->role, "WITNESS") != 0 && r->applied < p->commit)
        p->lag = tm_max_u64(p->lag, p->commit - r->applied);
}

static void add_totals(struct tm_status *s)
{
    struct tm_status_totals *t = &s->totals;
    for (unsigned i = 0; i < s->partition_count; i++) {
        const struct tm_status_partition *p = &s->partitions[i];
        t->led += p->leader >= 0;
        t->one_copy += p->leader >= 0 && p->in_sync < 2 && p->copies > 1;
        t->faulty += p->faulty > 0;
        t->max_lag = tm_max_u64(t->max_lag, p->lag);
        if (p->leader >= 0)
            s->members[p->leader].leads++;
    }
    for (unsigned i = 0; i < s->member_count; i++)
        t->unreachable += s->members[i].err != TM_OK;
}

void tm_status_merge(struct tm_status *s)
{
    for (unsigned i = 0; i < s->replica_count; i++)
        if (s->replicas[i].partition >= s->partition_count)
            s->partition_count = s->replicas[i].partition + 1;
    s->partitions = calloc(s->partition_count + 1, sizeof *s->partitions);
    if (s->partitions == NULL)
        s->partition_count = s->replica_count = 0;
    for (unsigned i = 0; i < s->partition_count; i++)
        s->partitions[i].leader = -1;
    for (unsigned i = 0; i < s->replica_count; i++)
        merge_replica(s, &s->replicas[i]);
    for (unsigned i = 0; i < s->replica_count; i++)
        merge_lag(s, &s->replicas[i]);
    add_totals(s);
}

void tm_status_free(struct tm_status *s)
{
    free(s->members);
    free(s->replicas);
    free(s->partitions);
    *s = (struct tm_status){0};
}
