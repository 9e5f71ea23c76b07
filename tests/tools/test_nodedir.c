#include "tools/nodedir.h"
#include "tests/scratch.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *dir;
static char why[TM_NODEDIR_WHY];

static void make_dir(void)
{
    dir = tm_scratch();
}

static const char *at(const char *tail)
{
    static char path[4][256];
    static unsigned next;
    char *p = path[next++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", dir, tail);
    return p;
}

static void put(const char *tail, const char *text)
{
    FILE *f = fopen(at(tail), "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    fputs(text, f);
    fclose(f);
}

static void make_node(const char *cluster, const char *node)
{
    char tail[128];
    mkdir(at(cluster), 0755);
    snprintf(tail, sizeof tail, "%s/%s", cluster, node);
    CU_ASSERT_EQUAL(mkdir(at(tail), 0755), 0);
    snprintf(tail, sizeof tail, "%s/%s/lock", cluster, node);
    put(tail, "");
}

static struct tm_nodefile file_of(const char *cluster, const char *node)
{
    struct tm_nodefile f = {.pid = 4711, .workers = 2};
    snprintf(f.cluster, sizeof f.cluster, "%s", cluster);
    snprintf(f.node, sizeof f.node, "%s", node);
    snprintf(f.listen, sizeof f.listen, "127.0.0.1:7000");
    snprintf(f.fabric, sizeof f.fabric, "dpdk");
    snprintf(f.state, sizeof f.state, "running");
    snprintf(f.boot, sizeof f.boot, "00c0ffee");
    return f;
}

static void what_a_node_wrote_is_read_back(void)
{
    make_dir();
    struct tm_nodefile out, in = file_of("c", "n");
    CU_ASSERT_EQUAL(tm_nodefile_read(dir, &out), TM_ERR_NOTFOUND);
    CU_ASSERT_EQUAL(tm_nodefile_write(dir, &in, why, sizeof why), TM_OK);
    CU_ASSERT_EQUAL(tm_nodefile_read(dir, &out), TM_OK);
    CU_ASSERT_EQUAL(memcmp(&in, &out, sizeof in), 0);
    CU_ASSERT_NOT_EQUAL(access(at("node.json.tmp"), F_OK), 0);
    put("node.json", "{\"pid\": ");
    CU_ASSERT_EQUAL(tm_nodefile_read(dir, &out), TM_ERR_CORRUPT);
    CU_ASSERT_EQUAL(tm_nodefile_write(at("gone"), &in, why, sizeof why), TM_ERR_NOTFOUND);
    CU_ASSERT_PTR_NOT_NULL(strstr(why, "gone/node.json"));
}

static void only_the_lock_tells_that_a_node_lives(void)
{
    make_dir();
    make_node("c", "n");
    struct tm_nodefile f = file_of("c", "n");
    f.pid = getpid(); /* which lives, but holds no lock */
    CU_ASSERT_EQUAL(tm_nodefile_write(at("c/n"), &f, why, sizeof why), TM_OK);
    struct tm_nodedir d;
    CU_ASSERT_EQUAL(tm_nodedir_look(dir, "c", "n", &d), TM_OK);
    CU_ASSERT_FALSE(d.lives);
    CU_ASSERT_STRING_EQUAL(tm_nodedir_state(&d), "dead");

    int fd = open(at("c/n/lock"), O_RDWR);
    CU_ASSERT_EQUAL(flock(fd, LOCK_EX), 0);
    CU_ASSERT_EQUAL(tm_nodedir_look(dir, "c", "n", &d), TM_OK);
    CU_ASSERT(d.lives);
    CU_ASSERT_EQUAL(d.pid, getpid());
    CU_ASSERT_STRING_EQUAL(tm_nodedir_state(&d), "running");
    put("c/n/lock", "12345\n"); /* another process, which has not written node.json yet */
    CU_ASSERT_EQUAL(tm_nodedir_look(dir, "c", "n", &d), TM_OK);
    CU_ASSERT_EQUAL(d.pid, 12345);
    CU_ASSERT_STRING_EQUAL(tm_nodedir_state(&d), "starting");
    CU_ASSERT_FALSE(tm_nodedir_wait_free(d.path, 20));
    close(fd);
    CU_ASSERT(tm_nodedir_wait_free(d.path, 20));

    snprintf(f.state, sizeof f.state, "stopped");
    CU_ASSERT_EQUAL(tm_nodefile_write(at("c/n"), &f, why, sizeof why), TM_OK);
    CU_ASSERT_EQUAL(tm_nodedir_look(dir, "c", "n", &d), TM_OK);
    CU_ASSERT_STRING_EQUAL(tm_nodedir_state(&d), "stopped");
}

static void nodes_are_listed_by_name_and_narrowed_down(void)
{
    make_dir();
    make_node("b", "n-2");
    make_node("b", "n-1");
    make_node("a", "n-1");
    mkdir(at("b/no-node"), 0755);
    put("a-file", "");
    struct tm_nodedir *all;
    unsigned count;
    CU_ASSERT_EQUAL_FATAL(tm_nodedir_list(dir, NULL, NULL, &all, &count), TM_OK);
    CU_ASSERT_EQUAL_FATAL(count, 3);
    CU_ASSERT_STRING_EQUAL(all[0].cluster, "a");
    CU_ASSERT_STRING_EQUAL(all[1].node, "n-1");
    CU_ASSERT_STRING_EQUAL(all[2].node, "n-2");
    CU_ASSERT_STRING_EQUAL(all[2].path, at("b/n-2"));
    CU_ASSERT_STRING_EQUAL(tm_nodedir_state(&all[2]), "new");
    free(all);
    CU_ASSERT_EQUAL_FATAL(tm_nodedir_list(dir, "b", "n-1", &all, &count), TM_OK);
    CU_ASSERT_EQUAL(count, 1);
    free(all);
    CU_ASSERT_EQUAL_FATAL(tm_nodedir_list(dir, "c", NULL, &all, &count), TM_OK);
    CU_ASSERT_EQUAL(count, 0);
    free(all);
    CU_ASSERT_EQUAL(tm_nodedir_list(at("gone"), NULL, NULL, &all, &count), TM_ERR_NOTFOUND);
}

static void a_killed_process_is_seen_to_end(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        pause();
        _exit(0);
    }
    CU_ASSERT_FALSE(tm_process_is_ending(pid));
    CU_ASSERT_EQUAL(kill(pid, SIGKILL), 0);
    CU_ASSERT(tm_process_is_ending(pid)); /* pending, exiting, or a zombie: all the same */
    waitpid(pid, NULL, 0);
    CU_ASSERT(tm_process_is_ending(pid)); /* gone */
}

static void the_last_error_outweighs_later_lines(void)
{
    make_dir();
    char line[128];
    CU_ASSERT_FALSE(tm_last_error_line(at("log"), 0, line, sizeof line));
    put("log", "time=1 level=error event=old\ntime=2 level=info event=a\n"
               "time=3 level=error event=port_in_use\ntime=4 level=info event=end\n");
    CU_ASSERT(tm_last_error_line(at("log"), 0, line, sizeof line));
    CU_ASSERT_STRING_EQUAL(line, "time=3 level=error event=port_in_use");
    CU_ASSERT(tm_last_error_line(at("log"), 92, line, sizeof line));
    CU_ASSERT_STRING_EQUAL(line, "time=4 level=info event=end");
}

static const struct tm_test tests[] = {
    TM_TEST(what_a_node_wrote_is_read_back),
    TM_TEST(only_the_lock_tells_that_a_node_lives),
    TM_TEST(nodes_are_listed_by_name_and_narrowed_down),
    TM_TEST(a_killed_process_is_seen_to_end),
    TM_TEST(the_last_error_outweighs_later_lines),
};
TM_TEST_MAIN("tools/nodedir", tests)
