/* The rules of a channel, packet by packet. */
#include "channel_wire.h"

static const struct tm_channel_stats *stats(struct wire *w, int side)
{
    return tm_channel_stats(w->end[side].ch);
}

static void hello_shows_each_side_the_other(void)
{
    struct wire *w = wire_up_new(1, 2000);
    for (int s = 0; s < 2; s++) {
        CU_ASSERT_EQUAL(w->end[s].ups, 1);
        CU_ASSERT_EQUAL(w->end[s].resets, 0);
        CU_ASSERT_EQUAL(tm_channel_peer_boot(w->end[s].ch), w->end[!s].boot);
    }
    CU_ASSERT_STRING_EQUAL(w->end[0].hello, "right");
    CU_ASSERT_STRING_EQUAL(w->end[1].hello, "left");
    CU_ASSERT(tm_channel_idle(w->end[0].ch) && tm_channel_idle(w->end[1].ch));
    CU_ASSERT_EQUAL(tm_channel_next_deadline(w->end[0].ch), UINT64_MAX);
    wire_free(w);
}

static void messages_sent_before_up_arrive(void)
{
    struct wire *w = wire_new(1, 2000);
    for (int i = 0; i < 10; i++)
        CU_ASSERT_EQUAL(wire_send(w, 0, 50), TM_OK);
    CU_ASSERT(wire_run_for(w, TM_MS(50)));
    CU_ASSERT_EQUAL(w->end[1].received, 10);
    CU_ASSERT_EQUAL(w->end[1].wrong, 0);
    CU_ASSERT_EQUAL(w->end[1].number, 10);
    wire_free(w);
}

static void a_refused_peer_learns_why_and_gets_in_later(void)
{
    struct wire *w = wire_new(1, 2000);
    w->end[1].refuse = "protocol 3 is too old";
    wire_run_for(w, TM_MS(900));
    CU_ASSERT_EQUAL(w->end[0].ups + w->end[1].ups, 0);
    CU_ASSERT(w->end[0].refusals >= 1 && w->end[0].refusals < 10);
    CU_ASSERT_STRING_EQUAL(w->end[0].reason, "protocol 3 is too old");
    w->end[1].refuse = NULL;
    CU_ASSERT(wire_run_for(w, TM_SECONDS(3)));
    CU_ASSERT(tm_channel_is_up(w->end[0].ch) && tm_channel_is_up(w->end[1].ch));
    wire_free(w);
}

static bool drop_confirms(struct wire *w, int to, const struct tm_frame_head *head)
{
    (void)to;
    return head->kind == TM_FRAME_CONFIRM && w->marks[0]++ < 2;
}

static void a_lost_confirm_heals(void)
{
    struct wire *w = wire_new(1, 2000);
    w->drop = drop_confirms;
    CU_ASSERT_EQUAL(wire_send(w, 0, 50), TM_OK);
    CU_ASSERT(wire_run_for(w, TM_MS(50)));
    CU_ASSERT(w->marks[0] > 0);
    CU_ASSERT(tm_channel_is_up(w->end[0].ch) && tm_channel_is_up(w->end[1].ch));
    CU_ASSERT_EQUAL(w->end[1].received, 1);
    wire_free(w);
}

static void the_messages_of_a_turn_are_one_frame(void)
{
    struct wire *w = wire_up_new(1, 2000);
    uint64_t before = stats(w, 0)->frames_sent;
    for (int i = 0; i < 60; i++)
        CU_ASSERT_EQUAL(wire_send(w, 0, 20), TM_OK);
    wire_turn(w);
    CU_ASSERT_EQUAL(stats(w, 0)->frames_sent - before, 1);
    wire_run_for(w, TM_MS(50));
    CU_ASSERT_EQUAL(w->end[1].received, 60);
    CU_ASSERT_EQUAL(stats(w, 0)->frames_sent - before, 1);
    wire_free(w);
}

static void an_acknowledgement_rides_on_data_of_the_same_turn(void)
{
    struct wire *w = wire_up_new(1, 2000);
    for (int i = 0; i < 40; i++) {
        CU_ASSERT_EQUAL(wire_send(w, i & 1, 100), TM_OK);
        wire_turn(w);
        w->now += w->delay;
        wire_deliver(w);
    }
    CU_ASSERT_EQUAL(stats(w, 0)->acks_sent + stats(w, 1)->acks_sent, 0);
    CU_ASSERT_EQUAL(stats(w, 0)->frames_sent + stats(w, 1)->frames_sent, 40 + 2 * 3);
    CU_ASSERT(wire_run_for(w, TM_MS(50)));
    CU_ASSERT_EQUAL(stats(w, 0)->acks_sent + stats(w, 1)->acks_sent, 1);
    CU_ASSERT_EQUAL(stats(w, 0)->retransmits + stats(w, 1)->retransmits, 0);
    wire_free(w);
}

static void a_lone_acknowledgement_waits_and_then_leaves(void)
{
    struct wire *w = wire_up_new(1, 2000);
    uint64_t start = w->now;
    wire_send(w, 0, 100);
    wire_run(w, start + w->delay + TM_US(900));
    CU_ASSERT_EQUAL(stats(w, 1)->acks_sent, 0);
    CU_ASSERT_FALSE(tm_channel_idle(w->end[1].ch));
    CU_ASSERT_EQUAL(tm_channel_next_deadline(w->end[1].ch), start + w->delay + TM_MS(1));
    CU_ASSERT(wire_run_for(w, TM_MS(5)));
    CU_ASSERT_EQUAL(stats(w, 1)->acks_sent, 1);
    CU_ASSERT(tm_channel_idle(w->end[0].ch) && tm_channel_idle(w->end[1].ch));
    wire_free(w);
}

