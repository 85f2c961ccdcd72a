import subprocess
from pathlib import Path

from dimse_served import AE_TITLE, served

ECHOSCU = "echoscu"


def test_echo_is_answered(tmp_path: Path) -> None:
    with served(tmp_path) as archive:
        done = subprocess.run(
            [ECHOSCU, "-aec", AE_TITLE, "127.0.0.1", str(archive.port)],
            capture_output=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stderr
