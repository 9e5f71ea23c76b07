/* command.c: the table behind actors/command.h, and finding a row by name.
 *
 * Names are at most 15 bytes: one is upper-cased into two words, and the words multiplied give the
 * place in a table of four times as many slots as there are commands.  Nearly every name lies in
 * its first slot; a clash goes on to the next.  The table is filled before main. */
#include "actors/command.h"

#include "actors/command_table.h"
#include "net/resp.h"

#define NAME_MAX_LEN 15
#define SLOTS        512

#define ROW(name, arity, first, last, step, class, group, summary)                                 \
    name, arity, first, last, step, (uint32_t)TM_CLASS_##class, group, summary

static const struct tm_command commands[] = {
#define X(symbol, ...) {ROW(__VA_ARGS__), .run = tm_cmd_##symbol},
    TM_COMMAND_KEYED_LIST(X)
#undef X
#define X(symbol, ...) {ROW(__VA_ARGS__), .local = tm_session_local_##symbol},
        TM_COMMAND_LOCAL_LIST(X)
#undef X
#define X(symbol, ...) {ROW(__VA_ARGS__), .steer = tm_session_steer_##symbol},
            TM_COMMAND_STEER_LIST(X)
#undef X
#define X(symbol, ...) {ROW(__VA_ARGS__), .run = tm_cmd_##symbol},
                TM_COMMAND_INTERNAL_LIST(X) /* last: tm_command_at ends before them */
#undef X
};

TM_STATIC_ASSERT(TM_ARRAY_LEN(commands) * 3 < SLOTS, "few names may clash");

/* A name in upper case, padded with zeros. */
struct folded {
    uint64_t word[2];
};

static struct {
    struct folded name;
    const struct tm_command *command;
} slots[SLOTS];

static uint8_t upper(uint8_t c)
{
    return c >= 'a' && c <= 'z' ? (uint8_t)(c - 32) : c;
}

bool tm_word_is(struct tm_bytes word, const char *text)
{
    size_t i = 0;
    for (; i < word.len && text[i] != 0; i++)
        if (upper(word.data[i]) != upper((uint8_t)text[i]))
            return false;
    return i == word.len && text[i] == 0;
}

/* False: no command can be called so. */
static bool fold(struct tm_bytes name, struct folded *f)
{
    uint8_t text[16] = {0};
    if (name.len == 0 || name.len > NAME_MAX_LEN)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];
        if (c == 0)
            return false;
        text[i] = upper(c);
    }
    memcpy(f->word, text, sizeof f->word);
    return true;
}

static unsigned first_slot(const struct folded *f)
{
    uint64_t h = f->word[0] * 0x9e3779b97f4a7c15u ^ f->word[1] * 0xc2b2ae3d27d4eb4fu;
    return (unsigned)(h >> 40) % SLOTS;
}

__attribute__((constructor)) static void fill_slots(void)
{
    for (size_t i = 0; i < TM_ARRAY_LEN(commands); i++) {
        struct folded f;
        TM_ASSERT(fold(tm_bytes_str(commands[i].name), &f));
        unsigned at = first_slot(&f);
        while (slots[at].command != NULL)
            at = (at + 1) % SLOTS;
        slots[at].name = f;
        slots[at].command = &commands[i];
    }
}

const struct tm_command *tm_command_find(struct tm_bytes name)
{
    struct folded f;
    if (!fold(name, &f))
        return NULL;
    for (unsigned at = first_slot(&f); slots[at].command != NULL; at = (at + 1) % SLOTS)
        if (slots[at].name.word[0] == f.word[0] && slots[at].name.word[1] == f.word[1])
            return slots[at].command;
    return NULL;
}

const struct tm_command *tm_command_at(unsigned i)
{
    bool there = i < TM_ARRAY_LEN(commands) && (commands[i].flags & TM_CMD_INTERNAL) == 0;
    return there ? &commands[i] : NULL;
}

bool tm_command_keys(const struct tm_command *c, const struct tm_bytes *argv, unsigned argc,
                     void (*visit)(void *host, unsigned position), void *host)
{
    if (c->first_key == 0)
        return true;
    int64_t last = c->last_key < 0 ? (int64_t)argc + c->last_key : c->last_key;
    if ((c->flags & TM_CMD_NUMKEYS) != 0) {
        int64_t count;
        if (!tm_resp_to_i64(argv[c->first_key - 1], &count) || count < 1 ||
            count > (int64_t)argc - c->first_key)
            return false;
        last = c->first_key + count - 1;
    }
    if (last >= (int64_t)argc)
        return false;
    for (int64_t at = c->first_key; at <= last; at += c->key_step)
        visit(host, (unsigned)at);
    return true;
}
