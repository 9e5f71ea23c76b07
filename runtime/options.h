/* options.h: every option of a node, in one table.
 *
 * The command line (--name value, --name=value, --name and --no-name for a BOOL), the environment
 * (TIDEMILL_NAME), CONFIG GET and SET, the help text and docs/OPTIONS.md all come from it.  To add
 * one: append a row, and make docs/OPTIONS.md anew (`build/tools/docgen options`).
 *
 * Sources have a rank: runtime change > command line > environment > topology file > default.  A
 * value of lower rank never replaces one of higher rank, in whatever order they are set.
 *
 * A struct tm_options holds no pointer and is copied by assignment.  It belongs to one thread: who
 * changes a running node's options hands every worker its own changed copy. */
#ifndef TM_RUNTIME_OPTIONS_H
#define TM_RUNTIME_OPTIONS_H

#include "runtime/base.h"

#include <stdio.h>

/* The words an ENUM option takes: X(constant, word), first word = 0. */
#define TM_IDLE_LIST(X)                                                                            \
    X(IDLE_SPIN, "spin")                                                                           \
    X(IDLE_YIELD, "yield")                                                                         \
    X(IDLE_BACKOFF, "backoff") X(IDLE_PARK, "park") X(IDLE_AUTO, "auto")
#define TM_PLACEMENT_LIST(X)   X(PLACEMENT_DEDICATED, "dedicated") X(PLACEMENT_SHARED, "shared")
#define TM_PIN_LIST(X)         X(PIN_AUTO, "auto") X(PIN_ON, "on") X(PIN_OFF, "off")
#define TM_FABRIC_KIND_LIST(X) X(FABRIC_KIND_DPDK, "dpdk") X(FABRIC_KIND_TCP, "tcp")
#define TM_DURABILITY_LIST(X)  X(DURABILITY_DISK, "disk") X(DURABILITY_MEMORY, "memory")
#define TM_SOLO_LIST(X)        X(SOLO_SERVE, "serve") X(SOLO_STOP, "stop")
#define TM_LOG_WORD_LIST(X)                                                                        \
    X(LOG_WORD_DEBUG, "debug")                                                                     \
    X(LOG_WORD_INFO, "info") X(LOG_WORD_WARN, "warn") X(LOG_WORD_ERROR, "error")

#define X(constant, word) TM_##constant,
enum tm_idle { TM_IDLE_LIST(X) };
enum tm_placement { TM_PLACEMENT_LIST(X) };
enum tm_pin { TM_PIN_LIST(X) };
enum tm_fabric_kind { TM_FABRIC_KIND_LIST(X) };
enum tm_durability { TM_DURABILITY_LIST(X) };
enum tm_solo { TM_SOLO_LIST(X) };
enum tm_log_word { TM_LOG_WORD_LIST(X) }; /* the same numbers as enum tm_log_level of ctx.h */
#undef X

/* The rows:
 *   BOOL(field, name, default, when, text)                  -> bool field
 *   INT(field, name, default, min, max, unit, when, text)   -> int64_t field
 *   SIZE(field, name, default, min, max, when, text)        -> uint64_t field, bytes
 *   TIME(field, name, default, min, max, unit, when, text)  -> uint64_t field, in unit (MS or US)
 *   ENUM(field, name, type, LIST, default, when, text)      -> enum type field
 *   TEXT(field, name, default, max, when, text)             -> char field[max + 1]
 * when: LIVE (CONFIG SET may change it) or BOOT.  SIZE takes bytes or 4k, 64MiB, 1g, ...; TIME
 * takes a number of its unit, or 200us, 5ms, 1s, 2m. */
