"""PluginConfig: the code outside this repository that a run uses. Its content is part of the run, its place is not."""

from dataclasses import dataclass

from scaling.config.data import check_digest
from scaling.config.fields import check_fields, config_field


@dataclass(frozen=True, kw_only=True)
class PluginConfig:
    """A file of the user's, or an installed package (plugin_files.py); none by default."""

    recipes: str | None = config_field(
        "plug-in: FILE.py, FILE.py:RECIPE, or a package's name",
        None,
        location=True,
        common=True,
    )
    recipes_digest: str | None = config_field(
        "fingerprint of the content of the plug-in, which is part of the run ID", None, found=True
    )

    def __post_init__(self) -> None:
        check_fields(self)
        check_digest("recipes_digest", self.recipes_digest)
