/* A client has one call under way.  A walk goes on over several calls, among which it writes; what
 * it touches meanwhile is not judged.  A key whose write or deletion has no known outcome is left
 * alone for ever, and one of another name takes its place. */
#include "tests/sim/sim_census.h"

#include "net/resp.h"
#include "runtime/rng.h"
#include "storage/record.h"

#include <stdio.h>
#include <stdlib.h>

#define STEPS_MAX   20000 /* of one walk */
#define ANSWER_NS   TM_SECONDS(10)
#define WAIT_MS_MAX 3000

enum what { NOTHING, SET, DEL, SCAN, KEYS, WAIT, WAITAOF };

struct key {
    uint32_t name;
    bool there;
    bool named;          /* in this walk, or in the one before */
    uint64_t value;      /* of its newest write */
    uint64_t touched_ns; /* when it was changed last, or came to be used */
    uint64_t conn;       /* the connection that changed it last */
    /* Its newest write, as a log had it; index 0: none had it yet. */
    uint32_t partition;
    uint64_t index, hash;
};

struct client {
    struct tm_sim_census *census;
    unsigned number;
    struct tm_sim_conn *conn;
    uint64_t conn_number;
    enum what what;
    unsigned key;                    /* SET, DEL */
    uint64_t wake_at;                /* to ask, or to give up */
    uint64_t walk_ns, cursor, steps; /* the walk under way began; 0: none is */
    bool last;                       /* no walk after this one */
    uint32_t names;                  /* given out so far */
    struct key keys[TM_SIM_CENSUS_KEYS_MAX];
};

struct tm_sim_census {
    struct tm_sim *sim;
    struct tm_sim_oracle *oracle;
    struct tm_sim_census_config config;
    struct tm_rng rng;
    struct client clients[TM_SIM_CENSUS_CLIENTS_MAX];
    struct tm_resp_writer out;
    struct tm_sim_census_stats stats;
    uint64_t values, conns;
    bool stopping;
};

static uint64_t draw(struct client *c, uint64_t bound)
{
    return tm_rng_below(&c->census->rng, bound);
}

static uint64_t now_of(const struct client *c)
{
    return tm_sim_now(c->census->sim);
}

static void schedule(struct client *c, uint64_t in_ns)
{
    c->wake_at = now_of(c) + in_ns;
}

/* ---- keys ---- */

static void key_name(const struct client *c, const struct key *k, char text[32])
{
    snprintf(text, 32, "K%u:%u", c->number, k->name);
}

static void renew(struct client *c, struct key *k)
{
    *k = (struct key){.name = c->names++, .touched_ns = now_of(c)};
}

/* The key "K<client>:<name>", or NULL: of nobody, or no longer used. */
static struct key *key_of(struct tm_sim_census *s, struct tm_bytes text, struct client **owner)
{
    char line[32];
    unsigned client, name;
    snprintf(line, sizeof line, "%.*s", (int)tm_min_u64(text.len, 31), (const char *)text.data);
    if (sscanf(line, "K%u:%u", &client, &name) != 2 || client >= s->config.clients)
        return NULL;
    *owner = &s->clients[client];
    for (unsigned i = 0; i < s->config.keys; i++)
        if ((*owner)->keys[i].name == name)
            return &(*owner)->keys[i];
    return NULL;
}

/* A record is in some log: where a key's newest write is.  If a request was asked twice it is in
 * the last one, and an earlier one was not committed. */
static void heard(void *host, const struct tm_record *record)
{
    struct tm_sim_census *s = host;
    struct tm_bytes body = tm_record_body(record);
    struct tm_change change;
    struct client *owner;
    struct tm_op op;
    if (record->kind != TM_RECORD_EFFECT)
        return;
    while (tm_change_next(&body, &change)) {
        struct key *k =
            change.key.len > 3 && change.key.data[0] == 'K' ? key_of(s, change.key, &owner) : NULL;
        while (k != NULL && tm_op_next(&change.ops, &op)) {
            char text[24];
            int n = snprintf(text, sizeof text, "v%llu", (unsigned long long)k->value);
            if (op.code != TM_OP_SET_FIELD ||
                !tm_bytes_equal(op.value, tm_bytes_of(text, (size_t)n)))
                continue;
            k->partition = record->partition;
            k->index = record->index;
            k->hash = record->checksum;
        }
    }
}

