from collections.abc import Sequence

from underpass.shield.policy import Address, Network, Policy, Rule

POLICY_BYTES: int
RULES: int
RULES_OF_SECTION: int
TEXT_BYTES: int
MARTIANS_LIST: int
BOGONS_LIST: int
REASONS: int
SECTIONS: int
BLOCKS: int
LENGTHS: int
TALLY_PLACES: dict[str, int]

def rules_of(policy_: Policy) -> list[Rule]: ...

class PolicyImage:
    def __init__(self, policy_: Policy, classes: Sequence[int], chosen_ports: tuple[int, int]) -> None: ...
    def __bytes__(self) -> bytes: ...

def service_key(address: Address, port_: int, generation: int) -> bytes: ...
def state_octets(
    active: int, loaded: int, v4_lengths: Sequence[int], v6_lengths: Sequence[int], samples_until_ns: int = 0,
    sample_every: int = 0,
) -> bytes: ...
def state_fields(octets: bytes) -> tuple[int, int, list[int], list[int], int, int]: ...
def block_key_octets(network: Network) -> bytes: ...
def block_octets(since_ns: int, until_ns: int, kind: str) -> bytes: ...
def block_fields(octets: bytes) -> tuple[int, int, int, str]: ...
