/* Heads are the structs themselves, as in link_wire.c; arrays behind them are copied out, for they
 * need not be aligned. */
#include "actors/link_sync_wire.h"

#include "storage/table.h"

uint64_t tm_link_order(struct tm_bytes key)
{
    return tm_table_hash(key) >> 16;
}

enum tm_err tm_link_ranges_decode(struct tm_bytes body, struct tm_link_ranges *out,
                                  struct tm_link_range *ranges)
{
    struct tm_bytes rest;
    if (!tm_link_take_head(body, out, sizeof *out, &rest) || out->count == 0 ||
        out->count > TM_LINK_RANGES || rest.len != out->count * sizeof *ranges)
        return TM_ERR_CORRUPT;
    memcpy(ranges, rest.data, rest.len);
    uint64_t at = out->from;
    for (uint32_t i = 0; i < out->count; i++) {
        if (ranges[i].end <= at || ranges[i].end > TM_LINK_ORDERS)
            return TM_ERR_CORRUPT;
        at = ranges[i].end;
    }
    return TM_OK;
}

enum tm_err tm_link_differs_decode(struct tm_bytes body, struct tm_link_differs *out,
                                   struct tm_link_key *keys)
{
    struct tm_bytes rest;
    if (!tm_link_take_head(body, out, sizeof *out, &rest) || out->keys > TM_LINK_KEYS ||
        out->end > TM_LINK_ORDERS || rest.len != out->keys * sizeof *keys)
        return TM_ERR_CORRUPT;
    if (rest.len > 0)
        memcpy(keys, rest.data, rest.len);
    for (uint32_t i = 0; i < out->keys; i++)
        if (keys[i].order >= out->end || (i > 0 && keys[i].order < keys[i - 1].order))
            return TM_ERR_CORRUPT;
    return TM_OK;
}

/* Ascending, and orders of keys. */
static bool are_orders(const uint64_t *orders, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (orders[i] >= TM_LINK_ORDERS || (i > 0 && orders[i] <= orders[i - 1]))
            return false;
    return true;
}

enum tm_err tm_link_state_decode(struct tm_bytes body, struct tm_link_state_head *out,
                                 uint64_t *drops, struct tm_bytes *packed)
{
    struct tm_bytes rest;
    if (!tm_link_take_head(body, out, sizeof *out, &rest) || out->drops > TM_LINK_DROPS ||
        out->raw_len > TM_LINK_RAW_MAX || out->packed_len > out->raw_len ||
        (out->raw_len > 0 && out->packed_len == 0) ||
        rest.len != out->drops * sizeof *drops + out->packed_len ||
        !tm_link_position_can_be(&out->to) ||
        (out->last != 0 &&
         (out->to.incarnation != out->stream.incarnation || out->to.epoch != out->stream.epoch)))
        return TM_ERR_CORRUPT;
    size_t bytes = out->drops * sizeof *drops;
    if (bytes > 0)
        memcpy(drops, rest.data, bytes);
    if (!are_orders(drops, out->drops))
        return TM_ERR_CORRUPT;
    *packed = tm_bytes_of(rest.data + bytes, out->packed_len);
    return TM_OK;
}

enum tm_err tm_link_stated_decode(struct tm_bytes body, struct tm_link_stated *out)
{
    struct tm_bytes rest;
    return tm_link_take_head(body, out, sizeof *out, &rest) && rest.len == 0 ? TM_OK
                                                                             : TM_ERR_CORRUPT;
}

enum tm_err tm_link_lacks_decode(struct tm_bytes body, struct tm_link_lacks *out,
                                 uint64_t orders[TM_LINK_LACKS_KEYS])
{
    struct tm_bytes rest;
    if (!tm_link_take_head(body, out, sizeof *out, &rest) || out->count == 0 ||
        out->count > TM_LINK_LACKS_KEYS || rest.len != out->count * sizeof *orders)
        return TM_ERR_CORRUPT;
    memcpy(orders, rest.data, rest.len);
    return are_orders(orders, out->count) ? TM_OK : TM_ERR_CORRUPT;
}
