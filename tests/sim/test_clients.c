/* What clients are told by the workers of a cluster: of the whole node, whichever worker they ask.
 */
#include "runtime/counters.h"
#include "tests/sim/raw_client.h"
#include "tests/sim/settle.h"

static struct tm_sim *sim;

static struct client *connect_to(unsigned node, unsigned worker)
{
    return client_of(sim, node, worker);
}

/* The reply to one command line. */
static const char *ask(struct client *c, const char *line)
{
    char text[512];
    int n = snprintf(text, sizeof text, "%s\r\n", line);
    client_send(c, tm_bytes_of(text, (size_t)n));
    CU_ASSERT_TRUE(tm_sim_run_until(sim, answered, c, TM_SECONDS(10)));
    return c->reply;
}

static uint64_t number_after(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    CU_ASSERT_PTR_NOT_NULL(at);
    return at != NULL ? strtoull(at + strlen(name), NULL, 10) : 0;
}

static unsigned lines_with(const char *text, const char *word)
{
    unsigned n = 0;
    for (const char *at = text; (at = strstr(at, word)) != NULL; at += strlen(word))
        n++;
    return n;
}

static void begin(unsigned nodes)
{
    struct tm_sim_config c;
    tm_sim_config_default(&c, tm_test_seed());
    c.nodes = nodes;
    c.copies = nodes < 3 ? 1 : 3;
    sim = tm_sim_new(&c);
    create(sim);
}

static void end(void)
{
    CU_ASSERT_EQUAL(tm_sim_fatal(sim), 0);
    tm_sim_free(sim);
}

static void lists_and_kills_reach_the_clients_of_every_worker(void)
{
    char line[64];
    begin(1);
    struct client *a = connect_to(0, 0), *b = connect_to(0, 1), *c = connect_to(0, 1);
    ask(a, "CLIENT SETNAME first");
    ask(b, "CLIENT SETNAME second");
    uint64_t id = number_after(ask(c, "CLIENT ID"), ":");
    CU_ASSERT_EQUAL(lines_with(ask(a, "CLIENT LIST"), "id="), 3);
    CU_ASSERT_PTR_NOT_NULL(strstr(a->reply, " name=second "));
    CU_ASSERT_EQUAL(lines_with(ask(b, "CLIENT LIST"), "id="), 3);
    CU_ASSERT_PTR_NOT_NULL(strstr(b->reply, " name=first "));
    snprintf(line, sizeof line, "CLIENT LIST ID %llu", (unsigned long long)id);
    CU_ASSERT_EQUAL(lines_with(ask(a, line), "id="), 1);
    CU_ASSERT_STRING_EQUAL(ask(a, "CLIENT LIST NONSENSE"), "-ERR syntax error\r\n");
    snprintf(line, sizeof line, "CLIENT KILL ID %llu", (unsigned long long)id);
    CU_ASSERT_STRING_EQUAL(ask(a, line), ":1\r\n");
    CU_ASSERT(c->closed);
    CU_ASSERT_STRING_EQUAL(ask(a, line), ":0\r\n");
    CU_ASSERT_STRING_EQUAL(ask(a, "CLIENT KILL 1.2.3.4:5"), "-ERR No such client\r\n");
    CU_ASSERT_STRING_EQUAL(ask(a, "CLIENT KILL SKIPME yes"), ":1\r\n");
    CU_ASSERT(b->closed && !a->closed);
    leave(a);
    leave(b);
    leave(c);
    end();
}

/* Until worker 0 has seen what the others count. */
static const char *info(struct client *c, const char *section)
{
    char line[64];
    snprintf(line, sizeof line, "INFO %s", section);
    tm_sim_run_for(sim, TM_MS(300));
    return ask(c, line);
}

