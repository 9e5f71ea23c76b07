/* session_chain.c: SCAN and RANDOMKEY: one partition after the other.
 *
 * The cursor a client sees is (place in the partition) << 14 | partition; places are below 2^48
 * (actors/command.h).  A partition that is done leads to the start of the next; after the last one
 * the cursor is 0.  One call goes on through partitions until COUNT keys were found or VISITS_MAX
 * partitions asked, so that a small data set does not cost a call per partition.
 *
 * RANDOMKEY asks a partition drawn by chance, then those after it, until one has a key.
 *
 * On a worker's own port only partitions that it leads are asked.  A walk that stands in the middle
 * of one finishes it, whoever leads it by then: the next leader's walk may be past it. */
#include "actors/session_internal.h"

#define CURSOR_BITS 14
#define VISITS_MAX  64

TM_STATIC_ASSERT(TM_SLOTS == 1 << CURSOR_BITS, "a partition fits in the cursor");

struct tm_chain {
    bool scan;
    bool waits;    /* the router was full */
    bool asking;   /* inside submit: an answer that comes now is followed up there */
    bool answered; /* it came, and more is to be asked */
    uint8_t resp;
    uint32_t partition;
    uint64_t place;
    uint64_t want, found;
    uint32_t visits;
    uint32_t passed; /* partitions done with, asked or not */
    uint32_t argc;
    struct tm_bytes *argv; /* argc of them, pointing into words */
    struct tm_words words;
    struct tm_words found_keys; /* RESP elements, one after the other */
    bool failed;                /* then found_keys is the reply: an error */
};

void tm_chain_free(struct tm_session *s, struct tm_chain *chain)
{
    if (chain == NULL)
        return;
    tm_session_free(s->all, chain->argv, chain->argc * sizeof chain->argv[0]);
    tm_words_free(s->all, &chain->words);
    tm_words_free(s->all, &chain->found_keys);
    tm_session_free(s->all, chain, sizeof *chain);
}

/* Asks the partition whose turn it is, once. */
static bool ask_once(struct tm_session *s, struct tm_chain *chain, uint64_t number)
{
    struct tm_request_command command = {.argv = chain->argv, .argc = chain->argc};
    struct tm_request r = {.kind = TM_REQUEST_EXEC,
                           .partition = chain->partition,
                           .resp = chain->resp,
                           .commands = &command,
                           .count = 1,
                           .cursor = chain->place};
    chain->waits = chain->answered = false;
    chain->asking = true;
    chain->visits++;
    return tm_session_submit(s, number, 0, &r);
}

/* Asks on until an answer is awaited or the chain is done; false: the router is full.  A loop and
 * no recursion: a router may answer at once, partition after partition. */
static bool ask(struct tm_session *s, uint64_t number)
{
    for (;;) {
        bool taken = ask_once(s, tm_session_entry_at(s, number)->chain, number);
        struct tm_entry *e = tm_session_entry_at(s, number);
        if (e == NULL || e->done)
            return true;
        e->chain->asking = false;
        if (!taken) {
            e->chain->visits--;
            e->chain->waits = true;
            return false;
        }
        if (!e->chain->answered)
            return true;
    }
}

bool tm_chain_resume(struct tm_session *s, uint64_t number)
{
    struct tm_entry *e = tm_session_entry_at(s, number);
    if (e->done || !e->chain->waits || ask(s, number))
        return true;
    tm_session_stall(s);
    return false;
}

/* ---- The command ---- */

static bool parse_cursor(struct tm_session *s, struct tm_bytes word, struct tm_chain *chain)
{
    uint64_t cursor = 0;
    bool ok = word.len > 0 && word.len <= 20;
    for (size_t i = 0; ok && i < word.len; i++) {
        unsigned digit = (unsigned)word.data[i] - '0';
        ok = digit <= 9 && !__builtin_mul_overflow(cursor, 10u, &cursor) &&
             !__builtin_add_overflow(cursor, digit, &cursor);
    }
    chain->partition = (uint32_t)(cursor & (TM_SLOTS - 1));
    chain->place = cursor >> CURSOR_BITS;
    if (!ok || chain->place >> 48 != 0)
        tm_session_error(s, "ERR invalid cursor");
    return ok && chain->place >> 48 == 0;
}

