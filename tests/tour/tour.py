"""Runs the commands of a page, and compares what they print. Usage: tour.py GRANTLOG WORK PAGE

A block of shell and the block of text after it are a step: in the text `…` stands for anything within a line, and a line
of `…` alone for any lines. Steps share one shell, so that variables carry on.
"""

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import requests

from browser import Browser

GRANTLOG, WORK, PAGE = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
DEV = json.loads((WORK / "data" / "dev.json").read_text())
CLIENT = DEV["clients"]["confidential"]
END = "end of the step"


def refresh_token():
    """What the application holds after its user's login."""
    verifier = "v" * 64
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    redirect_uri = CLIENT["redirect_uris"][0]
    query = {
        "response_type": "code",
        "client_id": CLIENT["client_id"],
        "redirect_uri": redirect_uri,
        "scope": "openid view-user offline_access",
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    returned = Browser(DEV).visit(f"{DEV['issuer']}/oauth/authorize?{urlencode(query)}")
    form = {
        "grant_type": "authorization_code",
        "code": parse_qs(urlsplit(returned).query)["code"][0],
        "redirect_uri": redirect_uri,
        "code_verifier": verifier,
    }
    answer = requests.post(
        f"{DEV['issuer']}/oauth/token",
        data=form,
        auth=(CLIENT["client_id"], CLIENT["client_secret"]),
        headers={"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"},
        timeout=10,
    )
    return answer.json()["refresh_token"]


def steps(page):
    """The commands and what they print, in order."""
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", page, flags=re.M | re.S)
    for number, (kind, text) in enumerate(blocks):
        if kind == "sh":
            after = blocks[number + 1 : number + 2]
            yield text, after[0][1] if after and after[0][0] == "text" else None


def pattern(expected):
    """What the output must match."""
    parts = []
    for line in expected.splitlines():
        if line.strip() == "…":
            parts.append(r"(?:.*\n)*?")
        else:
            parts.append(".*".join(re.escape(part) for part in line.split("…")) + r"\n")
    return re.compile("".join(parts))


def main():
    """Every step of the page."""
    environment = {
        **os.environ,
        "GRANTLOG_OPERATOR": "ada",
        "ISSUER": DEV["issuer"],
        "CLIENT": f"{CLIENT['client_id']}:{CLIENT['client_secret']}",
        "STOLEN": refresh_token(),
        "NO_COLOR": "1",
    }
    shell = subprocess.Popen(
        ["bash", "-s"], cwd=WORK, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    shell.stdin.write(f'set -uo pipefail\ngrantlog() {{ "{GRANTLOG}" --data-dir "{WORK}/data" "$@"; }}\n')
    passed = 0
    for commands, expected in steps(PAGE.read_text()):
        shell.stdin.write(f"{{ {commands}\n}} </dev/null\nprintf '\\n%s %s\\n' '{END}' $?\n")
        shell.stdin.flush()
        output = ""
        while not (line := shell.stdout.readline()).startswith(END):
            assert line, f"the shell ended in\n{commands}"
            output += line
        output = output.removesuffix("\n")
        assert line.split()[-1] == "0", f"{commands}\nfailed with\n{output}"
        if expected is not None:
            assert pattern(expected).fullmatch(output), f"{commands}\nprinted\n{output}\ninstead of\n{expected}"
        elif os.environ.get("TOUR_SHOW"):
            print(f"$ {commands}{output}")
        passed += 1
    shell.stdin.close()
    assert shell.wait() == 0
    assert passed > 8, passed
    print(f"tour: {passed} steps passed")


main()
