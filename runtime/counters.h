/* counters.h: what a node counts, in one table, live in shared memory.
 *
 * Each worker has an array of its own, which only its thread writes (relaxed, no locked
 * instruction); anyone who has the workspace mapped reads, also after the node died.  `tidemill
 * stat` and INFO show the same numbers under the names of the table.
 *
 * To add one: append a line (docs/COUNTERS.md is made by the build's tools/docgen).  The kinds:
 * COUNT only grows; GAUGE goes up and down, a node's value is the sum over its workers; PEAK
 * likewise, but the node's value is the largest.
 *
 * Life of the shared table: footprint, new, join, leave, delete.  A test or the simulator may use a
 * zeroed struct tm_counters of its own instead. */
#ifndef TM_RUNTIME_COUNTERS_H
#define TM_RUNTIME_COUNTERS_H

#include "runtime/base.h"

#include <stdatomic.h>
#include <stdio.h>

#define TM_COUNTERS_OBJECT "counters" /* the table's name in a node's workspace */

/* X(name, kind, unit, text) */
#define TM_COUNTER_LIST(X)                                                                         \
    X(dpdk_frames_sent, COUNT, "frames", "frames given to the dpdk fabric")                        \
    X(dpdk_frames_received, COUNT, "frames", "frames that came from the dpdk fabric")              \
    X(dpdk_bytes_sent, COUNT, "bytes", "bytes of the frames sent over dpdk")                       \
    X(dpdk_bytes_received, COUNT, "bytes", "bytes of the frames received over dpdk")               \
    X(dpdk_frames_dropped, COUNT, "frames", "frames not sent: port full or peer down")             \
    X(tcp_frames_sent, COUNT, "frames", "frames given to the tcp fabric")                          \
    X(tcp_frames_received, COUNT, "frames", "frames that came from the tcp fabric")                \
    X(tcp_bytes_sent, COUNT, "bytes", "bytes of the frames sent over tcp")                         \
    X(tcp_bytes_received, COUNT, "bytes", "bytes of the frames received over tcp")                 \
    X(tcp_frames_dropped, COUNT, "frames", "frames not sent: buffer full or peer down")            \
    X(peer_ups, COUNT, "events", "times a peer node came within reach")                            \
    X(peer_downs, COUNT, "events", "times a peer node went out of reach")                          \
    X(doorbells_rung, COUNT, "events", "wake-ups sent to parked workers of other nodes")           \
    X(channel_messages_sent, COUNT, "messages", "messages accepted by channels")                   \
    X(channel_messages_received, COUNT, "messages", "messages delivered in order by channels")     \
    X(channel_retransmits, COUNT, "frames", "frames sent again because no acknowledgement came")   \
    X(channel_drops, COUNT, "frames", "received frames thrown away: damaged, doubled or stale")    \
    X(channel_resets, COUNT, "events", "channels begun anew because the peer had restarted")       \
    X(channel_full, COUNT, "events", "sends refused because a channel's window was full")          \
    X(link_batches_sent, COUNT, "batches", "batches sent to linked clusters")                      \
    X(link_batch_bytes_sent, COUNT, "bytes", "bytes of these, as sent")                            \
    X(link_batch_raw_bytes, COUNT, "bytes", "bytes of these before they were packed")              \
    X(link_changes_sent, COUNT, "changes", "changes of entities in these")                         \
    X(link_batches_acked, COUNT, "batches", "batches that their target has committed")             \
    X(link_batches_refused, COUNT, "events", "times a target refused a stream of this node")       \
    X(link_timeouts, COUNT, "events", "times a batch was not acknowledged in time")                \
    X(link_batches_taken, COUNT, "batches", "batches of linked clusters taken")                    \
    X(link_batches_repeated, COUNT, "batches", "batches dropped because they had come before")     \
    X(link_batches_gap, COUNT, "batches", "batches dropped because one before them is missing")    \
    X(link_batches_staged, COUNT, "batches", "batches staged before their source committed them")  \
    X(link_batches_unstaged, COUNT, "batches", "of these, those that it never will commit")        \
    X(link_commit_unmatched, COUNT, "messages",                                                    \
      "notices of commit that match nothing that is staged, and were not gone by")                 \
    X(link_changes_taken, COUNT, "operations", "operations of linked clusters that were applied")  \
    X(link_changes_lost, COUNT, "operations",                                                      \
      "operations of linked clusters that something newer had superseded")                         \
    X(link_conflicts, COUNT, "conflicts",                                                          \
      "changes of the same thing, made without knowing of each other, that were resolved")         \
    X(link_changes_echoed, COUNT, "operations",                                                    \
      "operations that came back to the cluster that had made them")                               \
    X(link_rule_calls, COUNT, "calls", "values of conflicts that functions were asked for")        \
    X(link_rule_failures, COUNT, "calls", "of these, those that gave none: the later value stood") \
    X(link_rule_uneven, COUNT, "calls",                                                            \
      "of those tried the other way round too, those that gave another value then")                \
    X(link_refused, COUNT, "events", "times a stream of a linked cluster was refused here")        \
    X(link_clock_held, COUNT, "batches", "batches refused for stamps ahead of this clock")         \
    X(link_residency_refused, COUNT, "batches",                                                    \
      "batches refused for a type that must not be here")                                          \
    X(link_dead_letters, COUNT, "changes", "changes of linked clusters that could not be applied") \
    X(link_dead_retried, COUNT, "changes", "of these, asked for again by an operator")             \
    X(link_dead_dropped, COUNT, "changes", "of these, given up by an operator")                    \
    X(link_malformed, COUNT, "messages", "messages of linked clusters that made no sense")         \
    X(link_messages_sent, COUNT, "messages", "messages to linked clusters")                        \
    X(link_messages_received, COUNT, "messages", "messages from linked clusters")                  \
    X(link_messages_dropped, COUNT, "messages",                                                    \
      "of these, thrown away: there is no link, or none that clusters send")                       \
    X(link_retransmits, COUNT, "frames", "frames to linked clusters sent again")                   \
    X(link_drops, COUNT, "frames",                                                                 \
      "frames of other clusters thrown away: damaged, doubled or stale")                           \
    X(link_resets, COUNT, "events",                                                                \
      "channels begun anew because a node of a linked cluster had restarted")                      \
    X(link_full, COUNT, "events", "sends refused because the window to a linked cluster was full") \
    X(link_ups, COUNT, "events", "times a node of a linked cluster came within reach")             \
    X(link_downs, COUNT, "events", "times a node of a linked cluster went out of reach")           \
    X(link_refusals, COUNT, "events",                                                              \
      "times a node of another cluster was refused, or refused this one")                          \
    X(link_frames_sent, COUNT, "frames", "frames given to the fabric of links")                    \
    X(link_frames_received, COUNT, "frames", "frames that came from the fabric of links")          \
    X(link_bytes_sent, COUNT, "bytes", "bytes of the frames sent to linked clusters")              \
    X(link_bytes_received, COUNT, "bytes", "bytes of the frames received from linked clusters")    \
    X(link_frames_dropped, COUNT, "frames", "frames of links not sent: buffer full or peer down")  \
    X(link_degraded, COUNT, "events",                                                              \
      "times a partition's writes began to go on without a synchronous target")                    \
    X(link_restored, COUNT, "events", "times they waited for it again")                            \
    X(link_sync_unknown, COUNT, "writes",                                                          \
      "writes answered that the outcome is unknown, because a target did not have them in time")   \
    X(link_gates_open, GAUGE, "partitions", "partitions whose writes go on without such a target") \
    X(link_gate_waiting, GAUGE, "writes", "committed writes that wait for a synchronous target")   \
    X(link_resyncs, COUNT, "events", "times a resynchronisation of a stream began or went on")     \
    X(link_resync_bytes, COUNT, "bytes", "bytes that resynchronisation sent to linked clusters")   \
    X(link_resync_keys, COUNT, "keys", "keys whose state was sent by it")                          \
    X(link_check_keys, COUNT, "keys",                                                              \
      "keys compared with what targets have, all the time or by order")                            \
    X(link_check_bytes, COUNT, "bytes", "bytes sent to linked clusters for that")                  \
    X(link_check_differ, COUNT, "keys", "keys found to differ from what a target has, for good")   \
    X(link_lacks, COUNT, "changes", "that gave more time to entities which had expired here")      \
    X(link_lacks_answered, COUNT, "keys", "keys whose state a target asked for and was sent")      \
    X(link_collected, COUNT, "keys", "whose tombstones, kept for other clusters, went")            \
    X(link_snapshot_required, COUNT, "events",                                                     \
      "times a partition gave up deletions without a linked cluster that was away for too long")   \
    X(link_purged, COUNT, "keys", "evicted because a narrower filter ships them no more")          \
    X(link_writes_refused, COUNT, "writes", "refused because a link's backlog was full")           \
    X(link_residency_kept, COUNT, "types", "times a batch was without a type that must not leave") \
    X(link_lag_records, GAUGE, "records", "records that targets of links do not have yet")         \
    X(link_lag_bytes, GAUGE, "bytes", "bytes of these, about")                                     \
    X(link_streams_out, GAUGE, "streams", "streams to linked clusters that begin here")            \
    X(link_streams_standing, GAUGE, "streams", "those of them that are refused or cannot go on")   \
    X(link_streams_in, GAUGE, "streams", "streams of linked clusters that end here")               \
    X(ring_full, COUNT, "events", "claims that found the ring to another worker full")             \
    X(ring_records, COUNT, "records", "records published to other workers")                        \
    X(turns, COUNT, "turns", "turns of the worker loop that did something")                        \
    X(idle_turns, COUNT, "turns", "turns of the worker loop that found nothing to do")             \
    X(parks, COUNT, "events", "times the worker went to sleep")                                    \
    X(wakes_ring, COUNT, "events", "wake-ups by another worker of this node")                      \
    X(wakes_timer, COUNT, "events", "wake-ups by a timer")                                         \
    X(wakes_io, COUNT, "events", "wake-ups by a socket, the disk or a peer's doorbell")            \
    X(wakes_sent, COUNT, "events", "wake-ups written for other workers of this node")              \
    X(turn_max_us, PEAK, "us", "longest turn of the worker loop so far")                           \
    X(wal_flushes, COUNT, "flushes", "durable writes to the log finished")                         \
    X(wal_blocks, COUNT, "blocks", "log blocks written")                                           \
    X(wal_bytes, COUNT, "bytes", "bytes written to the log, blocks and fillers")                   \
    X(wal_records, COUNT, "records", "records appended to the log")                                \
    X(wal_segments, GAUGE, "segments", "log segments in use")                                      \
    X(wals_full, GAUGE, "logs", "logs that refuse writes now, or large ones, for lack of space")   \
    X(wal_flush_us_total, COUNT, "us", "time that durable writes took, summed")                    \
    X(wal_stalls, COUNT, "events", "durable writes that took longer than --disk-stall-ms")         \
    X(wal_torn_tails, COUNT, "events", "torn tails of the log cut at recovery")                    \
    X(wal_rotten_blocks, COUNT, "blocks", "damaged blocks found below the durable point")          \
    X(records_repaired, COUNT, "records", "damaged records brought back from a peer")              \
    X(scrub_bytes, COUNT, "bytes",                                                                 \
      "bytes of the log and of snapshots read again to see if they are good")                      \
    X(scrub_passes, COUNT, "passes", "times all of them had been read again")                      \
    X(scrub_damaged, COUNT, "places", "damaged places found by that")                              \
    X(commits, COUNT, "records", "records committed by partitions led here")                       \
    X(applied, COUNT, "records", "committed records applied to the table")                         \
    X(elections, COUNT, "events", "elections begun here, pre-votes not counted")                   \
    X(pre_votes, COUNT, "events", "pre-votes begun here")                                          \
    X(leader_changes, COUNT, "events", "times this node became leader of a partition")             \
    X(step_downs, COUNT, "events", "times this node ceased to lead a partition")                   \
    X(partitions_led, GAUGE, "partitions", "partitions led here now")                              \
    X(partitions_held, GAUGE, "partitions", "partitions with a data copy here")                    \
    X(partitions_faulty, GAUGE, "partitions", "partitions here that wait for repair")              \
    X(solo_commits, COUNT, "records", "records committed with a single data copy")                 \
    X(partitions_solo, GAUGE, "partitions", "partitions led here with a single data copy")         \
    X(clock_handovers, COUNT, "events",                                                            \
      "times leadership was given away because this node's clock was ahead")                       \
    X(undone, COUNT, "records", "uncommitted records taken back after losing leadership")          \
    X(async_cut, COUNT, "records", "records cut off at a failover in eventual mode")               \
    X(async_reoffered, COUNT, "records", "cut records offered to the new leader")                  \
    X(async_merged, COUNT, "records", "records offered by others or from here, merged as leader")  \
    X(async_dropped, COUNT, "records", "cut records given up: each time the log says why")         \
    X(async_window_waits, COUNT, "events", "writes held back at the cap of the async window")      \
    X(snapshots_written, COUNT, "snapshots", "snapshots finished and made current")                \
    X(snapshots_sent, COUNT, "snapshots", "snapshots sent whole to a peer")                        \
    X(snapshots_loaded, COUNT, "snapshots", "snapshots received from a peer or read at start")     \
    X(snapshots_failed, COUNT, "snapshots", "snapshots given up: disk full, damaged or stale")     \
    X(clients, GAUGE, "connections", "clients connected now")                                      \
    X(clients_accepted, COUNT, "connections", "clients ever accepted")                             \
    X(clients_rejected, COUNT, "connections", "clients turned away at --max-clients")              \
    X(clients_dropped, COUNT, "connections",                                                       \
      "clients closed for breaking a limit or the protocol")                                       \
    X(client_bytes_received, COUNT, "bytes", "bytes read from clients")                            \
    X(client_bytes_sent, COUNT, "bytes", "bytes written to clients")                               \
    X(commands, COUNT, "commands", "commands taken from clients")                                  \
    X(client_memory_bytes, GAUGE, "bytes", "memory held for clients: input, replies, state")       \
    X(keyspace_hits, COUNT, "keys", "keys that reading commands looked for and found")             \
    X(keyspace_misses, COUNT, "keys", "keys that reading commands looked for in vain")             \
    X(commands_forwarded, COUNT, "commands", "commands passed to another worker or node")          \
    X(requests_put_off, COUNT, "requests",                                                         \
      "requests that waited for a later turn of their worker, since replies were large")           \
    X(replies, COUNT, "replies", "replies given to clients")                                       \
    X(replies_error, COUNT, "replies", "error replies among them")                                 \
    X(refused_diskfull, COUNT, "commands", "writes refused because the disk is full")              \
    X(refused_oom, COUNT, "commands", "writes refused at --memory-limit")                          \
    X(refused_noreplicas, COUNT, "commands", "writes refused for lack of copies (--solo stop)")    \
    X(entities, GAUGE, "entities", "entities held here")                                           \
    X(entities_led, GAUGE, "entities", "entities of the partitions led here")                      \
    X(entities_expiring, GAUGE, "entities", "those of them that have a time to expire")            \
    X(entities_expired, COUNT, "entities", "entities removed because their time had come")         \
    X(memory_bytes, GAUGE, "bytes", "memory held by the table and its entities")                   \
    X(log_lines, COUNT, "lines", "lines logged")                                                   \
    X(log_dropped, COUNT, "lines", "lines not logged because the log's buffer was full")

