/* session_wait.c: WAIT and WAITAOF: how many durable copies this connection's writes have.
 *
 * A session remembers for each partition that it wrote to the index of its last record there: in a
 * small table that grows with the number of such partitions.  WAIT n asks each of these leaders to
 * answer when n + 1 data copies (its own included) hold that index durably, or when the time is
 * over; the reply is the fewest copies any of them has, less the leader's own.  It waits until all
 * earlier commands are answered, for only then the indices are known.
 *
 * In eventual mode a failover may cut off what was answered.  There the last record of each leader
 * is remembered, by its term; one that the present leader has not is on no copy, and will be on
 * none: what an offer brings back is another record.  Once the client was told so it is forgotten.
 *
 * A leader is asked to wait for SLICE_MS at most, and then asked again: so nothing is left behind
 * at leaders when a client goes that waited for copies that never come. */
#include "actors/directory.h"
#include "actors/session_internal.h"

#define FIRST_CAP 4
#define SLICE_MS  1000
TM_STATIC_ASSERT((TM_DIRECTORY_PARTITIONS_MAX + 1) * TM_WRITTEN_TERMS <= 1 << TM_PART_BITS,
                 "a part per record that is remembered");

/* Where that is noted, or is to be: a free place or, if as many terms are noted as may be, that of
 * the oldest of them, which may be later than `term`. */
static struct tm_written *find(const struct tm_session *s, uint32_t partition, uint64_t term)
{
    uint32_t mask = s->written_cap - 1, at = partition & mask, terms = 0;
    struct tm_written *oldest = NULL;
    for (; s->written[at].used; at = (at + 1) & mask) {
        struct tm_written *w = &s->written[at];
        if (w->partition != partition)
            continue;
        if (w->term == term)
            return w;
        if (oldest == NULL || w->term < oldest->term)
            oldest = w;
        terms++;
    }
    return terms < TM_WRITTEN_TERMS ? &s->written[at] : oldest;
}

static bool grow(struct tm_session *s)
{
    uint32_t old_cap = s->written_cap, cap = old_cap > 0 ? old_cap * 2 : FIRST_CAP;
    struct tm_written *old = s->written;
    struct tm_written *table = tm_session_alloc(s->all, cap * sizeof *table);
    if (table == NULL)
        return false;
    memset(table, 0, cap * sizeof *table);
    s->written = table;
    s->written_cap = cap;
    for (uint32_t i = 0; i < old_cap; i++)
        if (old[i].used)
            *find(s, old[i].partition, old[i].term) = old[i];
    tm_session_free(s->all, old, old_cap * sizeof *old);
    return true;
}

void tm_session_note_write(struct tm_session *s, uint32_t partition, uint64_t index, uint64_t term)
{
    if (s->written_count * 4 >= s->written_cap * 3 && !grow(s)) {
        tm_session_doom(s, "memory");
        return;
    }
    struct tm_written *w = find(s, partition, term);
    if (w->used && w->term > term)
        return; /* older than all that are remembered */
    s->written_count += !w->used;
    uint64_t last = w->used && w->term == term ? w->index : 0;
    *w = (struct tm_written){
        .partition = partition, .used = true, .index = tm_max_u64(last, index), .term = term};
}

/* Takes the entry out; those behind it that it had pushed on move up. */
static void forget(struct tm_session *s, struct tm_written *w)
{
    uint32_t mask = s->written_cap - 1, hole = (uint32_t)(w - s->written);
    for (uint32_t at = (hole + 1) & mask; s->written[at].used; at = (at + 1) & mask) {
        uint32_t home = s->written[at].partition & mask;
        if (((at - home) & mask) < ((at - hole) & mask))
            continue; /* its home lies behind the hole */
        s->written[hole] = s->written[at];
        hole = at;
    }
    s->written[hole] = (struct tm_written){0};
    s->written_count--;
}

void tm_session_wait_told(struct tm_session *s, const struct tm_gather *g)
{
    for (uint32_t i = 0; i < g->parts && s->written_count > 0; i++) {
        const struct tm_part *part = &g->part[i];
        struct tm_written *w = part->gone ? find(s, part->partition, part->term) : NULL;
        if (w != NULL && w->used && w->term == part->term && w->index == part->index)
            forget(s, w);
    }
}

void tm_session_written_free(struct tm_session *s)
{
    tm_session_free(s->all, s->written, s->written_cap * sizeof s->written[0]);
    s->written = NULL;
    s->written_cap = s->written_count = 0;
}

static void fill_wait(struct tm_session *s, struct tm_gather *g, uint32_t part,
                      struct tm_request *r)
{
    uint64_t now = tm_session_now_ms(s->all);
    uint64_t left = g->deadline_ms > now ? g->deadline_ms - now : 1;
    r->kind = TM_REQUEST_WAIT;
    r->index = g->part[part].index;
    r->term = g->part[part].term;
    r->copies = g->wanted;
    r->timeout_ms = tm_min_u64(left, SLICE_MS);
}

static bool ask(struct tm_session *s, uint64_t number, uint32_t part)
{
    struct tm_entry *e = tm_session_entry_at(s, number);
    struct tm_request r = {.resp = e->resp, .partition = e->gather->part[part].partition};
    e->gather->part[part].again = false;
    fill_wait(s, e->gather, part, &r);
    if (tm_session_submit(s, number, part, &r))
        return true;
    e->gather->part[part].again = true;
    tm_session_stall(s);
    return false;
}

bool tm_session_wait_on(struct tm_session *s, uint64_t number, uint32_t part,
                        const struct tm_answer *a)
{
    const struct tm_gather *g = tm_session_entry_at(s, number)->gather;
    if (a->status != TM_ANSWER_DONE || a->err != TM_OK || a->copies >= g->wanted || s->dead ||
        tm_session_now_ms(s->all) >= g->deadline_ms)
        return false;
    ask(s, number, part);
    return true;
}

