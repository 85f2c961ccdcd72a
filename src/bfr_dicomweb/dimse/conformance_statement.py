"""The DIMSE part of the DICOM conformance statement (PS3.2), made from the tables in the code.

Run as a module it writes the committed file; with --check it only compares.
"""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from pydicom.uid import UID

from bfr_dicomweb import __version__, tls
from bfr_dicomweb.dicom.report_writing import IMPLEMENTATION_CLASS_UID
from bfr_dicomweb.dimse import c_store, negotiation, requesting, scp, statuses
from bfr_dicomweb.dimse.door import Service
from bfr_dicomweb.dimse.listening import CONNECTIONS_PER_SEAT, Limits
from bfr_dicomweb.dimse.peers import LOOK_AGAIN_SECONDS, Peer
from bfr_dicomweb.dimse.receiving import MAX_IDENTIFIER_BYTES

FILE: Final = Path("conformance/DIMSE.md")

ABOUT: Final = """\
The DIMSE door is an application entity over the same archive as the DICOMweb services of
[STATEMENT.md](STATEMENT.md): what comes in by either is found and retrieved by both, with the same
matching, and with the same bytes.

This file is made from the tables in the code (`python -m bfr_dicomweb.dimse.conformance_statement`)
and compared with them by the tests."""

SERVICES: Final = """\
"Permission" is what a peer has to be allowed (`may` in the file of peers) for its presentation
contexts to be accepted; a context that it is not allowed is answered with user-rejection (1), one
that is not offered with abstract-syntax-not-supported (3). SCU means the role of this archive on
associations that a peer opens; role selection is answered for all SOP classes that are offered."""

STORAGE: Final = """\
Storage SOP classes are all of the Standard, retired ones too, all that are not of the Standard
(private ones), and those for which SOP Class Common Extended Negotiation names the Storage Service
Class. Objects of each are taken in whatever transfer syntax: of those that are proposed, the first
that PS3.6 or this archive knows, or else the first. Level 2 (full), signature level 3 (the bytes
are kept), no coercion."""

EXTENDED: Final = """\
| Item | Answer |
| --- | --- |
| Maximum length | that of section 4; 0 of the peer is no limit |
| Asynchronous operations window | 1 and 1 |
| SCP/SCU role selection | as section 1 |
| SOP Class Extended, C-FIND | {find} |
| SOP Class Extended, C-MOVE and C-GET | {retrieve} |
| SOP Class Extended, storage | level 2, signature level 3, no element coercion |
| SOP Class Common Extended | heeded for storage |
| User identity | taken and not relied on: no positive response |"""

WHO: Final = """\
Peers are configured in a TOML file (BFR_PEERS), at which it is looked again every {look:.0f} s at
most. Without it nobody may associate. A calling AE title that no peer has is that of the peer `*`,
where there is one. An association is rejected with these values of PS3.8 Table 9-21:"""

SECURITY: Final = """\
The address of BFR_DIMSE speaks no TLS, that of BFR_DIMSE_TLS nothing else (PS3.15 B.12, BCP 195):
TLS 1.2 and 1.3, of TLS 1.2 the cipher suites {suites}. With BFR_DIMSE_CA callers have to show a
certificate. A peer with `tls = true` is rejected without TLS; one with `certificates` is rejected
when its certificate has none of these names. Where BFR_DIMSE is no loopback address, every peer
needs `addresses` or TLS. Logs have AE titles, addresses, reasons and counts of messages, and
nothing of objects or patients."""


def document() -> str:
    sections = (
        ("# DIMSE conformance of bfr_dicomweb", f"Version {__version__}.", ABOUT),
        ("## 1 Services", SERVICES, _services()),
        ("### 1.1 SOP classes", _sop_classes()),
        ("### 1.2 Storage", STORAGE),
        ("## 2 Who may associate", WHO.format(look=LOOK_AGAIN_SECONDS), _refusals()),
        ("## 3 Association", _implementation(), _extended()),
        ("## 4 Limits and timers", _limits()),
        ("## 5 Statuses", _statuses()),
        ("## 6 Security", SECURITY.format(suites=", ".join(tls.CIPHER_SUITES))),
    )
    return "\n\n".join(part for section in sections for part in section) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _message(service: Service) -> str:
    return str(service.event.name).removeprefix("EVT_").replace("_", "-")


