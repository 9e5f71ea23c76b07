/* One ethdev, one queue each way.  Frames gather in tx[] and leave in one burst at the end of the
 * turn; what the device has no room for waits there for the next one, and when tx[] is full too
 * the sender is told. */
#include <rte_bus_vdev.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include "net/dpdk_internal.h"

#define QUEUE_SLOTS 512

enum tm_err tm_dpdk_port_create(struct tm_dpdk_port *port, const char *name, const char *args)
{
    if (args != NULL && rte_vdev_init(name, args) != 0)
        return TM_ERR_UNSUPPORTED;
    if (rte_eth_dev_get_port_by_name(name, &port->id) != 0)
        return TM_ERR_NOTFOUND;
    snprintf(port->name, sizeof port->name, "%s", name);
    port->virtual = args != NULL;
    port->present = true;
    return TM_OK;
}

void tm_dpdk_port_destroy(struct tm_dpdk_port *port)
{
    if (!port->present)
        return;
    if (port->virtual)
        rte_vdev_uninit(port->name);
    else
        rte_eth_dev_close(port->id);
    port->present = false;
}

enum tm_err tm_dpdk_port_configure(struct tm_dpdk *net, struct tm_dpdk_port *port)
{
    struct rte_eth_conf conf;
    uint16_t rx_slots = QUEUE_SLOTS;
    uint16_t tx_slots = QUEUE_SLOTS;
    int socket = rte_eth_dev_socket_id(port->id);
    memset(&conf, 0, sizeof conf);
    if (rte_eth_dev_configure(port->id, 1, 1, &conf) != 0)
        return TM_ERR_IO;
    if (rte_eth_dev_adjust_nb_rx_tx_desc(port->id, &rx_slots, &tx_slots) != 0)
        return TM_ERR_IO;
    unsigned node = socket < 0 ? (unsigned)SOCKET_ID_ANY : (unsigned)socket;
    if (rte_eth_rx_queue_setup(port->id, 0, rx_slots, node, NULL, net->pool) != 0)
        return TM_ERR_IO;
    return rte_eth_tx_queue_setup(port->id, 0, tx_slots, node, NULL) == 0 ? TM_OK : TM_ERR_IO;
}

enum tm_err tm_dpdk_port_start(struct tm_dpdk_port *port)
{
    TM_ASSERT(port->present && !port->started);
    if (rte_eth_dev_start(port->id) != 0)
        return TM_ERR_AGAIN;
    port->started = true;
    return TM_OK;
}

void tm_dpdk_port_stop(struct tm_dpdk_port *port)
{
    TM_ASSERT(port->started);
    tm_dpdk_port_drop(port);
    port->started = false;
    rte_eth_dev_stop(port->id);
}

bool tm_dpdk_port_link_up(const struct tm_dpdk_port *port)
{
    struct rte_eth_link link;
    memset(&link, 0, sizeof link);
    return rte_eth_link_get_nowait(port->id, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
}

void tm_dpdk_port_prime(struct tm_dpdk_port *port)
{
    struct rte_mbuf *mbuf;
    if (rte_eth_rx_burst(port->id, 0, &mbuf, 1) == 1)
        rte_pktmbuf_free(mbuf);
}

enum tm_err tm_dpdk_port_push(struct tm_dpdk_port *port, struct rte_mbuf *mbuf)
{
    TM_ASSERT(port->started);
    if (port->tx_count == TM_DPDK_TX_MAX)
        tm_dpdk_port_flush(port);
    if (port->tx_count == TM_DPDK_TX_MAX)
        return TM_ERR_FULL;
    port->tx[port->tx_count++] = mbuf;
    return TM_OK;
}

unsigned tm_dpdk_port_flush(struct tm_dpdk_port *port)
{
    if (port->tx_count == 0)
        return 0;
    TM_ASSERT(port->started);
    unsigned sent = rte_eth_tx_burst(port->id, 0, port->tx, (uint16_t)port->tx_count);
    port->tx_count -= sent;
    memmove(port->tx, port->tx + sent, port->tx_count * sizeof port->tx[0]);
    return sent;
}

unsigned tm_dpdk_port_drop(struct tm_dpdk_port *port)
{
    unsigned dropped = port->tx_count;
    rte_pktmbuf_free_bulk(port->tx, dropped);
    port->tx_count = 0;
    return dropped;
}
