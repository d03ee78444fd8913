"""Numbers among the options of the command line are read by one strict grammar, in every command."""

import inspect
import types
from typing import Annotated, Union, get_args, get_origin

import pytest
import typer

from darklung.commands import cli, options
from darklung.core.checks import DarklungError
from darklung.core.units import parse_whole


def commands(app):
    """Each command's function with its name, those of groups too."""
    for one in app.registered_commands:
        yield one.name or one.callback.__name__, one.callback
    for group in app.registered_groups:
        yield from ((f"{group.name} {name}", function) for name, function in commands(group.typer_instance))


def plain_types(kind):
    """The types that a hint is made of, without its annotations."""
    if get_origin(kind) is Annotated:
        return plain_types(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType, list, tuple):
        return {one for part in get_args(kind) for one in plain_types(part)}
    return {kind}


def lax(function):
    """Parameters that are numbers and are not read by `darklung.commands.options`."""
    for name, parameter in inspect.signature(function, eval_str=True).parameters.items():
        told = [a for a in get_args(parameter.annotation) if hasattr(a, "parser")]
        strict = [a.parser for a in told if getattr(a.parser, "__module__", "") == options.__name__]
        if plain_types(parameter.annotation) & {int, float} and not strict:
            yield name


NUMBERS = {
    f"{name} {parameter.name}": (function, parameter)
    for name, function in commands(cli.app)
    for parameter in inspect.signature(function, eval_str=True).parameters.values()
    if plain_types(parameter.annotation) & {int, float}
}


def test_every_number_of_every_command_is_read_strictly():
    assert {name: list(lax(function)) for name, function in commands(cli.app) if list(lax(function))} == {}
    assert len(NUMBERS) > 30


def test_a_number_declared_as_typers_own_would_be_seen():
    def command(
        plain: int = 1,
        more: Annotated[list[float] | None, typer.Option(min=0)] = None,
        none: Annotated[float | None, typer.Argument()] = None,
        strict: options.Workers = None,
        truth: bool = False,
    ): ...

    assert list(lax(command)) == ["plain", "more", "none"]


@pytest.mark.parametrize("text", ["1_0", "５", "٣", "²", "nan", "inf", "0x10", "1,5", "", "1e", "--5", "½", "true"])
@pytest.mark.parametrize("option", NUMBERS)
def test_texts_that_are_no_plain_numbers_are_refused(option, text):
    parser = next(a.parser for a in get_args(NUMBERS[option][1].annotation) if hasattr(a, "parser"))
    with pytest.raises(typer.BadParameter, match="wanted a "):
        parser(text)


def read(option, text):
    return option.parser(text)


def test_numbers_that_are_some_are_read():
    assert read(options.whole("x"), "-12") == -12
    assert read(options.whole("x"), "\N{MINUS SIGN}3") == -3
    assert read(options.real("x"), "1.5e-3") == 0.0015
    assert read(options.real("x", least=0), 0.25) == 0.25  # a default


@pytest.mark.parametrize(
    ("text", "told"), [("0", ">= 1 and <= 9"), ("10", ">= 1 and <= 9"), ("1e0", "whole"), ("9.0", "whole")]
)
def test_bounds_are_told(text, told):
    with pytest.raises(typer.BadParameter, match=told):
        read(options.whole("x", least=1, most=9), text)


@pytest.mark.parametrize("text", ["1e3", " 5 ", "12.", "9" * 19, "1 2", "\N{EN DASH}5"])
def test_whole_numbers_are_digits(text):
    with pytest.raises(DarklungError, match="wanted a whole number"):
        parse_whole(text)
