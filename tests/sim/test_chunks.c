/* Chunks of a snapshot that come again, or from somebody else, while it is taken in and when it is
 * whole: only what follows counts, of who began.  A copy is cut off, the others go on, and a test
 * hands it what a leader would have sent. */
#include "actors/keeper_internal.h"
#include "actors/transfer.h"
#include "tests/sim/hand_world.h"

#include <stdlib.h>

#define KEYS       600
#define CHUNKS_MAX 16
#define LENT       0 /* the term of a chunk that does not come from a leader */

static unsigned leads, third, away; /* the copy that is cut off */
static struct tm_snapshot_info info;
static struct tm_bytes body[CHUNKS_MAX]; /* of SNAPSHOT messages */
static bool is_read;

static void keep_chunk(void *host, enum tm_err err, uint64_t chunk, struct tm_bytes bytes)
{
    (void)host;
    uint8_t *at = malloc(TM_TRANSFER_HEAD_MAX + bytes.len);
    CU_ASSERT_FATAL(err == TM_OK && at != NULL);
    size_t len = tm_transfer_encode(&info, at);
    memcpy(at + len, bytes.data, bytes.len);
    body[chunk] = tm_bytes_of(at, len + bytes.len);
    is_read = true;
}

static bool has_read(void *arg)
{
    return *(const bool *)arg;
}

/* What the leader's newest snapshot would be sent as. */
static void read_chunks(void)
{
    struct tm_snapshot_reader *reader;
    const struct tm_shard *shard = tm_sim_shard(sim, leads, 0);
    CU_ASSERT_TRUE_FATAL(tm_keeper_snapshot(shard->keeper, 0, false, &info));
    CU_ASSERT_FATAL(info.chunks >= 3 && info.chunks <= CHUNKS_MAX);
    CU_ASSERT_FATAL(tm_snapshot_reader_new(shard->ctx, &info, &reader) == TM_OK);
    for (uint64_t i = 0; i < info.chunks; i++) {
        is_read = false;
        CU_ASSERT_FATAL(tm_snapshot_read(reader, i, keep_chunk, NULL) == TM_OK);
        CU_ASSERT_TRUE_FATAL(tm_sim_run_until(sim, has_read, &is_read, TM_SECONDS(5)));
    }
    tm_snapshot_reader_close(reader, NULL);
}

/* A copy is away while the others write, and take a snapshot of it. */
static void begin(void)
{
    static char line[1100];
    prepare();
    config.options.scrub_rate = 0;
    open_cluster();
    leads = leader();
    away = other_than(leads, leads);
    third = other_than(leads, away);
    tm_sim_isolate(sim, away, true);
    struct tm_sim_hand *h = tm_sim_hand_new(sim, leads, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(h);
    for (unsigned i = 0; i < KEYS; i++) {
        snprintf(line, sizeof line, "SET k%u %01000u", i, i);
        CU_ASSERT_STRING_EQUAL(tm_sim_hand_ask(h, line), "OK");
    }
    tm_sim_hand_free(h);
    CU_ASSERT_TRUE_FATAL(tm_sim_snapshot(sim, leads, 0));
    tm_sim_run_for(sim, TM_SECONDS(2));
    read_chunks();
}

static void end(void)
{
    for (uint64_t i = 0; i < info.chunks; i++)
        free((void *)(uintptr_t)body[i].data);
    tm_sim_isolate(sim, away, false);
    settle(converged);
    close_cluster();
}

static uint64_t term(void)
{
    return part(leads, 0)->replica.hs.term;
}

static void hand(unsigned from, uint64_t chunk, uint64_t in_term)
{
    struct tm_message_head head = {.type = TM_MESSAGE_SNAPSHOT,
                                   .node = (uint8_t)from,
                                   .partition = 0,
                                   .arg = chunk,
                                   .arg2 = in_term};
    tm_keeper_message(tm_sim_shard(sim, away, 0)->keeper, &head, body[chunk]);
    tm_sim_run_for(sim, TM_MS(50));
}

static uint64_t taken_in(void)
{
    struct tm_keeper_receipt *r = tm_keeper_receipt_of(tm_sim_shard(sim, away, 0)->keeper, 0);
    return r != NULL ? tm_snapshot_writer_chunks(r->writer) : 0;
}

static bool is_installed(void)
{
    tm_sim_run_for(sim, TM_MS(500));
    return counted(away, TM_COUNTER_snapshots_loaded) == 1 &&
           tm_log_first(part(away, 0)->log) == info.walked_from + 1;
}

static void a_chunk_that_comes_again_is_passed_over(void)
{
    begin();
    for (uint64_t i = 0; i < info.chunks; i++)
        for (unsigned times = 0; times < (i == 0 ? 1 : 3); times++)
            hand(leads, i, term());
    CU_ASSERT_TRUE(is_installed());
    hand(leads, info.chunks - 1, term()); /* nothing is taken in any more */
    end();
}

static void the_last_chunk_may_come_again_before_the_disk_has_it(void)
{
    begin();
    for (uint64_t i = 0; i + 1 < info.chunks; i++)
        hand(leads, i, term());
    tm_sim_disk_stall(tm_sim_disk_of(sim, away), true);
    hand(leads, info.chunks - 1, term());
    hand(leads, info.chunks - 1, term());
    hand(third, info.chunks - 1, term());
    tm_sim_disk_stall(tm_sim_disk_of(sim, away), false);
    CU_ASSERT_TRUE(is_installed());
    end();
}

/* The same snapshot may be on two nodes: who sends it first sends all of it. */
static void what_another_sends_meanwhile_is_passed_over(void)
{
    begin();
    hand(leads, 0, term());
    hand(third, 1, term());
    CU_ASSERT_EQUAL(taken_in(), 1);
    hand(third, 0, LENT); /* does not begin anew what comes from a leader */
    for (uint64_t i = 1; i < info.chunks; i++)
        hand(leads, i, term());
    CU_ASSERT_TRUE(is_installed());
    end();
}

/* Who begins anew begins with the first. */
static void a_sending_that_begins_anew_is_taken_from_its_beginning(void)
{
    begin();
    hand(leads, 0, term());
    hand(leads, 1, term());
    CU_ASSERT_EQUAL(taken_in(), 2);
    for (uint64_t i = 0; i < info.chunks; i++)
        hand(leads, i, term());
    CU_ASSERT_TRUE(is_installed());
    end();
}

/* A whole copy goes by what a leader sends, however little it has. */
static void a_whole_copy_takes_nothing_that_is_lent(void)
{
    begin();
    for (uint64_t i = 0; i < info.chunks; i++)
        hand(third, i, LENT);
    CU_ASSERT_FALSE(is_installed());
    end();
}

static const struct tm_test tests[] = {
    TM_TEST(a_chunk_that_comes_again_is_passed_over),
    TM_TEST(the_last_chunk_may_come_again_before_the_disk_has_it),
    TM_TEST(what_another_sends_meanwhile_is_passed_over),
    TM_TEST(a_sending_that_begins_anew_is_taken_from_its_beginning),
    TM_TEST(a_whole_copy_takes_nothing_that_is_lent),
};

TM_TEST_MAIN("sim/chunks", tests)
