"""Where a model server is, and the key to it: checked before the first request."""

from __future__ import annotations

import dataclasses
import ipaddress

import httpx2

from evals.errors import UserError

__all__ = ["Server", "checked_key", "checked_url", "is_loopback"]

_URL_HINT = "give the server's base URL, such as `http://127.0.0.1:8000/v1`"


@dataclasses.dataclass(frozen=True)
class Server:
    """A server's URL, up to where `/chat/completions` begins, and its key."""

    url: str
    api_key: str | None = dataclasses.field(default=None, repr=False)


def checked_url(url: str) -> str:
    """Return a base URL without its last slash.

    Raises:
        UserError: It is none, or holds what may be a secret; that is not repeated.
    """
    if any(character in url for character in "@?#"):
        raise UserError(
            "the server's URL may hold no user name, password, query or fragment",
            hint="keep secrets out of it: name an environment variable in `api_key_env`",
        )
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise UserError(f"`{url}` is no URL: {error}", hint=_URL_HINT) from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise UserError(f"`{url}` is no URL of a server", hint=_URL_HINT)
    return str(parsed).rstrip("/")


def checked_key(key: str | None) -> str | None:
    """Return a key without surrounding space, `None` if nothing is left.

    Raises:
        UserError: HTTP cannot carry it; it is not repeated.
    """
    key = (key or "").strip()
    if any(not "!" <= character <= "~" for character in key):
        raise UserError(
            "the key holds characters that no key has, such as spaces or line ends",
            hint="check the environment variable that `api_key_env` names",
        )
    return key or None


def is_loopback(url: str) -> bool:
    """Return whether a URL leads to this machine itself."""
    host = httpx2.URL(url).host
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified
