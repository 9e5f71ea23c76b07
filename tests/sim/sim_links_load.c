/* A client is one connection with one command under way.  What it asks next is up to its part:
 * writers draw; owners go through a cycle over their own keys, each step of which is repeated until
 * it is answered, so that it is known how their keys end; readers look at owners' keys of other
 * clusters; examiners, at the end, read everything once. */
#include "tests/sim/sim_links_load.h"

#include "runtime/rng.h"

#include <stdarg.h>
#include <stdlib.h>

#define CLIENTS_MAX  64
#define RULED        1             /* the type whose conflicts go by the rule of the plan */
#define FORGOTTEN_NS TM_SECONDS(6) /* what was not answered does not happen any more after that */

enum part { WRITER, OWNER, READER, EXAMINER };

/* The keys of one cluster's owner: in one slot, so in one partition.  x is set before y. */
struct own {
    unsigned cluster, type;
    uint64_t x, y; /* as they were set last, and answered */
    uint64_t seen_x[TM_SIM_CLUSTERS_MAX], seen_y[TM_SIM_CLUSTERS_MAX]; /* by readers there */
    uint64_t sure_x[TM_SIM_CLUSTERS_MAX], sure_y[TM_SIM_CLUSTERS_MAX]; /* that are there */
    bool gone; /* the third key was deleted last */
};

struct client {
    struct tm_sim_links_load *load;
    enum part part;
    unsigned cluster;
    struct tm_sim_conn *conn;
    uint64_t next_at; /* of its next command; UINT64_MAX: one is under way */
    unsigned step;
    bool open;        /* OWNER: the step may have been taken, and was not answered */
    struct own *own;  /* OWNER, READER */
    unsigned counter; /* WRITER: type * KEYS + key of an increment under way, + 1 */
    int64_t adding;
    uint64_t number; /* of the write under way, 0: that has none */
    char key[TM_SIM_LINKS_KEY_SIZE];
    uint64_t at; /* EXAMINER: key number */
    bool done;
};

struct tm_sim_links_load {
    struct tm_sim_world *w;
    struct tm_sim_links_plan *plan;
    struct tm_rng rng;
    bool stopping;
    struct client clients[CLIENTS_MAX];
    unsigned count;
    struct own own[TM_SIM_CLUSTERS_MAX * TM_SIM_LINKS_TYPES];
    unsigned owns;
    uint64_t value;
    unsigned (*said)(void *host, unsigned cluster, const char *key, uint64_t number);
    void *hearer;
    /* Types that came over the link at any time; the value up to which they did, once they do not
     * any more. */
    uint8_t ever[TM_SIM_CLUSTERS_MAX][TM_SIM_CLUSTERS_MAX];
    uint64_t until[TM_SIM_CLUSTERS_MAX][TM_SIM_CLUSTERS_MAX][TM_SIM_LINKS_TYPES];
    /* By cluster, type, key: what was added and answered; what may have been. */
    int64_t added[TM_SIM_CLUSTERS_MAX][TM_SIM_LINKS_TYPES][TM_SIM_LINKS_KEYS];
    int64_t maybe[TM_SIM_CLUSTERS_MAX][TM_SIM_LINKS_TYPES][TM_SIM_LINKS_KEYS];
    /* And what the second cluster has of that for certain. */
    int64_t sure[TM_SIM_CLUSTERS_MAX][TM_SIM_CLUSTERS_MAX][TM_SIM_LINKS_TYPES][TM_SIM_LINKS_KEYS];
    unsigned lost, gone; /* clusters that were lost; for good */
    uint64_t commands, refused, unknown, reads;
};

static struct tm_sim *sim_of(const struct client *c)
{
    return tm_sim_world_cluster(c->load->w, c->cluster);
}

static uint64_t below(struct tm_sim_links_load *l, uint64_t bound)
{
    return tm_rng_below(&l->rng, bound);
}

