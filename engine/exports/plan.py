"""What an export of a tool writes: which columns, under which headers, and where each of them comes from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal

import polars as pl

from engine.config import Config
from engine.config_exports import Exports
from engine.contacts.shape import differing_columns
from engine.errors import ConfigError, DataError
from engine.events.probe import Footer, read_footers
from engine.events.read import reading
from engine.exports.cells import is_exportable, is_text
from engine.exports.consents import Agreed
from engine.exports.contacts import contacts_as_of
from engine.exports.listed import phones_of
from engine.exports.objecting import Objecting
from engine.privacy.ids import IdRules, id_rules
from engine.suggest import did_you_mean
from engine.why.published import Published

Tool = Literal["brevo", "mailchimp", "listmonk", "ga4", "csv"]
Key = Literal["email", "client_id", "user_id"]

OWN: Final[Mapping[str, pl.DataType]] = {
    "user_id": pl.String(),
    "segment": pl.String(),
    "entered_on": pl.Date(),
    "as_of": pl.Date(),
}
"""Columns that every row of an export has, beside `email` where there are addresses."""

_TABLES: Final = ("scores", "features")
_BREVO_ATTRIBUTE: Final = re.compile(r"[A-Z0-9_]+")


@dataclass(frozen=True)
class Column:
    """One column of a file: its header, and the name and type of the column in the rows that are exported."""

    header: str
    name: str
    dtype: pl.DataType


@dataclass(frozen=True)
class Plan:
    """What one tool gets.

    Attributes:
        tool: The tool.
        key: What the tool tells people apart by.
        address: Column of the contacts with the e-mail address; None when there are no addresses.
        client_id: Column of the contacts with GA4's client id.
        files: Files of the contacts; none when nothing of them is needed.
        user_id: Column of the contacts with the user's id.
        contacts: Name in the rows and name in the files of each column of the contacts that is written.
        published: Table, name in the rows and name in the table of each published column that is written.
        names: What a tool with one name for all of it makes the name from.
        columns: Columns of the files, in their order; without those that a tool makes by itself.
        exports: The section of the configuration.
        ids: What becomes of the ids of the contacts.
        table: The contacts in place of those of `files`: as of the date, and cleaned.
        agreed: What users agreed to (`engine.exports.consents`); None where nobody is asked.
        refusing: What users told apart by `key` refused: `__key` and `refused` (UInt32), a row each; None as `agreed`.
        phones: Columns of the contacts with telephone numbers, which those of lists are compared with.
        objecting: What is written of nobody, as somebody has it who objects or was erased; None without contacts.
    """

    tool: Tool
    key: Key
    address: str | None
    client_id: str | None
    files: tuple[str, ...]
    user_id: str
    contacts: tuple[tuple[str, str], ...]
    published: tuple[tuple[str, str, str], ...]
    names: tuple[Column, ...]
    columns: tuple[Column, ...]
    exports: Exports
    ids: IdRules = field(default_factory=IdRules)
    table: pl.DataFrame | None = None
    agreed: Agreed | None = None
    refusing: pl.DataFrame | None = None
    phones: tuple[str, ...] = ()
    objecting: Objecting | None = None


@dataclass(frozen=True)
class _Wanted:
    """A column that the configuration asks for: by which key, under which header, and whether as part of a name."""

    key: str
    header: str
    name: str
    is_role: bool = False


@dataclass(frozen=True)
class _Known:
    """The columns there are: those of the rows, of the published tables and of the contacts."""

    own: Mapping[str, pl.DataType]
    published: Mapping[str, Mapping[str, pl.DataType]]
    contacts: Mapping[str, pl.DataType]

    def find(self, name: str, *, is_role: bool) -> tuple[str, pl.DataType] | None:
        """Name in the rows and type of a column; None when there is none. Parts of names are the contacts' own."""
        if is_role:
            return (f"contacts:{name}", self.contacts[name]) if name in self.contacts else None
        if name in self.own:
            return name, self.own[name]
        for table, columns in self.published.items():
            if name in columns:
                return f"{table}:{name}", columns[name]
        return (f"contacts:{name}", self.contacts[name]) if name in self.contacts else None

    def names(self) -> list[str]:
        return [*self.own, *(name for columns in self.published.values() for name in columns), *self.contacts]


