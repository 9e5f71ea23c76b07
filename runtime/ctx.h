/* ctx.h: all that an actor may touch of the world.
 *
 * An actor has no thread, clock, socket, file or randomness of its own.  It is handed a tm_ctx,
 * and the product's worker or the simulator stands behind it: the same objects run in both.
 * A ctx belongs to one worker; its functions are called on that worker's thread only. */
#ifndef TM_RUNTIME_CTX_H
#define TM_RUNTIME_CTX_H

#include "runtime/base.h"

enum tm_log_level { TM_LOG_DEBUG, TM_LOG_INFO, TM_LOG_WARN, TM_LOG_ERROR };

struct tm_disk;     /* runtime/disk.h */
struct tm_counters; /* runtime/counters.h */

struct tm_ctx {
    void *host;

    /* Nanoseconds of a clock that never goes back; starts anywhere above zero.  The time of the
     * present turn: it does not move while an actor runs. */
    uint64_t (*now_ns)(void *host);

    /* Milliseconds since 1970 (UTC), of the present turn.  May jump from one turn to the next;
     * nothing may depend on it for safety. */
    uint64_t (*wall_ms)(void *host);

    /* 64 uniformly random bits; good enough for identities and timeouts, not for secrets. */
    uint64_t (*random)(void *host);

    /* One line of logfmt: event is a fixed word ("election_won"), fmt gives further key=value
     * pairs.  Never blocks; a line that does not fit its buffer is dropped and counted. */
    void (*log)(void *host, enum tm_log_level level, const char *event, const char *fmt, ...)
        TM_PRINTF(4, 5);

    struct tm_disk *disk;
    struct tm_counters *counters;
};

static inline uint64_t tm_ctx_now(const struct tm_ctx *ctx)
{
    return ctx->now_ns(ctx->host);
}
static inline uint64_t tm_ctx_wall_ms(const struct tm_ctx *ctx)
{
    return ctx->wall_ms(ctx->host);
}
static inline uint64_t tm_ctx_random(const struct tm_ctx *ctx)
{
    return ctx->random(ctx->host);
}
#define tm_ctx_log(ctx, level, event, ...) ((ctx)->log((ctx)->host, (level), (event), __VA_ARGS__))

#endif
