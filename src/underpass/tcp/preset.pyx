"""Options of connections as one value."""
from libc.stdint cimport UINT64_MAX, uint32_t, uint64_t
from libc.string cimport memset

from underpass.ip.template cimport template_set
from underpass.tcp.block cimport block_touch
from underpass.tcp.congestion.control cimport congestion_begin
from underpass.tcp.keepalive cimport keepalive_arm
from underpass.tcp.pacing cimport pacing_set_limit
from underpass.tcp.rare cimport rare_of
from underpass.tcp.tcb cimport CONN_KEEPALIVE, CONN_NODELAY, CONN_RARE, Preset, Tcb, TcbCold, Tcp
from underpass.tcp.traits cimport TRAIT_KEPT, TRAIT_SETTINGS, TRAIT_WINDOW_CLAMP


cdef void preset_default(const Tcp *tcp, Preset *preset) noexcept nogil:
    memset(preset, 0, sizeof(Preset))
    preset.rcv_limit = min(tcp.state.limits.rcv_initial_bytes, tcp.state.limits.rcv_bytes)
    preset.snd_limit = min(tcp.state.limits.snd_initial_frames, tcp.state.limits.snd_frames)
    preset.keep_idle_ms = KEEP_IDLE_MS
    preset.keep_interval_ms = KEEP_INTERVAL_MS
    preset.keep_count = KEEP_COUNT
    preset.congestion = tcp.state.limits.congestion


cdef void preset_read(Tcp *tcp, uint32_t conn, Preset *preset) noexcept nogil:
    cdef const Tcb *tcb = &tcp.tcbs[conn]
    cdef const TcbCold *cold = &tcp.colds[conn]
    memset(preset, 0, sizeof(Preset))
    preset.flags = tcb.flags & (CONN_NODELAY | CONN_KEEPALIVE)
    preset.traits = tcb.traits & TRAIT_KEPT
    preset.rcv_limit = tcb.rcv_limit
    preset.snd_limit = cold.snd_limit
    preset.keep_idle_ms = cold.keep_idle_ms
    preset.keep_interval_ms = cold.keep_interval_ms
    preset.keep_count = cold.keep_count
    preset.user_timeout_ms = cold.user_timeout_ms
    preset.congestion = tcb.congestion
    if tcb.flags & CONN_RARE:
        preset.pacing_limit = rare_of(tcp, conn).pacing_limit
    if tcb.traits & TRAIT_SETTINGS:
        preset.settings = rare_of(tcp, conn).settings


cdef inline void take_over(Tcp *tcp, uint32_t conn, const Preset *preset) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    cdef TcbCold *cold = &tcp.colds[conn]
    tcb.flags = (tcb.flags & ~<uint32_t>(CONN_NODELAY | CONN_KEEPALIVE)) | preset.flags
    tcb.traits = (tcb.traits & ~<uint32_t>TRAIT_KEPT) | preset.traits
    tcb.rcv_limit = preset.rcv_limit
    if preset.traits & TRAIT_WINDOW_CLAMP:
        tcb.rcv_limit = min(tcb.rcv_limit, preset.settings.window_clamp)
    cold.snd_limit = preset.snd_limit
    cold.keep_idle_ms = preset.keep_idle_ms
    cold.keep_interval_ms = preset.keep_interval_ms
    cold.keep_count = preset.keep_count
    cold.user_timeout_ms = preset.user_timeout_ms
    if preset.traits & TRAIT_SETTINGS:
        rare_of(tcp, conn).settings = preset.settings
        template_set(&cold.template, preset.settings.traffic_class, preset.settings.hop_limit)


cdef inline void limit_pacing(Tcp *tcp, uint32_t conn, uint64_t limit) noexcept nogil:
    cdef uint64_t before = rare_of(tcp, conn).pacing_limit if tcp.tcbs[conn].flags & CONN_RARE else 0
    if limit != before:
        pacing_set_limit(tcp, conn, limit if limit else UINT64_MAX)


cdef void preset_begin(Tcp *tcp, uint32_t conn, const Preset *preset) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    take_over(tcp, conn, preset)
    tcb.congestion = <unsigned char>preset.congestion
    limit_pacing(tcp, conn, preset.pacing_limit)
    if preset.settings.mss != 0 and preset.settings.mss < tcb.mss:
        tcb.mss = preset.settings.mss


cdef void preset_change(Tcp *tcp, uint32_t conn, const Preset *preset) noexcept nogil:
    cdef Tcb *tcb = &tcp.tcbs[conn]
    take_over(tcp, conn, preset)
    if tcb.congestion != preset.congestion:
        congestion_begin(tcp, conn, preset.congestion)
    limit_pacing(tcp, conn, preset.pacing_limit)
    keepalive_arm(tcp, conn)
    block_touch(tcp, conn)              # no longer held back by Nagle or the cork, perhaps
