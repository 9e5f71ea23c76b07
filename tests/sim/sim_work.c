/* A call is written as one or several commands; the replies are counted off at the head of the
 * client's calls, and the one that decides fills in what the steps were told.  WATCH needs two
 * rounds: first WATCH and GET, whose answer is a call of its own, then the transaction. */
#include "tests/sim/sim_work.h"

#include "runtime/rng.h"

#include <stdio.h>
#include <stdlib.h>

#define LISTENERS_MAX 8
#define HOT           6
#define OUT_KEEP      TM_KIB(64)

enum form {
    PLAIN,  /* one command, one reply */
    MULTI,  /* MULTI, the steps, EXEC */
    WATCHED /* WATCH, then the command; EXEC follows as a call of its own */
};

struct call {
    struct tm_sim_call call;
    enum form form;
    unsigned replies; /* still to come */
    bool failed;      /* an earlier reply of it was an error */
};

struct client {
    struct tm_sim_work *work;
    unsigned number;
    struct tm_sim_conn *conn;
    unsigned node, worker;
    struct call calls[TM_SIM_WORK_CALLS_MAX]; /* under way, oldest first */
    unsigned count;
    struct call again; /* to be asked next; count of steps 0: none */
    uint64_t wake_at;  /* to ask, or to give up */
    uint64_t give_up_at;
    bool watching; /* the transaction is the next call */
};

/* Of a group in use. */
struct round {
    uint32_t number; /* how many were used up before it */
    unsigned calls, unknown;
};

struct tm_sim_work {
    struct tm_sim *sim;
    struct tm_sim_work_config config;
    struct tm_rng rng;
    struct client clients[TM_SIM_WORK_CLIENTS_MAX];
    struct tm_sim_calls listeners[LISTENERS_MAX];
    unsigned listener_count;
    struct tm_sim_layout layout;
    struct round *rounds;              /* by group */
    struct tm_sim_register *registers; /* all that were in use */
    bool *touched;
    uint32_t register_count;
    uint64_t calls, values;
    uint64_t due; /* no client wakes before */
    struct tm_sim_work_stats stats;
    struct tm_resp_writer out;
    bool stopping;
};

static uint64_t draw(struct tm_sim_work *w, uint64_t bound)
{
    return tm_rng_below(&w->rng, bound);
}

static bool chance(struct tm_sim_work *w, unsigned percent)
{
    return draw(w, 100) < percent;
}

/* ---- groups ---- */

static void reach_round(struct tm_sim_work *w, uint32_t round)
{
    uint32_t had = w->register_count, want = (round + 1) * w->config.registers;
    if (want <= had)
        return;
    w->registers = realloc(w->registers, want * sizeof *w->registers);
    w->touched = realloc(w->touched, want * sizeof *w->touched);
    TM_ASSERT(w->registers != NULL && w->touched != NULL);
    for (uint32_t i = had; i < want; i++) {
        w->registers[i] = tm_sim_register(i, &w->layout);
        w->touched[i] = false;
    }
    w->register_count = want;
}

static struct round *round_of(struct tm_sim_work *w, uint32_t reg)
{
    struct round *r = &w->rounds[reg % w->config.registers % w->config.groups];
    return r->number == reg / w->config.registers ? r : NULL;
}

static void count_call(struct tm_sim_work *w, const struct tm_sim_call *call, bool unknown)
{
    struct round *r = round_of(w, call->step[0].reg);
    if (r == NULL)
        return;
    r->calls += !unknown;
    r->unknown += unknown;
    if (r->calls < TM_SIM_WORK_GROUP_CALLS && r->unknown < TM_SIM_WORK_UNKNOWN)
        return;
    *r = (struct round){.number = r->number + 1};
    reach_round(w, r->number);
}

/* ---- what to ask ---- */

