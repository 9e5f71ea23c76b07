/* versions.c: joining versions, and what is made of them.
 *
 * Each origin has one version at most, since who writes knows all of its own.  So both lists are
 * short, and all is done by looking through them. */
#include "storage/versions.h"

#include <stdlib.h>

#define HEAD         8u
#define PAST_BYTES   16u
#define VERSION_HEAD 24u

/* ---- bytes ---- */

static struct tm_op_version stamp_at(const uint8_t *p)
{
    return (struct tm_op_version){tm_load64(p), tm_load64(p + 8)};
}

/* The heads are there, in order, and no origin has two versions or a past after its version. */
static bool is_sound(const struct tm_versions *v)
{
    for (unsigned i = 0; i < v->past_count; i++)
        if (v->past[i].origin == TM_ORIGIN_NONE ||
            (i > 0 && v->past[i].origin <= v->past[i - 1].origin))
            return false;
    for (unsigned i = 0; i < v->count; i++) {
        const struct tm_version *x = &v->version[i];
        bool deleted = x->flags & TM_VERSION_DELETED;
        if (x->flags > (TM_VERSION_DELETED | TM_VERSION_HOME) || (deleted && x->value.len > 0) ||
            x->stamp.origin == TM_ORIGIN_NONE)
            return false;
        for (unsigned k = 0; k < i; k++)
            if (v->version[k].stamp.origin == x->stamp.origin ||
                tm_stamp_compare(v->version[k].stamp, x->stamp) >= 0)
                return false;
        for (unsigned k = 0; k < v->past_count; k++)
            if (v->past[k].origin == x->stamp.origin && v->past[k].hlc >= x->stamp.hlc)
                return false;
    }
    return true;
}

bool tm_versions_decode(struct tm_bytes bytes, struct tm_versions *v)
{
    if (bytes.len < HEAD || bytes.data[0] > TM_ENTITY_SET || tm_load32(bytes.data + 4) != 0)
        return false;
    v->type = (enum tm_entity_type)bytes.data[0];
    v->count = bytes.data[1];
    v->past_count = tm_load16(bytes.data + 2);
    if (v->count == 0 || v->count > TM_VERSIONS_MAX || v->past_count > TM_PAST_MAX)
        return false;
    size_t at = HEAD + v->past_count * PAST_BYTES, values = at + v->count * VERSION_HEAD;
    if (values > bytes.len)
        return false;
    for (unsigned i = 0; i < v->past_count; i++)
        v->past[i] = stamp_at(bytes.data + HEAD + i * PAST_BYTES);
    for (unsigned i = 0; i < v->count; i++, at += VERSION_HEAD) {
        size_t len = tm_load32(bytes.data + at + 20);
        if (len > bytes.len - values)
            return false;
        v->version[i] = (struct tm_version){.stamp = stamp_at(bytes.data + at),
                                            .flags = tm_load32(bytes.data + at + 16),
                                            .value = tm_bytes_of(bytes.data + values, len)};
        values += len;
    }
    return values == bytes.len && is_sound(v);
}

size_t tm_versions_size(const struct tm_versions *v)
{
    size_t size = HEAD + v->past_count * PAST_BYTES + v->count * VERSION_HEAD;
    for (unsigned i = 0; i < v->count; i++)
        size += v->version[i].value.len;
    return size;
}

static uint8_t *put_stamp(uint8_t *out, struct tm_op_version stamp)
{
    tm_store64(out, stamp.hlc);
    tm_store64(out + 8, stamp.origin);
    return out + 16;
}

void tm_versions_encode(const struct tm_versions *v, uint8_t *out)
{
    out[0] = (uint8_t)v->type;
    out[1] = (uint8_t)v->count;
    tm_store16(out + 2, (uint16_t)v->past_count);
    tm_store32(out + 4, 0);
    out += HEAD;
    for (unsigned i = 0; i < v->past_count; i++)
        out = put_stamp(out, v->past[i]);
    for (unsigned i = 0; i < v->count; i++) {
        out = put_stamp(out, v->version[i].stamp);
        tm_store32(out, v->version[i].flags);
        tm_store32(out + 4, (uint32_t)v->version[i].value.len);
        out += 8;
    }
    for (unsigned i = 0; i < v->count; i++) {
        struct tm_bytes value = v->version[i].value;
        if (value.len > 0)
            memcpy(out, value.data, value.len);
        out += value.len;
    }
}