#define TM_OPTION_LIST(BOOL, INT, SIZE, TIME, ENUM, TEXT)                                          \
    INT(workers, "workers", 0, 0, 64, "threads", BOOT,                                             \
        "Worker threads of the node. 0: one for each core of the affinity and cgroup budget; "     \
        "`up` divides the cores among the nodes it starts.")                                       \
    ENUM(placement, "placement", tm_placement, TM_PLACEMENT_LIST, TM_PLACEMENT_DEDICATED, BOOT,    \
         "dedicated: a thread for each worker. shared: all workers' actors on one thread.")        \
    ENUM(pin, "pin", tm_pin, TM_PIN_LIST, TM_PIN_AUTO, BOOT,                                       \
         "Whether each worker is bound to a core. auto: yes, unless the machine has fewer cores "  \
         "than workers.")                                                                          \
    ENUM(idle, "idle", tm_idle, TM_IDLE_LIST, TM_IDLE_AUTO, LIVE,                                  \
         "What a worker does that found nothing to do: spin, yield the core, back off (spin, "     \
         "yield, then short sleeps), or park (sleep until woken). auto: backoff on a machine "     \
         "with fewer cores than workers, else spin briefly and then park.")                        \
    TIME(idle_spin_us, "idle-spin-us", 50, 0, 1000000, US, LIVE,                                   \
         "How long a worker spins before it goes to the next step of its idle strategy.")          \
    TIME(idle_yield_us, "idle-yield-us", 200, 0, 1000000, US, LIVE,                                \
         "How long a worker yields before it parks.")                                              \
    SIZE(workspace_bytes, "workspace-bytes", TM_MIB(16), TM_MIB(1), TM_MIB(4096), BOOT,            \
         "The most shared memory (/dev/shm) the node may reserve for rings and counters.")         \
    ENUM(fabric, "fabric", tm_fabric_kind, TM_FABRIC_KIND_LIST, TM_FABRIC_KIND_DPDK, BOOT,         \
         "How nodes talk to each other: dpdk, or tcp where that is not built in or forbidden.")    \
    TEXT(fabric_port, "fabric-port", "", 255, BOOT,                                                \
         "The dpdk port: empty for memif between processes of one machine, a PCI address "         \
         "(0000:3b:00.0), af_packet:IFACE, af_xdp:IFACE, or a virtual device as DPDK names it "    \
         "(net_tap0,iface=t0).")                                                                   \
    TEXT(eal, "eal", "", 1023, BOOT, "Further arguments for DPDK's EAL, separated by spaces.")     \
    TEXT(address, "address", "127.0.0.1", 63, BOOT,                                                \
         "The IPv4 address the node binds to and that others reach it at.")                        \
    INT(base_port, "base-port", 7000, 1024, 32000, "port", BOOT,                                   \
        "First port of the plan: node n's shared client port is base + 32 n, its workers' own "    \
        "ports follow.")                                                                           \
    TEXT(listen, "listen", "", 127, BOOT,                                                          \
         "ADDRESS:PORT of the node's shared client port, instead of what the plan says.")          \
    TEXT(requirepass, "requirepass", "", 255, LIVE,                                                \
         "Password that clients give with AUTH or HELLO; empty: none is asked for.")               \
    INT(max_clients, "max-clients", 12000, 1, 1000000, "connections", LIVE,                        \
        "Connections of the node beyond this are answered with an error and closed.")              \
    SIZE(client_query_buffer_bytes, "client-query-buffer-bytes", TM_MIB(2), TM_KIB(64),            \
         TM_MIB(1024), LIVE,                                                                       \
         "The longest command, with all its arguments, that a client may send.")                   \
    SIZE(                                                                                          \
        client_output_buffer_bytes, "client-output-buffer-bytes", TM_MIB(16), TM_KIB(64),          \
        TM_MIB(1024), LIVE,                                                                        \
        "The largest reply of a partition. A client is not read while replies wait for it beyond " \
        "this or 1 MiB; one whose replies under way go 256 MiB beyond this is closed.")            \
    INT(client_pipeline_max, "client-pipeline-max", 1024, 1, 65536, "commands", LIVE,              \
        "Commands of one connection under way at once; more wait unread in its socket.")           \
    SIZE(max_entity_bytes, "max-entity-bytes", TM_MIB(1), TM_KIB(1), TM_MIB(256), LIVE,            \
         "The largest entity: key, field names and values together.")                              \
    SIZE(memory_limit, "memory-limit", 0, 0, TM_MIB(1048576 * 16), LIVE,                           \
         "Writes are refused with -OOM when the node's data takes more memory than this. 0: 60 % " \
         "of what the machine or its cgroup has, divided among the nodes that `up` starts; "       \
         "set while it runs: what it was at the start.")                                           \
    BOOL(huge_pages, "huge-pages", true, BOOT,                                                     \
         "Let the kernel back the node's memory with transparent huge pages where it is set up "   \
         "to. "                                                                                    \
         "--no-huge-pages forbids it for this process.")                                           \
    ENUM(durability, "durability", tm_durability, TM_DURABILITY_LIST, TM_DURABILITY_DISK, BOOT,    \
         "What a write waits for: a quorum's disks, or a quorum's memory (flushed behind).")       \
    ENUM(solo, "solo", tm_solo, TM_SOLO_LIST, TM_SOLO_SERVE, LIVE,                                 \
         "With replicationFactor 2 and one copy lost: serve with a single copy, or stop writes "   \
         "(-NOREPLICAS).")                                                                         \
    TIME(async_batch_us, "async-batch-us", 1000, 0, 10000000, US, LIVE,                            \
         "Consistency eventual: how long effects are gathered before they go to followers.")       \
    SIZE(async_batch_bytes, "async-batch-bytes", TM_KIB(64), TM_KIB(1), TM_MIB(16), LIVE,          \
         "Consistency eventual: a batch leaves early at this size.")                               \
    SIZE(async_window_bytes, "async-window-bytes", TM_MIB(16), TM_KIB(64), TM_MIB(4096), LIVE,     \
         "Consistency eventual: the most bytes a failover could lose; at the cap writes wait.")    \
    TIME(async_window_ms, "async-window-ms", 1000, 1, 3600000, MS, LIVE,                           \
         "Consistency eventual: the most time a failover could lose; at the cap writes wait.")     \
    SIZE(wal_segment_bytes, "wal-segment-bytes", TM_MIB(64), TM_MIB(4), TM_MIB(256), BOOT,         \
         "Size of one file of the write-ahead log, allocated and zeroed ahead.")                   \
    SIZE(wal_bytes, "wal-bytes", TM_MIB(1024), TM_MIB(8), TM_MIB(1048576), LIVE,                   \
         "The most disk space the write-ahead log of one worker may take; at four times "          \
         "wal-segment-bytes or more.")                                                             \
    TIME(wal_idle_marker_ms, "wal-idle-marker-ms", 50, 5, 60000, MS, LIVE,                         \
         "After this much rest a marker block closes the open end of the log.")                    \
    SIZE(scrub_rate, "scrub-rate", TM_MIB(1), 0, TM_MIB(1024), LIVE,                               \
         "Bytes a second that each worker reads again of its log and snapshots, to find damage "   \
         "while there are good copies. 0: none.")                                                  \
    TIME(scrub_interval_ms, "scrub-interval-ms", 3600000, 100, 1000000000, MS, LIVE,               \
         "A look at all of the log and the snapshots begins so long after the one before began, "  \
         "or when that ends.")                                                                     \
    TIME(disk_stall_ms, "disk-stall-ms", 1000, 10, 600000, MS, LIVE,                               \
         "A copy that has not acknowledged for this long counts as lost, and a leader whose own "  \
         "disk is that slow hands over.")                                                          \
    TIME(max_clock_skew_ms, "max-clock-skew-ms", 500, 1, 3600000, MS, LIVE,                        \
         "A leader whose clock is ahead of a quorum's by more stops stamping and hands over.")     \
    TIME(heartbeat_ms, "heartbeat-ms", 20, 1, 10000, MS, LIVE,                                     \
         "Time between heartbeats of a leader under load.")                                        \
    TIME(heartbeat_rest_ms, "heartbeat-rest-ms", 200, 1, 60000, MS, LIVE,                          \
         "Time between heartbeats at rest, when a broken connection tells of a dead node sooner.") \
    TIME(election_timeout_ms, "election-timeout-ms", 150, 10, 60000, MS, LIVE,                     \
         "A follower that hears nothing for this long, or up to twice as long (drawn at random), " \
         "asks for an election.")                                                                  \
    ENUM(log_level, "log-level", tm_log_word, TM_LOG_WORD_LIST, TM_LOG_WORD_INFO, LIVE,            \
         "Lines of a lower level are not logged.")                                                 \
    TEXT(log_file, "log-file", "", 511, BOOT, "File to log to; empty: standard error.")

