/* session_gather.c: commands over several partitions.
 *
 * MGET, MSET, DEL, UNLINK, EXISTS and TOUCH are cut into one command per partition, with its keys
 * in their order; DBSIZE, KEYS and FLUSHALL go to every partition as they are, or, on a worker's
 * own port, to every one that it leads.  When all parts are answered the replies are joined: added,
 * or-ed, appended, or, for MGET, dealt out again in the order of the keys.  This is not atomic:
 * each part is, the whole is not (documented).
 *
 * If the router is full in the middle, the command stays at the head of the input with its entry
 * made; it is cut again in the same way later and goes on with the parts that were not taken.
 *
 * A part refused or lost fails the whole: what an error says of "nothing done" would be wrong if
 * other parts of a write were done, so then it says that the outcome is unknown. */
#include "actors/session_internal.h"

#include "runtime/crc16.h"

struct tm_gather *tm_gather_new(struct tm_session *s, uint32_t parts, uint32_t keys)
{
    size_t size =
        sizeof(struct tm_gather) + parts * sizeof(struct tm_part) + keys * sizeof(uint16_t);
    struct tm_gather *g = tm_session_alloc(s->all, size);
    if (g == NULL) {
        tm_session_doom(s, "memory");
        return NULL;
    }
    memset(g, 0, size);
    g->bytes = (uint32_t)size;
    g->parts = parts;
    g->keys = keys;
    g->part_of_key = (uint16_t *)(void *)&g->part[parts];
    return g;
}

void tm_gather_free(struct tm_session *s, struct tm_gather *g)
{
    if (g == NULL)
        return;
    for (uint32_t i = 0; i < g->parts; i++)
        tm_session_unhold(s, g->part[i].reply, g->part[i].len);
    tm_session_unhold(s, g->error, g->error_len);
    tm_session_free(s->all, g, g->bytes);
}

enum tm_step tm_gather_submit(struct tm_session *s,
                              void (*fill)(struct tm_session *s, struct tm_gather *g, uint32_t part,
                                           struct tm_request *r))
{
    uint64_t number = s->tail - 1;
    s->partial = true;
    for (;;) {
        struct tm_entry *e = tm_session_entry_at(s, number);
        if (e == NULL || e->done)
            break;
        struct tm_gather *g = e->gather;
        uint32_t part = g->submitted;
        if (part == g->parts)
            break;
        struct tm_request r = {.kind = TM_REQUEST_EXEC, .resp = e->resp};
        fill(s, g, part, &r);
        r.partition = g->part[part].partition;
        g->submitted++;
        if (!tm_session_submit(s, number, part, &r)) {
            g->submitted--;
            return TM_STEP_FULL;
        }
    }
    s->partial = false;
    return TM_STEP_DONE;
}

/* ---- Cutting a command ---- */

struct cut {
    struct tm_sessions *all;
    const struct tm_bytes *argv;
    uint32_t keys, parts;
};

static void mark_key(void *host, unsigned position)
{
    struct cut *cut = host;
    struct tm_sessions *all = cut->all;
    uint32_t partition =
        tm_partition_of_slot(tm_slot_of_key(cut->argv[position]), all->router->partitions);
    if (all->mark[partition] != all->mark_now) {
        all->mark[partition] = all->mark_now;
        all->part_of[partition] = (uint16_t)cut->parts++;
    }
    all->part_of_key[cut->keys++] = all->part_of[partition];
}

/* Notes for each key which part it belongs to; parts are numbered as they appear.  False: the words
 * do not say where the keys are. */
static bool cut_command(struct tm_session *s, const struct tm_command *c,
                        const struct tm_bytes *argv, unsigned argc, struct cut *cut)
{
    struct tm_sessions *all = s->all;
    *cut = (struct cut){.all = all, .argv = argv};
    if (++all->mark_now == 0) {
        memset(all->mark, 0, all->router->partitions * sizeof all->mark[0]);
        all->mark_now = 1;
    }
    return (argc - (unsigned)c->first_key) % (unsigned)c->key_step == 0 &&
           tm_command_keys(c, argv, argc, mark_key, cut);
}

/* The words of the parts lie in all->words one part after the other, each with the name first;
 * where part p starts is all->part_start[p]. */