/* The hot ones are of one group and of all kinds. */
static uint32_t any_register(struct tm_sim_work *w)
{
    uint64_t hot = draw(w, HOT) * w->config.groups;
    uint32_t reg = (uint32_t)draw(w, w->config.registers);
    if (chance(w, w->config.hot) && hot < w->config.registers)
        reg = (uint32_t)hot;
    return reg + w->rounds[reg % w->config.groups].number * w->config.registers;
}

static enum tm_sim_verb any_verb(struct tm_sim_work *w, enum tm_sim_kind kind)
{
    unsigned sum = 0, verb = 0;
    for (unsigned i = 0; i < TM_SIM_EXPECT; i++)
        sum += tm_sim_register_takes(kind, (enum tm_sim_verb)i) ? w->config.share[i] : 0;
    uint64_t left = sum == 0 ? 0 : draw(w, sum);
    for (; sum > 0; verb++) {
        unsigned share =
            tm_sim_register_takes(kind, (enum tm_sim_verb)verb) ? w->config.share[verb] : 0;
        if (left < share)
            break;
        left -= share;
    }
    return (enum tm_sim_verb)verb;
}

static void draw_step(struct tm_sim_work *w, struct tm_sim_step *s, uint32_t reg,
                      enum tm_sim_verb verb)
{
    enum tm_sim_kind kind = w->registers[reg].kind;
    *s = (struct tm_sim_step){.verb = verb, .reg = reg};
    if (verb == TM_SIM_ADD)
        s->value = draw(w, 8) == 0 ? (uint64_t) - (int64_t)draw(w, 100) : 1 + draw(w, 3);
    else if (verb == TM_SIM_WRITE || verb == TM_SIM_WRITE_NEW)
        s->value = kind == TM_SIM_MEMBER ? 1 : ++w->values;
    if (verb == TM_SIM_WRITE && kind == TM_SIM_STRING && chance(w, w->config.ttl))
        s->ttl_ms = 1 + (uint32_t)draw(w, 1ULL << (4 + draw(w, 10)));
}

/* The same step again: what it writes is another value. */
static void draw_anew(struct tm_sim_work *w, struct tm_sim_step *s)
{
    bool numbered = s->value > 1 && s->verb != TM_SIM_ADD;
    s->found = s->told = false;
    s->result = 0;
    if (numbered)
        s->value = ++w->values;
}

/* Another register of the same group. */
static uint32_t neighbour(struct tm_sim_work *w, uint32_t reg)
{
    uint32_t groups = w->config.groups, place = reg % w->config.registers, group = place % groups;
    uint32_t many = (w->config.registers - group + groups - 1) / groups;
    return reg - place + group + groups * (uint32_t)draw(w, many);
}

static bool has_register(const struct tm_sim_call *c, uint32_t reg)
{
    for (unsigned i = 0; i < c->count; i++)
        if (c->step[i].reg == reg)
            return true;
    return false;
}

/* Steps of one transaction are on registers of one group, each on its own. */
static void draw_more(struct tm_sim_work *w, struct tm_sim_call *c)
{
    unsigned want = 1 + (unsigned)draw(w, TM_SIM_STEPS_MAX - 2);
    for (unsigned tries = 0; tries < 2 * want && c->count < want + 1; tries++) {
        uint32_t reg = neighbour(w, c->step[0].reg);
        if (has_register(c, reg))
            continue;
        draw_step(w, &c->step[c->count], reg, any_verb(w, w->registers[reg].kind));
        c->count++;
    }
}

static void draw_call(struct tm_sim_work *w, struct call *c)
{
    uint32_t reg = any_register(w);
    unsigned sum = 0;
    *c = (struct call){.form = PLAIN, .call.count = 1};
    for (unsigned i = 0; i <= TM_SIM_EXPECT; i++)
        sum += w->config.share[i];
    if (draw(w, sum) < w->config.share[TM_SIM_EXPECT]) {
        c->form = WATCHED;
        draw_step(w, &c->call.step[0], reg, TM_SIM_READ);
        return;
    }
    draw_step(w, &c->call.step[0], reg, any_verb(w, w->registers[reg].kind));
    if (chance(w, w->config.multi)) {
        c->form = MULTI;
        draw_more(w, &c->call);
    }
}

