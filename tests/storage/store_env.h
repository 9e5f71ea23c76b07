/* store_env.h: a simulated disk, a clock and chance for the tests of storage. */
#ifndef TM_TESTS_STORAGE_STORE_ENV_H
#define TM_TESTS_STORAGE_STORE_ENV_H

#include <stdarg.h>

#include "runtime/ctx.h"
#include "storage/record.h"
#include "tests/sim/sim_disk.h"
#include "tests/test.h"

struct store_env {
    struct tm_ctx ctx;
    struct tm_sim_disk *sd;
    uint64_t now_ns;
    uint64_t rng;
};

static inline uint64_t env_random(void *host)
{
    struct store_env *env = host;
    env->rng ^= env->rng << 13;
    env->rng ^= env->rng >> 7;
    env->rng ^= env->rng << 17;
    return env->rng * 0x2545f4914f6cdd1dull;
}

static inline uint64_t env_below(struct store_env *env, uint64_t n)
{
    return (env_random(env) >> 11) % n;
}

static inline bool env_chance(struct store_env *env, unsigned percent)
{
    return env_below(env, 100) < percent;
}

static inline uint64_t env_now(void *host)
{
    return ((struct store_env *)host)->now_ns;
}

static inline uint64_t env_wall(void *host)
{
    return 1700000000000ull + ((struct store_env *)host)->now_ns / 1000000;
}

TM_PRINTF(4, 5)
static inline void env_log(void *host, enum tm_log_level level, const char *event, const char *fmt,
                           ...)
{
    (void)host;
    if (getenv("TM_VERBOSE") == NULL)
        return;
    va_list args;
    va_start(args, fmt);
    printf("    [%d] %s ", (int)level, event);
    vprintf(fmt, args);
    printf("\n");
    va_end(args);
}

static inline void env_init(struct store_env *env, uint64_t seed)
{
    *env = (struct store_env){.now_ns = 1000000, .rng = seed * 2 + 1};
    env->sd = tm_sim_disk_new(seed ^ 0x5eed);
    env->ctx = (struct tm_ctx){.host = env,
                               .now_ns = env_now,
                               .wall_ms = env_wall,
                               .random = env_random,
                               .log = env_log,
                               .disk = tm_sim_disk_table(env->sd)};
}

static inline void env_done(struct store_env *env)
{
    tm_sim_disk_free(env->sd);
}

/* A sealed record with a body of `body` bytes that depend on its index and salt. */
static inline struct tm_record *env_record(uint8_t *buf, uint32_t partition, uint64_t term,
                                           uint64_t index, uint64_t prev_hash, uint32_t body,
                                           uint64_t salt)
{
    struct tm_record *r = (void *)buf;
    *r = (struct tm_record){.kind = TM_RECORD_SYSTEM,
                            .partition = partition,
                            .body_len = body,
                            .term = term,
                            .index = index,
                            .origin = salt,
                            .prev_hash = prev_hash};
    for (uint32_t i = 0; i < body; i++)
        buf[sizeof *r + i] = (uint8_t)(index * 31 + i + salt);
    tm_record_seal(r);
    return r;
}

#endif
