#include "runtime/counters.h"

#include "runtime/hash.h"

#define MAGIC       UINT64_C(0x31544e5543544d00) /* "\0MTCUNT1" */
#define WORKERS_MAX 64

static const struct {
    const char *name, *unit, *text;
    enum tm_counter_kind kind;
} rows[TM_COUNTER_COUNT] = {
#define X(name, kind, unit, text) {#name, unit, text, TM_COUNTER_KIND_##kind},
    TM_COUNTER_LIST(X)
#undef X
};

static const char names_and_kinds[] =
#define X(name, kind, unit, text) #name " " #kind "\n"
    TM_COUNTER_LIST(X)
#undef X
    ;

static uint64_t names_hash(void)
{
    return tm_hash64(names_and_kinds, sizeof names_and_kinds, 0);
}

const char *tm_counter_name(enum tm_counter which)
{
    TM_ASSERT(which < TM_COUNTER_COUNT);
    return rows[which].name;
}

const char *tm_counter_unit(enum tm_counter which)
{
    TM_ASSERT(which < TM_COUNTER_COUNT);
    return rows[which].unit;
}

const char *tm_counter_text(enum tm_counter which)
{
    TM_ASSERT(which < TM_COUNTER_COUNT);
    return rows[which].text;
}

enum tm_counter_kind tm_counter_kind_of(enum tm_counter which)
{
    TM_ASSERT(which < TM_COUNTER_COUNT);
    return rows[which].kind;
}

enum tm_counter tm_counter_find(const char *name)
{
    unsigned i = 0;
    while (i < TM_COUNTER_COUNT && strcmp(rows[i].name, name) != 0)
        i++;
    return (enum tm_counter)i;
}

size_t tm_counters_footprint(unsigned workers)
{
    if (workers == 0 || workers > WORKERS_MAX)
        return 0;
    return sizeof(struct tm_counters_table) + workers * sizeof(struct tm_counters);
}

void *tm_counters_new(void *mem, unsigned workers)
{
    size_t footprint = tm_counters_footprint(workers);
    if (mem == NULL || (uintptr_t)mem % TM_CACHE_PAIR != 0 || footprint == 0)
        return NULL;
    struct tm_counters_table *table = mem;
    memset(mem, 0, footprint);
    table->names_hash = names_hash();
    table->workers = workers;
    atomic_store_explicit(&table->magic, MAGIC, memory_order_release);
    return mem;
}

enum tm_err tm_counters_join(struct tm_counters_table **joined, void *mem, size_t bytes)
{
    struct tm_counters_table *table = mem;
    if (mem == NULL || (uintptr_t)mem % TM_CACHE_PAIR != 0 || bytes < sizeof *table ||
        atomic_load_explicit(&table->magic, memory_order_acquire) != MAGIC)
        return TM_ERR_INVALID;
    if (table->names_hash != names_hash())
        return TM_ERR_VERSION;
    size_t footprint = tm_counters_footprint(table->workers);
    if (footprint == 0 || footprint > bytes)
        return TM_ERR_INVALID;
    *joined = table;
    return TM_OK;
}

void *tm_counters_leave(struct tm_counters_table *table)
{
    return table;
}

void *tm_counters_delete(void *mem)
{
    struct tm_counters_table *table = mem;
    if (mem == NULL || atomic_load_explicit(&table->magic, memory_order_acquire) != MAGIC)
        return NULL;
    atomic_store_explicit(&table->magic, 0, memory_order_release);
    return mem;
}

struct tm_counters *tm_counters_worker(struct tm_counters_table *table, unsigned worker)
{
    TM_ASSERT(worker < table->workers);
    return &table->of[worker];
}

uint64_t tm_counters_read(const struct tm_counters_table *table, enum tm_counter which)
{
    uint64_t all = 0;
    bool peak = tm_counter_kind_of(which) == TM_COUNTER_KIND_PEAK;
    for (uint32_t i = 0; i < table->workers; i++) {
        uint64_t v = tm_counter_get(&table->of[i], which);
        all = peak ? tm_max_u64(all, v) : all + v;
    }
    return all;
}

void tm_counters_markdown(FILE *out)
{
    static const char *const kinds[] = {"count", "gauge", "peak"};
    fputs(
        "# Counters of a node\n\n"
        "<!-- Made from runtime/counters.h by `docgen counters`; tools/tidy holds this page to it. "
        "-->\n\n"
        "Shown by `tidemill stat` and by INFO tidemill. A *count* only grows from the\n"
        "start of the process; a *gauge* goes up and down; a *peak* is the largest value so far,\n"
        "and a node's peak the largest of its workers'.\n\n"
        "| counter | kind | unit | what it counts |\n"
        "| --- | --- | --- | --- |\n",
        out);
    for (unsigned i = 0; i < TM_COUNTER_COUNT; i++)
        fprintf(out, "| `%s` | %s | %s | %s |\n", rows[i].name, kinds[rows[i].kind], rows[i].unit,
                rows[i].text);
}
