"""What the loader uses of libbpf 1.0 and newer."""
from libc.stdint cimport uint32_t, uint64_t

cdef extern from "<linux/if_link.h>" nogil:
    enum:
        XDP_FLAGS_DRV_MODE
        XDP_FLAGS_SKB_MODE

cdef extern from "<linux/bpf.h>" nogil:
    enum:
        BPF_XDP
    struct bpf_prog_info:
        uint32_t id
        char[16] name

cdef extern from "<bpf/libbpf.h>" nogil:
    struct bpf_object:
        pass
    struct bpf_program:
        pass
    struct bpf_map:
        pass
    enum libbpf_print_level:
        pass
    ctypedef int (*libbpf_print_fn_t)(libbpf_print_level, const char *, ...)
    libbpf_print_fn_t libbpf_set_print(libbpf_print_fn_t print)
    bpf_object *bpf_object__open_mem(const void *image, size_t bytes, const void *options)
    int bpf_object__load(bpf_object *object)
    void bpf_object__close(bpf_object *object)
    bpf_program *bpf_object__find_program_by_name(const bpf_object *object, const char *name)
    int bpf_object__find_map_fd_by_name(const bpf_object *object, const char *name)
    bpf_map *bpf_object__find_map_by_name(const bpf_object *object, const char *name)
    int bpf_map__set_initial_value(bpf_map *map, const void *data, size_t bytes)
    int bpf_program__fd(const bpf_program *program)
    int bpf_program__set_autoload(bpf_program *program, bint autoload)
    int libbpf_num_possible_cpus()

    struct bpf_xdp_query_opts:
        size_t sz
        uint32_t prog_id
        uint32_t drv_prog_id
        uint32_t hw_prog_id
        uint32_t skb_prog_id
    int bpf_xdp_query(int ifindex, int flags, bpf_xdp_query_opts *into)

cdef extern from "<bpf/bpf.h>" nogil:
    struct bpf_link_create_opts:
        size_t sz
        uint32_t flags
    int bpf_link_create(int program, int target, int attach_type, const bpf_link_create_opts *options)
    struct bpf_link_update_opts
    int bpf_link_update(int link, int program, const bpf_link_update_opts *options)
    int bpf_map_update_elem(int map, const void *key, const void *value, uint64_t flags)
    int bpf_map_delete_elem(int map, const void *key)
    int bpf_map_lookup_elem(int map, const void *key, void *value)
    int bpf_prog_get_fd_by_id(uint32_t id)
    int bpf_obj_get_info_by_fd(int fd, void *info, uint32_t *bytes)