/* Drops the first emission of the data frames whose numbers are marked. */
static bool drop_marked(struct wire *w, int to, const struct tm_frame_head *head)
{
    for (size_t i = 0; to == 1 && head->seq != 0 && i < TM_ARRAY_LEN(w->marks); i++)
        if (head->kind == TM_FRAME_DATA && w->marks[i] == head->seq) {
            w->marks[i] = 0;
            return true;
        }
    return false;
}

static void each_message_a_frame(struct wire *w, int count)
{
    for (int i = 0; i < count; i++) {
        CU_ASSERT_EQUAL(wire_send(w, 0, 200), TM_OK);
        tm_channel_flush(w->end[0].ch, w->now);
    }
}

static void a_gap_is_filled_without_a_timeout(void)
{
    struct wire *w = wire_up_new(1, 2000);
    w->drop = drop_marked;
    w->marks[0] = 3;
    each_message_a_frame(w, 8);
    uint64_t start = w->now;
    wire_run_for(w, TM_MS(2));
    CU_ASSERT_EQUAL(w->end[1].received, 8);
    CU_ASSERT_EQUAL(w->end[1].wrong, 0);
    CU_ASSERT_EQUAL(stats(w, 0)->fast_retransmits, 1);
    CU_ASSERT_EQUAL(stats(w, 0)->retransmits, 1);
    CU_ASSERT_EQUAL(stats(w, 0)->timeouts, 0);
    CU_ASSERT_EQUAL(stats(w, 1)->reordered, 5);
    CU_ASSERT(w->now - start < TM_MS(5));
    wire_free(w);
}

static void a_frame_lost_twice_is_sent_thrice(void)
{
    struct wire *w = wire_up_new(1, 2000);
    w->drop = drop_marked;
    w->marks[0] = w->marks[1] = 3;
    for (int i = 0; i < 30; i++) {
        each_message_a_frame(w, 1);
        wire_run_for(w, TM_US(30));
    }
    CU_ASSERT_EQUAL(w->end[1].received, 30);
    CU_ASSERT_EQUAL(stats(w, 0)->retransmits, 2);
    CU_ASSERT_EQUAL(stats(w, 0)->timeouts, 0);
    wire_free(w);
}

static void only_the_lost_frames_are_sent_again(void)
{
    struct wire *w = wire_up_new(1, 2000);
    w->drop = drop_marked;
    memcpy(w->marks, (uint64_t[8]){2, 3, 7, 11, 12, 13, 20, 29}, sizeof w->marks);
    each_message_a_frame(w, 40);
    CU_ASSERT(wire_run_for(w, TM_MS(20)));
    CU_ASSERT_EQUAL(w->end[1].received, 40);
    CU_ASSERT_EQUAL(stats(w, 0)->retransmits, 8);
    CU_ASSERT_EQUAL(stats(w, 1)->duplicates, 0);
    wire_free(w);
}

static void the_last_frame_lost_is_sent_at_the_timeout(void)
{
    struct wire *w = wire_up_new(1, 2000);
    each_message_a_frame(w, 4);
    wire_run_for(w, TM_MS(50));
    CU_ASSERT(tm_channel_rtt_ns(w->end[0].ch) > 0);
    w->drop = drop_marked;
    w->marks[0] = 5;
    uint64_t start = w->now;
    each_message_a_frame(w, 1);
    wire_run(w, start + TM_US(4900));
    CU_ASSERT_EQUAL(w->end[1].received, 4);
    wire_run(w, start + TM_US(5100));
    CU_ASSERT_EQUAL(w->end[1].received, 5);
    CU_ASSERT_EQUAL(stats(w, 0)->timeouts, 1);
    wire_free(w);
}

static bool drop_all(struct wire *w, int to, const struct tm_frame_head *head)
{
    (void)w, (void)to, (void)head;
    return true;
}

static void timeouts_back_off_to_the_longest(void)
{
    struct wire *w = wire_up_new(1, 2000);
    w->drop = drop_all;
    each_message_a_frame(w, 1);
    wire_run_for(w, TM_SECONDS(10));
    CU_ASSERT(stats(w, 0)->timeouts >= 45 && stats(w, 0)->timeouts <= 60);
    w->drop = NULL;
    CU_ASSERT(wire_run_for(w, TM_MS(300)));
    CU_ASSERT_EQUAL(w->end[1].received, 1);
    wire_free(w);
}

static void a_good_answer_ends_the_backing_off(void)
{
    struct wire *w = wire_up_new(1, 2000);
    w->drop = drop_all;
    each_message_a_frame(w, 1);
    wire_run_for(w, TM_SECONDS(2));
    w->drop = NULL;
    CU_ASSERT(wire_run_for(w, TM_MS(300)));
    w->drop = drop_marked;
    w->marks[0] = 2;
    uint64_t start = w->now;
    each_message_a_frame(w, 1);
    wire_run(w, start + TM_MS(30));
    CU_ASSERT_EQUAL(w->end[1].received, 2);
    wire_free(w);
}

static uint64_t frames_of_one_flush(struct wire *w)
{
    uint64_t before = stats(w, 0)->frames_sent;
    for (int i = 0; i < 300; i++)
        CU_ASSERT_EQUAL(wire_send(w, 0, 1800), TM_OK);
    tm_channel_flush(w->end[0].ch, w->now);
    return stats(w, 0)->frames_sent - before;
}