static void info_counts_what_all_workers_do(void)
{
    char line[64];
    begin(1);
    struct client *a = connect_to(0, 0), *b = connect_to(0, 1);
    for (unsigned i = 0; i < 40; i++) { /* over both workers' partitions */
        snprintf(line, sizeof line, "SET key:%u x %s", i, i < 10 ? "EX 1000" : "");
        CU_ASSERT_STRING_EQUAL(ask(i % 2 == 0 ? a : b, line), "+OK\r\n");
    }
    CU_ASSERT_PTR_NOT_NULL(strstr(info(a, "keyspace"), "\r\ndb0:keys=40,expires=10,avg_ttl=0\r\n"));
    CU_ASSERT_STRING_EQUAL(info(b, "keyspace"), a->reply);
    CU_ASSERT_EQUAL(number_after(info(a, "replication"), "partitions_led:"), 12);
    CU_ASSERT_EQUAL(number_after(a->reply, "partitions_held:"), 12);

    ask(a, "CONFIG RESETSTAT");
    for (unsigned i = 0; i < 50; i++) {
        snprintf(line, sizeof line, "GET key:%u", i);
        ask(a, line);
    }
    CU_ASSERT_EQUAL(number_after(info(b, "stats"), "keyspace_hits:"), 40);
    CU_ASSERT_EQUAL(number_after(b->reply, "keyspace_misses:"), 10);
    CU_ASSERT_EQUAL(number_after(b->reply, "expired_keys:"), 0);
    ask(a, "MGET key:1 key:2 nosuch");
    ask(b, "EXISTS key:3");
    ask(b, "SETNX key:3 y"); /* looks it up, but reads nothing */
    ask(b, "EXPIRE key:0 -1");
    CU_ASSERT_EQUAL(number_after(info(a, "stats"), "keyspace_hits:"), 43);
    CU_ASSERT_EQUAL(number_after(a->reply, "keyspace_misses:"), 11);
    CU_ASSERT_EQUAL(number_after(info(a, "keyspace"), "keys="), 39);
    CU_ASSERT_EQUAL(number_after(a->reply, "expires="), 9);

    CU_ASSERT_STRING_EQUAL(ask(b, "CONFIG RESETSTAT"), "+OK\r\n");
    CU_ASSERT_EQUAL(number_after(info(a, "stats"), "keyspace_hits:"), 0);
    CU_ASSERT_EQUAL(number_after(a->reply, "keyspace_misses:"), 0);
    CU_ASSERT(number_after(info(a, "tidemill"), "keyspace_hits:") >= 43); /* never goes back */
    CU_ASSERT_EQUAL(number_after(a->reply, "wal_segments:"), 2);
    leave(a);
    leave(b);
    end();
}

static void keys_of_a_slot_are_found_from_everywhere(void)
{
    begin(3);
    struct client *a = connect_to(0, 0), *b = connect_to(2, 1);
    CU_ASSERT_STRING_EQUAL(ask(a, "MSET foo 1 {foo}a 2 {foo}b 3 bar 4"), "+OK\r\n");
    CU_ASSERT_STRING_EQUAL(ask(a, "CLUSTER COUNTKEYSINSLOT 12182"), ":3\r\n");
    CU_ASSERT_STRING_EQUAL(ask(b, "CLUSTER COUNTKEYSINSLOT 12182"), ":3\r\n");
    CU_ASSERT_EQUAL(lines_with(ask(b, "CLUSTER GETKEYSINSLOT 12182 2"), "foo"), 2);
    CU_ASSERT_STRING_EQUAL(ask(b, "CLUSTER COUNTKEYSINSLOT 12183"), ":0\r\n");
    ask(a, "MULTI");
    ask(a, "CLUSTER COUNTKEYSINSLOT 12182");
    ask(a, "DEL {foo}b");
    ask(a, "CLUSTER COUNTKEYSINSLOT 12182");
    CU_ASSERT_STRING_EQUAL(ask(a, "EXEC"), "*3\r\n:3\r\n:1\r\n:2\r\n");
    leave(a);
    leave(b);
    end();
}

/* Also where the other nodes' worker counts became known only after the worker was made. */
static void every_worker_knows_which_member_it_is(void)
{
    begin(3);
    for (unsigned n = 0; n < 3; n++)
        for (unsigned w = 0; w < 2; w++) {
            char mine[64];
            struct client *c = connect_to(n, w);
            snprintf(mine, sizeof mine, " 10.0.0.%u:%u@%u myself,master ", n + 1, 7001 + w,
                     17001 + w);
            CU_ASSERT_PTR_NOT_NULL(strstr(ask(c, "CLUSTER NODES"), mine));
            CU_ASSERT_EQUAL(lines_with(c->reply, "\n"), 6 + 2); /* two of RESP */
            leave(c);
        }
    end();
}