/* The transaction after WATCH and a read: writes what was read, or its neighbours. */
static void draw_watched(struct tm_sim_work *w, const struct tm_sim_step *read, struct call *c)
{
    enum tm_sim_kind kind = w->registers[read->reg].kind;
    enum tm_sim_verb verb = any_verb(w, kind);
    if (verb == TM_SIM_READ)
        verb = TM_SIM_REMOVE;
    *c = (struct call){.form = MULTI, .call.count = 2};
    c->call.step[0] = (struct tm_sim_step){
        .verb = TM_SIM_EXPECT, .reg = read->reg, .found = read->found, .value = read->result};
    draw_step(w, &c->call.step[1], read->reg, verb);
    if (chance(w, w->config.multi))
        draw_more(w, &c->call);
}

/* ---- asking ---- */

static void schedule(struct client *c, uint64_t in_ns)
{
    c->wake_at = tm_sim_now(c->work->sim) + in_ns;
    c->work->due = tm_min_u64(c->work->due, c->wake_at);
}

static void schedule_next(struct client *c)
{
    const struct tm_sim_work_config *config = &c->work->config;
    uint64_t mean = TM_SECONDS(1) * config->clients / config->calls_per_s;
    schedule(c, 1 + draw(c->work, 2 * mean));
}

static void tell(struct tm_sim_work *w, const struct tm_sim_call *call, bool returned)
{
    for (unsigned i = 0; i < w->listener_count; i++) {
        const struct tm_sim_calls *l = &w->listeners[i];
        void (*hear)(void *host, const struct tm_sim_call *call) =
            returned ? l->returned : l->called;
        if (hear != NULL)
            hear(l->host, call);
    }
}

static unsigned write_commands(struct tm_sim_work *w, const struct call *c)
{
    const struct tm_sim_call *call = &c->call;
    unsigned replies = 0;
    if (c->form == MULTI) {
        tm_resp_array(&w->out, 1);
        tm_resp_bulk_str(&w->out, "MULTI");
        replies += 2;
    } else if (c->form == WATCHED) {
        tm_resp_array(&w->out, 2);
        tm_resp_bulk_str(&w->out, "WATCH");
        tm_resp_bulk_str(&w->out, w->registers[call->step[0].reg].key);
        replies++;
    }
    for (unsigned i = 0; i < call->count; i++) {
        const struct tm_sim_step *s = &call->step[i];
        w->touched[s->reg] = true;
        if (s->verb == TM_SIM_EXPECT)
            continue;
        tm_sim_words_command(&w->out, &w->registers[s->reg], s, w->config.fill);
        replies++;
    }
    if (c->form == MULTI) {
        tm_resp_array(&w->out, 1);
        tm_resp_bulk_str(&w->out, "EXEC");
    }
    return replies;
}

static void ask(struct client *c, const struct call *what)
{
    struct tm_sim_work *w = c->work;
    TM_ASSERT(c->count < TM_SIM_WORK_CALLS_MAX && c->conn != NULL);
    struct call *at = &c->calls[c->count++];
    *at = *what;
    at->call.id = ++w->calls;
    at->call.client = c->number;
    at->call.node = c->node;
    at->call.worker = c->worker;
    at->call.outcome = TM_SIM_PENDING;
    at->call.called_ns = tm_sim_now(w->sim);
    at->replies = write_commands(w, at);
    count_call(w, &at->call, false);
    w->stats.called++;
    w->stats.transactions += at->form == MULTI;
    tell(w, &at->call, false);
    tm_sim_send(c->conn, tm_resp_writer_bytes(&w->out));
    tm_resp_writer_reset(&w->out, 2, OUT_KEEP);
    if (c->count == 1)
        c->give_up_at = tm_sim_now(w->sim) + w->config.patience_ns;
}

