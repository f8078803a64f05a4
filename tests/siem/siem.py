"""Every event of a flow reaches a SIEM: in a file, and by syslog. Usage: siem.py GRANTLOG WORK [RSYSLOGD]"""

import base64
import hashlib
import json
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import requests

from browser import Browser
from ocsf import validate

GRANTLOG, WORK, RSYSLOGD = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
DEV = json.loads((WORK / "data" / "dev.json").read_text())
ISSUER = DEV["issuer"]
CLIENT = DEV["clients"]["confidential"]
AUTH = (CLIENT["client_id"], CLIENT["client_secret"])
VERIFIER = "v" * 64
FILE, LOG = WORK / "events.ndjson", WORK / "syslog"


def grantlog(*arguments, text=None):
    """What a command answers."""
    command = [GRANTLOG, "--data-dir", str(WORK / "data"), *arguments, *([] if "--json" in arguments else ["--json"])]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (arguments, done.stderr)
    return json.loads(done.stdout) if done.stdout.strip() else None


def token(**form):
    """What the token endpoint answers."""
    return requests.post(f"{ISSUER}/oauth/token", data=form, auth=AUTH, timeout=10)


def code():
    """A code for the demo's user."""
    challenge = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
    query = {
        "response_type": "code",
        "client_id": CLIENT["client_id"],
        "redirect_uri": CLIENT["redirect_uris"][0],
        "scope": "openid view-user offline_access",
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    returned = Browser(DEV).visit(f"{ISSUER}/oauth/authorize?{urlencode(query)}")
    return parse_qs(urlsplit(returned).query)["code"][0]


def flow():
    """A login, its tokens, and their replay."""
    form = {"code": code(), "redirect_uri": CLIENT["redirect_uris"][0], "code_verifier": VERIFIER}
    tokens = token(grant_type="authorization_code", **form).json()
    assert token(grant_type="refresh_token", refresh_token=tokens["refresh_token"]).status_code == 200
    assert token(grant_type="authorization_code", **form).status_code == 400
    assert requests.post(f"{ISSUER}/oauth/token", data={"grant_type": "x"}, auth=("x", "y"), timeout=10).status_code >= 400


def administer(name):
    """A user and a client come and go."""
    user = ["--password-stdin"]
    grantlog("user", "create", name, "--email", f"{name}@example.com", *user, text="correct horse 123456\n")
    grantlog("user", "disable", name, "--reason", "a test")
    grantlog("user", "enable", name)
    grantlog("client", "suspend", "demo-machine", "--reason", "a test")
    grantlog("client", "reinstate", "demo-machine")


def administer_the_rest(user):
    """What else an administrator does, each kind of thing once."""
    why = ["--reason", "a test"]
    grantlog("scope", "define", "siem-test", "--description", "A test", "--restricted")
    metadata = {"client_name": "Test", "grant_types": ["client_credentials"], "scope": "siem-test"}
    client = grantlog("client", "create", "--json", "/dev/stdin", text=json.dumps(metadata))["client_id"]
    grantlog("client", "approve-scope", client, "siem-test", *why)
    grantlog("client", "rotate-secret", client, "--overlap", "60")
    grantlog("client", "withdraw-scope", client, "siem-test", *why)
    grantlog("contain", "--by", "client", client, "--whole", *why, "--yes")
    grantlog("client", "revoke", client, *why, "--yes")
    grantlog("scope", "retire", "siem-test", *why, "--yes")
    grantlog("key", "rotate", *why)
    grantlog("policy", "disable", "code-replay", *why)
    grantlog("user", "set-password", user, "--password-stdin", text="another horse 123456\n")
    grantlog("user", "update", user, "--name", "Another Name")
    grantlog("user", "hold", user, *why)
    grantlog("user", "release", user, *why)
    grantlog("user", "erase", user, *why, "--yes")
    grantlog("audit", "search", "--client", "demo-machine", "--limit", "1")


class Rsyslog:
    """A receiver that can be sent away and come back."""

    def __init__(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.conf = WORK / "rsyslog.conf"
        self.conf.write_text(
            'global(workDirectory="%s" maxMessageSize="256k")\n'
            'module(load="imtcp")\n'
            'input(type="imtcp" address="127.0.0.1" port="%d")\n'
            'template(name="raw" type="string" string="%%app-name%% %%msgid%% %%structured-data%% %%msg%%\\n")\n'
            'action(type="omfile" file="%s" template="raw" asyncWriting="off")\n' % (WORK, self.port, LOG)
        )
        self.process = None

    def start(self):
        command = [RSYSLOGD, "-n", "-f", str(self.conf), "-i", str(WORK / "rsyslog.pid")]
        self.process = subprocess.Popen(command)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=20)


def settled(name, want_failing=False):
    """Waits until a stream has come to the ledger's end, or fails."""
    for _ in range(300):
        stream = next(one for one in grantlog("stream", "list") if one["name"] == name)
        if want_failing and stream.get("error"):
            return stream
        if not want_failing and stream.get("lag_events") == 0 and not stream.get("error"):
            return stream
        time.sleep(0.1)
    raise AssertionError(stream)


def positions(events):
    """In the order of arrival, repetitions left out; fails where the order is another."""
    seen, last = [], 0
    for event in events:
        position = event["metadata"].get("sequence")
        if position is None or position in seen:
            continue
        assert position > last, (last, position)
        seen.append(position)
        last = position
    return seen


def read_file():
    """The events of the file."""
    lines = FILE.read_text(encoding="ascii").splitlines()
    return [json.loads(line) for line in lines]


def read_log():
    """The events that rsyslog wrote down."""
    events = []
    for line in LOG.read_text(encoding="ascii").splitlines():
        found = re.fullmatch(r'grantlog (\S+) \[grantlog@32473 position="(\d+)" class="(\d+)"\] ?(\{.*\})', line)
        assert found, line
        event = json.loads(found[4])
        assert str(event["class_uid"]) == found[3] and event["metadata"]["event_code"] == found[1], line
        events.append(event)
    return events


def check(events):
    """Fails with what is wrong, of each name of an event."""
    wrong = {event["message"]: problems for event in events if (problems := validate(event))}
    assert not wrong, json.dumps(wrong, indent=1)


def main():
    """The whole of it."""
    grantlog("policy", "enable", "code-replay")
    grantlog("stream", "add", "file", "--kind", "ocsf-file", "--url", str(FILE), "--from", "beginning")
    rsyslog = Rsyslog() if RSYSLOGD else None
    if rsyslog:
        rsyslog.start()
        url = f"syslog+tcp://127.0.0.1:{rsyslog.port}"
        grantlog("stream", "add", "syslog", "--kind", "syslog", "--url", url, "--from", "beginning", "--batch", "20")
    flow()
    administer("first")
    if rsyslog:
        settled("syslog")
        rsyslog.stop()
    administer("second")
    if rsyslog:
        settled("syslog", want_failing=True)
        rsyslog.start()
        settled("syslog")
        time.sleep(0.5)
    for _ in range(100):
        if '"AlertRaised"' in FILE.read_text():
            break
        time.sleep(0.1)
    administer_the_rest("second")
    settled("file")
    grantlog("stream", "pause", "file", "--reason", "the end of the test")
    events = read_file()
    check(events)
    classes = {event["class_uid"] for event in events}
    assert classes >= {2004, 3001, 3002, 3003, 3004, 6003}, classes
    in_file = positions(events)
    assert "first@example.com" not in FILE.read_text()
    print(f"ok: {len(in_file)} events in a file are OCSF by its schema")
    if rsyslog:
        settled("syslog")
        rsyslog.stop()
        received = read_log()
        check(received)
        by_syslog = [position for position in positions(received) if position <= in_file[-1]]
        assert by_syslog == in_file, set(in_file) ^ set(by_syslog)
        print(f"ok: rsyslog has the same, in order, though it was away ({len(received)} messages)")


main()
