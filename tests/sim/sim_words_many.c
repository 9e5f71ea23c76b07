/* A reply that lists what is there has to name each part once and nobody else's; what it does not
 * name was absent.  One that only counts tells of each part if all or none were there, else their
 * sum. */
#include "tests/sim/sim_words_many.h"

enum answer {
    ANSWER_VALUES,
    ANSWER_PAIRS,
    ANSWER_MEMBERS,
    ANSWER_COUNT,
    ANSWER_NEW,
    ANSWER_ANY,
    ANSWER_OK
};

static const struct {
    const char *word;
    enum tm_sim_verb verb;
    enum tm_sim_about about;
    enum answer answer;
} MANIES[] = {
#define X(many, word, verb, about, answer)                                                         \
    {word, TM_SIM_##verb, TM_SIM_ABOUT_##about, ANSWER_##answer},
    TM_SIM_MANIES(X)
#undef X
};

enum tm_sim_verb tm_sim_many_verb(enum tm_sim_many many)
{
    return MANIES[many].verb;
}

enum tm_sim_about tm_sim_many_about(enum tm_sim_many many)
{
    return MANIES[many].about;
}

bool tm_sim_many_takes(enum tm_sim_many many, enum tm_sim_kind kind)
{
    bool key = kind == TM_SIM_STRING || kind == TM_SIM_COUNTER, member = kind == TM_SIM_MEMBER;
    if (!tm_sim_register_takes(kind, MANIES[many].verb))
        return false;
    if (MANIES[many].about == TM_SIM_ABOUT_KEYS)
        return key;
    if (many == TM_SIM_MANY_DEL_WHOLE)
        return !key;
    return MANIES[many].word[0] == 'S' ? member : !key && !member;
}

unsigned tm_sim_words_parts(uint32_t reg, const struct tm_sim_layout *layout,
                            uint32_t parts[TM_SIM_STEPS_MAX])
{
    const struct tm_sim_register of = tm_sim_register(reg, layout);
    uint32_t first = reg - reg % layout->registers,
             group = reg % layout->registers % layout->groups;
    unsigned count = 0;
    for (uint32_t at = group; at < layout->registers; at += layout->groups) {
        const struct tm_sim_register r = tm_sim_register(first + at, layout);
        if (strcmp(r.key, of.key) != 0)
            continue;
        TM_ASSERT(count < TM_SIM_STEPS_MAX);
        parts[count++] = first + at;
    }
    return count;
}

void tm_sim_many_command(struct tm_resp_writer *out, enum tm_sim_many many,
                         const struct tm_sim_register *reg, const struct tm_sim_call *call,
                         uint32_t fill)
{
    bool keys = MANIES[many].about == TM_SIM_ABOUT_KEYS;
    bool whole = MANIES[many].about == TM_SIM_ABOUT_WHOLE;
    bool values = many == TM_SIM_MANY_MSET || many == TM_SIM_MANY_HSET;
    tm_resp_array(out, 1u + !keys + (whole ? 0 : call->count * (1u + values)));
    tm_resp_bulk_str(out, MANIES[many].word);
    if (!keys)
        tm_resp_bulk_str(out, reg[call->step[0].reg].key);
    for (unsigned i = 0; i < call->count && !whole; i++) {
        const struct tm_sim_step *s = &call->step[i];
        tm_resp_bulk_str(out, keys ? reg[s->reg].key : reg[s->reg].field);
        if (values)
            tm_resp_bulk(out, tm_sim_words_text(s->value, fill));
    }
}

/* ---- replies ---- */

struct reader {
    struct tm_bytes bytes;
    size_t at;
};

static bool next(struct reader *r, struct tm_resp_value *v)
{
    size_t used;
    if (tm_resp_read(r->bytes.data + r->at, r->bytes.len - r->at, v, &used) != TM_RESP_DONE)
        return false;
    r->at += used;
    return true;
}

static bool take_values(struct reader *r, const struct tm_sim_register *reg,
                        struct tm_sim_call *call, uint32_t fill)
{
    struct tm_resp_value v;
    for (unsigned i = 0; i < call->count; i++) {
        struct tm_sim_step *s = &call->step[i];
        if (!next(r, &v) || !tm_sim_words_value(&reg[s->reg], s, &v, fill))
            return false;
    }
    return true;
}

/* The step about the part of that name, if it was not named before. */
static struct tm_sim_step *step_of(const struct tm_sim_register *reg, struct tm_sim_call *call,
                                   struct tm_bytes name)
{
    for (unsigned i = 0; i < call->count; i++) {
        struct tm_sim_step *s = &call->step[i];
        if (!s->found && tm_bytes_equal(name, tm_bytes_str(reg[s->reg].field)))
            return s;
    }
    return NULL;
}

static bool take_list(struct reader *r, uint64_t elements, bool pairs,
                      const struct tm_sim_register *reg, struct tm_sim_call *call, uint32_t fill)
{
    struct tm_resp_value v;
    for (unsigned i = 0; i < call->count; i++)
        call->step[i].found = false;
    for (uint64_t n = 0; n < elements; n += 1 + pairs) {
        struct tm_sim_step *s = next(r, &v) ? step_of(reg, call, v.text) : NULL;
        if (s == NULL)
            return false;
        s->found = true;
        s->result = 1;
        if (pairs && (!next(r, &v) || !tm_sim_words_value(&reg[s->reg], s, &v, fill) || !s->found))
            return false;
    }
    return true;
}

/* So many of the steps found their register there. */
static bool take_count(struct tm_sim_call *call, int64_t count)
{
    if (count < 0 || count > call->count)
        return false;
    bool each = count == 0 || count == call->count;
    call->summed = !each;
    call->sum = (unsigned)count;
    for (unsigned i = 0; i < call->count; i++) {
        call->step[i].told = each;
        call->step[i].found = each && count > 0;
    }
    return true;
}

/* Whether one was there: if none, that is known of each. */
static bool take_any(struct tm_sim_call *call, int64_t any)
{
    return any == 0 ? take_count(call, 0) : any == 1;
}

static bool is_list(const struct tm_resp_value *v, enum answer answer, unsigned proto)
{
    if (proto == 2)
        return v->type == TM_RESP_ARRAY;
    return v->type == (answer == ANSWER_PAIRS ? TM_RESP_MAP : TM_RESP_SET);
}

bool tm_sim_many_reply(enum tm_sim_many many, const struct tm_sim_register *reg,
                       struct tm_sim_call *call, struct tm_bytes reply, unsigned proto,
                       uint32_t fill)
{
    struct reader r = {.bytes = reply};
    enum answer answer = MANIES[many].answer;
    struct tm_resp_value v;
    bool good = next(&r, &v);
    switch (answer) {
    case ANSWER_VALUES:
        good = good && v.type == TM_RESP_ARRAY && v.count == call->count &&
               take_values(&r, reg, call, fill);
        break;
    case ANSWER_PAIRS:
    case ANSWER_MEMBERS:
        good = good && is_list(&v, answer, proto) &&
               take_list(&r, v.count, answer == ANSWER_PAIRS, reg, call, fill);
        break;
    case ANSWER_COUNT:
        good = good && v.type == TM_RESP_INTEGER && take_count(call, v.integer);
        break;
    case ANSWER_NEW:
        good =
            good && v.type == TM_RESP_INTEGER && take_count(call, (int64_t)call->count - v.integer);
        break;
    case ANSWER_ANY:
        good = good && v.type == TM_RESP_INTEGER && take_any(call, v.integer);
        break;
    case ANSWER_OK:
        good = good && v.type == TM_RESP_SIMPLE;
        break;
    }
    return good && r.at == reply.len;
}