/* ---- asking ---- */

static void word(struct tm_sim_census *s, const char *text)
{
    tm_resp_bulk_str(&s->out, text);
}

static void send(struct client *c, enum what what, uint64_t patience_ns)
{
    struct tm_sim_census *s = c->census;
    c->what = what;
    tm_sim_send(c->conn, tm_resp_writer_bytes(&s->out));
    tm_resp_writer_reset(&s->out, 2, TM_KIB(4));
    schedule(c, patience_ns);
}

static void ask_change(struct client *c)
{
    struct tm_sim_census *s = c->census;
    char name[32], value[24];
    c->key = (unsigned)draw(c, s->config.keys);
    struct key *k = &c->keys[c->key];
    bool set = !k->there || draw(c, 3) != 0;
    key_name(c, k, name);
    k->touched_ns = now_of(c);
    k->conn = c->conn_number;
    k->index = 0;
    k->value = set ? ++s->values : 0;
    tm_resp_array(&s->out, set ? 3 : 2);
    word(s, set ? "SET" : "DEL");
    word(s, name);
    snprintf(value, sizeof value, "v%llu", (unsigned long long)k->value);
    if (set)
        word(s, value);
    send(c, set ? SET : DEL, s->config.patience_ns);
}

static void ask_wait(struct client *c)
{
    struct tm_sim_census *s = c->census;
    uint64_t ms = 1 + draw(c, WAIT_MS_MAX);
    bool aof = draw(c, 3) == 0;
    /* Now and then for more than there can be: that takes all its time. */
    uint64_t copies = draw(c, tm_sim_config_of(s->sim)->copies) + (draw(c, 16) == 0);
    tm_resp_array(&s->out, aof ? 4 : 3);
    word(s, aof ? "WAITAOF" : "WAIT");
    if (aof)
        tm_resp_bulk_u64(&s->out, draw(c, 2));
    tm_resp_bulk_u64(&s->out, copies);
    tm_resp_bulk_u64(&s->out, ms);
    send(c, aof ? WAITAOF : WAIT, TM_MS(ms) + s->config.patience_ns);
}

static void begin_walk(struct client *c)
{
    c->walk_ns = now_of(c);
    c->cursor = c->steps = 0;
    for (unsigned i = 0; i < c->census->config.keys; i++)
        c->keys[i].named = false;
}

static void ask_scan(struct client *c)
{
    struct tm_sim_census *s = c->census;
    char pattern[16];
    bool typed = draw(c, 4) == 0, all = draw(c, 8) == 0;
    snprintf(pattern, sizeof pattern, "K%u:*", c->number);
    tm_resp_array(&s->out, 4u + (all ? 0 : 2) + (typed ? 2 : 0));
    word(s, "SCAN");
    tm_resp_bulk_u64(&s->out, c->cursor);
    if (!all) {
        word(s, "MATCH");
        word(s, pattern);
    }
    word(s, "COUNT");
    tm_resp_bulk_u64(&s->out, 1ULL << (2 + draw(c, 8)));
    if (typed) {
        word(s, "TYPE");
        word(s, "string");
    }
    c->steps++;
    s->stats.steps++;
    send(c, SCAN, s->config.patience_ns);
}

static void ask_keys(struct client *c)
{
    struct tm_sim_census *s = c->census;
    char pattern[16];
    begin_walk(c);
    snprintf(pattern, sizeof pattern, "K%u:*", c->number);
    tm_resp_array(&s->out, 2);
    word(s, "KEYS");
    word(s, pattern);
    send(c, KEYS, s->config.patience_ns);
}