static void losses_halve_what_may_fly(void)
{
    struct wire *w = wire_up_new(1, 2000);
    each_message_a_frame(w, 40);
    CU_ASSERT(wire_run_for(w, TM_MS(20)));
    CU_ASSERT_EQUAL(frames_of_one_flush(w), 64 + 40);
    CU_ASSERT(wire_run_for(w, TM_SECONDS(1)));
    wire_free(w);

    w = wire_up_new(1, 2000);
    w->drop = drop_marked;
    memcpy(w->marks, (uint64_t[8]){2, 12, 22, 32}, sizeof w->marks);
    for (int i = 0; i < 40; i++) { /* so that each loss is found by itself */
        w->delay += TM_US(1);
        each_message_a_frame(w, 1);
    }
    CU_ASSERT(wire_run_for(w, TM_MS(20)));
    uint64_t now = frames_of_one_flush(w);
    CU_ASSERT(now >= 32 && now < 64); /* once, though four were lost */
    CU_ASSERT(wire_run_for(w, TM_SECONDS(1)));
    CU_ASSERT_EQUAL(w->end[1].received, 340);
    wire_free(w);
}

static bool drop_first(struct wire *w, int to, const struct tm_frame_head *head)
{
    (void)w;
    return to == 1 && head->kind == TM_FRAME_DATA && head->seq == 1;
}

static void a_missing_frame_holds_the_window(void)
{
    struct wire *w = wire_up_new(1, 2000);
    w->drop = drop_first;
    for (int i = 0; i < 3000; i++) {
        each_message_a_frame(w, 1);
        if (i % 10 == 0)
            wire_run_for(w, TM_US(30));
    }
    wire_run_for(w, TM_MS(300));
    CU_ASSERT_EQUAL(w->end[1].received, 0);
    CU_ASSERT_EQUAL(tm_channel_sent_seq(w->end[0].ch), TM_FRAME_WINDOW);
    CU_ASSERT_EQUAL(stats(w, 1)->invalid, 0);
    w->drop = NULL;
    CU_ASSERT(wire_run_for(w, TM_SECONDS(1)));
    CU_ASSERT_EQUAL(w->end[1].received, 3000);
    CU_ASSERT_EQUAL(w->end[1].wrong, 0);
    wire_free(w);
}

static void a_timeout_asks_with_few_frames(void)
{
    struct wire *w = wire_up_new(1, 2000);
    w->drop = drop_all;
    each_message_a_frame(w, 50);
    uint64_t before = stats(w, 0)->frames_sent;
    wire_run_for(w, TM_MS(21));
    CU_ASSERT_EQUAL(stats(w, 0)->timeouts, 1);
    CU_ASSERT_EQUAL(stats(w, 0)->frames_sent - before, 4);
    wire_free(w);
}

static void a_quarter_of_the_window_is_acknowledged_at_once(void)
{
    struct wire *w = wire_new(1, 9000);
    w->recv_window = 128 << 10;
    wire_boot(w, 1);
    CU_ASSERT(wire_run_for(w, TM_MS(100)));
    uint64_t start = w->now;
    for (int i = 0; i < 5; i++)
        wire_send(w, 0, 8000);
    wire_run(w, start + TM_US(100));
    CU_ASSERT_EQUAL(stats(w, 1)->acks_sent, 1);
    CU_ASSERT_EQUAL(tm_channel_queued(w->end[0].ch), 0);
    wire_free(w);
}

static void overtaking_by_two_is_no_loss(void)
{
    struct wire *w = wire_up_new(1, 2000);
    for (int i = 0; i < 9; i += 3) {
        /* 3 2 1, 6 5 4, 9 8 7 */
        for (int k = 3; k > 0; k--) {
            w->delay = TM_US(10) + TM_US(k);
            each_message_a_frame(w, 1);
        }
        wire_run_for(w, TM_US(100));
    }
    CU_ASSERT(wire_run_for(w, TM_MS(20)));
    CU_ASSERT_EQUAL(w->end[1].received, 9);
    CU_ASSERT_EQUAL(w->end[1].wrong, 0);
    CU_ASSERT_EQUAL(stats(w, 1)->reordered, 6);
    CU_ASSERT_EQUAL(stats(w, 0)->retransmits, 0);
    wire_free(w);
}

static void a_doubled_frame_is_delivered_once(void)
{
    struct wire *w = wire_up_new(1, 2000);
    w->doubled = 1000;
    each_message_a_frame(w, 30);
    CU_ASSERT(wire_run_for(w, TM_MS(50)));
    CU_ASSERT_EQUAL(w->end[1].received, 30);
    CU_ASSERT_EQUAL(w->end[1].wrong, 0);
    CU_ASSERT(stats(w, 1)->duplicates >= 30);
    wire_free(w);
}

static void a_corrupt_frame_is_counted_and_replaced(void)
{
    struct wire *w = wire_up_new(1, 2000);
    w->corrupt = 300;
    each_message_a_frame(w, 60);
    CU_ASSERT(wire_run_for(w, TM_SECONDS(5)));
    CU_ASSERT_EQUAL(w->end[1].received, 60);
    CU_ASSERT_EQUAL(w->end[1].wrong, 0);
    CU_ASSERT(stats(w, 1)->corrupt > 0);
    wire_free(w);
}

