"""Where webhooks may go: https to public addresses, and from a developer's own sandbox also to that machine itself.

An address is looked at when it is saved, and the host's numbers again at every connection: the one that was looked at
is the one that is called, so that a name cannot mean something else a moment later. No redirect is followed, and no
proxy of the environment is asked.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

from httpcore2 import AnyIOBackend, AsyncNetworkBackend, AsyncNetworkStream, ConnectError

from kit.errors import FieldProblem, Rejection
from kit.settings import Settings

LONGEST_URL = 500
LOOPBACK = ("localhost", "127.0.0.1", "::1")

_NOT_PUBLIC = [
    ip_network(each)
    for each in (
        "0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", "240.0.0.0/4",
        "fec0::/10", "2001::/23", "5f00::/16", "3fff::/20",
    )
]  # fmt: skip
_NAT64 = ip_network("64:ff9b::/96")
_OWN_NAMES = (".local", ".localhost", ".internal", ".intranet", ".lan", ".home.arpa")

# Of their own: names that nobody answers for must not hold up whoever else asks for one in this process.
_RESOLVERS = ThreadPoolExecutor(32, thread_name_prefix="webhook-names")

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Awaitable[list[Address]]]


class WebhookUrlInvalid(Rejection):
    """An address that webhooks do not go to: it is not https, or not one of a public host."""

    code = "WEBHOOK_URL_INVALID"
    retryable = False

    def __init__(self, form: str) -> None:
        super().__init__(f"the URL must be {form}", problems=[FieldProblem(("url",), "INVALID", form)])


class NotPublic(ConnectError):  # noqa: N818 - what the host turned out to be
    """A host that has an address that webhooks do not go to."""


def is_own_sandbox(settings: Settings) -> bool:
    """Whether this is a sandbox on somebody's own machine, which may call itself. One that others reach may not."""
    return settings.clock == "sandbox" and urlsplit(settings.issuer).hostname in LOOPBACK


def check(url: str, *, is_sandbox: bool) -> str:
    """The URL as it is kept. Rejects WEBHOOK_URL_INVALID."""
    form = f"https://host/path without user, password and fragment, at most {LONGEST_URL} characters"
    url = url.strip()
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        raise WebhookUrlInvalid(form) from None
    if not url.isascii() or not url.isprintable() or " " in url or len(url) > LONGEST_URL or not host:
        raise WebhookUrlInvalid(form)
    if parts.username is not None or parts.password is not None or parts.fragment or port == 0:
        raise WebhookUrlInvalid(form)
    is_own = is_sandbox and host in LOOPBACK
    if parts.scheme != "https" and not (is_own and parts.scheme == "http"):
        raise WebhookUrlInvalid(form)
    if not is_own and not _may_be_public(host):
        raise WebhookUrlInvalid("one of a public host, named by its full name")
    return url


def is_public(address: Address) -> bool:
    """Whether an address is one of the public internet: neither private nor this machine's, nor the metadata service's,
    also where it hides in another notation."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
    if any(address.version == one.version and address in one for one in _NOT_PUBLIC):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


async def resolve(host: str, port: int) -> list[Address]:
    """The addresses of a host, as this machine's resolver knows them."""
    ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(_RESOLVERS, ask)
    numbers = dict.fromkeys(str(each[4][0]).partition("%")[0] for each in found)
    return [ip_address(number) for number in numbers]


class Guarded(AsyncNetworkBackend):
    """Connects to public addresses alone, and in a sandbox to this machine's. Raises NotPublic."""

    def __init__(self, *, is_sandbox: bool, resolve: Resolve = resolve) -> None:
        self._is_sandbox = is_sandbox
        self._resolve = resolve
        self._inner = AnyIOBackend()

    async def connect_tcp(
        self, host: str, port: int, timeout: float | None = None,  # noqa: ASYNC109 - as the pool calls it
        local_address: str | None = None, socket_options: Iterable[Any] | None = None,
    ) -> AsyncNetworkStream:  # fmt: skip
        """A connection to the first of a host's addresses that answers, if all of them may be called."""
        try:
            addresses = await self._resolve(host, port)
        except (OSError, UnicodeError):
            raise ConnectError("no such host") from None
        if not addresses or not all(self._may_call(address) for address in addresses):
            raise NotPublic("not a public host")
        for address in addresses[:-1]:
            try:
                return await self._inner.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except ConnectError:
                continue
        return await self._inner.connect_tcp(str(addresses[-1]), port, timeout, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    def _may_call(self, address: Address) -> bool:
        return is_public(address) or (self._is_sandbox and address.is_loopback)


def _may_be_public(host: str) -> bool:
    try:
        return is_public(ip_address(host))
    except ValueError:
        # A number in whatever other notation (0x7f.1, 2130706433) is a name without a letter in its last part.
        last = host.rstrip(".").rpartition(".")[2]
        return "." in host.rstrip(".") and last[:1].isalpha() and not host.rstrip(".").endswith(_OWN_NAMES)
