/* session_memory.c: the memory of client connections, and their unsent output.
 *
 * All blocks count against one budget (limits.total_bytes), so that no number of clients can take
 * more.  Blocks up to 16 KiB come in powers of two and go back to lists, which keep at most
 * POOL_KEEP bytes: in steady traffic nothing reaches the general heap.
 *
 * Output is a chain of chunks: what the kernel is just sending never moves while replies are
 * appended.  A chunk is small for a first short reply and grows for those that follow. */
#include "actors/session_internal.h"

#include <stdlib.h>

#define CLASS_MIN    64u
#define CLASS_MAX    (CLASS_MIN << (TM_POOL_CLASSES - 1))
#define POOL_KEEP    TM_MIB(4)
#define CHUNK_FIRST  512u
#define PAUSE_SCARCE TM_KIB(64)

TM_STATIC_ASSERT(CLASS_MAX == 16384, "as the comments say");

static unsigned class_of(size_t size)
{
    return size <= CLASS_MIN ? 0 : 58 - (unsigned)__builtin_clzll(size - 1);
}

static size_t rounded(size_t size)
{
    return size <= CLASS_MAX ? (size_t)CLASS_MIN << class_of(size) : size;
}

void *tm_session_alloc(struct tm_sessions *all, size_t size)
{
    size_t bytes = rounded(size);
    if (all->stats.memory + bytes > all->limits.total_bytes)
        return NULL;
    void *block = NULL;
    if (size <= CLASS_MAX && (block = all->pool[class_of(size)]) != NULL) {
        memcpy(&all->pool[class_of(size)], block, sizeof(void *));
        all->pool_bytes -= bytes;
    } else {
        block = malloc(bytes);
    }
    all->stats.memory += block != NULL ? bytes : 0;
    return block;
}

void tm_session_free(struct tm_sessions *all, void *block, size_t size)
{
    size_t bytes = rounded(size);
    if (block == NULL)
        return;
    TM_ASSERT(all->stats.memory >= bytes);
    all->stats.memory -= bytes;
    if (size > CLASS_MAX || all->pool_bytes + bytes > POOL_KEEP) {
        free(block);
        return;
    }
    memcpy(block, &all->pool[class_of(size)], sizeof(void *));
    all->pool[class_of(size)] = block;
    all->pool_bytes += bytes;
}

void tm_sessions_pool_free(struct tm_sessions *all)
{
    for (unsigned i = 0; i < TM_POOL_CLASSES; i++)
        while (all->pool[i] != NULL) {
            void *block = all->pool[i];
            memcpy(&all->pool[i], block, sizeof(void *));
            free(block);
        }
    all->pool_bytes = 0;
}

bool tm_session_grow(struct tm_sessions *all, uint8_t **block, size_t *cap, size_t used,
                     size_t need)
{
    if (need <= *cap)
        return true;
    size_t size = rounded((size_t)tm_max_u64(need, *cap * 2));
    uint8_t *larger = tm_session_alloc(all, size);
    if (larger == NULL)
        return false;
    if (used > 0)
        memcpy(larger, *block, used);
    tm_session_free(all, *block, *cap);
    *block = larger;
    *cap = size;
    return true;
}

/* ---- Output ---- */

/* Whether len more bytes of replies may wait for this client; else it is doomed. */
static bool may_wait(struct tm_session *s, size_t len)
{
    if (s->out_bytes + s->held_bytes + len > s->all->limits.output_bytes)
        tm_session_doom(s, "output_limit");
    return !s->dead;
}

uint8_t *tm_session_hold(struct tm_session *s, struct tm_bytes reply)
{
    if (!may_wait(s, reply.len))
        return NULL;
    uint8_t *block = tm_session_alloc(s->all, reply.len);
    if (block == NULL) {
        tm_session_doom(s, "memory");
        return NULL;
    }
    memcpy(block, reply.data, reply.len);
    s->held_bytes += reply.len;
    return block;
}

void tm_session_unhold(struct tm_session *s, uint8_t *reply, size_t len)
{
    if (reply == NULL)
        return;
    TM_ASSERT(s->held_bytes >= len);
    s->held_bytes -= len;
    tm_session_free(s->all, reply, len);
}

/* Reading pauses earlier when all clients together have half of what they may. */
static size_t pause_at(const struct tm_sessions *all)
{
    bool scarce = all->stats.memory > all->limits.total_bytes / 2;
    return scarce ? (size_t)tm_min_u64(all->limits.output_pause, PAUSE_SCARCE)
                  : all->limits.output_pause;
}

