/* A call is written as one or several commands; the replies are counted off at the head of the
 * client's calls, and the one that decides fills in what the steps were told.  WATCH needs two
 * rounds: first WATCH and GET, whose answer is a call of its own, then the transaction. */
#include "tests/sim/sim_work_internal.h"

#include <stdio.h>
#include <stdlib.h>

#define OUT_KEEP   TM_KIB(64)
#define READ_TRIES 3

/* ---- asking ---- */

static void schedule(struct tm_sim_work_client *c, uint64_t in_ns)
{
    c->wake_at = tm_sim_now(c->work->sim) + in_ns;
    c->work->due = tm_min_u64(c->work->due, c->wake_at);
}

static void schedule_next(struct tm_sim_work_client *c)
{
    const struct tm_sim_work_config *config = &c->work->config;
    uint64_t mean = TM_SECONDS(1) * config->clients / config->calls_per_s;
    schedule(c, 1 + tm_sim_work_any(c->work, 2 * mean));
}

static void tell_piece(struct tm_sim_work *w, const struct tm_sim_call *call, bool returned)
{
    for (unsigned i = 0; i < w->listener_count; i++) {
        const struct tm_sim_calls *l = &w->listeners[i];
        void (*hear)(void *host, const struct tm_sim_call *call) =
            returned ? l->returned : l->called;
        if (hear != NULL)
            hear(l->host, call);
    }
}

static void tell(struct tm_sim_work *w, const struct tm_sim_call *call, bool returned)
{
    struct tm_sim_call piece;
    for (uint32_t done = 0; tm_sim_work_piece(w, call, &done, &piece);) {
        tell_piece(w, &piece, returned);
        if (!returned || piece.outcome == TM_SIM_UNKNOWN)
            tm_sim_work_count(w, &piece, returned);
    }
}

static unsigned write_commands(struct tm_sim_work *w, const struct tm_sim_asked *c)
{
    const struct tm_sim_call *call = &c->call;
    unsigned replies = 0;
    for (unsigned i = 0; i < call->count; i++)
        w->touched[call->step[i].reg] |= call->step[i].verb != TM_SIM_FLUSH;
    if (c->form == TM_SIM_FORM_MANY) {
        tm_sim_many_command(&w->out, c->many, w->registers, call, w->config.fill);
        return 1;
    }
    if (c->form == TM_SIM_FORM_MULTI) {
        tm_resp_array(&w->out, 1);
        tm_resp_bulk_str(&w->out, "MULTI");
        replies += 2;
    } else if (c->form == TM_SIM_FORM_WATCHED) {
        tm_resp_array(&w->out, 2);
        tm_resp_bulk_str(&w->out, "WATCH");
        tm_resp_bulk_str(&w->out, w->registers[call->step[0].reg].key);
        replies++;
    }
    for (unsigned i = 0; i < call->count; i++) {
        const struct tm_sim_step *s = &call->step[i];
        if (s->verb == TM_SIM_EXPECT)
            continue;
        tm_sim_words_command(&w->out, &w->registers[s->reg], s, w->config.fill);
        replies++;
    }
    if (c->form == TM_SIM_FORM_MULTI) {
        tm_resp_array(&w->out, 1);
        tm_resp_bulk_str(&w->out, "EXEC");
    }
    return replies;
}

static void note_kinds(struct tm_sim_work *w, const struct tm_sim_asked *a)
{
    enum tm_sim_verb verb = a->call.step[0].verb;
    w->stats.called++;
    w->stats.transactions += a->form == TM_SIM_FORM_MULTI;
    w->stats.several += a->form == TM_SIM_FORM_MANY;
    w->stats.flushes += verb == TM_SIM_FLUSH;
    w->stats.expiries += verb == TM_SIM_EXPIRE || verb == TM_SIM_PERSIST || verb == TM_SIM_TTL;
}

