/* workload.c: commands from templates.
 *
 * Each operation of the mix is laid out once in RESP; to make one command the template is copied,
 * and the digits of keys and the bytes of values are put over the places that were noted. */
#include "bench/workload.h"

#include <stdio.h>
#include <stdlib.h>

#define KEY_DIGITS  12
#define PLACES_MAX  20
#define VALUE_SLACK 4096 /* a value begins anywhere within so many random bytes */

static const struct {
    const char *name, *words;
    char letter;
} op_table[] = {
#define X(constant, name, letter, words) {name, words, letter},
    TM_LOAD_OP_LIST(X)
#undef X
};

struct place {
    char what; /* 'K', 'V' or 'D' */
    size_t at;
};

struct template
{
    uint8_t *bytes;
    size_t len;
    unsigned places;
    struct place place[PLACES_MAX];
};

struct tm_workload {
    struct tm_workload_spec spec;
    struct tm_rng rng;
    struct tm_zipf zipf;
    uint64_t sequence;
    uint8_t *random; /* value_bytes + VALUE_SLACK */
    struct template op[TM_LOAD_OP_COUNT];
};

const char *tm_load_op_name(enum tm_load_op op)
{
    return op_table[op].name;
}

static int op_find(const char *name, size_t len)
{
    for (unsigned i = 0; i < TM_LOAD_OP_COUNT; i++)
        if (strlen(op_table[i].name) == len && memcmp(op_table[i].name, name, len) == 0)
            return (int)i;
    return -1;
}

static enum tm_err mix_error(char *why, size_t why_len, const char *item, size_t len)
{
    int at =
        snprintf(why, why_len, "\"%.*s\" is no operation with a weight; there are", (int)len, item);
    for (unsigned i = 0; i < TM_LOAD_OP_COUNT && at > 0 && (size_t)at < why_len; i++)
        at += snprintf(why + at, why_len - (size_t)at, "%s %s", i > 0 ? "," : "", op_table[i].name);
    return TM_ERR_INVALID;
}

enum tm_err tm_load_mix_parse(struct tm_load_mix *mix, const char *text, char *why, size_t why_len)
{
    *mix = (struct tm_load_mix){0};
    for (const char *item = text;; item++) {
        size_t len = strcspn(item, ","), name = strcspn(item, ":,");
        int op = op_find(item, name);
        unsigned long weight = 1;
        char *end = NULL;
        if (name < len)
            weight = strtoul(item + name + 1, &end, 10);
        if (op < 0 || weight < 1 || weight > 1000000 || (end != NULL && end != item + len) ||
            mix->weight[op] != 0)
            return mix_error(why, why_len, item, len);
        mix->weight[op] = (uint32_t)weight;
        mix->total += (uint32_t)weight;
        item += len;
        if (*item == 0)
            return TM_OK;
    }
}

/* Output that may be too small, or nothing at all: len says what would be needed. */
struct out {
    uint8_t *bytes;
    size_t len, cap;
};

static void put(struct out *o, const void *data, size_t len)
{
    if (data != NULL && o->len + len <= o->cap)
        memcpy(o->bytes + o->len, data, len);
    o->len += len;
}

static void put_count(struct out *o, char type, size_t count)
{
    char text[24];
    put(o, text, (size_t)snprintf(text, sizeof text, "%c%zu\r\n", type, count));
}

/* A word; data NULL leaves its place open.  Returns where it begins. */
static size_t put_word(struct out *o, const void *data, size_t len)
{
    put_count(o, '$', len);
    size_t begins = o->len;
    put(o, data, len);
    put(o, "\r\n", 2);
    return begins;
}

static size_t count_words(const char *text)
{
    size_t count = 0;
    for (const char *c = text; *c != 0; c++)
        count += *c != ' ' && (c == text || c[-1] == ' ');
    return count;
}

size_t tm_load_encode_words(const char *text, uint8_t *out, size_t cap)
{
    struct out o = {.bytes = out, .cap = cap};
    put_count(&o, '*', count_words(text));
    for (const char *word = text; *word != 0;) {
        size_t len = strcspn(word, " ");
        if (len > 0)
            put_word(&o, word, len);
        word += len + (word[len] == ' ');
    }
    return count_words(text) > 0 && o.len <= cap ? o.len : 0;
}

/* Zeros stand where the digits come. */
static size_t key_skeleton(const struct tm_workload *w, enum tm_load_op op, char *out)
{
    return (size_t)snprintf(out, TM_LOAD_KEY_MAX + 1, "%s:%c%0*d", w->spec.prefix,
                            op_table[op].letter, KEY_DIGITS, 0);
}