static void strangers_are_dropped_and_counted(void)
{
    struct wire *w = wire_up_new(1, 2000);
    struct {
        uint64_t cluster;
        uint8_t src_worker, dst_worker;
    } odd[] = {{WIRE_CLUSTER + 1, 3, 4}, {WIRE_CLUSTER, 5, 4}, {WIRE_CLUSTER, 3, 5}};
    for (size_t i = 0; i < 3; i++) {
        struct tm_frame_head head = {.kind = TM_FRAME_HELLO,
                                     .cluster = odd[i].cluster,
                                     .src_boot = 99,
                                     .src_node = 10,
                                     .src_worker = odd[i].src_worker,
                                     .dst_node = 11,
                                     .dst_worker = odd[i].dst_worker,
                                     .seq = 1};
        tm_frame_seal(&head, tm_bytes_of(NULL, 0));
        tm_channel_input(w->end[1].ch, (uint8_t *)&head, sizeof head, w->now);
    }
    CU_ASSERT_EQUAL(stats(w, 1)->foreign, 1);
    CU_ASSERT_EQUAL(stats(w, 1)->misrouted, 2);
    CU_ASSERT_FALSE(tm_channel_pending(w->end[1].ch));
    wire_free(w);
}

static void a_full_window_is_answered_and_then_writable(void)
{
    struct wire *w = wire_new(1, 2000);
    w->send_window = 64 << 10;
    wire_boot(w, 0);
    unsigned sent = 0;
    while (wire_send(w, 0, 1000) == TM_OK)
        sent++;
    CU_ASSERT_EQUAL(sent, ((64 << 10) + 1003) / 1004);
    CU_ASSERT_EQUAL(wire_send(w, 0, 1), TM_ERR_FULL);
    CU_ASSERT_EQUAL(stats(w, 0)->full, 2);
    CU_ASSERT_EQUAL(w->end[0].writables, 0);
    CU_ASSERT(wire_run_for(w, TM_SECONDS(1)));
    CU_ASSERT_EQUAL(w->end[0].writables, 1);
    CU_ASSERT_EQUAL(w->end[1].received, sent);
    CU_ASSERT_EQUAL(wire_send(w, 0, 1000), TM_OK);
    wire_free(w);
}

static void one_byte_and_sixteen_mib_arrive_whole(void)
{
    struct wire *w = wire_up_new(1, 9000);
    CU_ASSERT_EQUAL(wire_send(w, 0, 1), TM_OK);
    CU_ASSERT_EQUAL(wire_send(w, 0, TM_CHANNEL_MESSAGE_MAX), TM_OK);
    CU_ASSERT_EQUAL(wire_send(w, 0, 1), TM_ERR_FULL);
    CU_ASSERT(wire_run_for(w, TM_SECONDS(5)));
    CU_ASSERT_EQUAL(wire_send(w, 0, 1), TM_OK);
    CU_ASSERT_EQUAL(wire_send(w, 0, TM_CHANNEL_MESSAGE_MAX + 1), TM_ERR_TOOBIG);
    CU_ASSERT_EQUAL(wire_send(w, 0, 0), TM_ERR_INVALID);
    CU_ASSERT(wire_run_for(w, TM_SECONDS(5)));
    CU_ASSERT_EQUAL(w->end[1].received, 3);
    CU_ASSERT_EQUAL(w->end[1].bytes, TM_CHANNEL_MESSAGE_MAX + 2);
    CU_ASSERT_EQUAL(w->end[1].wrong, 0);
    CU_ASSERT_EQUAL(stats(w, 0)->retransmits, 0);
    tm_channel_trim(w->end[0].ch);
    tm_channel_trim(w->end[1].ch);
    wire_send(w, 0, 3000);
    CU_ASSERT(wire_run_for(w, TM_SECONDS(1)));
    CU_ASSERT_EQUAL(w->end[1].received, 4);
    CU_ASSERT_EQUAL(w->end[1].wrong, 0);
    wire_free(w);
}

static void a_message_within_a_frame_is_not_copied(void)
{
    struct wire *w = wire_up_new(1, 2000);
    for (int i = 0; i < 100; i++)
        wire_send(w, 0, 300);
    tm_channel_flush(w->end[0].ch, w->now);
    /* In order, and 300 bytes do not divide a frame evenly: still each lies within its frame. */
    for (size_t i = 0; i < w->count; i++) {
        struct packet *p = &w->packets[i];
        tm_channel_input(w->end[1].ch, p->data, p->len, w->now);
        CU_ASSERT(w->end[1].last > p->data && w->end[1].last + 300 <= p->data + p->len);
    }
    CU_ASSERT_EQUAL(w->end[1].received, 100);
    wire_free(w);
}

static void an_owner_that_takes_nothing_stops_the_peer(void)
{
    struct wire *w = wire_new(1, 2000);
    w->send_window = 1 << 20;
    w->recv_window = 128 << 10;
    wire_boot(w, 0);
    wire_boot(w, 1);
    w->end[1].deaf = true;
    unsigned sent = 0;
    while (wire_send(w, 0, 1000) == TM_OK)
        sent++;
    wire_run_for(w, TM_SECONDS(2));
    CU_ASSERT_EQUAL(w->end[1].received, 0);
    uint64_t on_the_way = (1 << 20) + 1004 - tm_channel_queued(w->end[0].ch);
    CU_ASSERT(on_the_way <= (128 << 10) + 1004 && on_the_way >= 120 << 10);
    CU_ASSERT_FALSE(tm_channel_idle(w->end[1].ch));
    CU_ASSERT_EQUAL(stats(w, 1)->invalid, 0);
    w->end[1].deaf = false;
    tm_channel_resume(w->end[1].ch);
    CU_ASSERT(w->end[1].received >= 120);
    CU_ASSERT(wire_run_for(w, TM_SECONDS(2)));
    CU_ASSERT_EQUAL(w->end[1].received, sent);
    CU_ASSERT_EQUAL(w->end[1].wrong, 0);
    wire_free(w);
}