static void ask(struct tm_sim_work_client *c, const struct tm_sim_asked *what)
{
    struct tm_sim_work *w = c->work;
    TM_ASSERT(c->count < TM_SIM_WORK_CALLS_MAX && c->conn != NULL);
    struct tm_sim_asked *at = &c->calls[c->count++];
    *at = *what;
    at->call.id = w->calls + 1;
    w->calls += at->call.count; /* if each is told by itself */
    at->call.client = c->number;
    at->call.node = c->node;
    at->call.worker = c->worker;
    at->call.outcome = TM_SIM_PENDING;
    at->call.called_ns = tm_sim_now(w->sim);
    at->replies = write_commands(w, at);
    note_kinds(w, at);
    tell(w, &at->call, false);
    tm_sim_send(c->conn, tm_resp_writer_bytes(&w->out));
    tm_resp_writer_reset(&w->out, 2, OUT_KEEP);
    if (c->count == 1)
        c->give_up_at = tm_sim_now(w->sim) + w->config.patience_ns;
}

static void on_reply(void *host, struct tm_sim_conn *conn, struct tm_bytes reply);
static void on_closed(void *host, struct tm_sim_conn *conn);

static void say_hello(struct tm_sim_work_client *c)
{
    static const char hello[] = "*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n";
    c->work->stats.resp3++;
    tm_sim_send(c->conn, tm_bytes_of(hello, sizeof hello - 1));
}

static bool connect(struct tm_sim_work_client *c)
{
    struct tm_sim_work *w = c->work;
    struct tm_sim_client client = {.host = c, .reply = on_reply, .closed = on_closed};
    c->conn = tm_sim_connect_any(w->sim, &w->rng, &client, &c->node, &c->worker);
    if (c->conn == NULL)
        return false;
    w->stats.connections++;
    c->proto = tm_sim_work_chance(w, w->config.resp3) ? 3 : 2;
    c->greeted = c->proto == 2;
    if (c->proto == 3)
        say_hello(c);
    return true;
}

/* ---- outcomes ---- */

static void end_call(struct tm_sim_work_client *c, struct tm_sim_asked done,
                     enum tm_sim_outcome outcome)
{
    struct tm_sim_work *w = c->work;
    done.call.outcome = outcome;
    done.call.returned_ns = tm_sim_now(w->sim);
    w->stats.done += outcome == TM_SIM_DONE;
    w->stats.refused += outcome == TM_SIM_REFUSED;
    w->stats.unknown += outcome == TM_SIM_UNKNOWN;
    w->flushes_unknown += outcome == TM_SIM_UNKNOWN && done.call.step[0].verb == TM_SIM_FLUSH;
    tell(w, &done.call, true);
}

/* What was under way may have happened, or not. */
static void give_up(struct tm_sim_work_client *c)
{
    unsigned count = c->count;
    c->count = 0;
    c->watching = c->lingers = false;
    for (unsigned i = 0; i < count; i++)
        end_call(c, c->calls[i], TM_SIM_UNKNOWN);
}

static void odd_reply(struct tm_sim_work_client *c, const struct tm_sim_asked *call,
                      struct tm_bytes reply)
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
static enum tm_sim_outcome judge(struct tm_sim_work_client *c, struct tm_sim_asked *call,
                                 struct tm_bytes reply, const struct tm_resp_value *v, size_t used)
{
    static const char unknown[] = "TIMEOUT";
    struct tm_sim_work *w = c->work;
    bool fits;
    if (v->type == TM_RESP_ERROR)
        return v->text.len >= sizeof unknown - 1 &&
                       memcmp(v->text.data, unknown, sizeof unknown - 1) == 0
                   ? TM_SIM_UNKNOWN
                   : TM_SIM_REFUSED;
    if (call->form == TM_SIM_FORM_MULTI &&
        v->type == TM_RESP_NULL) /* something watched has changed */
        return TM_SIM_REFUSED;
    if (call->form == TM_SIM_FORM_MANY)
        fits = tm_sim_many_reply(call->many, w->registers, &call->call, reply, c->proto,
                                 w->config.fill);
    else if (call->form == TM_SIM_FORM_MULTI)
        fits = v->type == TM_RESP_ARRAY && exec_reply(w, &call->call, reply, used);
    else
        fits = tm_sim_words_reply(&w->registers[call->call.step[0].reg], &call->call.step[0], v,
                                  w->config.fill);
    if (!fits)
        odd_reply(c, call, reply);
    return TM_SIM_DONE;
}

