/* client.h: a small blocking RESP client for the subcommands that ask running nodes.
 *
 * One request, one reply.  After any error but TM_ERR_INVALID the connection is of no further use:
 * close it.  One thread. */
#ifndef TM_TOOLS_CLIENT_H
#define TM_TOOLS_CLIENT_H

#include "net/resp.h"

struct tm_client {
    int fd; /* -1: closed */
    unsigned timeout_ms;
    uint8_t *buf; /* the reply */
    size_t len, cap;
};

/* Whether the text has the form ADDRESS:PORT, of an address or a host name. */
bool tm_client_is_address(const char *text);

/* Connects to ADDRESS:PORT within timeout_ms, which also bounds every later answer.  CLOSED (nobody
 * listens), TIMEOUT, NOTFOUND (no such host), INVALID (not an address), or another code. */
enum tm_err tm_client_open(struct tm_client *c, const char *address, unsigned timeout_ms);

/* Also when it is closed. */
void tm_client_close(struct tm_client *c);

/* Sends the words, ended by a NULL, at most 16, and reads the reply, whole; it lies in *reply until
 * the next call.  An error reply is a reply.  CLOSED, TIMEOUT, TOOBIG (over 64 MiB), CORRUPT (no
 * RESP). */
enum tm_err tm_client_ask(struct tm_client *c, const char *const *words, struct tm_bytes *reply);

/* The same with words that hold any bytes, and any number of them. */
enum tm_err tm_client_ask_bytes(struct tm_client *c, const struct tm_bytes *words, unsigned count,
                                struct tm_bytes *reply);

/* Asks and copies the text of the reply, a string, an error ("ERR ...") or a number, cut at size.
 * As tm_client_ask; INVALID: the reply is an error, or an aggregate or null (text is empty). */
enum tm_err tm_client_text(struct tm_client *c, const char *const *words, char *text, size_t size);

/* The password that the environment has for nodes (TIDEMILL_REQUIREPASS), or "". */
const char *tm_client_password(void);

/* AUTH with that password, unless it is empty.  PERMISSION: refused. */
enum tm_err tm_client_auth(struct tm_client *c, const char *password);

/* The value of "name:value\r\n" in a text like INFO's, cut at size; false if it has no such line.
 */
bool tm_info_field(const char *info, const char *name, char *value, size_t size);

#endif
