"""Messages a second by MLLP, each acknowledged only when it is committed.

    python tests/benchmarks/messages.py [--connections 8] [--seconds 10] [--database-url URL]

Each connection tells the lives of exams of its own, message by message, and waits for each
acknowledgement. Printed are messages a second, the server's CPU time for each, and how long an
acknowledgement took.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hl7_said import Exam, order, report, status
from live import free_port, running

START, END = b"\x0b", b"\x1c\r"
TICKS = os.sysconf("SC_CLK_TCK")


def lives(connection: int) -> Iterator[bytes]:
    """Order, booked, started, performed, signed: of one exam after the other."""
    number = 0
    while True:
        number += 1
        name = f"{connection}-{number}"
        exam = Exam(f"P{name}", f"A{name}", f"1.2.752.113.99.{connection + 1}.{number}")
        group = f"G{name}"
        yield order(exam, control_id=f"N{name}", time="20240108080000", group=group)
        for step, codes in enumerate((("SC", "SC", "S"), ("SC", "IP", "I"), ("SC", "CM", "N"))):
            yield status(
                exam,
                codes=codes,
                control_id=f"S{name}-{step}",
                time=f"2024011{step}090000",
                group=group,
            )
        yield report(
            exam, f"Utlåtande: {name}", control_id=f"R{name}", time="20240113150000", group=group
        )


async def tell(port: int, messages: list[bytes], until: float, waits: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for message in messages:
        begun = time.perf_counter()
        if begun > until:
            break
        writer.write(START + message + END)
        answer = await reader.readuntil(END)
        if b"MSA|AA|" not in answer:
            raise RuntimeError(answer.decode())
        waits.append(time.perf_counter() - begun)
    writer.close()


async def storm(port: int, connections: int, seconds: float) -> list[float]:
    # made beforehand: the client must not take the server's time
    most = int(seconds * 4000 / connections)
    prepared = [
        [message for message, _ in zip(lives(one), range(most), strict=False)]
        for one in range(connections)
    ]
    waits: list[float] = []
    until = time.perf_counter() + seconds
    await asyncio.gather(*(tell(port, messages, until, waits) for messages in prepared))
    return waits


def cpu_s(pid: int) -> tuple[float, float]:
    """Of the process itself, and of the kernel for it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) / TICKS, int(fields[12]) / TICKS


def main() -> None:
    parser = argparse.ArgumentParser(description="Messages a second by MLLP.")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--database-url")
    options = parser.parse_args()
    settings = {"mllp": f"127.0.0.1:{free_port()}", "log_level": "warning"}
    if options.database_url:
        settings["database_url"] = options.database_url
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), settings) as live:
        before, begun = cpu_s(live.pid), time.perf_counter()
        waits = uvloop.run(storm(live.mllp_port, options.connections, options.seconds))
        took = time.perf_counter() - begun
        own, kernel = (
            (after - first) / len(waits) * 1000
            for after, first in zip(cpu_s(live.pid), before, strict=True)
        )
    waits.sort()
    print(
        f"{options.connections} connections: {len(waits) / options.seconds:.0f} messages/s,"
        f" {own:.2f} + {kernel:.2f} ms CPU each (own and the kernel's; {took:.1f} s in all),"
        f" acknowledged after {waits[len(waits) // 2] * 1000:.1f} ms (median),"
        f" {waits[int(len(waits) * 0.95)] * 1000:.1f} ms (p95)"
    )


if __name__ == "__main__":
    main()
