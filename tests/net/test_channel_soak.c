/* A channel under random loss, reorder, duplication, corruption, stalls and restarts. */
#include "channel_wire.h"

static size_t random_length(struct wire *w)
{
    uint64_t r = wire_random(w);
    switch (r % 16) {
    case 0:
        return 8 + (r >> 8) % 60000;
    case 1:
    case 2:
        return (w->numbered ? 8 : 1) + (r >> 8) % 7;
    default:
        return 8 + (r >> 8) % 400;
    }
}

static void make_it_rough(struct wire *w)
{
    w->lose = (unsigned)(wire_random(w) % 3 * 60);
    w->doubled = (unsigned)(wire_random(w) % 3 * 60);
    w->corrupt = (unsigned)(wire_random(w) % 3 * 20);
    w->delay = TM_US(1 + wire_random(w) % 200);
    w->jitter = wire_random(w) % 3 * TM_US(150);
}

static void make_it_smooth(struct wire *w)
{
    w->lose = w->doubled = w->corrupt = 0;
    w->jitter = 0;
    for (int s = 0; s < 2; s++) {
        w->end[s].emit_err = TM_OK;
        w->end[s].deaf = false;
        tm_channel_resume(w->end[s].ch);
    }
}

/* Frames that were dropped because of what they said. */
static uint64_t judged_bad(const struct tm_channel_stats *st)
{
    return st->invalid + st->versions + st->foreign + st->corrupt + st->misrouted + st->stale;
}

static void send_some(struct wire *w, int side)
{
    for (uint64_t n = wire_random(w) % 12; n > 0; n--)
        if (wire_send(w, side, random_length(w)) != TM_OK)
            break;
}

static void stall_some(struct wire *w, int side)
{
    struct end *e = &w->end[side];
    if (wire_chance(w, 20))
        e->deaf = true;
    else if (e->deaf && wire_chance(w, 200)) {
        e->deaf = false;
        tm_channel_resume(e->ch);
    }
    e->emit_err = wire_chance(w, 20) ? TM_ERR_FULL : wire_chance(w, 2) ? TM_ERR_CLOSED : TM_OK;
}

static void every_message_arrives_once_and_in_order(void)
{
    struct wire *w = wire_new(tm_test_seed(), 1400);
    w->send_window = 256 << 10;
    w->recv_window = 128 << 10;
    wire_boot(w, 0);
    wire_boot(w, 1);
    CU_ASSERT(wire_run_for(w, TM_MS(100)));
    for (int round = 0; round < 6000; round++) {
        if (round % 300 == 0)
            make_it_rough(w);
        for (int s = 0; s < 2; s++) {
            send_some(w, s);
            stall_some(w, s);
        }
        wire_run_for(w, wire_random(w) % TM_US(400));
    }
    make_it_smooth(w);
    CU_ASSERT(wire_run_for(w, TM_SECONDS(20)));
    for (int s = 0; s < 2; s++) {
        CU_ASSERT_EQUAL(w->end[s].received, w->end[!s].sent);
        CU_ASSERT_EQUAL(w->end[s].number, w->end[!s].sent);
        CU_ASSERT_EQUAL(w->end[s].wrong, 0);
        CU_ASSERT_EQUAL(w->end[s].resets, 0);
        CU_ASSERT(tm_channel_idle(w->end[s].ch));
        CU_ASSERT(tm_channel_stats(w->end[s].ch)->retransmits > 0);
    }
    CU_ASSERT(judged_bad(tm_channel_stats(w->end[0].ch)) +
                  judged_bad(tm_channel_stats(w->end[1].ch)) ==
              w->flipped);
    printf("  %" PRIu64 " messages, %" PRIu64 " frames, %" PRIu64 " again\n", w->end[0].received,
           tm_channel_stats(w->end[1].ch)->frames_sent,
           tm_channel_stats(w->end[1].ch)->retransmits);
    wire_free(w);
}

