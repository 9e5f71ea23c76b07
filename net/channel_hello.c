/* channel_hello.c: how two processes come to know each other.
 *
 *     HELLO(nonce a)  ->                       I am; who are you?
 *                     <-  WELCOME(b, echo a)   accepted; prove that you live
 *     CONFIRM(echo b) ->                       the asker is up already, now the answerer is
 *
 * Both may ask at once.  A process is adopted only by an answer to a nonce of the present round, so
 * that a delayed frame of a dead process never replaces a living one.  A lost CONFIRM heals
 * itself: the answerer asks in turn if none comes, or as soon as data come of a process that it
 * does not know.  (Until then it would send to the process before, in vain.)  A refused process
 * asks again every second, for the reason may go away. */
#include "net/channel_internal.h"

void tm_channel_hello_round(struct tm_channel *ch, uint64_t at)
{
    struct hello *h = &ch->hello;
    if (h->asked == 0)
        h->asked = ++h->counter;
    h->at = at;
    h->pause = HELLO_FIRST_NS;
}

/* Somebody is there: ask soon, if a round is under way. */
static void ask_within(struct hello *h, uint64_t at)
{
    if (h->asked == 0)
        return;
    h->at = tm_min_u64(h->at, at);
    h->pause = HELLO_FIRST_NS;
}

void tm_channel_hello_stale(struct tm_channel *ch, uint64_t now)
{
    if (ch->hello.asked == 0)
        tm_channel_hello_round(ch, now);
    ask_within(&ch->hello, now + TM_MS(1));
}

void tm_channel_ask(struct tm_channel *ch, uint64_t now)
{
    if (ch->hello.asked == 0)
        tm_channel_hello_round(ch, now);
}

/* Asks the owner; false: refused, and that will be told to the process. */
static bool accepted(struct tm_channel *ch, const struct tm_frame_head *head, struct tm_bytes blob)
{
    ch->busy = true;
    const char *reason = ch->cfg.sink.accept(ch->cfg.sink.host, ch, blob);
    ch->busy = false;
    if (reason == NULL)
        return true;
    struct hello *h = &ch->hello;
    size_t len = strnlen(reason, TM_CHANNEL_REASON_MAX - 1);
    memcpy(h->refuse_reason, reason, len);
    h->refuse_reason[len] = 0;
    h->refuse_boot = head->src_boot;
    h->refuse_nonce = head->seq;
    ch->stats.refusals++;
    return false;
}

/* The only way in which peer_boot changes. */
static void adopt(struct tm_channel *ch, uint64_t boot, uint64_t credit, struct tm_bytes blob)
{
    TM_ASSERT(boot != 0 && boot != ch->peer_boot);
    bool replaced = ch->peer_boot != 0;
    uint64_t dropped = replaced ? ch->tx.messages : 0;
    if (replaced) {
        tm_channel_send_start(ch);
        tm_channel_recv_start(ch);
        ch->stats.resets++;
        ch->stats.dropped += dropped;
    }
    ch->peer_boot = boot;
    ch->broken = false;
    ch->tx.credit = credit;
    ch->hello.asked = 0;
    ch->hello.at = NEVER;
    ch->hello.candidate = 0;
    ch->hello.welcome_due = false;
    ch->busy = true;
    if (replaced)
        ch->cfg.sink.reset(ch->cfg.sink.host, ch, dropped);
    ch->cfg.sink.up(ch->cfg.sink.host, ch, boot, blob);
    ch->busy = false;
}

static void on_hello(struct tm_channel *ch, const struct tm_frame_head *head, struct tm_bytes blob,
                     uint64_t now)
{
    struct hello *h = &ch->hello;
    if (head->src_boot == ch->cfg.boot) {
        ch->stats.stale++;
        return;
    }
    if (head->src_boot != ch->peer_boot && !accepted(ch, head, blob))
        return;
    if (h->candidate != head->src_boot) {
        h->candidate = head->src_boot;
        h->challenge = ++h->counter;
    }
    h->blob_len = (uint16_t)blob.len;
    memcpy(h->blob, blob.data, blob.len);
    h->answer_to = head->seq;
    h->welcome_due = true;
    if (head->src_boot != ch->peer_boot && h->asked == 0)
        tm_channel_hello_round(ch, now + HELLO_FIRST_NS);
    ask_within(h, now + HELLO_FIRST_NS);
}