static void ask(struct client *c)
{
    uint64_t what = draw(c, 100);
    if (c->walk_ns != 0 && (c->last || what < 50)) {
        ask_scan(c);
    } else if (what < 70) {
        ask_change(c);
    } else if (what < 85) {
        ask_wait(c);
    } else if (c->walk_ns == 0 && what < 87) {
        ask_keys(c);
    } else {
        if (c->walk_ns == 0)
            begin_walk(c);
        ask_scan(c);
    }
}

/* ---- judging ---- */

/* The walk is over. */
static void judge_walk(struct client *c)
{
    struct tm_sim_census *s = c->census;
    char name[32];
    s->stats.scans++;
    for (unsigned i = 0; i < s->config.keys; i++) {
        struct key *k = &c->keys[i];
        if (k->touched_ns >= c->walk_ns)
            continue;
        key_name(c, k, name);
        if (k->there && !k->named)
            tm_sim_wrong(s->sim, "a walk of %llu steps from %.6f on does not name %s",
                         (unsigned long long)c->steps, (double)c->walk_ns / 1e9, name);
        s->stats.named += k->there;
    }
    c->walk_ns = 0;
}

static void take_name(struct client *c, struct tm_bytes text)
{
    struct tm_sim_census *s = c->census;
    struct client *owner = NULL;
    struct key *k = key_of(s, text, &owner);
    if (k == NULL || owner != c || k->touched_ns >= c->walk_ns)
        return;
    if (!k->there || k->named)
        tm_sim_wrong(s->sim, "a walk from %.6f on names %.*s, which %s", (double)c->walk_ns / 1e9,
                     (int)tm_min_u64(text.len, 31), (const char *)text.data,
                     k->there ? "it had named before" : "was away all the time");
    k->named = true;
}

/* Names, one after the other.  False: it is something else. */
static bool take_names(struct client *c, struct tm_bytes bytes)
{
    struct tm_resp_value v;
    size_t used, at = 0;
    if (tm_resp_read(bytes.data, bytes.len, &v, &used) != TM_RESP_DONE || v.type != TM_RESP_ARRAY)
        return false;
    for (uint64_t n = v.count; n > 0; n--) {
        at += used;
        if (tm_resp_read(bytes.data + at, bytes.len - at, &v, &used) != TM_RESP_DONE ||
            v.type != TM_RESP_BULK)
            return false;
        take_name(c, v.text);
    }
    return at + used == bytes.len;
}

static bool take_scan(struct client *c, struct tm_bytes reply)
{
    struct tm_resp_value v;
    size_t used, more;
    int64_t cursor;
    if (tm_resp_read(reply.data, reply.len, &v, &used) != TM_RESP_DONE || v.count != 2 ||
        tm_resp_read(reply.data + used, reply.len - used, &v, &more) != TM_RESP_DONE ||
        !tm_resp_to_i64(v.text, &cursor))
        return false;
    used += more;
    c->cursor = (uint64_t)cursor;
    if (!take_names(c, tm_bytes_of(reply.data + used, reply.len - used)))
        return false;
    if (c->cursor == 0)
        judge_walk(c);
    else if (c->steps == STEPS_MAX)
        tm_sim_wrong(c->census->sim, "a walk from %.6f on does not end", (double)c->walk_ns / 1e9);
    return true;
}

/* So many others are said to have what this connection wrote, besides the leader. */
static bool take_copies(struct client *c, int64_t others)
{
    struct tm_sim_census *s = c->census;
    const struct tm_sim_config *config = tm_sim_config_of(s->sim);
    bool disk = config->options.durability == TM_DURABILITY_DISK;
    s->stats.waits++;
    s->stats.copies += (uint64_t)others;
    if (others < 0 || others >= config->copies)
        return false;
    for (unsigned i = 0; i < s->config.keys && disk; i++) {
        const struct key *k = &c->keys[i];
        if (!k->there || k->conn != c->conn_number)
            continue;
        unsigned copies =
            k->index == 0 ? 0 : tm_sim_oracle_copies(s->oracle, k->partition, k->index, k->hash);
        if (copies < others + 1)
            tm_sim_wrong(
                s->sim,
                "client K%u is told that %lld others have what it wrote; of record %llu of "
                "partition %u there are %u copies on disks",
                c->number, (long long)others, (unsigned long long)k->index, k->partition, copies);
    }
    return true;
}