/* ---- large replies ---- */

#define ASKERS 6
#define ROUNDS 20
#define LARGE  (200u << 10)

/* One that asks, in turn, for its counter's next value and for a large one, all at once. */
struct asker {
    struct tm_sim_conn *conn;
    unsigned replies, wrong;
};

static void on_turn(void *host, struct tm_sim_conn *conn, struct tm_bytes reply)
{
    struct asker *a = host;
    char number[32];
    (void)conn;
    snprintf(number, sizeof number, ":%u\r\n", a->replies / 2 + 1);
    if (a->replies++ % 2 == 0)
        a->wrong += !tm_bytes_equal(reply, tm_bytes_str(number));
    else
        a->wrong += reply.len != LARGE + strlen("$204800\r\n\r\n");
}

static void on_end(void *host, struct tm_sim_conn *conn)
{
    (void)conn;
    ((struct asker *)host)->wrong++;
}

static bool all_replied(void *arg)
{
    const struct asker *a = arg;
    unsigned replies = 0;
    for (unsigned i = 0; i < ASKERS; i++)
        replies += a[i].replies;
    return replies == ASKERS * 2 * ROUNDS;
}

static uint64_t put_off(void)
{
    return tm_counter_get(tm_sim_counters(sim, 0, 0), TM_COUNTER_requests_put_off) +
           tm_counter_get(tm_sim_counters(sim, 0, 1), TM_COUNTER_requests_put_off);
}

static void set_large(const char *key)
{
    static char text[LARGE + 100];
    struct client *c = connect_to(0, 0);
    int n = snprintf(text, sizeof text, "*3\r\n$3\r\nSET\r\n$%zu\r\n%s\r\n$%u\r\n", strlen(key),
                     key, LARGE);
    memset(text + n, 'x', LARGE);
    memcpy(text + n + LARGE, "\r\n", 2);
    client_send(c, tm_bytes_of(text, (size_t)n + LARGE + 2));
    CU_ASSERT_TRUE_FATAL(tm_sim_run_until(sim, answered, c, TM_SECONDS(10)));
    CU_ASSERT_STRING_EQUAL(c->reply, "+OK\r\n");
    leave(c);
}

static void ask_much(unsigned worker)
{
    struct asker a[ASKERS] = {{NULL}};
    for (unsigned i = 0; i < ASKERS; i++) {
        struct tm_sim_client callbacks = {.host = &a[i], .reply = on_turn, .closed = on_end};
        char line[64], text[ROUNDS * sizeof line] = "";
        snprintf(line, sizeof line, "INCR {t}%u.%u\r\nGET {t}large\r\n", worker, i);
        for (unsigned k = 0; k < ROUNDS; k++)
            strcat(text, line);
        a[i].conn = tm_sim_connect(sim, 0, worker, &callbacks);
        tm_sim_send(a[i].conn, tm_bytes_str(text));
    }
    CU_ASSERT_TRUE(tm_sim_run_until(sim, all_replied, a, TM_SECONDS(20)));
    for (unsigned i = 0; i < ASKERS; i++) {
        CU_ASSERT_EQUAL(a[i].wrong, 0);
        tm_sim_disconnect(a[i].conn);
    }
}

/* Asked of the worker that has them, and of the other one: in order, and not in one turn. */
static void large_replies_are_spread_over_turns(void)
{
    begin(1);
    set_large("{t}large");
    CU_ASSERT_EQUAL(put_off(), 0);
    for (unsigned worker = 0; worker < 2; worker++) {
        uint64_t before = put_off();
        ask_much(worker);
        printf("  worker %u: %llu put off\n", worker, (unsigned long long)(put_off() - before));
        CU_ASSERT(put_off() > before);
    }
    end();
}

static const struct tm_test tests[] = {
    TM_TEST(lists_and_kills_reach_the_clients_of_every_worker),
    TM_TEST(info_counts_what_all_workers_do),
    TM_TEST(keys_of_a_slot_are_found_from_everywhere),
    TM_TEST(every_worker_knows_which_member_it_is),
    TM_TEST(large_replies_are_spread_over_turns),
};

TM_TEST_MAIN("sim/clients", tests)
