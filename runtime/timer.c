/* A timer's tick and the present one agree in their high bits; the highest 6-bit digit in which
 * they differ is its level, that digit its slot.  So on each level all timers lie in slots after
 * the present digit, and the slots that time passes on its way hold just what is due or belongs to
 * a lower level by now.  A bit for each slot says which hold timers. */
#include "runtime/timer.h"

enum { IDLE_SLOT = UINT16_MAX, LISTED = UINT16_MAX - 1 };
#define TICK_MAX ((UINT64_C(1) << (TM_TIMER_LEVELS * TM_TIMER_SLOT_BITS)) - 1)
#define DIGIT(tick, level)                                                                         \
    ((unsigned)((tick) >> ((level)*TM_TIMER_SLOT_BITS)) & (TM_TIMER_SLOTS - 1))

static void make_empty(struct tm_timer_link *head)
{
    head->next = head->prev = head;
}

static bool is_empty(const struct tm_timer_link *head)
{
    return head->next == head;
}

static void append(struct tm_timer_link *head, struct tm_timer_link *link)
{
    link->next = head;
    link->prev = head->prev;
    head->prev->next = link;
    head->prev = link;
}

static void take_out(struct tm_timer_link *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
}

/* Moves all of from to the end of to. */
static void splice(struct tm_timer_link *to, struct tm_timer_link *from)
{
    if (is_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    make_empty(from);
}

static struct tm_timer *timer_of(struct tm_timer_link *link)
{
    return TM_CONTAINER_OF(link, struct tm_timer, link);
}

/* The first tick that begins at or after the deadline. */
static uint64_t tick_of(uint64_t deadline_ns)
{
    uint64_t up = deadline_ns % TM_TIMER_TICK_NS != 0;
    return tm_min_u64(deadline_ns / TM_TIMER_TICK_NS + up, TICK_MAX);
}

void tm_timers_init(struct tm_timers *timers, uint64_t now_ns)
{
    memset(timers, 0, sizeof *timers);
    timers->tick = tm_min_u64(now_ns / TM_TIMER_TICK_NS, TICK_MAX);
    make_empty(&timers->due);
    make_empty(&timers->firing);
    for (unsigned level = 0; level < TM_TIMER_LEVELS; level++)
        for (unsigned slot = 0; slot < TM_TIMER_SLOTS; slot++)
            make_empty(&timers->slots[level][slot]);
}

void tm_timer_init(struct tm_timer *timer, void (*fire)(struct tm_timer *timer, uint64_t now_ns))
{
    *timer = (struct tm_timer){.fire = fire, .slot = IDLE_SLOT};
}

/* Puts a timer that is in no list where its tick belongs. */
static void place(struct tm_timers *timers, struct tm_timer *timer)
{
    uint64_t tick = tick_of(timer->deadline_ns);
    if (tick <= timers->tick) {
        timer->slot = LISTED;
        append(&timers->due, &timer->link);
        return;
    }
    unsigned bit = 63 - (unsigned)__builtin_clzll(tick ^ timers->tick);
    unsigned level = bit / TM_TIMER_SLOT_BITS, slot = DIGIT(tick, level);
    timer->slot = (uint16_t)(level * TM_TIMER_SLOTS + slot);
    timers->occupied[level] |= UINT64_C(1) << slot;
    append(&timers->slots[level][slot], &timer->link);
}

void tm_timer_arm(struct tm_timers *timers, struct tm_timer *timer, uint64_t deadline_ns)
{
    TM_ASSERT(timer->fire != NULL);
    tm_timer_cancel(timers, timer);
    timer->deadline_ns = deadline_ns;
    if (deadline_ns == TM_TIMER_NEVER)
        return;
    timers->armed++;
    place(timers, timer);
}

void tm_timer_cancel(struct tm_timers *timers, struct tm_timer *timer)
{
    if (timer->slot == IDLE_SLOT)
        return;
    take_out(&timer->link);
    if (timer->slot != LISTED) {
        unsigned level = timer->slot / TM_TIMER_SLOTS, slot = timer->slot % TM_TIMER_SLOTS;
        if (is_empty(&timers->slots[level][slot]))
            timers->occupied[level] &= ~(UINT64_C(1) << slot);
    }
    timer->slot = IDLE_SLOT;
    timers->armed--;
}

bool tm_timer_is_armed(const struct tm_timer *timer)
{
    return timer->slot != IDLE_SLOT;
}

/* The slots from a + 1 up to b on one level, where a < b count slots since the beginning. */
static uint64_t passed_slots(uint64_t a, uint64_t b)
{
    if (b - a >= TM_TIMER_SLOTS)
        return UINT64_MAX;
    uint64_t run = (UINT64_C(1) << (b - a)) - 1;
    unsigned first = (unsigned)((a + 1) % TM_TIMER_SLOTS);
    return first == 0 ? run : run << first | run >> (TM_TIMER_SLOTS - first);
}

/* Collects what lies in the slots that time passes between the present tick and `to`. */
static void collect(struct tm_timers *timers, uint64_t to, struct tm_timer_link *passed)
{
    for (unsigned level = 0; level < TM_TIMER_LEVELS; level++) {
        uint64_t a = timers->tick >> (level * TM_TIMER_SLOT_BITS);
        uint64_t b = to >> (level * TM_TIMER_SLOT_BITS);
        if (a == b)
            return;
        uint64_t slots = passed_slots(a, b) & timers->occupied[level];
        timers->occupied[level] &= ~slots;
        for (; slots != 0; slots &= slots - 1)
            splice(passed, &timers->slots[level][__builtin_ctzll(slots)]);
    }
}

/* Moves time on: what is due goes to the firing list, the rest of what was passed to its new slot.
 */
static void advance(struct tm_timers *timers, uint64_t to)
{
    struct tm_timer_link passed;
    make_empty(&passed);
    splice(&passed, &timers->due);
    if (to > timers->tick) {
        collect(timers, to, &passed);
        timers->tick = to;
    }
    while (!is_empty(&passed)) {
        struct tm_timer *timer = timer_of(passed.next);
        take_out(&timer->link);
        if (tick_of(timer->deadline_ns) <= timers->tick) {
            timer->slot = LISTED;
            append(&timers->firing, &timer->link);
        } else {
            place(timers, timer);
        }
    }
}

unsigned tm_timers_run(struct tm_timers *timers, uint64_t now_ns)
{
    TM_ASSERT(is_empty(&timers->firing));
    advance(timers, tm_min_u64(now_ns / TM_TIMER_TICK_NS, TICK_MAX));
    unsigned fired = 0;
    for (; !is_empty(&timers->firing); fired++) {
        struct tm_timer *timer = timer_of(timers->firing.next);
        tm_timer_cancel(timers, timer);
        timer->fire(timer, now_ns);
    }
    return fired;
}

uint64_t tm_timers_next(const struct tm_timers *timers)
{
    if (!is_empty(&timers->due))
        return 0;
    for (unsigned level = 0; level < TM_TIMER_LEVELS; level++) {
        if (timers->occupied[level] == 0)
            continue;
        unsigned shift = level * TM_TIMER_SLOT_BITS;
        uint64_t slot = (uint64_t)__builtin_ctzll(timers->occupied[level]);
        uint64_t above = timers->tick >> shift >> TM_TIMER_SLOT_BITS << TM_TIMER_SLOT_BITS;
        return (above | slot) << shift << 14;
    }
    return TM_TIMER_NEVER;
}
TM_STATIC_ASSERT(TM_TIMER_TICK_NS == UINT64_C(1) << 14, "tm_timers_next shifts ticks back by 14");
