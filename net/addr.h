/* addr.h: socket addresses as text and back.
 *
 *   127.0.0.1:7000   [::1]:7000   host.example:7000   *:7000 (any)   unix:/path   unix:@abstract
 */
#ifndef TM_NET_ADDR_H
#define TM_NET_ADDR_H

#include <sys/socket.h>

#include "runtime/base.h"

/* Long enough for every numeric address, with its port and the final 0. */
#define TM_ADDR_TEXT 128

struct tm_addr {
    struct sockaddr_storage sa;
    socklen_t len;
};

/* Parses text of the forms above; numbers only, never blocks.  TM_ERR_NOTFOUND: the host is a name
 * (use tm_addr_resolve); TM_ERR_INVALID: not an address. */
enum tm_err tm_addr_parse(struct tm_addr *addr, const char *text);

/* The same with names looked up, IPv4 first; blocks, boot only.  TM_ERR_NOTFOUND: no such host. */
enum tm_err tm_addr_resolve(struct tm_addr *addr, const char *text);

/* Writes the address as text ("?" for a family it does not know), cut at len; returns buf. */
const char *tm_addr_format(const struct tm_addr *addr, char *buf, size_t len);

/* The port in host order; 0 for unix sockets. */
uint16_t tm_addr_port(const struct tm_addr *addr);
void tm_addr_set_port(struct tm_addr *addr, uint16_t port);

#endif