static bool take_waitaof(struct client *c, struct tm_bytes reply)
{
    struct tm_resp_value v;
    size_t used, more;
    if (tm_resp_read(reply.data, reply.len, &v, &used) != TM_RESP_DONE || v.count != 2 ||
        tm_resp_read(reply.data + used, reply.len - used, &v, &more) != TM_RESP_DONE ||
        v.type != TM_RESP_INTEGER || v.integer < 0 || v.integer > 1)
        return false;
    used += more;
    return tm_resp_read(reply.data + used, reply.len - used, &v, &more) == TM_RESP_DONE &&
           v.type == TM_RESP_INTEGER && take_copies(c, v.integer);
}

/* ---- answers ---- */

/* What was under way may have happened, or not. */
static void give_up(struct client *c)
{
    c->census->stats.failed += c->what != NOTHING;
    if (c->what == SET || c->what == DEL)
        renew(c, &c->keys[c->key]);
    if (c->what == KEYS)
        c->walk_ns = 0;
    c->what = NOTHING;
}

static void failed(struct client *c, struct tm_bytes text)
{
    static const char unknown[] = "TIMEOUT";
    struct key *k = &c->keys[c->key];
    bool may =
        text.len >= sizeof unknown - 1 && memcmp(text.data, unknown, sizeof unknown - 1) == 0;
    bool change = c->what == SET || c->what == DEL;
    if (!change || may) {
        give_up(c);
        return;
    }
    c->census->stats.failed++;
    k->conn = 0; /* its newest write is an older one */
    c->what = NOTHING;
}

/* Whether the reply is one of those that this question has. */
static bool take(struct client *c, enum what what, struct tm_bytes reply,
                 const struct tm_resp_value *v)
{
    struct key *k = &c->keys[c->key];
    switch (what) {
    case SET:
        k->there = true;
        c->census->stats.written++;
        return v->type == TM_RESP_SIMPLE;
    case DEL:
        k->there = false;
        return v->type == TM_RESP_INTEGER && v->integer == 1;
    case SCAN:
        return v->type == TM_RESP_ARRAY && take_scan(c, reply);
    case KEYS:
        if (!take_names(c, reply))
            return false;
        judge_walk(c);
        return true;
    case WAIT:
        return v->type == TM_RESP_INTEGER && take_copies(c, v->integer);
    case WAITAOF:
        return v->type == TM_RESP_ARRAY && take_waitaof(c, reply);
    case NOTHING:
        break;
    }
    return false;
}

static void on_reply(void *host, struct tm_sim_conn *conn, struct tm_bytes reply)
{
    struct client *c = host;
    struct tm_resp_value v;
    enum what what = c->what;
    size_t used;
    TM_ASSERT(conn == c->conn);
    schedule(c, c->last ? 1 : 1 + draw(c, 2 * c->census->config.pause_ns));
    if (tm_resp_read(reply.data, reply.len, &v, &used) == TM_RESP_DONE && v.type == TM_RESP_ERROR &&
        what != NOTHING) {
        failed(c, v.text);
        return;
    }
    c->what = NOTHING;
    if (!take(c, what, reply, &v))
        tm_sim_wrong(c->census->sim, "client K%u: a reply that cannot be, to question %d: %.*s",
                     c->number, (int)what, (int)tm_min_u64(reply.len, 80),
                     (const char *)reply.data);
}

static void on_closed(void *host, struct tm_sim_conn *conn)
{
    struct client *c = host;
    TM_ASSERT(conn == c->conn);
    c->conn = NULL;
    give_up(c);
    schedule(c, 1 + draw(c, TM_MS(20)));
}

/* ---- a client's doings ---- */

static bool connect(struct client *c)
{
    struct tm_sim_census *s = c->census;
    struct tm_sim_client client = {.host = c, .reply = on_reply, .closed = on_closed};
    unsigned node, worker;
    c->conn = tm_sim_connect_any(s->sim, &s->rng, &client, &node, &worker);
    c->conn_number = ++s->conns;
    return c->conn != NULL;
}

