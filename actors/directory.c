#include "actors/directory.h"

#include <stdarg.h>
#include <stdio.h>
#include <xxhash.h>

#define MAGIC 0x31524944444d4954ULL /* "TIMDDIR1" */

/* Encoded: a head, then members x node, then (partitions + 1) x placement, then xxh3-64. */
struct head {
    uint64_t magic;
    uint8_t uuid[16];
    uint64_t token;
    uint64_t version;
    char cluster[TM_DIRECTORY_NAME_MAX + 1];
    uint32_t partitions;
    uint8_t copies;
    uint8_t eventual;
    uint8_t members;
    uint8_t reserved;
};
TM_STATIC_ASSERT(sizeof(struct head) == 112, "frozen at rest and on the wire");
TM_STATIC_ASSERT(sizeof(struct tm_directory_node) == 72, "frozen at rest and on the wire");
TM_STATIC_ASSERT(sizeof(struct tm_holders) == 7, "frozen at rest and on the wire");

/* Every node is a member of the system partition as far as five copies go: an odd number, so that
 * a fourth node adds no vote that only makes quorums larger. */
static unsigned system_copies(unsigned members)
{
    if (members >= 5)
        return 5;
    return members == 4 ? 3 : members;
}

void tm_directory_propose(struct tm_directory *d, const struct tm_directory_spec *spec)
{
    TM_ASSERT(spec->count >= 1 && spec->count <= TM_NODES_MAX && spec->partitions >= 1 &&
              spec->partitions <= TM_DIRECTORY_PARTITIONS_MAX);
    *d = (struct tm_directory){.version = 1,
                               .partitions = spec->partitions,
                               .copies = (uint8_t)spec->copies,
                               .eventual = spec->eventual,
                               .members = (uint8_t)spec->count};
    snprintf(d->cluster, sizeof d->cluster, "%s", spec->cluster);
    for (unsigned i = 0; i < spec->count; i++)
        snprintf(d->nodes[i].name, sizeof d->nodes[i].name, "%s", spec->names[i]);
    for (uint32_t p = 0; p < spec->partitions; p++)
        tm_holders_compute(p, spec->names, spec->count, spec->copies, &d->placement[p]);
    tm_holders_compute(spec->partitions, spec->names, spec->count, system_copies(spec->count),
                       &d->placement[spec->partitions]);
}

size_t tm_directory_size(const struct tm_directory *d)
{
    return sizeof(struct head) + d->members * sizeof(struct tm_directory_node) +
           (d->partitions + 1) * sizeof(struct tm_holders) + sizeof(uint64_t);
}

void tm_directory_encode(const struct tm_directory *d, uint8_t *out)
{
    struct head h = {.magic = MAGIC,
                     .token = d->token,
                     .version = d->version,
                     .partitions = d->partitions,
                     .copies = d->copies,
                     .eventual = d->eventual,
                     .members = d->members};
    memcpy(h.uuid, d->uuid, sizeof h.uuid);
    memcpy(h.cluster, d->cluster, sizeof h.cluster);
    uint8_t *p = out;
    memcpy(p, &h, sizeof h);
    p += sizeof h;
    memcpy(p, d->nodes, d->members * sizeof d->nodes[0]);
    p += d->members * sizeof d->nodes[0];
    memcpy(p, d->placement, (d->partitions + 1) * sizeof d->placement[0]);
    p += (d->partitions + 1) * sizeof d->placement[0];
    tm_store64(p, XXH3_64bits(out, (size_t)(p - out)));
}

static bool text_ok(const char *s)
{
    return s[0] != '\0' && memchr(s, '\0', TM_DIRECTORY_NAME_MAX + 1) != NULL;
}

static bool placement_ok(const struct tm_holders *p, unsigned members)
{
    if (p->copies < 1 || p->copies > TM_COPIES_MAX || p->copies > members)
        return false;
    uint64_t seen = 0;
    for (unsigned i = 0; i < p->copies; i++) {
        if (p->data[i] >= members || (seen >> p->data[i] & 1) != 0)
            return false;
        seen |= 1ULL << p->data[i];
    }
    return p->witness == TM_NO_NODE ||
           (p->copies == 2 && p->witness < members && (seen >> p->witness & 1) == 0);
}

