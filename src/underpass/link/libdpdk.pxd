"""What the link uses of DPDK 22.11: EAL, mbufs, and Ethernet ports."""
from libc.stdint cimport uint16_t, uint32_t

cdef extern from "<rte_errno.h>" nogil:
    int rte_errno
    const char *rte_strerror(int error)

cdef extern from "<rte_eal.h>" nogil:
    int rte_eal_init(int argc, char **argv)

cdef extern from "<rte_dev.h>" nogil:
    int rte_eal_hotplug_add(const char *bus, const char *device, const char *arguments)
    int rte_eal_hotplug_remove(const char *bus, const char *device)

cdef extern from "<rte_mbuf.h>" nogil:
    struct rte_mempool:
        pass
    struct rte_mbuf:
        void *buf_addr
        uint16_t data_off
        uint16_t data_len
        uint32_t pkt_len
        uint16_t nb_segs
    enum:
        RTE_PKTMBUF_HEADROOM
    rte_mempool *rte_pktmbuf_pool_create(const char *name, unsigned int count, unsigned int cached, uint16_t private_bytes,
                                         uint16_t room, int socket)
    void rte_mempool_free(rte_mempool *pool)
    rte_mbuf *rte_pktmbuf_alloc(rte_mempool *pool)
    void rte_pktmbuf_free(rte_mbuf *mbuf)
    void rte_pktmbuf_free_bulk(rte_mbuf **mbufs, unsigned int count)

cdef extern from "<rte_ethdev.h>" nogil:
    struct rte_eth_conf:
        pass
    int rte_eth_dev_get_port_by_name(const char *name, uint16_t *port)
    int rte_eth_dev_configure(uint16_t port, uint16_t rx_queues, uint16_t tx_queues, const rte_eth_conf *conf)
    int rte_eth_rx_queue_setup(uint16_t port, uint16_t queue, uint16_t entries, unsigned int socket, const void *conf,
                               rte_mempool *pool)
    int rte_eth_tx_queue_setup(uint16_t port, uint16_t queue, uint16_t entries, unsigned int socket, const void *conf)
    int rte_eth_dev_start(uint16_t port)
    int rte_eth_dev_stop(uint16_t port)
    int rte_eth_dev_close(uint16_t port)
    uint16_t rte_eth_rx_burst(uint16_t port, uint16_t queue, rte_mbuf **into, uint16_t room)
    uint16_t rte_eth_tx_burst(uint16_t port, uint16_t queue, rte_mbuf **packets, uint16_t count)