void tm_sim_links_key(unsigned type, unsigned i, char key[TM_SIM_LINKS_KEY_SIZE])
{
    unsigned own = i - TM_SIM_LINKS_KEYS;
    if (i < TM_SIM_LINKS_KEYS)
        snprintf(key, TM_SIM_LINKS_KEY_SIZE, "%c:%u", 'A' + (int)type, i);
    else
        snprintf(key, TM_SIM_LINKS_KEY_SIZE, "%c:{%s}%c", 'A' + (int)type,
                 tm_sim_world_name(own / 3), "xyz"[own % 3]);
}

static void own_key(const struct own *o, const char *which, char key[TM_SIM_LINKS_KEY_SIZE])
{
    snprintf(key, TM_SIM_LINKS_KEY_SIZE, "%c:{%s}%s", 'A' + (int)o->type,
             tm_sim_world_name(o->cluster), which);
}

/* ---- asking ---- */

static void ask(struct client *c, const char *fmt, ...) TM_PRINTF(2, 3);

/* Words with one blank between them. */
static void ask(struct client *c, const char *fmt, ...)
{
    static char line[16384], out[20480];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    unsigned words = 1;
    for (const char *p = line; *p != '\0'; p++)
        words += *p == ' ';
    size_t used = (size_t)snprintf(out, sizeof out, "*%u\r\n", words);
    for (char *word = strtok(line, " "); word != NULL; word = strtok(NULL, " "))
        used +=
            (size_t)snprintf(out + used, sizeof out - used, "$%zu\r\n%s\r\n", strlen(word), word);
    c->load->commands++;
    c->next_at = UINT64_MAX;
    tm_sim_send(c->conn, tm_bytes_of(out, used));
}

/* Counters have the last keys of a type; they are only added to. */
static bool is_counter(unsigned key)
{
    return key >= TM_SIM_LINKS_KEYS - 2;
}

static void write_counter(struct client *c, unsigned type, unsigned key, const char *name)
{
    c->counter = type * TM_SIM_LINKS_KEYS + key + 1;
    snprintf(c->key, sizeof c->key, "%s", name);
    c->adding = (int64_t)below(c->load, 9) + 1;
    ask(c, "INCRBY %s %lld", name, (long long)c->adding);
}

/* So much that it makes values large. */
static const char *padding(void)
{
    static char text[8001];
    if (text[0] == '\0')
        for (unsigned i = 0; i < sizeof text - 1; i++)
            text[i] = i == 0 ? '-' : (char)('a' + i * i * 31 / 7 % 26);
    return text;
}

/* A value that tells which write it is of. */
static const char *value_of(struct client *c, const char *key)
{
    static char text[64];
    c->number = ++c->load->value;
    snprintf(c->key, sizeof c->key, "%s", key);
    snprintf(text, sizeof text, "<%s.%llu>", tm_sim_world_name(c->cluster),
             (unsigned long long)c->number);
    return text;
}

static void write_shared(struct client *c)
{
    struct tm_sim_links_load *l = c->load;
    const struct tm_sim_links_plan *p = l->plan;
    char key[TM_SIM_LINKS_KEY_SIZE];
    unsigned type;
    do
        type = (unsigned)below(l, TM_SIM_LINKS_TYPES);
    while ((p->may_write[c->cluster] >> type & 1) == 0);
    unsigned i = (unsigned)below(l, TM_SIM_LINKS_KEYS), what = (unsigned)below(l, 100);
    tm_sim_links_key(type, i, key);
    if (is_counter(i))
        write_counter(c, type, i, key);
    else if (p->deletes && what < 8)
        ask(c, "DEL %s", key);
    else if (p->expires && what < 12)
        ask(c, "PEXPIRE %s %u", key, (unsigned)below(l, 3000) + 1);
    else if (p->expires && what < 14)
        ask(c, "PERSIST %s", key);
    else if (i % 3 == 0)
        ask(c, "SET %s %s%.*s", key, value_of(c, key), (int)(what < 50 ? p->bulk : 0), padding());
    else if (i % 3 == 1 && p->deletes && what < 25)
        ask(c, "HDEL %s f%u", key, (unsigned)below(l, 4));
    else if (i % 3 == 1)
        ask(c, "HSET %s f%u %s", key, (unsigned)below(l, 4), value_of(c, key));
    else
        ask(c, "%s %s m%u", p->deletes && what < 40 ? "SREM" : "SADD", key, (unsigned)below(l, 6));
}

