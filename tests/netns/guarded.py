"""A server whose XDP program decides who comes in; says what is in force, in lines of JSON.

Usage: guarded.py INTERFACE DIRECTORY SYN_COOKIES SYN_RATE HOLD_S [HALF_OPEN]
"""

import json
import sys
import time

import underpass
from underpass.apps.serve import HttpServer

LOOK_S = 0.1


def main(interface: str, directory: str, syn_cookies: str, syn_rate: int, hold_s: float,
         **limits: int) -> None:
    plan = underpass.AdmissionPlan(syn_cookies, syn_rate=syn_rate, hold_s=hold_s)
    with underpass.attach(interface, admission=plan) as nic:
        stack = nic.stack(synack_retries=0, **limits)
        server = HttpServer(stack, directory)
        for address in ("", "::"):
            server.listen(address, 80)
        while True:
            stack.run(LOOK_S)
            assert nic.admission is not None
            tcp = stack.stats()["tcp"]
            print(json.dumps({"state": nic.admission.state(), "xdp": nic.program.counters(), "tcp": tcp,
                              "at": time.monotonic()}), flush=True)


if __name__ == "__main__":
    name, root, when, rate, hold, *room = sys.argv[1:]
    main(name, root, when, int(rate), float(hold), **({"half_open": int(room[0])} if room else {}))