static void deal_words(struct tm_session *s, const struct tm_command *c,
                       const struct tm_bytes *argv, const struct tm_gather *g)
{
    struct tm_sessions *all = s->all;
    uint32_t step = (uint32_t)c->key_step, *start = all->part_start;
    memset(start, 0, (g->parts + 1) * sizeof start[0]);
    for (uint32_t k = 0; k < g->keys; k++)
        start[g->part_of_key[k] + 1] += step;
    for (uint32_t p = 0; p < g->parts; p++) {
        all->words[start[p]] = argv[0];
        start[p + 1] += start[p] + 1;
    }
    /* While dealing, start[p] is where the next word of p goes; it ends at the start of p + 1. */
    for (uint32_t p = 0; p < g->parts; p++)
        start[p]++;
    const struct tm_bytes *word = argv + c->first_key;
    for (uint32_t k = 0; k < g->keys; k++)
        for (uint32_t i = 0; i < step; i++)
            all->words[start[g->part_of_key[k]]++] = *word++;
    for (uint32_t p = g->parts; p > 0; p--)
        start[p] = start[p - 1];
    start[0] = 0;
}

static void fill_scatter(struct tm_session *s, struct tm_gather *g, uint32_t part,
                         struct tm_request *r)
{
    struct tm_sessions *all = s->all;
    (void)g;
    all->command =
        (struct tm_request_command){.argv = all->words + all->part_start[part],
                                    .argc = all->part_start[part + 1] - all->part_start[part]};
    r->commands = &all->command;
    r->count = 1;
}

static enum tm_gather_how how_of(const struct tm_command *c)
{
    static const struct {
        const char *name;
        enum tm_gather_how how;
    } hows[] = {{"MGET", TM_GATHER_BY_KEY},
                {"MSET", TM_GATHER_OK},
                {"FLUSHALL", TM_GATHER_OK},
                {"FLUSHDB", TM_GATHER_OK},
                {"KEYS", TM_GATHER_CONCAT}};
    for (size_t i = 0; i < TM_ARRAY_LEN(hows); i++)
        if (strcmp(c->name, hows[i].name) == 0)
            return hows[i].how;
    return TM_GATHER_SUM; /* DEL, UNLINK, EXISTS, TOUCH, DBSIZE */
}

/* Makes the entry of a new gather; NULL: the session is doomed. */
static struct tm_gather *begin(struct tm_session *s, const struct tm_command *c, uint32_t parts,
                               uint32_t keys)
{
    struct tm_gather *g = tm_gather_new(s, parts, keys);
    struct tm_entry *e = g != NULL ? tm_session_entry(s, TM_ENTRY_GATHER) : NULL;
    if (e == NULL) {
        tm_gather_free(s, g);
        return NULL;
    }
    g->how = (uint8_t)how_of(c);
    g->write = (c->flags & TM_CMD_WRITE) != 0;
    e->gather = g;
    return g;
}

enum tm_step tm_session_scatter(struct tm_session *s, const struct tm_command *c,
                                const struct tm_bytes *argv, unsigned argc)
{
    struct tm_sessions *all = s->all;
    struct cut cut;
    if (!cut_command(s, c, argv, argc, &cut)) {
        tm_session_wrong_arity(tm_session_scratch(s, s->resp), argv);
        tm_session_add_scratch(s);
        return TM_STEP_DONE;
    }
    struct tm_gather *g;
    if (s->partial) {
        struct tm_entry *e = tm_session_entry_at(s, s->tail - 1);
        g = e->gather;
        TM_ASSERT(g->parts == cut.parts && g->keys == cut.keys);
    } else if ((g = begin(s, c, cut.parts, cut.keys)) == NULL) {
        return TM_STEP_DONE;
    }
    memcpy(g->part_of_key, all->part_of_key, cut.keys * sizeof g->part_of_key[0]);
    const struct tm_bytes *key = argv + c->first_key;
    for (uint32_t k = 0; k < cut.keys; k++, key += c->key_step)
        g->part[g->part_of_key[k]].partition =
            tm_partition_of_slot(tm_slot_of_key(*key), all->router->partitions);
    deal_words(s, c, argv, g);
    return tm_gather_submit(s, fill_scatter);
}

static void fill_broadcast(struct tm_session *s, struct tm_gather *g, uint32_t part,
                           struct tm_request *r)
{
    (void)g, (void)part;
    r->commands = &s->all->command;
    r->count = 1;
}

