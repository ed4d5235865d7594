from underpass.link.frames import Frames

class TcpContext:
    frames: Frames
    connections: int
    now_ns: int
    def __init__(
        self, connections: int = 8, frames: int = 64, time_waits: int = 8, seed: int = 1
    ) -> None: ...
    @property
    def counters(self) -> dict[str, int]: ...
