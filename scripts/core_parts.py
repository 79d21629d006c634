"""An extension of griffe that shows the parts of a Core, such as `core.llm`, as attributes, not as methods."""

from __future__ import annotations

from typing import Any

import griffe

__all__ = ["CoreParts"]


class CoreParts(griffe.Extension):
    """Replaces each method with the decorator `Part` by an attribute of the returned type."""

    def on_class_members(self, *, cls: griffe.Class, **_: Any) -> None:
        """Replace the parts of *cls*."""
        for name, member in list(cls.members.items()):
            if isinstance(member, griffe.Function) and any(
                str(decorator.value) == "Part" for decorator in member.decorators
            ):
                attribute = griffe.Attribute(
                    name,
                    annotation=member.returns,
                    docstring=member.docstring,
                    lineno=member.lineno,
                    endlineno=member.endlineno,
                )
                cls.set_member(name, attribute)