/* Makes the entry with a part for each partition that the command is about here. */
static bool begin_broadcast(struct tm_session *s, const struct tm_command *c)
{
    uint32_t partitions = s->all->router->partitions, covered = 0;
    for (uint32_t p = 0; p < partitions; p++)
        covered += tm_session_covers(s, p);
    struct tm_gather *g = begin(s, c, covered, 0);
    if (g == NULL)
        return false;
    for (uint32_t p = 0, part = 0; p < partitions; p++)
        if (tm_session_covers(s, p))
            g->part[part++].partition = p;
    return true;
}

/* A worker that leads nothing has no part in it. */
static enum tm_step end_empty(struct tm_session *s)
{
    struct tm_entry *e = tm_session_entry_at(s, s->tail - 1);
    e->done = true;
    tm_session_flush(s);
    return TM_STEP_DONE;
}

enum tm_step tm_session_broadcast(struct tm_session *s, const struct tm_command *c,
                                  const struct tm_bytes *argv, unsigned argc)
{
    if (strcmp(c->name, "SCAN") == 0 || strcmp(c->name, "RANDOMKEY") == 0)
        return tm_session_chain(s, c, argv, argc);
    if (!s->partial && !begin_broadcast(s, c))
        return TM_STEP_DONE;
    if (tm_session_entry_at(s, s->tail - 1)->gather->parts == 0)
        return end_empty(s);
    s->all->command = (struct tm_request_command){.argv = argv, .argc = argc};
    return tm_gather_submit(s, fill_broadcast);
}

/* ---- Answers ---- */

/* The reply of a part that was executed. */
static void take_reply(struct tm_session *s, struct tm_gather *g, struct tm_part *part,
                       const struct tm_answer *a)
{
    struct tm_resp_value v;
    size_t used;
    if (tm_resp_read(a->reply.data, a->reply.len, &v, &used) != TM_RESP_DONE)
        v = (struct tm_resp_value){.type = TM_RESP_ERROR};
    if (v.type == TM_RESP_ERROR) {
        if (g->error == NULL && (g->error = tm_session_hold(s, a->reply)) != NULL)
            g->error_len = (uint32_t)a->reply.len;
        return;
    }
    g->some_done = true;
    g->sum += v.type == TM_RESP_INTEGER ? v.integer : (int64_t)v.count;
    if (g->how == TM_GATHER_TEXT)
        used = 0; /* the text is read when it is joined */
    if (g->how == TM_GATHER_CONCAT || g->how == TM_GATHER_BY_KEY || g->how == TM_GATHER_TEXT) {
        part->at = (uint32_t)used;
        part->reply = tm_session_hold(s, a->reply);
        part->len = part->reply != NULL ? (uint32_t)a->reply.len : 0;
    }
}

void tm_gather_answer(struct tm_session *s, struct tm_entry *e, uint32_t part,
                      const struct tm_answer *a)
{
    struct tm_gather *g = e->gather;
    if (part >= g->parts || s->dead ||
        (g->how >= TM_GATHER_WAIT && tm_session_wait_on(s, a->id >> TM_PART_BITS, part, a)))
        return;
    g->answered++;
    if (a->index != 0)
        tm_session_note_write(s, g->part[part].partition, a->index, a->term);
    if (a->status != TM_ANSWER_DONE) {
        if (g->worst < a->status) {
            g->worst = (uint8_t)a->status;
            g->err = (uint8_t)a->err;
        }
    } else if (g->how >= TM_GATHER_WAIT) {
        g->copies = (uint32_t)tm_min_u64(g->copies, a->copies);
        g->part[part].gone = a->err == TM_ERR_NOTFOUND;
    } else {
        take_reply(s, g, &g->part[part], a);
    }
    e->done = g->answered == g->parts;
}

/* ---- Joining ---- */

static void send_header(struct tm_session *s, struct tm_entry *e, uint64_t count)
{
    struct tm_resp_writer *w = tm_session_scratch(s, e->resp);
    tm_resp_array(w, count);
    tm_session_count_reply(s, tm_resp_writer_bytes(w));
    tm_session_out(s, tm_resp_writer_bytes(w));
}

static void send_concat(struct tm_session *s, struct tm_entry *e)
{
    struct tm_gather *g = e->gather;
    send_header(s, e, (uint64_t)g->sum);
    for (uint32_t i = 0; i < g->parts; i++)
        tm_session_out(
            s, tm_bytes_of(g->part[i].reply + g->part[i].at, g->part[i].len - g->part[i].at));
}

