/* A client has one command, or one transaction, under way.  What it asks is written as RESP; the
 * replies are counted, and the last one decides. */
#include "tests/sim/sim_load.h"

#include "net/resp.h"
#include "runtime/rng.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define REFUSALS     16
#define PATIENCE_NS  TM_SECONDS(12)
#define COUNTS_MAX   65536
#define CLIENTS_MAX  64
#define VALUES_BYTES 65536
#define READ_TRIES   3

enum what { NOTHING, SET, GET, SET_PAIR, GET_PAIR, INCREMENT, CAS_GET, CAS_EXEC, READ_COUNT };

struct reg {
    unsigned owner, slot, generation;
    uint64_t tried, floor;
    uint64_t refused[REFUSALS];
    unsigned refusals;
    bool pair;
};

struct count {
    uint64_t tried, acked, unknown, floor;
    uint8_t told[COUNTS_MAX / 8];
};

struct client {
    struct tm_sim_load *load;
    unsigned number;
    struct tm_sim_conn *conn;
    uint64_t wake_at; /* the next command, or the end of patience */
    enum what what;
    struct reg *reg;
    unsigned count;
    unsigned replies;            /* still to come */
    uint64_t value;              /* written, or of a CAS read */
    uint64_t floor;              /* of the register when a read began */
    uint64_t refusals[REFUSALS]; /* of the register when a read began */
    unsigned refusal_count;
    bool failed; /* an earlier reply of the transaction was an error */
};

struct tm_sim_load {
    struct tm_sim *sim;
    struct tm_sim_load_config config;
    struct tm_rng rng;
    struct client clients[CLIENTS_MAX];
    struct reg **registers; /* all that ever were */
    unsigned register_count, register_cap;
    struct reg **current; /* by client and slot */
    struct count *counts;
    struct tm_sim_load_stats stats;
    unsigned wrongs;
    char wrong[512];
    char last_error[128]; /* the newest error reply */
    bool stopping;
    struct tm_resp_writer out;
};

static void wrong(struct tm_sim_load *l, const char *fmt, ...) TM_PRINTF(2, 3);

static void wrong(struct tm_sim_load *l, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    if (l->wrongs++ == 0) {
        int n =
            snprintf(l->wrong, sizeof l->wrong, "at %.6f s: ", (double)tm_sim_now(l->sim) / 1e9);
        vsnprintf(l->wrong + n, sizeof l->wrong - (size_t)n, fmt, args);
    }
    va_end(args);
}

static uint64_t draw(struct tm_sim_load *l, uint64_t bound)
{
    return tm_rng_below(&l->rng, bound);
}

/* ---- registers ---- */

static void key_of(const struct reg *r, unsigned half, char key[64])
{
    snprintf(key, 64, r->pair ? "{p%u.%u.%u}%u" : "r%u.%u.%u.%u", r->owner, r->slot, r->generation,
             half);
}

static struct reg *reg_new(struct tm_sim_load *l, unsigned owner, unsigned slot)
{
    struct reg **at = &l->current[owner * l->config.registers + slot];
    struct reg *r = calloc(1, sizeof *r);
    TM_ASSERT(r != NULL);
    *r = (struct reg){.owner = owner,
                      .slot = slot,
                      .generation = *at == NULL ? 0 : (*at)->generation + 1,
                      .pair = slot % 3 == 2};
    *at = r;
    if (l->register_count == l->register_cap) {
        l->register_cap = l->register_cap == 0 ? 64 : l->register_cap * 2;
        l->registers = realloc(l->registers, l->register_cap * sizeof *l->registers);
        TM_ASSERT(l->registers != NULL);
    }
    l->registers[l->register_count++] = r;
    return r;
}

/* "<number>.<filling that follows from it>" */
static struct tm_bytes value_of(struct tm_sim_load *l, const struct reg *r, uint64_t n)
{
    static char text[VALUES_BYTES + 32];
    int head = snprintf(text, 32, "%llu.", (unsigned long long)n);
    size_t fill = (size_t)((n * 2654435761u + r->owner) % (l->config.value_bytes + 1));
    memset(text + head, 'a' + (int)(n % 26), fill);
    return tm_bytes_of(text, (size_t)head + fill);
}

static bool value_is(struct tm_sim_load *l, const struct reg *r, struct tm_bytes text, uint64_t *n)
{
    *n = 0;
    for (size_t i = 0; i < text.len && text.data[i] != '.'; i++)
        *n = *n * 10 + (uint64_t)(text.data[i] - '0');
    return tm_bytes_equal(text, value_of(l, r, *n));
}

