#include "runtime/hash.h"
#include "runtime/ring.h"
#include "test.h"

#include <pthread.h>
#include <sched.h>
#include <stdalign.h>

static alignas(TM_CACHE_PAIR) uint8_t memory[sizeof(struct tm_ring) + 65536];

static struct tm_ring *make(size_t capacity)
{
    CU_ASSERT_PTR_EQUAL_FATAL(tm_ring_new(memory, capacity), memory);
    struct tm_ring *ring = tm_ring_join(memory, sizeof memory);
    CU_ASSERT_PTR_NOT_NULL_FATAL(ring);
    return ring;
}

static void layout_is_frozen(void)
{
    CU_ASSERT_EQUAL(offsetof(struct tm_ring, magic), 0);
    CU_ASSERT_EQUAL(offsetof(struct tm_ring, capacity), 8);
    CU_ASSERT_EQUAL(offsetof(struct tm_ring, tail), 128);
    CU_ASSERT_EQUAL(offsetof(struct tm_ring, full), 136);
    CU_ASSERT_EQUAL(offsetof(struct tm_ring, head), 256);
    CU_ASSERT_EQUAL(offsetof(struct tm_ring, parked), 384);
    CU_ASSERT_EQUAL(offsetof(struct tm_ring, data), 512);
}

static void capacity_is_a_power_of_two_in_range(void)
{
    CU_ASSERT_EQUAL(tm_ring_footprint(4096), sizeof(struct tm_ring) + 4096);
    CU_ASSERT_EQUAL(tm_ring_footprint(512), 0);
    CU_ASSERT_EQUAL(tm_ring_footprint(5000), 0);
    CU_ASSERT_EQUAL(tm_ring_footprint(TM_RING_MAX * 2), 0);
    CU_ASSERT_PTR_NULL(tm_ring_new(memory + 8, 4096));
    CU_ASSERT_PTR_NULL(tm_ring_new(NULL, 4096));
}

static void join_needs_the_magic_and_the_whole_mapping(void)
{
    struct tm_ring *ring = make(4096);
    CU_ASSERT_PTR_NULL(tm_ring_join(memory, sizeof(struct tm_ring) + 4095));
    CU_ASSERT_PTR_NULL(tm_ring_join(memory + 8, 8192));
    ring->capacity = 5000;
    CU_ASSERT_PTR_NULL(tm_ring_join(memory, sizeof memory));
    ring->capacity = 4096;
    CU_ASSERT_PTR_EQUAL(tm_ring_leave(ring), memory);
    CU_ASSERT_PTR_EQUAL(tm_ring_delete(memory), memory);
    CU_ASSERT_PTR_NULL(tm_ring_join(memory, sizeof memory));
    CU_ASSERT_PTR_NULL(tm_ring_delete(memory));
}

static void consumer_sees_nothing_before_publish(void)
{
    struct tm_ring *ring = make(4096);
    struct tm_ring_producer p;
    struct tm_ring_consumer c;
    struct tm_ring_record r;
    tm_ring_producer_init(&p, ring);
    tm_ring_consumer_init(&c, ring);
    memcpy(tm_ring_claim(&p, 7, 5), "hello", 5);
    memcpy(tm_ring_claim(&p, 8, 0), "", 0);
    CU_ASSERT_FALSE(tm_ring_next(&c, &r));
    CU_ASSERT_FALSE(tm_ring_pending(&c));
    CU_ASSERT_FALSE(tm_ring_publish(&p));
    CU_ASSERT(tm_ring_pending(&c));
    CU_ASSERT(tm_ring_next(&c, &r));
    CU_ASSERT(r.kind == 7 && r.len == 5 && memcmp(r.data, "hello", 5) == 0);
    CU_ASSERT(tm_ring_next(&c, &r));
    CU_ASSERT(r.kind == 8 && r.len == 0);
    CU_ASSERT_FALSE(tm_ring_next(&c, &r));
}

