"""Keys of the pipeline file whose values are names in a registry: Tidemark's own, and those of other packages."""

from __future__ import annotations

from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from tidemark.errors import ConfigError
from tidemark.runtime.plugins import Plugins


class OneOf:
    """A text that names a thing of a registry, in `Annotated`. What is wrong with the thing is told at its key."""

    def __init__(self, plugins: Plugins[Any]) -> None:
        self._plugins = plugins

    def own(self, name: object) -> bool:
        """Whether a name is one of Tidemark's own."""
        return name in self._plugins.own

    def __get_pydantic_core_schema__(self, _source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Text, and then a name that there is."""
        return core_schema.no_info_after_validator_function(self._known, handler(str))

    def __get_pydantic_json_schema__(self, _core: CoreSchema, _handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Tidemark's own names, which an editor offers, and whatever a package may add."""
        return {"anyOf": [{"enum": list(self._plugins.own), "type": "string"}, {"type": "string"}]}

    def _known(self, name: str) -> str:
        if name in self._plugins.own:
            return name
        known = self._plugins.names()
        if name not in known and ":" not in name:
            names = [repr(each) for each in known]
            allowed = names[-1] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
            raise PydanticCustomError(
                "registry", "{value} is not allowed; write {allowed}", {"value": repr(name[:60]), "allowed": allowed}
            )
        try:
            self._plugins.get(name)
        except ConfigError as error:
            raise PydanticCustomError("registry", "{text}", {"text": str(error)}) from error
        return name
