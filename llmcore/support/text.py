"""Find characters that an option cannot contain, such as invisible characters in pasted text."""

from __future__ import annotations

__all__ = ["describe_character", "describe_invisible", "find_invisible", "find_unsendable", "is_invisible"]


def find_unsendable(text: str, *, spaces: bool = True) -> str | None:
    """Return a description of the first character that an HTTP header cannot contain.

    Return None if all characters are allowed.

    Args:
        text: The value of a header.
        spaces: True if a space is allowed.
    """
    for index, character in enumerate(text):
        if not ("!" <= character <= "~" or (spaces and character in " \t")):
            return f"{describe_character(character)} at index {index}"
    return None


def find_invisible(text: str) -> str | None:
    """Return a description of the first space, control character or zero-width character.

    The result is None if *text* contains no such character.
    """
    if text.isascii() and text.isprintable() and " " not in text:
        return None
    import unicodedata

    for index, character in enumerate(text):
        if unicodedata.category(character)[0] in "CZ":
            return f"{describe_character(character)} at index {index}"
    return None


def is_invisible(character: str) -> bool:
    """Return whether an editor shows *character* as a blank or not at all.

    A space and a tab count as visible.
    """
    if character in " \t" or (character.isascii() and character.isprintable()):
        return False
    import unicodedata

    return unicodedata.category(character) in {"Cc", "Cf", "Zs", "Zl", "Zp"}


def describe_invisible(text: str) -> list[str]:
    """Return a list with a note that names the first invisible character of *text*, for an error.

    The result is an empty list if all characters are visible.
    """
    character = next(filter(is_invisible, text), None)
    return (
        [] if character is None else [f"it contains the invisible character {describe_character(character)}"]
    )


def describe_character(character: str) -> str:
    """Return the code point and name of a character, such as "U+200B ZERO WIDTH SPACE"."""
    import unicodedata

    return f"U+{ord(character):04X} {unicodedata.name(character, 'a control character')}"