static void room_returns_with_release_only(void)
{
    struct tm_ring *ring = make(1024);
    struct tm_ring_producer p;
    struct tm_ring_consumer c;
    struct tm_ring_record r;
    tm_ring_producer_init(&p, ring);
    tm_ring_consumer_init(&c, ring);
    for (int i = 0; i < 8; i++)
        CU_ASSERT_PTR_NOT_NULL(tm_ring_claim(&p, 0, 120));
    CU_ASSERT_PTR_NULL(tm_ring_claim(&p, 0, 0));
    tm_ring_publish(&p);
    CU_ASSERT_EQUAL(tm_ring_used(ring), 1024);
    CU_ASSERT(tm_ring_next(&c, &r));
    CU_ASSERT_PTR_NULL(tm_ring_claim(&p, 0, 120));
    CU_ASSERT_EQUAL(tm_ring_full_count(ring), 2);
    tm_ring_release(&c);
    CU_ASSERT_EQUAL(tm_ring_used(ring), 896);
    CU_ASSERT_PTR_NOT_NULL(tm_ring_claim(&p, 0, 120));
    CU_ASSERT_EQUAL(tm_ring_full_count(ring), 2);
}

static void the_longest_record_fits_an_empty_ring_at_every_place(void)
{
    struct tm_ring *ring = make(1024);
    struct tm_ring_producer p;
    struct tm_ring_consumer c;
    struct tm_ring_record r;
    tm_ring_producer_init(&p, ring);
    tm_ring_consumer_init(&c, ring);
    uint32_t max = (uint32_t)tm_ring_record_max(1024);
    for (int i = 0; i < 1024; i++) {
        uint8_t *data = tm_ring_claim(&p, 1, max);
        CU_ASSERT_PTR_NOT_NULL_FATAL(data);
        CU_ASSERT_EQUAL((uintptr_t)data % 8, 0);
        memset(data, i, max);
        tm_ring_publish(&p);
        CU_ASSERT(tm_ring_next(&c, &r));
        CU_ASSERT(r.len == max && r.data[0] == (uint8_t)i && r.data[max - 1] == (uint8_t)i);
        tm_ring_release(&c);
        CU_ASSERT_PTR_NOT_NULL_FATAL(tm_ring_claim(&p, 2, 0)); /* shifts the place by 8 */
        tm_ring_publish(&p);
        CU_ASSERT(tm_ring_next(&c, &r) && r.kind == 2);
        tm_ring_release(&c);
    }
    CU_ASSERT_EQUAL(tm_ring_full_count(ring), 0);
}

static void trim_gives_the_rest_of_the_claim_back(void)
{
    struct tm_ring *ring = make(1024);
    struct tm_ring_producer p;
    struct tm_ring_consumer c;
    struct tm_ring_record r;
    tm_ring_producer_init(&p, ring);
    tm_ring_consumer_init(&c, ring);
    memcpy(tm_ring_claim(&p, 1, 400), "abc", 3);
    tm_ring_trim(&p, 3);
    memcpy(tm_ring_claim(&p, 2, 400), "defg", 4);
    tm_ring_trim(&p, 4);
    tm_ring_publish(&p);
    CU_ASSERT_EQUAL(tm_ring_used(ring), 32);
    CU_ASSERT(tm_ring_next(&c, &r) && r.kind == 1 && r.len == 3 && memcmp(r.data, "abc", 3) == 0);
    CU_ASSERT(tm_ring_next(&c, &r) && r.kind == 2 && r.len == 4 && memcmp(r.data, "defg", 4) == 0);
    CU_ASSERT_FALSE(tm_ring_next(&c, &r));
}

static void a_new_handle_goes_on_where_the_old_one_published(void)
{
    struct tm_ring *ring = make(4096);
    struct tm_ring_producer p;
    struct tm_ring_consumer c;
    struct tm_ring_record r;
    tm_ring_producer_init(&p, ring);
    tm_ring_claim(&p, 1, 8);
    tm_ring_publish(&p);
    tm_ring_claim(&p, 2, 8); /* never published: lost with the old handle */
    tm_ring_producer_init(&p, ring);
    tm_ring_claim(&p, 3, 8);
    tm_ring_publish(&p);
    tm_ring_consumer_init(&c, ring);
    CU_ASSERT(tm_ring_next(&c, &r) && r.kind == 1);
    tm_ring_release(&c);
    CU_ASSERT(tm_ring_next(&c, &r) && r.kind == 3); /* not released: read again */
    tm_ring_consumer_init(&c, ring);
    CU_ASSERT(tm_ring_next(&c, &r) && r.kind == 3);
    CU_ASSERT_FALSE(tm_ring_next(&c, &r));
}