/* x, y, then the third key comes and goes. */
static void write_own(struct client *c)
{
    struct own *o = c->own;
    char key[TM_SIM_LINKS_KEY_SIZE];
    static const char *const keys[] = {"x", "y", "z", "z"};
    own_key(o, keys[c->step], key);
    c->open = true;
    if (c->step < 3)
        ask(c, "SET %s %llu%s", key, (unsigned long long)(c->step == 1 ? o->y : o->x) + 1,
            value_of(c, key));
    else
        ask(c, "DEL %s", key);
}

static void read_own(struct client *c)
{
    char x[TM_SIM_LINKS_KEY_SIZE], y[TM_SIM_LINKS_KEY_SIZE];
    own_key(c->own, "x", x);
    own_key(c->own, "y", y);
    c->load->reads++;
    ask(c, "MGET %s %s", x, y);
}

/* All shared keys, then all owners' keys. */
static void read_next(struct client *c)
{
    char key[TM_SIM_LINKS_KEY_SIZE];
    unsigned shared = TM_SIM_LINKS_TYPES * TM_SIM_LINKS_KEYS;
    c->load->reads++;
    if (c->at >= shared) {
        static const char *const keys[] = {"x", "y", "z"};
        own_key(&c->load->own[(c->at - shared) / 3], keys[(c->at - shared) % 3], key);
        ask(c, "GET %s", key);
        return;
    }
    unsigned i = (unsigned)c->at % TM_SIM_LINKS_KEYS;
    tm_sim_links_key((unsigned)c->at / TM_SIM_LINKS_KEYS, i, key);
    if (is_counter(i) || i % 3 == 0)
        ask(c, "GET %s", key);
    else
        ask(c, "%s %s", i % 3 == 1 ? "HGETALL" : "SMEMBERS", key);
}

/* ---- answers ---- */

static bool is_error(struct tm_bytes reply)
{
    return reply.len > 0 && reply.data[0] == '-';
}

static bool unknown(struct tm_bytes reply)
{
    return memmem(reply.data, reply.len, "unknown", 7) != NULL ||
           memmem(reply.data, reply.len, "UNKNOWN", 7) != NULL;
}

/* The number of a bulk string at *at, 0 for none; moves *at behind it. */
static uint64_t take_number(struct tm_bytes reply, size_t *at)
{
    char text[64] = "";
    const char *p = (const char *)reply.data + *at;
    long len = strtol(p + 1, NULL, 10);
    const char *body = memchr(p, '\n', reply.len - *at);
    TM_ASSERT(body != NULL && len < (long)sizeof text);
    body++;
    *at = (size_t)(body - (const char *)reply.data);
    if (len < 0)
        return 0;
    memcpy(text, body, (size_t)len);
    *at += (size_t)len + 2;
    return strtoull(text, NULL, 10);
}

static void take_counter(struct client *c, bool good, bool maybe, unsigned sure)
{
    struct tm_sim_links_load *l = c->load;
    unsigned type = (c->counter - 1) / TM_SIM_LINKS_KEYS,
             key = (c->counter - 1) % TM_SIM_LINKS_KEYS;
    if (c->counter == 0)
        return;
    c->counter = 0;
    if (good)
        l->added[c->cluster][type][key] += c->adding;
    for (unsigned j = 0; good && j < TM_SIM_CLUSTERS_MAX; j++)
        l->sure[c->cluster][j][type][key] += (sure >> j & 1) != 0 ? c->adding : 0;
    if (!good && maybe)
        l->maybe[c->cluster][type][key] += c->adding;
}

