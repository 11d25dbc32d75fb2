"""Short names for the long identifiers of a graph: `geo:capital` for `urn:geonames:capital`."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, unquote

PREFIXES: Mapping[str, str] = {
    "wn": "urn:wordnet:3.0:",
    "geo": "urn:geonames:",
    "edge": "urn:edges:",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "rdfs": "http://www.w3.org/2000/01/rdf-schema#",
    "owl": "http://www.w3.org/2002/07/owl#",
    "skos": "http://www.w3.org/2004/02/skos/core#",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
    "foaf": "http://xmlns.com/foaf/0.1/",
    "schema": "http://schema.org/",
    "dcterms": "http://purl.org/dc/terms/",
}
"""Prefixes that SPARQL queries can use without declaring them. Output uses them too."""

RDF_TYPE = PREFIXES["rdf"] + "type"
LABEL = PREFIXES["rdfs"] + "label"
ALTERNATIVE = PREFIXES["skos"] + "altLabel"
LABELS = (
    LABEL,
    PREFIXES["skos"] + "prefLabel",
    PREFIXES["schema"] + "name",
    PREFIXES["foaf"] + "name",
    ALTERNATIVE,
)
"""Relations that name an entity, best first."""

_UNQUOTED = "-._~:@!$'()*+,;="


def shorten(iri: str) -> str:
    """The short name if there is a prefix for it, else the identifier in angle brackets."""
    for prefix, start in PREFIXES.items():
        if iri.startswith(start) and len(iri) > len(start):
            return f"{prefix}:{iri[len(start) :]}"
    return f"<{iri}>"


def expand(name: str) -> str | None:
    """The identifier for a short name or one in angle brackets; None if it is neither."""
    if name.startswith("<") and name.endswith(">"):
        return name[1:-1]
    prefix, colon, rest = name.partition(":")
    if colon and rest and prefix in PREFIXES:
        return PREFIXES[prefix] + rest
    return name if name.startswith(("http://", "https://", "urn:")) else None


def minted(prefix: str, text: str) -> str:
    """An identifier made of a text, such as a label of an edge list."""
    return PREFIXES[prefix] + quote(text.strip().replace(" ", "_"), safe=_UNQUOTED)


def local(iri: str) -> str:
    """The last part of an identifier, for people."""
    return unquote(iri.replace("#", "/").rstrip("/").rpartition("/")[2].rpartition(":")[2])