static void exactly_one_publish_per_park_says_wake(void)
{
    struct tm_ring *ring = make(4096);
    struct tm_ring_producer p;
    struct tm_ring_consumer c;
    struct tm_ring_record r;
    tm_ring_producer_init(&p, ring);
    tm_ring_consumer_init(&c, ring);
    tm_ring_claim(&p, 1, 8);
    CU_ASSERT(tm_ring_park(&c)); /* claimed, not published: nothing is there */
    CU_ASSERT(tm_ring_publish(&p));
    tm_ring_claim(&p, 1, 8);
    CU_ASSERT_FALSE(tm_ring_publish(&p));
    CU_ASSERT_FALSE(tm_ring_park(&c)); /* two records wait */
    tm_ring_claim(&p, 1, 8);
    CU_ASSERT_FALSE(tm_ring_publish(&p));
    while (tm_ring_next(&c, &r))
        continue;
    CU_ASSERT(tm_ring_park(&c));
    tm_ring_unpark(&c);
    tm_ring_claim(&p, 1, 8);
    CU_ASSERT_FALSE(tm_ring_publish(&p));
}

static void nonsense_from_the_other_side_breaks_the_handle_not_the_process(void)
{
    struct tm_ring *ring = make(1024);
    struct tm_ring_producer p;
    struct tm_ring_consumer c;
    struct tm_ring_record r;
    tm_ring_producer_init(&p, ring);
    tm_ring_consumer_init(&c, ring);
    tm_ring_claim(&p, 1, 8);
    tm_ring_publish(&p);
    tm_store32(ring->data, 5000); /* a length beyond the tail */
    CU_ASSERT_FALSE(tm_ring_next(&c, &r));
    CU_ASSERT(c.broken);
    CU_ASSERT_FALSE(tm_ring_pending(&c));

    tm_ring_consumer_init(&c, ring);
    ring->tail = 4096; /* further than the capacity */
    CU_ASSERT_FALSE(tm_ring_next(&c, &r));
    CU_ASSERT(c.broken);

    ring = make(1024);
    tm_ring_producer_init(&p, ring);
    for (int i = 0; i < 8; i++)
        tm_ring_claim(&p, 0, 120);
    tm_ring_publish(&p);
    ring->head = 2048; /* beyond what was ever published */
    CU_ASSERT_PTR_NULL(tm_ring_claim(&p, 0, 120));
    CU_ASSERT(p.broken);
}

static void random_batches_arrive_whole_and_in_order(void)
{
    struct tm_ring *ring = make(4096);
    struct tm_ring_producer p;
    struct tm_ring_consumer c;
    tm_ring_producer_init(&p, ring);
    tm_ring_consumer_init(&c, ring);
    srandom((unsigned)tm_test_seed());
    uint32_t sent = 0, seen = 0;
    for (int step = 0; step < 20000; step++) {
        for (long n = random() % 5; n > 0; n--) {
            uint32_t len = (uint32_t)random() % 1500;
            uint8_t *data = tm_ring_claim(&p, sent, len);
            if (data == NULL)
                break;
            memset(data, (int)(sent * 31 + len), len);
            sent++;
        }
        if (random() % 3 != 0)
            tm_ring_publish(&p);
        struct tm_ring_record r;
        for (long n = random() % 5; n > 0 && tm_ring_next(&c, &r); n--) {
            CU_ASSERT_EQUAL_FATAL(r.kind, seen);
            for (uint32_t i = 0; i < r.len; i++)
                CU_ASSERT_EQUAL_FATAL(r.data[i], (uint8_t)(seen * 31 + r.len));
            seen++;
        }
        if (random() % 2 == 0)
            tm_ring_release(&c);
    }
    CU_ASSERT(seen > 10000);
    CU_ASSERT(tm_ring_full_count(ring) > 0);
}