static void transact(struct tm_sim_work_client *c, const struct tm_sim_step *watched)
{
    struct tm_sim_asked next;
    tm_sim_work_draw_watched(c->work, watched, &next);
    ask(c, &next);
}

/* The client thinks about what it read, and watches it meanwhile. */
static void linger(struct tm_sim_work_client *c, const struct tm_sim_step *read)
{
    c->work->stats.lingered++;
    c->watching = c->lingers = true;
    c->watched = *read;
    schedule(c, 1 + tm_rng_below(&c->work->linger, c->work->config.linger_ns));
}

/* What comes after a call that ended. */
static void go_on(struct tm_sim_work_client *c, const struct tm_sim_asked *done,
                  enum tm_sim_outcome outcome)
{
    struct tm_sim_work *w = c->work;
    c->watching = false;
    if (done->form == TM_SIM_FORM_WATCHED && outcome == TM_SIM_DONE && !done->failed &&
        !w->stopping) {
        if (w->config.linger_ns > 0)
            linger(c, &done->call.step[0]);
        else
            transact(c, &done->call.step[0]);
        return;
    }
    bool watched = done->form == TM_SIM_FORM_MULTI && done->call.step[0].verb == TM_SIM_EXPECT;
    if (outcome == TM_SIM_REFUSED && !watched && tm_sim_work_chance(w, w->config.retry))
        c->again = *done;
}

/* The answer to HELLO 3: a map that says so. */
static void greeted(struct tm_sim_work_client *c, struct tm_bytes reply)
{
    static const char proto[] = "$5\r\nproto\r\n:3\r\n";
    c->greeted = true;
    if (reply.data[0] != '%' || memmem(reply.data, reply.len, proto, sizeof proto - 1) == NULL)
        tm_sim_wrong(c->work->sim, "client %u: HELLO 3 is answered by %.*s", c->number,
                     (int)tm_min_u64(reply.len, 60), (const char *)reply.data);
}

static void on_reply(void *host, struct tm_sim_conn *conn, struct tm_bytes reply)
{
    struct tm_sim_work_client *c = host;
    struct tm_resp_value v;
    size_t used;
    TM_ASSERT(conn == c->conn);
    if (!c->greeted) {
        greeted(c, reply);
        return;
    }
    if (c->count == 0 || tm_resp_read(reply.data, reply.len, &v, &used) != TM_RESP_DONE) {
        tm_sim_wrong(c->work->sim, "client %u got a reply that it did not ask for", c->number);
        return;
    }
    struct tm_sim_asked *head = &c->calls[0];
    if (v.type == TM_RESP_NULL && (reply.data[0] == '_') != (c->proto == 3))
        odd_reply(c, head, reply);
    if (--head->replies > 0) {
        head->failed |= v.type == TM_RESP_ERROR;
        return;
    }
    struct tm_sim_asked done = *head;
    enum tm_sim_outcome outcome = judge(c, &done, reply, &v, used);
    memmove(c->calls, c->calls + 1, --c->count * sizeof c->calls[0]);
    c->give_up_at = tm_sim_now(c->work->sim) + c->work->config.patience_ns;
    end_call(c, done, outcome);
    go_on(c, &done, outcome);
}

static void on_closed(void *host, struct tm_sim_conn *conn)
{
    struct tm_sim_work_client *c = host;
    TM_ASSERT(conn == c->conn);
    c->conn = NULL;
    give_up(c);
}

/* ---- a client's doings ---- */

static void next_call(struct tm_sim_work_client *c)
{
    struct tm_sim_asked call = c->again;
    c->again.call.count = 0;
    tm_sim_work_draw_anew(c->work, &call);
    if (call.call.count == 0)
        tm_sim_work_draw(c->work, &call);
    if (call.form == TM_SIM_FORM_WATCHED && c->count > 0)
        call.form = TM_SIM_FORM_PLAIN; /* only alone: the transaction is to follow at once */
    c->watching = call.form == TM_SIM_FORM_WATCHED;
    ask(c, &call);
}

