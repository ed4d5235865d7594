"""The shield's tallies for Prometheus."""

import pytest

from underpass.shield.shield import Tally

pytest.importorskip("prometheus_client")


def test_every_tally_is_a_sample() -> None:
    from prometheus_client import CollectorRegistry, generate_latest

    from underpass.observe.shield_metrics import ShieldCollector

    stats = {"eth0": {
        "dropped": {"interface": {"dropped_protocol": Tally(7, 700)}, "services": {}},
        "would_drop": {"services": {"dropped_rule": Tally(2, 120)}},
        "rules": {"no telnet": Tally(3, 180)}, "lists": {"bad": Tally(5, 300)}, "blocks": 4,
        "detection": {"blocked": 9, "would_block": 8, "refused": 6}}}
    registry = CollectorRegistry()
    registry.register(ShieldCollector(lambda: stats))
    lines = generate_latest(registry).decode().splitlines()
    for line in (
        'underpass_shield_dropped_packets_total{interface="eth0",reason="protocol",section="interface"} 7.0',
        'underpass_shield_dropped_bytes_total{interface="eth0",reason="protocol",section="interface"} 700.0',
        'underpass_shield_would_drop_packets_total{interface="eth0",reason="rule",section="services"} 2.0',
        'underpass_shield_rule_packets_total{interface="eth0",rule="no telnet"} 3.0',
        'underpass_shield_list_packets_total{interface="eth0",list="bad"} 5.0',
        'underpass_shield_blocks{interface="eth0"} 4.0',
        'underpass_shield_heavy_total{interface="eth0",outcome="blocked"} 9.0',
        'underpass_shield_heavy_total{interface="eth0",outcome="would_block"} 8.0',
        'underpass_shield_heavy_total{interface="eth0",outcome="refused"} 6.0',
    ):
        assert line in lines
