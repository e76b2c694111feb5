"""How the page is served, and to whom."""

import hmac
import ipaddress
import secrets
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from irasim_env.uncertainty import check_samples

# Names of the machine itself, as browsers write them in a Host header.
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a server is asked for; a mistake is a ValueError that names the cure."""

    host: str = "127.0.0.1"
    port: int = 8765
    """0 takes one that is free."""
    token: str | None = None
    """What a page has to know to play; None lets everyone who reaches the server."""
    origins: tuple[str, ...] = ()
    """Other pages' origins that may connect, as in "https://robots.example.org"."""
    players: int = 20
    """Most at once."""
    idle_seconds: float = 300.0
    """A player who has asked for nothing for so long is closed."""
    samples: int | None = 3
    """Samples of each step where a player asks for the uncertainty; None offers none."""
    uncertain_above: float = 1.0
    """Grey levels above which an uncertainty is marked."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port is {self.port}, expected 0 (any that is free) to 65535")
        if self.players < 1:
            raise ValueError(f"players is {self.players}, expected at least 1")
        if not self.idle_seconds > 0:
            raise ValueError(f"idle is {self.idle_seconds}, expected a positive number of seconds")
        check_samples(self.samples)
        if not self.uncertain_above >= 0:
            raise ValueError(f"uncertain_above is {self.uncertain_above}, expected 0 or more")
        for origin in self.origins:
            parts = urlsplit(origin)
            if (
                parts.scheme not in ("http", "https")
                or origin != f"{parts.scheme}://{parts.netloc}"
            ):
                raise ValueError(
                    f"origin is {origin!r}, expected a scheme and a host, as in "
                    '"https://robots.example.org" or "http://gpu-box:8765"'
                )
        if self.token is None and not is_loopback(self.host):
            raise ValueError(
                f"host {self.host} is reached from other machines, where whoever finds it could "
                "play; add --token, or leave --host out and come through an ssh tunnel"
            )

    def allows_token(self, offered: str) -> bool:
        """Whether the token is the right one, in a time that does not tell how much of it is."""
        if self.token is None:
            return True
        return hmac.compare_digest(offered.encode("utf-8", "replace"), self.token.encode())

    def allows_host(self, host: str | None) -> bool:
        """Whether a Host header names this server.

        Names of others are refused, so that a page of theirs, whose name leads here for a moment,
        cannot speak for itself as if it were ours. Addresses are not names: they lead where they
        say.
        """
        name = _name(host)
        if name is None:
            return False
        if name in LOOPBACK or _is_address(name):
            return True
        own = {self.host.lower(), socket.gethostname().lower()}
        return name in own or any(name == urlsplit(origin).hostname for origin in self.origins)

    def allows_origin(self, origin: str | None, host: str | None) -> bool:
        """Whether a page may connect: it is this server's own, or of `origins`. Programs that are
        no browsers have to say an origin, too."""
        if origin is None or host is None:
            return False
        return origin in self.origins or origin.lower() == f"http://{host.lower()}"

    def address(self, port: int) -> str:
        """What to open, the token after the #, where no log sees it."""
        host = self.host
        if host in ("", "0.0.0.0", "::"):
            host = socket.gethostname()
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{port}/" + (f"#{self.token}" if self.token else "")


def make_token() -> str:
    """A new token, of 192 random bits."""
    return secrets.token_urlsafe(24)


def is_loopback(host: str) -> bool:
    """Whether only this machine itself reaches a server bound to `host`."""
    if host == "localhost":
        return True
    return _is_address(host) and ipaddress.ip_address(host).is_loopback


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _name(host: str | None) -> str | None:
    """The name within a Host header, without its port."""
    try:
        return urlsplit(f"//{host}").hostname if host else None
    except ValueError:
        return None
