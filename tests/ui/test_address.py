"""Who may open the page: this machine, or whoever has the password; and no other page."""

from __future__ import annotations

import socket

import pytest

from pipelines.ui.address import Address, refusal

HERE = Address("127.0.0.1", 7788)
OPEN = Address("0.0.0.0", 80, "me:secret")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.2", "::", "example.org"])
def test_another_address_needs_a_password(host: str) -> None:
    with pytest.raises(ValueError, match="give --auth user:password"):
        Address(host)
    assert Address(host, auth="me:secret").credentials == ("me", "secret")


@pytest.mark.parametrize("auth", ["", "me", "me:", ":secret"])
def test_half_a_password_is_none(auth: str) -> None:
    with pytest.raises(ValueError, match="neither of them empty"):
        Address(auth=auth)


def test_a_password_may_hold_a_colon() -> None:
    assert Address(auth="me:a:b").credentials == ("me", "a:b")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:7788/"),
        ("localhost", "http://localhost:7788/"),
        ("::1", "http://[::1]:7788/"),
    ],
)
def test_this_machine_needs_none(host: str, url: str) -> None:
    assert Address(host).is_local
    assert Address(host).url == url


def test_every_address_is_opened_by_this_machines_own() -> None:
    assert OPEN.url == "http://127.0.0.1:80/"


@pytest.mark.parametrize(
    ("address", "host", "answered"),
    [
        (HERE, "127.0.0.1:7788", True),
        (HERE, "LocalHost:7788", True),
        (HERE, "[::1]:7788", True),
        (HERE, "192.168.1.2", True),
        (HERE, "rebound.example.org:7788", False),
        (HERE, "127.0.0.1.example.org", False),
        (HERE, "localhost.example.org", False),
        (HERE, "", False),
        (HERE, "[", False),
        (OPEN, f"{socket.gethostname()}:80", True),
        (OPEN, "rebound.example.org", False),
        (Address("studio.example.org", 80, "me:secret"), "studio.example.org", True),
    ],
)
def test_a_foreign_name_is_refused(address: Address, host: str, answered: bool) -> None:
    assert (refusal(address, [(b"host", host.encode())]) is None) == answered


def test_a_request_without_a_name_or_with_two_is_refused() -> None:
    name = (b"host", b"127.0.0.1:7788")
    assert refusal(HERE, []) is not None
    assert refusal(HERE, [name, name]) is not None


@pytest.mark.parametrize(
    ("origin", "answered"),
    [
        ("http://127.0.0.1:7788", True),
        ("http://127.0.0.1:9999", False),
        ("http://example.org", False),
        ("null", False),
    ],
)
def test_pages_of_other_servers_are_refused(origin: str, answered: bool) -> None:
    headers = [(b"host", b"127.0.0.1:7788"), (b"origin", origin.encode())]
    assert (refusal(HERE, headers) is None) == answered


def test_a_port_in_use_has_its_sentence() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ValueError, match=f"--port {port}: address already in use"):
            Address(port=port).listen()
