#include "actors/change.h"
#include "actors/directory.h"

#include <stdarg.h>
#include <stdio.h>
#include <xxhash.h>

#define MAGIC      0x32524944444d4954ULL /* "TIMDDIR2": the last letter is the version */
#define MAGIC_MASK 0x00ffffffffffffffULL

/* Encoded: a head, members x node, (partitions + 1) x placement, the facts, xxh3-64. */
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
    uint32_t facts_len;
    uint32_t reserved2;
};
TM_STATIC_ASSERT(sizeof(struct head) == 120, "frozen at rest and on the wire");
TM_STATIC_ASSERT(sizeof(struct tm_directory_node) == 80, "frozen at rest and on the wire");
TM_STATIC_ASSERT(sizeof(struct tm_holders) == 7, "frozen at rest and on the wire");

/* Every node is a member of the system partition as far as five copies go: an odd number, so that
 * a fourth node adds no vote that only makes quorums larger. */
static unsigned system_copies(unsigned members)
{
    if (members >= 5)
        return 5;
    return members == 4 ? 3 : members;
}

static const char *facts_of(const struct tm_directory_spec *spec)
{
    return spec->facts != NULL ? spec->facts : "";
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
    for (unsigned i = 0; i < spec->count; i++) {
        snprintf(d->nodes[i].name, sizeof d->nodes[i].name, "%s", spec->names[i]);
        d->nodes[i].block = spec->blocks != NULL ? spec->blocks[i] : i;
    }
    d->facts_len = (uint32_t)snprintf(d->facts, sizeof d->facts, "%s", facts_of(spec));
    TM_ASSERT(d->facts_len <= TM_DIRECTORY_FACTS_MAX);
    for (uint32_t p = 0; p < spec->partitions; p++)
        tm_holders_compute(p, spec->names, spec->count, spec->copies, &d->placement[p]);
    tm_holders_compute(spec->partitions, spec->names, spec->count, system_copies(spec->count),
                       &d->placement[spec->partitions]);
}

size_t tm_directory_size(const struct tm_directory *d)
{
    return sizeof(struct head) + d->members * sizeof(struct tm_directory_node) +
           (d->partitions + 1) * sizeof(struct tm_holders) + d->facts_len + sizeof(uint64_t);
}