static void template_lay_out(struct template *t, const struct tm_workload *w, enum tm_load_op op,
                             struct out *o)
{
    char key[TM_LOAD_KEY_MAX + 1];
    size_t key_len = key_skeleton(w, op, key);
    t->places = 0;
    put_count(o, '*', count_words(op_table[op].words));
    for (const char *word = op_table[op].words; *word != 0;) {
        size_t len = strcspn(word, " "), at;
        char what = len == 1 ? *word : 0;
        if (what == 'K')
            at = put_word(o, key, key_len) + key_len - KEY_DIGITS;
        else if (what == 'V')
            at = put_word(o, NULL, w->spec.value_bytes);
        else if (what == 'D')
            at = put_word(o, key + key_len - KEY_DIGITS, KEY_DIGITS);
        else
            at = put_word(o, word, len);
        TM_ASSERT(t->places < PLACES_MAX);
        if (what != 0)
            t->place[t->places++] = (struct place){.what = what, .at = at};
        word += len + (word[len] == ' ');
    }
}

static bool template_make(struct template *t, const struct tm_workload *w, enum tm_load_op op)
{
    struct out measure = {0};
    template_lay_out(t, w, op, &measure);
    t->bytes = malloc(measure.len);
    if (t->bytes == NULL)
        return false;
    memset(t->bytes, 0, measure.len);
    struct out real = {.bytes = t->bytes, .cap = measure.len};
    template_lay_out(t, w, op, &real);
    t->len = real.len;
    return true;
}

struct tm_workload *tm_workload_new(const struct tm_workload_spec *spec)
{
    struct tm_workload *w = calloc(1, sizeof *w);
    if (w == NULL)
        return NULL;
    w->spec = *spec;
    tm_rng_seed(&w->rng, spec->seed);
    if (spec->order == TM_KEYS_ZIPF)
        tm_zipf_init(&w->zipf, spec->keys, spec->zipf);
    size_t random = spec->value_bytes + VALUE_SLACK;
    w->random = malloc(random);
    bool ok = w->random != NULL;
    for (size_t i = 0; ok && i < random; i++)
        w->random[i] = (uint8_t)('!' + tm_rng_below(&w->rng, '~' - '!' + 1));
    for (unsigned i = 0; ok && i < TM_LOAD_OP_COUNT; i++)
        ok = spec->mix.weight[i] == 0 || template_make(&w->op[i], w, (enum tm_load_op)i);
    if (ok)
        return w;
    tm_workload_free(w);
    return NULL;
}

void tm_workload_free(struct tm_workload *w)
{
    if (w == NULL)
        return;
    for (unsigned i = 0; i < TM_LOAD_OP_COUNT; i++)
        free(w->op[i].bytes);
    free(w->random);
    free(w);
}

size_t tm_workload_command_max(const struct tm_workload *w)
{
    size_t max = 0;
    for (unsigned i = 0; i < TM_LOAD_OP_COUNT; i++)
        max = tm_max_u64(max, w->op[i].len);
    return max;
}

enum tm_load_op tm_workload_draw_op(struct tm_workload *w)
{
    uint64_t r = tm_rng_below(&w->rng, w->spec.mix.total);
    unsigned op = 0;
    while (r >= w->spec.mix.weight[op])
        r -= w->spec.mix.weight[op++];
    return (enum tm_load_op)op;
}

uint64_t tm_workload_draw_key(struct tm_workload *w)
{
    switch (w->spec.order) {
    case TM_KEYS_SEQUENTIAL:
        return w->sequence++ % w->spec.keys;
    case TM_KEYS_ZIPF:
        return tm_zipf_draw(&w->zipf, &w->rng) - 1;
    case TM_KEYS_UNIFORM:
        break;
    }
    return tm_rng_below(&w->rng, w->spec.keys);
}

static void put_digits(void *at, uint64_t number)
{
    char *text = at;
    for (int i = KEY_DIGITS - 1; i >= 0; i--, number /= 10)
        text[i] = (char)('0' + number % 10);
}

size_t tm_workload_key_text(const struct tm_workload *w, enum tm_load_op op, uint64_t key,
                            char *out)
{
    char text[TM_LOAD_KEY_MAX + 1];
    size_t len = key_skeleton(w, op, text);
    put_digits(text + len - KEY_DIGITS, key);
    memcpy(out, text, len);
    return len;
}

size_t tm_workload_encode(struct tm_workload *w, enum tm_load_op op, uint64_t key, uint8_t *out)
{
    const struct template *t = &w->op[op];
    TM_ASSERT(t->bytes != NULL);
    memcpy(out, t->bytes, t->len);
    bool first = true;
    for (unsigned i = 0; i < t->places; i++) {
        uint8_t *at = out + t->place[i].at;
        if (t->place[i].what == 'V')
            memcpy(at, w->random + tm_rng_below(&w->rng, VALUE_SLACK), w->spec.value_bytes);
        else if (t->place[i].what == 'D')
            put_digits(at, tm_rng_below(&w->rng, w->spec.keys));
        else
            put_digits(at, first ? key : tm_workload_draw_key(w));
        first = first && t->place[i].what != 'K';
    }
    return t->len;
}
