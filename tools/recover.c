/* tidemill recover: forced recovery of partitions that lost their quorum for good.
 *
 * The node at ADDRESS is to go on with what it has.  First everybody in reach is asked; for each
 * partition that nobody leads it is said what this node's copy has and what may be lost.  Then,
 * confirmed by a typed "yes" or --yes, the workers that hold the copies are told, and their
 * partitions waited for. */
#include "tools/client.h"
#include "tools/command.h"
#include "tools/recover_judge.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define TIMEOUT_MS  3000
#define WAIT_MS     10000
#define ELECTION_MS 2000

struct recovery {
    struct tm_status s;
    const char *address, *password;
    char node[64];
    long partition;                /* -1: all */
    struct tm_recover_case *cases; /* of this node's copies that can go on */
    unsigned count;
};

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* Asks everybody.  A partition without a leader may be in the middle of an election: then all are
 * asked again a while later, and that is what counts. */
static int gather(struct recovery *r)
{
    int status = tm_status_gather(&r->s, r->address, r->password);
    if (status != TM_EXIT_DONE || r->s.totals.led == r->s.partition_count)
        return status;
    tm_status_free(&r->s);
    pause_ms(ELECTION_MS);
    return tm_status_gather(&r->s, r->address, r->password);
}

/* The name of the node that listens there. */
static int find_node(struct recovery *r)
{
    struct tm_client c;
    char info[4096];
    enum tm_err e = tm_client_open(&c, r->address, TIMEOUT_MS);
    bool connected = e == TM_OK;
    if (e == TM_OK)
        e = tm_client_auth(&c, r->password);
    if (e == TM_OK)
        e = tm_client_text(&c, (const char *const[]){"INFO", "cluster", NULL}, info, sizeof info);
    tm_client_close(&c);
    if (e == TM_OK && tm_info_field(info, "node_name", r->node, sizeof r->node))
        return TM_EXIT_DONE;
    return tm_fail("%s: %s", r->address,
                   tm_status_reason(e != TM_OK ? e : TM_ERR_UNSUPPORTED, connected));
}

/* Says how each of the node's copies stands, and keeps those that can go on. */
static bool judge_all(struct recovery *r)
{
    char text[1024];
    r->cases = calloc(r->s.replica_count + 1, sizeof *r->cases);
    if (r->cases == NULL)
        return false;
    for (unsigned i = 0; i < r->s.replica_count; i++) {
        const struct tm_status_replica *copy = &r->s.replicas[i];
        if (strcmp(r->s.members[copy->member].node, r->node) != 0 ||
            (r->partition >= 0 && copy->partition != (unsigned long)r->partition))
            continue;
        struct tm_recover_case c = tm_recover_judge(&r->s, copy);
        if (c.verdict == TM_RECOVER_YES)
            r->cases[r->count++] = c;
        if (c.verdict != TM_RECOVER_LED || r->partition >= 0)
            puts(tm_recover_text(&r->s, &c, text, sizeof text));
    }
    return true;
}

static bool confirmed(const struct recovery *r)
{
    char line[16] = "";
    printf(
        "\n%u partition%s will go on with the copy on %s alone.  Copies that come back later are "
        "overwritten.\nType \"yes\" to do it: ",
        r->count, r->count == 1 ? "" : "s", r->node);
    fflush(stdout);
    return fgets(line, sizeof line, stdin) != NULL && strcmp(line, "yes\n") == 0;
}

static enum tm_err tell(const struct recovery *r, const struct tm_recover_case *c, char *text,
                        size_t size)
{
    struct tm_client client;
    char number[16];
    snprintf(number, sizeof number, "%u", c->copy->partition);
    text[0] = '\0';
    enum tm_err e = tm_client_open(&client, r->s.members[c->copy->member].address, TIMEOUT_MS);
    if (e == TM_OK)
        e = tm_client_auth(&client, r->password);
    if (e == TM_OK)
        e = tm_client_text(&client, (const char *const[]){"TIDEMILL", "RECOVER", number, NULL},
                           text, size);
    tm_client_close(&client);
    return e;
}

static unsigned tell_all(const struct recovery *r)
{
    char text[256];
    unsigned failed = 0;
    for (unsigned i = 0; i < r->count; i++) {
        enum tm_err e = tell(r, &r->cases[i], text, sizeof text);
        failed += e != TM_OK;
        if (e != TM_OK)
            tm_fail("partition %u: %s", r->cases[i].copy->partition,
                    text[0] != '\0' ? text : tm_err_text(e));
    }
    return failed;
}

/* How many of the partitions are led by now. */
static unsigned count_led(const struct recovery *r)
{
    struct tm_status now = {0};
    unsigned led = 0;
    if (tm_status_gather(&now, r->address, r->password) == TM_EXIT_DONE)
        for (unsigned i = 0; i < r->count; i++) {
            unsigned p = r->cases[i].copy->partition;
            led += p < now.partition_count && now.partitions[p].leader >= 0;
        }
    tm_status_free(&now);
    return led;
}

static int recover(struct recovery *r)
{
    unsigned failed = tell_all(r), led = 0;
    for (unsigned waited = 0; waited < WAIT_MS && led + failed < r->count; waited += 200) {
        pause_ms(200);
        unsigned now = count_led(r);
        waited = now > led ? 0 : waited; /* what is damaged takes its time */
        led = now;
    }
    printf("%u of %u partitions go on with %s\n", led, r->count, r->node);
    return led == r->count ? TM_EXIT_DONE : TM_EXIT_FAILED;
}

static int run(struct recovery *r, bool yes)
{
    int status = find_node(r);
    if (status == TM_EXIT_DONE)
        status = gather(r);
    if (status != TM_EXIT_DONE)
        return status;
    if (!judge_all(r))
        return tm_fail("%s", tm_err_text(TM_ERR_NOMEM));
    if (r->partition >= (long)r->s.partition_count)
        return tm_fail("there is no partition %ld: the cluster has %u, from 0", r->partition,
                       r->s.partition_count);
    if (r->count == 0) {
        puts("nothing to recover here");
        return r->partition >= 0 ? TM_EXIT_FAILED : TM_EXIT_DONE;
    }
    if (!yes && !confirmed(r))
        return tm_fail("not confirmed: nothing was done");
    return recover(r);
}

static bool parse_partition(const char *word, long *out)
{
    char *end;
    errno = 0;
    *out = strtol(word, &end, 10);
    return errno == 0 && end != word && *end == '\0' && *out >= 0;
}

int tm_main_recover(int argc, char **argv)
{
    bool all = false, yes = false;
    const char *partition = NULL, *password = tm_client_password();
    const struct tm_arg args[] = {{"--all", &all, NULL},
                                  {"--yes", &yes, NULL},
                                  {"--partition", NULL, &partition},
                                  {"--requirepass", NULL, &password},
                                  {NULL, NULL, NULL}};
    if (!tm_args_take("recover", &argc, argv, args, false))
        return TM_EXIT_USAGE;
    if (argc != 1)
        return tm_usage_error("recover", "the ADDRESS:PORT of the node to go on with is needed");
    if (!tm_client_is_address(argv[0]))
        return tm_usage_error("recover", "\"%s\" is no ADDRESS:PORT", argv[0]);
    struct recovery r = {.address = argv[0], .password = password, .partition = -1};
    if ((partition == NULL) == !all)
        return tm_usage_error("recover", "say either --partition P or --all");
    if (partition != NULL && !parse_partition(partition, &r.partition))
        return tm_usage_error("recover", "\"%s\" is no partition", partition);
    int status = run(&r, yes);
    free(r.cases);
    tm_status_free(&r.s);
    return status;
}
