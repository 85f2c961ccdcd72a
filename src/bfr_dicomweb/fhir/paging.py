"""The place from which a next page goes on, as a token that tells nothing and cannot be made.

A token stands in URLs, which are logged on the way, and the query of a search may hold a patient's
identity number: so it is encrypted, and any process that has the key can read it, with nothing
kept on the server.
"""

import hmac
import time
import zlib
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any, Final

import orjson
from cryptography.fernet import Fernet, InvalidToken

from bfr_dicomweb.errors import Gone, InvalidQuery

_MOST_BYTES: Final = 1 << 20
SECRET_BYTES: Final = 32


class Pages:
    """
    Args:
        secret: The same in all processes of the archive, at least 32 bytes that nobody can guess.
        lifetime_s: How long a token is taken.
        clock: Seconds since 1970.
    """

    def __init__(
        self, secret: bytes, *, lifetime_s: int, clock: Callable[[], float] = time.time
    ) -> None:
        if len(secret) < SECRET_BYTES:
            raise ValueError(f"the secret has fewer than {SECRET_BYTES} bytes")
        key = hmac.digest(secret, b"bfr page", "sha256")
        self._cipher = Fernet(urlsafe_b64encode(key))
        self._lifetime_s = lifetime_s
        self._clock = clock

    def seal(self, place: dict[str, Any]) -> str:
        """A token of letters, digits, "-" and "_"."""
        text = zlib.compress(orjson.dumps(place))
        return self._cipher.encrypt_at_time(text, int(self._clock())).rstrip(b"=").decode()

    def open(self, token: str) -> dict[str, Any]:
        """What `seal` was given.

        Raises:
            InvalidQuery: It is no token of this archive.
            Gone: It has expired.
        """
        padded = token.encode("utf-8", "replace") + b"=" * (-len(token) % 4)
        try:
            text = self._cipher.decrypt(padded)
        except InvalidToken:
            raise InvalidQuery("_page", "it is no token of this server") from None
        if self._clock() > self._cipher.extract_timestamp(padded) + self._lifetime_s:
            raise Gone("the link to this page has expired: search again")
        found: dict[str, Any] = orjson.loads(zlib.decompressobj().decompress(text, _MOST_BYTES))
        return found
