/* Commands that the session answers itself: texts and forms of redis 7. */
#include "session_fixture.h"

static void the_small_commands_answer_as_redis(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    FIX_EXPECT(f, s, "ping\r\n", "+PONG\r\n");
    FIX_EXPECT(f, s, "PING hello\r\n", "$5\r\nhello\r\n");
    FIX_EXPECT(f, s, "ping a b\r\n", "-ERR wrong number of arguments for 'ping' command\r\n");
    FIX_EXPECT(f, s, "echo x\r\n", "$1\r\nx\r\n");
    FIX_EXPECT(f, s, "select 0\r\n", "+OK\r\n");
    FIX_EXPECT(f, s, "select 1\r\n", "-ERR SELECT is not allowed in cluster mode\r\n");
    FIX_EXPECT(f, s, "select x\r\n", "-ERR value is not an integer or out of range\r\n");
    FIX_EXPECT(f, s, "readonly\r\nreadwrite\r\nasking\r\n", "+OK\r\n+OK\r\n+OK\r\n");
    FIX_EXPECT(f, s, "time\r\n", "*2\r\n$10\r\n1700000000\r\n$6\r\n123000\r\n");
    FIX_EXPECT(f, s, "slowlog get 10\r\nslowlog len\r\nlatency latest\r\n", "*0\r\n:0\r\n*0\r\n");
    FIX_EXPECT(f, s, "get\r\n", "-ERR wrong number of arguments for 'get' command\r\n");
    FIX_EXPECT(f, s, "NoSuch a 'b c'\r\n",
               "-ERR unknown command 'NoSuch', with args beginning with: 'a' 'b c' \r\n");
    fix_delete(f);
}

static void quit_answers_and_closes(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    fix_send(s, "set a 1\r\nquit\r\nset a 2\r\n");
    CU_ASSERT_FALSE(tm_session_wants_close(s));
    fix_answer_all(f);
    CU_ASSERT_STRING_EQUAL(fix_output(f, s), "+OK\r\n+OK\r\n");
    CU_ASSERT(tm_session_wants_close(s));
    CU_ASSERT_EQUAL(f->submitted, 1);
    fix_delete(f);
}

static void shutdown_ends_the_node_without_a_reply(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    FIX_EXPECT(f, s, "shutdown now please\r\n", "-ERR syntax error\r\n");
    CU_ASSERT_EQUAL(f->shutdowns, 0);
    FIX_EXPECT(f, s, "shutdown nosave save\r\n", "-ERR syntax error\r\n");
    CU_ASSERT_EQUAL(f->shutdowns, 0);
    FIX_EXPECT(f, s, "shutdown nosave\r\n", "");
    CU_ASSERT_EQUAL(f->shutdowns, 1);
    CU_ASSERT(tm_session_wants_close(s));
    fix_delete(f);
}

static void hello_changes_the_protocol(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    FIX_EXPECT_PART(f, s, "hello\r\n", "*14\r\n$6\r\nserver\r\n$8\r\ntidemill\r\n");
    FIX_EXPECT(f, s, "get a\r\n", "$-1\r\n");
    FIX_EXPECT_PART(f, s, "hello 3 setname me\r\n", "%7\r\n$6\r\nserver\r\n");
    FIX_EXPECT(f, s, "get a\r\n", "_\r\n");
    FIX_EXPECT(f, s, "client getname\r\n", "$2\r\nme\r\n");
    FIX_EXPECT(f, s, "hello 4\r\n", "-NOPROTO unsupported protocol version\r\n");
    FIX_EXPECT(f, s, "hello x\r\n", "-ERR Protocol version is not an integer or out of range\r\n");
    FIX_EXPECT(f, s, "hello 3 foo\r\n", "-ERR Syntax error in HELLO option 'foo'\r\n");
    FIX_EXPECT(f, s, "reset\r\n", "+RESET\r\n");
    FIX_EXPECT(f, s, "client getname\r\n", "$-1\r\n");
    fix_delete(f);
}

