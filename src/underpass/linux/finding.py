"""What a check found."""

from dataclasses import asdict, dataclass
from typing import Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: `detail` is what was found, `better` what to do or to have for a better answer, if any."""

    name: str
    status: Status
    detail: str
    better: str = ""

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return asdict(self)
