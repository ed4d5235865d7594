from underpass.xdp.loader import XdpProgram

VERDICTS: dict[int, str]

def verdict(program: XdpProgram, frame: bytes) -> str: ...
