/* log_set_env.h: log sets over a simulated disk, as tests configure and settle them. */
#ifndef TM_TESTS_STORAGE_LOG_SET_ENV_H
#define TM_TESTS_STORAGE_LOG_SET_ENV_H

#include "storage/log_set.h"
#include "tests/storage/store_env.h"

/* A WAL of its first generation, with small segments, in the folder "wal" of the env's disk. */
static inline struct tm_wal_config log_set_wal_config(struct store_env *env, uint32_t partitions)
{
    return (struct tm_wal_config){.ctx = &env->ctx,
                                  .folder = "wal",
                                  .generation = 1,
                                  .partitions = partitions,
                                  .cluster = {7},
                                  .disk_id = 5,
                                  .segment_bytes = TM_KIB(64),
                                  .max_record_bytes = 4096};
}

/* All that was written is durable, and what follows from that, too. */
static inline void log_set_settle(struct tm_log_set *set, struct store_env *env)
{
    for (unsigned i = 0; i < 8; i++) {
        tm_log_set_flush(set);
        tm_sim_disk_drain(env->sd);
    }
}

#endif
