"""The section of the configuration about exports: files of users that e-mail tools and spreadsheets import."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from engine.config_values import Names, Section, Separator, Text

Columns = dict[Text, Text]


class BrevoExport(Section):
    """Headers and sizes of files for Brevo."""

    last_name: Text = "LASTNAME"
    """Attribute of the last name, as the account has it (`NOM` in French ones)."""
    first_name: Text = "FIRSTNAME"
    """Attribute of the first name."""
    phone: Text = "SMS"
    """Attribute of the telephone number."""
    max_bytes: int = Field(8_000_000, ge=1_000, le=10_000_000)
    """Bytes of one file; Brevo takes 10 MB in one request and calls 8 MB safe."""


class MailchimpExport(Section):
    """Headers of files for Mailchimp."""

    first_name: Text = "First Name"
    """Header of the first name."""
    last_name: Text = "Last Name"
    """Header of the last name."""
    phone: Text = "Phone Number"
    """Header of the telephone number."""
    tags: str = "Tags"
    """Header of the column with the segment as a tag; no such column when empty."""


class Ga4Export(Section):
    """What the user data import of Google Analytics 4 gets: never an address or a name."""

    client_id: Text | None = None
    """Column of the contacts with the client id; the import is by `user_id` when not given."""
    stream_id: Text | None = None
    """The data stream that the client ids belong to."""
    properties: Columns = Field({})
    """User properties and their columns, such as `{ p_p_prediction = "propensity_purchase" }`."""

    @model_validator(mode="after")
    def _stream_of_clients(self) -> Self:
        if (self.client_id is None) != (self.stream_id is None):
            message = "client_id and stream_id are needed together"
            raise ValueError(message)
        return self


class CsvExport(Section):
    """A plain file for people and spreadsheets."""

    columns: Columns = Field({})
    """Headers and their columns; `user_id`, the address, `segment` and the attributes when empty."""
    separator: Separator = ","
    """What stands between two values; Excel expects `;` where decimals have a comma."""
    decimal_comma: bool = False
    """Whether decimals are written 12,5."""
    bom: bool = False
    """Whether the file begins with a byte order mark, without which Excel misreads accents."""


class Exports(Section):
    """Files of segments that e-mail tools import: where addresses and names are, and who must not be written to."""

    email: Text | None = None
    """Column of the contacts with the e-mail address."""
    first_name: Text | None = None
    """Column of the contacts with the first name."""
    last_name: Text | None = None
    """Column of the contacts with the last name."""
    name: Text | None = None
    """Column of the contacts with the whole name; first and last name when not given."""
    phone: Text | None = None
    """Column of the contacts with the telephone number."""
    attributes: Columns = Field({})
    """Attributes and their columns: a feature, a score, a column of the contacts, `user_id`, `segment`, `entered_on` or
    `as_of`, such as `{ SCORE = "engagement_score" }`."""
    suppress: Names = ()
    """Files of addresses, user ids or telephone numbers that are left out of every export: text with one per line, or
    CSV or Parquet with a column `email`, `user_id` or `phone`."""
    duplicates: Literal["first", "keep"] = "first"
    """Users who share an address: `first`: only the one with the smallest user id is written; `keep`: all."""
    readable_by: Literal["owner", "group"] = "owner"
    """Who may read the files: the user who ran the command (mode 0600), or the group too (0640)."""
    brevo: BrevoExport = BrevoExport()
    """Files for Brevo."""
    mailchimp: MailchimpExport = MailchimpExport()
    """Files for Mailchimp."""
    ga4: Ga4Export = Ga4Export()
    """Files for Google Analytics 4."""
    csv: CsvExport = CsvExport()
    """Plain files."""
