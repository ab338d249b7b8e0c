"""Where the page is served, and to whom; imports no Gradio.

A page of a stranger, open in the same browser, must not reach a server on this machine: neither by
a name of its own that it has made point here (DNS rebinding), nor by sending forms across. So the
names in the Host and Origin headers must be those of this server.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Address:
    """Where to listen, and what is asked of visitors.

    Args:
        host: a name or an IP address.
        port: of TCP.
        auth: user:password, or None where nothing is asked.

    Raises:
        ValueError: for another address than this machine's own without a password.
    """

    host: str = "127.0.0.1"
    port: int = 7788
    auth: str | None = None

    def __post_init__(self) -> None:
        if self.auth is not None:
            user, _, password = self.auth.partition(":")
            if not user or not password:
                raise ValueError("--auth: give user:password, neither of them empty")
        elif not self.is_local:
            raise ValueError(
                f"--host {self.host}: others can reach it; give --auth user:password as well, "
                "or leave --host out"
            )

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it."""
        with suppress(ValueError):
            return ipaddress.ip_address(self.host).is_loopback
        return self.host == "localhost"

    @property
    def credentials(self) -> tuple[str, str] | None:
        """User and password."""
        if self.auth is None:
            return None
        user, _, password = self.auth.partition(":")
        return user, password

    @property
    def url(self) -> str:
        """Of the page, as the browser on this machine opens it."""
        host = "127.0.0.1" if self._is_every_address else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"

    @property
    def _is_every_address(self) -> bool:
        with suppress(ValueError):
            return ipaddress.ip_address(self.host).is_unspecified
        return False

    def answers_to(self, name: str) -> bool:
        """Tell whether a request may call this server by a name, without a port.

        An IP address always is: no name server has a say in that.
        """
        with suppress(ValueError):
            ipaddress.ip_address(name)
            return True
        own = {"localhost", self.host.lower()}
        if not self.is_local:
            own.add(socket.gethostname().lower())
        return name.lower() in own

    def listen(self) -> socket.socket:
        """Open the socket.

        Raises:
            ValueError: where that cannot be, such as for a port that is in use.
        """
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self.host, self.port))
            listener.listen(128)
        except OSError as error:
            listener.close()
            raise ValueError(
                f"--port {self.port}: {str(error.strerror).lower()} ({self.host}); is introshift "
                f"running already? Another is --port {self.port % 65535 + 1}"
            ) from None
        return listener


def refusal(address: Address, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return why a request is refused, None where it is not.

    Args:
        address: this server's.
        headers: names, in lower case, and values.
    """
    given = [(name, value.decode("latin-1")) for name, value in headers]
    hosts = [value for name, value in given if name == b"host"]
    if len(hosts) != 1 or not address.answers_to(_name_of(hosts[0])):
        return f"this server has another name; open {address.url}"
    for name, value in given:
        if name == b"origin" and value.partition("://")[2] != hosts[0]:
            return "the request comes from a page of another server"
    return None


def _name_of(host: str) -> str:
    """Return the name in a Host header, without port and brackets."""
    with suppress(ValueError):
        return urlsplit(f"//{host}").hostname or ""
    return ""
