import json
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import pytest_asyncio

from agentlm.agent.tool import Observation, ToolContext
from agentlm.errors import OperatorError
from agentlm.messages import ToolCall
from agentlm.tools.graph import edges, wordnet
from agentlm.tools.graph.build import Source, build, default_sources, ensure, main
from agentlm.tools.graph.graph import Graph
from agentlm.tools.graph.names import expand, minted, shorten
from agentlm.tools.graph.place import graph_dir
from agentlm.tools.settings import ToolSettings
from agentlm.tools.toolbox import Toolbox

together = pytest.mark.asyncio(loop_scope="module")
"""Tests that share a toolbox."""
MakeSettings = Callable[..., ToolSettings]
Call = Callable[..., Awaitable[Observation]]

TURTLE = """
@prefix geo: <urn:geonames:> . @prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix xsd: <http://www.w3.org/2001/XMLSchema#> .
geo:Country rdfs:label "country" . geo:City rdfs:label "city" .
geo:DE a geo:Country ; rdfs:label "Germany" ; geo:capital geo:berlin ; geo:population 83000000 .
geo:FR a geo:Country ; rdfs:label "France" ; geo:capital geo:paris ; geo:population 68000000 .
geo:berlin a geo:City ; rdfs:label "Berlin" ; geo:country geo:DE ; geo:population 3600000 ;
    geo:founded "1237-10-28"^^xsd:date .
geo:bonn a geo:City ; rdfs:label "Bonn" ; geo:country geo:DE ; geo:population 330000 .
geo:paris a geo:City ; rdfs:label "Paris" ; geo:country geo:FR ; geo:population 2100000 .
geo:texas a geo:City ; rdfs:label "Paris" ; geo:population 24000 .
"""
EDGES = "source,relation,target\nAda Byron,wrote,Notes\nNotes,pages,66\n"
ENDLESS = (
    "SELECT (COUNT(*) AS ?n) { ?a ?b ?c . ?d ?e ?f . ?g ?h ?i . ?j ?k ?l . ?m ?n ?o . ?p ?q ?r }"
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("graph")
    (folder / "places.ttl").write_text(TURTLE)
    (folder / "edges.csv").write_text(
        "source,relation,target\nAda Byron,wrote,Notes\nNotes,pages,66\n"
    )
    files = [str(folder / "places.ttl"), str(folder / "edges.csv")]
    assert main(["--graph", str(folder / "built"), *files]) == 0
    return folder / "built"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def toolbox(directory: Path) -> AsyncIterator[Toolbox]:
    settings = ToolSettings(data_dir=directory, graph=directory, tool_timeout_s=1, graph_rows=3)
    opened = await Toolbox.open(settings, ("knowledge_graph",))
    yield opened
    await opened.close()


@pytest.fixture
def call(toolbox: Toolbox) -> Call:
    tools = toolbox.for_request(["knowledge_graph"])
    test = uuid.uuid4().hex

    async def run(function: str, trajectory: str = "traj_1", /, **arguments: str) -> Observation:
        call = ToolCall(id="call_1", name=function, arguments=json.dumps(arguments))
        return await tools.call(call, ToolContext(f"{trajectory}_{test}", "me"))

    return run


@together
async def test_a_question_of_several_hops_is_answered_by_variables(call: Call) -> None:
    listed = await call("get_relations", variable="Germany")
    assert "geo:capital" in listed.text
    assert "^geo:country" in listed.text
    cities = await call("get_neighbors", variable="Germany", relation="^geo:country")
    assert cities.text == "Variable #0: 2 of type city: Berlin, Bonn"
    assert (await call("get_attributes", variable="#0")).text == "[geo:founded, geo:population]"
    smallest = await call("argmin", variable="#0", attribute="population")
    assert smallest.text == "Variable #1: 1 of type city: Bonn"
    largest = await call("argmax", variable="#0", attribute="geo:population")
    assert largest.text == "Variable #2: 1 of type city: Berlin"
    both = await call("intersection", variable1="#0", variable2="#1")
    assert both.text == "Variable #3: 1 of type city: Bonn"
    assert (await call("count", variable="#0")).text == "Variable #4: a number: 2"


@together
async def test_variables_belong_to_one_conversation(call: Call) -> None:
    await call("get_neighbors", variable="Germany", relation="capital")
    other = await call("count", "traj_2", variable="#0")
    assert other.failed
    assert "there is no variable #0; the variables are: none yet" in other.text


@together
async def test_variables_outlive_the_process_that_made_them(call: Call) -> None:
    await call("get_neighbors", variable="Germany", relation="^country")
    stuck = await call("sparql", query=ENDLESS)
    assert stuck.failed
    assert "within time and memory" in stuck.text
    assert (await call("count", variable="#0")).text == "Variable #1: a number: 2"


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        ("get_relations", {"variable": "Atlantis"}, "there is no entity 'Atlantis'"),
        ("get_relations", {"variable": "Paris"}, "names several entities, take one of: Paris ="),
        (
            "get_neighbors",
            {"variable": "Germany", "relation": "king"},
            "'king' is not one of: geo:",
        ),
        ("get_neighbors", {"variable": "Germany", "relation": "geo:king"}, "is not one of: geo:"),
        ("argmax", {"variable": "Germany", "attribute": "rdfs:label"}, "is not one of: geo:popul"),
        ("count", {"variable": "#x"}, "there is no variable #x"),
        ("count", {}, "variable: Field required"),
        ("find_entity", {"name": "zzz"}, "no entity has 'zzz'"),
        ("sparql", {"query": "SELECT"}, "error at"),
        ("sparql", {"query": "INSERT DATA { <urn:a> <urn:b> <urn:c> }"}, "error at"),
        ("sparql", {"query": "DROP ALL"}, "error at"),
        ("sparql", {"query": "SELECT * { SERVICE <http://127.0.0.1/> { ?s ?p ?o } }"}, ""),
    ],
)
@together
async def test_the_model_reads_what_it_can_mend(
    call: Call, function: str, arguments: dict[str, str], message: str
) -> None:
    observation = await call(function, **arguments)
    assert observation.failed
    assert message in observation.text


