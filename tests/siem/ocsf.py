"""Whether events are what OCSF 1.5 asks for: py-ocsf-models has the base event and the detection finding; what the other
classes ask for beyond the base event is written down here."""

from py_ocsf_models.events.base_event import BaseEvent
from py_ocsf_models.events.findings.detection_finding import DetectionFinding
from py_ocsf_models.objects.metadata import Metadata

# Class: category, activities, attributes that are required.
CLASSES = {
    0: (0, {99}, []),
    2004: (2, {1, 2, 3}, ["finding_info"]),
    3001: (3, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 99}, ["user"]),
    3002: (3, {1, 2, 3, 4, 5, 6, 99}, ["user"]),
    3003: (3, {1, 2, 99}, ["user"]),
    3004: (3, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 99}, ["entity"]),
    6003: (6, {1, 2, 3, 4, 99}, ["actor", "api", "src_endpoint"]),
}
# Object: members of which it has one at least.
SOME_OF = {
    "user": ["account", "name", "uid"],
    "entity": ["name", "uid", "device", "group", "org", "policy", "user"],
    "actor": ["process", "user", "invoked_by", "session", "app_name", "app_uid"],
    "src_endpoint": ["ip", "uid", "name", "hostname", "svc_name"],
    "api": ["operation"],
}


def validate(event):
    """Fails where the event is none."""
    uid = event["class_uid"]
    category, activities, required = CLASSES[uid]
    (DetectionFinding if uid == 2004 else BaseEvent).model_validate(event)
    Metadata.model_validate(event["metadata"])
    assert event["category_uid"] == category, event
    assert event["activity_id"] in activities, event
    assert event["type_uid"] == uid * 100 + event["activity_id"], event
    assert isinstance(event["time"], int) and event["time"] > 1_700_000_000_000, event
    for name in required:
        assert name in event, (name, event)
    for name, members in SOME_OF.items():
        if name in event:
            assert any(event[name].get(member) for member in members), (name, event)
    if uid == 3002:
        assert "service" in event or "dst_endpoint" in event, event
    if uid == 3003:
        assert event.get("privileges"), event
    if uid and uid != 2004:
        assert event["status_id"] in (1, 2), event
    if uid:
        assert event["metadata"]["version"].startswith("1."), event
        assert event["metadata"]["uid"] == str(event["metadata"]["sequence"]), event
