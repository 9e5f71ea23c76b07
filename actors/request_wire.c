/* A request is a 64-byte head, then per command a count of words, then per word a length and its
 * bytes, unpadded.  An answer is a 48-byte head and the reply. */
#include "actors/request_wire.h"
#include "actors/message.h"

#include <stdlib.h>

struct request_head {
    uint64_t id;
    uint8_t kind;
    uint8_t resp;
    uint16_t reserved;
    uint32_t partition;
    uint32_t count;  /* commands */
    uint32_t words;  /* of all of them */
    uint64_t cursor; /* SCAN; WAIT: the term */
    uint64_t watch_token;
    uint64_t index;
    uint64_t timeout_ms;
    uint32_t copies;
    uint32_t reserved2;
};
TM_STATIC_ASSERT(sizeof(struct request_head) == 64, "frozen on the wire");

struct answer_head {
    uint64_t id;
    uint8_t status;
    uint8_t reserved;
    uint16_t err;
    uint32_t copies;
    uint64_t index;
    uint64_t cursor;
    uint64_t watch_token;
    uint64_t term;
};
TM_STATIC_ASSERT(sizeof(struct answer_head) == TM_ANSWER_HEAD, "frozen on the wire");

size_t tm_request_size(const struct tm_request *rq)
{
    size_t size = sizeof(struct request_head), words = 0;
    if (rq->count > TM_REQUEST_COMMANDS_MAX)
        return 0;
    for (unsigned i = 0; i < rq->count; i++) {
        const struct tm_request_command *c = &rq->commands[i];
        words += c->argc;
        size += 4 + 4 * (size_t)c->argc;
        for (unsigned k = 0; k < c->argc; k++)
            size += c->argv[k].len;
        if (size > TM_MESSAGE_BODY_MAX || words > TM_REQUEST_WORDS_MAX)
            return 0;
    }
    return size;
}

void tm_request_encode(const struct tm_request *rq, uint8_t *out)
{
    struct request_head h = {.id = rq->id,
                             .kind = (uint8_t)rq->kind,
                             .resp = rq->resp,
                             .partition = rq->partition,
                             .count = rq->count,
                             .cursor = rq->kind == TM_REQUEST_WAIT ? rq->term : rq->cursor,
                             .watch_token = rq->watch_token,
                             .index = rq->index,
                             .timeout_ms = rq->timeout_ms,
                             .copies = rq->copies};
    uint8_t *p = out + sizeof h;
    for (unsigned i = 0; i < rq->count; i++) {
        const struct tm_request_command *c = &rq->commands[i];
        h.words += c->argc;
        tm_store32(p, c->argc);
        p += 4;
        for (unsigned k = 0; k < c->argc; k++) {
            tm_store32(p, (uint32_t)c->argv[k].len);
            if (c->argv[k].len > 0)
                memcpy(p + 4, c->argv[k].data, c->argv[k].len);
            p += 4 + c->argv[k].len;
        }
    }
    memcpy(out, &h, sizeof h);
}

void tm_request_renumber(uint8_t *encoded, uint64_t id)
{
    tm_store64(encoded + offsetof(struct request_head, id), id);
}

void tm_request_words_free(struct tm_request_words *w)
{
    free(w->argv);
    free(w->commands);
    *w = (struct tm_request_words){0};
}

static bool make_room(struct tm_request_words *w, size_t words, size_t commands)
{
    if (words > w->argv_cap) {
        struct tm_bytes *p = realloc(w->argv, words * sizeof *p);
        if (p == NULL)
            return false;
        w->argv = p;
        w->argv_cap = words;
    }
    if (commands > w->command_cap) {
        struct tm_request_command *p = realloc(w->commands, commands * sizeof *p);
        if (p == NULL)
            return false;
        w->commands = p;
        w->command_cap = commands;
    }
    return true;
}

static bool take_u32(struct tm_bytes *in, uint32_t *v)
{
    if (in->len < 4)
        return false;
    *v = tm_load32(in->data);
    *in = tm_bytes_of(in->data + 4, in->len - 4);
    return true;
}

/* The commands and words behind the head, exactly as many as it announced. */
static bool take_commands(struct tm_bytes in, const struct request_head *h,
                          struct tm_request_words *w)
{
    size_t used = 0;
    for (uint32_t i = 0; i < h->count; i++) {
        uint32_t argc, len;
        if (!take_u32(&in, &argc) || argc == 0 || argc > h->words - used)
            return false;
        w->commands[i] = (struct tm_request_command){&w->argv[used], argc};
        for (uint32_t k = 0; k < argc; k++) {
            if (!take_u32(&in, &len) || len > in.len)
                return false;
            w->argv[used++] = tm_bytes_of(in.data, len);
            in = tm_bytes_of(in.data + len, in.len - len);
        }
    }
    return in.len == 0 && used == h->words;
}

enum tm_err tm_request_decode(struct tm_bytes bytes, struct tm_request_words *w,
                              struct tm_request *rq)
{
    struct request_head h;
    if (bytes.len < sizeof h || bytes.len > TM_MESSAGE_BODY_MAX)
        return TM_ERR_CORRUPT;
    memcpy(&h, bytes.data, sizeof h);
    struct tm_bytes rest = tm_bytes_of(bytes.data + sizeof h, bytes.len - sizeof h);
    if (h.id == 0 || h.kind > TM_REQUEST_WAIT || (h.resp != 2 && h.resp != 3) ||
        h.count > TM_REQUEST_COMMANDS_MAX || h.words > TM_REQUEST_WORDS_MAX ||
        h.words > rest.len / 4)
        return TM_ERR_CORRUPT;
    if (!make_room(w, h.words, h.count))
        return TM_ERR_NOMEM;
    if (!take_commands(rest, &h, w))
        return TM_ERR_CORRUPT;
    *rq = (struct tm_request){.id = h.id,
                              .kind = (enum tm_request_kind)h.kind,
                              .partition = h.partition,
                              .resp = h.resp,
                              .commands = w->commands,
                              .count = h.count,
                              .cursor = h.kind == TM_REQUEST_WAIT ? 0 : h.cursor,
                              .watch_token = h.watch_token,
                              .index = h.index,
                              .term = h.kind == TM_REQUEST_WAIT ? h.cursor : 0,
                              .copies = h.copies,
                              .timeout_ms = h.timeout_ms};
    return TM_OK;
}

void tm_answer_encode(const struct tm_answer *a, uint8_t out[TM_ANSWER_HEAD])
{
    struct answer_head h = {.id = a->id,
                            .status = (uint8_t)a->status,
                            .err = (uint16_t)a->err,
                            .copies = a->copies,
                            .index = a->index,
                            .cursor = a->cursor,
                            .watch_token = a->watch_token,
                            .term = a->term};
    memcpy(out, &h, sizeof h);
}

enum tm_err tm_answer_decode(struct tm_bytes bytes, struct tm_answer *a)
{
    struct answer_head h;
    if (bytes.len < sizeof h)
        return TM_ERR_CORRUPT;
    memcpy(&h, bytes.data, sizeof h);
    if (h.id == 0 || h.status > TM_ANSWER_WAITS || h.err >= TM_ERR_COUNT)
        return TM_ERR_CORRUPT;
    *a = (struct tm_answer){.id = h.id,
                            .status = (enum tm_answer_status)h.status,
                            .err = (enum tm_err)h.err,
                            .reply = tm_bytes_of(bytes.data + sizeof h, bytes.len - sizeof h),
                            .index = h.index,
                            .term = h.term,
                            .cursor = h.cursor,
                            .watch_token = h.watch_token,
                            .copies = h.copies};
    return TM_OK;
}
