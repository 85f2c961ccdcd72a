"""Retrieving over DIMSE: this archive beside DCMTK's dcmqrscp and Orthanc, in one run on loopback.

    python tests/benchmarks/dimse_retrieving.py [--instances 200] [--rounds 3]

C-GET is asked for by getscu and C-MOVE by movescu with storescp as destination, which throw away
what they get: they set the pace, and the CPU time of the server is what tells the servers apart.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pydicom
from dimse_storing import (
    AE_TITLE,
    ENVIRONMENT,
    ORTHANC,
    Contender,
    Measured,
    Sample,
    cpu_s,
    ct,
    multi_frame,
    started,
)

from live import Live, free_port

RECEIVER: Final = "RECEIVER"
CALLING: Final = "BENCHSCU"


@contextmanager
def archive(folder: Path, receiver: int) -> Iterator[Contender]:
    port = free_port()
    peers = folder / "peers.toml"
    peers.write_text(
        '[[peers]]\nae_title = "*"\naddresses = ["127.0.0.1"]\nmay = ["store", "retrieve"]\n'
        f'[[peers]]\nae_title = "{RECEIVER}"\nhost = "127.0.0.1"\nport = {receiver}\nmay = []\n'
    )
    settings = {
        "dimse": f"127.0.0.1:{port}",
        "dimse_ae_title": AE_TITLE,
        "peers": str(peers),
        "only": "dimse",
    }
    live = Live(folder, settings)
    live.start()
    try:
        yield Contender("archive", AE_TITLE, port, live.pid)
    finally:
        live.stop()


@contextmanager
def dcmqrscp(folder: Path, receiver: int) -> Iterator[Contender]:
    port = free_port()
    stored = folder / "stored"
    stored.mkdir()
    configuration = folder / "dcmqrscp.cfg"
    configuration.write_text(
        f"NetworkTCPPort = {port}\nMaxPDUSize = 131072\nMaxAssociations = 16\n"
        f"HostTable BEGIN\nreceiver = ({RECEIVER}, 127.0.0.1, {receiver})\nHostTable END\n"
        "VendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\n{AE_TITLE} {stored} RW (1000, 1024mb) ANY\nAETable END\n"
    )
    with started(["dcmqrscp", "-c", str(configuration)], port) as process:
        yield Contender("dcmqrscp", AE_TITLE, port, process.pid)


@contextmanager
def orthanc(folder: Path, receiver: int) -> Iterator[Contender]:
    port = free_port()
    configuration = {
        "Name": AE_TITLE,
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "DicomAet": AE_TITLE,
        "DicomPort": port,
        "HttpPort": free_port(),
        "DicomAlwaysAllowStore": True,
        "DicomAlwaysAllowGet": True,
        "DicomAlwaysAllowMove": True,
        "DicomModalities": {"receiver": [RECEIVER, "127.0.0.1", receiver]},
        "RemoteAccessAllowed": False,
    }
    (folder / "orthanc.json").write_text(json.dumps(configuration))
    with started([ORTHANC, str(folder / "orthanc.json")], port) as process:
        yield Contender("Orthanc", AE_TITLE, port, process.pid)


CONTENDERS: Final = (
    ("archive", "getscu", archive),
    ("dcmqrscp", "dcmqrscp", dcmqrscp),
    ("orthanc", ORTHANC, orthanc),
)


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    command: tuple[str, ...]
    sample: Sample

    def measure(self, contender: Contender) -> Measured:
        study = pydicom.dcmread(BytesIO(self.sample.template)).StudyInstanceUID
        command = [
            *(*self.command, "-S", "-aet", CALLING, "-aec", contender.ae_title),
            *("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}"),
            *("127.0.0.1", str(contender.port)),
        ]
        used, begun = cpu_s(contender.pid), time.perf_counter()
        subprocess.run(command, check=True, env=ENVIRONMENT)
        seconds = time.perf_counter() - begun
        return Measured(
            self.sample.count, self.sample.size_bytes, seconds, cpu_s(contender.pid) - used
        )


def rows(instances: int) -> tuple[Row, ...]:
    slices, large = ct(instances), multi_frame()
    get, move = ("getscu", "--ignore"), ("movescu", "-aem", RECEIVER)
    return (
        Row(f"C-GET {instances} CT", get, slices),
        Row(f"C-MOVE {instances} CT", move, slices),
        Row("C-GET one of 100 MiB", get, large),
        Row("C-MOVE one of 100 MiB", move, large),
    )


def store(contender: Contender, sample: Sample, folder: Path) -> None:
    (objects,) = sample.write(folder / "objects", 1)
    command = ["storescu", "-R", "-aec", contender.ae_title, "+sd", "127.0.0.1"]
    subprocess.run([*command, str(contender.port), str(objects)], check=True, env=ENVIRONMENT)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as root, ExitStack() as stack:
        receiver = free_port()
        command = ["storescp", "--ignore", "-aet", RECEIVER, str(receiver)]
        stack.enter_context(started(command, receiver))
        measured = rows(chosen.instances)
        contenders = []
        for name, program, start in CONTENDERS:
            if shutil.which(program) is None:
                print(f"{name} is left out: {program} is not installed", flush=True)
                continue
            folder = Path(root) / name
            folder.mkdir()
            contender = stack.enter_context(start(folder, receiver))
            for sample in dict.fromkeys(row.sample for row in measured):
                store(contender, sample, Path(root))
            contenders.append(contender)
        for row in measured * chosen.rounds:
            for contender in contenders:
                print(f"{row.name:24}{contender.name:10}{row.measure(contender)}", flush=True)


if __name__ == "__main__":
    main()