static void wake(struct client *c)
{
    struct tm_sim_census *s = c->census;
    c->wake_at = UINT64_MAX;
    if (s->stopping && !c->last && c->what != NOTHING)
        return; /* until it is answered, or the connection ends */
    if (c->conn != NULL && (c->what != NOTHING || draw(c, 200) == 0)) {
        tm_sim_disconnect(c->conn); /* it took too long, or long enough */
        c->conn = NULL;
        give_up(c);
    }
    if (s->stopping && (!c->last || c->walk_ns == 0))
        return;
    if (c->conn == NULL && !connect(c))
        schedule(c, TM_MS(20));
    else
        ask(c);
}

static uint64_t next_wake(void *host)
{
    const struct tm_sim_census *s = host;
    uint64_t at = UINT64_MAX;
    for (unsigned i = 0; i < s->config.clients; i++)
        at = tm_min_u64(at, s->clients[i].wake_at);
    return at;
}

static void act(void *host)
{
    struct tm_sim_census *s = host;
    for (unsigned i = 0; i < s->config.clients; i++)
        if (s->clients[i].wake_at <= tm_sim_now(s->sim))
            wake(&s->clients[i]);
}

/* ---- life ---- */

struct tm_sim_census *tm_sim_census_new(struct tm_sim *sim, struct tm_sim_oracle *oracle,
                                        const struct tm_sim_census_config *config)
{
    struct tm_sim_census *s = calloc(1, sizeof *s);
    TM_ASSERT(s != NULL && config->clients <= TM_SIM_CENSUS_CLIENTS_MAX &&
              config->keys <= TM_SIM_CENSUS_KEYS_MAX && config->pause_ns > 0);
    s->sim = sim;
    s->oracle = oracle;
    s->config = *config;
    tm_rng_seed(&s->rng, tm_sim_draw(sim, UINT64_MAX));
    tm_resp_writer_init(&s->out, TM_MIB(1));
    tm_resp_writer_reset(&s->out, 2, TM_KIB(4));
    for (unsigned i = 0; i < config->clients; i++) {
        struct client *c = &s->clients[i];
        c->census = s;
        c->number = i;
        for (unsigned k = 0; k < config->keys; k++)
            renew(c, &c->keys[k]);
        schedule(c, 1 + draw(c, config->pause_ns));
    }
    tm_sim_oracle_hear(oracle, heard, s);
    tm_sim_drive(sim, &(struct tm_sim_driver){.host = s, .next = next_wake, .act = act});
    return s;
}

void tm_sim_census_free(struct tm_sim_census *s)
{
    tm_sim_oracle_hear(s->oracle, NULL, NULL);
    for (unsigned i = 0; i < s->config.clients; i++)
        if (s->clients[i].conn != NULL)
            tm_sim_disconnect(s->clients[i].conn);
    tm_resp_writer_free(&s->out);
    free(s);
}

bool tm_sim_census_stop(struct tm_sim_census *s)
{
    bool quiet = true;
    s->stopping = true;
    for (unsigned i = 0; i < s->config.clients; i++)
        quiet &= s->clients[i].what == NOTHING;
    return quiet;
}

static bool counted(void *arg)
{
    const struct client *c = arg;
    return c->walk_ns == 0 || tm_sim_wrongs(c->census->sim) > 0;
}

void tm_sim_census_count(struct tm_sim_census *s)
{
    for (unsigned i = 0; i < s->config.clients && tm_sim_wrongs(s->sim) == 0; i++) {
        struct client *c = &s->clients[i];
        uint64_t failed_before = s->stats.failed;
        begin_walk(c);
        c->last = true;
        schedule(c, 1);
        if (!tm_sim_run_until(s->sim, counted, c, ANSWER_NS * 20) ||
            s->stats.failed != failed_before)
            tm_sim_wrong(s->sim, "client K%u cannot count its keys at rest", i);
        c->last = false;
    }
}

struct tm_sim_census_stats tm_sim_census_stats(const struct tm_sim_census *s)
{
    return s->stats;
}