/* Row number of each option: TM_OPTION_wal_bytes and so on. */
enum tm_option {
#define ANY(field, ...) TM_OPTION_##field,
    TM_OPTION_LIST(ANY, ANY, ANY, ANY, ANY, ANY)
#undef ANY
        TM_OPTION_COUNT
};

enum tm_option_source {
    TM_OPTION_DEFAULT,
    TM_OPTION_TOPOLOGY,
    TM_OPTION_ENVIRONMENT,
    TM_OPTION_COMMAND_LINE,
    TM_OPTION_RUNTIME
};

struct tm_options {
#define BOOL(field, ...)                 bool field;
#define INT(field, ...)                  int64_t field;
#define SIZE(field, ...)                 uint64_t field;
#define TIME(field, ...)                 uint64_t field;
#define ENUM(field, name, type, ...)     enum type field;
#define TEXT(field, name, def, max, ...) char field[(max) + 1];
    TM_OPTION_LIST(BOOL, INT, SIZE, TIME, ENUM, TEXT)
#undef BOOL
#undef INT
#undef SIZE
#undef TIME
#undef ENUM
#undef TEXT
    uint8_t source[TM_OPTION_COUNT]; /* enum tm_option_source of each value */
};

/* A flag of one subcommand (--json, --data-dir D), beside the node's options. */
struct tm_flag {
    const char *name;   /* without the dashes */
    const char *value;  /* what help calls its value ("DIR"); NULL: it takes none */
    const char **given; /* set to the argument, or to "" if it takes none; untouched if absent */
    const char *text;
};