static void note_refused(struct reg *r, uint64_t n)
{
    r->refused[r->refusals++ % REFUSALS] = n;
}

/* A read that began when floor was `floor` gave v. */
static void check_read(struct client *c, struct reg *r, uint64_t v)
{
    struct tm_sim_load *l = c->load;
    char key[64];
    key_of(r, 0, key);
    l->stats.reads++;
    if (v < c->floor)
        wrong(l, "client %u read %s = %llu, but %llu was acknowledged or read before", c->number,
              key, (unsigned long long)v, (unsigned long long)c->floor);
    if (v > r->tried)
        wrong(l, "client %u read %s = %llu, but only %llu was ever tried", c->number, key,
              (unsigned long long)v, (unsigned long long)r->tried);
    for (unsigned i = 0; v != 0 && i < REFUSALS && i < r->refusals; i++)
        if (r->refused[i] == v)
            wrong(l, "client %u read %s = %llu, which was refused", c->number, key,
                  (unsigned long long)v);
    r->floor = tm_max_u64(r->floor, v);
}

/* ---- counters ---- */

static void check_told(struct client *c, uint64_t v)
{
    struct tm_sim_load *l = c->load;
    struct count *n = &l->counts[c->count];
    n->acked++;
    l->stats.acked++;
    if (v <= c->floor || v > n->tried || v >= COUNTS_MAX)
        wrong(l, "client %u was told %llu for counter %u, between %llu and %llu", c->number,
              (unsigned long long)v, c->count, (unsigned long long)c->floor,
              (unsigned long long)n->tried);
    else if ((n->told[v / 8] >> (v % 8) & 1) != 0)
        wrong(l, "client %u was told %llu for counter %u, which another was told", c->number,
              (unsigned long long)v, c->count);
    else
        n->told[v / 8] |= (uint8_t)(1u << (v % 8));
    n->floor = tm_max_u64(n->floor, v);
}

/* ---- asking ---- */

static void command(struct tm_sim_load *l, unsigned argc, ...)
{
    va_list args;
    va_start(args, argc);
    tm_resp_array(&l->out, argc);
    for (unsigned i = 0; i < argc; i++)
        tm_resp_bulk(&l->out, va_arg(args, struct tm_bytes));
    va_end(args);
}

#define WORD(text) tm_bytes_str(text)

static void begin(struct client *c, enum what what, unsigned replies)
{
    struct tm_sim_load *l = c->load;
    c->what = what;
    c->replies = replies;
    c->failed = false;
    tm_sim_send(c->conn, tm_resp_writer_bytes(&l->out));
    tm_resp_writer_reset(&l->out, 2, TM_KIB(64));
}

static void ask_set(struct client *c, struct reg *r)
{
    struct tm_sim_load *l = c->load;
    char a[64], b[64];
    key_of(r, 0, a);
    key_of(r, 1, b);
    c->reg = r;
    c->value = ++r->tried;
    struct tm_bytes value = value_of(l, r, c->value);
    if (!r->pair) {
        command(l, 3, WORD("SET"), WORD(a), value);
        begin(c, SET, 1);
        return;
    }
    command(l, 1, WORD("MULTI"));
    command(l, 3, WORD("SET"), WORD(a), value);
    command(l, 3, WORD("SET"), WORD(b), value);
    command(l, 1, WORD("EXEC"));
    begin(c, SET_PAIR, 4);
}

static void ask_get(struct client *c, struct reg *r)
{
    struct tm_sim_load *l = c->load;
    char a[64], b[64];
    key_of(r, 0, a);
    key_of(r, 1, b);
    c->reg = r;
    c->floor = r->floor;
    if (!r->pair) {
        command(l, 2, WORD("GET"), WORD(a));
        begin(c, GET, 1);
        return;
    }
    command(l, 1, WORD("MULTI"));
    command(l, 2, WORD("GET"), WORD(a));
    command(l, 2, WORD("GET"), WORD(b));
    command(l, 1, WORD("EXEC"));
    begin(c, GET_PAIR, 4);
}

static void count_key(unsigned count, char key[64])
{
    snprintf(key, 64, "count%u", count);
}

