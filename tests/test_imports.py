"""What a command imports is what it needs: a closed list."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

CONFIGURATION: Final = {
    *("annotated_types", "bcrypt", "pydantic", "pydantic_core", "typing_extensions"),
    *("typing_inspection", "yaml"),
}
SERVING: Final = CONFIGURATION | {"h11", "httpx", "idna", "prometheus_client"}

CHECKING: Final = SERVING - {"bcrypt"} | {"certifi"}
"""To check is to make all that polls, and the context of TLS with it."""

IF_THERE: Final = {"click", "rich", "pygments"}
"""What httpx takes for a command line of its own where it is installed; it is in no lock of ours."""

PROGRAM: Final = """
import json, sys
before = set(sys.modules)
sys.argv[1:] = {arguments!r}
try:
    from exporter.__main__ import main
    main()
except SystemExit:
    pass
names = {{name.partition(".")[0] for name in sys.modules.keys() - before}}
print("\\n" + json.dumps(sorted(names - sys.stdlib_module_names - {{"exporter"}})))
"""


def imported(program: str) -> set[str]:
    """The third-party packages that a program has imported in the end."""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    names = json.loads(ended.stdout.splitlines()[-1])
    # Not those that the interpreter and extensions made with Cython leave behind.
    return {name for name in names if "cython" not in name and name[0] != "_"}


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        (["--help"], set()),
        (["--version"], set()),
        (["--config.check", "--config.file={file}"], CHECKING),
        (["plan", "--config.check", "--config.file={file}"], CHECKING),
        (["plan", "--config.file={file}"], CONFIGURATION),
    ],
    ids=["help", "version", "check", "check of a plan", "plan"],
)
def test_a_command_imports_no_more_than_it_needs(
    arguments: list[str], allowed: set[str], tmp_path: Path
) -> None:
    file = tmp_path / "seasalt.yml"
    one = "{name: a, api: seachat, api_key: k, metrics: [total_usage]}"
    file.write_text(f"workspaces: [{one}]\n", encoding="utf-8")
    given = [argument.format(file=file) for argument in arguments]

    assert imported(PROGRAM.format(arguments=given)) - IF_THERE <= allowed


def test_serving_imports_a_closed_list() -> None:
    program = PROGRAM.replace("main()\n", "import exporter.commands.serve\n", 1)

    found = imported(program.format(arguments=[]))

    assert found - IF_THERE == SERVING


def test_what_is_imported_is_out_of_the_garbage_collectors_sight() -> None:
    program = """
import gc, sys
sys.argv[1:] = ["--config.check", "--config.file=config/seasalt.yml"]
from exporter.__main__ import main
main()
print(f"\\n[{gc.isenabled():d}, {gc.get_freeze_count()}, {len(gc.get_objects())}]")
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    enabled, frozen, seen = json.loads(ended.stdout.splitlines()[-1])
    assert enabled
    assert frozen > 20_000
    assert seen < frozen / 4