enum tm_counter {
#define X(name, kind, unit, text) TM_COUNTER_##name,
    TM_COUNTER_LIST(X)
#undef X
        TM_COUNTER_COUNT
};

enum tm_counter_kind { TM_COUNTER_KIND_COUNT, TM_COUNTER_KIND_GAUGE, TM_COUNTER_KIND_PEAK };

/* One worker's values.  ctx->counters points to it. */
struct tm_counters {
    _Alignas(TM_CACHE_PAIR) _Atomic uint64_t value[TM_COUNTER_COUNT];
};

/* All workers' values, in shared memory. */
struct tm_counters_table {
    _Atomic uint64_t magic;
    uint64_t names_hash; /* of names and kinds in order: another build's table is not misread */
    uint32_t workers;
    struct tm_counters of[];
};

/* Adds n.  By the worker that owns c only, like set. */
static inline void tm_counter_add(struct tm_counters *c, enum tm_counter which, uint64_t n)
{
    uint64_t v = atomic_load_explicit(&c->value[which], memory_order_relaxed);
    atomic_store_explicit(&c->value[which], v + n, memory_order_relaxed);
}

/* Subtracts n from a GAUGE. */
static inline void tm_counter_sub(struct tm_counters *c, enum tm_counter which, uint64_t n)
{
    tm_counter_add(c, which, UINT64_C(0) - n);
}

