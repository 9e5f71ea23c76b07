/* eal.h: DPDK's environment layer, started so that it disturbs nothing.
 *
 * One start a process, on the main thread, before any other thread exists and never before a fork
 * that wants DPDK too.  By default it needs neither root nor hugepages, probes no PCI device,
 * leaves no file behind, keeps this process's affinity and signal mask, and sends every line of
 * its log to one function.  What fails is told in one line that says what to do. */
#ifndef TM_NET_EAL_H
#define TM_NET_EAL_H

#include "runtime/base.h"
#include "runtime/ctx.h"

/* Where log lines of EAL and of the dpdk fabric go: the form of tm_ctx.log.  Called from any
 * thread, EAL's own included; must not block. */
struct tm_eal_log {
    void *host;
    void (*write)(void *host, enum tm_log_level level, const char *event, const char *fmt, ...)
        TM_PRINTF(4, 5);
};

struct tm_eal_config {
    const char *extra;   /* more EAL arguments (--eal), split at blanks; NULL: none */
    const char *pci;     /* a PCI address to take ("0000:01:00.0"); NULL: touch no PCI device */
    unsigned memory_mib; /* for mbufs and DPDK's own needs; 16..65536 */
    struct tm_eal_log log;
};

/* Checks the text of --eal: options that EAL knows and that make sense here, each with its
 * argument where it takes one.  TM_ERR_INVALID: `why` (one line) names the word. */
enum tm_err tm_eal_check(const char *extra, char *why, size_t why_size);

/* Starts EAL; blocks for about 150 ms.  A word of `extra` overrides the default that it speaks
 * of: -m or --socket-mem the memory, --huge-dir and its like --no-huge, -a --no-pci.
 * TM_ERR_INVALID (bad arguments), TM_ERR_UNSUPPORTED or TM_ERR_NOMEM: `why` is one line with what
 * to do.  After a failure only tm_eal_start must not be called again. */
enum tm_err tm_eal_start(const struct tm_eal_config *config, char *why, size_t why_size);

/* Ends EAL; every fabric on it is closed before. */
void tm_eal_stop(void);

/* Makes the calling thread known to DPDK (its mbuf cache), and unknown again before it ends.
 * A second enter on the same thread does nothing.  TM_ERR_FULL: too many threads. */
enum tm_err tm_eal_thread_enter(void);
void tm_eal_thread_leave(void);

/* True if `port` is a PCI address ("01:00.0" or "0000:01:00.0") rather than a virtual device. */
bool tm_eal_port_is_pci(const char *port);

#endif