/* One step of the cycle is done; a repeated one did nothing else. */
static void take_own(struct client *c, unsigned sure)
{
    struct own *o = c->own;
    c->open = false;
    if (c->step == 0)
        o->x++;
    else if (c->step == 1)
        o->y++;
    for (unsigned j = 0; j < TM_SIM_CLUSTERS_MAX; j++)
        if ((sure >> j & 1) != 0) {
            o->sure_x[j] = o->x;
            o->sure_y[j] = o->y;
        }
    o->gone = c->step == 3;
    c->step = (c->step + 1) % 4;
}

/* States of keys came in another order than their changes were made in. */
static bool was_resynchronised(const struct tm_sim_links_load *l)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < l->plan->world.clusters; i++)
        for (unsigned n = 0; n < l->plan->world.cluster[i].nodes; n++)
            for (unsigned k = 0; k < TM_SIM_WORKERS_MAX; k++)
                sum += tm_counter_get(tm_sim_counters(tm_sim_world_cluster(l->w, i), n, k),
                                      TM_COUNTER_link_resyncs);
    return sum > 0;
}

static void take_read(struct client *c, struct tm_bytes reply)
{
    struct own *o = c->own;
    size_t at = 0;
    if (reply.len < 4 || memcmp(reply.data, "*2\r\n", 4) != 0)
        return;
    at = 4;
    uint64_t x = take_number(reply, &at), y = take_number(reply, &at);
    if (x == 0 && y == 0 && c->load->plan->purges && c->load->plan->changes > 0)
        o->seen_x[c->cluster] = o->seen_y[c->cluster] = 0; /* it was purged, or never there */
    bool in_order = c->load->lost == 0 && !was_resynchronised(c->load);
    if ((x < y && in_order) || x < o->seen_x[c->cluster] || y < o->seen_y[c->cluster])
        tm_sim_wrong(
            sim_of(c), "of %s's keys of type %c %s sees x = %llu and y = %llu after %llu and %llu",
            tm_sim_world_name(o->cluster), 'A' + (int)o->type, tm_sim_world_name(c->cluster),
            (unsigned long long)x, (unsigned long long)y, (unsigned long long)o->seen_x[c->cluster],
            (unsigned long long)o->seen_y[c->cluster]);
    o->seen_x[c->cluster] = x;
    o->seen_y[c->cluster] = y;
}

/* ---- the end ---- */

static bool reaches(const struct tm_sim_links_load *l, unsigned from, unsigned to, unsigned type)
{
    return from == to || (l->plan->reach[from][to] >> type & 1) != 0;
}

static bool has_reached(const struct tm_sim_links_load *l, unsigned from, unsigned to,
                        unsigned type)
{
    return reaches(l, from, to, type) || (l->ever[from][to] >> type & 1) != 0;
}

/* Whether all that is written there comes here in the end: it was not lost for good, nor was a
 * cluster between. */
static bool comes_whole(const struct tm_sim_links_load *l, unsigned from, unsigned to)
{
    bool whole = (l->gone >> from & 1) == 0;
    for (unsigned i = from + 1; l->plan->shape == TM_SIM_LINKS_CHAIN && i < to; i++)
        whole = whole && (l->gone >> i & 1) == 0;
    return whole;
}

void tm_sim_links_load_widens(struct tm_sim_links_load *l, unsigned from, unsigned to,
                              uint8_t ships)
{
    struct tm_sim_links_plan *p = l->plan;
    l->ever[from][to] |= p->reach[from][to];
    for (unsigned t = 0; t < TM_SIM_LINKS_TYPES; t++)
        if (((ships | p->reach[from][to]) >> t & 1) != 0)
            l->until[from][to][t] = UINT64_MAX;
    p->ships[from][to] = p->reach[from][to] = ships;
    l->ever[from][to] |= ships;
}

void tm_sim_links_load_narrows(struct tm_sim_links_load *l, unsigned from, unsigned to,
                               uint8_t ships)
{
    for (unsigned t = 0; t < TM_SIM_LINKS_TYPES; t++)
        if ((ships >> t & 1) == 0 && (l->ever[from][to] >> t & 1) != 0 &&
            l->until[from][to][t] == UINT64_MAX)
            l->until[from][to][t] = l->value;
}