/* Sets a GAUGE. */
static inline void tm_counter_set(struct tm_counters *c, enum tm_counter which, uint64_t v)
{
    atomic_store_explicit(&c->value[which], v, memory_order_relaxed);
}

/* Raises a PEAK to v if that is more. */
static inline void tm_counter_peak(struct tm_counters *c, enum tm_counter which, uint64_t v)
{
    if (v > atomic_load_explicit(&c->value[which], memory_order_relaxed))
        tm_counter_set(c, which, v);
}

/* This worker's value.  Any thread. */
static inline uint64_t tm_counter_get(const struct tm_counters *c, enum tm_counter which)
{
    return atomic_load_explicit(&c->value[which], memory_order_relaxed);
}

/* Name, unit and text of a counter, and its kind; static storage.  `which` < TM_COUNTER_COUNT. */
const char *tm_counter_name(enum tm_counter which);
const char *tm_counter_unit(enum tm_counter which);
const char *tm_counter_text(enum tm_counter which);
enum tm_counter_kind tm_counter_kind_of(enum tm_counter which);

/* The counter of that name, or TM_COUNTER_COUNT. */
enum tm_counter tm_counter_find(const char *name);

/* Bytes a table for 1..64 workers takes, aligned to TM_CACHE_PAIR; 0 for other numbers. */
size_t tm_counters_footprint(unsigned workers);

/* Makes a table of zeros in mem (its footprint, aligned to TM_CACHE_PAIR); NULL if it cannot. */
void *tm_counters_new(void *mem, unsigned workers);

/* Joins the table in mem, of which `bytes` are mapped; only reads.  TM_ERR_INVALID: there is none;
 * TM_ERR_VERSION: written by a build with other counters. */
enum tm_err tm_counters_join(struct tm_counters_table **table, void *mem, size_t bytes);

/* Ends a join; returns the memory. */
void *tm_counters_leave(struct tm_counters_table *table);

/* Unmakes the table; all have left.  Returns mem, or NULL if it holds none. */
void *tm_counters_delete(void *mem);

/* The array of one worker (< table->workers).  One thread writes it. */
struct tm_counters *tm_counters_worker(struct tm_counters_table *table, unsigned worker);

/* The node's value: sum over the workers, or the largest for a PEAK.  Any thread or process. */
uint64_t tm_counters_read(const struct tm_counters_table *table, enum tm_counter which);

/* Writes the table as markdown (docs/COUNTERS.md) to out. */
void tm_counters_markdown(FILE *out);

#endif