static void nothing_is_done_without_the_password(void)
{
    struct fix *f = fix_new();
    strcpy(f->password, "secret");
    struct tm_session *s = fix_open(f);
    FIX_EXPECT(f, s, "get a\r\n", "-NOAUTH Authentication required.\r\n");
    FIX_EXPECT(f, s, "client id\r\n", "-NOAUTH Authentication required.\r\n");
    FIX_EXPECT_PART(f, s, "hello 3\r\n", "-NOAUTH HELLO must be called with");
    FIX_EXPECT(f, s, "auth wrong\r\n",
               "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
    FIX_EXPECT(f, s, "auth secretsecret\r\n",
               "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
    FIX_EXPECT(f, s, "auth other secret\r\n",
               "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
    CU_ASSERT_EQUAL(f->submitted, 0);
    FIX_EXPECT(f, s, "auth secret\r\n", "+OK\r\n");
    FIX_EXPECT(f, s, "get a\r\n", "$-1\r\n");
    FIX_EXPECT(f, s, "reset\r\nget a\r\n", "+RESET\r\n-NOAUTH Authentication required.\r\n");
    FIX_EXPECT_PART(f, s, "hello 3 auth default secret\r\n", "%7\r\n");
    FIX_EXPECT(f, s, "*11\r\n", ""); /* no narrow limits any more */
    CU_ASSERT_FALSE(tm_session_wants_close(s));
    fix_delete(f);
}

static void before_auth_commands_are_kept_small(void)
{
    struct fix *f = fix_new();
    strcpy(f->password, "secret");
    struct tm_session *s = fix_open(f);
    FIX_EXPECT(f, s, "*11\r\n", "-ERR Protocol error: unauthenticated multibulk length\r\n");
    CU_ASSERT(tm_session_wants_close(s));
    fix_delete(f);
}

static void auth_without_a_password_says_so(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    FIX_EXPECT_PART(f, s, "auth x\r\n", "-ERR AUTH <password> called without any password");
    FIX_EXPECT(f, s, "auth default anything\r\n", "+OK\r\n");
    fix_delete(f);
}

static void clients_are_named_listed_and_killed(void)
{
    struct fix *f = fix_new();
    struct tm_session *a = fix_open(f), *b = fix_open(f), *c = fix_open(f);
    char text[100], part[60];
    FIX_EXPECT(f, a, "client setname one\r\n", "+OK\r\n");
    FIX_EXPECT_PART(f, a, "client setname \"a b\"\r\n", "-ERR Client names cannot contain spaces");
    FIX_EXPECT(f, a, "client setinfo lib-name x\r\nclient setinfo lib-ver 2\r\n", "+OK\r\n+OK\r\n");
    FIX_EXPECT_PART(f, b, "client list\r\n", " name=one ");
    FIX_EXPECT_PART(f, a, "client info\r\n", " lib-name=x lib-ver=2\n");
    snprintf(part, sizeof part, ":%llu\r\n", (unsigned long long)tm_session_id(a));
    FIX_EXPECT(f, a, "client id\r\n", part);
    snprintf(text, sizeof text, "client kill id %llu\r\n", (unsigned long long)tm_session_id(b));
    FIX_EXPECT(f, a, text, ":1\r\n");
    CU_ASSERT(tm_session_wants_close(b));
    tm_session_close(b);
    FIX_EXPECT(f, a, text, ":0\r\n");
    FIX_EXPECT(f, a, "client kill 1.2.3.4:5\r\n", "-ERR No such client\r\n");
    FIX_EXPECT(f, a, "client kill skipme no type normal\r\n", ":2\r\n");
    CU_ASSERT(tm_session_wants_close(c));
    CU_ASSERT(tm_session_wants_close(a));
    fix_delete(f);
}

static void client_reply_silences(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    FIX_EXPECT(f, s, "client reply skip\r\nset a 1\r\nget a\r\n", "$1\r\n1\r\n");
    FIX_EXPECT(f, s, "client reply off\r\nget a\r\nping\r\nmget a b c\r\nkeys *\r\nscan 0\r\n", "");
    FIX_EXPECT(f, s, "client reply on\r\nget a\r\n", "+OK\r\n$1\r\n1\r\n");
    FIX_EXPECT(f, s, "client reply maybe\r\n", "-ERR syntax error\r\n");
    fix_delete(f);
}

static void subcommands_are_checked_as_in_redis(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    FIX_EXPECT(f, s, "client nosuch\r\n", "-ERR unknown subcommand 'nosuch'. Try CLIENT HELP.\r\n");
    FIX_EXPECT(f, s, "config get\r\n",
               "-ERR wrong number of arguments for 'config|get' command\r\n");
    FIX_EXPECT(f, s, "config\r\n", "-ERR wrong number of arguments for 'config' command\r\n");
    FIX_EXPECT(f, s, "client tracking on\r\n", "-ERR client tracking is not supported\r\n");
    FIX_EXPECT(f, s, "client no-evict on\r\nclient no-touch off\r\n", "+OK\r\n+OK\r\n");
    fix_delete(f);
}

static void config_shows_options_under_both_names(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    FIX_EXPECT(f, s, "config get memory-limit\r\n", "*2\r\n$12\r\nmemory-limit\r\n$4\r\n1000\r\n");
    FIX_EXPECT(f, s, "config get save appendonly\r\n",
               "*4\r\n$4\r\nsave\r\n$0\r\n\r\n$10\r\nappendonly\r\n$3\r\nyes\r\n");
    FIX_EXPECT(f, s, "config get MAXMEMORY\r\n", "*2\r\n$9\r\nmaxmemory\r\n$4\r\n1000\r\n");
    FIX_EXPECT(f, s, "config get appendfsync\r\n", "*2\r\n$11\r\nappendfsync\r\n$6\r\nalways\r\n");
    FIX_EXPECT(f, s, "config get nosuch*\r\n", "*0\r\n");
    FIX_EXPECT(f, s, "config set maxmemory 2000\r\n", "+OK\r\n");
    FIX_EXPECT(f, s, "config get memory-limit\r\n", "*2\r\n$12\r\nmemory-limit\r\n$4\r\n2000\r\n");
    FIX_EXPECT_PART(f, s, "config set maxmemory many\r\n", "- takes a size\r\n");
    FIX_EXPECT_PART(f, s, "config set durability memory\r\n", "can't set immutable config\r\n");
    FIX_EXPECT(f, s, "config set save \"\" maxmemory 3000 durability memory\r\n",
               "-ERR CONFIG SET failed (possibly related to argument 'durability') - can't set "
               "immutable config\r\n");
    FIX_EXPECT_PART(f, s, "config set maxmemory 3000 appendonly no\r\n", "argument 'appendonly')");
    FIX_EXPECT_PART(f, s, "config set maxmemory 4000 maxmemory many\r\n",
                    "argument 'maxmemory') - takes a size\r\n");
    FIX_EXPECT_PART(f, s, "config get maxmemory\r\n", "\r\n2000\r\n");
    FIX_EXPECT_PART(f, s, "config set appendonly no\r\n", "can't set immutable config\r\n");
    FIX_EXPECT(f, s, "config set save \"\"\r\n", "+OK\r\n");
    FIX_EXPECT_PART(f, s, "config set nosuch 1\r\n", "-ERR Unknown option or number of arguments");
    FIX_EXPECT(f, s, "config resetstat\r\n", "+OK\r\n");
    FIX_EXPECT_PART(f, s, "hello 3\r\n", "%7\r\n");
    FIX_EXPECT(f, s, "config get save\r\n", "%1\r\n$4\r\nsave\r\n$0\r\n\r\n");
    fix_delete(f);
}

static void info_tells_what_clients_look_for(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    FIX_EXPECT_PART(f, s, "info\r\n", "\r\ncluster_enabled:1\r\n");
    FIX_EXPECT_PART(f, s, "info keyspace\r\n", "# Keyspace\r\ndb0:keys=12,expires=3,avg_ttl=0\r\n");
    FIX_EXPECT_PART(f, s, "info tidemill\r\n", "# Tidemill\r\ncommits:41\r\n");
    FIX_EXPECT_PART(f, s, "info server clients\r\n", "redis_mode:cluster\r\n");
    FIX_EXPECT(f, s, "info nosuch\r\n", "$0\r\n\r\n");
    fix_delete(f);
}

static void cluster_slots_are_the_leaders_ranges(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    /* Member 0 leads partitions 0..7, member 2 8..14; 15 has no known leader: it is ours. */
    FIX_EXPECT(f, s, "cluster slots\r\n",
               "*3\r\n"
               "*3\r\n:0\r\n:8191\r\n*4\r\n$9\r\n127.0.0.1\r\n:7001\r\n$40\r\n"
               "0000000000000000000000000000000000000001\r\n*0\r\n"
               "*3\r\n:8192\r\n:15359\r\n*4\r\n$9\r\n127.0.0.1\r\n:7003\r\n$40\r\n"
               "0000000000000000000000000000000000000003\r\n*0\r\n"
               "*3\r\n:15360\r\n:16383\r\n*4\r\n$9\r\n127.0.0.1\r\n:7001\r\n$40\r\n"
               "0000000000000000000000000000000000000001\r\n*0\r\n");
    fix_delete(f);
}

static void cluster_nodes_are_lines_of_members(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    FIX_EXPECT_PART(f, s, "cluster nodes\r\n",
                    "0000000000000000000000000000000000000001 127.0.0.1:7001@17001 myself,master - "
                    "0 0 5 connected 0-8191 15360-16383\n"
                    "0000000000000000000000000000000000000002 127.0.0.1:7002@17002 master - 0 0 5 "
                    "connected\n");
    FIX_EXPECT_PART(f, s, "cluster nodes\r\n", ":7004@17004 master,fail - 0 0 5 disconnected\n");
    FIX_EXPECT_PART(f, s, "cluster shards\r\n",
                    "*4\r\n*4\r\n$5\r\nslots\r\n*4\r\n:0\r\n:8191\r\n:15360\r\n:16383\r\n"
                    "$5\r\nnodes\r\n*1\r\n*14\r\n$2\r\nid\r\n");
    FIX_EXPECT_PART(f, s, "cluster info\r\n", "cluster_state:fail\r\n");
    FIX_EXPECT_PART(f, s, "cluster info\r\n", "cluster_slots_ok:15360\r\n");
    FIX_EXPECT(f, s, "cluster keyslot foo\r\n", ":12182\r\n");
    FIX_EXPECT(f, s, "cluster keyslot x{foo}y\r\n", ":12182\r\n");
    FIX_EXPECT(f, s, "cluster myid\r\n", "$40\r\n0000000000000000000000000000000000000001\r\n");
    FIX_EXPECT_PART(f, s, "cluster reset\r\n", "-ERR the cluster is what its topology file says");
    fix_delete(f);
}

static void containers_print_their_subcommands(void)
{
    static const char *const containers[] = {"client", "cluster", "command",
                                             "config", "latency", "slowlog"};
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    FIX_EXPECT(f, s, "slowlog help\r\n",
               "*9\r\n+SLOWLOG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:\r\n"
               "+GET [<count>]\r\n+    Always empty: slow commands are not recorded.\r\n"
               "+LEN\r\n+    Always 0.\r\n+RESET\r\n+    Accepted; changes nothing.\r\n"
               "+HELP\r\n+    Prints this help.\r\n");
    for (size_t i = 0; i < TM_ARRAY_LEN(containers); i++) {
        char text[64];
        struct tm_resp_skipper skipper = {0};
        size_t used;
        snprintf(text, sizeof text, "%s help\r\n", containers[i]);
        fix_send(s, text);
        const char *out = fix_output(f, s);
        CU_ASSERT_PTR_NOT_NULL(strstr(out, "+HELP\r\n+    Prints this help.\r\n"));
        CU_ASSERT_EQUAL(tm_resp_skip(&skipper, (const uint8_t *)out, strlen(out), &used),
                        TM_RESP_DONE);
        CU_ASSERT_EQUAL(used, strlen(out));
        snprintf(text, sizeof text, "%s help x\r\n", containers[i]);
        FIX_EXPECT_PART(f, s, text, "-ERR wrong number of arguments for '");
    }
    fix_delete(f);
}

static void what_is_never_there_is_said_as_redis_says_it(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    FIX_EXPECT(f, s, "slowlog get -1\r\nslowlog reset\r\n", "*0\r\n+OK\r\n");
    FIX_EXPECT(f, s, "slowlog get -2\r\n", "-ERR count should be greater than or equal to -1\r\n");
    FIX_EXPECT(f, s, "latency history x\r\nlatency reset\r\nlatency histogram get\r\n",
               "*0\r\n:0\r\n*0\r\n");
    FIX_EXPECT(f, s, "latency graph x\r\n", "-ERR No samples available for event 'x'\r\n");
    FIX_EXPECT_PART(f, s, "latency doctor\r\n", "INFO tidemill");
    FIX_EXPECT(f, s, "client getredir\r\nclient unpause\r\n", ":-1\r\n+OK\r\n");
    FIX_EXPECT_PART(f, s, "client trackinginfo\r\n", "*6\r\n$5\r\nflags\r\n*1\r\n$3\r\noff");
    FIX_EXPECT(f, s, "client list id x\r\n", "-ERR Invalid client ID\r\n");
    FIX_EXPECT(f, s, "client list type x\r\n", "-ERR Unknown client type 'x'\r\n");
    FIX_EXPECT(f, s, "client list type pubsub\r\n", "$0\r\n\r\n");
    FIX_EXPECT(f, s, "client kill type x\r\n", "-ERR Unknown client type 'x'\r\n");
    FIX_EXPECT(f, s, "client kill user x\r\n", "-ERR No such user 'x'\r\n");
    FIX_EXPECT(f, s, "cluster replicas x\r\n", "-ERR Unknown node x\r\n");
    FIX_EXPECT(f, s, "cluster replicas 0000000000000000000000000000000000000002\r\n", "*0\r\n");
    FIX_EXPECT(f, s, "shutdown abort\r\n", "-ERR No shutdown in progress.\r\n");
    FIX_EXPECT(f, s, "config set maxmemory 1 loglevel\r\n", "-ERR syntax error\r\n");
    fix_delete(f);
}

static void keys_of_a_slot_are_asked_of_its_partition(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    fix_send(s, "cluster countkeysinslot 12182\r\ncluster getkeysinslot 0 7\r\n");
    CU_ASSERT_EQUAL_FATAL(f->submitted, 2);
    CU_ASSERT_EQUAL(f->requests[0].r.partition, tm_partition_of_slot(12182, FIX_PARTITIONS));
    CU_ASSERT_STRING_EQUAL(f->requests[0].text[0][0], "CLUSTER|SLOT");
    CU_ASSERT_STRING_EQUAL(f->requests[0].text[0][1], "12182");
    CU_ASSERT_STRING_EQUAL(f->requests[0].text[0][2], "-1");
    CU_ASSERT_EQUAL(f->requests[1].r.partition, 0);
    CU_ASSERT_STRING_EQUAL(f->requests[1].text[0][2], "7");
    fix_answer_all(f);
    fix_output(f, s);
    FIX_EXPECT(f, s, "cluster countkeysinslot a\r\n",
               "-ERR value is not an integer or out of range\r\n");
    FIX_EXPECT(f, s, "cluster countkeysinslot 16384\r\n", "-ERR Invalid slot\r\n");
    FIX_EXPECT(f, s, "cluster getkeysinslot 0 -1\r\n", "-ERR Invalid slot or number of keys\r\n");
    FIX_EXPECT(f, s, "cluster countkeysinslot\r\n",
               "-ERR wrong number of arguments for 'cluster|countkeysinslot' command\r\n");
    CU_ASSERT_EQUAL(f->submitted, 2);
    fix_delete(f);
}

static void command_describes_the_table(void)
{
    struct fix *f = fix_new();
    struct tm_session *s = fix_open(f);
    unsigned count = 0;
    char text[40];
    while (tm_command_at(count) != NULL)
        count++;
    snprintf(text, sizeof text, ":%u\r\n", count);
    FIX_EXPECT(f, s, "command count\r\n", text);
    FIX_EXPECT_PART(
        f, s, "command info get nosuch\r\n",
        "*2\r\n*10\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n");
    FIX_EXPECT_PART(f, s, "command info mset\r\n",
                    ":-3\r\n*2\r\n+write\r\n+denyoom\r\n:1\r\n:-1\r\n:2\r\n");
    FIX_EXPECT_PART(f, s, "command info sintercard\r\n", "+movablekeys\r\n:0\r\n:0\r\n:0\r\n");
    FIX_EXPECT(f, s, "command getkeys mset a 1 b 2\r\n", "*2\r\n$1\r\na\r\n$1\r\nb\r\n");
    FIX_EXPECT(f, s, "command getkeysandflags get a\r\n",
               "*1\r\n*2\r\n$1\r\na\r\n*2\r\n+RO\r\n+access\r\n");
    FIX_EXPECT(f, s, "command list filterby module x\r\n", "*0\r\n");
    FIX_EXPECT(f, s, "command list filterby aclcat nosuch\r\n", "*0\r\n");
    FIX_EXPECT(f, s, "command list filterby aclcat transaction\r\n",
               "*5\r\n$5\r\nmulti\r\n$4\r\nexec\r\n$7\r\ndiscard\r\n$5\r\nwatch\r\n"
               "$7\r\nunwatch\r\n");
    FIX_EXPECT(f, s, "command info nosuch\r\n", "*1\r\n$-1\r\n");
    FIX_EXPECT(f, s, "role\r\n", "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n");
    FIX_EXPECT(f, s, "command getkeys echo a\r\n", "-ERR The command has no key arguments\r\n");
    FIX_EXPECT(f, s, "command getkeys nosuch a\r\n", "-ERR Invalid command specified\r\n");
    FIX_EXPECT(f, s, "command getkeys get\r\n",
               "-ERR wrong number of arguments for 'command|getkeys' command\r\n");
    FIX_EXPECT_PART(f, s, "command info hset\r\n",
                    "*3\r\n+@write\r\n+@hash\r\n+@fast\r\n*0\r\n*1\r\n*6\r\n$5\r\nflags\r\n"
                    "*2\r\n+RW\r\n+update\r\n");
    FIX_EXPECT(f, s, "command info cluster|slot\r\n", "*1\r\n$-1\r\n"); /* only between us */
    FIX_EXPECT_PART(f, s, "cluster|slot 1 1\r\n", "-ERR unknown command 'cluster|slot'");
    FIX_EXPECT(f, s, "command list filterby pattern hgeta*\r\n", "*1\r\n$7\r\nhgetall\r\n");
    FIX_EXPECT_PART(f, s, "command docs get\r\n", "*2\r\n$3\r\nget\r\n*6\r\n$7\r\nsummary\r\n");
    fix_send(s, "command\r\n");
    const char *out = fix_output(f, s);
    struct tm_resp_skipper skipper = {0};
    size_t used;
    CU_ASSERT_EQUAL(tm_resp_skip(&skipper, (const uint8_t *)out, strlen(out), &used), TM_RESP_DONE);
    CU_ASSERT_EQUAL(used, strlen(out));
    fix_delete(f);
}

static const struct tm_test tests[] = {
    TM_TEST(the_small_commands_answer_as_redis),
    TM_TEST(quit_answers_and_closes),
    TM_TEST(shutdown_ends_the_node_without_a_reply),
    TM_TEST(hello_changes_the_protocol),
    TM_TEST(nothing_is_done_without_the_password),
    TM_TEST(before_auth_commands_are_kept_small),
    TM_TEST(auth_without_a_password_says_so),
    TM_TEST(clients_are_named_listed_and_killed),
    TM_TEST(client_reply_silences),
    TM_TEST(subcommands_are_checked_as_in_redis),
    TM_TEST(config_shows_options_under_both_names),
    TM_TEST(info_tells_what_clients_look_for),
    TM_TEST(cluster_slots_are_the_leaders_ranges),
    TM_TEST(cluster_nodes_are_lines_of_members),
    TM_TEST(containers_print_their_subcommands),
    TM_TEST(what_is_never_there_is_said_as_redis_says_it),
    TM_TEST(keys_of_a_slot_are_asked_of_its_partition),
    TM_TEST(command_describes_the_table),
};

TM_TEST_MAIN("actors/session_local", tests)