static void judge_counter(struct client *c, unsigned type, unsigned key, struct tm_bytes reply)
{
    struct tm_sim_links_load *l = c->load;
    int64_t least = 0, most = 0;
    size_t at = 0;
    int64_t value = (int64_t)take_number(reply, &at);
    for (unsigned i = 0; i < l->plan->world.clusters; i++)
        if (has_reached(l, i, c->cluster, type)) {
            bool all = l->ever[i][c->cluster] == 0 && /* no filter has changed */
                       comes_whole(l, i, c->cluster);
            least +=
                i == c->cluster || all ? l->added[i][type][key] : l->sure[i][c->cluster][type][key];
            most += l->added[i][type][key] + l->maybe[i][type][key];
        }
    if (type == RULED && l->plan->rule != NULL)
        return; /* its rule is none of counters */
    if (value < least || value > most)
        tm_sim_wrong(sim_of(c), "counter %c:%u at %s is %lld, and %lld to %lld were added",
                     'A' + (int)type, key, tm_sim_world_name(c->cluster), (long long)value,
                     (long long)least, (long long)most);
}

/* The greatest number behind a mark. */
static uint64_t newest_of(struct tm_bytes reply, const char *mark)
{
    uint64_t newest = 0;
    size_t len = strlen(mark);
    for (size_t i = 0; i + len < reply.len; i++)
        if (memcmp(reply.data + i, mark, len) == 0)
            newest = tm_max_u64(newest, strtoull((const char *)reply.data + i + len, NULL, 10));
    return newest;
}

/* Values say where they were written. */
static void judge_values(struct client *c, unsigned type, unsigned key, struct tm_bytes reply)
{
    for (unsigned i = 0; i < c->load->plan->world.clusters; i++) {
        char mark[32];
        size_t len = (size_t)snprintf(mark, sizeof mark, "%s.", tm_sim_world_name(i));
        const uint8_t *at =
            reaches(c->load, i, c->cluster, type) ? NULL : memmem(reply.data, reply.len, mark, len);
        if (at != NULL && (!has_reached(c->load, i, c->cluster, type) ||
                           newest_of(reply, mark) > c->load->until[i][c->cluster][type]))
            tm_sim_wrong(sim_of(c), "%c:%u at %s holds what %s wrote, which no link takes there",
                         'A' + (int)type, key, tm_sim_world_name(c->cluster), tm_sim_world_name(i));
    }
}

static void judge_own(struct client *c, const struct own *o, unsigned which, struct tm_bytes reply)
{
    size_t at = 0;
    uint64_t expected = which == 0 ? o->x : which == 1 ? o->y : 0;
    bool there = reply.len > 1 && reply.data[1] != '-';
    uint64_t value = take_number(reply, &at);
    if (!reaches(c->load, o->cluster, c->cluster, o->type)) {
        if (has_reached(c->load, o->cluster, c->cluster, o->type) && !c->load->plan->purges)
            return;
        expected = 0;
    }
    if (!comes_whole(c->load, o->cluster, c->cluster)) {
        uint64_t sure = which == 0 ? o->sure_x[c->cluster] : o->sure_y[c->cluster];
        if (which == 2 || (value >= sure && value <= expected + 1))
            return;
        expected = sure;
    }
    if (value != expected || (expected == 0 && there))
        tm_sim_wrong(sim_of(c), "%s's key %c of type %c is %llu at %s, not %llu",
                     tm_sim_world_name(o->cluster), "xyz"[which], 'A' + (int)o->type,
                     (unsigned long long)value, tm_sim_world_name(c->cluster),
                     (unsigned long long)expected);
}

static void judge(struct client *c, struct tm_bytes reply)
{
    unsigned shared = TM_SIM_LINKS_TYPES * TM_SIM_LINKS_KEYS, at = (unsigned)c->at++;
    if (at >= shared)
        judge_own(c, &c->load->own[(at - shared) / 3], (at - shared) % 3, reply);
    else if (is_counter(at % TM_SIM_LINKS_KEYS))
        judge_counter(c, at / TM_SIM_LINKS_KEYS, at % TM_SIM_LINKS_KEYS, reply);
    else
        judge_values(c, at / TM_SIM_LINKS_KEYS, at % TM_SIM_LINKS_KEYS, reply);
    c->done = c->at == shared + 3 * c->load->owns;
}

