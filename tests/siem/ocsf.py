"""Whether events are what OCSF asks for, by the schema that the OCSF project publishes for the version that they name
(ocsf-json-schema has a copy of each), and what the schema cannot say."""

import functools

from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema
from py_ocsf_models.events.findings.detection_finding import DetectionFinding

CHECKPOINT, FINDING = 0, 2004


@functools.cache
def schema(version):
    """Of one version."""
    return OcsfJsonSchemaEmbedded(get_ocsf_schema(version=version))


@functools.cache
def validator(version, class_uid, profiles):
    """Of one class: required and unknown attributes, types, values, and what is needed of several."""
    name = schema(version).lookup_class_name_from_uid(class_uid)
    return Draft202012Validator(schema(version).get_class_schema(name, list(profiles)))


def validate(event):
    """What is wrong with an event."""
    metadata, uid = event["metadata"], event["class_uid"]
    profiles = tuple(metadata.get("profiles", []))
    problems = validator(metadata["version"], uid, profiles).iter_errors(event)
    wrong = [f"{problem.json_path}: {problem.message[:300]}" for problem in problems]
    if event["type_uid"] != uid * 100 + event["activity_id"] or event["category_uid"] != uid // 1000:
        wrong.append("type_uid or category_uid is of another class")
    if event["time"] <= 1_700_000_000_000:
        wrong.append("time is not in milliseconds")
    if uid not in (CHECKPOINT, FINDING) and event["status_id"] not in (1, 2):
        wrong.append("it neither succeeded nor failed")
    if uid != CHECKPOINT and metadata["uid"] != str(metadata["sequence"]):
        wrong.append("uid is not the position")
    if uid == FINDING and not wrong:
        DetectionFinding.model_validate(event)
    return wrong
