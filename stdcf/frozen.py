"""Records that say what is to be done: checked when they are made, and never changed in place."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A record that neither changes nor takes fields that it does not have."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def changed(self, **fields: Any) -> Self:
        """A copy with other values of these fields, checked as a new record is.

        Raises:
            pydantic.ValidationError: for an unknown field, or a value that it cannot have.
        """
        return type(self).model_validate({**dict(self), **fields})
