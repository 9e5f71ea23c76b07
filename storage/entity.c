/* entity.c: reading packed entities.
 *
 * Every reader has two cases, the packed blob and the large one with a table of its own; a string
 * is the blob itself.  Nothing here changes or allocates anything.  A counter's text is written
 * when it is read: its value is the sum of base and components. */
#include "storage/entity.h"

enum tm_entity_type tm_entity_type(const struct tm_entity *e)
{
    return (enum tm_entity_type)(tm_entity_flags(e) & TM_ENTITY_TYPE_MASK);
}

struct tm_bytes tm_entity_key(const struct tm_entity *e)
{
    return tm_entity_name(e);
}

uint64_t tm_entity_expiry(const struct tm_entity *e)
{
    return tm_entity_flags(e) & TM_ENTITY_EXPIRES ? tm_load64(e + 1) : 0;
}

static bool is_large(const struct tm_entity *e)
{
    return (tm_entity_flags(e) & TM_ENTITY_LARGE) != 0;
}

static int64_t counter_value(struct tm_bytes raw, bool based)
{
    uint64_t sum = tm_load64(raw.data);
    size_t step = based ? sizeof(struct tm_counter_part) : sizeof(struct tm_counter_component);
    for (size_t at = based ? sizeof(struct tm_counter_base) : 8; at < raw.len; at += step)
        sum += tm_load64(raw.data + at + offsetof(struct tm_counter_component, total));
    return (int64_t)sum;
}

static size_t int_text(char digits[24], int64_t number)
{
    char reversed[24];
    size_t n = 0, len = 0;
    uint64_t v = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    do
        reversed[n++] = (char)('0' + v % 10);
    while ((v /= 10) > 0);
    if (number < 0)
        digits[len++] = '-';
    while (n > 0)
        digits[len++] = reversed[--n];
    return len;
}

void tm_value_of(const struct tm_entity *e, struct tm_value *out)
{
    out->text = tm_entity_raw(e);
    out->is_counter = (tm_entity_flags(e) & TM_ENTITY_COUNTER) != 0;
    out->number = 0;
    if (!out->is_counter)
        return;
    out->number = counter_value(out->text, (tm_entity_flags(e) & TM_ENTITY_BASED) != 0);
    out->text = tm_bytes_of(out->digits, int_text(out->digits, out->number));
}

void tm_entity_string(const struct tm_entity *e, struct tm_value *out)
{
    TM_ASSERT(tm_entity_type(e) == TM_ENTITY_STRING);
    tm_value_of(e, out);
}

struct tm_bytes tm_packed_fields(const struct tm_entity *e)
{
    TM_ASSERT(tm_entity_type(e) != TM_ENTITY_STRING && !is_large(e));
    struct tm_bytes raw = tm_entity_raw(e);
    return tm_bytes_of(raw.data + 2, raw.len - 2);
}

const struct tm_entity *tm_packed_next(struct tm_bytes *rest)
{
    if (rest->len == 0)
        return NULL;
    const struct tm_entity *field = (const void *)rest->data;
    size_t size = tm_entity_size(field);
    *rest = tm_bytes_of(rest->data + size, rest->len - size);
    return field;
}

const struct tm_entity *tm_packed_find(const struct tm_entity *e, struct tm_bytes name)
{
    struct tm_bytes rest = tm_packed_fields(e);
    const struct tm_entity *field;
    while ((field = tm_packed_next(&rest)) != NULL)
        if (tm_bytes_equal(tm_entity_name(field), name))
            return field;
    return NULL;
}

bool tm_entity_field(const struct tm_entity *e, struct tm_bytes name, struct tm_value *out)
{
    const struct tm_entity *field =
        is_large(e) ? tm_table_find(&tm_entity_large(e)->fields, name, tm_table_hash(name))
                    : tm_packed_find(e, name);
    if (field != NULL && out != NULL)
        tm_value_of(field, out);
    return field != NULL;
}

uint64_t tm_entity_fields(const struct tm_entity *e)
{
    TM_ASSERT(tm_entity_type(e) != TM_ENTITY_STRING);
    return is_large(e) ? tm_entity_large(e)->fields.count : tm_load16(tm_entity_raw(e).data);
}

uint64_t tm_entity_bytes(const struct tm_entity *e)
{
    uint64_t held = is_large(e) ? tm_entity_large(e)->bytes : tm_entity_value_len(e);
    return tm_entity_name_len(e) + held;
}

void tm_field_first(struct tm_field_iter *it, const struct tm_entity *e)
{
    *it = (struct tm_field_iter){.entity = e};
    if (is_large(e))
        tm_table_first(&it->table, &tm_entity_large(e)->fields);
    else
        it->packed = tm_packed_fields(e);
}

static const struct tm_entity *field_next(struct tm_field_iter *it)
{
    return is_large(it->entity) ? tm_table_next(&it->table) : tm_packed_next(&it->packed);
}

bool tm_field_next(struct tm_field_iter *it, struct tm_bytes *name, struct tm_value *value)
{
    const struct tm_entity *field = field_next(it);
    if (field == NULL)
        return false;
    *name = tm_entity_name(field);
    if (value != NULL)
        tm_value_of(field, value);
    return true;
}

void tm_entity_field_at(const struct tm_entity *e, uint64_t place, struct tm_bytes *name,
                        struct tm_value *value)
{
    TM_ASSERT(place < tm_entity_fields(e));
    const struct tm_entity *field;
    if (is_large(e)) {
        field = tm_table_at(&tm_entity_large(e)->fields, place);
    } else {
        struct tm_bytes rest = tm_packed_fields(e);
        field = tm_packed_next(&rest);
        while (place-- > 0)
            field = tm_packed_next(&rest);
    }
    *name = tm_entity_name(field);
    if (value != NULL)
        tm_value_of(field, value);
}

struct scan {
    tm_field_visit_fn *visit;
    void *host;
};

static void scan_visit(void *host, struct tm_entity *field)
{
    struct scan *scan = host;
    struct tm_value value;
    tm_value_of(field, &value);
    scan->visit(scan->host, tm_entity_name(field), &value);
}

uint64_t tm_entity_scan(const struct tm_entity *e, uint64_t cursor, unsigned want,
                        tm_field_visit_fn *visit, void *host)
{
    struct scan scan = {visit, host};
    if (is_large(e))
        return tm_table_slice(&tm_entity_large(e)->fields, cursor << 16, want, scan_visit, &scan) >>
               16;
    struct tm_bytes rest = tm_packed_fields(e);
    const struct tm_entity *field;
    while ((field = tm_packed_next(&rest)) != NULL)
        scan_visit(&scan, (struct tm_entity *)(uintptr_t)field);
    return 0;
}

bool tm_value_int(struct tm_bytes text, int64_t *out)
{
    size_t i = text.len > 0 && text.data[0] == '-' ? 1 : 0;
    bool negative = i == 1;
    if (text.len == i || text.len > 20 || (text.data[i] == '0' && text.len > 1))
        return false;
    uint64_t v = 0, limit = (uint64_t)INT64_MAX + (negative ? 1 : 0);
    for (; i < text.len; i++) {
        unsigned digit = (unsigned)text.data[i] - '0';
        if (digit > 9 || v > (limit - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    *out = (int64_t)(negative ? 0 - v : v);
    return true;
}