@together
async def test_entities_are_found_by_label(call: Call) -> None:
    found = await call("find_entity", name="paris")
    assert found.text == "Paris = geo:paris (city, France)\nParis = geo:texas (city)"


@together
async def test_sparql_knows_the_prefixes_and_keeps_to_its_rows(call: Call) -> None:
    query = "SELECT ?n ?p { ?c a geo:City ; rdfs:label ?n ; geo:population ?p } ORDER BY DESC(?p)"
    rows = await call("sparql", query=query)
    assert rows.text == "?n | ?p\nBerlin | 3600000\nParis | 2100000\nBonn | 330000\n(there is more)"
    assert (await call("sparql", query="ASK { geo:DE a geo:Country }")).text == "true"


@together
async def test_edge_lists_make_entities_and_numbers(call: Call) -> None:
    notes = await call("get_neighbors", variable="ada byron", relation="wrote")
    assert notes.text.endswith("Notes")
    assert (await call("get_attributes", variable="#0")).text == "[edge:pages]"
    assert (await call("find_entity", name="ada byron")).text == "Ada Byron = edge:Ada_Byron"


async def test_types_alone_are_shown_if_the_operator_wants(
    make_settings: MakeSettings, directory: Path
) -> None:
    settings = make_settings(graph=directory, graph_names=0)
    toolbox = await Toolbox.open(settings, ("knowledge_graph",))
    arguments = '{"variable": "Germany", "relation": "capital"}'
    call = ToolCall(id="call_1", name="get_neighbors", arguments=arguments)
    tools = toolbox.for_request(["knowledge_graph"])
    observation = await tools.call(call, ToolContext("traj_1", "me"))
    await toolbox.close()
    assert observation.text == "Variable #0: 1 of type city"


async def test_without_a_graph_the_operator_is_told_how_to_make_one(
    make_settings: MakeSettings, home: Path
) -> None:
    with pytest.raises(OperatorError, match=r"agentlm\.tools\.graph\.build"):
        await Toolbox.open(make_settings(), ("knowledge_graph",))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    return tmp_path / "home"


def test_a_graph_is_the_users_unless_a_data_directory_has_one(
    make_settings: MakeSettings, tmp_path: Path, home: Path
) -> None:
    own, earlier = tmp_path / "graph", home / ".local/share/agentlm/graph"
    assert make_settings().graph_dir() == home / ".cache/agentlm/graph"
    earlier.mkdir(parents=True)
    assert make_settings().graph_dir() == earlier
    own.mkdir()
    assert make_settings().graph_dir() == own