static void ask_count(struct client *c, bool watch)
{
    struct tm_sim_load *l = c->load;
    char key[64];
    c->count = (unsigned)draw(l, l->config.counters);
    c->floor = l->counts[c->count].floor;
    count_key(c->count, key);
    if (watch) {
        command(l, 2, WORD("WATCH"), WORD(key));
        command(l, 2, WORD("GET"), WORD(key));
        begin(c, CAS_GET, 2);
        return;
    }
    l->counts[c->count].tried++;
    command(l, 2, WORD("INCR"), WORD(key));
    begin(c, INCREMENT, 1);
}

static void ask_swap(struct client *c)
{
    struct tm_sim_load *l = c->load;
    char key[64], text[24];
    count_key(c->count, key);
    l->counts[c->count].tried++;
    snprintf(text, sizeof text, "%llu", (unsigned long long)++c->value);
    command(l, 1, WORD("MULTI"));
    command(l, 3, WORD("SET"), WORD(key), WORD(text));
    command(l, 1, WORD("EXEC"));
    begin(c, CAS_EXEC, 3);
}

/* ---- a client's doings ---- */

static void schedule(struct client *c, uint64_t in_ns);
static void give_up(struct client *c);

static struct reg *any_register(struct tm_sim_load *l)
{
    if (draw(l, 8) == 0)
        return l->registers[draw(l, l->register_count)];
    return l->current[draw(l, l->config.clients * l->config.registers)];
}

static void ask(struct client *c)
{
    struct tm_sim_load *l = c->load;
    unsigned own = c->number * l->config.registers;
    uint64_t what = draw(l, 100);
    if (what < 45)
        ask_set(c, l->current[own + draw(l, l->config.registers)]);
    else if (what < 75)
        ask_get(c, any_register(l));
    else
        ask_count(c, what >= 92);
}

static void on_reply(void *host, struct tm_sim_conn *conn, struct tm_bytes reply);
static void on_closed(void *host, struct tm_sim_conn *conn);

static bool connect(struct client *c)
{
    struct tm_sim_client client = {.host = c, .reply = on_reply, .closed = on_closed};
    unsigned node, worker;
    c->conn = tm_sim_connect_any(c->load->sim, &c->load->rng, &client, &node, &worker);
    return c->conn != NULL;
}

static void wake(struct client *c)
{
    c->wake_at = UINT64_MAX;
    if (c->what != NOTHING && c->load->stopping)
        return;               /* until it is answered, or the connection ends */
    if (c->what != NOTHING) { /* it took too long */
        tm_sim_disconnect(c->conn);
        c->conn = NULL;
        give_up(c);
    }
    if (c->load->stopping)
        return;
    if (c->conn == NULL && !connect(c)) {
        schedule(c, TM_MS(20));
        return;
    }
    ask(c);
    schedule(c, PATIENCE_NS);
}

static void schedule(struct client *c, uint64_t in_ns)
{
    c->wake_at = tm_sim_now(c->load->sim) + in_ns;
}

static uint64_t next_wake(void *host)
{
    const struct tm_sim_load *l = host;
    uint64_t at = UINT64_MAX;
    for (unsigned i = 0; i < l->config.clients; i++)
        at = tm_min_u64(at, l->clients[i].wake_at);
    return at;
}

static void act(void *host)
{
    struct tm_sim_load *l = host;
    for (unsigned i = 0; i < l->config.clients; i++)
        if (l->clients[i].wake_at <= tm_sim_now(l->sim))
            wake(&l->clients[i]);
}

/* ---- outcomes ---- */

/* Whether what was asked happened is not known, and will not be. */
static void give_up(struct client *c)
{
    struct tm_sim_load *l = c->load;
    if (c->what == SET || c->what == SET_PAIR) {
        l->stats.unknown++;
        reg_new(l, c->reg->owner, c->reg->slot);
    } else if (c->what == INCREMENT || c->what == CAS_EXEC) {
        l->stats.unknown++;
        l->counts[c->count].unknown++;
    }
    c->what = NOTHING;
}

/* It did not happen. */
static void refused(struct client *c)
{
    struct tm_sim_load *l = c->load;
    l->stats.refused++;
    if (c->what == SET || c->what == SET_PAIR)
        note_refused(c->reg, c->value);
    else if (c->what == INCREMENT || c->what == CAS_EXEC)
        l->counts[c->count].tried--;
    c->what = NOTHING;
}

static void failed(struct client *c, struct tm_bytes text)
{
    static const char unknown[] = "TIMEOUT";
    snprintf(c->load->last_error, sizeof c->load->last_error, "%.*s",
             (int)tm_min_u64(text.len, sizeof c->load->last_error - 1), (const char *)text.data);
    if (text.len >= sizeof unknown - 1 && memcmp(text.data, unknown, sizeof unknown - 1) == 0)
        give_up(c);
    else
        refused(c);
}