static void rest(struct client *c)
{
    uint64_t now = tm_sim_world_now(c->load->w);
    c->next_at = now + (c->part == EXAMINER ? 0 : TM_MS(5 + below(c->load, 60)));
}

static void on_reply(void *host, struct tm_sim_conn *conn, struct tm_bytes reply)
{
    struct client *c = host;
    bool good = !is_error(reply);
    (void)conn;
    c->load->refused += !good;
    c->load->unknown += !good && unknown(reply);
    unsigned sure = 0;
    if (good && (c->number != 0 || c->counter != 0) && c->load->said != NULL)
        sure = c->load->said(c->load->hearer, c->cluster, c->key, c->number);
    c->number = 0;
    if (c->part == WRITER)
        take_counter(c, good, unknown(reply), sure);
    else if (c->part == OWNER && good)
        take_own(c, sure);
    else if (c->part == READER && good)
        take_read(c, reply);
    else if (c->part == EXAMINER && good)
        judge(c, reply);
    rest(c);
    if (!good && c->part == OWNER)
        c->next_at += FORGOTTEN_NS;
}

static void on_closed(void *host, struct tm_sim_conn *conn)
{
    struct client *c = host;
    (void)conn;
    c->conn = NULL;
    c->number = 0;
    take_counter(c, false, true, 0);
    rest(c);
    if (c->part == OWNER)
        c->next_at += FORGOTTEN_NS;
}

/* ---- turns ---- */

static bool wants(const struct client *c)
{
    if ((c->load->gone >> c->cluster & 1) != 0)
        return false;
    if (c->part == EXAMINER)
        return !c->done;
    if (!c->load->stopping)
        return true;
    /* An owner ends with a deletion. */
    return c->part == OWNER && (c->open || c->step != 0 || !c->own->gone);
}

static uint64_t next(void *host)
{
    const struct tm_sim_links_load *l = host;
    uint64_t at = UINT64_MAX;
    for (unsigned i = 0; i < l->count; i++)
        if (wants(&l->clients[i]))
            at = tm_min_u64(at, l->clients[i].next_at);
    return at;
}

static void act_client(struct client *c)
{
    static const struct tm_sim_client callbacks = {.reply = on_reply, .closed = on_closed};
    struct tm_sim_client mine = callbacks;
    unsigned node, worker;
    mine.host = c;
    if (c->conn == NULL)
        c->conn = tm_sim_connect_any(sim_of(c), &c->load->rng, &mine, &node, &worker);
    if (c->conn == NULL) {
        c->next_at = tm_sim_world_now(c->load->w) + TM_MS(5);
        return;
    }
    if (c->part == WRITER)
        write_shared(c);
    else if (c->part == OWNER)
        write_own(c);
    else if (c->part == READER)
        read_own(c);
    else
        read_next(c);
}

static void act(void *host)
{
    struct tm_sim_links_load *l = host;
    for (unsigned i = 0; i < l->count; i++)
        if (wants(&l->clients[i]) && l->clients[i].next_at <= tm_sim_world_now(l->w))
            act_client(&l->clients[i]);
}

/* ---- life ---- */

static struct client *add(struct tm_sim_links_load *l, enum part part, unsigned cluster,
                          struct own *own)
{
    TM_ASSERT(l->count < CLIENTS_MAX);
    struct client *c = &l->clients[l->count++];
    *c = (struct client){.load = l,
                         .part = part,
                         .cluster = cluster,
                         .own = own,
                         .next_at = tm_sim_world_now(l->w) + below(l, TM_MS(10))};
    return c;
}

