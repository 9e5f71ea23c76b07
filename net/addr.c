#include "net/addr.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

#define HOST_MAX 256

/* Digits only, 0..65535. */
static bool parse_port(const char *text, uint16_t *port)
{
    unsigned value = 0;
    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return false;
        value = value * 10 + (unsigned)(*text - '0');
        if (value > UINT16_MAX)
            return false;
    }
    *port = (uint16_t)value;
    return true;
}

static enum tm_err parse_unix(struct tm_addr *addr, const char *name)
{
    struct sockaddr_un *un = (struct sockaddr_un *)&addr->sa;
    size_t len = strlen(name);
    if (len == 0 || len >= sizeof un->sun_path)
        return TM_ERR_INVALID;
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, name, len);
    addr->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
    if (name[0] == '@') { /* abstract: a leading 0, and no final one */
        un->sun_path[0] = '\0';
        addr->len--;
    }
    return TM_OK;
}

/* Splits "host:port" or "[host]:port". */
static bool split(const char *text, char host[HOST_MAX], uint16_t *port)
{
    const char *colon = strrchr(text, ':');
    if (colon == NULL || !parse_port(colon + 1, port))
        return false;
    size_t len = (size_t)(colon - text);
    if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
        text++;
        len -= 2;
    } else if (memchr(text, ':', len) != NULL) {
        return false;
    }
    if (len == 0 || len >= HOST_MAX)
        return false;
    memcpy(host, text, len);
    host[len] = '\0';
    return true;
}

static bool parse_number(struct tm_addr *addr, const char *host)
{
    struct sockaddr_in *in4 = (struct sockaddr_in *)&addr->sa;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&addr->sa;
    if (strcmp(host, "*") == 0)
        host = "0.0.0.0";
    if (inet_pton(AF_INET, host, &in4->sin_addr) == 1) {
        in4->sin_family = AF_INET;
        addr->len = sizeof *in4;
        return true;
    }
    if (inet_pton(AF_INET6, host, &in6->sin6_addr) == 1) {
        in6->sin6_family = AF_INET6;
        addr->len = sizeof *in6;
        return true;
    }
    return false;
}

enum tm_err tm_addr_parse(struct tm_addr *addr, const char *text)
{
    char host[HOST_MAX];
    uint16_t port = 0;
    memset(addr, 0, sizeof *addr);
    if (strncmp(text, "unix:", 5) == 0)
        return parse_unix(addr, text + 5);
    if (!split(text, host, &port))
        return TM_ERR_INVALID;
    if (!parse_number(addr, host))
        return TM_ERR_NOTFOUND;
    tm_addr_set_port(addr, port);
    return TM_OK;
}

enum tm_err tm_addr_resolve(struct tm_addr *addr, const char *text)
{
    enum tm_err err = tm_addr_parse(addr, text);
    if (err != TM_ERR_NOTFOUND)
        return err;
    char host[HOST_MAX];
    uint16_t port = 0;
    if (!split(text, host, &port))
        return TM_ERR_INVALID;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (getaddrinfo(host, NULL, &hints, &found) != 0)
        return TM_ERR_NOTFOUND;
    const struct addrinfo *best = found;
    for (const struct addrinfo *a = found; a != NULL; a = a->ai_next) {
        if (a->ai_family == AF_INET) {
            best = a;
            break;
        }
    }
    memcpy(&addr->sa, best->ai_addr, best->ai_addrlen);
    addr->len = best->ai_addrlen;
    freeaddrinfo(found);
    tm_addr_set_port(addr, port);
    return TM_OK;
}

static void format_unix(const struct tm_addr *addr, char *buf, size_t len)
{
    const struct sockaddr_un *un = (const struct sockaddr_un *)&addr->sa;
    size_t head = offsetof(struct sockaddr_un, sun_path);
    size_t n = addr->len > head ? addr->len - head : 0;
    bool abstract = n > 1 && un->sun_path[0] == '\0';
    if (abstract)
        snprintf(buf, len, "unix:@%.*s", (int)(n - 1), un->sun_path + 1);
    else
        snprintf(buf, len, "unix:%.*s", (int)strnlen(un->sun_path, n), un->sun_path);
}

const char *tm_addr_format(const struct tm_addr *addr, char *buf, size_t len)
{
    char host[INET6_ADDRSTRLEN] = "?";
    const struct sockaddr_in *in4 = (const struct sockaddr_in *)&addr->sa;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&addr->sa;
    switch (addr->sa.ss_family) {
    case AF_INET:
        inet_ntop(AF_INET, &in4->sin_addr, host, sizeof host);
        snprintf(buf, len, "%s:%u", host, tm_addr_port(addr));
        break;
    case AF_INET6:
        inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host);
        snprintf(buf, len, "[%s]:%u", host, tm_addr_port(addr));
        break;
    case AF_UNIX:
        format_unix(addr, buf, len);
        break;
    default:
        snprintf(buf, len, "?");
    }
    return buf;
}

uint16_t tm_addr_port(const struct tm_addr *addr)
{
    if (addr->sa.ss_family == AF_INET)
        return ntohs(((const struct sockaddr_in *)&addr->sa)->sin_port);
    if (addr->sa.ss_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)&addr->sa)->sin6_port);
    return 0;
}

void tm_addr_set_port(struct tm_addr *addr, uint16_t port)
{
    if (addr->sa.ss_family == AF_INET)
        ((struct sockaddr_in *)&addr->sa)->sin_port = htons(port);
    else if (addr->sa.ss_family == AF_INET6)
        ((struct sockaddr_in6 *)&addr->sa)->sin6_port = htons(port);
}