static bool drop_acks_once(struct wire *w, int to, const struct tm_frame_head *head)
{
    return to == 0 && head->kind == TM_FRAME_DATA && w->marks[0]++ == 0;
}

static void a_lost_credit_is_asked_for(void)
{
    struct wire *w = wire_new(1, 2000);
    w->recv_window = 128 << 10;
    wire_boot(w, 1);
    w->end[1].deaf = true;
    for (unsigned i = 0; i < 200; i++)
        wire_send(w, 0, 1000);
    wire_run_for(w, TM_SECONDS(1));
    w->end[1].deaf = false;
    w->drop = drop_acks_once;
    tm_channel_resume(w->end[1].ch);
    CU_ASSERT(wire_run_for(w, TM_SECONDS(2)));
    CU_ASSERT(w->marks[0] > 1);
    CU_ASSERT_EQUAL(w->end[1].received, 200);
    wire_free(w);
}

static void a_restarted_receiver_is_a_new_one(void)
{
    struct wire *w = wire_up_new(1, 2000);
    each_message_a_frame(w, 5);
    CU_ASSERT(wire_run_for(w, TM_MS(50)));
    uint64_t old = w->end[1].boot;
    w->drop = drop_all;
    each_message_a_frame(w, 7);
    w->drop = NULL;
    wire_boot(w, 1);
    CU_ASSERT(wire_run_for(w, TM_SECONDS(1)));
    CU_ASSERT_EQUAL(w->end[0].resets, 1);
    CU_ASSERT_EQUAL(w->end[0].dropped, 7);
    CU_ASSERT_EQUAL(stats(w, 0)->dropped, 7);
    CU_ASSERT_EQUAL(w->end[0].ups, 2);
    CU_ASSERT_NOT_EQUAL(tm_channel_peer_boot(w->end[0].ch), old);
    CU_ASSERT_EQUAL(w->end[1].resets, 0);
    CU_ASSERT_EQUAL(w->end[1].received, 0);
    CU_ASSERT_EQUAL(tm_channel_sent_seq(w->end[0].ch), 0);
    each_message_a_frame(w, 3);
    CU_ASSERT(wire_run_for(w, TM_MS(50)));
    CU_ASSERT_EQUAL(w->end[1].received, 3);
    CU_ASSERT_EQUAL(tm_channel_received_seq(w->end[1].ch), 3);
    wire_free(w);
}

/* Also where neither says anything for a while: what is sent next is not for the process before. */
static void a_restarted_peer_is_known_though_its_confirm_was_lost(void)
{
    struct wire *w = wire_up_new(1, 2000);
    wire_boot(w, 1);
    w->marks[0] = 1; /* one is lost */
    w->drop = drop_confirms;
    wire_run_for(w, TM_MS(100));
    CU_ASSERT(w->marks[0] >= 2);
    w->drop = NULL;
    CU_ASSERT_EQUAL(w->end[0].resets, 1);
    each_message_a_frame(w, 1);
    CU_ASSERT(wire_run_for(w, TM_MS(50)));
    CU_ASSERT_EQUAL(w->end[0].dropped, 0);
    CU_ASSERT_EQUAL(w->end[1].received, 1);
    wire_free(w);
}

/* Hellos of the right side, and the first of the left. */
static bool drop_hellos(struct wire *w, int to, const struct tm_frame_head *head)
{
    return head->kind == TM_FRAME_HELLO && (to == 0 || w->marks[0]++ == 0);
}

static void a_process_that_is_asked_for_need_not_say_a_word(void)
{
    struct wire *w = wire_up_new(1, 2000);
    tm_channel_ask(w->end[0].ch, w->now);
    CU_ASSERT(wire_run_for(w, TM_MS(50)));
    CU_ASSERT_EQUAL(w->end[0].ups + w->end[1].ups, 2); /* still the same */
    CU_ASSERT_EQUAL(tm_channel_next_deadline(w->end[0].ch), UINT64_MAX);
    w->drop = drop_hellos;
    wire_boot(w, 1);
    wire_run_for(w, TM_MS(100));
    CU_ASSERT_EQUAL(w->end[0].resets, 0);
    tm_channel_ask(w->end[0].ch, w->now);
    wire_run_for(w, TM_MS(100));
    CU_ASSERT(w->marks[0] >= 2);
    CU_ASSERT_EQUAL(w->end[0].resets, 1);
    CU_ASSERT_EQUAL(tm_channel_peer_boot(w->end[0].ch), w->end[1].boot);
    CU_ASSERT_EQUAL(tm_channel_peer_boot(w->end[1].ch), w->end[0].boot);
    wire_free(w);
}

static void a_restart_amid_a_large_message_leaves_no_half_of_it(void)
{
    struct wire *w = wire_up_new(1, 2000);
    wire_send(w, 0, 1 << 20);
    wire_run_for(w, TM_US(15));
    CU_ASSERT(tm_channel_received_seq(w->end[1].ch) > 10);
    wire_boot(w, 0);
    wire_send(w, 0, 5000);
    CU_ASSERT(wire_run_for(w, TM_SECONDS(1)));
    CU_ASSERT_EQUAL(w->end[1].resets, 1);
    CU_ASSERT_EQUAL(w->end[1].received, 1);
    CU_ASSERT_EQUAL(w->end[1].wrong, 0);
    wire_free(w);
}

