/* link_options.h: the options of a link, as the topology file spells them: the one table from which
 * the file is checked (tools/topology_links.c), the directory's lines are written and read
 * (link_plan.h), and docs/LINKS.md is made.
 *
 * Pure; any thread. */
#ifndef TM_ACTORS_LINK_OPTIONS_H
#define TM_ACTORS_LINK_OPTIONS_H

#include "runtime/base.h"

enum tm_link_mode { TM_LINK_ASYNC, TM_LINK_SYNC };
enum tm_link_narrow { TM_LINK_NARROW_KEEP, TM_LINK_NARROW_PURGE };
enum tm_link_compression { TM_LINK_LZ4, TM_LINK_PLAIN };
enum tm_link_full { TM_LINK_FULL_FOLD, TM_LINK_FULL_REJECT };
enum tm_link_ack { TM_LINK_ACK_DURABLE, TM_LINK_ACK_RECEIVED, TM_LINK_ACK_APPLIED };
enum tm_link_unavailable { TM_LINK_FAIL, TM_LINK_BLOCK, TM_LINK_DEGRADE };
enum tm_link_forward { TM_LINK_FORWARD_NONE, TM_LINK_FORWARD_TRANSIT };
enum tm_link_fabric { TM_LINK_TCP, TM_LINK_DPDK };

/* Words stand in the order of their enum, the default first.  SYNC: an option of synchronous links
 * only.  A size is in bytes, a time in the unit that the row names. */
#define TM_LINK_OPTIONS(WORD, YES_NO, SIZE, TIME)                                                  \
    WORD(mode, "replicationMode", "|async|sync", 0,                                                \
         "async: OK when the source has it; sync: OK when the target has it too")                  \
    YES_NO(backfill, "backfill", true, 0,                                                          \
           "a wider filter ships what the target never got of the types that it adds")             \
    WORD(on_narrow, "onNarrow", "|keep|purge", 0,                                                  \
         "what a narrower filter does with what the target has: keep it, or evict it there")       \
    SIZE(batch_bytes, "batchBytes", TM_KIB(64), TM_KIB(4), TM_MIB(4), 0,                           \
         "a batch is closed at this size")                                                         \
    TIME(batch_max_delay_us, "batchMaxDelayUs", 10000, 0, 1000000, "us", 0,                        \
         "all streams send what they have this often; a record after a silence goes at once")      \
    WORD(compression, "compression", "|lz4|none", 0, "of batches, where it pays")                  \
    SIZE(max_backlog_bytes, "maxBacklogBytes", TM_MIB(512), TM_MIB(1), TM_MIB(16777216), 0,        \
         "how much log each worker of the source keeps for a target that lags")                    \
    TIME(max_backlog_age, "maxBacklogAge", 86400, 1, 31536000, "s", 0,                             \
         "how long log is kept at the source for a target that lags")                              \
    WORD(backlog_full, "backlogFull", "|fold|reject", 0,                                           \
         "past these bounds: keep the latest version of each entity only, or refuse writes")       \
    SIZE(max_bytes_per_second, "maxBytesPerSecond", 0, 0, TM_MIB(1048576), 0,                      \
         "what the link may ship in a second, all workers together; 0: no bound")                  \
    WORD(ack_level, "ackLevel", "|durable|received|applied", TM_LINK_OPTION_SYNC,                  \
         "what the target has done when a write gets its OK")                                      \
    TIME(sync_timeout_ms, "syncTimeoutMs", 1000, 1, 600000, "ms", TM_LINK_OPTION_SYNC,             \
         "how long a write waits for the target")                                                  \
    WORD(on_unavailable, "onUnavailable", "|fail|block|degrade", TM_LINK_OPTION_SYNC,              \
         "then: answer -TIMEOUT, wait on, or go on locally until the target has caught up")        \
    WORD(forward, "forward", "|none|transit", 0,                                                   \
         "ship only what was written here, or also what came here over other links")               \
    WORD(fabric, "linkFabric", "|tcp|dpdk", 0,                                                     \
         "what the link runs over; dpdk is not carried out yet")                                   \
    TIME(max_clock_skew_ms, "maxClockSkewMs", 500, 1, 86400000, "ms", 0,                           \
         "a batch with a clock further ahead than this is held at the target")                     \
    TIME(                                                                                          \
        tombstone_max_age, "tombstoneMaxAge", 604800, 60, 31536000, "s", 0,                        \
        "deletions are remembered at least that long for a cluster at the other end that is away")

#define TM_LINK_OPTION_SYNC 1

/* One value for each row: words by their enum, yes or no as 1 or 0. */
struct tm_link_options {
#define TM_LINK_FIELD(field, ...) int64_t field;
    TM_LINK_OPTIONS(TM_LINK_FIELD, TM_LINK_FIELD, TM_LINK_FIELD, TM_LINK_FIELD)
#undef TM_LINK_FIELD
};

/* Row number of each option: TM_LINK_OPTION_batch_bytes and so on. */
enum tm_link_option {
#define TM_LINK_ROW(field, ...) TM_LINK_OPTION_##field,
    TM_LINK_OPTIONS(TM_LINK_ROW, TM_LINK_ROW, TM_LINK_ROW, TM_LINK_ROW)
#undef TM_LINK_ROW
        TM_LINK_OPTION_COUNT
};

enum tm_link_option_kind {
    TM_LINK_OPTION_WORD,
    TM_LINK_OPTION_YES_NO,
    TM_LINK_OPTION_SIZE,
    TM_LINK_OPTION_TIME
};

struct tm_link_option_row {
    const char *name; /* in the topology file */
    enum tm_link_option_kind kind;
    const char *words; /* WORD */
    int64_t def, min, max;
    const char *unit; /* TIME */
    unsigned flags;   /* TM_LINK_OPTION_SYNC */
    const char *text;
};

extern const struct tm_link_option_row tm_link_option_rows[TM_LINK_OPTION_COUNT];

/* Every row's default. */
void tm_link_options_init(struct tm_link_options *o);

static inline int64_t tm_link_option_get(const struct tm_link_options *o, enum tm_link_option which)
{
    TM_ASSERT(which < TM_LINK_OPTION_COUNT);
    return ((const int64_t *)(const void *)o)[which];
}
static inline void tm_link_option_set(struct tm_link_options *o, enum tm_link_option which,
                                      int64_t value)
{
    TM_ASSERT(which < TM_LINK_OPTION_COUNT);
    ((int64_t *)(void *)o)[which] = value;
}

/* The row of that name, or TM_LINK_OPTION_COUNT. */
enum tm_link_option tm_link_option_find(struct tm_bytes name);

/* Reads a value as the file and the directory have it ("sync", "true", "64KiB", "5s"); false if the
 * row does not allow it. */
bool tm_link_option_parse(enum tm_link_option which, const char *text, int64_t *value);

/* The value as people write it, and as tm_link_option_parse reads it.  cap: 32 is enough. */
void tm_link_option_text(enum tm_link_option which, int64_t value, char *buf, size_t cap);

/* What the row allows, as a phrase: "a size from 4KiB to 4MiB, such as 64KiB".  cap: 128. */
void tm_link_option_allowed(enum tm_link_option which, char *buf, size_t cap);

#endif
