"""The place from which a next page goes on, as a token that tells nothing and cannot be made.

A token stands in URLs, which are logged on the way, and the query of a search may hold a patient's
identity number: so it is encrypted, and any process that has the key can read it, with nothing
kept on the server. The cipher is SHAKE256 of a key that is made for each token, as a stream that
is added to the text; HMAC-SHA256 over all of it says that it is ours.
"""

import binascii
import hashlib
import hmac
import secrets
import time
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import Any, Final

import orjson

from bfr_dicomweb.errors import Gone, InvalidQuery

_NONCE_BYTES: Final = 16
_TAG_BYTES: Final = 16
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
        self._encrypting = hmac.digest(secret, b"bfr page: encrypt", "sha256")
        self._signing = hmac.digest(secret, b"bfr page: sign", "sha256")
        self._lifetime_s = lifetime_s
        self._clock = clock

    def seal(self, place: dict[str, Any]) -> str:
        """A token of letters, digits, "-" and "_"."""
        expires = int(self._clock()) + self._lifetime_s
        text = zlib.compress(orjson.dumps([expires, place]))
        nonce = secrets.token_bytes(_NONCE_BYTES)
        hidden = nonce + self._masked(nonce, text)
        return urlsafe_b64encode(hidden + self._tag(hidden)).rstrip(b"=").decode()

    def open(self, token: str) -> dict[str, Any]:
        """What `seal` was given.

        Raises:
            InvalidQuery: It is no token of this archive.
            Gone: It has expired.
        """
        try:
            raw = urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
        except (ValueError, binascii.Error):
            raise InvalidQuery("_page", "it is no token of this server") from None
        hidden, tag = raw[:-_TAG_BYTES], raw[-_TAG_BYTES:]
        if len(raw) < _NONCE_BYTES + _TAG_BYTES or not hmac.compare_digest(tag, self._tag(hidden)):
            raise InvalidQuery("_page", "it is no token of this server")
        text = self._masked(hidden[:_NONCE_BYTES], hidden[_NONCE_BYTES:])
        expires, place = orjson.loads(zlib.decompressobj().decompress(text, _MOST_BYTES))
        if self._clock() > expires:
            raise Gone("the link to this page has expired: search again")
        found: dict[str, Any] = place
        return found

    def _masked(self, nonce: bytes, text: bytes) -> bytes:
        """Encrypts, and decrypts what is encrypted."""
        own_key = hmac.digest(self._encrypting, nonce, "sha256")
        stream = hashlib.shake_256(own_key).digest(len(text))
        mask = int.from_bytes(stream, "big") ^ int.from_bytes(text, "big")
        return mask.to_bytes(len(text), "big")

    def _tag(self, hidden: bytes) -> bytes:
        return hmac.digest(self._signing, hidden, "sha256")[:_TAG_BYTES]