static void both_restarted_find_each_other(void)
{
    struct wire *w = wire_up_new(1, 2000);
    each_message_a_frame(w, 5);
    wire_turn(w);
    wire_boot(w, 0);
    wire_boot(w, 1);
    wire_send(w, 0, 100);
    wire_send(w, 1, 100);
    CU_ASSERT(wire_run_for(w, TM_SECONDS(1)));
    CU_ASSERT_EQUAL(w->end[0].received + w->end[1].received, 2);
    CU_ASSERT_EQUAL(w->end[0].resets + w->end[1].resets, 0);
    wire_free(w);
}

static void late_frames_of_a_dead_process_replace_nobody(void)
{
    struct wire *w = wire_new(1, 2000);
    w->keep = true;
    each_message_a_frame(w, 5);
    CU_ASSERT(wire_run_for(w, TM_MS(100)));
    wire_boot(w, 0);
    CU_ASSERT(wire_run_for(w, TM_MS(100)));
    wire_boot(w, 1);
    CU_ASSERT(wire_run_for(w, TM_MS(100)));
    uint64_t boots[2] = {w->end[0].boot, w->end[1].boot};
    unsigned ups = w->end[0].ups + w->end[1].ups;
    uint64_t received = w->end[0].received + w->end[1].received;
    w->keep = false;
    for (size_t i = 0; i < w->kept_count; i++) {
        tm_channel_input(w->end[w->kept[i].to].ch, w->kept[i].data, w->kept[i].len, w->now);
        wire_run_for(w, TM_MS(2));
    }
    CU_ASSERT(wire_run_for(w, TM_SECONDS(2)));
    CU_ASSERT_EQUAL(tm_channel_peer_boot(w->end[0].ch), boots[1]);
    CU_ASSERT_EQUAL(tm_channel_peer_boot(w->end[1].ch), boots[0]);
    CU_ASSERT_EQUAL(w->end[0].ups + w->end[1].ups, ups);
    CU_ASSERT_EQUAL(w->end[0].received + w->end[1].received, received);
    wire_send(w, 0, 10);
    CU_ASSERT(wire_run_for(w, TM_MS(100)));
    CU_ASSERT_EQUAL(w->end[1].received, 1);
    wire_free(w);
}

/* Hands all frames kept for end 0 to it at once, before any answer could come. */
static void replay_to_left(struct wire *w, bool backwards)
{
    for (size_t i = 0; i < w->kept_count; i++) {
        struct packet *p = &w->kept[backwards ? w->kept_count - 1 - i : i];
        if (p->to == 0)
            tm_channel_input(w->end[0].ch, p->data, p->len, w->now);
    }
}

static void only_an_answer_to_the_present_question_is_believed(void)
{
    struct wire *w = wire_new(1, 2000);
    w->keep = true;
    CU_ASSERT(wire_run_for(w, TM_MS(100)));
    wire_send(w, 1, 50);
    CU_ASSERT(wire_run_for(w, TM_MS(100)));
    w->keep = false;
    wire_boot(w, 1); /* the left one lives on: the kept frames name it rightly */
    CU_ASSERT(wire_run_for(w, TM_MS(100)));
    uint64_t living = w->end[1].boot;
    CU_ASSERT_EQUAL(w->end[0].ups, 2);
    for (int i = 0; i < 6; i++) {
        replay_to_left(w, i & 1);
        tm_channel_flush(w->end[0].ch, w->now); /* asks; before the answer is there: */
        replay_to_left(w, i & 1);
        CU_ASSERT_EQUAL(tm_channel_peer_boot(w->end[0].ch), living);
        wire_run_for(w, TM_MS(i));
    }
    CU_ASSERT_EQUAL(w->end[0].ups, 2);
    CU_ASSERT_EQUAL(w->end[0].received, 1);
    wire_free(w);
}

static void an_old_acknowledgement_takes_no_credit_back(void)
{
    struct wire *w = wire_new(1, 2000);
    w->recv_window = 128 << 10;
    wire_boot(w, 1);
    CU_ASSERT(wire_run_for(w, TM_MS(100)));
    w->keep = true;
    for (int i = 0; i < 100; i++)
        wire_send(w, 0, 1000);
    CU_ASSERT(wire_run_for(w, TM_MS(100)));
    w->keep = false;
    w->end[1].deaf = true;
    for (int i = 0; i < 1000; i++) {
        wire_send(w, 0, 1000);
        replay_to_left(w, true);
        wire_run_for(w, TM_US(20));
    }
    CU_ASSERT_EQUAL(stats(w, 1)->invalid, 0);
    w->end[1].deaf = false;
    tm_channel_resume(w->end[1].ch);
    CU_ASSERT(wire_run_for(w, TM_SECONDS(1)));
    CU_ASSERT_EQUAL(w->end[1].received, 1100);
    wire_free(w);
}

static void a_new_process_gets_the_credits_of_a_new_one(void)
{
    struct wire *w = wire_new(1, 2000);
    w->recv_window = 128 << 10;
    wire_boot(w, 1);
    for (int i = 0; i < 1000; i++)
        wire_send(w, 0, 1000);
    CU_ASSERT(wire_run_for(w, TM_SECONDS(1)));
    wire_boot(w, 0);
    w->end[1].deaf = true;
    for (int i = 0; i < 1000; i++)
        wire_send(w, 0, 1000);
    wire_run_for(w, TM_SECONDS(1));
    CU_ASSERT_EQUAL(stats(w, 1)->invalid, 0);
    w->end[1].deaf = false;
    tm_channel_resume(w->end[1].ch);
    CU_ASSERT(wire_run_for(w, TM_SECONDS(1)));
    CU_ASSERT_EQUAL(w->end[1].received, 2000);
    wire_free(w);
}

