#include "net/portlock.h"
#include "net/socket.h"
#include "tests/scratch.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *dir;
static char why[256];

static void begin(struct tm_addr *free_port)
{
    dir = tm_scratch();
    CU_ASSERT_EQUAL(tm_addr_parse(free_port, "127.0.0.1:0"), TM_OK);
    int fd = tm_socket_bind(free_port, false, 1);
    CU_ASSERT_FATAL(fd >= 0);
    close(fd);
}

static void a_locked_port_can_be_listened_on_and_relocked_after_release(void)
{
    struct tm_addr addr;
    struct tm_portlock lock;
    begin(&addr);
    CU_ASSERT_EQUAL(tm_portlock_acquire(&lock, dir, &addr, why, sizeof why), TM_OK);
    int fd = tm_socket_bind(&addr, true, 4);
    CU_ASSERT(fd >= 0);
    close(fd);
    tm_portlock_release(&lock);
    tm_portlock_release(&lock);
    CU_ASSERT_EQUAL(tm_portlock_acquire(&lock, dir, &addr, why, sizeof why), TM_OK);
    tm_portlock_release(&lock);
}

static void a_second_taker_is_told_who_has_the_port(void)
{
    struct tm_addr addr;
    struct tm_portlock first;
    struct tm_portlock second;
    char pid[32];
    begin(&addr);
    CU_ASSERT_EQUAL(tm_portlock_acquire(&first, dir, &addr, why, sizeof why), TM_OK);
    CU_ASSERT_EQUAL(tm_portlock_acquire(&second, dir, &addr, why, sizeof why), TM_ERR_LOCKED);
    snprintf(pid, sizeof pid, "process %d", (int)getpid());
    CU_ASSERT_PTR_NOT_NULL(strstr(why, pid));
    CU_ASSERT_EQUAL(second.fd, -1);
    tm_portlock_release(&first);
}

static void a_shared_port_of_another_program_is_found(void)
{
    struct tm_addr addr;
    struct tm_portlock lock;
    begin(&addr);
    int other = tm_socket_bind(&addr, true, 4); /* SO_REUSEPORT: binding again would succeed */
    int hidden = tm_socket_bind(&addr, true, 4);
    CU_ASSERT(other >= 0 && hidden >= 0);
    CU_ASSERT_EQUAL(tm_portlock_acquire(&lock, dir, &addr, why, sizeof why), TM_ERR_LOCKED);
    CU_ASSERT_PTR_NOT_NULL(strstr(why, "another program"));
    CU_ASSERT_EQUAL(lock.fd, -1);
    close(other);
    close(hidden);
    CU_ASSERT_EQUAL(tm_portlock_acquire(&lock, dir, &addr, why, sizeof why), TM_OK);
    tm_portlock_release(&lock);
}

static void a_dead_holder_leaves_no_lock(void)
{
    struct tm_addr addr;
    struct tm_portlock lock;
    begin(&addr);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        _exit(tm_portlock_acquire(&lock, dir, &addr, why, sizeof why) == TM_OK ? 0 : 1);
    int status = -1;
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    CU_ASSERT_EQUAL(status, 0);
    CU_ASSERT_EQUAL(tm_portlock_acquire(&lock, dir, &addr, why, sizeof why), TM_OK);
    tm_portlock_release(&lock);
}

static void other_users_may_lock_in_the_same_folder(void)
{
    struct tm_addr addr;
    struct tm_portlock lock;
    struct stat st;
    char shared[64], path[256];
    begin(&addr);
    snprintf(shared, sizeof shared, "%s/shared", dir);
    mode_t before = umask(077);
    CU_ASSERT_EQUAL(tm_portlock_acquire(&lock, shared, &addr, why, sizeof why), TM_OK);
    umask(before);
    CU_ASSERT_EQUAL(stat(shared, &st), 0);
    CU_ASSERT_EQUAL(st.st_mode & 07777, 01777);
    snprintf(path, sizeof path, "%s/port-%u.lock", shared, tm_addr_port(&addr));
    CU_ASSERT_EQUAL(stat(path, &st), 0);
    CU_ASSERT_EQUAL(st.st_mode & 0777, 0666);
    tm_portlock_release(&lock);
}

static void an_address_elsewhere_and_a_missing_folder_are_named(void)
{
    struct tm_addr addr;
    struct tm_portlock lock;
    begin(&addr);
    CU_ASSERT_EQUAL(tm_addr_parse(&addr, "192.0.2.1:7000"), TM_OK);
    CU_ASSERT_EQUAL(tm_portlock_acquire(&lock, dir, &addr, why, sizeof why), TM_ERR_NOTFOUND);
    CU_ASSERT_PTR_NOT_NULL(strstr(why, "192.0.2.1:7000"));
    CU_ASSERT_EQUAL(tm_portlock_acquire(&lock, "/nowhere/at/all", &addr, why, sizeof why),
                    TM_ERR_NOTFOUND);
    CU_ASSERT_PTR_NOT_NULL(strstr(why, "/nowhere/at/all"));
}

static const struct tm_test tests[] = {
    TM_TEST(a_locked_port_can_be_listened_on_and_relocked_after_release),
    TM_TEST(a_second_taker_is_told_who_has_the_port),
    TM_TEST(a_shared_port_of_another_program_is_found),
    TM_TEST(a_dead_holder_leaves_no_lock),
    TM_TEST(other_users_may_lock_in_the_same_folder),
    TM_TEST(an_address_elsewhere_and_a_missing_folder_are_named),
};
TM_TEST_MAIN("net/portlock", tests)