/* COUNT, where it is good; a bad one is the partition's to refuse. */
static uint64_t wanted(const struct tm_bytes *argv, unsigned argc)
{
    int64_t count = 10;
    for (unsigned i = 2; i + 1 < argc; i += 2)
        if (tm_word_is(argv[i], "COUNT") && !tm_resp_to_i64(argv[i + 1], &count))
            break;
    return count > 0 ? (uint64_t)count : 1;
}

static bool keep_words(struct tm_session *s, struct tm_chain *chain, const struct tm_bytes *argv)
{
    size_t at = 0;
    chain->argv = tm_session_alloc(s->all, chain->argc * sizeof chain->argv[0]);
    for (unsigned i = 0; chain->argv != NULL && i < chain->argc; i++)
        if (!tm_words_add(s->all, &chain->words, argv[i]))
            return false;
    for (unsigned i = 0; chain->argv != NULL && i < chain->argc; i++)
        chain->argv[i] = tm_words_next(&chain->words, &at);
    return chain->argv != NULL;
}

/* Makes the chain from the words; false: an error was answered, or the session is doomed. */
static bool prepare(struct tm_session *s, struct tm_chain *chain, const struct tm_bytes *argv,
                    unsigned argc)
{
    uint32_t partitions = s->all->router->partitions;
    chain->resp = s->resp;
    chain->argc = argc;
    if (chain->scan) {
        if (!parse_cursor(s, argv[1], chain))
            return false;
        chain->want = wanted(argv, argc);
    } else {
        chain->partition = (uint32_t)(tm_ctx_random(s->all->ctx) % partitions);
        chain->want = 1;
    }
    if (!keep_words(s, chain, argv)) {
        tm_session_doom(s, "memory");
        return false;
    }
    return true;
}

/* Moves on to the next partition that is covered, this one included; false: there is none.  SCAN
 * ends at the last partition, RANDOMKEY goes around once. */
static bool settle(const struct tm_session *s, struct tm_chain *chain)
{
    uint32_t partitions = s->all->router->partitions;
    for (;; chain->partition++, chain->passed++) {
        if (chain->passed >= partitions || (chain->scan && chain->partition >= partitions))
            return false;
        chain->partition %= partitions;
        if (chain->place != 0 || tm_session_covers(s, chain->partition))
            return true;
    }
}

/* There is nothing to walk: the cursor is past the last partition, or this worker leads none. */
static enum tm_step nothing_there(struct tm_session *s, bool scan)
{
    struct tm_resp_writer *w = tm_session_scratch(s, s->resp);
    if (scan) {
        tm_resp_array(w, 2);
        tm_resp_bulk_str(w, "0");
        tm_resp_array(w, 0);
    } else {
        tm_resp_null(w);
    }
    tm_session_add_scratch(s);
    return TM_STEP_DONE;
}

enum tm_step tm_session_chain(struct tm_session *s, const struct tm_command *c,
                              const struct tm_bytes *argv, unsigned argc)
{
    struct tm_chain *chain = tm_session_alloc(s->all, sizeof *chain);
    if (chain == NULL) {
        tm_session_doom(s, "memory");
        return TM_STEP_DONE;
    }
    *chain = (struct tm_chain){.scan = argc > 1};
    TM_ASSERT(chain->scan == (c->arity < 0));
    struct tm_entry *e = NULL;
    if (!prepare(s, chain, argv, argc)) {
        tm_chain_free(s, chain);
        return TM_STEP_DONE;
    }
    if (!settle(s, chain)) {
        bool scan = chain->scan;
        tm_chain_free(s, chain);
        return nothing_there(s, scan);
    }
    if ((e = tm_session_entry(s, TM_ENTRY_CHAIN)) == NULL) {
        tm_chain_free(s, chain);
        return TM_STEP_DONE;
    }
    e->chain = chain;
    if (ask(s, s->tail - 1))
        return TM_STEP_DONE;
    tm_session_entry_undo(s);
    return TM_STEP_FULL;
}