#define TM_OPTION_WHY_MAX 512 /* room for any message below */

/* All options at their defaults. */
void tm_options_init(struct tm_options *options);

/* Sets one by name ('-' or '_') and text.  TM_OK also if a source of higher rank has set it
 * already: the value is checked and then left.  On failure why (TM_OPTION_WHY_MAX bytes) gets one
 * line naming the option, its source, what is allowed and the nearest valid name: NOTFOUND (no such
 * option), INVALID (type or range), TOOBIG (text too long).  options is then unchanged. */
enum tm_err tm_options_set(struct tm_options *options, const char *name, const char *text,
                           enum tm_option_source source, char *why);

/* CONFIG SET: `count` pairs of a name and a text, all of them or, on failure, none.  As
 * tm_options_set from TM_OPTION_RUNTIME, but UNSUPPORTED for an option that cannot change while the
 * node runs, and INVALID for one that is named twice or if tm_options_check would then fail.  Names
 * are looked at before values.  *bad is the pair that failed; the last if it is all together. */
enum tm_err tm_options_change(struct tm_options *options, const struct tm_bytes *pairs,
                              unsigned count, unsigned *bad, char *why);

/* Takes every TIDEMILL_… variable of env (NULL-terminated, like environ). */
enum tm_err tm_options_from_env(struct tm_options *options, char *const *env, char *why);

/* Takes the options and the subcommand's flags out of argv[0..*argc), which holds no program name;
 * what remains (positional arguments, and all after "--") is moved to its front and *argc is its
 * number.  Pointers in flags point into argv. */
enum tm_err tm_options_from_args(struct tm_options *options, const struct tm_flag *flags,
                                 unsigned flag_count, int *argc, char **argv, char *why);

/* Checks what no single row can say (wal-bytes against wal-segment-bytes, ...). */
enum tm_err tm_options_check(const struct tm_options *options, char *why);

/* The row of that name ('-' or '_', any case), or TM_OPTION_COUNT. */
enum tm_option tm_option_find(const char *name);

/* A row's name, text, and whether CONFIG SET may change it.  Static storage. */
const char *tm_option_name(enum tm_option which);
const char *tm_option_text(enum tm_option which);
bool tm_option_is_live(enum tm_option which);

/* Writes an option's value as CONFIG GET shows it (bytes, numbers of the unit, words) to buf;
 * returns its length, less than cap (cap >= 1100 is enough for all). */
size_t tm_option_format(const struct tm_options *options, enum tm_option which, char *buf,
                        size_t cap);

/* "default", "topology", "environment", "command line", "runtime". */
const char *tm_option_source_name(enum tm_option_source source);

/* The help text: one paragraph for each flag, then for each option. */
void tm_options_help(FILE *out, const struct tm_flag *flags, unsigned flag_count);

/* The table as markdown (docs/OPTIONS.md). */
void tm_options_markdown(FILE *out);

#endif