def plan_export(config: Config, published: Published, tool: Tool, files: Sequence[str]) -> Plan:
    """What is written for a tool, with every column found.

    Args:
        config: With `[exports]`.
        published: The date.
        tool: Whose format.
        files: Those of the contacts; none when there are no contacts.

    Raises:
        ConfigError: `[contacts]` or `[exports]` lack what the tool needs, or name columns that are not there or cannot
            be written; all of them at once.
        DataError: Files of the contacts that cannot be read, or whose columns are of different types.
    """
    exports, contacts = config.exports, config.contacts
    footers = _contact_footers(files)
    schema = _contact_schema(footers)
    table = contacts_as_of(config, published.as_of, schema, published.schema("features")["user_id"])
    schema = schema if table is None else dict(table.schema)
    with_email = exports.email is not None and tool != "ga4"
    own = {**OWN, "user_id": published.schema("features")["user_id"], **({"email": pl.String()} if with_email else {})}
    known = _Known(own, {table: published.schema(table) for table in _TABLES}, schema)
    problems = list(_lacking(config, tool))
    if contacts is not None and contacts.user_id not in schema:
        problems.append(f"  contacts.user_id: no column {contacts.user_id!r}{did_you_mean(contacts.user_id, schema)}")
    for key in ("email", "first_name", "last_name", "name", "phone"):
        problems += _contact_problem(f"exports.{key}", getattr(exports, key), known.contacts)
    problems += _contact_problem("exports.ga4.client_id", exports.ga4.client_id, known.contacts)
    columns: list[Column] = []
    for wanted in _wanted(exports, tool, known):
        found = known.find(wanted.name, is_role=wanted.is_role)
        if found is not None and is_exportable(found[1]):
            columns.append(Column(wanted.header, *found))
        elif found is not None:
            problems.append(f"  {wanted.key}: {wanted.name!r} is {found[1]}, which has no plain text")
        elif not wanted.is_role:
            problems.append(f"  {wanted.key}: no column {wanted.name!r}{did_you_mean(wanted.name, known.names())}")
    problems += _header_problems(exports, tool, [column.header for column in columns])
    problems += _personal(exports, tool)
    if problems:
        raise ConfigError(
            f"this cannot be exported for {tool}:\n" + "\n".join(dict.fromkeys(problems)),
            code="export-columns",
            hint="docs/exports.md shows [exports] for each tool. Nothing was written.",
        )
    key = _key(exports, tool)
    parts = list(dict.fromkeys(column.name.partition(":") for column in columns))
    roles = sum(wanted.is_role for wanted in _wanted(exports, tool, known)) if tool == "listmonk" else 0
    reaching = exports.email is not None or exports.phone is not None
    needs_contacts = reaching or key == "client_id" or any(part[0] == "contacts" for part in parts)
    phones = tuple(name for name in phones_of(config).columns if name in schema)
    of_contacts = tuple((f"contacts:{name}", name) for table_name, _, name in parts if table_name == "contacts")
    client_id = exports.ga4.client_id if tool == "ga4" else None
    named = ("user_id", exports.email, client_id, *dict(of_contacts).values(), *phones)
    needed = list(dict.fromkeys(name for name in named if name is not None))
    if needs_contacts and contacts is not None and table is None:
        # As a table they have been looked at already.
        _check_types(footers, [contacts.user_id if name == "user_id" else name for name in needed])
    return Plan(
        tool=tool,
        key=key,
        address=exports.email,
        client_id=client_id,
        files=tuple(files) if needs_contacts else (),
        user_id="" if contacts is None else contacts.user_id if table is None else "user_id",
        contacts=of_contacts,
        published=tuple((table, f"{table}:{name}", name) for table, _, name in parts if table in _TABLES),
        names=tuple(columns[:roles]),
        columns=tuple(columns[roles:]),
        exports=exports,
        # Those of a table have been through it.
        ids=id_rules(config) if table is None else IdRules(),
        # Nothing of the other columns stays in memory.
        table=table.select(needed) if table is not None and needs_contacts else None,
        phones=phones if needs_contacts else (),
    )


def _key(exports: Exports, tool: Tool) -> Key:
    if tool == "ga4":
        return "user_id" if exports.ga4.client_id is None else "client_id"
    return "email" if tool != "csv" or exports.email is not None else "user_id"


def _contact_footers(files: Sequence[str]) -> list[Footer]:
    footers = read_footers([Path(file) for file in files])
    bad = [f"  {footer.file}: {footer.problem}" for footer in footers if footer.problem]
    if bad:
        raise DataError("contacts: cannot read\n" + "\n".join(bad), code="input-unreadable", hint="Restore the files.")
    return footers