static void a_peer_known_to_be_down_is_left_alone(void)
{
    struct wire *w = wire_up_new(1, 2000);
    w->drop = drop_all;
    each_message_a_frame(w, 3);
    uint64_t before = stats(w, 0)->frames_sent;
    tm_channel_peer_down(w->end[0].ch, w->now);
    wire_run_for(w, TM_MS(240));
    CU_ASSERT_EQUAL(stats(w, 0)->frames_sent, before);
    w->drop = NULL;
    tm_channel_peer_up(w->end[0].ch, w->now);
    wire_run_for(w, TM_US(20));
    CU_ASSERT_EQUAL(w->end[1].received, 3);
    wire_free(w);
}

static void a_full_fabric_is_tried_again(void)
{
    struct wire *w = wire_up_new(1, 2000);
    w->end[0].emit_err = TM_ERR_FULL;
    wire_send(w, 0, 100);
    wire_turn(w);
    CU_ASSERT_EQUAL(tm_channel_next_deadline(w->end[0].ch), w->now + TM_US(100));
    CU_ASSERT_EQUAL(tm_channel_sent_seq(w->end[0].ch), 0);
    wire_run_for(w, TM_MS(3));
    w->end[0].emit_err = TM_OK;
    CU_ASSERT(wire_run_for(w, TM_MS(20)));
    CU_ASSERT_EQUAL(w->end[1].received, 1);
    CU_ASSERT_EQUAL(stats(w, 0)->retransmits, 0);
    wire_free(w);
}

static void a_dead_peer_at_rest_costs_nothing(void)
{
    struct wire *w = wire_up_new(1, 2000);
    each_message_a_frame(w, 1);
    w->now += w->delay;
    wire_deliver(w);
    w->end[1].emit_err = TM_ERR_CLOSED; /* it owes an acknowledgement */
    w->now += TM_MS(1);
    tm_channel_flush(w->end[1].ch, w->now);
    CU_ASSERT_EQUAL(tm_channel_next_deadline(w->end[1].ch), UINT64_MAX);
    wire_free(w);
}

static void the_round_trip_excludes_the_time_held(void)
{
    struct wire *w = wire_up_new(1, 2000);
    w->delay = TM_US(70);
    for (int i = 0; i < 20; i++) {
        wire_send(w, 0, 100);
        CU_ASSERT(wire_run_for(w, TM_MS(10)));
    }
    /* Each was acknowledged after a whole millisecond. */
    CU_ASSERT_EQUAL(stats(w, 1)->acks_sent, 20);
    CU_ASSERT(tm_channel_rtt_ns(w->end[0].ch) >= TM_US(139));
    CU_ASSERT(tm_channel_rtt_ns(w->end[0].ch) <= TM_US(142));
    wire_free(w);
}

/* A well-formed frame as the peer of end 1 could make it; all the rest is up to the caller. */
static void forge(struct wire *w, struct tm_frame_head head, struct tm_bytes payload)
{
    uint8_t frame[4096];
    head.cluster = WIRE_CLUSTER;
    head.src_boot = w->end[0].boot;
    head.dst_boot = w->end[1].boot;
    head.src_node = 10;
    head.dst_node = 11;
    head.src_worker = 3;
    head.dst_worker = 4;
    head.kind = TM_FRAME_DATA;
    tm_frame_seal(&head, payload);
    memcpy(frame, &head, sizeof head);
    if (payload.len > 0)
        memcpy(frame + sizeof head, payload.data, payload.len);
    tm_channel_input(w->end[1].ch, frame, sizeof head + payload.len, w->now);
}

static void frames_that_break_the_rules_do_no_harm(void)
{
    struct wire *w = wire_up_new(1, 2000);
    uint8_t junk[8] = {4, 0, 0, 0, 1, 2, 3, 4};
    struct tm_bytes payload = tm_bytes_of(junk, sizeof junk);
    struct tm_frame_head bad[] = {
        {.seq = 1, .offset = 1, .ack = 1},          /* not where the stream goes on */
        {.seq = 2, .offset = UINT64_MAX, .ack = 1}, /* overflow */
        {.seq = 2, .offset = 4 << 20, .ack = 1},    /* beyond the credit */
        {.seq = 1 + TM_FRAME_WINDOW, .offset = 9, .ack = 1},
        {.seq = UINT64_MAX, .offset = 9, .ack = 1},
    };
    for (size_t i = 0; i < TM_ARRAY_LEN(bad); i++) {
        forge(w, bad[i], payload);
        CU_ASSERT_EQUAL(stats(w, 1)->invalid, i + 1);
    }
    forge(w, (struct tm_frame_head){.ack = 2}, tm_bytes_of(NULL, 0)); /* of what was never sent */
    CU_ASSERT_EQUAL(stats(w, 1)->invalid, TM_ARRAY_LEN(bad) + 1);
    CU_ASSERT_EQUAL(w->end[1].received, 0);
    each_message_a_frame(w, 5);
    CU_ASSERT(wire_run_for(w, TM_MS(50)));
    CU_ASSERT_EQUAL(w->end[1].received, 5);
    wire_free(w);
}

