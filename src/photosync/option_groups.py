"""Options that several commands have: told once, in a dataclass, and taken by a command as one argument."""

import dataclasses
import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, get_type_hints


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """A command for typer, in which every argument whose type is a dataclass is replaced by its fields.

    Args:
        command: its arguments that are no dataclasses are as typer wants them. A dataclass has a default for
            each of its fields, whose types are annotated for typer; no two arguments share a name.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: kind for name, kind in hints.items() if dataclasses.is_dataclass(kind)}
    parameters: list[inspect.Parameter] = []
    annotations: dict[str, Any] = {}
    for name, parameter in inspect.signature(command).parameters.items():
        if name in groups:
            parameters += [
                inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default)
                for field in dataclasses.fields(groups[name])
            ]
            annotations |= get_type_hints(groups[name], include_extras=True)
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
            annotations[name] = hints[name]
    parameters = [each.replace(annotation=annotations[each.name]) for each in parameters]

    @wraps(command)
    def run(**given: Any) -> None:
        for name, kind in groups.items():
            given[name] = kind(**{field.name: given.pop(field.name) for field in dataclasses.fields(kind)})
        command(**given)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    # typer would look at the command itself.
    del run.__wrapped__
    return run