static void on_welcome(struct tm_channel *ch, const struct tm_frame_head *head,
                       struct tm_bytes blob, uint64_t now)
{
    struct hello *h = &ch->hello;
    if (head->src_boot == ch->peer_boot) {
        if (head->offset == h->asked) {
            h->asked = 0;
            h->at = NEVER;
        }
    } else if (h->asked == 0 || head->offset != h->asked) {
        ch->stats.stale++;
        return;
    } else if (accepted(ch, head, blob)) {
        adopt(ch, head->src_boot, head->credit, blob);
    } else {
        h->at = now + REFUSED_NS;
        return;
    }
    h->confirm_boot = head->src_boot;
    h->confirm_nonce = head->seq;
}

static void on_confirm(struct tm_channel *ch, const struct tm_frame_head *head)
{
    struct hello *h = &ch->hello;
    if (head->src_boot == ch->peer_boot) /* both had asked: its welcome was faster */
        return;
    if (head->src_boot != h->candidate || head->offset != h->challenge) {
        ch->stats.stale++;
        return;
    }
    adopt(ch, head->src_boot, head->credit, tm_bytes_of(h->blob, h->blob_len));
}

static void on_refuse(struct tm_channel *ch, const struct tm_frame_head *head, struct tm_bytes text,
                      uint64_t now)
{
    struct hello *h = &ch->hello;
    bool of_now = (h->asked != 0 && head->offset == h->asked) ||
                  (h->candidate == head->src_boot && head->offset == h->challenge);
    if (!of_now) {
        ch->stats.stale++;
        return;
    }
    char reason[TM_CHANNEL_REASON_MAX];
    size_t len = tm_min_u64(text.len, sizeof reason - 1);
    for (size_t i = 0; i < len; i++)
        reason[i] = text.data[i] >= 0x20 && text.data[i] < 0x7f ? (char)text.data[i] : '?';
    reason[len] = 0;
    if (h->asked != 0)
        h->at = now + REFUSED_NS;
    h->candidate = 0;
    ch->stats.refusals++;
    ch->busy = true;
    ch->cfg.sink.refused(ch->cfg.sink.host, ch, reason);
    ch->busy = false;
}

void tm_channel_hello_input(struct tm_channel *ch, const struct tm_frame_head *head,
                            struct tm_bytes payload, uint64_t now)
{
    if (head->kind != TM_FRAME_HELLO && head->dst_boot != ch->cfg.boot)
        ch->stats.stale++;
    else if (head->kind == TM_FRAME_HELLO)
        on_hello(ch, head, payload, now);
    else if (head->kind == TM_FRAME_WELCOME)
        on_welcome(ch, head, payload, now);
    else if (head->kind == TM_FRAME_CONFIRM)
        on_confirm(ch, head);
    else
        on_refuse(ch, head, payload, now);
}

static bool emit_hello(struct tm_channel *ch, enum tm_frame_kind kind, uint64_t dst, uint64_t nonce,
                       uint64_t echo, struct tm_bytes payload, uint64_t now)
{
    struct tm_frame_head head;
    tm_channel_head(ch, &head, kind, dst, now);
    head.seq = nonce;
    head.offset = echo;
    return tm_channel_emit(ch, &head, payload, now);
}

static bool flush_answers(struct tm_channel *ch, uint64_t now)
{
    struct hello *h = &ch->hello;
    if (h->refuse_boot != 0) {
        if (!emit_hello(ch, TM_FRAME_REFUSE, h->refuse_boot, 0, h->refuse_nonce,
                        tm_bytes_str(h->refuse_reason), now))
            return false;
        h->refuse_boot = 0;
    }
    if (h->welcome_due) {
        if (!emit_hello(ch, TM_FRAME_WELCOME, h->candidate, h->challenge, h->answer_to,
                        ch->cfg.hello, now))
            return false;
        h->welcome_due = false;
    }
    if (h->confirm_boot != 0) {
        if (!emit_hello(ch, TM_FRAME_CONFIRM, h->confirm_boot, 0, h->confirm_nonce,
                        tm_bytes_of(NULL, 0), now))
            return false;
        h->confirm_boot = 0;
    }
    return true;
}

bool tm_channel_hello_flush(struct tm_channel *ch, uint64_t now)
{
    struct hello *h = &ch->hello;
    if (!flush_answers(ch, now))
        return false;
    if (now < h->at)
        return true;
    TM_ASSERT(h->asked != 0);
    if (!emit_hello(ch, TM_FRAME_HELLO, 0, h->asked, 0, ch->cfg.hello, now))
        return false;
    h->at = now + h->pause;
    h->pause = tm_min_u64(2 * h->pause, HELLO_LAST_NS);
    return true;
}

bool tm_channel_hello_due(const struct tm_channel *ch)
{
    const struct hello *h = &ch->hello;
    return h->welcome_due || h->confirm_boot != 0 || h->refuse_boot != 0;
}