/* Two threads: the producer sends random records that carry a hash of their own bytes, the consumer
 * sleeps on a condition variable whenever the ring lets it park.  A lost wake-up hangs the test. */
enum { RECORDS = 60000 };

struct pair {
    struct tm_ring *ring;
    uint64_t seed;
    pthread_mutex_t lock;
    pthread_cond_t bell;
    bool rung;
    uint64_t sleeps;
    uint64_t bad;
};

static void ring_bell(struct pair *pair)
{
    pthread_mutex_lock(&pair->lock);
    pair->rung = true;
    pthread_cond_signal(&pair->bell);
    pthread_mutex_unlock(&pair->lock);
}

static uint64_t step(uint64_t *x)
{
    *x = *x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *x >> 33;
}

static void *produce(void *arg)
{
    struct pair *pair = arg;
    struct tm_ring_producer p;
    tm_ring_producer_init(&p, pair->ring);
    uint64_t x = pair->seed;
    for (uint32_t i = 0; i < RECORDS; i++) {
        uint32_t len = 8 + (uint32_t)(step(&x) % 400);
        uint8_t *data;
        while ((data = tm_ring_claim(&p, i, len)) == NULL) {
            if (tm_ring_publish(&p))
                ring_bell(pair);
            sched_yield();
        }
        for (uint32_t k = 8; k < len; k++)
            data[k] = (uint8_t)(i + k);
        tm_store64(data, tm_hash64(data + 8, len - 8, i));
        if (step(&x) % 4 == 0 && tm_ring_publish(&p))
            ring_bell(pair);
        if (step(&x) % 64 == 0)
            sched_yield();
    }
    if (tm_ring_publish(&p))
        ring_bell(pair);
    return NULL;
}

static void sleep_on(struct pair *pair)
{
    pthread_mutex_lock(&pair->lock);
    while (!pair->rung)
        pthread_cond_wait(&pair->bell, &pair->lock);
    pair->rung = false;
    pthread_mutex_unlock(&pair->lock);
    pair->sleeps++;
}

static void *consume(void *arg)
{
    struct pair *pair = arg;
    struct tm_ring_consumer c;
    tm_ring_consumer_init(&c, pair->ring);
    for (uint32_t seen = 0; seen < RECORDS;) {
        struct tm_ring_record r;
        while (tm_ring_next(&c, &r)) {
            pair->bad += r.kind != seen || r.len < 8 ||
                         tm_load64(r.data) != tm_hash64(r.data + 8, r.len - 8, seen);
            seen++;
        }
        tm_ring_release(&c);
        if (seen < RECORDS && tm_ring_park(&c))
            sleep_on(pair);
    }
    return NULL;
}

static void two_threads_lose_no_record_and_no_wake_up(void)
{
    struct pair pair = {.ring = make(4096),
                        .seed = tm_test_seed(),
                        .lock = PTHREAD_MUTEX_INITIALIZER,
                        .bell = PTHREAD_COND_INITIALIZER};
    pthread_t threads[2];
    CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[0], NULL, produce, &pair), 0);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[1], NULL, consume, &pair), 0);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    CU_ASSERT_EQUAL(pair.bad, 0);
    CU_ASSERT(pair.sleeps > 0);
    CU_ASSERT_EQUAL(tm_ring_used(pair.ring), 0);
}

static const struct tm_test tests[] = {
    TM_TEST(layout_is_frozen),
    TM_TEST(capacity_is_a_power_of_two_in_range),
    TM_TEST(join_needs_the_magic_and_the_whole_mapping),
    TM_TEST(consumer_sees_nothing_before_publish),
    TM_TEST(room_returns_with_release_only),
    TM_TEST(the_longest_record_fits_an_empty_ring_at_every_place),
    TM_TEST(trim_gives_the_rest_of_the_claim_back),
    TM_TEST(a_new_handle_goes_on_where_the_old_one_published),
    TM_TEST(exactly_one_publish_per_park_says_wake),
    TM_TEST(nonsense_from_the_other_side_breaks_the_handle_not_the_process),
    TM_TEST(random_batches_arrive_whole_and_in_order),
    TM_TEST(two_threads_lose_no_record_and_no_wake_up),
};
TM_TEST_MAIN("runtime/ring", tests)