/* ---- Answers ---- */

static void fail(struct tm_session *s, struct tm_chain *chain, struct tm_bytes reply)
{
    chain->failed = true;
    chain->found_keys.len = 0;
    if (!tm_session_grow(s->all, &chain->found_keys.data, &chain->found_keys.cap, 0, reply.len)) {
        tm_session_doom(s, "memory");
        return;
    }
    memcpy(chain->found_keys.data, reply.data, reply.len);
    chain->found_keys.len = reply.len;
}

static void add_found(struct tm_session *s, struct tm_chain *chain, struct tm_bytes elements)
{
    struct tm_words *w = &chain->found_keys;
    if (!tm_session_grow(s->all, &w->data, &w->cap, w->len, w->len + elements.len)) {
        tm_session_doom(s, "memory");
        return;
    }
    if (elements.len > 0)
        memcpy(w->data + w->len, elements.data, elements.len);
    w->len += elements.len;
}

/* Takes what a partition found: the elements of its array, or its one key. */
static void take(struct tm_session *s, struct tm_chain *chain, const struct tm_answer *a)
{
    struct tm_resp_value v;
    size_t used;
    if (a->status != TM_ANSWER_DONE) {
        struct tm_resp_writer *w = tm_session_scratch(s, chain->resp);
        tm_session_write_refusal(w, a->status, a->err);
        fail(s, chain, tm_resp_writer_bytes(w));
    } else if (tm_resp_read(a->reply.data, a->reply.len, &v, &used) != TM_RESP_DONE ||
               v.type == TM_RESP_ERROR) {
        fail(s, chain, a->reply);
    } else if (chain->scan) {
        chain->found += v.count;
        add_found(s, chain, tm_bytes_of(a->reply.data + used, a->reply.len - used));
    } else if (v.type != TM_RESP_NULL) {
        chain->found = 1;
        add_found(s, chain, a->reply);
    }
}

/* Where to go on; false: that was the last partition. */
static bool advance(const struct tm_session *s, struct tm_chain *chain, uint64_t cursor)
{
    if (chain->scan && cursor != 0) {
        chain->place = cursor;
        return true;
    }
    chain->place = 0;
    chain->partition++;
    chain->passed++;
    return settle(s, chain);
}

void tm_chain_answer(struct tm_session *s, uint64_t number, const struct tm_answer *a)
{
    struct tm_entry *e = tm_session_entry_at(s, number);
    struct tm_chain *chain = e->chain;
    take(s, chain, a);
    bool more = advance(s, chain, a->cursor);
    bool enough = chain->found >= chain->want || (chain->scan && chain->visits >= VISITS_MAX);
    if (chain->failed || s->dead || !more || enough) {
        if (!more)
            chain->place = chain->partition = 0;
        e->done = true;
        return;
    }
    if (chain->asking)
        chain->answered = true;
    else if (!ask(s, number))
        tm_session_stall(s);
}

void tm_chain_compose(struct tm_session *s, struct tm_entry *e)
{
    struct tm_chain *chain = e->chain;
    struct tm_resp_writer *w = tm_session_scratch(s, e->resp);
    if (e->mute || s->dead)
        return;
    if (!chain->failed && chain->scan) {
        tm_resp_array(w, 2);
        tm_resp_bulk_u64(w, chain->place << CURSOR_BITS | chain->partition);
        tm_resp_array(w, chain->found);
    } else if (!chain->failed && chain->found == 0) {
        tm_resp_null(w);
    }
    struct tm_bytes found = tm_bytes_of(chain->found_keys.data, chain->found_keys.len);
    tm_session_count_reply(s, w->len > 0 ? tm_resp_writer_bytes(w) : found);
    tm_session_out(s, tm_resp_writer_bytes(w));
    tm_session_out(s, found);
}
