/* A flat list of (token, hash of key): watches are few and short-lived, and a list costs a write
 * nothing when it is empty. */
#include "actors/watch.h"
#include "storage/record.h"

#include <stdlib.h>
#include <xxhash.h>

struct tm_watch_key {
    uint64_t token;
    uint64_t hash;
    bool touched;
};

static uint64_t key_hash(struct tm_bytes key)
{
    return XXH3_64bits(key.data, key.len);
}

static bool known(const struct tm_watches *w, uint64_t token)
{
    for (unsigned i = 0; i < w->count; i++)
        if (w->keys[i].token == token)
            return true;
    return false;
}

/* Room for one more: grows up to the bound, then the token of the oldest key gives way.  *gone is
 * that token. */
static bool make_room(struct tm_watches *w, uint64_t *gone)
{
    if (w->count < w->cap)
        return true;
    if (w->cap < TM_WATCH_KEYS_MAX) {
        unsigned cap = w->cap == 0 ? 16 : w->cap * 2;
        void *keys = realloc(w->keys, cap * sizeof *w->keys);
        if (keys == NULL)
            return false;
        w->keys = keys;
        w->cap = cap;
        return true;
    }
    *gone = w->keys[0].token;
    tm_watch_drop(w, *gone);
    return true;
}

static uint64_t new_token(struct tm_watches *w)
{
    if (++w->next_token == 0)
        w->next_token = 1;
    return w->next_token;
}

uint64_t tm_watch_add(struct tm_watches *w, uint64_t token, const struct tm_bytes *keys,
                      unsigned count)
{
    bool touched = token != 0 && !tm_watch_clean(w, token);
    if (token == 0 || !known(w, token))
        token = new_token(w);
    for (unsigned i = 0; i < count; i++) {
        uint64_t gone = 0;
        if (!make_room(w, &gone)) {
            tm_watch_drop(w, token);
            return 0;
        }
        touched |= gone == token; /* its first keys are not watched any more */
        w->keys[w->count++] = (struct tm_watch_key){token, key_hash(keys[i]), touched};
    }
    return token;
}

bool tm_watch_clean(const struct tm_watches *w, uint64_t token)
{
    bool found = false;
    for (unsigned i = 0; i < w->count; i++) {
        if (w->keys[i].token != token)
            continue;
        if (w->keys[i].touched)
            return false;
        found = true;
    }
    return found;
}

void tm_watch_drop(struct tm_watches *w, uint64_t token)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < w->count; i++)
        if (w->keys[i].token != token)
            w->keys[kept++] = w->keys[i];
    w->count = kept;
}

static void touch_hash(struct tm_watches *w, uint64_t hash)
{
    for (unsigned i = 0; i < w->count; i++)
        if (w->keys[i].hash == hash)
            w->keys[i].touched = true;
}

void tm_watch_touch(struct tm_watches *w, const struct tm_record *record)
{
    if (w->count == 0 || (record->kind != TM_RECORD_EFFECT && record->kind != TM_RECORD_FLUSH))
        return;
    for (unsigned i = 0; record->kind == TM_RECORD_FLUSH && i < w->count; i++)
        w->keys[i].touched = true;
    struct tm_bytes rest = tm_record_body(record);
    struct tm_change change;
    while (tm_change_next(&rest, &change))
        touch_hash(w, key_hash(change.key));
}

void tm_watch_clear(struct tm_watches *w)
{
    w->count = 0;
}

void tm_watch_free(struct tm_watches *w)
{
    free(w->keys);
    *w = (struct tm_watches){0};
}
