"""The shape that SARIF 2.1.0 (OASIS, sections 3.13 to 3.58) gives to the objects that we write.

Every object is closed, so a member that the standard does not have at that place is found as well.
"""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}


def closed(required: str, **members: Schema) -> Schema:
    return {
        "type": "object",
        "required": required.split(),
        "properties": members,
        "additionalProperties": False,
    }


def many(items: Schema) -> Schema:
    return {"type": "array", "items": items}


LEVEL: Schema = {"enum": ["none", "note", "warning", "error"]}
MESSAGE = closed("text", text={"type": "string", "minLength": 1})
ARTIFACT = closed("uri", uri={"type": "string", "format": "uri-reference", "minLength": 1}, uriBaseId=TEXT)
REGION = closed(
    "startLine", startLine={"type": "integer", "minimum": 1}, startColumn={"type": "integer", "minimum": 1}
)
LOCATION = closed(
    "physicalLocation",
    physicalLocation=closed("artifactLocation region", artifactLocation=ARTIFACT, region=REGION),
    logicalLocations=many(closed("fullyQualifiedName", fullyQualifiedName=TEXT)),
)
RESULT = closed(
    "ruleId ruleIndex level message locations partialFingerprints",
    ruleId=TEXT,
    ruleIndex={"type": "integer", "minimum": 0},
    level=LEVEL,
    message=MESSAGE,
    locations={**many(LOCATION), "minItems": 1, "maxItems": 1},
    partialFingerprints={"type": "object", "additionalProperties": TEXT},
)
DRIVER = closed(
    "name version semanticVersion rules",
    name=TEXT,
    version=TEXT,
    semanticVersion=TEXT,
    rules={**many(closed("id shortDescription", id=TEXT, shortDescription=MESSAGE)), "uniqueItems": True},
)
NOTIFICATION = closed(
    "level descriptor message", level=LEVEL, descriptor=closed("id", id=TEXT), message=MESSAGE
)
INVOCATION = closed(
    "executionSuccessful toolExecutionNotifications",
    executionSuccessful={"type": "boolean"},
    toolExecutionNotifications=many(NOTIFICATION),
)
RUN = closed(
    "tool results",
    tool=closed("driver", driver=DRIVER),
    columnKind={"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
    originalUriBaseIds={
        "type": "object",
        "additionalProperties": closed("description", description=MESSAGE),
    },
    results=many(RESULT),
    invocations={**many(INVOCATION), "minItems": 1},
)
LOG = closed("version runs", **{"$schema": TEXT, "version": {"const": "2.1.0"}, "runs": many(RUN)})


def check_sarif(document: object) -> None:
    """Refuse what is not SARIF 2.1.0, or whose results do not lead to their rules."""
    Draft202012Validator(LOG).validate(document)
    assert isinstance(document, dict)
    for run in document["runs"]:
        rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
        assert [rules[result["ruleIndex"]] for result in run["results"]] == [
            result["ruleId"] for result in run["results"]
        ]
        assert {
            result["locations"][0]["physicalLocation"]["artifactLocation"]["uriBaseId"]
            for result in run["results"]
        } <= set(run["originalUriBaseIds"])