class Installed:
    """Sources that can be installed, and how often one was read for a graph."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)
        self.read = 0

    def sources(self) -> list[Source]:
        if not self.names:
            raise OperatorError("there is nothing to build a knowledge graph from")
        return [Source(name, "none", triples=self._triples) for name in self.names]

    def _triples(self) -> list[str]:
        self.read += 1
        return ["<urn:a> <urn:b> <urn:c> .\n"]


@pytest.fixture
def installed(home: Path, monkeypatch: pytest.MonkeyPatch) -> Installed:
    installed = Installed("words")
    monkeypatch.setattr("agentlm.tools.graph.build.default_sources", installed.sources)
    return installed


def test_one_graph_serves_every_data_directory(
    installed: Installed, home: Path, tmp_path: Path
) -> None:
    assert ensure(tmp_path / "one") == ensure(tmp_path / "two") == home / ".cache/agentlm/graph"
    assert installed.read == 1


def test_processes_that_start_together_build_one_graph(
    installed: Installed, tmp_path: Path
) -> None:
    with ThreadPoolExecutor(4) as threads:
        found = set(threads.map(ensure, [tmp_path / str(number) for number in range(4)]))
    assert (len(found), installed.read) == (1, 1)


def test_the_users_graph_follows_what_is_installed_and_a_graph_of_ones_own_does_not(
    installed: Installed, tmp_path: Path
) -> None:
    build(tmp_path / "own/graph", installed.sources())
    shared = ensure(tmp_path)
    assert installed.read == 2
    installed.names.append("places")
    ensure(tmp_path / "own")
    assert installed.read == 2
    ensure(tmp_path)
    assert installed.read == 4
    installed.names.clear()
    assert ensure(tmp_path) == shared


def test_without_a_place_for_a_cache_the_data_directory_has_the_graph(
    installed: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert ensure(tmp_path / "data") == tmp_path / "data/graph"


def test_a_cache_named_by_a_relative_path_is_ignored(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    assert graph_dir(tmp_path) == home / ".cache/agentlm/graph"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert graph_dir(tmp_path) == tmp_path / "cache/agentlm/graph"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("bad.ttl", "this is no turtle", "can't be loaded"),
        ("bad.csv", "a,b\n", "line 1: wanted 3 columns, got 2"),
        ("bad.xyz", "", "can't be loaded"),
    ],
)
def test_a_file_that_is_no_graph_leaves_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: str, reason: str
) -> None:
    (tmp_path / name).write_text(content)
    assert main(["--graph", str(tmp_path / "graph"), str(tmp_path / name)]) == 2
    assert reason in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_names_are_shortened_and_expanded_alike() -> None:
    for iri in ("urn:geonames:DE", "http://example.org/x", minted("edge", "two words/é")):
        assert expand(shorten(iri)) == iri
    assert expand("Germany") is None


def test_cells_that_are_no_numbers_are_entities(tmp_path: Path) -> None:
    (tmp_path / "x.tsv").write_text("a\tb\tnan\na\tb\t1e999\na\tb\t-2.5\n")
    lines = list(edges.triples(tmp_path / "x.tsv"))
    assert sum('"-2.5"^^' in line for line in lines) == 1
    assert sum("<urn:edges:nan>" in line for line in lines) == 2


@pytest.mark.skipif(not wordnet.FOLDER.exists(), reason="wordnet-base is not installed")
def test_wordnet_is_read_whole() -> None:
    wn = "urn:wordnet:3.0:"
    hypernym = f"<{wn}dog.n.01> <{wn}hypernym> <{wn}canine.n.02> .\n"
    counts = Counter(line == hypernym for line in wordnet.triples())
    assert counts[True] == 1
    assert counts[False] > 800_000


@pytest.mark.slow
def test_the_default_graph_is_built_and_answers(tmp_path: Path) -> None:
    description = build(tmp_path / "graph", default_sources())
    assert isinstance(description["triples"], int)
    assert description["triples"] > 1_000_000
    graph = Graph(tmp_path / "graph")
    capital = graph.neighbors({graph.entity("geo:DE")}, "capital")
    assert [graph.label(term) for term in capital] == ["Berlin"]


def test_building_again_replaces_the_graph(tmp_path: Path) -> None:
    for triple in ("<urn:a> <urn:b> <urn:c> .\n", "<urn:a> <urn:b> <urn:d> .\n"):
        build(tmp_path / "graph", [Source("test", "none", triples=lambda line=triple: [line])])
    assert len(Graph(tmp_path / "graph").store) == 1