void tm_directory_encode(const struct tm_directory *d, uint8_t *out)
{
    struct head h = {.magic = MAGIC,
                     .token = d->token,
                     .version = d->version,
                     .partitions = d->partitions,
                     .copies = d->copies,
                     .eventual = d->eventual,
                     .members = d->members,
                     .facts_len = d->facts_len};
    memcpy(h.uuid, d->uuid, sizeof h.uuid);
    memcpy(h.cluster, d->cluster, sizeof h.cluster);
    uint8_t *p = out;
    memcpy(p, &h, sizeof h);
    p += sizeof h;
    memcpy(p, d->nodes, d->members * sizeof d->nodes[0]);
    p += d->members * sizeof d->nodes[0];
    memcpy(p, d->placement, (d->partitions + 1) * sizeof d->placement[0]);
    p += (d->partitions + 1) * sizeof d->placement[0];
    memcpy(p, d->facts, d->facts_len);
    p += d->facts_len;
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

/* A line of facts. */
struct fact {
    struct tm_bytes name, value;
};

/* Takes the next line off the front of *rest; false at the end, or where it is no line. */
static bool next_fact(const char **rest, struct fact *f)
{
    const char *end = strchr(*rest, '\n');
    const char *is = end != NULL ? memchr(*rest, '=', (size_t)(end - *rest)) : NULL;
    if (is == NULL || is == *rest)
        return false;
    f->name = tm_bytes_of(*rest, (size_t)(is - *rest));
    f->value = tm_bytes_of(is + 1, (size_t)(end - is - 1));
    *rest = end + 1;
    return true;
}

static int compare_names(struct tm_bytes a, struct tm_bytes b)
{
    int c = memcmp(a.data, b.data, tm_min_u64(a.len, b.len));
    return c != 0 ? c : (a.len > b.len) - (a.len < b.len);
}

static bool facts_ok(const struct tm_directory *d)
{
    const char *rest = d->facts;
    struct fact before = {0}, f;
    while (next_fact(&rest, &f)) {
        if (before.name.len > 0 && compare_names(before.name, f.name) >= 0)
            return false;
        before = f;
    }
    return rest == d->facts + d->facts_len;
}

static bool parts_ok(const struct tm_directory *d)
{
    for (unsigned i = 0; i < d->members; i++)
        if (!text_ok(d->nodes[i].name))
            return false;
    for (uint32_t p = 0; p <= d->partitions; p++)
        if (!placement_ok(&d->placement[p], d->members))
            return false;
    return facts_ok(d);
}

static bool head_ok(const struct head *h)
{
    return h->magic == MAGIC && h->members >= 1 && h->members <= TM_NODES_MAX &&
           h->partitions >= 1 && h->partitions <= TM_DIRECTORY_PARTITIONS_MAX && h->copies >= 1 &&
           h->copies <= TM_COPIES_MAX && h->facts_len <= TM_DIRECTORY_FACTS_MAX &&
           text_ok(h->cluster);
}

enum tm_err tm_directory_decode(struct tm_bytes bytes, struct tm_directory *d)
{
    struct head h;
    if (bytes.len < sizeof h + sizeof(uint64_t))
        return TM_ERR_CORRUPT;
    memcpy(&h, bytes.data, sizeof h);
    if (h.magic != MAGIC && ((h.magic ^ MAGIC) & MAGIC_MASK) == 0)
        return TM_ERR_VERSION;
    if (!head_ok(&h))
        return TM_ERR_CORRUPT;
    memset(d, 0, sizeof *d);
    d->token = h.token;
    d->version = h.version;
    d->partitions = h.partitions;
    d->copies = h.copies;
    d->eventual = h.eventual != 0;
    d->members = h.members;
    d->facts_len = h.facts_len;
    if (bytes.len != tm_directory_size(d) ||
        tm_load64(bytes.data + bytes.len - 8) != XXH3_64bits(bytes.data, bytes.len - 8))
        return TM_ERR_CORRUPT;
    memcpy(d->uuid, h.uuid, sizeof d->uuid);
    memcpy(d->cluster, h.cluster, sizeof d->cluster);
    const uint8_t *p = bytes.data + sizeof h;
    memcpy(d->nodes, p, d->members * sizeof d->nodes[0]);
    p += d->members * sizeof d->nodes[0];
    memcpy(d->placement, p, (d->partitions + 1) * sizeof d->placement[0]);
    p += (d->partitions + 1) * sizeof d->placement[0];
    memcpy(d->facts, p, d->facts_len);
    return parts_ok(d) ? TM_OK : TM_ERR_CORRUPT;
}

uint64_t tm_directory_version(struct tm_bytes bytes)
{
    struct head h;
    if (bytes.len < sizeof h)
        return 0;
    memcpy(&h, bytes.data, sizeof h);
    return h.magic == MAGIC ? h.version : 0;
}

int tm_directory_find(const struct tm_directory *d, const char *name)
{
    for (unsigned i = 0; i < d->members; i++)
        if (strcmp(d->nodes[i].name, name) == 0)
            return (int)i;
    return -1;
}

const char *tm_directory_fact(const struct tm_directory *d, const char *name, size_t *len)
{
    const char *rest = d->facts;
    struct fact f;
    while (next_fact(&rest, &f))
        if (tm_bytes_equal(f.name, tm_bytes_str(name))) {
            *len = f.value.len;
            return (const char *)f.value.data;
        }
    return NULL;
}

const char *tm_directory_refuses(const struct tm_directory *now, const struct tm_directory *next)
{
    if (memcmp(now->uuid, next->uuid, 16) != 0 || now->token != next->token ||
        strcmp(now->cluster, next->cluster) != 0)
        return "it is the directory of another cluster";
    if (next->version != now->version + 1)
        return "it does not follow the present version: read that again";
    if (now->partitions != next->partitions)
        return "the number of partitions is fixed at creation";
    if (now->members != next->members || memcmp(now->nodes, next->nodes, sizeof now->nodes) != 0 ||
        now->copies != next->copies || now->eventual != next->eventual ||
        memcmp(now->placement, next->placement, sizeof now->placement) != 0)
        return "nodes, replicationFactor, consistency and placement cannot be changed yet";
    return NULL;
}

/* ---- differences ---- */

struct differences {
    void (*visit)(void *arg, const char *text, bool file_holds);
    void *arg;
    unsigned count;
};

static void say(struct differences *w, bool file_holds, const char *fmt, ...) TM_PRINTF(3, 4);

static void say(struct differences *w, bool file_holds, const char *fmt, ...)
{
    char text[2560];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    w->count++;
    w->visit(w->arg, text, file_holds);
}

/* Physical facts, "node-1/address", hold as the file has them. */
static void say_change(void *arg, const struct tm_change *c)
{
    struct differences *w = arg;
    const char *const marks[] = {"'", "", "nothing"};
    bool has_file = c->kind != TM_CHANGE_REMOVED, has_cluster = c->kind != TM_CHANGE_ADDED;
    if (c->operators)
        return; /* no file has that */
    if (c->whole)
        say(w, false, "%s: %s", c->subject,
            has_file ? "the file has it, the cluster does not"
                     : "the file leaves it out, the cluster has it");
    else
        say(w, strchr(c->subject, '/') != NULL,
            "%s%s%s: the file says %s%s%s, the cluster has %s%s%s", c->subject,
            c->option[0] != '\0' ? ": " : "", c->option, marks[!has_file],
            has_file ? c->to : marks[2], marks[!has_file], marks[!has_cluster],
            has_cluster ? c->from : marks[2], marks[!has_cluster]);
}

static bool listed(const struct tm_directory_spec *spec, const char *name)
{
    for (unsigned i = 0; i < spec->count; i++)
        if (strcmp(spec->names[i], name) == 0)
            return true;
    return false;
}

static void compare_nodes(struct differences *w, const struct tm_directory *d,
                          const struct tm_directory_spec *spec)
{
    bool same = spec->count == d->members;
    for (unsigned i = 0; i < spec->count; i++)
        if (tm_directory_find(d, spec->names[i]) < 0) {
            say(w, false, "nodes: the file adds '%s', which is no member", spec->names[i]);
            same = false;
        }
    for (unsigned i = 0; i < d->members; i++)
        if (!listed(spec, d->nodes[i].name)) {
            say(w, false, "nodes: the file leaves out '%s', which is a member", d->nodes[i].name);
            same = false;
        }
    bool ordered = same;
    for (unsigned i = 0; ordered && i < d->members; i++)
        ordered = strcmp(spec->names[i], d->nodes[i].name) == 0;
    if (same && !ordered)
        say(w, false, "nodes: the file has them in another order than the cluster");
}

unsigned tm_directory_differences(const struct tm_directory *d,
                                  const struct tm_directory_spec *spec,
                                  void (*visit)(void *arg, const char *text, bool file_holds),
                                  void *arg)
{
    struct differences w = {.visit = visit, .arg = arg};
    if (spec->partitions != d->partitions)
        say(&w, false, "partitions: the file says %u, the cluster has %u", spec->partitions,
            d->partitions);
    if (spec->copies != d->copies)
        say(&w, false, "replicationFactor: the file says %u, the cluster has %u", spec->copies,
            d->copies);
    if (spec->eventual != d->eventual)
        say(&w, false, "consistency: the file says '%s', the cluster has '%s'",
            spec->eventual ? "eventual" : "strong", d->eventual ? "eventual" : "strong");
    compare_nodes(&w, d, spec);
    tm_changes(d->cluster, d->facts, facts_of(spec), say_change, &w);
    return w.count;
}
