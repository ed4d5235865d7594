"""A kernel that refuses a feature: of this one, of a program that calls a helper there that no kernel has."""

import platform
import shutil
import subprocess
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[2] / "src" / "underpass" / "xdp"
HELPER = "((__u64 (*)(void))9999)()"
SAYS = "invalid func unknown#9999"
CLANG = next((it for it in ("clang", "clang-19", "clang-16", "clang-14") if shutil.which(it)), "clang")
# A call of the feature's own, and the file that has it.
CALLS = {
    "filters": ("policy.bpf.h", "bpf_map_lookup_elem(&shield, &only)"),
    "rates": ("rates.bpf.h", "bpf_map_lookup_elem(&service_rates, &place)"),
    "detection": ("detect.bpf.h", "bpf_map_lookup_elem(&sketches, &only)"),
    "cookies": ("answer.bpf.h", "bpf_xdp_adjust_tail(ctx, size - room)"),
    "samples": ("samples.bpf.h", "bpf_jiffies64()"),
    "lists": ("lists.bpf.h", "bpf_map_lookup_elem(&v4_lists, &generation)"),
    "connections": ("begin.bpf.h", "bpf_ktime_get_coarse_ns()"),
}


def compiled(folder: Path, feature: str) -> Path:
    """A folder with such an object: what `steer_object.files` is to return."""
    shutil.copytree(SOURCES, folder, ignore=shutil.ignore_patterns("*.p*"))
    name, call = CALLS[feature]
    text = (folder / name).read_text()
    assert text.count(call) == 1
    (folder / name).write_text(text.replace(call, f"({HELPER}, {call})"))
    headers = f"-I/usr/include/{platform.machine()}-linux-gnu"
    subprocess.run([CLANG, "-target", "bpf", "-mcpu=v3", "-O2", "-g", headers, "-c", folder / "steer.bpf.c",
                    "-o", folder / "steer.bpf.o"], check=True, capture_output=True)
    return folder