static bool parts_ok(const struct tm_directory *d)
{
    for (unsigned i = 0; i < d->members; i++)
        if (!text_ok(d->nodes[i].name))
            return false;
    for (uint32_t p = 0; p <= d->partitions; p++)
        if (!placement_ok(&d->placement[p], d->members))
            return false;
    return true;
}

enum tm_err tm_directory_decode(struct tm_bytes bytes, struct tm_directory *d)
{
    struct head h;
    if (bytes.len < sizeof h + sizeof(uint64_t))
        return TM_ERR_CORRUPT;
    memcpy(&h, bytes.data, sizeof h);
    if (h.magic != MAGIC || h.members < 1 || h.members > TM_NODES_MAX || h.partitions < 1 ||
        h.partitions > TM_DIRECTORY_PARTITIONS_MAX || h.copies < 1 || h.copies > TM_COPIES_MAX ||
        !text_ok(h.cluster))
        return TM_ERR_CORRUPT;
    *d = (struct tm_directory){.token = h.token,
                               .version = h.version,
                               .partitions = h.partitions,
                               .copies = h.copies,
                               .eventual = h.eventual != 0,
                               .members = h.members};
    if (bytes.len != tm_directory_size(d) ||
        tm_load64(bytes.data + bytes.len - 8) != XXH3_64bits(bytes.data, bytes.len - 8))
        return TM_ERR_CORRUPT;
    memcpy(d->uuid, h.uuid, sizeof d->uuid);
    memcpy(d->cluster, h.cluster, sizeof d->cluster);
    const uint8_t *p = bytes.data + sizeof h;
    memcpy(d->nodes, p, d->members * sizeof d->nodes[0]);
    p += d->members * sizeof d->nodes[0];
    memcpy(d->placement, p, (d->partitions + 1) * sizeof d->placement[0]);
    return parts_ok(d) ? TM_OK : TM_ERR_CORRUPT;
}

int tm_directory_find(const struct tm_directory *d, const char *name)
{
    for (unsigned i = 0; i < d->members; i++)
        if (strcmp(d->nodes[i].name, name) == 0)
            return (int)i;
    return -1;
}

struct lines {
    char *buf;
    size_t size, len;
    unsigned count;
};

static void line(struct lines *l, const char *fmt, ...) TM_PRINTF(2, 3);

static void line(struct lines *l, const char *fmt, ...)
{
    l->count++;
    if (l->len >= l->size)
        return;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(l->buf + l->len, l->size - l->len, fmt, ap);
    va_end(ap);
    l->len += n > 0 ? (size_t)n : 0;
}

unsigned tm_directory_differences(const struct tm_directory *d,
                                  const struct tm_directory_spec *spec, char *buf, size_t size)
{
    struct lines l = {.buf = buf, .size = size};
    if (size > 0)
        buf[0] = '\0';
    if (spec->partitions != d->partitions)
        line(&l, "partitions: the file says %u, the cluster has %u (fixed at creation)\n",
             spec->partitions, d->partitions);
    if (spec->copies != d->copies)
        line(&l, "replicationFactor: the file says %u, the cluster has %u\n", spec->copies,
             d->copies);
    if (spec->eventual != d->eventual)
        line(&l, "consistency: the file says \"%s\", the cluster is \"%s\"\n",
             spec->eventual ? "eventual" : "strong", d->eventual ? "eventual" : "strong");
    for (unsigned i = 0; i < spec->count; i++)
        if (tm_directory_find(d, spec->names[i]) < 0)
            line(&l, "nodes: the file adds \"%s\", which is no member\n", spec->names[i]);
    for (unsigned i = 0; i < d->members; i++) {
        bool listed = false;
        for (unsigned k = 0; k < spec->count; k++)
            listed |= strcmp(spec->names[k], d->nodes[i].name) == 0;
        if (!listed)
            line(&l, "nodes: the file leaves out \"%s\", which is a member\n", d->nodes[i].name);
    }
    return l.count;
}
