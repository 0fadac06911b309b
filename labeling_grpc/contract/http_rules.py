"""How each call of the contract is served as REST: its google.api.http option, read from the generated descriptors."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from google.api import annotations_pb2
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from labeling_grpc.v1 import admin_pb2, labeling_pb2
from tidemark.errors import ConfigError

NOT_SERVED: Final[dict[str, str]] = {
    "ExchangeToken": "people sign in at the console's page; as REST, whoever asks would share the console's address in "
    "the service's throttle, and could keep people from signing in",
}
"""Calls without a route, each with the reason."""
SERVICES: Final[tuple[ServiceDescriptor, ...]] = (
    labeling_pb2.DESCRIPTOR.services_by_name["LabelingService"],
    admin_pb2.DESCRIPTOR.services_by_name["LabelingAdminService"],
)
_PLACE: Final = re.compile(r"\{(\w+)(=\*\*)?\}")


@dataclass(frozen=True, slots=True)
class HttpRule:
    """The route of one call.

    verb: of HTTP, in capitals.  template: its path, as google.api.http writes it.  body: all fields that are not in the
    path are told as JSON; without it they are parameters of the query.  response: the response's field that is sent
    instead of the whole, "" for the whole.
    """

    method: MethodDescriptor
    verb: str
    template: str
    body: bool
    response: str

    @property
    def path(self) -> str:
        """As Starlette writes it: a field that may hold slashes is a path."""
        return _PLACE.sub(lambda found: f"{{{found[1]}:path}}" if found[2] else f"{{{found[1]}}}", self.template)

    @property
    def places(self) -> tuple[str, ...]:
        """Names of the request's fields that the path tells."""
        return tuple(found[1] for found in _PLACE.finditer(self.template))

    @property
    def streams(self) -> bool:
        """Whether the response is many messages."""
        return bool(self.method.server_streaming)


def rule_of(method: MethodDescriptor) -> HttpRule | None:
    """The route that a call's option names, None: it has no option.

    Raises:
        ConfigError: the option is none that is served.

    """
    options = method.GetOptions()
    if not options.HasExtension(annotations_pb2.http):
        return None
    http = options.Extensions[annotations_pb2.http]
    verb = http.WhichOneof("pattern")
    if verb not in {"get", "post", "patch", "delete"} or http.body not in {"", "*"}:
        raise ConfigError(
            f"{method.full_name}: google.api.http must be get, post, patch or delete, its body '*' or none"
        )
    rule = HttpRule(method, verb.upper(), getattr(http, verb), http.body == "*", http.response_body)
    fields = method.input_type.fields_by_name
    unknown = [name for name in rule.places if name not in fields]
    if rule.response:
        unknown += [rule.response] if rule.response not in method.output_type.fields_by_name else []
    if unknown:
        raise ConfigError(f"{method.full_name}: google.api.http names {', '.join(unknown)}, which is no field")
    return rule


def rules() -> list[HttpRule]:
    """The routes of the contract; an address without a place comes before those that would take it.

    Raises:
        ConfigError: a call has neither a route nor a reason to have none, or both.

    """
    found, wrong = [], []
    for service in SERVICES:
        for method in service.methods:
            rule = rule_of(method)
            if (rule is None) != (method.name in NOT_SERVED):
                wrong.append(method.name)
            elif rule is not None:
                found.append(rule)
    if wrong:
        raise ConfigError(f"give {', '.join(wrong)} either a google.api.http option or a reason in NOT_SERVED")
    return sorted(found, key=lambda rule: (rule.template.count("**"), rule.template))