/* Deals the elements out in the order of the keys.  A part that answered too few gives nulls. */
static void send_by_key(struct tm_session *s, struct tm_entry *e)
{
    struct tm_gather *g = e->gather;
    send_header(s, e, g->keys);
    for (uint32_t k = 0; k < g->keys; k++) {
        struct tm_part *p = &g->part[g->part_of_key[k]];
        struct tm_resp_skipper skipper = {0};
        struct tm_bytes element = tm_bytes_str(e->resp == 3 ? "_\r\n" : "$-1\r\n");
        size_t used;
        if (p->reply != NULL &&
            tm_resp_skip(&skipper, p->reply + p->at, p->len - p->at, &used) == TM_RESP_DONE) {
            element = tm_bytes_of(p->reply + p->at, used);
            p->at += (uint32_t)used;
        }
        tm_session_out(s, element);
    }
}

/* The texts of all parts as one. */
static void send_text(struct tm_session *s, struct tm_entry *e)
{
    struct tm_gather *g = e->gather;
    struct tm_resp_writer *w = tm_session_scratch(s, e->resp), *text = tm_session_text(s);
    for (uint32_t i = 0; i < g->parts; i++) {
        struct tm_resp_value v;
        size_t used;
        if (tm_resp_read(g->part[i].reply, g->part[i].len, &v, &used) != TM_RESP_DONE)
            continue;
        size_t format = v.type == TM_RESP_VERBATIM ? strlen("txt:") : 0; /* written once, below */
        tm_resp_raw(text, tm_bytes_of(v.text.data + format, v.text.len - format));
    }
    tm_resp_verbatim(w, tm_resp_writer_bytes(text));
    if (w->overflow || text->overflow) {
        tm_session_doom(s, "output_limit");
        return;
    }
    tm_session_count_reply(s, tm_resp_writer_bytes(w));
    tm_session_out(s, tm_resp_writer_bytes(w));
}

/* What is said in one small reply, or an error. */
static void write_joined(struct tm_session *s, struct tm_entry *e)
{
    struct tm_gather *g = e->gather;
    struct tm_resp_writer *w = tm_session_scratch(s, e->resp);
    bool in_part = g->write && g->some_done && g->worst == TM_ANSWER_REFUSED;
    if (g->how == TM_GATHER_ANY && g->some_done)
        tm_resp_simple(w, "OK");
    else if (g->worst != TM_ANSWER_DONE && g->how != TM_GATHER_QUEUED)
        tm_session_write_refusal(w, in_part ? TM_ANSWER_UNKNOWN : g->worst, g->err);
    else if (g->error != NULL)
        tm_resp_raw(w, tm_bytes_of(g->error, g->error_len));
    else if (g->how == TM_GATHER_OK)
        tm_resp_simple(w, "OK");
    else if (g->how == TM_GATHER_QUEUED)
        tm_resp_simple(w, "QUEUED");
    else if (g->how == TM_GATHER_SUM)
        tm_resp_integer(w, g->sum);
    else {
        uint32_t others = g->copies > 0 ? g->copies - 1 : 0;
        if (g->how == TM_GATHER_WAITAOF) {
            tm_resp_array(w, 2);
            tm_resp_integer(w, g->copies > 0);
        }
        tm_resp_integer(w, others);
        tm_session_wait_told(s, g);
    }
    tm_session_count_reply(s, tm_resp_writer_bytes(w));
    tm_session_out(s, tm_resp_writer_bytes(w));
}

void tm_gather_compose(struct tm_session *s, struct tm_entry *e)
{
    const struct tm_gather *g = e->gather;
    bool any = g->how == TM_GATHER_ANY && g->some_done;
    if (g->how == TM_GATHER_QUEUED && !s->dead)
        tm_multi_count_copies(s, (uint32_t)g->sum, g->worst == TM_ANSWER_DONE ? g->copies : 0);
    if (e->mute || s->dead)
        return;
    if (!any && (g->worst != TM_ANSWER_DONE || g->error != NULL))
        write_joined(s, e);
    else if (g->how == TM_GATHER_TEXT)
        send_text(s, e);
    else if (g->how == TM_GATHER_CONCAT)
        send_concat(s, e);
    else if (g->how == TM_GATHER_BY_KEY)
        send_by_key(s, e);
    else
        write_joined(s, e);
}