static void on_reply(void *host, struct tm_sim_conn *conn, struct tm_bytes reply);
static void on_closed(void *host, struct tm_sim_conn *conn);

static bool connect(struct client *c)
{
    struct tm_sim_work *w = c->work;
    struct tm_sim_client client = {.host = c, .reply = on_reply, .closed = on_closed};
    unsigned nodes = tm_sim_config_of(w->sim)->nodes;
    for (unsigned tries = 0; tries < 8 * nodes && c->conn == NULL; tries++) {
        c->node = (unsigned)draw(w, nodes);
        if (!tm_sim_is_up(w->sim, c->node))
            continue;
        c->worker = (unsigned)draw(w, tm_sim_workers(w->sim, c->node));
        c->conn = tm_sim_connect(w->sim, c->node, c->worker, &client);
    }
    if (c->conn != NULL)
        w->stats.connections++;
    return c->conn != NULL;
}

/* ---- outcomes ---- */

static void end_call(struct client *c, struct call done, enum tm_sim_outcome outcome)
{
    struct tm_sim_work *w = c->work;
    done.call.outcome = outcome;
    done.call.returned_ns = tm_sim_now(w->sim);
    w->stats.done += outcome == TM_SIM_DONE;
    w->stats.refused += outcome == TM_SIM_REFUSED;
    w->stats.unknown += outcome == TM_SIM_UNKNOWN;
    if (outcome == TM_SIM_UNKNOWN)
        count_call(w, &done.call, true);
    tell(w, &done.call, true);
}

/* What was under way may have happened, or not. */
static void give_up(struct client *c)
{
    unsigned count = c->count;
    c->count = 0;
    c->watching = false;
    for (unsigned i = 0; i < count; i++)
        end_call(c, c->calls[i], TM_SIM_UNKNOWN);
}

static void odd_reply(struct client *c, const struct call *call, struct tm_bytes reply)
{
    const struct tm_sim_step *s = &call->call.step[call->call.count - 1];
    tm_sim_wrong(c->work->sim, "client %u: a reply that cannot be, to a step of %s %s: %.*s",
                 c->number, c->work->registers[s->reg].key, c->work->registers[s->reg].field,
                 (int)tm_min_u64(reply.len, 60), (const char *)reply.data);
}

/* An array with a reply for each step but EXPECT. */
static bool exec_reply(struct tm_sim_work *w, struct tm_sim_call *call, struct tm_bytes reply,
                       size_t at)
{
    struct tm_resp_value v;
    for (unsigned i = 0; i < call->count; i++) {
        struct tm_sim_step *s = &call->step[i];
        size_t used;
        if (s->verb == TM_SIM_EXPECT)
            continue;
        if (tm_resp_read(reply.data + at, reply.len - at, &v, &used) != TM_RESP_DONE ||
            !tm_sim_words_reply(&w->registers[s->reg], s, &v, w->config.fill))
            return false;
        at += used;
    }
    return at == reply.len;
}

/* What the reply that decides says of the call. */
static enum tm_sim_outcome judge(struct client *c, struct call *call, struct tm_bytes reply,
                                 const struct tm_resp_value *v, size_t used)
{
    static const char unknown[] = "TIMEOUT";
    struct tm_sim_work *w = c->work;
    bool fits;
    if (v->type == TM_RESP_ERROR)
        return v->text.len >= sizeof unknown - 1 &&
                       memcmp(v->text.data, unknown, sizeof unknown - 1) == 0
                   ? TM_SIM_UNKNOWN
                   : TM_SIM_REFUSED;
    if (call->form == MULTI && v->type == TM_RESP_NULL) /* something watched has changed */
        return TM_SIM_REFUSED;
    if (call->form == MULTI)
        fits = v->type == TM_RESP_ARRAY && exec_reply(w, &call->call, reply, used);
    else
        fits = tm_sim_words_reply(&w->registers[call->call.step[0].reg], &call->call.step[0], v,
                                  w->config.fill);
    if (!fits)
        odd_reply(c, call, reply);
    return TM_SIM_DONE;
}