static struct tm_chunk *add_chunk(struct tm_session *s, size_t want)
{
    size_t size = s->out_last == NULL ? CHUNK_FIRST : s->out_last->cap * 2;
    size = (size_t)tm_max_u64(size, want + sizeof(struct tm_chunk));
    size = rounded((size_t)tm_min_u64(size, CLASS_MAX));
    struct tm_chunk *c = tm_session_alloc(s->all, size);
    if (c == NULL)
        return NULL;
    *c = (struct tm_chunk){.cap = (uint32_t)(size - sizeof *c)};
    if (s->out_last != NULL)
        s->out_last->next = c;
    else
        s->out_first = c;
    s->out_last = c;
    return c;
}

static size_t chunk_size(const struct tm_chunk *c)
{
    return c->cap + sizeof *c;
}

void tm_session_out(struct tm_session *s, struct tm_bytes bytes)
{
    if (s->dead || bytes.len == 0 || !may_wait(s, bytes.len))
        return;
    if (s->out_bytes == 0)
        s->out_moved_ns = tm_ctx_now(s->all->ctx);
    s->out_bytes += bytes.len;
    while (bytes.len > 0) {
        struct tm_chunk *c = s->out_last;
        if ((c == NULL || c->len == c->cap) && (c = add_chunk(s, bytes.len)) == NULL) {
            tm_session_doom(s, "memory");
            return;
        }
        size_t n = (size_t)tm_min_u64(bytes.len, c->cap - c->len);
        memcpy(c->data + c->len, bytes.data, n);
        c->len += (uint32_t)n;
        bytes = tm_bytes_of(bytes.data + n, bytes.len - n);
    }
    s->paused |= s->out_bytes >= pause_at(s->all);
    tm_session_mark_ready(s);
}

unsigned tm_session_output(const struct tm_session *s, struct tm_bytes *pieces, unsigned max)
{
    unsigned count = 0;
    for (struct tm_chunk *c = s->out_first; c != NULL && count < max; c = c->next)
        if (c->len > c->sent)
            pieces[count++] = tm_bytes_of(c->data + c->sent, c->len - c->sent);
    return s->dead ? 0 : count;
}

void tm_session_sent(struct tm_session *s, size_t len)
{
    TM_ASSERT(len <= s->out_bytes);
    s->out_bytes -= len;
    s->out_moved_ns = tm_ctx_now(s->all->ctx);
    s->all->stats.output_bytes += len;
    while (s->out_first != NULL) {
        struct tm_chunk *c = s->out_first;
        size_t n = (size_t)tm_min_u64(len, c->len - c->sent);
        c->sent += (uint32_t)n;
        len -= n;
        if (c->sent < c->len)
            break;
        s->out_first = c->next;
        tm_session_free(s->all, c, chunk_size(c));
    }
    if (s->out_first == NULL)
        s->out_last = NULL;
    if (s->paused && s->out_bytes <= pause_at(s->all) / 2)
        s->paused = false;
    tm_session_continue(s);
}

void tm_session_out_free(struct tm_session *s)
{
    while (s->out_first != NULL) {
        struct tm_chunk *c = s->out_first;
        s->out_first = c->next;
        tm_session_free(s->all, c, chunk_size(c));
    }
    s->out_last = NULL;
    s->out_bytes = 0;
}

/* ---- Words kept for later ---- */

bool tm_words_add_count(struct tm_sessions *all, struct tm_words *w, uint32_t count)
{
    if (!tm_session_grow(all, &w->data, &w->cap, w->len, w->len + sizeof count))
        return false;
    tm_store32(w->data + w->len, count);
    w->len += sizeof count;
    return true;
}

bool tm_words_add(struct tm_sessions *all, struct tm_words *w, struct tm_bytes word)
{
    if (!tm_words_add_count(all, w, (uint32_t)word.len) ||
        !tm_session_grow(all, &w->data, &w->cap, w->len, w->len + word.len))
        return false;
    if (word.len > 0)
        memcpy(w->data + w->len, word.data, word.len);
    w->len += word.len;
    return true;
}

void tm_words_free(struct tm_sessions *all, struct tm_words *w)
{
    tm_session_free(all, w->data, w->cap);
    *w = (struct tm_words){0};
}

uint32_t tm_words_count(const struct tm_words *w, size_t *at)
{
    TM_ASSERT(*at + sizeof(uint32_t) <= w->len);
    uint32_t count = tm_load32(w->data + *at);
    *at += sizeof count;
    return count;
}

struct tm_bytes tm_words_next(const struct tm_words *w, size_t *at)
{
    uint32_t len = tm_words_count(w, at);
    TM_ASSERT(*at + len <= w->len);
    struct tm_bytes word = tm_bytes_of(w->data + *at, len);
    *at += len;
    return word;
}