static uint64_t number_in(struct tm_bytes text)
{
    uint64_t n = 0;
    for (size_t i = 0; i < text.len; i++)
        n = n * 10 + (uint64_t)(text.data[i] - '0');
    return n;
}

/* The number in a reply to GET of a register; null is 0. */
static uint64_t register_value(struct client *c, const struct tm_resp_value *v)
{
    uint64_t n = 0;
    if (v->type == TM_RESP_BULK && !value_is(c->load, c->reg, v->text, &n))
        wrong(c->load, "client %u read a value that nobody wrote: %.*s", c->number,
              (int)tm_min_u64(v->text.len, 40), (const char *)v->text.data);
    return n;
}

static void got_pair(struct client *c, struct tm_bytes reply, size_t used)
{
    struct tm_resp_value v[2];
    uint64_t n[2] = {0};
    for (unsigned i = 0; i < 2; i++) {
        size_t more;
        if (tm_resp_read(reply.data + used, reply.len - used, &v[i], &more) != TM_RESP_DONE) {
            wrong(c->load, "a pair's reply is cut");
            return;
        }
        used += more;
        n[i] = register_value(c, &v[i]);
    }
    if (n[0] != n[1])
        wrong(c->load, "client %u read a pair half written: %llu and %llu", c->number,
              (unsigned long long)n[0], (unsigned long long)n[1]);
    check_read(c, c->reg, n[0]);
}

static void acked(struct client *c)
{
    c->load->stats.acked++;
    c->reg->floor = tm_max_u64(c->reg->floor, c->value);
}

static void check_count(struct client *c, uint64_t v)
{
    struct tm_sim_load *l = c->load;
    const struct count *n = &l->counts[c->count];
    if (v < n->acked || v > n->acked + n->unknown)
        wrong(l, "counter %u ends at %llu; %llu were acknowledged, %llu are unknown", c->count,
              (unsigned long long)v, (unsigned long long)n->acked, (unsigned long long)n->unknown);
}

/* The reply that decides. */
static void outcome(struct client *c, struct tm_bytes reply, const struct tm_resp_value *v,
                    size_t used)
{
    enum what what = c->what;
    if (v->type == TM_RESP_ERROR) {
        failed(c, v->text);
        return;
    }
    c->what = NOTHING;
    switch (what) {
    case SET:
    case SET_PAIR:
        acked(c);
        break;
    case GET:
        check_read(c, c->reg, register_value(c, v));
        break;
    case GET_PAIR:
        got_pair(c, reply, used);
        break;
    case INCREMENT:
        check_told(c, (uint64_t)v->integer);
        break;
    case CAS_GET:
        c->value = v->type == TM_RESP_BULK ? number_in(v->text) : 0;
        if (c->value < c->floor)
            wrong(c->load, "client %u read counter %u = %llu after %llu", c->number, c->count,
                  (unsigned long long)c->value, (unsigned long long)c->floor);
        ask_swap(c);
        break;
    case CAS_EXEC:
        if (v->type == TM_RESP_ARRAY)
            check_told(c, c->value);
        else
            c->load->counts[c->count].tried--;
        break;
    case READ_COUNT:
        check_count(c, v->type == TM_RESP_BULK ? number_in(v->text) : 0);
        break;
    case NOTHING:
        wrong(c->load, "client %u got a reply that it did not ask for", c->number);
        break;
    }
}

static void on_reply(void *host, struct tm_sim_conn *conn, struct tm_bytes reply)
{
    struct client *c = host;
    struct tm_resp_value v;
    size_t used;
    TM_ASSERT(conn == c->conn);
    if (tm_resp_read(reply.data, reply.len, &v, &used) != TM_RESP_DONE || c->replies == 0) {
        wrong(c->load, "client %u got an odd reply", c->number);
        return;
    }
    if (--c->replies > 0) {
        c->failed |= v.type == TM_RESP_ERROR;
        return;
    }
    if (c->what == CAS_GET && c->failed) /* nothing is watched */
        c->what = NOTHING;
    else
        outcome(c, reply, &v, used);
    if (c->what == NOTHING)
        schedule(c, 1 + draw(c->load, c->load->config.pause_ns));
}

static void on_closed(void *host, struct tm_sim_conn *conn)
{
    struct client *c = host;
    TM_ASSERT(conn == c->conn);
    c->conn = NULL;
    c->load->stats.lost_connections++;
    give_up(c);
    schedule(c, 1 + draw(c->load, TM_MS(5)));
}

