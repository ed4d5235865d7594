"""What the loader uses of libbpf 1.0 and newer."""
from libc.stdint cimport uint32_t, uint64_t

cdef extern from "<linux/if_link.h>" nogil:
    enum:
        XDP_FLAGS_DRV_MODE
        XDP_FLAGS_SKB_MODE

cdef extern from "<linux/bpf.h>" nogil:
    enum:
        BPF_XDP
        BPF_MAP_TYPE_ARRAY
        BPF_MAP_TYPE_PERCPU_HASH
        BPF_MAP_TYPE_PERCPU_ARRAY
        BPF_MAP_TYPE_LRU_PERCPU_HASH
        BPF_F_MMAPABLE
        BPF_F_INNER_MAP
    struct bpf_prog_info:
        uint32_t id
        char[16] name
        uint32_t nr_map_ids
        uint64_t map_ids
    struct bpf_map_info:
        uint32_t type
        uint32_t id
        uint32_t key_size
        uint32_t value_size
        uint32_t max_entries
        uint32_t map_flags
        char[16] name
    ctypedef struct xdp_of_link:        # it has no name in C
        uint32_t ifindex
    struct bpf_link_info:
        uint32_t type
        uint32_t id
        uint32_t prog_id
        xdp_of_link xdp
    enum:
        BPF_LINK_TYPE_XDP

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
    struct bpf_object_open_opts:
        size_t sz
        char *kernel_log_buf
        size_t kernel_log_size
    bpf_object *bpf_object__open_mem(const void *image, size_t bytes, const bpf_object_open_opts *options)
    int bpf_object__load(bpf_object *object)
    void bpf_object__close(bpf_object *object)
    bpf_program *bpf_object__find_program_by_name(const bpf_object *object, const char *name)
    int bpf_object__find_map_fd_by_name(const bpf_object *object, const char *name)
    bpf_map *bpf_object__find_map_by_name(const bpf_object *object, const char *name)
    int bpf_map__set_initial_value(bpf_map *map, const void *data, size_t bytes)
    bpf_map *bpf_object__next_map(const bpf_object *object, const bpf_map *previous)
    const char *bpf_map__name(const bpf_map *map)
    uint32_t bpf_map__max_entries(const bpf_map *map)
    int bpf_map__set_max_entries(bpf_map *map, uint32_t entries)
    int bpf_map__set_autocreate(bpf_map *map, bint autocreate)
    bint bpf_map__autocreate(const bpf_map *map)
    int bpf_map__reuse_fd(bpf_map *map, int fd)
    int bpf_map__fd(const bpf_map *map)
    bpf_program *bpf_object__next_program(const bpf_object *object, const bpf_program *previous)
    const char *bpf_program__name(const bpf_program *program)
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
    int bpf_map_get_next_key(int map, const void *key, void *next)
    struct bpf_map_create_opts:
        size_t sz
        uint32_t map_flags
    int bpf_map_create(int kind, const char *name, uint32_t key_bytes, uint32_t value_bytes, uint32_t entries,
                       const bpf_map_create_opts *options)
    int bpf_map_get_fd_by_id(uint32_t id)
    int bpf_link_get_fd_by_id(uint32_t id)
    int bpf_link_get_next_id(uint32_t after, uint32_t *next)
    int bpf_prog_bind_map(int program, int map, const void *options)