/* What comes after a call that ended. */
static void go_on(struct client *c, const struct call *done, enum tm_sim_outcome outcome)
{
    struct tm_sim_work *w = c->work;
    c->watching = false;
    if (done->form == WATCHED && outcome == TM_SIM_DONE && !done->failed && !w->stopping) {
        struct call next;
        draw_watched(w, &done->call.step[0], &next);
        ask(c, &next);
        return;
    }
    bool watched = done->form == MULTI && done->call.step[0].verb == TM_SIM_EXPECT;
    if (outcome == TM_SIM_REFUSED && !watched && chance(w, w->config.retry))
        c->again = *done;
}

static void on_reply(void *host, struct tm_sim_conn *conn, struct tm_bytes reply)
{
    struct client *c = host;
    struct tm_resp_value v;
    size_t used;
    TM_ASSERT(conn == c->conn);
    if (c->count == 0 || tm_resp_read(reply.data, reply.len, &v, &used) != TM_RESP_DONE) {
        tm_sim_wrong(c->work->sim, "client %u got a reply that it did not ask for", c->number);
        return;
    }
    struct call *head = &c->calls[0];
    if (--head->replies > 0) {
        head->failed |= v.type == TM_RESP_ERROR;
        return;
    }
    struct call done = *head;
    enum tm_sim_outcome outcome = judge(c, &done, reply, &v, used);
    memmove(c->calls, c->calls + 1, --c->count * sizeof c->calls[0]);
    c->give_up_at = tm_sim_now(c->work->sim) + c->work->config.patience_ns;
    end_call(c, done, outcome);
    go_on(c, &done, outcome);
}

static void on_closed(void *host, struct tm_sim_conn *conn)
{
    struct client *c = host;
    TM_ASSERT(conn == c->conn);
    c->conn = NULL;
    give_up(c);
}

/* ---- a client's doings ---- */

static void next_call(struct client *c)
{
    struct call call = c->again;
    c->again.call.count = 0;
    for (unsigned i = 0; i < call.call.count; i++)
        draw_anew(c->work, &call.call.step[i]);
    if (call.call.count == 0)
        draw_call(c->work, &call);
    if (call.form == WATCHED && c->count > 0)
        call.form = PLAIN; /* only alone: the transaction is to follow at once */
    c->watching = call.form == WATCHED;
    ask(c, &call);
}

static void wake(struct client *c)
{
    struct tm_sim_work *w = c->work;
    schedule_next(c);
    if (c->count > 0 && c->give_up_at <= tm_sim_now(w->sim)) {
        tm_sim_disconnect(c->conn);
        c->conn = NULL;
        give_up(c);
    }
    if (w->stopping)
        return;
    if (c->conn != NULL && c->count == 0 && draw(w, 500) == 0) {
        tm_sim_disconnect(c->conn);
        c->conn = NULL;
    }
    if (c->conn == NULL && !connect(c))
        return;
    if (c->count < w->config.ahead && !c->watching)
        next_call(c);
}

static uint64_t next_wake(void *host)
{
    return ((const struct tm_sim_work *)host)->due;
}

static void act(void *host)
{
    struct tm_sim_work *w = host;
    uint64_t next = UINT64_MAX;
    for (unsigned i = 0; i < w->config.clients; i++) {
        if (w->clients[i].wake_at <= tm_sim_now(w->sim))
            wake(&w->clients[i]);
        next = tm_min_u64(next, w->clients[i].wake_at);
    }
    w->due = next;
}

/* ---- life ---- */

