/* slot_map.h: which address owns which slot, as a server's CLUSTER SLOTS says.  Pure; one thread.
 */
#ifndef TM_BENCH_SLOT_MAP_H
#define TM_BENCH_SLOT_MAP_H

#include "runtime/crc16.h"

#define TM_SLOT_MAP_OWNERS_MAX 256
#define TM_SLOT_MAP_TEXT       80
#define TM_SLOT_UNOWNED        UINT16_MAX

struct tm_slot_map {
    unsigned owners;
    char owner[TM_SLOT_MAP_OWNERS_MAX][TM_SLOT_MAP_TEXT]; /* "host:port" */
    uint16_t of_slot[TM_SLOTS];                           /* index into owner, or TM_SLOT_UNOWNED */
};

/* Reads the reply of CLUSTER SLOTS (RESP2 or RESP3), which is there in full.  A range whose owner
 * names no host is on `host`, the one that was asked.  On failure why gets one line: the server
 * answered an error, the reply is none of CLUSTER SLOTS, a slot has no owner, or too many owners.
 */
enum tm_err tm_slot_map_parse(struct tm_slot_map *map, struct tm_bytes reply, const char *host,
                              char *why, size_t why_len);

#endif
