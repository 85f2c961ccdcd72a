"""A certificate authority for a test, made with the openssl command."""

import subprocess
from pathlib import Path
from shutil import which

import pytest

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_EMPTY_CONFIGURATION = "[req]\ndistinguished_name = name\n[name]\n"


class Authority:
    """Issues certificates; `ca` is its own, in PEM."""

    def __init__(self, folder: Path) -> None:
        if which("openssl") is None:
            pytest.skip("openssl is not installed: apt-get install openssl")
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._configuration = folder / "openssl.cnf"
        self._configuration.write_text(_EMPTY_CONFIGURATION)
        self.ca, self._key = folder / "ca.pem", folder / "ca.key"
        self._request(
            *("-x509", "-out", str(self.ca), "-keyout", str(self._key), "-subj", "/CN=test CA"),
            *("-addext", "basicConstraints=critical,CA:TRUE"),
            *("-addext", "keyUsage=critical,keyCertSign"),
        )

    def issue(self, name: str, alternatives: str = "DNS:localhost") -> tuple[Path, Path]:
        """Certificate and key of `name`; the alternative names as openssl writes them."""
        certificate, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        self._request(
            *("-x509", "-CA", str(self.ca), "-CAkey", str(self._key)),
            *("-out", str(certificate), "-keyout", str(key), "-subj", f"/CN={name}"),
            *("-addext", f"subjectAltName={alternatives}"),
            *("-addext", "basicConstraints=CA:FALSE"),
        )
        return certificate, key

    def _request(self, *arguments: str) -> None:
        command = ["openssl", "req", "-config", str(self._configuration), "-days", "2", *_KEY]
        subprocess.run([*command, *arguments], check=True, capture_output=True)