static void restarts_lose_only_what_is_reported(void)
{
    struct wire *w = wire_new(tm_test_seed(), 1400);
    w->numbered = true;
    unsigned restarts = 0;
    uint64_t heard = 0; /* of end 1's processes, by end 0's messages */
    for (int round = 0; round < 6000; round++) {
        if (round % 300 == 0)
            make_it_rough(w);
        if (round % 50 == 49) {
            /* End 0 lives through it all; end 1 is restarted. */
            CU_ASSERT_EQUAL(w->end[1].wrong, 0);
            heard += w->end[1].received;
            wire_boot(w, 1);
            restarts++;
        }
        for (int s = 0; s < 2; s++) {
            send_some(w, s);
            stall_some(w, s);
        }
        w->end[1].deaf = false; /* what it holds untaken is acknowledged, and dies with it */
        tm_channel_resume(w->end[1].ch);
        wire_run_for(w, wire_random(w) % TM_US(400));
    }
    make_it_smooth(w);
    CU_ASSERT(wire_run_for(w, TM_SECONDS(20)));
    wire_send(w, 0, 100); /* the last restart may have dropped the last one */
    wire_send(w, 1, 100);
    CU_ASSERT(wire_run_for(w, TM_SECONDS(1)));
    heard += w->end[1].received;
    struct end *e = &w->end[0];
    CU_ASSERT_EQUAL(e->wrong + w->end[1].wrong, 0);
    CU_ASSERT(e->resets > 5 && e->resets <= restarts);
    CU_ASSERT(heard <= e->sent);
    CU_ASSERT(e->sent - heard <= e->dropped);
    CU_ASSERT(e->dropped < e->sent);
    CU_ASSERT_EQUAL(w->end[1].number, e->sent);
    CU_ASSERT_EQUAL(e->number, w->end[1].sent);
    printf("  %u restarts, %u resets, %" PRIu64 " sent, %" PRIu64 " heard, %" PRIu64 " dropped\n",
           restarts, e->resets, e->sent, heard, e->dropped);
    wire_free(w);
}

static void both_ends_restart_and_always_meet_again(void)
{
    struct wire *w = wire_new(tm_test_seed(), 1400);
    w->numbered = true;
    w->jitter = TM_MS(3); /* longer than some lives: frames of the dead arrive late */
    w->doubled = 300;
    w->lose = 100;
    for (int round = 0; round < 400; round++) {
        wire_boot(w, (int)(wire_random(w) & 1));
        send_some(w, 0);
        send_some(w, 1);
        wire_run_for(w, wire_random(w) % TM_MS(8));
    }
    make_it_smooth(w);
    wire_boot(w, 1);
    send_some(w, 1);
    CU_ASSERT(wire_run_for(w, TM_SECONDS(10)));
    for (int s = 0; s < 2; s++) {
        CU_ASSERT_EQUAL(tm_channel_peer_boot(w->end[s].ch), w->end[!s].boot);
        CU_ASSERT_EQUAL(w->end[s].wrong, 0);
        wire_send(w, s, 100);
    }
    CU_ASSERT(wire_run_for(w, TM_SECONDS(1)));
    CU_ASSERT_EQUAL(w->end[0].number, w->end[1].sent);
    CU_ASSERT_EQUAL(w->end[1].number, w->end[0].sent);
    wire_free(w);
}

/* Frames of a real conversation with fields changed at random and the checksum made right again:
 * whatever they say, memory stays bounded and whole (run under the sanitizers). */
static void mutated_frames_do_no_harm(void)
{
    struct wire *w = wire_new(tm_test_seed(), 1400);
    w->keep = true;
    w->end[0].raw = w->end[1].raw = true;
    for (int round = 0; round < 300; round++) {
        send_some(w, 0);
        wire_run_for(w, TM_US(100));
    }
    w->keep = false;
    for (int round = 0; round < 20000; round++) {
        static union {
            struct tm_frame_head head;
            uint8_t bytes[2048];
        } f;
        struct packet *p = &w->kept[wire_random(w) % w->kept_count];
        memcpy(f.bytes, p->data, p->len);
        size_t at = offsetof(struct tm_frame_head, sent_us) + wire_random(w) % (p->len - 44);
        size_t head_len = TM_FRAME_HEAD + 8u * f.head.sack_words;
        f.bytes[at] = (uint8_t)(wire_random(w) >> (wire_random(w) % 8));
        f.head.src_boot = w->end[!p->to].boot;
        f.head.dst_boot = w->end[p->to].boot;
        tm_frame_seal(&f.head, tm_bytes_of(f.bytes + head_len, p->len - head_len));
        tm_channel_input(w->end[p->to].ch, f.bytes, p->len, w->now);
        if (round % 100 == 0)
            wire_run_for(w, TM_US(50));
        if (round % 1000 == 0)
            wire_boot(w, round / 1000 & 1);
    }
    w->end[0].raw = w->end[1].raw = false;
    wire_boot(w, 0);
    wire_boot(w, 1);
    wire_send(w, 0, 100);
    CU_ASSERT(wire_run_for(w, TM_SECONDS(5)));
    CU_ASSERT_EQUAL(w->end[1].received, 1);
    wire_free(w);
}

static const struct tm_test tests[] = {
    TM_TEST(every_message_arrives_once_and_in_order),
    TM_TEST(restarts_lose_only_what_is_reported),
    TM_TEST(both_ends_restart_and_always_meet_again),
    TM_TEST(mutated_frames_do_no_harm),
};
TM_TEST_MAIN("net/channel_soak", tests)