/* An owner where somebody else can see what it does. */
static void add_owner(struct tm_sim_links_load *l, unsigned cluster, unsigned type)
{
    struct own *o = &l->own[l->owns++];
    *o = (struct own){.cluster = cluster, .type = type, .gone = true};
    add(l, OWNER, cluster, o);
    for (unsigned j = 0; j < l->plan->world.clusters; j++)
        if (j != cluster && reaches(l, cluster, j, type))
            add(l, READER, j, o);
}

struct tm_sim_links_load *tm_sim_links_load_new(struct tm_sim_world *w,
                                                struct tm_sim_links_plan *plan)
{
    struct tm_sim_links_load *l = calloc(1, sizeof *l);
    TM_ASSERT(l != NULL);
    l->w = w;
    l->plan = plan;
    tm_rng_seed(&l->rng, plan->seed ^ 0x6c6f6164);
    for (unsigned i = 0; i < plan->world.clusters; i++) {
        unsigned type = (unsigned)below(l, TM_SIM_LINKS_TYPES);
        if (type == RULED && plan->rule != NULL)
            type = 0; /* what is written last may not stand */
        for (unsigned k = 0; plan->may_write[i] != 0 && k < plan->clients; k++)
            add(l, WRITER, i, NULL);
        if ((plan->may_write[i] >> type & 1) != 0)
            add_owner(l, i, type);
    }
    struct tm_sim_driver d = {.host = l, .next = next, .act = act};
    tm_sim_world_drive(w, &d);
    return l;
}

void tm_sim_links_load_free(struct tm_sim_links_load *l)
{
    free(l);
}

void tm_sim_links_load_hear(struct tm_sim_links_load *l,
                            unsigned (*said)(void *host, unsigned cluster, const char *key,
                                             uint64_t number),
                            void *host)
{
    l->said = said;
    l->hearer = host;
}

/* What it had added may have arrived anywhere, or not; owners begin again. */
void tm_sim_links_load_lost(struct tm_sim_links_load *l, unsigned cluster, bool for_good)
{
    l->lost |= 1u << cluster;
    l->gone |= for_good ? 1u << cluster : 0;
    for (unsigned i = 0; i < l->owns; i++)
        l->own[i].seen_x[cluster] = l->own[i].seen_y[cluster] = 0;
    for (unsigned i = 0; i < l->count; i++)
        if (l->clients[i].part == OWNER && l->clients[i].cluster == cluster) {
            l->clients[i].step = 0;
            l->clients[i].own->gone = false;
        }
    for (unsigned t = 0; t < TM_SIM_LINKS_TYPES; t++)
        for (unsigned k = 0; k < TM_SIM_LINKS_KEYS; k++) {
            l->maybe[cluster][t][k] += l->added[cluster][t][k];
            l->added[cluster][t][k] = 0;
            for (unsigned j = 0; !for_good && j < TM_SIM_CLUSTERS_MAX; j++)
                l->sure[cluster][j][t][k] = l->sure[j][cluster][t][k] = 0;
        }
}

bool tm_sim_links_load_stop(struct tm_sim_links_load *l)
{
    bool quiet = true;
    l->stopping = true;
    for (unsigned i = 0; i < l->count; i++)
        quiet &= (l->gone >> l->clients[i].cluster & 1) != 0 ||
                 (!wants(&l->clients[i]) && l->clients[i].next_at != UINT64_MAX);
    return quiet;
}

bool tm_sim_links_load_examine(struct tm_sim_links_load *l)
{
    bool done = true, begun = false;
    for (unsigned i = 0; i < l->count; i++)
        begun |= l->clients[i].part == EXAMINER;
    for (unsigned i = 0; !begun && i < l->plan->world.clusters; i++)
        add(l, EXAMINER, i, NULL);
    for (unsigned i = 0; i < l->count; i++)
        done &= l->clients[i].part != EXAMINER || !wants(&l->clients[i]);
    return done;
}

void tm_sim_links_load_count(const struct tm_sim_links_load *l, struct tm_sim_links_result *out)
{
    out->load.commands = l->commands;
    out->load.refused = l->refused;
    out->load.unknown = l->unknown;
    out->load.reads = l->reads;
}
