/* The port plan: a block of 32 ports for each node, in the order of the file.
 *
 * A node's block is its place among all nodes of the file that its cluster was created from, so
 * clusters of one file never share a port on one machine.  What a person wrote into defineNode
 * wins; then two blocks may meet, which is said at boot instead of being found as "port in use" by
 * the second node. */
#include "tools/ports.h"
#include "net/addr.h"

#include <arpa/inet.h>
#include <stdio.h>

TM_STATIC_ASSERT(1 + TM_PORTS_WORKERS_MAX <= TM_PORTS_FABRIC,
                 "workers' ports end before the fabric's");
TM_STATIC_ASSERT(TM_PORTS_FABRIC + TM_PORTS_WORKERS_MAX <= TM_PORTS_PER_NODE, "a block holds both");

/* The block of a node, which may reach past the last port there is. */
struct block {
    unsigned long first;
    const char *address;
    bool links; /* and it has ports for links */
};

static struct block block_of(const struct tm_topology *t, const struct tm_cluster_spec *c,
                             unsigned node, unsigned base_port, const char *address)
{
    const struct tm_node_spec *facts = tm_topology_node(t, c->name, c->nodes.names[node]);
    struct block b = {base_port + (unsigned long)TM_PORTS_PER_NODE * c->blocks[node], address,
                      t->cluster_count > 1 && c->blocks[node] < TM_NODES_MAX};
    if (facts != NULL && facts->port != 0)
        b.first = facts->port;
    if (facts != NULL && facts->address[0] != '\0')
        b.address = facts->address;
    return b;
}

/* The first port that both have: in [a, a + an) and [b, b + bn); 0: none. */
static unsigned long common(unsigned long a, unsigned long an, unsigned long b, unsigned long bn)
{
    return a < b + bn && b < a + an ? (a > b ? a : b) : 0;
}

static unsigned long blocks_meet(const struct block *a, const struct block *b)
{
    unsigned long al = a->first + TM_PORTS_LINKS, bl = b->first + TM_PORTS_LINKS, at = 0;
    unsigned long n = TM_PORTS_PER_NODE, an = a->links ? TM_PORTS_WORKERS_MAX : 0,
                  bn = b->links ? TM_PORTS_WORKERS_MAX : 0;
    if (strcmp(a->address, b->address) != 0)
        return 0;
    at = common(a->first, n, b->first, n);
    if (at == 0)
        at = common(al, an, b->first, n);
    if (at == 0)
        at = common(a->first, n, bl, bn);
    return at != 0 ? at : common(al, an, bl, bn);
}

enum tm_err tm_ports_plan(const struct tm_topology *t, const struct tm_cluster_spec *c,
                          unsigned node, unsigned base_port, const char *address,
                          struct tm_ports *out, char *why, size_t why_size)
{
    TM_ASSERT(c >= t->clusters && c < t->clusters + t->cluster_count && node < c->nodes.count);
    struct block mine = block_of(t, c, node, base_port, address);
    unsigned long end = mine.first + (mine.links ? TM_PORTS_LINKS : 0) + TM_PORTS_PER_NODE;
    if (end > 65536) {
        snprintf(why, why_size,
                 "node %s of cluster %s would use ports %lu to %lu, the last is 65535: give it a "
                 "lower port in defineNode, or all a lower --base-port",
                 c->nodes.names[node], c->name, mine.first, end - 1);
        return TM_ERR_INVALID;
    }
    for (unsigned i = 0; i < t->cluster_count; i++)
        for (unsigned n = 0; n < t->clusters[i].nodes.count; n++) {
            const struct tm_cluster_spec *other = &t->clusters[i];
            struct block theirs = block_of(t, other, n, base_port, address);
            /* A cluster whose ports are not those of the file any more meets others by chance. */
            bool by_file = other == c || (c->listed.names == NULL && other->listed.names == NULL);
            unsigned long at = other == c && n == node ? 0 : blocks_meet(&mine, &theirs);
            if (!by_file || at == 0)
                continue;
            snprintf(why, why_size,
                     "node %s of cluster %s and node %s of cluster %s would both use port %lu of "
                     "%s: give one of them another port in defineNode, 32 apart",
                     c->nodes.names[node], c->name, other->nodes.names[n], other->name, at,
                     mine.address);
            return TM_ERR_INVALID;
        }
    *out = (struct tm_ports){.first = (uint16_t)mine.first};
    snprintf(out->address, sizeof out->address, "%s", mine.address);
    return TM_OK;
}

bool tm_ports_check(const struct tm_options *o, char *why)
{
    struct in_addr ip;
    struct tm_addr listen;
    if (inet_pton(AF_INET, o->address, &ip) != 1) {
        snprintf(why, TM_OPTION_WHY_MAX, "--address: \"%s\" is no IPv4 address such as 10.0.0.7",
                 o->address);
        return false;
    }
    if (o->listen[0] == '\0')
        return true;
    enum tm_err e = tm_addr_parse(&listen, o->listen);
    if (e == TM_ERR_NOTFOUND || (e == TM_OK && tm_addr_port(&listen) != 0))
        return true; /* a name is looked up when the node starts */
    snprintf(why, TM_OPTION_WHY_MAX, "--listen: \"%s\" is no ADDRESS:PORT such as 127.0.0.1:7000",
             o->listen);
    return false;
}

const char *tm_ports_text(const struct tm_ports *p, uint16_t port, char *buf, size_t size)
{
    snprintf(buf, size, "%s:%u", p->address, port);
    return buf;
}
