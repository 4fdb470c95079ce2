"""The option --patch of programs that look at one run at several patch sizes."""

from scaling.errors import ConfigError


def patch_sizes(text: str | None) -> list[int]:
    """Patch sizes [px] in the order given, each once; empty without the option. Raises ConfigError."""
    words = [word.strip() for word in text.split(",")] if text is not None else []
    if wrong := [word for word in words if not word.isdecimal() or int(word) == 0]:
        raise ConfigError(f"--patch: {wrong[0]!r} is not a patch size; give whole numbers [px], as --patch 16,8,4")
    return list(dict.fromkeys(map(int, words)))