static void hang_up(struct tm_sim_work_client *c)
{
    tm_sim_disconnect(c->conn);
    c->conn = NULL;
    give_up(c);
}

static void wake(struct tm_sim_work_client *c)
{
    struct tm_sim_work *w = c->work;
    schedule_next(c);
    if (w->stopping)
        return;
    if (c->count > 0 && c->give_up_at <= tm_sim_now(w->sim))
        hang_up(c);
    if (c->conn != NULL && c->count == 0 && tm_sim_work_any(w, 500) == 0)
        hang_up(c);
    if (c->conn == NULL && !connect(c))
        return;
    if (c->lingers) {
        c->lingers = false;
        transact(c, &c->watched);
    } else if (c->count < w->config.ahead && !c->watching)
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
    uint64_t seed = tm_sim_draw(sim, UINT64_MAX);
    tm_rng_seed(&w->rng, seed);
    tm_rng_seed(&w->linger, seed + 1);
    w->layout = (struct tm_sim_layout){.groups = config->groups, .registers = config->registers};
    w->rounds = calloc(config->groups, sizeof *w->rounds);
    TM_ASSERT(w->rounds != NULL);
    tm_sim_work_reach(w, 0);
    tm_resp_writer_init(&w->out, TM_MIB(16));
    tm_resp_writer_reset(&w->out, 2, OUT_KEEP);
    for (unsigned i = 0; i < config->clients; i++) {
        w->clients[i] = (struct tm_sim_work_client){.work = w, .number = i};
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
    TM_ASSERT(w->listener_count < TM_SIM_WORK_LISTENERS_MAX);
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
    return ((struct tm_sim_work_client *)arg)->count == 0;
}

/* Asks these reads, once there is room for them. */
static void read_some(struct tm_sim_work *w, struct tm_sim_asked *call, uint64_t *asked)
{
    struct tm_sim_work_client *c = &w->clients[0];
    if (c->count >= w->config.ahead)
        (void)tm_sim_run_until(w->sim, answered, c, TM_SECONDS(10));
    if (call->call.count > 0 && c->count < w->config.ahead && (c->conn != NULL || connect(c)))
        ask(c, call);
    *asked += call->call.count > 0;
    *call = (struct tm_sim_asked){.form = TM_SIM_FORM_MULTI};
}

/* How many calls that took. */
static uint64_t read_registers(struct tm_sim_work *w)
{
    const struct tm_sim_work_config *config = &w->config;
    uint64_t asked = 0;
    for (uint32_t base = 0; base < w->register_count; base += config->registers)
        for (uint32_t group = 0; group < config->groups; group++) {
            struct tm_sim_asked call = {.form = TM_SIM_FORM_MULTI};
            for (uint32_t at = group; at < config->registers; at += config->groups) {
                if (!w->touched[base + at])
                    continue;
                tm_sim_work_draw_read(w, &call.call.step[call.call.count++], base + at);
                if (call.call.count == TM_SIM_STEPS_MAX)
                    read_some(w, &call, &asked);
            }
            read_some(w, &call, &asked);
        }
    (void)tm_sim_run_until(w->sim, answered, &w->clients[0], TM_SECONDS(10));
    return asked;
}

/* Leadership may be handed over meanwhile, to who is preferred: then a read is refused that waited
 * at the worker that led and was asked, and has to be asked again. */
void tm_sim_work_read_all(struct tm_sim_work *w)
{
    uint64_t asked = 0, done = 0, refused = 0;
    if (w->clients[0].conn != NULL) /* it may watch a key still */
        hang_up(&w->clients[0]);
    for (unsigned tries = 0; tries == 0 || (refused > 0 && tries < READ_TRIES); tries++) {
        struct tm_sim_work_stats before = w->stats;
        asked = read_registers(w);
        done = w->stats.done - before.done;
        refused = w->stats.refused - before.refused;
    }
    if (done != asked)
        tm_sim_wrong(w->sim, "of %llu groups of registers %llu could be read at rest",
                     (unsigned long long)asked, (unsigned long long)done);
}

struct tm_sim_work_stats tm_sim_work_stats(const struct tm_sim_work *w)
{
    return w->stats;
}
