"""For integrators: send messages, look at those that came, read them anew, configure senders."""

import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from bfr_dicomweb.cli.frame import Config, Data, DatabaseURL, err, load, out, progress, run
from bfr_dicomweb.errors import NotFound, Unavailable

if TYPE_CHECKING:
    from bfr_dicomweb.hl7v2.sending import Answer
    from bfr_dicomweb.services.orders import Orders, StoredMessage
    from bfr_dicomweb.settings import Settings

PAGE: Final = 500
# What stands in the place of a message's type or id may be anything, of a patient too.
_TYPE: Final = re.compile(r"[A-Z0-9]{3}(\^[A-Z0-9]{3}(\^[A-Z0-9_]{3,8})?)?")
_CONTROL_ID: Final = re.compile(r"[!-~]{1,199}")


class State(StrEnum):
    """What became of a message."""

    KEPT = "kept"
    APPLIED = "applied"
    FAILED = "failed"
    REFUSED = "refused"


commands = typer.Typer(name="hl7", help="HL7 v2 messages, for integrators.", no_args_is_help=True)


@commands.command()
def send(
    files: Annotated[
        list[Path],
        typer.Argument(help="Files of one message, or of several.", exists=True, dir_okay=False),
    ],
    to: Annotated[str, typer.Option("--to", help="HOST:PORT of the receiver.")] = "127.0.0.1:2575",
    ca: Annotated[Path | None, typer.Option(help="Authorities (PEM): with it, TLS.")] = None,
    certificate: Annotated[Path | None, typer.Option(help="Our certificate (PEM).")] = None,
    key: Annotated[Path | None, typer.Option(help="Its private key (PEM).")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for an answer.")] = 30.0,
) -> None:
    """Send messages by MLLP and print each acknowledgement. Exits with 1 unless all are AA."""
    from bfr_dicomweb.hl7v2 import sending

    context = sending.context(ca, certificate, key)
    messages = [one for file in files for one in sending.messages_of(file.read_bytes())]
    accepted = 0
    with progress("sending", len(messages)) as step:

        def answered(answer: "Answer") -> None:
            nonlocal accepted
            out.print(answer.line, markup=False, soft_wrap=True)
            accepted += answer.accepted
            step()

        run(sending.send_all(to, messages, context, timeout, answered))
    out.print(f"accepted {accepted} of {len(messages)}")
    if accepted < len(messages):
        raise typer.Exit(1)


@commands.command()
def inspect(
    number: Annotated[int | None, typer.Argument(help="Print this message whole.")] = None,
    state: Annotated[State | None, typer.Option(help="Only these.")] = None,
    sender: Annotated[str | None, typer.Option(help="Only those of this sender.")] = None,
    control_id: Annotated[str | None, typer.Option(help="Only those with this MSH-10.")] = None,
    limit: Annotated[int, typer.Option(help="Most messages to list.", min=1)] = 50,
    data: Data = None,
    database_url: DatabaseURL = None,
    config: Config = None,
) -> None:
    """List received messages and what became of them, or print one as it came."""
    chosen = load(config, data=data, database_url=database_url)
    if number is not None:
        _show(run(_message(chosen, number)))
        return
    for message in run(_messages(chosen, state, sender, control_id, limit)):
        reason = f"  {message.error}" if message.error else ""
        out.print(
            f"{message.number}  {message.state}  {message.ack or '-'}"
            f"  {_only(_TYPE, message.type)}  {message.sender}"
            f"  {_only(_CONTROL_ID, message.control_id)}{reason}",
            markup=False,
            soft_wrap=True,
        )


@commands.command()
def replay(
    numbers: Annotated[
        list[int] | None, typer.Argument(help="Messages to read anew; by default all that failed.")
    ] = None,
    state: Annotated[State, typer.Option(help="Without numbers.")] = State.FAILED,
    data: Data = None,
    database_url: DatabaseURL = None,
    config: Config = None,
) -> None:
    """Read stored messages anew, with the configuration of today."""
    chosen = load(config, data=data, database_url=database_url)
    done, failed = run(_replay(chosen, numbers or [], state))
    out.print(f"read anew {done}")
    for number, reason in failed:
        err.print(f"{number}: {reason}", markup=False, soft_wrap=True)
    if failed:
        raise typer.Exit(1)


@commands.command()
def configure(
    file: Annotated[
        Path | None,
        typer.Argument(help="TOML file of senders and receivers; print it when left out."),
    ] = None,
    example: Annotated[bool, typer.Option("--example", help="Print an example.")] = False,
    data: Data = None,
    database_url: DatabaseURL = None,
    config: Config = None,
) -> None:
    """Show the configuration of senders and receivers in force, or put a new version in force."""
    from bfr_dicomweb.hl7v2 import exchange

    if example:
        typer.echo(exchange.EXAMPLE)
        return
    chosen = load(config, data=data, database_url=database_url)
    version, text = run(_configure(chosen, file))
    if file is None:
        typer.echo(f"# version {version}\n{text}")
    else:
        out.print(f"version {version} is in force")


def _only(expected: re.Pattern[str], text: str) -> str:
    return text if expected.fullmatch(text) else "?"


def _show(message: "StoredMessage") -> None:
    for name in ("number", "door", "sender", "control_id", "type", "version", "charset", "state"):
        out.print(f"{name}: {getattr(message, name)}", markup=False)
    out.print(f"ack: {message.ack or '-'}")
    if message.error:
        out.print(f"error: {message.error}", markup=False, soft_wrap=True)
    typer.echo(message.body.decode("utf-8", "replace").replace("\r", "\n"))


async def _message(settings: "Settings", number: int) -> "StoredMessage":
    from bfr_dicomweb.app import open_orders

    async with open_orders(settings) as orders:
        found = await orders.message(number)
    if found is None:
        raise NotFound(f"there is no message {number}")
    return found


async def _messages(
    settings: "Settings", state: str | None, sender: str | None, control_id: str | None, limit: int
) -> list["StoredMessage"]:
    from bfr_dicomweb.app import open_orders

    async with open_orders(settings) as orders:
        return await orders.messages(state=state, sender=sender, control_id=control_id, limit=limit)


async def _replay(
    settings: "Settings", numbers: list[int], state: str
) -> tuple[int, list[tuple[int, str]]]:
    from bfr_dicomweb.app import open_orders
    from bfr_dicomweb.hl7v2 import rereading
    from bfr_dicomweb.hl7v2.door import Door
    from bfr_dicomweb.hl7v2.message import Limits

    async with open_orders(settings) as orders:
        door = Door(orders, limits=Limits(message_bytes=settings.max_message_bytes))
        if not numbers:
            numbers = await _numbers(orders, state)
        failed: list[tuple[int, str]] = []
        with progress("reading anew", len(numbers)) as step:
            for number in numbers:
                reason = await rereading.replay(door, orders, number)
                if reason:
                    failed.append((number, reason))
                step()
        return len(numbers) - len(failed), failed


async def _numbers(orders: "Orders", state: str) -> list[int]:
    from bfr_dicomweb.hl7v2 import rereading

    numbers: list[int] = []
    after = 0
    while found := await orders.messages(state=state, after=after, limit=PAGE):
        after = found[-1].number
        # what came out of images is read from them
        numbers += [message.number for message in found if message.door != rereading.DICOM]
    return numbers


async def _configure(settings: "Settings", file: Path | None) -> tuple[int, str]:
    from bfr_dicomweb.app import open_orders, read_exchange

    async with open_orders(settings) as orders:
        if file is not None:
            await orders.put_exchange(read_exchange(file))
        version, text = await orders.exchange()
    if file is None and not version:
        raise Unavailable("no configuration of senders is in force: see --example")
    return version, text
