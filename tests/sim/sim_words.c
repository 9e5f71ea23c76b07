/* A value on the wire is its number, a point, and filling that follows from the number, so that a
 * value that was mixed or cut is seen. */
#include "tests/sim/sim_words.h"

#include <stdio.h>
#include <stdlib.h>

#define FILL_MAX 65536

struct tm_sim_register tm_sim_register(uint32_t reg, const struct tm_sim_layout *layout)
{
    struct tm_sim_register r = {.group = tm_sim_group_of(layout, reg)};
    uint32_t n = reg % layout->registers / layout->groups;
    static const enum tm_sim_kind kinds[] = {TM_SIM_STRING, TM_SIM_COUNTER, TM_SIM_STRING,
                                             TM_SIM_FIELD,  TM_SIM_MEMBER,  TM_SIM_COUNTER_FIELD};
    r.kind = kinds[n % TM_ARRAY_LEN(kinds)];
    bool part = r.kind == TM_SIM_FIELD || r.kind == TM_SIM_MEMBER || r.kind == TM_SIM_COUNTER_FIELD;
    /* A few parts share an entity; fields and counters do too. */
    snprintf(r.key, sizeof r.key, "T%u:{g%u}%c%u", r.group % 3, r.group,
             r.kind == TM_SIM_MEMBER    ? 'm'
             : part                     ? 'h'
             : r.kind == TM_SIM_COUNTER ? 'c'
                                        : 's',
             part ? n / 24 : n);
    if (part)
        snprintf(r.field, sizeof r.field, "f%u", n);
    return r;
}

static bool is_text(struct tm_bytes bytes, const char *text)
{
    return bytes.len == strlen(text) && memcmp(bytes.data, text, bytes.len) == 0;
}

bool tm_sim_register_named(const struct tm_sim_layout *layout, struct tm_bytes key,
                           struct tm_bytes field, uint32_t *reg)
{
    char text[48], part[17];
    unsigned type, group, number;
    char kind;
    snprintf(text, sizeof text, "%.*s", (int)tm_min_u64(key.len, sizeof text - 1),
             (char *)key.data);
    snprintf(part, sizeof part, "%.*s", (int)tm_min_u64(field.len, sizeof part - 1),
             (char *)field.data);
    if (sscanf(text, "T%u:{g%u}%c%u", &type, &group, &kind, &number) != 4 ||
        (field.len > 0 && sscanf(part, "f%u", &number) != 1))
        return false;
    *reg = group / layout->groups * layout->registers + number * layout->groups +
           group % layout->groups;
    struct tm_sim_register r = tm_sim_register(*reg, layout);
    return is_text(key, r.key) && is_text(field, r.field);
}

bool tm_sim_register_takes(enum tm_sim_kind kind, enum tm_sim_verb verb)
{
    bool counter = kind == TM_SIM_COUNTER || kind == TM_SIM_COUNTER_FIELD;
    switch (verb) {
    case TM_SIM_ADD:
        return counter;
    case TM_SIM_WRITE:
        return !counter;
    case TM_SIM_WRITE_NEW:
        return kind == TM_SIM_STRING || kind == TM_SIM_FIELD;
    case TM_SIM_EXPIRE:
    case TM_SIM_PERSIST:
    case TM_SIM_TTL: /* a whole entity has one time */
        return kind == TM_SIM_STRING || kind == TM_SIM_COUNTER;
    case TM_SIM_FLUSH:
        return false;
    case TM_SIM_READ:
    case TM_SIM_REMOVE:
    case TM_SIM_EXPECT:
        return true;
    }
    return false;
}

/* ---- commands ---- */

/* One value in 32 is a big one. */
static uint32_t filling(uint64_t value, uint32_t fill)
{
    uint64_t h = value * 0x9e3779b97f4a7c15ULL >> 33;
    uint64_t most = h % 32 == 0 ? fill * 32ULL : fill;
    return (uint32_t)(h / 32 % (tm_min_u64(most, FILL_MAX) + 1));
}

struct tm_bytes tm_sim_words_text(uint64_t value, uint32_t fill)
{
    static char text[FILL_MAX + 32];
    int head = snprintf(text, 32, "%llu.", (unsigned long long)value);
    uint32_t more = filling(value, fill);
    memset(text + head, 'a' + (int)(value % 26), more);
    return tm_bytes_of(text, (size_t)head + more);
}

static void words(struct tm_resp_writer *out, unsigned count, const char *name, const char *key,
                  const char *field)
{
    tm_resp_array(out, count);
    tm_resp_bulk_str(out, name);
    tm_resp_bulk_str(out, key);
    if (field != NULL)
        tm_resp_bulk_str(out, field);
}

static void write_words(struct tm_resp_writer *out, const struct tm_sim_register *r,
                        const struct tm_sim_step *s, uint32_t fill)
{
    if (r->kind == TM_SIM_MEMBER) {
        words(out, 3, "SADD", r->key, r->field);
        return;
    }
    if (r->kind == TM_SIM_FIELD) {
        words(out, 4, s->verb == TM_SIM_WRITE ? "HSET" : "HSETNX", r->key, r->field);
        tm_resp_bulk(out, tm_sim_words_text(s->value, fill));
        return;
    }
    bool new = s->verb == TM_SIM_WRITE_NEW;
    words(out, s->ttl_ms != 0 ? 5 : 3, new ? "SETNX" : "SET", r->key, NULL);
    tm_resp_bulk(out, tm_sim_words_text(s->value, fill));
    if (s->ttl_ms != 0) {
        tm_resp_bulk_str(out, "PX");
        tm_resp_bulk_u64(out, s->ttl_ms);
    }
}

