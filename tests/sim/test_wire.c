/* The simulated wire: what becomes of frames to a process that stands still, or is no more. */
#include "tests/sim/sim_wire.h"
#include "tests/test.h"

enum { FROM, TO, NODES };

static struct tm_sim_wire *wire;
static struct tm_fabric *end[NODES];
static unsigned heard[4 * TM_SIM_WIRE_WAITING_MAX], count;
static uint64_t now;

static void frame(void *host, unsigned node, unsigned worker, uint8_t *data, size_t len)
{
    (void)host;
    CU_ASSERT_FATAL(node == FROM && worker == 0 && len == sizeof heard[0]);
    CU_ASSERT_FATAL(count < TM_ARRAY_LEN(heard));
    memcpy(&heard[count++], data, len);
}

static void event(void *host, unsigned node, enum tm_fabric_event what)
{
    (void)host, (void)node, (void)what;
}

static void woke(void *host, unsigned node, unsigned worker)
{
    (void)host, (void)node, (void)worker;
}

static void join(unsigned node)
{
    end[node] = tm_sim_wire_join(wire, node, 0, &(struct tm_fabric_sink){NULL, frame, event});
}

static void setup(void)
{
    struct tm_sim_wire_config config = {
        .seed = tm_test_seed(), .min_ns = 5, .max_ns = 5, .max_frame = 1400, .woke = woke};
    wire = tm_sim_wire_new(&config);
    now = 0;
    count = 0;
    join(FROM);
    join(TO);
}

static void send(unsigned first, unsigned frames)
{
    for (unsigned i = first; i < first + frames; i++) {
        struct tm_bytes piece = tm_bytes_of(&i, sizeof i);
        CU_ASSERT_EQUAL_FATAL(end[FROM]->send(end[FROM], TO, 0, &piece, 1), TM_OK);
    }
}

static void pass(void)
{
    now += 1000;
    tm_sim_wire_poll(wire, now);
}

/* So many since the last time, in this order. */
static void expect(unsigned first, unsigned frames)
{
    CU_ASSERT_EQUAL(count, frames);
    for (unsigned i = 0; i < frames && i < count; i++)
        CU_ASSERT_EQUAL(heard[i], first + i);
    count = 0;
}

static void what_arrives_at_a_process_that_stands_still_waits_for_it(void)
{
    setup();
    tm_sim_wire_sleep(wire, TO, true);
    send(0, 3);
    pass();
    expect(0, 0);
    tm_sim_wire_cut(wire, FROM, TO, true); /* those have arrived */
    send(3, 1);
    tm_sim_wire_sleep(wire, TO, false);
    pass();
    expect(0, 3);
    CU_ASSERT_EQUAL(tm_sim_wire_counts(wire).waited, 3);
    CU_ASSERT_EQUAL(tm_sim_wire_counts(wire).cut, 1);
    tm_sim_wire_free(wire);
}

static void no_more_waits_than_rings_hold(void)
{
    setup();
    tm_sim_wire_sleep(wire, TO, true);
    for (unsigned i = 0; i < 2; i++) {
        send(i * TM_SIM_WIRE_WAITING_MAX, TM_SIM_WIRE_WAITING_MAX);
        pass();
    }
    tm_sim_wire_sleep(wire, TO, false);
    pass();
    expect(0, TM_SIM_WIRE_WAITING_MAX);
    send(7, 1);
    pass();
    expect(7, 1);
    tm_sim_wire_free(wire);
}

static void a_machine_that_stands_still_hears_nothing_later(void)
{
    setup();
    tm_sim_wire_sleep(wire, TO, true);
    tm_sim_wire_deaf(wire, TO, true);
    send(0, 3);
    pass();
    tm_sim_wire_deaf(wire, TO, false);
    tm_sim_wire_sleep(wire, TO, false);
    pass();
    expect(0, 0);
    tm_sim_wire_free(wire);
}

static void the_next_process_does_not_get_what_waited_for_the_one_before(void)
{
    for (unsigned woken = 0; woken < 2; woken++) {
        setup();
        tm_sim_wire_sleep(wire, TO, true);
        send(0, 3);
        pass();
        if (woken == 1)
            tm_sim_wire_sleep(wire, TO, false);
        tm_sim_wire_leave(wire, TO);
        join(TO);
        pass();
        expect(0, 0);
        send(3, 1);
        pass();
        expect(3, 1);
        tm_sim_wire_free(wire);
    }
}

static const struct tm_test tests[] = {
    TM_TEST(what_arrives_at_a_process_that_stands_still_waits_for_it),
    TM_TEST(no_more_waits_than_rings_hold),
    TM_TEST(a_machine_that_stands_still_hears_nothing_later),
    TM_TEST(the_next_process_does_not_get_what_waited_for_the_one_before),
};

TM_TEST_MAIN("sim/wire", tests)