struct tm_sim_work *tm_sim_work_new(struct tm_sim *sim, const struct tm_sim_work_config *config)
{
    struct tm_sim_work *w = calloc(1, sizeof *w);
    TM_ASSERT(w != NULL && config->clients >= 1 && config->clients <= TM_SIM_WORK_CLIENTS_MAX &&
              config->registers >= config->groups && config->groups >= 1 && config->ahead >= 1 &&
              config->ahead <= TM_SIM_WORK_CALLS_MAX && config->calls_per_s >= 1);
    w->sim = sim;
    w->values = 1; /* that of a set's members */
    w->config = *config;
    tm_rng_seed(&w->rng, tm_sim_draw(sim, UINT64_MAX));
    w->layout = (struct tm_sim_layout){.groups = config->groups, .registers = config->registers};
    w->rounds = calloc(config->groups, sizeof *w->rounds);
    TM_ASSERT(w->rounds != NULL);
    reach_round(w, 0);
    tm_resp_writer_init(&w->out, TM_MIB(16));
    tm_resp_writer_reset(&w->out, 2, OUT_KEEP);
    for (unsigned i = 0; i < config->clients; i++) {
        w->clients[i] = (struct client){.work = w, .number = i};
        schedule_next(&w->clients[i]);
    }
    tm_sim_drive(sim, &(struct tm_sim_driver){.host = w, .next = next_wake, .act = act});
    return w;
}

void tm_sim_work_free(struct tm_sim_work *w)
{
    for (unsigned i = 0; i < w->config.clients; i++)
        if (w->clients[i].conn != NULL)
            tm_sim_disconnect(w->clients[i].conn);
    tm_resp_writer_free(&w->out);
    free(w->rounds);
    free(w->registers);
    free(w->touched);
    free(w);
}

void tm_sim_work_listen(struct tm_sim_work *w, const struct tm_sim_calls *calls)
{
    TM_ASSERT(w->listener_count < LISTENERS_MAX);
    w->listeners[w->listener_count++] = *calls;
}

bool tm_sim_work_stop(struct tm_sim_work *w)
{
    bool quiet = true;
    w->stopping = true;
    for (unsigned i = 0; i < w->config.clients; i++)
        quiet &= w->clients[i].count == 0;
    return quiet;
}

static bool answered(void *arg)
{
    return ((struct client *)arg)->count == 0;
}

/* Asks these reads, once there is room for them. */
static void read_some(struct tm_sim_work *w, struct call *call, uint64_t *asked)
{
    struct client *c = &w->clients[0];
    if (c->count >= w->config.ahead)
        (void)tm_sim_run_until(w->sim, answered, c, TM_SECONDS(10));
    if (call->call.count > 0 && c->count < w->config.ahead && (c->conn != NULL || connect(c)))
        ask(c, call);
    *asked += call->call.count > 0;
    *call = (struct call){.form = MULTI};
}

void tm_sim_work_read_all(struct tm_sim_work *w)
{
    const struct tm_sim_work_config *config = &w->config;
    uint64_t done = w->stats.done, asked = 0;
    for (uint32_t base = 0; base < w->register_count; base += config->registers)
        for (uint32_t group = 0; group < config->groups; group++) {
            struct call call = {.form = MULTI};
            for (uint32_t at = group; at < config->registers; at += config->groups) {
                if (!w->touched[base + at])
                    continue;
                draw_step(w, &call.call.step[call.call.count++], base + at, TM_SIM_READ);
                if (call.call.count == TM_SIM_STEPS_MAX)
                    read_some(w, &call, &asked);
            }
            read_some(w, &call, &asked);
        }
    (void)tm_sim_run_until(w->sim, answered, &w->clients[0], TM_SECONDS(10));
    if (w->stats.done != done + asked)
        tm_sim_wrong(w->sim, "of %llu groups of registers %llu could be read at rest",
                     (unsigned long long)asked, (unsigned long long)(w->stats.done - done));
}

struct tm_sim_work_stats tm_sim_work_stats(const struct tm_sim_work *w)
{
    return w->stats;
}
