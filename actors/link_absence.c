/* One field of the partition's own shadow for each cluster: its uuid is the name. */
#include "actors/link_absence.h"

#define NAME_LEN 17u

static const struct tm_bytes NONE = {NULL, 0};

static struct tm_bytes name_of(const uint8_t uuid[16], uint8_t name[NAME_LEN])
{
    name[0] = TM_SHADOW_AWAY;
    memcpy(name + 1, uuid, 16);
    return tm_bytes_of(name, NAME_LEN);
}

bool tm_link_absence_get(const struct tm_store *s, const uint8_t uuid[16],
                         struct tm_link_absence *out)
{
    uint8_t name[NAME_LEN];
    struct tm_bytes value;
    *out = (struct tm_link_absence){0};
    if (!tm_store_shadow_field(s, NONE, name_of(uuid, name), &value, NULL) ||
        value.len != sizeof *out)
        return false;
    memcpy(out, value.data, sizeof *out);
    return true;
}

void tm_link_absence_put(struct tm_store *s, const uint8_t uuid[16],
                         const struct tm_link_absence *a)
{
    static const struct tm_link_absence nothing;
    uint8_t name[NAME_LEN];
    tm_store_stamp(s, 0, 0);
    if (memcmp(a, &nothing, sizeof nothing) == 0)
        tm_store_del_shadow(s, NONE, name_of(uuid, name));
    else
        tm_store_set_shadow(s, NONE, name_of(uuid, name), tm_bytes_of(a, sizeof *a));
}