/* ---- life ---- */

struct tm_sim_load *tm_sim_load_new(struct tm_sim *sim, const struct tm_sim_load_config *config)
{
    struct tm_sim_load *l = calloc(1, sizeof *l);
    TM_ASSERT(l != NULL && config->clients <= CLIENTS_MAX && config->registers > 0 &&
              config->counters > 0 && config->value_bytes <= VALUES_BYTES);
    l->sim = sim;
    l->config = *config;
    tm_sim_drive(sim, &(struct tm_sim_driver){.host = l, .next = next_wake, .act = act});
    for (unsigned i = 0; i < config->clients; i++)
        l->clients[i] = (struct client){.load = l, .number = i, .wake_at = UINT64_MAX};
    tm_rng_seed(&l->rng, tm_sim_draw(sim, UINT64_MAX));
    l->current = calloc(config->clients * config->registers, sizeof(struct reg *));
    l->counts = calloc(config->counters, sizeof *l->counts);
    TM_ASSERT(l->current != NULL && l->counts != NULL);
    tm_resp_writer_init(&l->out, TM_MIB(16));
    tm_resp_writer_reset(&l->out, 2, TM_KIB(64));
    for (unsigned i = 0; i < config->clients; i++) {
        for (unsigned k = 0; k < config->registers; k++)
            reg_new(l, i, k);
        schedule(&l->clients[i], 1 + draw(l, TM_MS(10)));
    }
    return l;
}

void tm_sim_load_free(struct tm_sim_load *l)
{
    for (unsigned i = 0; i < l->config.clients; i++)
        if (l->clients[i].conn != NULL)
            tm_sim_disconnect(l->clients[i].conn);
    for (unsigned i = 0; i < l->register_count; i++)
        free(l->registers[i]);
    free(l->registers);
    free(l->current);
    free(l->counts);
    tm_resp_writer_free(&l->out);
    free(l);
}

bool tm_sim_load_stop(struct tm_sim_load *l)
{
    bool quiet = true;
    l->stopping = true;
    for (unsigned i = 0; i < l->config.clients; i++)
        quiet &= l->clients[i].what == NOTHING;
    return quiet;
}

static bool answered(void *arg)
{
    return ((struct client *)arg)->what == NOTHING;
}

/* A question of the first client, waited for.  False: it was refused, as one is that waits at a
 * worker when that hands its leadership over, and has to be asked again. */
static bool finish(struct client *c)
{
    uint64_t refused_before = c->load->stats.refused;
    c->wake_at = UINT64_MAX;
    if (!tm_sim_run_until(c->load->sim, answered, c, TM_SECONDS(10)))
        wrong(c->load, "a cluster at rest does not answer");
    c->what = NOTHING;
    return c->load->stats.refused == refused_before;
}

static void ask_counter(struct client *c, unsigned i)
{
    char key[64];
    count_key(i, key);
    command(c->load, 2, WORD("GET"), WORD(key));
    c->count = i;
    begin(c, READ_COUNT, 1);
}

void tm_sim_load_verify(struct tm_sim_load *l)
{
    struct client *c = &l->clients[0];
    uint64_t reads = l->stats.reads;
    bool good = true;
    if (c->conn == NULL && !connect(c)) {
        wrong(l, "nobody can be reached");
        return;
    }
    for (unsigned i = 0; i < l->register_count + l->config.counters && c->conn != NULL; i++) {
        bool read = false;
        for (unsigned tries = 0; !read && tries < READ_TRIES && c->conn != NULL; tries++) {
            if (i < l->register_count)
                ask_get(c, l->registers[i]);
            else
                ask_counter(c, i - l->register_count);
            read = finish(c);
        }
        good &= read;
    }
    if (l->stats.reads != reads + l->register_count || !good)
        wrong(l, "not everything could be read at rest: %llu of %u, last error \"%s\"%s",
              (unsigned long long)(l->stats.reads - reads), l->register_count, l->last_error,
              c->conn == NULL ? ", connection lost" : "");
}

struct tm_sim_load_stats tm_sim_load_stats(const struct tm_sim_load *l)
{
    return l->stats;
}

unsigned tm_sim_load_wrongs(const struct tm_sim_load *l)
{
    return l->wrongs;
}

const char *tm_sim_load_wrong(const struct tm_sim_load *l)
{
    return l->wrong;
}