struct tm_op_version tm_versions_newest(struct tm_bytes bytes)
{
    struct tm_versions v;
    if (!tm_versions_decode(bytes, &v))
        return (struct tm_op_version){0, 0};
    return v.version[v.count - 1].stamp;
}

/* ---- what is known ---- */

const struct tm_version *tm_versions_find(const struct tm_versions *v, struct tm_op_version stamp)
{
    for (unsigned i = 0; i < v->count; i++)
        if (tm_stamp_compare(v->version[i].stamp, stamp) == 0)
            return &v->version[i];
    return NULL;
}

bool tm_versions_know(const struct tm_versions *v, struct tm_op_version stamp)
{
    for (unsigned i = 0; i < v->past_count; i++)
        if (v->past[i].origin == stamp.origin && v->past[i].hlc >= stamp.hlc)
            return true;
    for (unsigned i = 0; i < v->count; i++)
        if (v->version[i].stamp.origin == stamp.origin && v->version[i].stamp.hlc >= stamp.hlc)
            return true;
    return false;
}

static void forget_earliest(struct tm_versions *v)
{
    unsigned least = 0;
    for (unsigned i = 1; i < v->past_count; i++)
        if (tm_stamp_compare(v->past[i], v->past[least]) < 0)
            least = i;
    v->past_count--;
    memmove(&v->past[least], &v->past[least + 1], (v->past_count - least) * sizeof v->past[0]);
}

/* Of that origin all up to this stamp is known. */
static void add_past(struct tm_versions *v, struct tm_op_version stamp)
{
    unsigned i = 0;
    while (i < v->past_count && v->past[i].origin < stamp.origin)
        i++;
    if (i < v->past_count && v->past[i].origin == stamp.origin) {
        v->past[i].hlc = tm_max_u64(v->past[i].hlc, stamp.hlc);
        return;
    }
    if (v->past_count == TM_PAST_MAX) {
        forget_earliest(v);
        add_past(v, stamp);
        return;
    }
    memmove(&v->past[i + 1], &v->past[i], (v->past_count - i) * sizeof v->past[0]);
    v->past[i] = stamp;
    v->past_count++;
}

static void drop_past(struct tm_versions *v, uint64_t origin)
{
    for (unsigned i = 0; i < v->past_count; i++)
        if (v->past[i].origin == origin) {
            v->past_count--;
            memmove(&v->past[i], &v->past[i + 1], (v->past_count - i) * sizeof v->past[0]);
            return;
        }
}

static void drop_version(struct tm_versions *v, unsigned i)
{
    v->count--;
    memmove(&v->version[i], &v->version[i + 1], (v->count - i) * sizeof v->version[0]);
}

static void add_version(struct tm_versions *v, const struct tm_version *x)
{
    unsigned i = 0;
    if (v->count == TM_VERSIONS_MAX) {
        add_past(v, v->version[0].stamp);
        drop_version(v, 0);
    }
    while (i < v->count && tm_stamp_compare(v->version[i].stamp, x->stamp) < 0)
        i++;
    memmove(&v->version[i + 1], &v->version[i], (v->count - i) * sizeof v->version[0]);
    v->version[i] = *x;
    v->count++;
}

void tm_versions_put(struct tm_versions *v, const struct tm_version *own)
{
    struct tm_version mine = *own;
    for (unsigned i = 0; i < v->count; i++)
        add_past(v, v->version[i].stamp);
    drop_past(v, mine.stamp.origin);
    v->version[0] = mine;
    v->count = 1;
}

static bool is_same(const struct tm_version *a, const struct tm_version *b)
{
    return a->flags == b->flags && tm_bytes_equal(a->value, b->value);
}

bool tm_versions_join(struct tm_versions *a, const struct tm_versions *b)
{
    struct tm_versions was = *a;
    bool changed = false;
    a->count = 0;
    for (unsigned i = 0; i < was.count; i++) {
        const struct tm_version *x = &was.version[i], *other = tm_versions_find(b, x->stamp);
        if (other == NULL && tm_versions_know(b, x->stamp)) {
            add_past(a, x->stamp);
            changed = true;
        } else {
            changed |= other != NULL && !is_same(x, other);
            add_version(a, other != NULL ? other : x);
        }
    }
    for (unsigned i = 0; i < b->past_count; i++)
        if (!tm_versions_know(&was, b->past[i])) {
            add_past(a, b->past[i]);
            changed = true;
        }
    for (unsigned i = 0; i < b->count; i++)
        if (!tm_versions_know(&was, b->version[i].stamp)) {
            add_version(a, &b->version[i]);
            changed = true;
        }
    for (unsigned i = 0; i < a->count; i++) /* which is its origin's latest */
        drop_past(a, a->version[i].stamp.origin);
    return changed;
}

