/* slot_map.c: CLUSTER SLOTS is an array of [first slot, last slot, [host, port, id, ...], replicas
 * ...]; only the first node of a range, its owner, is of interest. */
#include "bench/slot_map.h"

#include "net/resp.h"

#include <stdio.h>

struct cursor {
    struct tm_bytes left;
    bool broken;
};

static struct tm_resp_value next(struct cursor *c)
{
    struct tm_resp_value v = {.type = TM_RESP_NULL};
    size_t used = 0;
    if (c->broken || tm_resp_read(c->left.data, c->left.len, &v, &used) != TM_RESP_DONE)
        c->broken = true;
    else
        c->left = tm_bytes_of(c->left.data + used, c->left.len - used);
    return v;
}

static uint64_t next_array(struct cursor *c)
{
    struct tm_resp_value v = next(c);
    c->broken = c->broken || v.type != TM_RESP_ARRAY;
    return v.count;
}

static uint64_t next_integer(struct cursor *c, uint64_t max)
{
    struct tm_resp_value v = next(c);
    c->broken =
        c->broken || v.type != TM_RESP_INTEGER || v.integer < 0 || (uint64_t)v.integer > max;
    return c->broken ? 0 : (uint64_t)v.integer;
}

static void skip(struct cursor *c, uint64_t count)
{
    for (uint64_t i = 0; i < count && !c->broken; i++) {
        struct tm_resp_skipper s = {0};
        size_t used = 0;
        c->broken = tm_resp_skip(&s, c->left.data, c->left.len, &used) != TM_RESP_DONE;
        if (!c->broken)
            c->left = tm_bytes_of(c->left.data + used, c->left.len - used);
    }
}

/* The index of an owner, added if it is new; TM_SLOT_UNOWNED if there is no room. */
static uint16_t owner_index(struct tm_slot_map *map, const char *text)
{
    for (unsigned i = 0; i < map->owners; i++)
        if (strcmp(map->owner[i], text) == 0)
            return (uint16_t)i;
    if (map->owners == TM_SLOT_MAP_OWNERS_MAX)
        return TM_SLOT_UNOWNED;
    memcpy(map->owner[map->owners], text, strlen(text) + 1);
    return (uint16_t)map->owners++;
}

static uint16_t read_owner(struct tm_slot_map *map, struct cursor *c, const char *host)
{
    uint64_t count = next_array(c);
    struct tm_resp_value name = next(c);
    uint64_t port = next_integer(c, UINT16_MAX);
    if (c->broken || count < 2)
        return TM_SLOT_UNOWNED;
    skip(c, count - 2);
    char text[TM_SLOT_MAP_TEXT];
    bool named = name.text.len > 0 && name.type != TM_RESP_NULL;
    int len = named ? (int)name.text.len : (int)strlen(host);
    const char *at = named ? (const char *)name.text.data : host;
    bool v6 = memchr(at, ':', (size_t)len) != NULL && at[0] != '[';
    int wrote = snprintf(text, sizeof text, v6 ? "[%.*s]:%u" : "%.*s:%u", len, at, (unsigned)port);
    c->broken = c->broken || wrote >= (int)sizeof text;
    return c->broken ? TM_SLOT_UNOWNED : owner_index(map, text);
}

static void read_range(struct tm_slot_map *map, struct cursor *c, const char *host)
{
    uint64_t count = next_array(c);
    uint64_t first = next_integer(c, TM_SLOTS - 1), last = next_integer(c, TM_SLOTS - 1);
    c->broken = c->broken || count < 3;
    uint16_t owner = c->broken ? TM_SLOT_UNOWNED : read_owner(map, c, host);
    skip(c, c->broken ? 0 : count - 3);
    for (uint64_t slot = first; slot <= last && !c->broken; slot++)
        map->of_slot[slot] = owner;
}

enum tm_err tm_slot_map_parse(struct tm_slot_map *map, struct tm_bytes reply, const char *host,
                              char *why, size_t why_len)
{
    map->owners = 0;
    memset(map->of_slot, 0xff, sizeof map->of_slot);
    struct cursor c = {.left = reply};
    struct tm_resp_value head = next(&c);
    if (!c.broken && head.type == TM_RESP_ERROR) {
        snprintf(why, why_len, "CLUSTER SLOTS was answered with \"%.*s\": leave out --cluster",
                 (int)tm_min_u64(head.text.len, 200), (const char *)head.text.data);
        return TM_ERR_UNSUPPORTED;
    }
    c.broken = c.broken || head.type != TM_RESP_ARRAY;
    for (uint64_t i = 0; i < head.count && !c.broken; i++)
        read_range(map, &c, host);
    if (c.broken) {
        snprintf(why, why_len, "the answer to CLUSTER SLOTS cannot be read");
        return TM_ERR_INVALID;
    }
    for (unsigned slot = 0; slot < TM_SLOTS; slot++)
        if (map->of_slot[slot] == TM_SLOT_UNOWNED) {
            snprintf(why, why_len, "slot %u has no owner, or there are more than %d", slot,
                     TM_SLOT_MAP_OWNERS_MAX);
            return TM_ERR_NOTFOUND;
        }
    return TM_OK;
}
