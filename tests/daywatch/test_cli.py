import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

from daywatch import cli
from daywatch.__main__ import main
from stream.errors import ConfigurationError, TransientError, UsageError

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run `daywatch ARGS` in this process and in an empty directory; with `command`, the command `try` is that function."""

    def run(*arguments: str, command: Any = None) -> tuple[int, str, str]:
        monkeypatch.chdir(tmp_path)
        if command is not None:
            module = types.ModuleType("daywatch_try")
            module.try_ = command  # type: ignore[attr-defined]
            monkeypatch.setitem(sys.modules, "daywatch_try", module)
            monkeypatch.setattr(cli, "COMMANDS", {**cli.COMMANDS, "try": ("daywatch_try:try_", "Try.")})
        monkeypatch.setattr(sys, "argv", ["daywatch", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        shown = capsys.readouterr()
        return int(left.value.code or 0), shown.out, shown.err

    return run


def settings_shown(ctx: typer.Context, hop: Annotated[str | None, typer.Option()] = None) -> None:
    settings = cli.settings_of(ctx, {"window.hop": hop})
    typer.echo(f"{settings.namespace} {settings.window.hop} {settings.kafka.bootstrap_servers} {settings.store.url}")


def failing(error: BaseException) -> Callable[[], None]:
    def command() -> None:
        raise error

    return command


def test_the_list_of_commands_is_printed_without_importing_any(run: Run) -> None:
    before = set(sys.modules)
    code, out, err = run("--help")
    assert (code, err) == (0, "")
    assert all(name in out for name in cli.COMMANDS)
    assert not {name for name in set(sys.modules) - before if name.startswith("daywatch.commands.")}


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_every_command_explains_itself(run: Run, name: str) -> None:
    code, out, err = run(name, "--help")
    assert (code, err) == (0, "")
    assert "Usage: daywatch" in out


def test_wrong_usage_exits_with_2_and_leaves_standard_output_empty(run: Run) -> None:
    for arguments in (["nosuch"], ["--nosuch"], ["try", "--hop"]):
        code, out, err = run(*arguments, command=settings_shown)
        assert (code, out) == (2, "")
        assert err


def test_an_error_of_ours_is_one_line_and_exit_code_1(run: Run) -> None:
    code, out, err = run("try", command=failing(TransientError("the broker is away")))
    assert (code, out, err) == (1, "", "daywatch: error: the broker is away\n")


def test_a_setting_that_cannot_be_is_wrong_usage(run: Run) -> None:
    code, out, err = run("try", command=failing(UsageError("window.hop: not a duration")))
    assert (code, out, err) == (2, "", "daywatch: error: window.hop: not a duration\n")


def test_an_unforeseen_error_names_its_kind_and_not_its_words(run: Run) -> None:
    code, out, err = run("try", command=failing(KeyError("ana@example.com")))
    assert (code, out) == (1, "")
    assert err.startswith("daywatch: error: unexpected KeyError")
    assert "ana" not in err
    assert err.count("\n") == 1


def test_the_traceback_is_there_for_who_asks(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAYWATCH_DEBUG", "1")
    code, _, err = run("try", command=failing(ConfigurationError("no such place")))
    assert code == 1
    assert "Traceback" in err
    assert err.endswith("daywatch: error: no such place\n")


def test_an_interrupt_ends_with_130_and_without_a_traceback(run: Run) -> None:
    code, out, err = run("try", command=failing(KeyboardInterrupt()))
    assert (code, out) == (130, "")
    assert "Traceback" not in err


def test_a_reader_that_has_left_is_no_error_worth_words(run: Run) -> None:
    code, out, err = run("try", command=failing(BrokenPipeError(32, "Broken pipe")))
    assert (code, out, err) == (1, "", "")


def test_common_options_may_stand_before_and_behind_the_command(run: Run) -> None:
    assert run("--namespace", "a", "try", command=settings_shown)[1].split()[0] == "a"
    assert run("try", "--namespace", "b", command=settings_shown)[1].split()[0] == "b"
    assert run("--namespace", "a", "try", "--namespace", "b", command=settings_shown)[1].split()[0] == "b"
    assert run("try", "--set", "window.hop=12h", command=settings_shown)[1].split()[1] == "43200000"
    shown = run("try", "--bootstrap-servers", "k:1", "--store-url", "redis://r:2/0", command=settings_shown)[1].split()
    assert shown[2:] == ["k:1", "redis://r:2/0"]


def test_a_commands_own_flag_wins_over_everything_else(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAYWATCH_WINDOW__HOP", "12h")
    assert run("try", command=settings_shown)[1].split()[1] == "43200000"
    assert run("--set", "window.hop=3h", "try", command=settings_shown)[1].split()[1] == "10800000"
    assert run("--set", "window.hop=3h", "try", "--hop", "24h", command=settings_shown)[1].split()[1] == "86400000"


def test_a_pair_without_an_equals_sign_is_wrong_usage(run: Run) -> None:
    assert run("try", "--set", "window.hop", command=settings_shown)[0] == 2
    assert run("--set", "window.hop", "try", command=settings_shown)[0] == 2


def test_a_group_of_commands_gets_the_common_options_too(run: Run) -> None:
    group = typer.Typer()

    @group.callback()
    def about() -> None:
        """A group."""

    @group.command("show")
    def show(ctx: typer.Context) -> None:
        typer.echo(cli.settings_of(ctx).namespace)

    assert run("try", "show", "--namespace", "c", command=group)[1] == "c\n"
    assert run("--namespace", "d", "try", "show", command=group)[1] == "d\n"


def test_the_version_is_printed(run: Run) -> None:
    code, out, _ = run("--version")
    assert code == 0
    assert out.startswith("daywatch 0.")
