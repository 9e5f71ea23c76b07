/* One node of tests/system/test_af_packet.py: exchanges frames with one other node over an ethdev
 * and prints what it has seen each 100 ms, until it is killed.
 *
 *     dpdk_wire busy|doze NODE PORT IP PEER_IP BELL_IP PEER_BELL_IP
 *
 * Node 0 or 1; PORT as --fabric-port has it; IPs of the fabric (not the kernel's); doorbells are
 * UDP port 29600 of the kernel's addresses.  Workers: one. */
#include "tests/net/dpdk_peer.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/mman.h>

#define BELL_PORT 29600

static struct tm_dpdk_address address_of(const char *ip, const char *bell)
{
    struct tm_dpdk_address address = {.bell = {.sin_family = AF_INET}};
    struct in_addr in;
    if (inet_pton(AF_INET, ip, &in) != 1 || inet_pton(AF_INET, bell, &address.bell.sin_addr) != 1) {
        fprintf(stderr, "no address: %s %s\n", ip, bell);
        exit(2);
    }
    address.ip = ntohl(in.s_addr);
    address.bell.sin_port = htons(BELL_PORT);
    return address;
}

static void watch_and_print(const struct peer_seen *seen, unsigned other, pid_t child)
{
    for (;;) {
        int status;
        usleep(100000);
        printf("ready=%u up=%u down=%u received=%llu bad=%llu misrouted=%llu why=\"%s\"\n",
               seen->ready, seen->up[other], seen->down[other],
               (unsigned long long)seen->received[other], (unsigned long long)seen->bad,
               (unsigned long long)seen->misrouted, seen->why);
        fflush(stdout);
        if (waitpid(child, &status, WNOHANG) == child)
            exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
    }
}

int main(int argc, char **argv)
{
    if (argc != 8)
        return 2;
    unsigned node = argv[2][0] == '1';
    struct peer_seen *seen =
        mmap(NULL, sizeof *seen, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct peer_job job = {
        .config = {.domain = "dpdk_wire",
                   .node = node,
                   .workers = 1,
                   .peers = 3,
                   .boot = (uint64_t)getpid(),
                   .mbufs = 1024,
                   .port = argv[3]},
        .seen = seen,
        .peer_workers = 1,
        .pace_us = 500,
    };
    if (seen == MAP_FAILED)
        return 2;
    job.config.address[node] = address_of(argv[4], argv[6]);
    job.config.address[1 - node] = address_of(argv[5], argv[7]);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    pid_t child = fork();
    if (child == 0 && strcmp(argv[1], "doze") == 0)
        peer_doze_run(&job);
    if (child == 0)
        peer_run(&job);
    watch_and_print(seen, 1 - node, child);
}