static void a_broken_peer_is_heard_again_after_its_restart(void)
{
    struct wire *w = wire_up_new(1, 2000);
    uint8_t junk[8] = {0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4};
    forge(w, (struct tm_frame_head){.seq = 1, .ack = 1}, tm_bytes_of(junk, sizeof junk));
    CU_ASSERT_EQUAL(w->end[1].refusals, 1);
    CU_ASSERT(strlen(w->end[1].reason) > 10);
    forge(w, (struct tm_frame_head){.seq = 2, .offset = 8, .ack = 1}, tm_bytes_of("\1\0\0\0x", 5));
    CU_ASSERT_EQUAL(w->end[1].received, 0);
    wire_boot(w, 0);
    each_message_a_frame(w, 2);
    CU_ASSERT(wire_run_for(w, TM_SECONDS(1)));
    CU_ASSERT_EQUAL(w->end[1].received, 2);
    wire_free(w);
}

static void frames_that_overlap_break_the_peer(void)
{
    struct wire *w = wire_up_new(1, 2000);
    w->end[1].raw = true;
    /* Read at 5, where the first frame ends, the second would be a good message. */
    forge(w, (struct tm_frame_head){.seq = 2, .offset = 3, .ack = 1},
          tm_bytes_of("xx\1\0\0\0y", 7));
    forge(w, (struct tm_frame_head){.seq = 1, .offset = 0, .ack = 1}, tm_bytes_of("\1\0\0\0x", 5));
    CU_ASSERT_EQUAL(w->end[1].refusals, 1);
    CU_ASSERT(w->end[1].received <= 1);
    wire_free(w);
}

static void configurations_out_of_range_are_refused(void)
{
    struct wire *w = wire_new(1, 2000);
    struct tm_channel *ch = NULL;
    for (int i = 0; i < 7; i++) {
        struct tm_channel_config cfg = wire_config(&w->end[0]);
        cfg.boot = i == 0 ? 0 : cfg.boot;
        cfg.peer_node = i == 1 ? 64 : cfg.peer_node;
        cfg.max_frame = i == 2 ? 1399 : cfg.max_frame;
        cfg.max_frame = i == 3 ? 65536 : cfg.max_frame;
        cfg.send_window = i == 4 ? 1000 : cfg.send_window;
        cfg.recv_window = i == 5 ? 100000 : cfg.recv_window;
        if (i == 6)
            cfg.sink.reset = NULL;
        CU_ASSERT_EQUAL(tm_channel_new(&cfg, &ch), TM_ERR_INVALID);
    }
    CU_ASSERT_PTR_NULL(ch);
    tm_channel_free(NULL);
    wire_free(w);
}

static const struct tm_test tests[] = {
    TM_TEST(hello_shows_each_side_the_other),
    TM_TEST(messages_sent_before_up_arrive),
    TM_TEST(a_refused_peer_learns_why_and_gets_in_later),
    TM_TEST(a_lost_confirm_heals),
    TM_TEST(the_messages_of_a_turn_are_one_frame),
    TM_TEST(an_acknowledgement_rides_on_data_of_the_same_turn),
    TM_TEST(a_lone_acknowledgement_waits_and_then_leaves),
    TM_TEST(a_gap_is_filled_without_a_timeout),
    TM_TEST(a_frame_lost_twice_is_sent_thrice),
    TM_TEST(only_the_lost_frames_are_sent_again),
    TM_TEST(the_last_frame_lost_is_sent_at_the_timeout),
    TM_TEST(timeouts_back_off_to_the_longest),
    TM_TEST(a_good_answer_ends_the_backing_off),
    TM_TEST(losses_halve_what_may_fly),
    TM_TEST(a_missing_frame_holds_the_window),
    TM_TEST(a_timeout_asks_with_few_frames),
    TM_TEST(a_quarter_of_the_window_is_acknowledged_at_once),
    TM_TEST(overtaking_by_two_is_no_loss),
    TM_TEST(a_doubled_frame_is_delivered_once),
    TM_TEST(a_corrupt_frame_is_counted_and_replaced),
    TM_TEST(strangers_are_dropped_and_counted),
    TM_TEST(a_full_window_is_answered_and_then_writable),
    TM_TEST(one_byte_and_sixteen_mib_arrive_whole),
    TM_TEST(a_message_within_a_frame_is_not_copied),
    TM_TEST(an_owner_that_takes_nothing_stops_the_peer),
    TM_TEST(a_lost_credit_is_asked_for),
    TM_TEST(a_restarted_receiver_is_a_new_one),
    TM_TEST(a_restarted_peer_is_known_though_its_confirm_was_lost),
    TM_TEST(a_process_that_is_asked_for_need_not_say_a_word),
    TM_TEST(a_restart_amid_a_large_message_leaves_no_half_of_it),
    TM_TEST(both_restarted_find_each_other),
    TM_TEST(late_frames_of_a_dead_process_replace_nobody),
    TM_TEST(only_an_answer_to_the_present_question_is_believed),
    TM_TEST(an_old_acknowledgement_takes_no_credit_back),
    TM_TEST(a_new_process_gets_the_credits_of_a_new_one),
    TM_TEST(a_peer_known_to_be_down_is_left_alone),
    TM_TEST(a_full_fabric_is_tried_again),
    TM_TEST(a_dead_peer_at_rest_costs_nothing),
    TM_TEST(the_round_trip_excludes_the_time_held),
    TM_TEST(frames_that_break_the_rules_do_no_harm),
    TM_TEST(a_broken_peer_is_heard_again_after_its_restart),
    TM_TEST(frames_that_overlap_break_the_peer),
    TM_TEST(configurations_out_of_range_are_refused),
};
TM_TEST_MAIN("net/channel", tests)