void tm_sim_words_command(struct tm_resp_writer *out, const struct tm_sim_register *r,
                          const struct tm_sim_step *s, uint32_t fill)
{
    bool field = r->kind == TM_SIM_FIELD || r->kind == TM_SIM_COUNTER_FIELD;
    bool member = r->kind == TM_SIM_MEMBER;
    const char *name = field || member ? r->field : NULL;
    TM_ASSERT(s->verb == TM_SIM_FLUSH ||
              (tm_sim_register_takes(r->kind, s->verb) && s->verb != TM_SIM_EXPECT));
    switch (s->verb) {
    case TM_SIM_FLUSH:
        tm_resp_array(out, 1);
        tm_resp_bulk_str(out, "FLUSHALL");
        break;
    case TM_SIM_READ:
        words(out, name != NULL ? 3 : 2,
              field    ? "HGET"
              : member ? "SISMEMBER"
                       : "GET",
              r->key, name);
        break;
    case TM_SIM_REMOVE:
        words(out, name != NULL ? 3 : 2, field ? "HDEL" : member ? "SREM" : "DEL", r->key, name);
        break;
    case TM_SIM_ADD:
        words(out, name != NULL ? 4 : 3, field ? "HINCRBY" : "INCRBY", r->key, name);
        tm_resp_bulk_i64(out, (int64_t)s->value);
        break;
    case TM_SIM_EXPIRE:
        words(out, 3, "PEXPIRE", r->key, NULL);
        tm_resp_bulk_u64(out, s->ttl_ms);
        break;
    case TM_SIM_PERSIST:
        words(out, 2, "PERSIST", r->key, NULL);
        break;
    case TM_SIM_TTL:
        words(out, 2, "PTTL", r->key, NULL);
        break;
    default:
        write_words(out, r, s, fill);
        break;
    }
}

/* ---- replies ---- */

static bool number_of(struct tm_bytes text, uint64_t *value)
{
    size_t len = 0;
    for (*value = 0; len < text.len && text.data[len] >= '0' && text.data[len] <= '9'; len++)
        *value = *value * 10 + (uint64_t)(text.data[len] - '0');
    return len > 0;
}

bool tm_sim_words_value(const struct tm_sim_register *r, struct tm_sim_step *s,
                        const struct tm_resp_value *v, uint32_t fill)
{
    int64_t total;
    if (r->kind == TM_SIM_MEMBER) {
        s->found = v->integer == 1;
        s->result = s->found;
        return v->type == TM_RESP_INTEGER && v->integer >= 0 && v->integer <= 1;
    }
    s->found = v->type == TM_RESP_BULK;
    if (!s->found)
        return v->type == TM_RESP_NULL;
    if (r->kind == TM_SIM_STRING || r->kind == TM_SIM_FIELD)
        return number_of(v->text, &s->result) &&
               tm_bytes_equal(v->text, tm_sim_words_text(s->result, fill));
    if (!tm_resp_to_i64(v->text, &total))
        return false;
    s->result = (uint64_t)total;
    return true;
}

/* A 0 or 1 that says whether the register was there before. */
static bool flag_reply(struct tm_sim_step *s, const struct tm_resp_value *v, int64_t if_there)
{
    s->told = true;
    s->found = v->integer == if_there;
    return v->type == TM_RESP_INTEGER && v->integer >= 0 && v->integer <= 1;
}

/* -2: nothing is there; -1: for ever. */
static bool left_reply(struct tm_sim_step *s, const struct tm_resp_value *v)
{
    s->found = v->integer != -2;
    s->result = v->integer < 0 ? TM_SIM_FOR_EVER : (uint64_t)v->integer;
    return v->type == TM_RESP_INTEGER && v->integer >= -2;
}

bool tm_sim_words_reply(const struct tm_sim_register *r, struct tm_sim_step *s,
                        const struct tm_resp_value *v, uint32_t fill)
{
    switch (s->verb) {
    case TM_SIM_READ:
        return tm_sim_words_value(r, s, v, fill);
    case TM_SIM_REMOVE:
    case TM_SIM_EXPIRE:
    case TM_SIM_PERSIST:
        return flag_reply(s, v, 1);
    case TM_SIM_TTL:
        return left_reply(s, v);
    case TM_SIM_WRITE_NEW:
        return flag_reply(s, v, 0);
    case TM_SIM_ADD:
        s->result = (uint64_t)v->integer;
        return v->type == TM_RESP_INTEGER;
    case TM_SIM_WRITE:
        if (r->kind == TM_SIM_STRING)
            return v->type == TM_RESP_SIMPLE;
        return flag_reply(s, v, 0);
    case TM_SIM_FLUSH:
        return v->type == TM_RESP_SIMPLE;
    case TM_SIM_EXPECT:
        break;
    }
    return false;
}
