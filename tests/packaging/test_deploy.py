"""The container files name only what exists. Images can't be built where these tests run."""

import re
from pathlib import Path

import yaml

from agentlm.server.settings import ServeSettings

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text()


def test_compose_builds_from_this_tree() -> None:
    build = COMPOSE["services"]["server"]["build"]
    context = (ROOT / "deploy" / build["context"]).resolve()
    assert context == ROOT
    assert (context / build["dockerfile"]).is_file()
    for name in build["args"]:
        assert f"ARG {name}" in DOCKERFILE


def test_compose_sets_only_settings_that_the_server_has() -> None:
    environment = COMPOSE["services"]["server"]["environment"]
    own = {name for name in environment if name.startswith("AGENTLM_")}
    assert own <= {f"AGENTLM_{field.upper()}" for field in ServeSettings.model_fields}


def test_compose_mounts_volumes_that_it_declares() -> None:
    mounted = {
        volume.split(":")[0]
        for service in COMPOSE["services"].values()
        for volume in service["volumes"]
    }
    assert mounted == set(COMPOSE["volumes"])


def test_the_image_is_set_up_by_make_and_starts_a_command() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"RUN make (\w+)", DOCKERFILE):
        assert re.search(rf"^{target}:", makefile, re.M)
    assert 'ENTRYPOINT [".venv/bin/agentlm"]' in DOCKERFILE
