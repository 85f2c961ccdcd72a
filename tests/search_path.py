"""Where programs are looked for."""

import os
import sysconfig
from pathlib import Path


def leave_out_environment() -> None:
    """pynetdicom installs programs of its own under the names of DCMTK's, and an activated
    environment would put these first.
    """
    scripts = Path(sysconfig.get_path("scripts"))
    folders = [folder for folder in os.get_exec_path() if Path(folder) != scripts]
    os.environ["PATH"] = os.pathsep.join(folders)
