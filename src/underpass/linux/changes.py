"""What changes of an interface while it is served, as events."""

from underpass.linux.mirror import Mirror
from underpass.log import Event, Say


class Changes:
    """Compares what Linux says of a mirror's interface with what it said before."""

    def __init__(self, mirror: Mirror, say: Say) -> None:
        self._mirror, self._say = mirror, say
        self._link, self._addresses, self._resyncs = mirror.link, set(mirror.addresses), mirror.resyncs

    def look(self) -> None:
        """Tell what has changed since the last look."""
        before, now = self._link, self._mirror.link
        name = now.name
        self._link = now
        if (before.up, before.carrier) != (now.up, now.carrier):
            if now.up and now.carrier:
                self._say(f"{name} is up", Event.LINK_UP, interface=name)
            else:
                why = "it was set down" if not now.up else "it has no carrier"
                self._say(f"{name} is down: {why}", Event.LINK_DOWN, interface=name, reason=why)
        if before.mtu != now.mtu:
            self._say(f"the MTU of {name} is {now.mtu} now, it was {before.mtu}", Event.MTU_CHANGED,
                      interface=name, before=before.mtu, now=now.mtu)
        self._look_at_addresses(name)
        if self._mirror.resyncs != self._resyncs:
            self._resyncs = self._mirror.resyncs
            self._say(f"Linux told more of {name} than there was room for: everything was read again",
                      Event.NETLINK_OVERRUN, interface=name, resyncs=self._resyncs)

    def _look_at_addresses(self, name: str) -> None:
        before, self._addresses = self._addresses, set(self._mirror.addresses)
        came = sorted(address for address, _ in self._addresses - before)
        went = sorted(address for address, _ in before - self._addresses)
        if came or went:
            words = [f"{' and '.join(those)} {how}"
                     for those, how in ((came, "came"), (went, "went")) if those]
            self._say(f"addresses of {name}: {', '.join(words)}", Event.ADDRESSES_CHANGED, interface=name,
                      came=came, went=went)