def _contact_schema(footers: Sequence[Footer]) -> dict[str, pl.DataType]:
    """Columns that all files of the contacts have."""
    if not footers:
        return {}
    first = str(footers[0].file)
    with reading("contacts", first):
        schema = dict(pl.scan_parquet(first, glob=False, hive_partitioning=False).collect_schema())
    common = set.intersection(*({name for name, _ in footer.columns} for footer in footers))
    return {name: dtype for name, dtype in schema.items() if name in common}


def _check_types(footers: Sequence[Footer], names: Sequence[str]) -> None:
    problems = differing_columns(footers, names)
    if problems:
        raise DataError(
            "contacts: the columns that are exported do not fit\n" + "\n".join(problems),
            code="contacts-columns",
            hint="Write them in one type in all files, those that are not exported may differ. Nothing was written.",
        )


def _lacking(config: Config, tool: Tool) -> Iterable[str]:
    exports = config.exports
    if tool not in {"ga4", "csv"} and exports.email is None:
        yield "  exports.email: expected the column of the contacts with the address, it is not set"
    if tool == "ga4" and not exports.ga4.properties:
        yield "  exports.ga4.properties: expected user properties and their columns, there are none"
    named = (exports.email, exports.first_name, exports.last_name, exports.name, exports.phone, exports.ga4.client_id)
    if config.contacts is None and any(named):
        yield "  contacts: expected the table of the contacts, it is not set"


def _contact_problem(key: str, name: str | None, contacts: Mapping[str, pl.DataType]) -> list[str]:
    if name is None or not contacts:
        return []
    if name not in contacts:
        return [f"  {key}: no column {name!r} in the contacts{did_you_mean(name, contacts)}"]
    dtype = contacts[name]
    return [] if is_text(dtype) or dtype.is_integer() else [f"  {key}: {name!r} is {dtype}; expected text"]


def _wanted(exports: Exports, tool: Tool, known: _Known) -> list[_Wanted]:
    """Everything but what the tool makes by itself; parts of names come first."""
    attributes = [_Wanted(f"exports.attributes.{key}", key, name) for key, name in exports.attributes.items()]
    match tool:
        case "ga4":
            properties = exports.ga4.properties.items()
            return [_Wanted(f"exports.ga4.properties.{key}", key, name) for key, name in properties]
        case "csv":
            given = [_Wanted(f"exports.csv.columns.{key}", key, name) for key, name in exports.csv.columns.items()]
            usual = [
                _Wanted("exports.csv", name, name) for name in ("user_id", "email", "segment") if name in known.own
            ]
            return given or [*usual, *attributes]
        case "brevo":
            names = exports.brevo
            headers = {"last_name": names.last_name, "first_name": names.first_name, "phone": names.phone}
            attributes = [replace(wanted, header=wanted.header.upper()) for wanted in attributes]
        case "mailchimp":
            fields = exports.mailchimp
            headers = {"first_name": fields.first_name, "last_name": fields.last_name, "phone": fields.phone}
        case _:
            headers = {role: role for role in (("name",) if exports.name else ("first_name", "last_name"))}
    roles = [
        _Wanted(f"exports.{role}", header, name, is_role=True)
        for role, header in headers.items()
        if (name := getattr(exports, role)) is not None
    ]
    return [*roles, *attributes]


def _personal(exports: Exports, tool: Tool) -> list[str]:
    if tool != "ga4":
        return []
    personal = {exports.email, exports.first_name, exports.last_name, exports.name, exports.phone, "email"}
    return [
        f"  exports.ga4.properties.{key}: {name!r} says who somebody is, which Google does not accept"
        for key, name in exports.ga4.properties.items()
        if name in personal
    ]


def _header_problems(exports: Exports, tool: Tool, headers: Sequence[str]) -> list[str]:
    made = {
        "brevo": ["EMAIL"],
        "mailchimp": ["Email Address", exports.mailchimp.tags],
        "ga4": ["client_id", "stream_id", "user_id"],
    }
    # listmonk has attributes apart from its own columns.
    every = [*made.get(tool, []), *headers] if tool != "listmonk" else []
    twice = sorted({header for header in every if every.count(header) > 1})
    problems = [f"  the header {header!r} stands twice" for header in twice]
    if tool == "brevo":
        wrong = [header for header in headers if not _BREVO_ATTRIBUTE.fullmatch(header)]
        problems += [f"  {header!r} is no attribute of Brevo; expected letters, digits and _" for header in wrong]
    return problems
