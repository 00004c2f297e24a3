"""Runs written under an older schema, brought to the present one.

A new schema version raises `RunSpec.schema_version` and adds one function here. The version is part
of a run's id, so a migrated run gets a new one and keeps its old id in its row.
"""

from collections.abc import Callable
from typing import Any

from stdcf.errors import UserError
from suites.engine.spec import RunSpec

Json = dict[str, Any]
# The spec and the row of one run; a run that has not ended has no row.
Migration = Callable[[Json, Json | None], tuple[Json, Json | None]]

CURRENT: int = RunSpec.model_fields["schema_version"].default

# Version -> how a run of it becomes one of the next. There is no version before 1.
MIGRATIONS: dict[int, Migration] = {}


def version_of(spec: Json) -> int:
    """The schema version of a spec.json; the first specs did not say it.

    Raises:
        UserError: if it is no version.
    """
    version = spec.get("schema_version", 1)
    if not isinstance(version, int) or isinstance(version, bool) or version < 0:
        raise UserError(f"schema_version must be a number from 0, not {version!r}")
    return version


def migrate(spec: Json, row: Json | None) -> tuple[Json, Json | None]:
    """The run in the present schema, without its new id; as it was if it is of the present one.

    Raises:
        UserError: for a version that this code does not know.
    """
    version = version_of(spec)
    if version > CURRENT:
        raise UserError(
            f"written under schema {version}, and this code knows none after {CURRENT}; update it"
        )
    while version < CURRENT:
        if version not in MIGRATIONS:
            raise UserError(f"written under schema {version}, from which there is no way to now")
        spec, row = MIGRATIONS[version](spec, row)
        version += 1
        spec = {**spec, "schema_version": version}
    return spec, row
