"""A checker in the manner of the kernel's bpf_check_classic, and an interpreter with the results of libpcap's bpf_filter."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    MEMORY = 16                     # BPF_MEMWORDS

cdef enum Kind:                     # code & 0x07
    LD = 0x00
    LDX = 0x01
    ST = 0x02
    STX = 0x03
    ALU = 0x04
    JMP = 0x05
    RET = 0x06
    MISC = 0x07

cdef enum:                          # loads: size and mode
    LD_W_IMM = 0x00
    LD_W_ABS = 0x20
    LD_H_ABS = 0x28
    LD_B_ABS = 0x30
    LD_W_IND = 0x40
    LD_H_IND = 0x48
    LD_B_IND = 0x50
    LD_MEM = 0x60
    LD_LEN = 0x80
    LDX_IMM = 0x01
    LDX_MEM = 0x61
    LDX_LEN = 0x81
    LDX_B_MSH = 0xB1                # 4 * (octet & 15): an IPv4 header's length

cdef enum:                          # arithmetic and jumps: what is done, code & 0xF0
    ADD = 0x00
    SUB = 0x10
    MUL = 0x20
    DIV = 0x30
    OR = 0x40
    AND = 0x50
    LSH = 0x60
    RSH = 0x70
    NEG = 0x80
    MOD = 0x90
    XOR = 0xA0
    JA = 0x00
    JEQ = 0x10
    JGT = 0x20
    JGE = 0x30
    JSET = 0x40
    BY_X = 0x08                     # the other operand is X, not k

cdef enum:
    RET_K = 0x06
    RET_A = 0x16
    TAX = 0x07
    TXA = 0x87

cdef struct Machine:
    uint32_t a
    uint32_t x
    uint32_t[16] memory
    const uint8_t *packet
    uint32_t wire_bytes
    uint32_t bytes


# ------------------------------------------------------------------------------------------ checking

cdef bint operation_holds(const BpfInsn *insn) noexcept nogil:
    cdef uint16_t operation = insn.code & 0xF0
    if insn.code & ~0xFF or operation > XOR:
        return False
    if insn.code & BY_X:
        return operation != NEG
    if operation == DIV or operation == MOD:
        return insn.k != 0
    return insn.k < 32 if operation == LSH or operation == RSH else True


cdef bint jump_holds(const BpfInsn *insn, uint32_t left) noexcept nogil:
    """`left`: instructions behind this one."""
    if insn.code & ~0xFF:
        return False
    if insn.code == JMP | JA:
        return insn.k < left
    if not JEQ <= insn.code & 0xF0 <= JSET:
        return False
    return insn.jt < left and insn.jf < left


cdef bint instruction_holds(const BpfInsn *insn, uint32_t left) noexcept nogil:
    cdef uint16_t code = insn.code
    cdef uint16_t kind = code & 7
    if kind == ALU:
        return operation_holds(insn)
    if kind == JMP:
        return jump_holds(insn, left)
    if code == LD_MEM or code == LDX_MEM or code == ST or code == STX:
        return insn.k < MEMORY
    if kind == LD:
        return (code == LD_W_IMM or code == LD_W_ABS or code == LD_H_ABS or code == LD_B_ABS or code == LD_W_IND
                or code == LD_H_IND or code == LD_B_IND or code == LD_LEN)
    return (code == LDX_IMM or code == LDX_LEN or code == LDX_B_MSH or code == RET_K or code == RET_A or code == TAX
            or code == TXA)


cdef bint bpf_check(const BpfInsn *program, uint32_t count) noexcept nogil:
    cdef uint32_t i
    if not 0 < count <= BPF_MAX_INSTRUCTIONS:
        return False
    for i in range(count):
        if not instruction_holds(&program[i], count - 1 - i):
            return False
    return program[count - 1].code == RET_K or program[count - 1].code == RET_A


# ------------------------------------------------------------------------------------------ running

cdef inline bint fetch(const Machine *it, uint64_t at, uint32_t octets, uint32_t *value) noexcept nogil:
    """A number of 1, 2 or 4 octets in network order; false: it is not there."""
    cdef uint32_t i
    if at + octets > it.bytes:
        return False
    value[0] = 0
    for i in range(octets):
        value[0] = value[0] << 8 | it.packet[at + i]
    return True


cdef inline bint load(Machine *it, const BpfInsn *insn) noexcept nogil:
    cdef uint16_t code = insn.code
    cdef uint64_t at = insn.k
    cdef uint32_t octets = 0
    if code == LD_W_IMM:
        it.a = insn.k
    elif code == LD_MEM:
        it.a = it.memory[insn.k]
    elif code == LD_LEN:
        it.a = it.wire_bytes
    else:
        if code == LD_W_IND or code == LD_H_IND or code == LD_B_IND:
            at += it.x
        octets = 4 if code & 0x18 == 0 else 2 if code & 0x18 == 0x08 else 1
        return fetch(it, at, octets, &it.a)
    return True


cdef inline bint load_x(Machine *it, const BpfInsn *insn) noexcept nogil:
    if insn.code == LDX_IMM:
        it.x = insn.k
    elif insn.code == LDX_MEM:
        it.x = it.memory[insn.k]
    elif insn.code == LDX_LEN:
        it.x = it.wire_bytes
    else:
        if not fetch(it, insn.k, 1, &it.x):
            return False
        it.x = (it.x & 15) << 2
    return True


cdef inline bint calculate(Machine *it, const BpfInsn *insn) noexcept nogil:
    """False: division by zero."""
    cdef uint16_t operation = insn.code & 0xF0
    cdef uint32_t other = it.x if insn.code & BY_X else insn.k
    if operation == ADD:
        it.a += other
    elif operation == SUB:
        it.a -= other
    elif operation == MUL:
        it.a *= other
    elif operation == OR:
        it.a |= other
    elif operation == AND:
        it.a &= other
    elif operation == XOR:
        it.a ^= other
    elif operation == LSH:
        it.a = it.a << other if other < 32 else 0
    elif operation == RSH:
        it.a = it.a >> other if other < 32 else 0
    elif operation == NEG:
        it.a = 0 - it.a
    elif other == 0:
        return False
    elif operation == DIV:
        it.a = it.a // other
    else:
        it.a = it.a % other
    return True


cdef inline uint32_t jump(const Machine *it, const BpfInsn *insn) noexcept nogil:
    """How many instructions to leave out."""
    cdef uint16_t operation = insn.code & 0xF0
    cdef uint32_t other = it.x if insn.code & BY_X else insn.k
    cdef bint holds
    if operation == JA:
        return insn.k
    if operation == JEQ:
        holds = it.a == other
    elif operation == JGT:
        holds = it.a > other
    elif operation == JGE:
        holds = it.a >= other
    else:
        holds = it.a & other != 0
    return insn.jt if holds else insn.jf


cdef uint32_t bpf_run(const BpfInsn *program, const uint8_t *packet, uint32_t wire_bytes,
                      uint32_t bytes) noexcept nogil:
    cdef Machine it
    cdef const BpfInsn *insn = program
    cdef uint16_t kind
    cdef uint32_t i
    it.a = it.x = 0
    for i in range(MEMORY):
        it.memory[i] = 0
    it.packet, it.wire_bytes, it.bytes = packet, wire_bytes, bytes
    while True:
        kind = insn.code & 7
        if kind == LD:
            if not load(&it, insn):
                return 0
        elif kind == LDX:
            if not load_x(&it, insn):
                return 0
        elif kind == ST:
            it.memory[insn.k] = it.a
        elif kind == STX:
            it.memory[insn.k] = it.x
        elif kind == ALU:
            if not calculate(&it, insn):
                return 0
        elif kind == JMP:
            insn += jump(&it, insn)
        elif kind == RET:
            return it.a if insn.code == RET_A else insn.k
        elif insn.code == TAX:
            it.x = it.a
        else:
            it.a = it.x
        insn += 1