def _services() -> str:
    rows = (
        (
            service.name,
            _message(service),
            "SCU" if service.as_scu else "SCP",
            service.permission or "none",
            _syntaxes(service),
        )
        for service in scp.SERVICES
    )
    return _table(("Service", "Message", "Role", "Permission", "Transfer syntaxes"), rows)


def _syntaxes(service: Service) -> str:
    if service.sop_classes is None:
        return "all"
    uids = service.transfer_syntaxes or negotiation.UNCOMPRESSED
    return ", ".join(
        UID(uid).name.replace(" - Default Transfer Syntax for DICOM", "") for uid in uids
    )


def _sop_classes() -> str:
    rows: dict[str, list[str]] = {}
    for service in scp.SERVICES:
        for uid in service.sop_classes or ():
            rows.setdefault(uid, []).append(service.name)
    return _table(
        ("SOP class", "UID", "Services"),
        ((UID(uid).name, uid, ", ".join(dict.fromkeys(names))) for uid, names in rows.items()),
    )


def _refusals() -> str:
    rows = (
        (one.reason, str(one.result), str(one.source), str(one.diagnostic))
        for one in negotiation.REFUSALS
    )
    return _table(("When", "Result", "Source", "Reason"), rows)


def _implementation() -> str:
    return _table(
        ("", ""),
        (
            ("Application context", negotiation.APPLICATION_CONTEXT),
            ("Implementation Class UID", str(IMPLEMENTATION_CLASS_UID)),
            ("Implementation Version Name", c_store.IMPLEMENTATION_VERSION),
        ),
    )


def _extended() -> str:
    def said(names: Iterable[str]) -> str:
        return ", ".join(
            f"{name.replace('_', ' ')}: {'yes' if getattr(negotiation.SUPPORTED, name) else 'no'}"
            for name in names
        )

    return EXTENDED.format(find=said(negotiation.QUERIES), retrieve=said(negotiation.RETRIEVALS))


def _limits() -> str:
    limits, peer = Limits(), Peer("")
    rows = (
        ("Associations at one time, a process", limits.associations, "BFR_DIMSE_MAX_ASSOCIATIONS"),
        ("of a calling AE title", peer.max_associations, "`max_associations` of the peer"),
        ("Connections without an association, a process", _spare(limits), "-"),
        ("Processes", 1, "BFR_DIMSE_WORKERS"),
        ("Longest PDU that is received, bytes", limits.pdu_bytes, "BFR_DIMSE_MAX_PDU_BYTES"),
        ("Longest PDU that is sent, bytes", "as the peer says", "`max_pdu_bytes` of the peer"),
        ("Least maximum length of a peer, bytes", negotiation.LEAST_PDU_BYTES, "-"),
        ("Longest data set of a message that is not C-STORE, bytes", MAX_IDENTIFIER_BYTES, "-"),
        ("ARTIM, and TLS before it, seconds", limits.artim_seconds, "-"),
        (
            "Without a byte on an association, seconds",
            limits.idle_seconds,
            "BFR_DIMSE_IDLE_SECONDS",
        ),
        ("To be connected to a peer, seconds", f"{requesting.CONNECT_SECONDS:.0f}", "-"),
        ("For a response of a peer, seconds", peer.response_seconds, "`response_seconds`"),
    )
    return _table(("Limit", "Default", "Setting"), ((a, str(b), c) for a, b, c in rows))


def _spare(limits: Limits) -> int:
    return limits.associations * (CONNECTIONS_PER_SEAT - 1)


def _statuses() -> str:
    rows = (
        (
            (error.__doc__ or "").split("\n", maxsplit=1)[0],
            *(f"{code:04X}H" for code in (row.store, row.query, row.retrieve, row.normalized)),
        )
        for error, row in statuses.DIMSE_STATUS.items()
    )
    text = (
        "Failures, with what is wrong in Error Comment (0000,0902). A defect of this archive is"
        f" {statuses.PROCESSING_FAILURE:04X}H, a message that the peer is not allowed"
        f" {statuses.NOT_AUTHORIZED:04X}H.\n\n"
    )
    return text + _table(("When", "C-STORE", "C-FIND", "C-MOVE, C-GET", "N-..."), rows)


def main(arguments: list[str]) -> int:
    made = document()
    if "--check" in arguments:
        same = FILE.is_file() and FILE.read_text("utf-8") == made
        sys.stderr.write(f"{FILE} is {'up to date' if same else 'out of date: write it anew'}\n")
        return 0 if same else 1
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(made, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
