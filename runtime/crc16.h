/* crc16.h: the hash of keys that redis cluster clients use: CRC-16/XMODEM (CCITT polynomial 0x1021,
 * start 0, not reflected) modulo 16384 slots.  Pure; any thread. */
#ifndef TM_RUNTIME_CRC16_H
#define TM_RUNTIME_CRC16_H

#include "runtime/base.h"

#define TM_SLOTS 16384

/* The CRC of len bytes. */
uint16_t tm_crc16(const void *data, size_t len);

/* The slot of a key, 0..TM_SLOTS - 1.  If the key holds a '{' with a '}' somewhere after it and at
 * least one byte between the first '{' and the first '}' after that, only those bytes count. */
uint16_t tm_slot_of_key(struct tm_bytes key);

#endif