bool tm_session_wait_resume(struct tm_session *s, uint64_t number)
{
    for (uint32_t part = 0;; part++) {
        const struct tm_entry *e = tm_session_entry_at(s, number);
        if (e == NULL || e->done || part == e->gather->parts)
            return true;
        if (e->gather->part[part].again && !ask(s, number, part))
            return false;
    }
}

/* One part for each record that is remembered; with none, any partition tells how many copies there
 * are. */
static bool begin(struct tm_session *s, enum tm_gather_how how, uint32_t copies, uint64_t timeout)
{
    uint32_t parts = s->written_count > 0 ? s->written_count : 1, at = 0;
    struct tm_gather *g = tm_gather_new(s, parts, 0);
    struct tm_entry *e = g != NULL ? tm_session_entry(s, TM_ENTRY_GATHER) : NULL;
    if (e == NULL) {
        tm_gather_free(s, g);
        return false;
    }
    e->gather = g;
    g->how = (uint8_t)how;
    g->wanted = copies;
    g->copies = UINT32_MAX;
    g->deadline_ms = timeout != 0 ? tm_session_now_ms(s->all) + timeout : UINT64_MAX;
    for (uint32_t i = 0; i < s->written_cap; i++)
        if (s->written[i].used) {
            g->part[at].partition = s->written[i].partition;
            g->part[at].term = s->written[i].term;
            g->part[at++].index = s->written[i].index;
        }
    return true;
}

static enum tm_step wait_for(struct tm_session *s, enum tm_gather_how how, uint32_t copies,
                             uint64_t timeout)
{
    if (!s->partial && s->head != s->tail)
        return TM_STEP_BARRIER;
    if (!s->partial && !begin(s, how, copies, timeout))
        return TM_STEP_DONE;
    return tm_gather_submit(s, fill_wait);
}

/* What the words of a WAIT or WAITAOF ask for. */
struct asked {
    uint32_t copies;
    uint64_t timeout;
    const char *error; /* or NULL */
};

/* As redis: fewer than none is none; more than can be is more than there are. */
static uint32_t clamp(int64_t n)
{
    return n < 0 ? 0 : (uint32_t)tm_min_u64((uint64_t)n, UINT32_MAX - 1);
}

static struct asked parse(const struct tm_bytes *argv)
{
    int64_t local = 0, replicas, timeout;
    bool aof = tm_word_is(argv[0], "WAITAOF");
    struct asked a = {0};
    const struct tm_bytes *word = argv + (aof ? 2 : 1);
    if ((aof && !tm_resp_to_i64(argv[1], &local)) || !tm_resp_to_i64(word[0], &replicas))
        a.error = "ERR value is not an integer or out of range";
    else if (aof && (local < 0 || local > 1))
        a.error = local > 1 ? "ERR WAITAOF cannot be used when numlocal is greater than 1"
                            : "ERR value is out of range, must be positive";
    else if (!tm_resp_to_i64(word[1], &timeout))
        a.error = "ERR timeout is not an integer or out of range";
    else if (timeout < 0)
        a.error = "ERR timeout is negative";
    if (a.error != NULL)
        return a;
    a.copies = !aof || replicas > 0 ? clamp(replicas) + 1 : (uint32_t)local;
    a.timeout = (uint64_t)timeout;
    return a;
}

/* In a transaction nobody waits: the copies of what was written before are counted at once, and
 * the next command only comes when they are. */
static enum tm_step queue(struct tm_session *s, const struct tm_bytes *argv, unsigned argc)
{
    uint32_t place;
    if (!s->partial && s->head != s->tail)
        return TM_STEP_BARRIER;
    if (!s->partial) {
        if (!tm_multi_queue_wait(s, argv, argc, &place) || !begin(s, TM_GATHER_QUEUED, 0, 0))
            return TM_STEP_DONE;
        tm_session_entry_at(s, s->tail - 1)->gather->sum = place;
    }
    s->fence = true;
    return tm_gather_submit(s, fill_wait);
}

static enum tm_step steer(struct tm_session *s, enum tm_gather_how how, const struct tm_bytes *argv,
                          unsigned argc)
{
    struct asked a = parse(argv);
    if (s->multi != NULL && a.error == NULL)
        return queue(s, argv, argc);
    if (a.error == NULL)
        return wait_for(s, how, a.copies, a.timeout);
    if (s->multi != NULL)
        tm_multi_queue(s, tm_command_find(argv[0]), argv, argc); /* EXEC says what is wrong */
    else
        tm_session_error(s, a.error);
    return TM_STEP_DONE;
}

enum tm_step tm_session_steer_wait(struct tm_session *s, const struct tm_bytes *argv, unsigned argc)
{
    return steer(s, TM_GATHER_WAIT, argv, argc);
}

enum tm_step tm_session_steer_waitaof(struct tm_session *s, const struct tm_bytes *argv,
                                      unsigned argc)
{
    return steer(s, TM_GATHER_WAITAOF, argv, argc);
}

void tm_session_compose_wait(struct tm_resp_writer *w, const struct tm_bytes *argv, unsigned argc)
{
    struct asked a = parse(argv);
    bool aof = tm_word_is(argv[0], "WAITAOF");
    if (a.error != NULL) {
        tm_resp_error(w, a.error);
        return;
    }
    uint32_t copies = tm_load32(argv[argc - 1].data);
    if (aof) {
        tm_resp_array(w, 2);
        tm_resp_integer(w, copies > 0);
    }
    tm_resp_integer(w, copies > 0 ? copies - 1 : 0);
}