bool tm_versions_cut(struct tm_versions *v, struct tm_op_version floor, bool too)
{
    unsigned count = 0, past = 0;
    for (unsigned i = 0; i < v->count; i++)
        if (tm_stamp_compare(v->version[i].stamp, floor) >= (too ? 1 : 0))
            v->version[count++] = v->version[i];
    for (unsigned i = 0; i < v->past_count; i++)
        if (tm_stamp_compare(v->past[i], floor) >= 0)
            v->past[past++] = v->past[i];
    bool changed = count != v->count || past != v->past_count;
    v->count = count;
    v->past_count = past;
    return changed;
}

bool tm_versions_retire(struct tm_versions *v, struct tm_op_version through)
{
    bool had = v->past_count > 0;
    if (v->count == 0 || tm_stamp_compare(v->version[v->count - 1].stamp, through) > 0)
        return false;
    v->past_count = 0;
    return had;
}

/* ---- rules ---- */

/* A finite decimal number: nothing else in it that strtold would take. */
static bool number_of(struct tm_bytes text, long double *out)
{
    char buf[64], *end;
    if (text.len == 0 || text.len >= sizeof buf)
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (memchr("0123456789+-.eE", text.data[i], 15) == NULL)
            return false;
    memcpy(buf, text.data, text.len);
    buf[text.len] = '\0';
    *out = strtold(buf, &end);
    return *end == '\0' && *out - *out == 0;
}

static int compare_bytes(struct tm_bytes a, struct tm_bytes b)
{
    size_t least = tm_min_u64(a.len, b.len);
    int order = least > 0 ? memcmp(a.data, b.data, least) : 0;
    return order != 0 ? order : a.len == b.len ? 0 : a.len < b.len ? -1 : 1;
}

int tm_conflict_compare(struct tm_bytes a, struct tm_bytes b)
{
    long double x = 0, y = 0;
    bool a_number = number_of(a, &x), b_number = number_of(b, &y);
    if (a_number != b_number)
        return a_number ? -1 : 1;
    if (!a_number)
        return compare_bytes(a, b);
    return x < y ? -1 : x > y;
}

bool tm_conflict_later_wins(const struct tm_conflict_rule *rule, const struct tm_version *a,
                            const struct tm_version *b)
{
    bool gone = a->flags & TM_VERSION_DELETED, later_gone = b->flags & TM_VERSION_DELETED;
    if (rule->rule == TM_CONFLICT_HOME &&
        (a->flags & TM_VERSION_HOME) != (b->flags & TM_VERSION_HOME))
        return b->flags & TM_VERSION_HOME;
    if (gone != later_gone && tm_conflict_keeps_versions(rule))
        return gone;
    if (gone || later_gone)
        return true;
    if (rule->rule == TM_CONFLICT_MAX)
        return tm_conflict_compare(a->value, b->value) <= 0;
    return rule->rule != TM_CONFLICT_MIN || tm_conflict_compare(a->value, b->value) >= 0;
}

static struct tm_bytes combine(const struct tm_link_policy *policy,
                               const struct tm_conflict_rule *rule, struct tm_bytes a,
                               struct tm_bytes b)
{
    struct tm_bytes out;
    bool done = policy->combine != NULL && policy->combine(policy->host, rule, a, b, &out) == TM_OK;
    return done ? out : b;
}

struct tm_conflict_side tm_versions_fold(const struct tm_versions *v,
                                         const struct tm_conflict_rule *rule,
                                         const struct tm_link_policy *policy)
{
    const struct tm_version *best = &v->version[0];
    struct tm_conflict_side side = {.stamp = best->stamp, .deleted = true};
    bool made = false, asks = rule->rule == TM_CONFLICT_FUNCTION && v->type != TM_ENTITY_SET;
    for (unsigned i = 0; i < v->count; i++) {
        const struct tm_version *x = &v->version[i];
        if (i > 0 && tm_conflict_later_wins(rule, best, x))
            best = x;
        if (x->flags & TM_VERSION_DELETED)
            continue;
        side.stamp = x->stamp;
        if (asks)
            side.value = made ? combine(policy, rule, side.value, x->value) : x->value;
        made = true;
    }
    side.deleted = best->flags & TM_VERSION_DELETED;
    if (!asks && !side.deleted)
        side.value = best->value;
    return side;
}
