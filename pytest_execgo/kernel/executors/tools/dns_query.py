"""TXT records, which the standard library can't ask for: through dnspython, errors in Go's words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver


class LookupFailed(Exception):
    """No answer, or one that says that there is none; the message is Go's."""


async def query_txt(name: str, resolver: Resolver | None = None) -> list[str]:
    """Return a name's TXT records, each joined to one string; `resolver` is the system's unless given."""
    import dns.asyncresolver  # deferred: 60 ms that only a TXT lookup pays
    import dns.exception
    import dns.resolver

    try:
        answer = await (resolver or dns.asyncresolver.Resolver()).resolve(name, "TXT")
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer, dns.exception.SyntaxError, UnicodeError) as error:
        raise LookupFailed("no such host") from error
    except dns.exception.Timeout as error:
        raise LookupFailed("i/o timeout") from error
    except (dns.exception.DNSException, OSError) as error:
        raise LookupFailed("server misbehaving") from error
    return [b"".join(record.strings).decode("utf-8", "replace") for record in answer]
